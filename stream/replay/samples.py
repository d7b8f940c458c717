"""What a scrape at a step of the replay would have stored: live names and labels, from the live table of metrics."""

from collections.abc import Collection, Iterator
from itertools import accumulate
from typing import Final

from stream.core.kpi import MS_PER_S
from stream.core.snapshot import HistogramView, QueueView, Snapshot
from stream.export.metrics import METRICS, Build, Kind, Metric, number_text, scrape
from stream.settings import Alerts

# About the process that exports, which in a replay is another one each time.
_OF_THE_PROCESS: Final = frozenset({"callgauge_build_info", "callgauge_collect_duration_seconds"})
_SUFFIXES: Final = (
    "",
    "_bucket",
    "_count",
    "_sum",
)  # of a metric's series; all but the first only of histograms
UP: Final = "up"  # what Prometheus itself adds to a scrape that went well
_BUILD: Final = Build("", "")
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
Value = int | float


class Series:
    """One time series: its labels in the order of their names, the metric's name apart."""

    __slots__ = ("labels", "name", "text")

    def __init__(self, name: str, labels: tuple[tuple[str, str], ...]) -> None:
        self.name = name
        self.labels = labels
        inner = ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in labels)
        self.text = f"{name}{{{inner}}}"  # as the exposition writes it


Samples = list[tuple[Series, Value]]


class Sampler:
    """Takes all samples of a snapshot. A series is the same object at every step."""

    def __init__(self, job: str, instance: str, alerts: Alerts, names: Collection[str] | None = None) -> None:
        """With ``names`` take only metrics that have a series of such a name."""
        self._metrics = [metric for metric in METRICS if _is_sampled(metric, names)]
        self._own = (("instance", instance), ("job", job))
        self._alerts = alerts
        self._series: dict[tuple[str, tuple[str, ...]], Series] = {}
        self._known: dict[tuple[str, str], tuple[object, Samples]] = {}  # (metric, queue) -> part, samples

    def take(self, snapshot: Snapshot) -> Samples:
        """Return the samples of every series that exists at this moment, in the order of the table."""
        shown = scrape(lambda: snapshot, _BUILD, lambda: 0.0, self._alerts)
        samples: Samples = [(self._named(UP, (), ()), 1)]
        for metric in self._metrics:
            if metric.of_queue is None:
                for values, value in metric.read(shown):
                    samples += self._samples(metric, values, value)
            else:
                for queue, view in shown.queues:
                    samples += self._of_queue(metric, queue, view)
        return samples

    def _of_queue(self, metric: Metric, queue: str, view: QueueView) -> Samples:
        """Return the samples of a queue; while what a metric reads is equal, so are they."""
        if metric.of_queue is None:
            raise TypeError(f"{metric.name} is of no queue")
        part = metric.of_queue.part(view)
        known = self._known.get((metric.name, queue))
        if known is not None and known[0] == part:
            return known[1]
        samples = [
            sample
            for values, value in metric.of_queue.read(view)
            for sample in self._samples(metric, (queue, *values), value)
        ]
        self._known[metric.name, queue] = part, samples
        return samples

    def _samples(
        self, metric: Metric, values: tuple[str, ...], value: Value | HistogramView
    ) -> Iterator[tuple[Series, Value]]:
        if not isinstance(value, HistogramView):
            yield self._named(metric.name, metric.labels, values), value
            return
        bounds = [*(number_text(bound_ms / MS_PER_S) for bound_ms in value.bounds_ms), "+Inf"]
        count = 0
        for bound, count in zip(bounds, accumulate(value.counts), strict=True):
            yield self._named(f"{metric.name}_bucket", (*metric.labels, "le"), (*values, bound)), count
        yield self._named(f"{metric.name}_count", metric.labels, values), count
        yield self._named(f"{metric.name}_sum", metric.labels, values), value.sum_ms / MS_PER_S

    def _named(self, name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> Series:
        series = self._series.get((name, values))
        if series is None:
            every = sorted((*self._own, *zip(labels, values, strict=True)))
            series = self._series[name, values] = Series(name, tuple(every))
        return series


def _is_sampled(metric: Metric, names: Collection[str] | None) -> bool:
    if metric.name in _OF_THE_PROCESS:
        return False
    return names is None or any(f"{metric.name}{suffix}" in names for suffix in _SUFFIXES)


def families() -> Iterator[tuple[str, Kind]]:
    """Yield name and kind of every metric that is sampled."""
    yield UP, Kind.GAUGE
    for metric in METRICS:
        if metric.name not in _OF_THE_PROCESS:
            yield metric.name, metric.kind
