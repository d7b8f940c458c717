"""The table of metrics as a prometheus_client Collector: constant families, made anew at every collection."""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from stream.core.kpi import MS_PER_S
from stream.core.snapshot import HistogramView
from stream.export.metrics import METRICS, Kind, Metric, Scrape, number_text

_Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_FAMILIES: Final[dict[Kind, type[_Family]]] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


class SnapshotCollector(Collector):
    """Reads every metric from one snapshot; ``begin`` takes it."""

    def __init__(self, begin: Callable[[], Scrape]) -> None:
        self._begin = begin

    def describe(self) -> Iterator[Family]:
        """Name the metrics without taking a snapshot, so that registering costs nothing."""
        for metric in METRICS:
            yield _family(metric)

    def collect(self) -> Iterator[Family]:
        """Take a snapshot and yield one family for each row of the table."""
        scrape = self._begin()
        for metric in METRICS:
            family = _family(metric)
            for labels, value in metric.read(scrape):
                _add(family, labels, value)
            yield family


def registry_of(begin: Callable[[], Scrape]) -> CollectorRegistry:
    """Return a registry with nothing but callgauge's metrics in it."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(begin))
    return registry


def _family(metric: Metric) -> _Family:
    family: type[_Family] = _FAMILIES[metric.kind]
    return family(metric.name, metric.help, labels=metric.labels)


def _add(
    family: _Family,
    labels: tuple[str, ...],
    value: float | HistogramView,
) -> None:
    if isinstance(family, HistogramMetricFamily):
        if not isinstance(value, HistogramView):
            raise TypeError(f"{family.name} is a histogram, its value is not")
        bounds = [number_text(bound / MS_PER_S) for bound in value.bounds_ms]
        buckets = list(zip((*bounds, "+Inf"), accumulate(value.counts), strict=True))
        family.add_metric(labels, buckets, value.sum_ms / MS_PER_S)
    else:
        family.add_metric(labels, value)  # type: ignore[arg-type]  # a number: only histograms have views
