"""The plan of one queue over time: arrival rate, agents, open or closed, disturbances worked in.

Everything is constant between two boundaries (half hours, begins and ends of disturbances), so
one `Segment` answers all questions until it ends.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

from stream.simulate.disturbance import Disturbance, Interval, Kind
from stream.simulate.local_time import DAY_MS, HALF_HOUR_MS, LocalClock
from stream.simulate.model import Centre, QueueModel

# A queue without a single expected contact in the next eight days (every weekday and slot was
# looked at, and no disturbance makes something out of nothing) never gets one.
_SILENCE_MS_MAX = 8 * DAY_MS


class Segment(NamedTuple):
    """What holds until `ends_at_ms`."""

    rate_per_ms: float
    agents: int
    open: bool
    ends_at_ms: int


class Plan:
    """One queue's plan; a pure function of time."""

    def __init__(
        self, centre: Centre, queue: QueueModel, disturbances: Iterable[Disturbance], start_ms: int
    ) -> None:
        self.queue = queue
        self._calendar = LocalClock(centre.time_zone, centre.calendar_shift_ms)
        # Disturbances are given in real local time, also when the calendar is moved.
        wall = LocalClock(centre.time_zone)
        self._intervals: tuple[Interval, ...] = tuple(
            disturbance.interval(wall, start_ms)
            for disturbance in disturbances
            if not disturbance.queues or queue.name in disturbance.queues
        )
        self.undisturbed_from_ms = max((one.until_ms for one in self._intervals), default=start_ms)

    def segment(self, at_ms: int) -> Segment:
        """Return what holds from `at_ms` on, and until when."""
        slot = self._calendar.slot(at_ms)
        rate = self.queue.arrivals_in(slot.half_hour) * self.queue.week[slot.weekday] / HALF_HOUR_MS
        agents = float(self.queue.agents_in(slot.half_hour))
        ends_at_ms = slot.ends_at_ms
        for interval in self._intervals:
            if at_ms < interval.from_ms:
                ends_at_ms = min(ends_at_ms, interval.from_ms)
            elif at_ms < interval.until_ms:
                ends_at_ms = min(ends_at_ms, interval.until_ms)
                if interval.kind is Kind.SURGE:
                    rate *= interval.factor
                else:
                    agents *= interval.factor
        is_open = self.queue.open_in(slot.weekday, slot.half_hour)
        return Segment(rate, round(agents), is_open, ends_at_ms)


class Arrivals:
    """A Poisson process whose rate follows a plan, exact by inversion: nothing is thinned out."""

    def __init__(self, plan: Plan, source: random.Random, start_ms: int) -> None:
        self._plan = plan
        self._exponential = source.expovariate
        self._at_ms = float(start_ms)
        self._segment = plan.segment(start_ms)

    def next_at_ms(self) -> int | None:
        """Return the instant of the next arrival (never before the last one), or None: no more."""
        wanted = self._exponential(1.0)
        silent_until_ms = max(self._at_ms, self._plan.undisturbed_from_ms) + _SILENCE_MS_MAX
        while True:
            rate, ends_at_ms = self._segment.rate_per_ms, self._segment.ends_at_ms
            expected = rate * (ends_at_ms - self._at_ms)
            if expected > wanted:
                self._at_ms += wanted / rate
                return int(self._at_ms)
            if ends_at_ms > silent_until_ms:
                return None
            if expected > 0:
                silent_until_ms = max(silent_until_ms, ends_at_ms + _SILENCE_MS_MAX)
            wanted -= expected
            self._at_ms = float(ends_at_ms)
            self._segment = self._plan.segment(ends_at_ms)
