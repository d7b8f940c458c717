"""The exposition as text, straight from the table of metrics.

prometheus_client makes a dictionary and a named tuple of every sample and escapes every label again; at a
thousand queues that takes seconds. This writes the same bytes (a test compares them) with each label text
made once, and keeps the text of what is equal at the next scrape. Names of metrics and labels are all of the
classic character set, so that the escaping schemes `underscores` and `allow-utf-8` change nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from stream.core.kpi import MS_PER_S
from stream.core.snapshot import HistogramView, QueueView
from stream.export.metrics import METRICS, Kind, Metric, OfQueue, Scrape, Series, number_text

# From here on number_text writes an exponent; below, what repr does.
_PLAIN_MAX: Final = 1_000_000
_TOTAL: Final = "_total"
_QUEUES_AT_ONCE: Final = 10  # a few milliseconds

# Metrics by the part of a queue that they read.
_BY_PART: Final[dict[Callable[[QueueView], object], list[tuple[Metric, OfQueue]]]] = {}
for _metric in METRICS:
    if _metric.of_queue is not None:
        _BY_PART.setdefault(_metric.of_queue.part, []).append((_metric, _metric.of_queue))


def render(scrape: Scrape, *, openmetrics: bool) -> bytes:
    """Return the text format 0.0.4, or OpenMetrics 1.0."""
    return Renderer().render(scrape, openmetrics=openmetrics)


class Renderer:
    """Writes expositions, and remembers the text of every queue."""

    def __init__(self) -> None:
        self._queues: dict[str, _QueueText] = {}

    def render(self, scrape: Scrape, *, openmetrics: bool) -> bytes:
        """Return the text format 0.0.4, or OpenMetrics 1.0."""
        for _ in self.prepare(scrape):
            pass
        return self.text(scrape, openmetrics=openmetrics)

    def prepare(self, scrape: Scrape) -> Iterator[None]:
        """Bring the texts of the queues up to date, a few in each step; those of gone queues go."""
        known, self._queues = self._queues, {}
        for number, (label, view) in enumerate(scrape.queues, 1):
            queue = self._queues[label] = known.get(label) or _QueueText(label)
            queue.update(view)
            if not number % _QUEUES_AT_ONCE:
                yield

    def text(self, scrape: Scrape, *, openmetrics: bool) -> bytes:
        """Put the exposition together, after ``prepare``."""
        queues = [queue.lines for queue in self._queues.values()]
        parts: list[str] = []
        for metric in METRICS:
            parts.append(_head(metric, openmetrics=openmetrics))
            if metric.of_queue is None:
                parts.extend(_of_process(metric, scrape))
            else:
                name = metric.name
                parts += [lines[name] for lines in queues]
        if openmetrics:
            parts.append("# EOF\n")
        return "".join(parts).encode()


class _QueueText:
    """The lines of one queue, by the name of their metric."""

    __slots__ = ("_label", "_prefixes", "_read", "_templates", "lines")

    def __init__(self, label: str) -> None:
        self.lines: dict[str, str] = {}
        self._label = label
        # by name of the metric and values of its labels: a line up to its value
        self._prefixes: dict[str, dict[tuple[str, ...], str]] = {}
        self._read: dict[Callable[[QueueView], object], object] = {}
        self._templates: dict[tuple[str, tuple[int, ...]], str] = {}

    def update(self, view: QueueView) -> None:
        """Write the lines of the metrics whose part of the queue has changed."""
        for part, metrics in _BY_PART.items():
            read = part(view)
            if part not in self._read or self._read[part] != read:
                self._read[part] = read
                for metric, of_queue in metrics:
                    self.lines[metric.name] = self._write(metric, of_queue.read(view))

    def _write(self, metric: Metric, series: Iterable[Series]) -> str:
        name = metric.name
        known = self._prefixes.setdefault(name, {})
        lines = []
        for values, value in series:
            if isinstance(value, HistogramView):
                lines.append(self._histogram(metric, values, value))
                continue
            prefix = known.get(values)
            if prefix is None:
                prefix = known[values] = f"{name}{{{self._labels(metric, values)}}} "
            if type(value) is int and -_PLAIN_MAX < value < _PLAIN_MAX:  # most are
                lines.append(f"{prefix}{value}.0\n")
            else:
                lines.append(f"{prefix}{_number(value)}\n")
        return "".join(lines)

    def _labels(self, metric: Metric, values: tuple[str, ...]) -> str:
        return _label_text(metric.labels, (self._label, *values))

    def _histogram(self, metric: Metric, values: tuple[str, ...], view: HistogramView) -> str:
        *cumulated, total = accumulate(view.counts)
        name = metric.name
        if total >= _PLAIN_MAX or min(view.counts) < 0:
            numbers = [number_text(count) for count in (*cumulated, total, total)]
            large = _histogram_template(name, self._labels(metric, values), view.bounds_ms, "%s")
            return large % (*numbers, _seconds(view))
        key = (name, view.bounds_ms)
        template = self._templates.get(key)
        if template is None:
            labels = self._labels(metric, values)
            template = self._templates[key] = _histogram_template(name, labels, view.bounds_ms, "%d.0")
        return template % (*cumulated, total, total, _seconds(view))


def _histogram_template(name: str, labels: str, bounds_ms: tuple[int, ...], number: str) -> str:
    labels = labels.replace("%", "%%")
    bounds = [*(number_text(bound_ms / MS_PER_S) for bound_ms in bounds_ms), "+Inf"]
    buckets = [f'{name}_bucket{{le="{bound}",{labels}}} {number}\n' for bound in bounds]
    return f"{''.join(buckets)}{name}_count{{{labels}}} {number}\n{name}_sum{{{labels}}} %s\n"


def _seconds(view: HistogramView) -> str:
    return _number(view.sum_ms / MS_PER_S)


def _head(metric: Metric, *, openmetrics: bool) -> str:
    name, text = metric.name, metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        text = text.replace('"', r"\"")
        name = name.removesuffix(_TOTAL) if metric.kind is Kind.COUNTER else name
    return f"# HELP {name} {text}\n# TYPE {name} {metric.kind}\n"


def _of_process(metric: Metric, scrape: Scrape) -> Iterator[str]:
    for values, value in metric.read(scrape):
        if isinstance(value, HistogramView):
            raise TypeError(f"{metric.name} is a histogram of no queue")
        labels = f"{{{_label_text(metric.labels, values)}}}" if values else ""
        yield f"{metric.name}{labels} {_number(value)}\n"


def _label_text(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return repr(float(value)) if -_PLAIN_MAX < value < _PLAIN_MAX else number_text(value)
