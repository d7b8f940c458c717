"""*Replay*: days of history at a glance, in the Prometheus that `callgauge replay --to remote-write` fills.

A day's figure is what ``window="day"`` had in the 23 hours before the point, which Grafana puts at midnight of the
dashboard's time zone: a point stands at the end of its day. Counts of a day only grow, so its figure is the largest. A
ratio is the last one, a minute before midnight, as the next day's may be there at midnight already. So far back because
history ends with its last event, early on its last day. Not the whole 24 hours: Grafana knows one offset from UTC for a
whole range, and where the clock changes in it, points are an hour off.
"""

from typing import Any, Final

from tools.dashboards import parts
from tools.dashboards.parts import BLUE, GREY, ORANGE, SKY, VERMILLION, Place, Query
from tools.dashboards.queries import RATE, Figures, rate, series

UID = "callgauge-replay"
DAY: Final = 'window="day"'
BEFORE_MIDNIGHT: Final = "23h"
STEP: Final = "1d"


def _count_rows(figures: Figures, name: str) -> str:
    return f"max by (queue) (max_over_time({series(name, figures.queues, DAY)}[{BEFORE_MIDNIGHT}]))"


def _count(figures: Figures, name: str) -> str:
    return f"sum({_count_rows(figures, name)})"


def _ratio_rows(figures: Figures, name: str) -> str:
    selected = series(name, figures.queues, DAY)
    return f"max by (queue) (last_over_time({selected}[{BEFORE_MIDNIGHT}] offset 1m))"


def _met_of_base(part: str, base: str) -> str:
    return f"{part} / ({base} > 0)"


def _levels(figures: Figures) -> list[Any]:
    met, base = (f"callcenter_window_service_level_{part}" for part in ("met", "base"))
    objective = f"{figures.rows('callcenter_service_level_objective_ratio')} * {_count_rows(figures, base)}"
    return [
        parts.graph(
            "Service level of each day",
            "All selected queues, sum over sum, and what they had to reach. A bar stands at the end of its day.",
            Place(0, 0, 24, 8),
            [
                Query(
                    _met_of_base(_count(figures, met), _count(figures, base)),
                    "service level",
                    BLUE,
                    interval=STEP,
                ),
                Query(
                    _met_of_base(f"sum({objective})", _count(figures, base)),
                    "objective",
                    VERMILLION,
                    dashed=True,
                    interval=STEP,
                ),
            ],
            "percentunit",
            bars=True,
            top=1,
        ),
        parts.graph(
            "Service level of each day, by queue",
            "By the queue's own formula. A point stands at the end of its day; absent where nothing was due.",
            Place(0, 8, 12, 9),
            [
                Query(
                    _met_of_base(_count_rows(figures, met), _count_rows(figures, base)),
                    "{{queue}}",
                    interval=STEP,
                )
            ],
            "percentunit",
            top=1,
        ),
        parts.graph(
            "Abandonment of each day, by queue",
            "Share of the ended visits that were abandoned, a minute before the day's end; short ones out of both.",
            Place(12, 8, 12, 9),
            [Query(_ratio_rows(figures, "callcenter_abandonment_ratio"), "{{queue}}", interval=STEP)],
            "percentunit",
        ),
    ]


def _contacts(figures: Figures) -> list[Any]:
    return [
        parts.graph(
            "Contacts of each day",
            "Of all selected queues. A bar stands at the end of its day.",
            Place(0, 17, 12, 9),
            [
                Query(_count(figures, "callcenter_window_answered"), "answered", BLUE, interval=STEP),
                Query(_count(figures, "callcenter_window_abandoned"), "abandoned", ORANGE, interval=STEP),
                Query(_count(figures, "callcenter_window_left"), "left otherwise", SKY, interval=STEP),
                Query(_count(figures, "callcenter_window_blocked"), "blocked", GREY, interval=STEP),
            ],
            "short",
            bars=True,
            stacked=True,
        ),
        parts.heat_map(
            "Waits of the answered",
            "How many were answered after how long, from the histogram's buckets.",
            Place(12, 17, 12, 9),
            Query(
                "sum by (le) (increase("
                f"{series('callcenter_answer_wait_seconds_bucket', figures.queues)}{RATE}))",
                "{{le}}",
            ),
        ),
    ]


def _records() -> list[Any]:
    return [
        parts.graph(
            "What became of the records, a second",
            "Of event time. Late ones moved their call and counted for nothing; rejected ones are no events.",
            Place(0, 26, 12, 9),
            [
                Query(rate("callgauge_events_total"), "applied", BLUE),
                Query(rate("callgauge_events_duplicate_total"), "duplicate", SKY),
                Query(rate("callgauge_events_late_total"), "late", ORANGE),
                Query(rate("callgauge_events_rejected_total"), "rejected", VERMILLION),
            ],
            "short",
        ),
        parts.graph(
            "Where there is history",
            "1 where a replay was written. Open a dashboard by the links above on a range in which there is some.",
            Place(12, 26, 12, 9),
            [Query(f"max({series('up')})", "replayed", BLUE)],
            "short",
            top=1,
        ),
    ]


def build() -> Any:
    """Return the dashboard."""
    figures = Figures()
    return (
        parts.board(
            UID,
            "callgauge / Replay",
            "Days of replayed history. Generated by tools/dashboards; see docs/dashboards.md.",
            [parts.queue_variable()],
            [*_levels(figures), *_contacts(figures), *_records()],
            source=parts.REPLAY,
        )
        .time("now-30d", "now")
        .refresh("")
    )
