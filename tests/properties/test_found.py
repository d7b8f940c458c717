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


def test_an_answer_may_still_find_an_offer_that_was_used_up_later():
    """The contact hung up at 6, and the stream went on; an answer at 6 comes on time and reaches back to 4."""
    rules = replace(RULES, grace_ms=7_001, call_age_max_ms=100_000)
    log = log_of("4 offered a", "6 ended", "13 hold call=tick", "6 answered")

    expected_cells = oracle.recompute_partition(log, rules).story.cells
    assert expected_cells == last_published([[record] for record in log], rules)
