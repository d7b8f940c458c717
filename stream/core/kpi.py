"""The table of KPIs: the only place where something is divided.

A KPI is a row: sums of fields of a cell over sums of fields of a cell. Its value is None where the base is 0, since a
ratio of nothing is neither 0 nor 1 (contract, section 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stream.core import fields as f

MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number: the sum of some fields, less the sum of others."""

    name: str
    plus: tuple[int, ...]
    minus: tuple[int, ...] = ()

    def of(self, counts: Mapping[int, int]) -> int:
        """Add up the fields of a cell, a window or a total."""
        # A hundred thousand times in a scrape of a large centre: no generators.
        value = 0
        for field in self.plus:
            value += counts.get(field, 0)
        for field in self.minus:
            value -= counts.get(field, 0)
        return value


@dataclass(frozen=True, slots=True)
class Ratio:
    """One count over another, divided once more by ``divisor`` to arrive at the unit (ms -> s)."""

    name: str
    part: Count
    base: Count
    divisor: int = 1

    def of(self, counts: Mapping[int, int]) -> float | None:
        """Divide; None where the base is 0."""
        base = self.base.of(counts)
        return self.part.of(counts) / (base * self.divisor) if base else None


_LEFT = tuple(f.LEFT.values())
_BLOCKED = tuple(f.BLOCKED.values())

OFFERED = Count("offered", (f.OFFERED,))
QUEUED = Count("queued", (f.QUEUED,))
ANSWERED = Count("answered", (f.ANSWERED,))
ANSWERED_WITHIN_TARGET = Count("answered_within_target", (f.ANSWERED_WITHIN_TARGET,))
ABANDONED = Count("abandoned", (f.ABANDONED,))
ABANDONED_WITHIN_TARGET = Count("abandoned_within_target", (f.ABANDONED_WITHIN_TARGET,))
ABANDONED_SHORT = Count("abandoned_short", (f.ABANDONED_SHORT,))
LEFT = Count("left", _LEFT)
BLOCKED = Count("blocked", _BLOCKED)
EXPIRED = Count("expired", (f.EXPIRED_WAITING, f.EXPIRED_TALKING))
SERVICE_LEVEL_MET = Count("service_level_met", (f.SERVICE_LEVEL_MET,))
SERVICE_LEVEL_BASE = Count("service_level_base", (f.SERVICE_LEVEL_BASE,))
WAITING = Count("waiting", (f.QUEUED,), (f.ANSWERED, f.ABANDONED, *_LEFT, f.EXPIRED_WAITING))
IN_PROGRESS = Count("in_progress", (f.ANSWERED,), (f.CONVERSATIONS_ENDED,))

SERVICE_LEVEL = Ratio("service_level", SERVICE_LEVEL_MET, SERVICE_LEVEL_BASE)
ABANDONMENT = Ratio(
    "abandonment",
    Count("abandoned_not_short", (f.ABANDONED,), (f.ABANDONED_SHORT,)),
    Count("ended_waits_not_short", (f.ANSWERED, f.ABANDONED, *_LEFT), (f.ABANDONED_SHORT,)),
)
BLOCKED_RATIO = Ratio("blocked_ratio", BLOCKED, Count("attempts", (*_BLOCKED, f.QUEUED)))


def _mean(name: str, histogram: str) -> Ratio:
    count, total_ms = f.HISTOGRAMS[histogram]
    return Ratio(name, Count(f"{histogram}_ms", (total_ms,)), Count(f"{histogram}s", (count,)), MS_PER_S)


ANSWER_SPEED_S = _mean("answer_speed_s", "answer_wait")
ABANDON_TIME_S = _mean("abandon_time_s", "abandon_wait")
TALK_S = _mean("talk_s", "talk")
WRAP_UP_S = _mean("wrap_up_s", "wrap_up")
HANDLE_S = _mean("handle_s", "handle")


def longest_wait_s(counts: Mapping[int, int]) -> float | None:
    """Return the longest wait that ended, in seconds; None when none did."""
    wait_ms = counts.get(f.LONGEST_WAIT_MS)
    return None if wait_ms is None else wait_ms / MS_PER_S


# What a closed interval shows, in the order of the contract (section 6). Sub-counts follow their count.
INTERVAL_COUNTS: Final = (
    OFFERED,
    QUEUED,
    ANSWERED,
    ANSWERED_WITHIN_TARGET,
    ABANDONED,
    ABANDONED_WITHIN_TARGET,
    ABANDONED_SHORT,
    LEFT,
    BLOCKED,
)


def interval_values(counts: Mapping[int, int]) -> dict[str, int | float | None]:
    """Return the counts and KPIs of a closed interval by their names in the contract."""
    values: dict[str, int | float | None] = {count.name: count.of(counts) for count in INTERVAL_COUNTS}
    for ratio in (SERVICE_LEVEL, ABANDONMENT, ANSWER_SPEED_S, ABANDON_TIME_S):
        values[ratio.name] = ratio.of(counts)
    values["longest_wait_s"] = longest_wait_s(counts)
    values[TALK_S.name] = TALK_S.of(counts)
    return values
