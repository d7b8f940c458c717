"""What the properties found, kept as the smallest log that shows it."""

from dataclasses import replace

import pytest

from stream.core.calls import CallsStage
from stream.core.rules import FoldRules, QueueRule
from tests import oracle
from tests.oracle import log_of
from tests.properties.test_fold import expected, last_published, shown

RULES = FoldRules(
    grace_ms=12_000, call_age_max_ms=5_000, wrap_up_wait_ms=5_000, default=QueueRule(3_000), shards=1
)


@pytest.mark.parametrize(
    "lines",
    [
        ("0 queued a", "10 hold call=tick", "1 abandoned"),
        ("0 queued a", "10 hold call=tick", "4 queued a", "5 answered"),
        ("0 queued a", "0 answered", "10 hold call=tick", "5 ended"),
        ("0 queued a", "0 answered", "1 ended", "10 hold call=tick", "5 wrap_up took=1"),
        ("0 offered a", "10 hold call=tick", "1 blocked reason=busy"),
        ("0 offered a", "10 hold call=tick", "5 answered"),
        ("0 blocked reason=busy id=x", "24 hold call=tick", "12 resumed id=x"),
    ],
)
def test_an_event_on_time_finds_what_has_expired_since(lines):
    """The stream was past the age already, but the event happened before it and came within the grace."""
    log = log_of(*lines)
    stage = CallsStage(0, RULES)
    stage.fold(log)

    assert expected(oracle.recompute_partition(log, RULES)) == shown(stage)


@pytest.mark.parametrize(
    "undone", ["70 queued a", "70 blocked a reason=busy", "70 ended", "70 abandoned", "70 queued b"]
)
def test_a_visit_that_reached_back_can_be_undone_as_long_as_its_end_can(undone):
    """An event before the answer comes on time, and undoes what that counted a grace before itself."""
    rules = replace(RULES, grace_ms=5_000, call_age_max_ms=100_000)
    log = log_of("60 offered a", "74.999 answered", "75 hold call=tick", undone)

    expected_cells = oracle.recompute_partition(log, rules).story.cells
    assert expected_cells == last_published([[record] for record in log], rules)


@pytest.mark.parametrize(
    "lines",
    [
        ("4 offered a", "6 ended", "13 hold call=tick", "6 answered"),  # hung up
        ("4 offered a", "20 hold call=tick", "13 answered"),  # expired at 9, and was open at 8
        ("4 offered a", "20 hold call=tick", "13.1 queued b", "9 answered"),
        ("4 offered a", "20 hold call=tick", "8 answered"),
        ("4 offered a", "8 queued b", "20 hold call=tick", "8 answered a"),
    ],
)
def test_what_an_offer_may_still_reach_back_to_is_not_final(lines):
    """The offer is used up or expired by now, but an event before that comes on time and finds it open."""
    log = log_of(*lines)

    expected_cells = oracle.recompute_partition(log, RULES).story.cells
    assert expected_cells == last_published([[record] for record in log], RULES)


@pytest.mark.parametrize("end", ["7 abandoned c", "9 answered", "10 queued c"])
@pytest.mark.parametrize("tick", ["3 hold call=tick", "7 hold call=tick", "11 hold call=tick"])
def test_an_offer_outlives_the_wait_for_an_earlier_wrap_up(end, tick):
    """After a conversation the contact is offered again; that nobody wraps up takes nothing from the offer."""
    log = log_of("0 queued b", "0 answered", "1 ended", tick, "5 offered b", end)
    stage = CallsStage(0, RULES)
    stage.fold(log)

    assert expected(oracle.recompute_partition(log, RULES)) == shown(stage)


def test_a_checkpoint_between_an_expiry_and_its_undoing_leaves_no_trace():
    """The state says the same either way, so it is the same bytes: no field of 0, no empty cell."""
    log = log_of("1 answered a", "10 hold call=d", "2 ended")
    stage = CallsStage(0, RULES)
    stage.fold(log[:2])
    stage = CallsStage.load(stage.dump(), 0, RULES)
    stage.fold(log[2:])
    without = CallsStage(0, RULES)
    without.fold(log)

    assert without.dump() == stage.dump()
