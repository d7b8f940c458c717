"""What a cell counts: the one table of fields.

A *cell* holds the integers of one queue in one bucket of event time, as ``{field: value}`` without zeros. Fields are
additive (counts, and sums of milliseconds), so cells of any buckets, partitions and queues can be added, and everything
downstream - windows, intervals, totals, KPIs, metrics - is derived from this table. ``LONGEST_WAIT_MS`` alone combines
by maximum.

The numbers are part of the checkpoint's and of ``queue-cells``' layout: append (up to ``stream.core.facts``' first),
never renumber, and raise ``LAYOUT_VERSION`` when a meaning changes.
"""

from typing import Final

LAYOUT_VERSION: Final = 4

OFFERED: Final = 0
QUEUED: Final = 1
ANSWERED: Final = 2
ANSWERED_WITHIN_TARGET: Final = 3
ABANDONED: Final = 4  # short ones included: queued = answered + abandoned + left + ... needs them
ABANDONED_WITHIN_TARGET: Final = 5
ABANDONED_SHORT: Final = 6
LEFT_OVERFLOW: Final = 7
LEFT_TIMEOUT: Final = 8
LEFT_KEY: Final = 9
LEFT_EMPTY: Final = 10
LEFT_CALLBACK: Final = 11
LEFT_OTHER: Final = 12
BLOCKED_BUSY: Final = 13
BLOCKED_FULL: Final = 14
BLOCKED_CLOSED: Final = 15
BLOCKED_NO_AGENTS: Final = 16
BLOCKED_OTHER: Final = 17
EXPIRED_WAITING: Final = 18
EXPIRED_TALKING: Final = 19
SERVICE_LEVEL_MET: Final = 20  # numerator and denominator of the queue's own formula,
SERVICE_LEVEL_BASE: Final = 21  # in the bucket of the visit's service-level moment
OVERDUE: Final = (
    22  # +1 where a visit passes its target, -1 where it then ends: summed up, "waiting past target"
)
ANSWER_WAITS: Final = 23  # answered with a known wait
ANSWER_WAIT_MS: Final = 24
ABANDON_WAITS: Final = 25
ABANDON_WAIT_MS: Final = 26
TALKS: Final = 27
TALK_MS: Final = 28
WRAP_UPS: Final = 29
WRAP_UP_MS: Final = 30
HANDLES: Final = 31
HANDLE_MS: Final = 32
CONVERSATIONS_ENDED: Final = 33  # however they ended; expired ones included
LONGEST_WAIT_MS: Final = 34  # of the visits that ended in the bucket; combines by maximum

FIELD_COUNT: Final = 35

LEFT: Final[dict[str, int]] = {
    "overflow": LEFT_OVERFLOW,
    "timeout": LEFT_TIMEOUT,
    "key": LEFT_KEY,
    "empty": LEFT_EMPTY,
    "callback": LEFT_CALLBACK,
    "other": LEFT_OTHER,
}
BLOCKED: Final[dict[str, int]] = {
    "busy": BLOCKED_BUSY,
    "full": BLOCKED_FULL,
    "closed": BLOCKED_CLOSED,
    "no_agents": BLOCKED_NO_AGENTS,
    "other": BLOCKED_OTHER,
}

# Histograms over the whole life of a queue: name -> (field of the count, field of the sum in ms).
HISTOGRAMS: Final[dict[str, tuple[int, int]]] = {
    "answer_wait": (ANSWER_WAITS, ANSWER_WAIT_MS),
    "abandon_wait": (ABANDON_WAITS, ABANDON_WAIT_MS),
    "talk": (TALKS, TALK_MS),
    "wrap_up": (WRAP_UPS, WRAP_UP_MS),
    "handle": (HANDLES, HANDLE_MS),
}
HISTOGRAM_NAMES: Final = tuple(HISTOGRAMS)

ANOMALIES: Final = (
    "answered_without_visit",
    "abandoned_without_visit",
    "left_without_visit",
    "blocked_while_waiting",
    "hold_without_conversation",
    "hold_on_hold",
    "resumed_without_hold",
    "ended_without_conversation",
    "wrap_up_without_conversation",
)

UNROUTED: Final = "unrouted"  # no queue known at all
OTHER: Final = "__other__"  # queues beyond queues_max
