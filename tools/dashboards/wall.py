"""*Wall*: one screen for a room. Six big numbers, each queue against its objective, and a table."""

from typing import Any

from tools.dashboards import parts
from tools.dashboards.parts import BLUE, GREY, ORANGE, VERMILLION, Column, Place, Query
from tools.dashboards.queries import WINDOW, Figures, floored, freshness_states

UID = "callgauge-wall"
# Of a screen of 1080 lines: at five metres a letter should be 25 mm high.
VALUE_SIZE = 120
TITLE_SIZE = 32
QUEUE_VALUE_SIZE = 56

STATES = (
    (0, "OK", BLUE),
    (1, "BELOW", ORANGE),
    (2, "FAR BELOW", VERMILLION),
    (parts.ABSENT, parts.NO_CALLS, GREY),
    (parts.CLOSED, "closed", GREY),
)


def _tile(
    column: int, row: int, title: str, description: str, queries: list[Query], unit: str, **more: Any
) -> Any:
    place = Place(8 * column, 6 * row, 8, 6)
    sizes = {"value_size": VALUE_SIZE, "title_size": TITLE_SIZE}
    return parts.tile(title, description, place, queries, unit, **sizes, **more)


def _tiles(figures: Figures) -> list[Any]:
    three = (BLUE, ORANGE, VERMILLION)
    return [
        _tile(
            0,
            0,
            "Service level · $window",
            "Sum of what was answered in time over sum of what was due, each by its queue's formula, cut to tenths. "
            "Against the objectives of the queues, weighted by what was due; far below: under alerts.critical_share.",
            parts.in_states(
                figures.service_level_states(),
                ("at the objective", "BELOW the objective", "FAR BELOW the objective", "nothing was due"),
                (*three, GREY),
            ),
            "percentunit",
            decimals=1,
        ),
        _tile(
            1,
            0,
            "Waiting now",
            "Contacts that wait at this moment, and whether one has waited past its queue's target.",
            parts.in_states(
                figures.waiting_states(), ("none past target", "some PAST TARGET"), (BLUE, ORANGE)
            ),
            "short",
        ),
        _tile(
            2,
            0,
            "Longest wait now",
            "How long the contact that waits longest has waited, against its queue's target and limit.",
            parts.in_states(
                figures.longest_wait_states(),
                ("within target", "PAST TARGET", "PAST THE LIMIT", "empty queues"),
                (*three, GREY),
            ),
            "dthms",
            absent="nobody",
        ),
        _tile(
            0,
            1,
            "Answered · $window",
            "Contacts that an agent took in the window.",
            [Query(figures.total("callcenter_window_answered", WINDOW), "contacts", BLUE)],
            "short",
        ),
        _tile(
            1,
            1,
            "Abandoned · $window",
            "Contacts that gave up in the window, short ones included, and whether a queue is above its limit.",
            parts.in_states(
                figures.abandoned_states(), ("within the limits", "a queue ABOVE its limit"), (BLUE, ORANGE)
            ),
            "short",
        ),
        _tile(
            2,
            1,
            "Age of the figures",
            "How far the processor's clock is behind: the worker that is furthest. A quiet centre is not stale. "
            "With windows.clock = stream this is the distance to the stream's time, and says nothing.",
            parts.in_states(freshness_states(), ("live", "BEHIND", "STALE: do not trust"), three),
            "s",
        ),
    ]


def _columns(figures: Figures) -> list[Column]:
    windowed = figures.windowed
    return [
        Column("State", figures.rows_state, "none", states=STATES, width=120),
        Column("Service level", floored(windowed("callcenter_service_level_ratio")), "percentunit", 1),
        Column("Objective", figures.rows("callcenter_service_level_objective_ratio"), "percentunit"),
        Column("Target", figures.rows("callcenter_service_level_target_seconds"), "s"),
        Column("Waiting", figures.rows("callcenter_contacts_waiting"), "short", absent=parts.NO_DATA),
        Column("Longest wait", figures.rows_longest_wait, "dthms", absent="nobody"),
        Column("Answered", windowed("callcenter_window_answered"), "short", absent=parts.NO_DATA),
        Column("Abandoned", floored(windowed("callcenter_abandonment_ratio")), "percentunit", 1),
        Column(
            "Speed of answer", windowed("callcenter_answer_speed_seconds"), "dthms", absent="none answered"
        ),
        Column("Blocked", windowed("callcenter_window_blocked"), "short", absent=parts.NO_DATA),
    ]


def build() -> Any:
    """Return the dashboard."""
    figures = Figures()
    each_queue = parts.tile(
        "Service level by queue · $window",
        "Each queue against its own objective. Queues without calls say so.",
        Place(0, 12, 9, 16),
        parts.in_states(
            figures.rows_service_level_states(),
            ("{{queue}}", "{{queue}} · BELOW", "{{queue}} · FAR BELOW", "{{queue}}"),
            (BLUE, ORANGE, VERMILLION, GREY),
        ),
        "percentunit",
        decimals=1,
        value_size=QUEUE_VALUE_SIZE,
        title_size=TITLE_SIZE,
    )
    table = parts.rows_table(
        "Queues · $window",
        "A row for each queue, those in trouble first.",
        Place(9, 12, 15, 16),
        "queue",
        "Queue",
        _columns(figures),
        ("State", True),
        large=True,
    )
    variables = [parts.queue_variable(), parts.window_variable()]
    return (
        parts.board(
            UID,
            "callgauge / Wall",
            "For the wall: open with ?kiosk. Generated by tools/dashboards; see docs/dashboards.md.",
            variables,
            [*_tiles(figures), each_queue, table],
        )
        .time("now-30m", "now")
        .refresh("5s")
    )
