"""The result as one page: a timeline of every alert, and a table. It loads nothing, and runs nothing."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Final

from stream.backtest.evaluate import Labels
from stream.backtest.incidents import Incident
from stream.backtest.result import Alert, Outcome, met_by
from stream.settings.spans import format_span

ROWS_MAX: Final = 500  # of the timeline and of the table: what a browser shows at once, and a person may read
TICKS_MAX: Final = 16
_NAMES_WIDTH: Final = 360
_WIDTH: Final = 1_000
_ROW_HEIGHT: Final = 22
_TOP: Final = 24
_TICK_STEPS: Final = tuple(
    timedelta(hours=hours) // timedelta(milliseconds=1) for hours in (1, 3, 6, 12, 24, 72)
)
_SEEN_WIDTH: Final = 1.5  # a page of two minutes in a month would be nothing on a screen
_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1rem; color: #1b1b1b }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .25rem .6rem; vertical-align: top }
th { border-bottom: 2px solid #888 } td { border-bottom: 1px solid #ddd } .n { text-align: right }
svg { width: 100%; height: auto } text { font: 12px system-ui, sans-serif; fill: #1b1b1b }
.pending { fill: #e69f00 } .firing { fill: #b33c00 } .incident { fill: #0072b2; fill-opacity: .15 }
.grid { stroke: #ccc } .key { display: inline-block; width: 1em; height: 1em; vertical-align: -2px; margin-left: 1em }
@media print { body { margin: 0; max-width: none } tr { break-inside: avoid } }
"""
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(found: Outcome, rules_file: str, source: str) -> str:
    """Return the page."""
    parts = [
        f"<p>{escape(rules_file)} over {escape(source)}; all times are UTC.</p>",
        *_numbers(found),
        "<h2>Timeline</h2>",
        _legend(found),
        _timeline(found),
        "<h2>Every alert</h2>",
        *_table(found),
    ]
    return _PAGE.format(title="What the alerts would have done", style=_STYLE, body="\n".join(parts))


def _numbers(found: Outcome) -> Iterator[str]:
    for start_ms, end_ms in found.spans:
        yield f"<p>{_time(start_ms)} to {_time(end_ms)}</p>"
    yield "<table><tr><th>alert</th><th>labels</th><th>for</th><th class=n>pages</th><th class=n>a week</th></tr>"
    for rule in found.rules:
        cells = (escape(rule.name), _labels(tuple(rule.labels.items())), format_span(rule.for_ms))
        counts = (str(found.pages(rule)), number_text(found.pages_per_week(rule)))
        yield _row(cells, counts)
    yield _row(("<b>all</b>", "", ""), (str(found.pages()), number_text(found.pages_per_week())))
    yield "</table>"
    if found.score is not None:
        score = found.score
        yield (
            f"<p>Incidents: {score.detected} of {score.incidents} detected (recall {number_text(score.recall)}); "
            f"precision {number_text(score.precision)}; delay to detection {number_text(score.delay_median_s)} s "
            f"in the median, {number_text(score.delay_max_s)} s at most.</p>"
        )


def _row(cells: Sequence[str], counts: Sequence[str] = ()) -> str:
    shown = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr>{shown}{''.join(f'<td class=n>{count}</td>' for count in counts)}</tr>"


def _legend(found: Outcome) -> str:
    keys = ["pending", "firing"] + (["incident"] if found.incidents else [])
    boxes = "".join(
        f'<svg class="key" viewBox="0 0 1 1"><rect class="{key}" width="1" height="1"/></svg> {key}'
        for key in keys
    )
    return f"<p>{boxes}</p>"


def _timeline(found: Outcome) -> str:
    rows: dict[tuple[str, Labels], list[Alert]] = {}
    for alert in found.alerts:
        rows.setdefault((alert.rule.name, alert.labels), []).append(alert)
    shown = sorted(rows.items())[:ROWS_MAX]
    start_ms, end_ms = found.spans[0][0], found.spans[-1][1]
    scale = _Scale(start_ms, max(end_ms, start_ms + 1))
    height = _TOP + _ROW_HEIGHT * max(len(shown), 1)
    parts = [
        f'<svg viewBox="0 0 {_NAMES_WIDTH + _WIDTH} {height + 4}" role="img" aria-label="Timeline of all alerts">'
    ]
    for tick_ms in _ticks(start_ms, end_ms):
        x = scale.x(tick_ms)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP - 4}" y2="{height}"/>')
        parts.append(f'<text x="{x}" y="12">{_time(tick_ms)[5:]}</text>')
    for number, ((_, labels), alerts) in enumerate(shown):
        y = _TOP + number * _ROW_HEIGHT
        title = f"{alerts[0].rule.name} {_plain(alerts[0])}"
        parts.append(
            f'<text x="0" y="{y + 15}">{escape(_cut(title))}<title>{escape(_all(labels))}</title></text>'
        )
        queue = alerts[0].queue
        parts += [
            scale.bar("incident", incident.start_ms, incident.end_ms, y, incident.name)
            for incident in found.incidents or ()
            if incident.queue is None or queue is None or incident.queue == queue
        ]
        for alert in alerts:
            parts += _bars(alert, scale, y)
    parts.append("</svg>")
    if not shown:
        parts.append("<p>No alert would have been pending or firing.</p>")
    if len(rows) > len(shown):
        parts.append(f"<p>{len(rows) - len(shown)} more are not drawn; --json has them.</p>")
    return "\n".join(parts)


class _Scale:
    """Where a moment is drawn."""

    def __init__(self, start_ms: int, end_ms: int) -> None:
        self._start_ms = start_ms
        self._end_ms = end_ms

    def x(self, at_ms: int) -> float:
        """Return the place of a moment, at the edge for one beyond it."""
        inside = min(max(at_ms, self._start_ms), self._end_ms)
        return round(_NAMES_WIDTH + _WIDTH * (inside - self._start_ms) / (self._end_ms - self._start_ms), 2)

    def bar(self, kind: str, start_ms: int, end_ms: int, y: int, title: str) -> str:
        """Draw a span of time."""
        x = self.x(start_ms)
        width = max(round(self.x(end_ms) - x, 2), _SEEN_WIDTH)
        full = kind == "incident"
        top, height = (y, _ROW_HEIGHT) if full else (y + 4, _ROW_HEIGHT - 8)
        return (
            f'<rect class="{kind}" x="{x}" y="{top}" width="{width}" height="{height}">'
            f"<title>{escape(title)}: {_time(start_ms)} to {_time(end_ms)}</title></rect>"
        )


def _bars(alert: Alert, scale: _Scale, y: int) -> Iterator[str]:
    episode = alert.episode
    firing_ms = alert.until_ms if episode.firing_ms is None else episode.firing_ms
    if firing_ms > episode.pending_ms:
        yield scale.bar("pending", episode.pending_ms, firing_ms, y, "pending")
    if episode.firing_ms is not None:
        yield scale.bar("firing", episode.firing_ms, alert.until_ms, y, "firing")


def _ticks(start_ms: int, end_ms: int) -> range:
    step_ms = next(
        (step for step in _TICK_STEPS if (end_ms - start_ms) // step < TICKS_MAX),
        -(-(end_ms - start_ms) // TICKS_MAX // _TICK_STEPS[-2]) * _TICK_STEPS[-2] or _TICK_STEPS[-1],
    )
    return range(-(-start_ms // step_ms) * step_ms, end_ms + 1, step_ms)


def _table(found: Outcome) -> Iterator[str]:
    with_incidents = found.incidents is not None
    heads = ("alert", "labels", "pending", "firing", "resolved")
    yield "<table><tr>" + "".join(f"<th>{head}</th>" for head in heads)
    yield "<th class=n>value</th><th class=n>lowest</th><th class=n>highest</th>"
    yield ("<th>incidents</th>" if with_incidents else "") + "</tr>"
    for alert in found.alerts[:ROWS_MAX]:
        episode = alert.episode
        cells = (
            escape(alert.rule.name),
            _labels(tuple(alert.rule.labels.items()) + alert.told),
            _time(episode.pending_ms),
            "-" if episode.firing_ms is None else _time(episode.firing_ms),
            "still there" if episode.end_ms is None else _time(episode.end_ms),
        )
        row = _row(
            cells, [number_text(value) for value in (episode.value, episode.value_min, episode.value_max)]
        )
        if with_incidents:
            names = ", ".join(_name(incident) for incident in met_by(alert, found.incidents or ()))
            row = row.replace("</tr>", f"<td>{escape(names)}</td></tr>")
        yield row
    yield "</table>"
    if len(found.alerts) > ROWS_MAX:
        yield f"<p>{len(found.alerts) - ROWS_MAX} more are not shown; --json has them.</p>"


def _name(incident: Incident) -> str:
    return incident.name or _time(incident.start_ms)


def _labels(labels: Labels) -> str:
    return escape(_all(labels))


def _all(labels: Labels) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels)


def _plain(alert: Alert) -> str:
    values = [
        value for name, value in (*alert.rule.labels.items(), *alert.told) if name in {"severity", "queue"}
    ]
    return " ".join(values)


def _cut(text: str, most: int = 52) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def number_text(value: float | None) -> str:
    """Write a number for people: four digits, `-` for none."""
    return "-" if value is None else f"{value:.4g}"
