"""*Shift*: interval by interval, today against the same day last week.

An interval's figure is the largest that was scraped for ``window="interval"`` in the last minutes before the
interval ended: counts of an interval only grow, and a scrape at the very end may show the next one already. So a
point stands at the end of its interval, and what came after the last scrape before that end is missing from it.
The exact figures are in the topic of intervals.
"""

from typing import Any, Final

from tools.dashboards import parts
from tools.dashboards.parts import BLUE, GREY, ORANGE, VERMILLION, Place, Query, builders, dashboard
from tools.dashboards.queries import Figures, series

UID = "callgauge-shift"
LAST_WEEK: Final = "offset 1w"
DAY: Final = 'window="day"'
INTERVAL: Final = 'window="interval"'
# Scrapes may fail for some minutes; further back, the figure would be of too small a part of the interval.
BEFORE_THE_END: Final = "5m"


def _rows(figures: Figures, name: str, offset: str = "") -> str:
    selected = series(name, figures.queues, INTERVAL)
    past = f" {offset}" if offset else ""
    return f"max by (queue) (max_over_time({selected}[{BEFORE_THE_END}]{past}))"


def _count(figures: Figures, name: str, offset: str = "") -> str:
    return f"sum({_rows(figures, name, offset)})"


def _service_level(figures: Figures, offset: str = "") -> str:
    met = _count(figures, "callcenter_window_service_level_met", offset)
    return f"{met} / ({_count(figures, 'callcenter_window_service_level_base', offset)} > 0)"


def _objective(figures: Figures) -> str:
    base = _rows(figures, "callcenter_window_service_level_base")
    weighted = f"{figures.rows('callcenter_service_level_objective_ratio')} * {base}"
    return f"sum({weighted}) / (sum({base}) > 0)"


def _speed(figures: Figures, offset: str = "") -> str:
    answered = _rows(figures, "callcenter_window_answered", offset)
    speed = _rows(figures, "callcenter_answer_speed_seconds", offset)
    return f"sum({speed} * {answered}) / (sum({answered}) > 0)"


def _pair(title: str, description: str, place: Place, name: str, figures: Figures) -> Any:
    queries = [
        Query(_count(figures, name), "today", BLUE, interval="$interval"),
        Query(_count(figures, name, LAST_WEEK), "a week before", ORANGE, dashed=True, interval="$interval"),
    ]
    return parts.graph(title, description, place, queries, "short", bars=True)


def _day_tile(title: str, description: str, x: int, name: str, figures: Figures) -> Any:
    today = figures.total(name, DAY)
    before = f"sum(max by (queue) ({series(name, figures.queues, DAY)} {LAST_WEEK}))"
    queries = [
        Query(today, "today so far", BLUE),
        Query(before, "a week before, by this time", GREY),
    ]
    return parts.tile(title, description, Place(x, 0, 6, 5), queries, "short")


def _interval_variable() -> Any:
    first = dashboard.VariableOption(selected=True, text="30m", value="30m")
    options = [first, dashboard.VariableOption(selected=False, text="15m", value="15m")]
    variable = builders.CustomVariable("interval").label("Interval").values("30m,15m")
    return variable.options(options).current(first).multi(False).include_all(False)


def _days(figures: Figures) -> list[Any]:
    met, base = (figures.total(f"callcenter_window_service_level_{part}", DAY) for part in ("met", "base"))
    days = parts.tile(
        "Service level · day",
        "Since midnight in the centre's time zone: sum over sum.",
        Place(0, 0, 6, 5),
        [
            Query(f"floor(1000 * {met} / ({base} > 0)) / 1000", "today so far", BLUE),
            Query(f"({base} == 0) - 1", "nothing was due", GREY),
        ],
        "percentunit",
        decimals=1,
    )
    return [
        days,
        _day_tile("Entered · day", "Contacts that entered a queue.", 6, "callcenter_window_queued", figures),
        _day_tile(
            "Answered · day", "Contacts that an agent took.", 12, "callcenter_window_answered", figures
        ),
        _day_tile("Abandoned · day", "Contacts that gave up.", 18, "callcenter_window_abandoned", figures),
    ]


def _intervals(figures: Figures) -> list[Any]:
    return [
        parts.graph(
            "Service level of each interval",
            "A point stands at the end of its interval. Absent where nothing was due.",
            Place(0, 5, 24, 9),
            [
                Query(_service_level(figures), "today", BLUE, interval="$interval"),
                Query(
                    _service_level(figures, LAST_WEEK),
                    "a week before",
                    ORANGE,
                    dashed=True,
                    interval="$interval",
                ),
                Query(_objective(figures), "objective", VERMILLION, dashed=True, interval="$interval"),
            ],
            "percentunit",
            top=1,
        ),
        _pair(
            "Entered, each interval",
            "Contacts that entered a queue; a bar stands at the end of its interval.",
            Place(0, 14, 12, 9),
            "callcenter_window_queued",
            figures,
        ),
        _pair(
            "Answered, each interval",
            "Contacts that an agent took; a bar stands at the end of its interval.",
            Place(12, 14, 12, 9),
            "callcenter_window_answered",
            figures,
        ),
        _pair(
            "Abandoned, each interval",
            "Contacts that gave up, short ones included; a bar stands at the end of its interval.",
            Place(0, 23, 12, 9),
            "callcenter_window_abandoned",
            figures,
        ),
        parts.graph(
            "Speed of answer, each interval",
            "Mean wait of those answered, over all queues by their numbers.",
            Place(12, 23, 12, 9),
            [
                Query(_speed(figures), "today", BLUE, interval="$interval"),
                Query(_speed(figures, LAST_WEEK), "a week before", ORANGE, dashed=True, interval="$interval"),
            ],
            "s",
        ),
    ]


def build() -> Any:
    """Return the dashboard."""
    figures = Figures()
    return (
        parts.board(
            UID,
            "callgauge / Shift",
            "Today against the same day last week. Generated by tools/dashboards; see docs/dashboards.md.",
            [parts.queue_variable(), _interval_variable()],
            [*_days(figures), *_intervals(figures)],
        )
        .time("now/d", "now")
        .refresh("1m")
    )
