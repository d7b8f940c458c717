"""The page: every number of `Figures` as text, with charts beside them. The same figures give the same bytes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import Any, Final

from stream.core import kpi
from stream.core.board import merge_counts
from stream.core.counts import Counts
from stream.core.kpi import Ratio
from stream.core.rules import Formula
from stream.core.window import local_time
from stream.report import charts
from stream.report.errors import ReportError
from stream.report.figures import Figures
from stream.settings.spans import format_span

DAYS_MAX: Final = 400  # a year and a month: more paper than anybody reads
QUEUES_CHARTED_MAX: Final = 60  # three pages of charts, and as many rows of each table by day
_DAYS_A_TABLE: Final = 14  # columns that fit beside the names on a sheet
_WIDE: Final = 700
_NARROW: Final = 228
NOTHING: Final = "\u2013"  # where there is no base: neither 0 nor 100
_TENTHS: Final = 1_000
FORMULAS: Final[Mapping[Formula, str]] = {
    Formula.ABANDONED_IGNORED: "answered within target / (all that were due, less those abandoned within target)",
    Formula.ABANDONED_NEGATIVE: "answered within target / all that were due",
    Formula.ABANDONED_POSITIVE: "(answered within target + abandoned within target) / all that were due",
    Formula.ANSWERED_ONLY: "answered within target / answered",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A queue, or all of them: what a table shows, and whether it keeps its objective and limit."""

    name: str
    numbers: Mapping[str, int | float | None]  # by their names in the contract
    level: str
    objective: str
    below: bool
    gone: str
    limit: str
    above: bool
    speed: str
    longest: str


def page(figures: Figures, source: str, outcomes: Mapping[str, Any]) -> str:
    """Return the page as HTML. ``outcomes`` is the summary of the replay. Raises ReportError."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - optional
    from markupsafe import Markup  # noqa: PLC0415

    if len(figures.by_day()) > DAYS_MAX:
        raise ReportError(
            f"the history has {len(figures.by_day())} days, and a report {DAYS_MAX} at most; "
            "choose a shorter one, as with kafka:TOPIC@FROM..TO"
        )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = Markup  # of charts only, which hold no text from outside
    text = resources.files("stream.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(_content(figures, source, outcomes))


def _content(figures: Figures, source: str, outcomes: Mapping[str, Any]) -> dict[str, Any]:
    queues, names, by_day = figures.queues(), figures.shown_names(), figures.by_day()
    busiest = sorted(queues, key=lambda queue: (-kpi.QUEUED.of(queues[queue]), queue))[:QUEUES_CHARTED_MAX]
    shown = sorted(queue for queue in busiest if queues[queue])
    rows = [_row(figures, queue, names[queue], counts) for queue, counts in queues.items()]
    everything = _row(figures, None, "All queues", merge_counts(list(queues.values())))
    dates = [_date(figures, start_ms) for start_ms in by_day]
    found = figures.waits()
    return {
        "source": source,
        "zone": str(figures.rules.time_zone),
        "interval": format_span(figures.rules.interval_ms),
        "dates": dates,
        "all": everything,
        "rows": rows,
        "left_out": len([counts for counts in queues.values() if counts]) - len(shown),
        "day_chart": charts.days(list(zip(dates, by_day.values(), strict=True)), None, _WIDE)
        if by_day
        else "",
        "charts": [
            (names[queue], charts.days(_days_of(figures, queue, by_day), _objective(figures, queue), _NARROW))
            for queue in shown
        ],
        "tables": list(_tables(figures, shown, by_day)),
        "hours": [charts.hours(figures.hours, service_level=level) for level in (False, True)]
        if by_day
        else [],
        "wait_chart": charts.waits(found) if found else "",
        "waits": list(zip(charts.wait_names(found), found, strict=True)),
        "share": lambda one: _cut(one.answered_up_to, found[-1].answered_up_to),
        "worst": [
            (
                _moment(figures, one.start_ms),
                one.missed,
                _row(figures, one.queue, names[one.queue], dict(one.counts)),
            )
            for one in figures.worst()
        ],
        "outcomes": outcomes,
        "definitions": list(_definitions(figures, queues, names)),
        "nothing": NOTHING,
    }


def _row(figures: Figures, queue: str | None, name: str, counts: Counts) -> Row:
    policy = figures.rules.policy(queue) if queue is not None else None
    level, gone = kpi.SERVICE_LEVEL.of(counts), kpi.ABANDONMENT.of(counts)
    return Row(
        name,
        kpi.interval_values(counts),
        percent(kpi.SERVICE_LEVEL, counts),
        NOTHING if policy is None else _set(policy.objective),
        policy is not None and level is not None and level < policy.objective,
        percent(kpi.ABANDONMENT, counts),
        NOTHING if policy is None else _set(policy.abandonment_limit),
        policy is not None and gone is not None and gone > policy.abandonment_limit,
        seconds(kpi.ANSWER_SPEED_S.of(counts)),
        seconds(kpi.longest_wait_s(counts)),
    )


def percent(ratio: Ratio, counts: Mapping[int, int]) -> str:
    """Write a ratio in percent, cut to tenths: 79.96 % must not read as the 80.0 % that it misses."""
    return _cut(ratio.part.of(counts), ratio.base.of(counts))


def _cut(part: int, base: int) -> str:
    if not base:
        return NOTHING
    whole, tenth = divmod(part * _TENTHS // base, 10)
    return f"{whole}.{tenth}"


def seconds(value: float | None) -> str:
    """Write a span in seconds, to tenths."""
    return NOTHING if value is None else f"{value:.1f}"


def _set(ratio: float) -> str:
    """Write what was configured, in percent, as exactly as it was."""
    return f"{ratio * 100:.6g}%"


def _objective(figures: Figures, queue: str) -> float:
    return figures.rules.policy(queue).objective


def _days_of(figures: Figures, queue: str, by_day: Mapping[int, Counts]) -> list[tuple[str, Counts]]:
    return [(_date(figures, start_ms), figures.days.get((start_ms, queue), {})) for start_ms in by_day]


def _tables(figures: Figures, shown: Sequence[str], by_day: Mapping[int, Counts]) -> Iterator[dict[str, Any]]:
    """Yield a table for each fortnight: a row for each queue, a column for each day."""
    names = figures.shown_names()
    every = list(by_day)
    for first in range(0, len(every), _DAYS_A_TABLE):
        starts = every[first : first + _DAYS_A_TABLE]
        yield {
            "dates": [_date(figures, start_ms) for start_ms in starts],
            "all": [_row(figures, None, "", by_day[start_ms]) for start_ms in starts],
            "rows": [
                (
                    names[queue],
                    [
                        _row(figures, queue, "", figures.days.get((start_ms, queue), {}))
                        for start_ms in starts
                    ],
                )
                for queue in shown
            ],
        }


def _definitions(
    figures: Figures, queues: Mapping[str, Counts], names: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield each set of rules with the queues that it holds for."""

    def rules_of(queue: str) -> tuple[Any, ...]:
        rule, policy = figures.rules.fold.rule(queue), figures.rules.policy(queue)
        return (
            rule.target_ms,
            policy.objective,
            rule.formula,
            rule.short_abandon_ms,
            policy.abandonment_limit,
            policy.wait_limit_ms,
        )

    for found, members in groupby(sorted(queues, key=lambda queue: (rules_of(queue), queue)), rules_of):
        target_ms, objective, formula, short_ms, limit, wait_limit_ms = found
        yield {
            "queues": [names[queue] for queue in members],
            "target": format_span(target_ms),
            "objective": _set(objective),
            "formula": str(formula),
            "meaning": FORMULAS[formula],
            "short": format_span(short_ms),
            "limit": _set(limit),
            "wait_limit": format_span(wait_limit_ms),
        }


def _date(figures: Figures, at_ms: int) -> str:
    return f"{local_time(at_ms, figures.rules.time_zone):%Y-%m-%d}"


def _moment(figures: Figures, at_ms: int) -> str:
    return f"{local_time(at_ms, figures.rules.time_zone):%a %Y-%m-%d %H:%M}"
