"""The exposition as text, straight from the table of metrics.

prometheus_client makes a dictionary and a named tuple of every sample and escapes every label again; at a
thousand queues that takes seconds. This writes the same bytes (a test compares them) with each label text
made once. Names of metrics and labels are all of the classic character set, so that the escaping schemes
`underscores` and `allow-utf-8` change nothing.
"""

from collections.abc import Iterator
from itertools import accumulate

from stream.core.kpi import MS_PER_S
from stream.core.snapshot import HistogramView
from stream.export.metrics import METRICS, Kind, Metric, Scrape, number_text

# From here on number_text writes an exponent.
_PLAIN_INTEGER_MAX = 1_000_000
_TOTAL = "_total"


def render(scrape: Scrape, *, openmetrics: bool) -> bytes:
    """Return the text format 0.0.4, or OpenMetrics 1.0."""
    texts: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
    parts: list[str] = []
    for metric in METRICS:
        parts.append(_head(metric, openmetrics=openmetrics))
        known = texts.setdefault(metric.labels, {})
        parts.extend(_lines(metric, scrape, known))
    if openmetrics:
        parts.append("# EOF\n")
    return "".join(parts).encode()


def _head(metric: Metric, *, openmetrics: bool) -> str:
    name, text = metric.name, metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        text = text.replace('"', r"\"")
        name = name.removesuffix(_TOTAL) if metric.kind is Kind.COUNTER else name
    return f"# HELP {name} {text}\n# TYPE {name} {metric.kind}\n"


def _lines(metric: Metric, scrape: Scrape, known: dict[tuple[str, ...], str]) -> Iterator[str]:
    name = metric.name
    for labels, value in metric.read(scrape):
        text = known.get(labels)
        if text is None:
            text = known[labels] = _label_text(metric.labels, labels)
        if isinstance(value, HistogramView):
            yield from _histogram_lines(name, text, value)
        elif text:
            yield f"{name}{{{text}}} {_number(value)}\n"
        else:
            yield f"{name} {_number(value)}\n"


def _histogram_lines(name: str, text: str, view: HistogramView) -> Iterator[str]:
    bucket = f"{name}_bucket{{le="
    total = 0
    for bound_ms, total in zip(view.bounds_ms, accumulate(view.counts), strict=False):
        yield f'{bucket}"{number_text(bound_ms / MS_PER_S)}",{text}}} {_number(total)}\n'
    total += view.counts[-1]
    yield f'{bucket}"+Inf",{text}}} {_number(total)}\n'
    yield f"{name}_count{{{text}}} {_number(total)}\n"
    yield f"{name}_sum{{{text}}} {_number(view.sum_ms / MS_PER_S)}\n"


def _label_text(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if type(value) is int and -_PLAIN_INTEGER_MAX < value < _PLAIN_INTEGER_MAX:
        return f"{value}.0"
    return number_text(value)
