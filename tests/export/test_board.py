"""The JSON of the wall-board, and its total row."""

import json
from dataclasses import replace

from stream.core import fields as f
from stream.export.board import STALE_AFTER_MS, board, board_json
from tests.export.centre import MINUTE_MS, NOW_MS, busy_afternoon, counts, queue, snapshot


def shown(view):
    return board(view, version="0.1.0")


def test_the_board_says_when_it_is_from_and_whether_it_can_be_believed():
    """Clock, wall clock, readiness and health come with the numbers."""
    view = shown(
        snapshot(ready=False, not_ready_reason="recovering", healthy=False, unhealthy_reason="stuck")
    )

    assert view["clock"] == "2026-08-03T12:25:00.000Z"
    assert view["taken_at"] == "2026-08-03T12:25:00.400Z"
    assert view["stale_after_s"] == STALE_AFTER_MS / 1_000
    assert (view["ready"], view["not_ready_reason"]) == (False, "recovering")
    assert (view["healthy"], view["unhealthy_reason"]) == (False, "stuck")


def test_a_clock_that_is_not_known_is_null():
    """Before every partition was heard nobody can say what time the board shows."""
    assert shown(snapshot(clock_ms=None))["clock"] is None


def test_a_queue_shows_its_windows_under_the_names_of_the_contract():
    """Counts are the interval's, ratios are quotients, and both parts of the service level are there."""
    (row,) = shown(snapshot(queue("sales", counts(80, 60, abandoned=20, blocked=25), waiting=3)))["queues"]
    window = row["windows"]["30m"]

    assert row["queue"] == "sales"
    assert row["now"]["waiting"] == 3
    assert (row["target_s"], row["objective"], row["abandonment_limit"], row["wait_limit_s"]) == (
        20,
        0.8,
        0.05,
        300,
    )
    assert (window["start"], window["end"]) == ("2026-08-03T11:55:00.000Z", "2026-08-03T12:25:00.000Z")
    assert (window["service_level_met"], window["service_level_base"]) == (60, 94)
    assert window["service_level"] == 60 / 94
    assert window["abandonment"] == 0.2
    assert window["blocked_ratio"] == 25 / 125
    assert window["answer_speed_s"] == 12
    assert list(row["windows"]) == ["5m", "30m", "1h", "interval", "day"]
    assert [part["queued"] for part in row["trend"]] == [80] * 7


def test_a_ratio_without_a_base_is_null():
    """A queue without calls has neither 0 % nor 100 %."""
    (row,) = shown(snapshot(queue("quiet")))["queues"]
    window = row["windows"]["30m"]

    assert window["answered"] == 0
    for name in ("service_level", "abandonment", "blocked_ratio", "answer_speed_s", "longest_wait_s"):
        assert window[name] is None
    assert row["now"]["oldest_waiting_at"] is None


def test_the_total_divides_sums_and_never_averages_ratios():
    """A large bad queue and a small good one: the mean of their ratios would be a lie."""
    large = queue("large", counts(900, 450), waiting=5, oldest_waiting_at_ms=NOW_MS - 9_000)
    small = queue("small", counts(10, 10, speed_s=30), waiting=1, oldest_waiting_at_ms=NOW_MS - 90_000)
    total = shown(snapshot(large, small, queue("quiet")))["total"]
    window = total["windows"]["30m"]

    assert window["service_level"] == 460 / 910
    assert window["answer_speed_s"] == (900 * 12 + 10 * 30) / 910
    assert window["longest_wait_s"] == 30 * 7.1
    assert window["answered"] == 910
    assert total["now"]["waiting"] == 6
    assert total["now"]["oldest_waiting_at"] == "2026-08-03T12:23:30.000Z"
    assert total["trend"][0]["service_level"] == 368 / 728


def test_the_total_has_an_objective_only_where_all_queues_share_it():
    """An objective that is nobody's would colour the total by chance."""
    same = shown(snapshot(queue("a"), queue("b")))["total"]
    different = shown(snapshot(queue("a", objective=0.9), queue("b", target_ms=5_000)))["total"]

    assert (same["objective"], same["target_s"]) == (0.8, 20)
    assert (different["objective"], different["target_s"]) == (None, None)


def test_windows_that_do_not_cover_the_same_time_are_not_added():
    """Half-hours that end at different times have no sum; the others still have."""
    other = queue("b")
    shifted = replace(other.windows["5m"], start_ms=0)
    view = snapshot(queue("a"), replace(other, windows=other.windows | {"5m": shifted}))

    assert list(shown(view)["total"]["windows"]) == ["30m", "1h", "interval", "day"]


def test_a_queue_that_is_younger_than_the_others_joins_the_total_where_it_exists():
    """Trends are added by their own time, not by their position."""
    young = queue("b", counts(10, 10))
    view = snapshot(queue("a", counts(20, 10)), replace(young, trend=young.trend[-1:]))

    assert [part["answered"] for part in shown(view)["total"]["trend"]] == [16] * 6 + [24]


def test_a_board_without_queues_has_an_empty_total():
    """Nothing configured and nothing seen is a state, not an error."""
    view = shown(snapshot())

    assert view["queues"] == []
    assert view["total"]["windows"] == {}
    assert view["total"]["now"]["waiting"] == 0


def test_hostile_names_are_valid_json_under_the_metrics_label():
    """What no UTF-8 can hold is replaced, and the page and /metrics call a queue the same."""
    view = snapshot(queue("a\ud800b"), queue("</script><b>"), queue("\u202egnp"))
    names = [row["queue"] for row in json.loads(board_json(view, version="0.1.0"))["queues"]]

    assert "</script><b>" in names
    assert [name for name in names if "~" in name] == [name for name in names if "\ufffd" in name]
    assert len(set(names)) == 3


def test_encoded_and_plain_board_are_the_same():
    """The bytes are the JSON of the documented structure."""
    view = busy_afternoon()

    assert json.loads(board_json(view, version="0.1.0")) == shown(view)


def test_a_longest_wait_is_the_greatest_of_all_queues():
    """It is the one field that does not add up."""
    a = queue("a", counts(1, 1) | {f.LONGEST_WAIT_MS: 5 * MINUTE_MS})
    b = queue("b", counts(1, 1) | {f.LONGEST_WAIT_MS: 4 * MINUTE_MS})

    assert shown(snapshot(a, b))["total"]["windows"]["5m"]["longest_wait_s"] == 300
