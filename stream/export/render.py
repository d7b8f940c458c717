"""The exposition as text, straight from the table of metrics.

prometheus_client makes a dictionary and a named tuple of every sample and escapes every label again; at a
thousand queues that takes seconds. This writes the same bytes (a test compares them): what the lines of a metric have
in common is made once for all queues, and the text of what is equal at the next scrape is kept. Names of metrics and
labels are all of the classic character set, so that the escaping schemes `underscores` and `allow-utf-8` change
nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from stream.core.kpi import MS_PER_S
from stream.core.snapshot import HistogramView, QueueView
from stream.export.metrics import METRICS, Kind, Metric, OfQueue, Scrape, number_text

# From here on number_text writes an exponent; below, what repr does.
_PLAIN_MAX: Final = 1_000_000
_TOTAL: Final = "_total"
_QUEUES_AT_ONCE: Final = 10  # a few milliseconds
_QUEUE: Final = "\0"  # where the queue goes in a template, which has no such character otherwise


def render(scrape: Scrape, *, openmetrics: bool) -> bytes:
    """Return the text format 0.0.4, or OpenMetrics 1.0."""
    return Renderer().render(scrape, openmetrics=openmetrics)


class Renderer:
    """Writes expositions, and remembers the text of every queue."""

    def __init__(self) -> None:
        self._queues: dict[str, _QueueText] = {}
        # by the part of a queue that they read
        self._forms: dict[Callable[[QueueView], object], list[_Form]] = {}
        for metric in METRICS:
            if metric.of_queue is not None:
                self._forms.setdefault(metric.of_queue.part, []).append(_Form(metric, metric.of_queue))

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
            queue.update(view, self._forms)
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


class _Form:
    """Writes the lines of one metric, and remembers what they have in common: all but the queue and the numbers."""

    __slots__ = ("_labels", "_read", "_tails", "_templates", "name")

    def __init__(self, metric: Metric, of_queue: OfQueue) -> None:
        self.name = metric.name
        self._read = of_queue.read
        self._labels = metric.labels[1:]  # those that follow the queue
        self._tails: dict[tuple[str, ...], str] = {}  # by their values: a line from the queue to its value
        self._templates: dict[tuple[int, ...], str] = {}  # by the bounds of a histogram

    def write(self, queue: str, view: QueueView) -> str:
        """Return the lines of a queue, which is given as it is written."""
        head = f'{self.name}{{queue="{queue}"'
        tails = self._tails
        lines = []
        for values, value in self._read(view):
            if type(value) is int and -_PLAIN_MAX < value < _PLAIN_MAX:  # most are
                number = f"{value}.0"
            elif isinstance(value, HistogramView):
                lines.append(self._histogram(queue, value))
                continue
            else:
                number = _number(value)
            lines.append(f"{head}{tails.get(values) or self._tail(values)}{number}\n")
        return "".join(lines)

    def _tail(self, values: tuple[str, ...]) -> str:
        labels = f",{_label_text(self._labels, values)}" if values else ""
        tail = self._tails[values] = f"{labels}}} "
        return tail

    def _histogram(self, queue: str, view: HistogramView) -> str:
        *cumulated, total = accumulate(view.counts)
        numbers = (*cumulated, total, total)
        template = self._templates.get(view.bounds_ms) or self._template(view.bounds_ms)
        if total >= _PLAIN_MAX or min(view.counts) < 0:
            text = template.replace("%d.0", "%s") % (*map(number_text, numbers), _seconds(view))
        else:
            text = template % (*numbers, _seconds(view))
        return text.replace(_QUEUE, queue)  # last: a queue may look like a format

    def _template(self, bounds_ms: tuple[int, ...]) -> str:
        name, label = self.name, f'queue="{_QUEUE}"'
        bounds = [*(number_text(bound_ms / MS_PER_S) for bound_ms in bounds_ms), "+Inf"]
        buckets = "".join(f'{name}_bucket{{le="{bound}",{label}}} %d.0\n' for bound in bounds)
        template = f"{buckets}{name}_count{{{label}}} %d.0\n{name}_sum{{{label}}} %s\n"
        self._templates[bounds_ms] = template
        return template


class _QueueText:
    """The lines of one queue, by the name of their metric."""

    __slots__ = ("_label", "_read", "lines")

    def __init__(self, label: str) -> None:
        self.lines: dict[str, str] = {}
        self._label = _escape(label)
        self._read: dict[Callable[[QueueView], object], object] = {}

    def update(self, view: QueueView, forms: Mapping[Callable[[QueueView], object], list[_Form]]) -> None:
        """Write the lines of the metrics whose part of the queue has changed."""
        for part, of_part in forms.items():
            read = part(view)
            if part not in self._read or self._read[part] != read:
                self._read[part] = read
                for form in of_part:
                    self.lines[form.name] = form.write(self._label, view)


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
