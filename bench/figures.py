"""From samples to figures: pure arithmetic, tested on canned numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple

MS_PER_S = 1_000.0
US_PER_S = 1_000_000.0


class Sample(NamedTuple):
    """A running total at a moment of the wall clock: events so far, or CPU seconds so far."""

    at_ms: float
    total: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one run did between its first and its last sample; start and end of the process are outside."""

    events: float
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of the process for one event; less noisy than the rate on a shared machine."""
        return self.cpu_s / self.events * US_PER_S


def value_at(series: Sequence[Sample], at_ms: float) -> float:
    """Return a running total at a moment, on the straight line between its neighbours."""
    if at_ms <= series[0].at_ms:
        return series[0].total
    for before, after in pairwise(series):
        if at_ms <= after.at_ms:
            share = (at_ms - before.at_ms) / ((after.at_ms - before.at_ms) or 1.0)
            return before.total + share * (after.total - before.total)
    return series[-1].total


def throughput(progress: Sequence[Sample], cpu: Sequence[Sample], *, skip_ms: float = 0.0) -> Throughput:
    """Reduce a run: from its first sample with events (and `skip_ms` later, to warm up) to its last."""
    started = [sample for sample in progress if sample.total > 0]
    kept = [sample for sample in started if sample.at_ms >= started[0].at_ms + skip_ms]
    if len(kept) < 2:
        raise ValueError(f"the run was too short: {len(kept)} samples; use more events")
    return between(kept, cpu, kept[0].at_ms, kept[-1].at_ms)


def between(progress: Sequence[Sample], cpu: Sequence[Sample], from_ms: float, to_ms: float) -> Throughput:
    """Return what was done between two moments of a run."""
    return Throughput(
        value_at(progress, to_ms) - value_at(progress, from_ms),
        (to_ms - from_ms) / MS_PER_S,
        value_at(cpu, to_ms) - value_at(cpu, from_ms),
    )


def late_by_early(progress: Sequence[Sample], cpu: Sequence[Sample]) -> float:
    """Return the CPU for an event in the last third of a run, divided by that in the first third."""
    started = [sample for sample in progress if sample.total > 0]
    first_ms, last_ms = started[0].at_ms, started[-1].at_ms
    third_ms = (last_ms - first_ms) / 3

    def cost(from_ms: float, to_ms: float) -> float:
        events = value_at(started, to_ms) - value_at(started, from_ms)
        return (value_at(cpu, to_ms) - value_at(cpu, from_ms)) / events

    return cost(last_ms - third_ms, last_ms) / cost(first_ms, first_ms + third_ms)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The quotients of two variants, pair by pair: neighbours in time meet the same noise."""

    pairs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The pair in the middle."""
        return median(self.pairs)


def ratio_of_rates(of: Sequence[Throughput], to: Sequence[Throughput]) -> Ratio:
    """Return how many times as fast `of` is as `to`."""
    return Ratio(tuple(one.rate / other.rate for one, other in _paired(of, to)))


def ratio_of_cpu(of: Sequence[Throughput], to: Sequence[Throughput]) -> Ratio:
    """Return how many times as much CPU an event costs in `to` as in `of`: above 1, `of` is cheaper."""
    return Ratio(tuple(other.cpu_us / one.cpu_us for one, other in _paired(of, to)))


def _paired(of: Sequence[Throughput], to: Sequence[Throughput]) -> list[tuple[Throughput, Throughput]]:
    """Pair runs of the same round; of two lists of different length, spread the shorter over the longer."""
    count = max(len(of), len(to))
    return [(of[index * len(of) // count], to[index * len(to) // count]) for index in range(count)]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
