"""What stage 2 saves of one queue."""

import msgspec

from stream.core.counts import Counts


class Part(msgspec.Struct, array_like=True, gc=False):
    """What one source partition has said about a queue."""

    offset: int = -1
    oldest_waiting_at_ms: int | None = None
    totals: Counts = msgspec.field(default_factory=dict)
    histograms: list[list[int]] = msgspec.field(default_factory=list)
    cells: dict[int, tuple[int, Counts]] = msgspec.field(default_factory=dict)  # bucket -> (offset, counts)


class QueueState(msgspec.Struct, array_like=True, gc=False):
    """Everything of a queue that is saved."""

    name: str
    first_at_ms: int
    parts: dict[int, Part] = msgspec.field(default_factory=dict)
    sums: dict[int, Counts] = msgspec.field(default_factory=dict)  # by bucket
    longest: dict[int, int] = msgspec.field(default_factory=dict)  # by bucket
    final_longest: dict[int, int] = msgspec.field(default_factory=dict)  # of parts that are final there
    quarters: dict[int, Counts] = msgspec.field(default_factory=dict)  # by number of the quarter hour
    quarter_longest: dict[int, int] = msgspec.field(default_factory=dict)
    # of parts that are final there
    final_quarter_longest: dict[int, int] = msgspec.field(default_factory=dict)
