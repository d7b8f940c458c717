"""*Queues*: one queue in depth."""

from typing import Any, Final

from tools.dashboards import parts
from tools.dashboards.parts import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, Place, Query
from tools.dashboards.queries import ONE_QUEUE, RATE, WINDOW, Figures, floored, series

UID = "callgauge-queues"
MINUTE_S: Final = 60


def _quantile(share: float, histogram: str) -> str:
    buckets = series(f"{histogram}_bucket", ONE_QUEUE)
    return f"histogram_quantile({share}, sum by (le) (rate({buckets}{RATE})))"


def _a_minute(figures: Figures, name: str, by: str = "") -> str:
    return f"{MINUTE_S} * {figures.rate(name, by=by)}"


def _mean(figures: Figures, histogram: str) -> str:
    return f"{figures.rate(f'{histogram}_sum')} / ({figures.rate(f'{histogram}_count')} > 0)"


def _tiles(figures: Figures) -> list[Any]:
    return [
        parts.tile(
            "Service level · $window",
            "By the queue's own formula, cut to tenths of a percent, against its objective.",
            Place(0, 0, 5, 5),
            parts.in_states(
                figures.service_level_states(),
                ("at the objective", "BELOW the objective", "FAR BELOW the objective", "nothing was due"),
                (BLUE, ORANGE, VERMILLION, GREY),
            ),
            "percentunit",
            decimals=1,
        ),
        parts.tile(
            "Waiting now",
            "Contacts that wait at this moment.",
            Place(5, 0, 4, 5),
            parts.in_states(
                figures.waiting_states(), ("none past target", "some PAST TARGET"), (BLUE, ORANGE)
            ),
            "short",
        ),
        parts.tile(
            "Longest wait now",
            "How long the contact that waits longest has waited.",
            Place(9, 0, 5, 5),
            parts.in_states(
                figures.longest_wait_states(),
                ("within target", "PAST TARGET", "PAST THE LIMIT", "empty queue"),
                (BLUE, ORANGE, VERMILLION, GREY),
            ),
            "dthms",
            absent="nobody",
        ),
    ]


def _more_tiles(figures: Figures) -> list[Any]:
    windowed = figures.windowed
    nothing_left = f"({figures.total('callcenter_window_queued', WINDOW)} == 0) - 1"
    abandonment = windowed("callcenter_abandonment_ratio")
    limit = figures.rows("callcenter_abandonment_limit_ratio")
    idle = f"({figures.rows('callcenter_contacts_waiting')} * 0 - 1) unless {abandonment}"
    speed = windowed("callcenter_answer_speed_seconds")
    not_answered = f"({figures.rows('callcenter_contacts_waiting')} * 0 - 1) unless {speed}"
    return [
        parts.tile(
            "Abandonment · $window",
            "Share of the ended visits that were abandoned, short ones out of both, against the queue's limit.",
            Place(14, 0, 5, 5),
            [
                Query(f"{floored(abandonment)} and {abandonment} <= {limit}", "within the limit", BLUE),
                Query(f"{floored(abandonment)} and {abandonment} > {limit}", "ABOVE the limit", ORANGE),
                Query(idle, "no visit ended", GREY),
            ],
            "percentunit",
            decimals=1,
        ),
        parts.tile(
            "Speed of answer · $window",
            "Mean wait of those answered.",
            Place(19, 0, 5, 5),
            [Query(speed, "mean", BLUE), Query(not_answered, "none answered", GREY)],
            "dthms",
            absent="-",
        ),
        parts.tile(
            "Entered · $window",
            "Contacts that entered the queue in the window.",
            Place(0, 5, 5, 4),
            [
                Query(f"{figures.total('callcenter_window_queued', WINDOW)} > 0", "contacts", BLUE),
                Query(nothing_left, "nobody came", GREY),
            ],
            "short",
        ),
        parts.tile(
            "Open",
            "Whether the queue is within its opening hours.",
            Place(5, 5, 4, 4),
            [
                Query(f"{figures.total('callcenter_queue_open')} == 1", "open", BLUE),
                Query(f"({figures.total('callcenter_queue_open')} == 0) - 1", "by its opening hours", GREY),
            ],
            "short",
            absent="closed",
        ),
    ]


def _service(figures: Figures) -> list[Any]:
    windowed = figures.windowed
    target = figures.rows("callcenter_service_level_target_seconds")
    return [
        parts.graph(
            "Service level against objective · $window",
            "As the worker counted it, in event time. A gap means that nothing was due, or that nothing was scraped.",
            Place(9, 5, 15, 8),
            [
                Query(windowed("callcenter_service_level_ratio"), "service level", BLUE),
                Query(
                    figures.rows("callcenter_service_level_objective_ratio"), "objective", ORANGE, dashed=True
                ),
            ],
            "percentunit",
            top=1,
        ),
        parts.heat_map(
            "Waits of the answered",
            "How many were answered after how long, from the histogram's buckets.",
            Place(0, 13, 12, 9),
            Query(
                f"sum by (le) (increase({series('callcenter_answer_wait_seconds_bucket', ONE_QUEUE)}{RATE}))",
                "{{le}}",
            ),
        ),
        parts.graph(
            "Waits against target",
            "Half and nine tenths of the waits before an answer, by the histogram; the longest that ended.",
            Place(12, 13, 12, 9),
            [
                Query(_quantile(0.5, "callcenter_answer_wait_seconds"), "half waited at most", BLUE),
                Query(_quantile(0.9, "callcenter_answer_wait_seconds"), "nine tenths waited at most", SKY),
                Query(
                    windowed("callcenter_longest_wait_seconds"), "longest that ended · $window", VERMILLION
                ),
                Query(target, "target", ORANGE, dashed=True),
            ],
            "s",
        ),
    ]


def _flow(figures: Figures) -> list[Any]:
    return [
        parts.graph(
            "Arrivals and what became of them, a minute",
            "Contacts offered and queued, and how their visits ended.",
            Place(0, 22, 12, 9),
            [
                Query(_a_minute(figures, "callcenter_contacts_offered_total"), "offered", GREY),
                Query(_a_minute(figures, "callcenter_contacts_queued_total"), "queued", BLUE),
                Query(_a_minute(figures, "callcenter_contacts_answered_total"), "answered", GREEN),
                Query(_a_minute(figures, "callcenter_contacts_abandoned_total"), "abandoned", VERMILLION),
            ],
            "short",
        ),
        parts.graph(
            "Abandonment against limit · $window",
            "Share of the ended visits that were abandoned, and the queue's limit.",
            Place(12, 22, 12, 9),
            [
                Query(figures.windowed("callcenter_abandonment_ratio"), "abandonment", VERMILLION),
                Query(figures.rows("callcenter_abandonment_limit_ratio"), "limit", ORANGE, dashed=True),
            ],
            "percentunit",
        ),
        parts.graph(
            "When they gave up",
            "Half and nine tenths of the waits that ended with an abandon.",
            Place(0, 31, 8, 8),
            [
                Query(_quantile(0.5, "callcenter_abandon_wait_seconds"), "half gave up by", BLUE),
                Query(_quantile(0.9, "callcenter_abandon_wait_seconds"), "nine tenths gave up by", ORANGE),
            ],
            "s",
        ),
        parts.graph(
            "Sent elsewhere, a minute",
            "Visits that ended without an answer or an abandon, by reason.",
            Place(8, 31, 8, 8),
            [Query(_a_minute(figures, "callcenter_contacts_left_total", by="reason"), "{{reason}}")],
            "short",
            bars=True,
            stacked=True,
        ),
        parts.graph(
            "Refused, a minute",
            "Contacts that were refused before they could wait, by reason.",
            Place(16, 31, 8, 8),
            [Query(_a_minute(figures, "callcenter_contacts_blocked_total", by="reason"), "{{reason}}")],
            "short",
            bars=True,
            stacked=True,
        ),
    ]


def _staffing(figures: Figures) -> list[Any]:
    handle = "callcenter_handle_seconds"
    load = f"{figures.rate('callcenter_contacts_queued_total')} * ({_mean(figures, handle)})"
    return [
        parts.graph(
            "Staffing: load against conversations",
            "Offered load in Erlangs (arrivals times mean handle time: agents needed if nobody ever waited), "
            "conversations going on, and contacts waiting. Load above the conversations for long: too few agents.",
            Place(0, 39, 12, 9),
            [
                Query(load, "offered load (Erlangs)", ORANGE, dashed=True),
                Query(figures.rows("callcenter_contacts_in_progress"), "conversations", BLUE),
                Query(figures.rows("callcenter_contacts_waiting"), "waiting", VERMILLION),
                Query(figures.rows("callcenter_contacts_waiting_past_target"), "of them past target", GREY),
            ],
            "short",
        ),
        parts.graph(
            "Handle time",
            "Mean time of a conversation with holds and after-call work, and its parts.",
            Place(12, 39, 12, 9),
            [
                Query(_mean(figures, handle), "handle", BLUE),
                Query(_mean(figures, "callcenter_talk_seconds"), "talk", SKY),
                Query(_mean(figures, "callcenter_wrap_up_seconds"), "after-call work", ORANGE),
            ],
            "s",
        ),
    ]


def build() -> Any:
    """Return the dashboard."""
    figures = Figures(ONE_QUEUE)
    variables = [parts.queue_variable(one=True), parts.window_variable()]
    return (
        parts.board(
            UID,
            "callgauge / Queues",
            "One queue in depth. Generated by tools/dashboards; see docs/dashboards.md.",
            variables,
            [
                *_tiles(figures),
                *_more_tiles(figures),
                *_service(figures),
                *_flow(figures),
                *_staffing(figures),
            ],
        )
        .time("now-4h", "now")
        .refresh("30s")
    )
