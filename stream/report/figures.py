"""What a page shows: the closed intervals of a replay, added up by day, by hour of the week and by queue.

Intervals are those of `stream.replay.Rows`, and so are the days. Memory holds the days of each queue and
a week of hours, however long the history is.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from stream.core import kpi
from stream.core.board import merge_counts
from stream.core.counts import Counts
from stream.core.labels import unique_labels
from stream.core.rules import HISTOGRAM_BOUNDS_S, BoardRules
from stream.core.snapshot import HistogramView, QueueView
from stream.core.window import minute_of_week
from stream.replay.rows import Days, add_to_day

WORST_MAX: Final = 15  # a page of paper has room for more, a conversation about them has not
_MINUTES_AN_HOUR: Final = 60
_ANSWERED: Final = "answer_wait"
_ABANDONED: Final = "abandon_wait"


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval of a queue."""

    start_ms: int
    queue: str
    counts: Mapping[int, int]

    @property
    def missed(self) -> int:
        """How many contacts were not served as the formula asks."""
        return kpi.SERVICE_LEVEL_BASE.of(self.counts) - kpi.SERVICE_LEVEL_MET.of(self.counts)


@dataclass(frozen=True, slots=True)
class Waits:
    """Visits that ended after a wait of at most ``bound_s`` and more than the one before; None: longer than all."""

    bound_s: int | None
    answered: int
    abandoned: int
    answered_up_to: int  # after this wait or a shorter one


@dataclass(slots=True)
class Figures:
    """Collects a replay. Give it every interval that becomes final, then its last look at the queues."""

    rules: BoardRules
    days: Days = field(default_factory=dict)
    hours: dict[tuple[int, int], Counts] = field(default_factory=dict)  # weekday from Monday = 0, hour
    _worst: list[Interval] = field(default_factory=list)
    _waits: dict[str, list[int]] = field(default_factory=dict)

    def add(self, closed: Iterable[tuple[int, str, Counts]]) -> None:
        """Take intervals that are final: start in ms, queue, counts."""
        zone = self.rules.time_zone
        for start_ms, queue, counts in closed:
            add_to_day(self.days, zone, start_ms, queue, counts)
            weekday, minute = minute_of_week(start_ms, zone)
            hour = weekday, minute // _MINUTES_AN_HOUR
            self.hours[hour] = merge_counts([self.hours.get(hour, {}), counts])
            interval = Interval(start_ms, queue, counts)
            if interval.missed:
                self._worst.append(interval)
        self._worst = self.worst()

    def take_waits(self, queues: Iterable[QueueView]) -> None:
        """Take the histograms of all queues, over the whole replay, in the buckets that every queue has."""
        views = list(queues)
        for name in (_ANSWERED, _ABANDONED):
            coarse = [_coarse(view.histograms[name]) for view in views if name in view.histograms]
            self._waits[name] = [sum(column) for column in zip(*coarse, strict=True)]

    def worst(self) -> list[Interval]:
        """Return the intervals in which most contacts were not served as their formula asks, worst first."""
        return heapq.nsmallest(WORST_MAX, self._worst, lambda one: (-one.missed, one.start_ms, one.queue))

    def queues(self) -> dict[str, Counts]:
        """Return the sums of each queue, the configured ones without contacts too, by name."""
        names = {queue for _, queue in self.days} | set(self.rules.queues)
        parts: dict[str, list[Counts]] = {name: [] for name in sorted(names)}
        for (_, queue), counts in self.days.items():
            parts[queue].append(counts)
        return {name: merge_counts(found) for name, found in parts.items()}

    def shown_names(self) -> dict[str, str]:
        """Return how each queue is written: printable, and no two alike."""
        names = list(self.queues())
        return dict(zip(names, unique_labels(names), strict=True))

    def by_day(self) -> dict[int, Counts]:
        """Return the sums of all queues, by start of the day in ms."""
        parts: dict[int, list[Counts]] = {}
        for (start_ms, _), counts in sorted(self.days.items()):
            parts.setdefault(start_ms, []).append(counts)
        return {start_ms: merge_counts(found) for start_ms, found in parts.items()}

    def waits(self) -> list[Waits]:
        """Return the distribution of the waits of all queues; nothing when no wait is known."""
        answered, abandoned = (self._waits.get(name, []) for name in (_ANSWERED, _ABANDONED))
        if not any(answered) and not any(abandoned):
            return []
        bounds = (*HISTOGRAM_BOUNDS_S, None)
        return [Waits(*one) for one in zip(bounds, answered, abandoned, accumulate(answered), strict=True)]


def _coarse(view: HistogramView) -> list[int]:
    """Add up the finer buckets, which targets make, into those that every histogram has."""
    counts = [0] * (len(HISTOGRAM_BOUNDS_S) + 1)
    bounds_ms = [bound_s * kpi.MS_PER_S for bound_s in HISTOGRAM_BOUNDS_S]
    for bound_ms, count in zip((*view.bounds_ms, None), view.counts, strict=True):
        place = (
            len(bounds_ms) if bound_ms is None else sum(1 for coarse_ms in bounds_ms if coarse_ms < bound_ms)
        )
        counts[place] += count
    return counts
