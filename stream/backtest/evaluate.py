"""Evaluate rules over a filled Prometheus, as it would have done at the time.

All arithmetic is Prometheus' own: a range query evaluates an expression at every step as a rule would have been. What a
record gives is written back, with the markers of series that end, before the next one asks for it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stream.backtest.errors import BacktestError
from stream.backtest.prometheus import Prometheus
from stream.backtest.rules import ALERTNAME, Rule
from stream.backtest.states import Episode, Point, Span, episodes
from stream.replay import RemoteWrite, Samples, Series

POINTS_MAX: Final = 11_000  # of a series in one answer: Prometheus' own bound
_METRIC_NAME: Final = "__name__"
# The one template that is common in a label; Prometheus' other ones need its template engine.
_LABEL_TEMPLATE: Final = re.compile(r"\{\{\s*\$labels\.([a-zA-Z_][a-zA-Z0-9_]*)\s*\}\}")
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Activity:
    """When the expression of one alert rule was true for one set of labels, over one span."""

    rule: Rule
    labels: Labels  # those of the alert, in the order of their names
    span: Span
    points: tuple[Point, ...]

    def episodes(self, for_ms: int | None = None) -> Iterator[Episode]:
        """Yield what the rule would have made of it, or what it would have with another `for`."""
        held_ms = self.rule.for_ms if for_ms is None else for_ms
        return episodes(self.span, self.points, held_ms, self.rule.keep_firing_for_ms)


def spans_of(first_ms: int, last_ms: int, silences: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what was sampled, as (first step, last step): everything but the silences that were passed over."""
    starts = [first_ms, *(end_ms for _, end_ms in silences)]
    ends = [*(start_ms for start_ms, _ in silences), last_ms]
    return list(zip(starts, ends, strict=True))


def record(
    prometheus: Prometheus,
    rule: Rule,
    spans: Sequence[tuple[int, int]],
    new_sink: Callable[[], RemoteWrite],
) -> None:
    """Evaluate a recording rule over all spans and write back what it gives. Raises BacktestError, ReplayError."""
    sink = new_sink()
    known: dict[Labels, Series] = {}
    for start_ms, end_ms in spans:
        for chunk in _chunks(Span(start_ms, end_ms, rule.interval_ms)):
            rows: dict[int, Samples] = {at_ms: [] for at_ms in _evaluations(chunk)}
            for found in _ask(prometheus, rule, chunk):
                labels = _with_labels(found["metric"], rule.labels)
                series = known.setdefault(labels, Series(rule.name, labels))
                for at_ms, value in _points(found):
                    rows[at_ms].append((series, value))
            for at_ms, samples in rows.items():
                sink.write(at_ms, samples)
    sink.finish()


def activity(prometheus: Prometheus, rule: Rule, spans: Sequence[tuple[int, int]]) -> list[Activity]:
    """Return when an alert's expression was true, by labels. Raises BacktestError."""
    result = []
    for start_ms, end_ms in spans:
        span = Span(start_ms, end_ms, rule.interval_ms)
        points: dict[Labels, list[Point]] = {}
        for chunk in _chunks(span):
            seen: set[Labels] = set()
            for found in _ask(prometheus, rule, chunk):
                labels = _with_labels(found["metric"], {**rule.labels, ALERTNAME: rule.name})
                if labels in seen:
                    raise BacktestError(
                        f"{rule.name}: two series are one alert once the labels of the rule are added; "
                        "Prometheus would not evaluate it"
                    )
                seen.add(labels)
                points.setdefault(labels, []).extend(_points(found))
        result += [Activity(rule, labels, span, tuple(found)) for labels, found in sorted(points.items())]
    return result


def _ask(prometheus: Prometheus, rule: Rule, chunk: Span) -> Sequence[Mapping[str, Any]]:
    try:
        return prometheus.range(rule.query, chunk.start_ms, chunk.end_ms, chunk.interval_ms)
    except BacktestError as error:
        raise BacktestError(f"{rule.name} cannot be evaluated over this history: {error}") from error


def _chunks(span: Span) -> Iterator[Span]:
    """Cut a span into parts that Prometheus answers in one go."""
    length_ms = (POINTS_MAX - 1) * span.interval_ms
    for start_ms in range(span.start_ms, span.last_ms + 1, length_ms + span.interval_ms):
        yield Span(start_ms, min(start_ms + length_ms, span.last_ms), span.interval_ms)


def _evaluations(span: Span) -> range:
    return range(span.start_ms, span.last_ms + 1, span.interval_ms)


def _points(found: Mapping[str, Any]) -> Iterator[Point]:
    for at_s, value in found["values"]:
        yield round(at_s * 1_000), float(value)


def _with_labels(metric: Mapping[str, str], added: Mapping[str, str]) -> Labels:
    """Return the labels of a result: those of its series, over them the rule's; an empty one is none."""
    labels = {name: value for name, value in metric.items() if name != _METRIC_NAME}
    for name, value in added.items():
        labels[name] = _LABEL_TEMPLATE.sub(lambda match: metric.get(match[1], ""), value)
    return tuple(sorted((name, value) for name, value in labels.items() if value))
