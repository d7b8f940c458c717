"""The watchdog: something should go on, and does not.

Faust's own "slow processing" messages are noisy, sometimes false, and restart nothing; a worker that
heartbeats but no longer reads is the failure that its users report most. So progress is measured here, of everything
that must go on for ever (see ``stream.engine.signs``). What stands still for half of its limit makes the worker
unhealthy; what stands still for all of it ends the process.

Only time that was watched counts. After a process was stopped, or the machine slept, everything is late without
anything being stuck; so between two looks at most ``STEP_MAX_S`` count.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

STEP_MAX_S: Final = 2.0  # several times the interval of looking: a busy loop is late by less


class Sign(NamedTuple):
    """A sign of life: as long as ``expected``, ``token`` must change within ``limit_s``."""

    token: Hashable
    expected: bool
    limit_s: float
    complaint: str  # what does not go on: "nothing of it was published"


class Trouble(NamedTuple):
    """What stands still for more than half of its limit."""

    text: str
    fatal: bool  # for all of it


@dataclass(slots=True)
class Watchdog:
    """Tells what stands still. Time is passed in, in seconds of a monotonic clock."""

    _watched_s: float = 0.0
    _looked_at_s: float | None = None
    _changed: dict[Hashable, tuple[Hashable, float]] = field(default_factory=dict)

    def look(self, signs: Mapping[Hashable, Sign], now_s: float) -> Trouble | None:
        """Take the signs of life of this moment; return the worst trouble, if there is any."""
        if self._looked_at_s is not None:
            self._watched_s += min(max(0.0, now_s - self._looked_at_s), STEP_MAX_S)
        self._looked_at_s = now_s
        for gone in self._changed.keys() - signs.keys():
            del self._changed[gone]
        worst, worst_share = None, 0.5
        for name, sign in signs.items():
            still_s = self._still_s(name, sign)
            if still_s / sign.limit_s > worst_share:
                worst, worst_share = f"{sign.complaint} for {still_s:.0f} s", still_s / sign.limit_s
        return Trouble(worst, worst_share > 1) if worst is not None else None

    def _still_s(self, name: Hashable, sign: Sign) -> float:
        seen = self._changed.get(name)
        if seen is None or seen[0] != sign.token or not sign.expected:
            self._changed[name] = (sign.token, self._watched_s)
            return 0.0
        return self._watched_s - seen[1]
