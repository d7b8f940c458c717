"""The watchdog: records are waiting, and nothing moves.

Faust's own "slow processing" messages are noisy, sometimes false, and restart nothing; a worker that
heartbeats but no longer reads is the failure that its users report most. So progress is measured here: the
position of a partition must move while the end of its log is ahead of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.engine.tp import Place


@dataclass(slots=True)
class Watchdog:
    """Tells whether every owned partition moves. Time is passed in, in seconds of a monotonic clock."""

    stall_after_s: float
    _positions: dict[Place, tuple[int, float]] = field(default_factory=dict)

    def look(self, positions: Mapping[Place, tuple[int, int]], now_s: float) -> str:
        """Take ``{place: (position, records waiting)}``; return why this is not healthy, or nothing."""
        for gone in self._positions.keys() - positions.keys():
            del self._positions[gone]
        reason = ""
        for place, (position, waiting) in positions.items():
            seen = self._positions.get(place)
            if seen is None or seen[0] != position or waiting <= 0:
                self._positions[place] = (position, now_s)
            elif now_s - seen[1] > self.stall_after_s:
                reason = f"{place} has not moved for {now_s - seen[1]:.0f} s with {waiting} records waiting"
        return reason
