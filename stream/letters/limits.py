"""Every bound on dead letters, in one place; each comment says why the number is what it is."""

from typing import Final

# What a broker takes by default (message.max.bytes), so that whatever came in by itself is kept whole. More can only
# come out of a packed batch, or where the owner of `call-events` allows more; an event has 64 KiB at most.
VALUE_BYTES_MAX: Final = 1_048_576
# A call_id has 128 characters, 512 bytes at most.
KEY_BYTES_MAX: Final = 1_024
# What a topic of letters must take, and the producers: both of the above, the headers, and what Kafka adds.
LETTER_BYTES_MAX: Final = 2 * VALUE_BYTES_MAX

# The longest of our own reasons and fields have 14 characters.
REASON_CHARACTERS_MAX: Final = 64
# Nobody sends one letter as often as this; beyond it the count stays where it is.
RESENT_MAX: Final = 999

# Letters shown unless told otherwise, and at most: a page of a terminal, and what fits in memory without their values.
SHOWN_DEFAULT: Final = 100
SHOWN_MAX: Final = 100_000
# A worker that was killed sets aside once more what it read again: some seconds' worth. Copies are known as far apart
# as this, in letters.
COPIES_KNOWN_MAX: Final = 100_000
# Coordinates in one command; a shell's line ends well before.
COORDINATES_MAX: Final = 10_000
# Sends under way before waiting for the broker's answers: 1,000 of the largest are held in memory.
UNANSWERED_MAX: Final = 1_000
