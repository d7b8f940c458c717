"""Every bound on an event, in one place; each comment says why the number is what it is.

A record beyond a bound is rejected and counted, never cut to fit: a shortened `call_id` would be another
call's.
"""

from typing import Final

# A call event is 100-300 bytes. 64 KiB leaves room for a producer that attaches a transcript reference or
# routing data, and is a sixteenth of what a broker takes by default (message.max.bytes, 1 MiB).
EVENT_BYTES_MAX: Final = 65_536

# serde_json's recursion limit. Far from the interpreter's own limit (1000), so that a nested extra field can
# exhaust nothing, and deep enough that no producer meets it.
NESTING_DEPTH_MAX: Final = 128

# The contract's number. A SIP Call-ID, the longest call identifier in use, is a UUID and a host name.
CALL_ID_CHARACTERS_MIN: Final = 1
CALL_ID_CHARACTERS_MAX: Final = 128

# The contract's number: a UUID takes 36 characters, a SHA-256 in hexadecimal 64.
EVENT_ID_CHARACTERS_MIN: Final = 1
EVENT_ID_CHARACTERS_MAX: Final = 64

# Asterisk allows 128 characters for a queue; the name becomes a label value of every metric of the queue.
QUEUE_CHARACTERS_MIN: Final = 1
QUEUE_CHARACTERS_MAX: Final = 128

# An agent is named by an extension, a SIP address or an e-mail address; this is the bound of a call_id.
AGENT_CHARACTERS_MIN: Final = 1
AGENT_CHARACTERS_MAX: Final = 128

# "voice", "chat", "whatsapp": a word, as long as an event_id at most.
CHANNEL_CHARACTERS_MIN: Final = 1
CHANNEL_CHARACTERS_MAX: Final = 64

# Why a conversation ended is a word as well ("agent", "customer", "NORMAL_CLEARING").
ENDED_REASON_CHARACTERS_MIN: Final = 1
ENDED_REASON_CHARACTERS_MAX: Final = 64

# The epoch to the last millisecond of year 9999, the last year that RFC 3339 and Python's datetime can write.
AT_MS_MIN: Final = 0
AT_MS_MAX: Final = 253_402_300_799_999

# Nanoseconds: the finest fraction that common producers write (Go's RFC3339Nano, Java's Instant).
AT_FRACTION_DIGITS_MAX: Final = 9

# An agent who forgets the wrap-up button over a long weekend is real; more than a week is a unit mixed up
# (microseconds sent as milliseconds).
DURATION_MS_MIN: Final = 0
DURATION_MS_MAX: Final = 604_800_000

# A 32-bit signed integer, so that a producer in any language can hold every version that is accepted.
SCHEMA_VERSION_MIN: Final = 1
SCHEMA_VERSION_MAX: Final = 2_147_483_647
