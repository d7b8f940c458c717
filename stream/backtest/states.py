"""Pending, firing, resolved: what Prometheus makes of an alert whose expression is true at some evaluations.

The transitions are those of Prometheus' rules/alerting.go: an alert is pending from the first evaluation that has it;
it fires at the first one that still has it `for` later; pending, it is gone at the first evaluation without it; firing,
it is resolved at the first one that is `keep_firing_for` after the first without it, unless it is back by then.
PromQL is not ours: which evaluations have it, a real Prometheus said.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Point = tuple[int, float]  # an evaluation that has the alert, in ms, and the expression's value


@dataclass(frozen=True, slots=True)
class Span:
    """Evaluations in equal steps: the first, the last, and what is between two."""

    start_ms: int
    end_ms: int
    interval_ms: int

    @property
    def last_ms(self) -> int:
        """Return the last evaluation."""
        return self.start_ms + (self.end_ms - self.start_ms) // self.interval_ms * self.interval_ms


@dataclass(frozen=True, slots=True)
class Episode:
    """One time that an alert was there. ``end_ms`` is None when it still is at the last evaluation."""

    pending_ms: int
    firing_ms: int | None
    end_ms: int | None
    value: float  # at the start
    value_min: float  # NaN only when no value is a number
    value_max: float


def episodes(span: Span, points: Sequence[Point], for_ms: int, keep_firing_for_ms: int) -> Iterator[Episode]:
    """Yield the episodes of one alert. ``points`` are in order of time, each at an evaluation of the span."""
    first = 0
    firing_ms: int | None = None
    for place, (at_ms, _) in enumerate(points):
        if firing_ms is None and at_ms - points[first][0] >= for_ms:
            firing_ms = at_ms
        missing_ms = at_ms + span.interval_ms  # the next evaluation, which may be the first without it
        end_ms = missing_ms
        if firing_ms is not None:
            end_ms += -(-keep_firing_for_ms // span.interval_ms) * span.interval_ms
        last = place == len(points) - 1
        if not last and points[place + 1][0] <= end_ms:
            # back in time, or never gone; one that was pending is back in time at the very next evaluation only
            continue
        resolved_ms = None if last and end_ms > span.last_ms else end_ms
        yield _episode(points[first : place + 1], firing_ms, resolved_ms)
        first, firing_ms = place + 1, None


def _episode(points: Sequence[Point], firing_ms: int | None, end_ms: int | None) -> Episode:
    numbers = [value for _, value in points if not math.isnan(value)] or [math.nan]
    start_ms, value = points[0]
    return Episode(start_ms, firing_ms, end_ms, value, min(numbers), max(numbers))
