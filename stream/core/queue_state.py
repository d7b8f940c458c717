"""What stage 2 saves of one queue."""

import msgspec

from stream.core.counts import Counts
from stream.core.minute import minutes_of


class Part(msgspec.Struct, array_like=True, gc=False):
    """What one source partition has said about a queue."""

    offset: int = -1
    oldest_waiting_at_ms: int | None = None
    totals: Counts = msgspec.field(default_factory=dict)
    histograms: list[list[int]] = msgspec.field(default_factory=list)
    # number -> (offset, counts by place)
    minutes: dict[int, tuple[int, Counts]] = msgspec.field(default_factory=dict)


class QueueState(msgspec.Struct, array_like=True, gc=False):
    """Everything of a queue that is saved."""

    name: str
    first_at_ms: int
    parts: dict[int, Part] = msgspec.field(default_factory=dict)
    sums: dict[int, Counts] = msgspec.field(default_factory=dict)  # by minute, counts by place
    longest: dict[int, int] = msgspec.field(default_factory=dict)  # by bucket
    final_longest: dict[int, int] = msgspec.field(default_factory=dict)  # of parts that are final there
    quarters: dict[int, Counts] = msgspec.field(default_factory=dict)  # by number of the quarter hour
    quarter_longest: dict[int, int] = msgspec.field(default_factory=dict)
    # of parts that are final there
    final_quarter_longest: dict[int, int] = msgspec.field(default_factory=dict)

    def put_cells_together(self, per_minute: int) -> None:
        """Make minutes of the single cells that a state of ``CELLS_LAYOUT`` or before holds in their places."""
        self.sums = minutes_of(self.sums.items(), per_minute)
        for part in self.parts.values():
            offsets: dict[int, int] = {}
            for bucket, (offset, _) in part.minutes.items():
                number = bucket // per_minute
                offsets[number] = max(offset, offsets.get(number, offset))
            cells = [(bucket, counts) for bucket, (_, counts) in part.minutes.items()]
            minutes = minutes_of(cells, per_minute)
            part.minutes = {number: (offsets[number], counts) for number, counts in minutes.items()}
