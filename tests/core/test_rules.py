"""The defaults of the rules, which the contract prints."""

from datetime import UTC

from stream.core.rules import (
    BUCKET_MS,
    HISTOGRAM_BOUNDS_S,
    QUARTER_MS,
    BoardRules,
    FoldRules,
    Formula,
    QueuePolicy,
    QueueRule,
)

SALES = QueueRule(30_000, 5_000, Formula.ANSWERED_ONLY)


def test_a_queue_that_is_not_configured_has_the_default_rule():
    """Only the queue of that very name has its own."""
    rules = FoldRules(default=QueueRule(1), queues={"sales": SALES})

    assert (SALES, QueueRule(1), QueueRule(1)) == (
        rules.rule("sales"),
        rules.rule("Sales"),
        rules.rule("unrouted"),
    )


def test_a_queue_that_is_not_configured_has_the_default_policy():
    """Objective and limits fall back in the same way."""
    own, default = QueuePolicy(0.9), QueuePolicy(0.7)
    rules = BoardRules(UTC, 1, default=default, queues={"sales": own})

    assert (own, default) == (rules.policy("sales"), rules.policy("support"))


def test_the_defaults_are_those_of_the_contract():
    """Section 8 prints them, and nobody should have to read the code to know them."""
    rules, board = FoldRules(), BoardRules(UTC, 12)

    assert (
        rules.grace_ms,
        rules.future_skew_ms,
        rules.call_age_max_ms,
        rules.wrap_up_wait_ms,
        rules.queues_max,
    ) == (300_000, 60_000, 14_400_000, 900_000, 1_000)
    assert QueueRule(20_000, 0, Formula.ABANDONED_IGNORED) == rules.rule("any")
    assert QueuePolicy(0.80, 0.05, 300_000, None) == board.policy("any")
    assert board.rolling == (("5m", 300_000), ("30m", 1_800_000), ("1h", 3_600_000))
    assert (board.interval_ms, board.clock, board.queues_max) == (1_800_000, "wall", 1_000)
    assert rules.by_arrival is False


def test_the_histogram_bounds_are_those_of_the_contract_in_order():
    """They are label values: one more or less is a breaking change."""
    assert HISTOGRAM_BOUNDS_S == (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
    assert tuple(1_000 * bound for bound in HISTOGRAM_BOUNDS_S) == FoldRules().histogram_bounds_ms


def test_windows_are_made_of_whole_buckets():
    """A quarter hour, of which every interval and day is made, is made of whole buckets."""
    assert (BUCKET_MS, QUARTER_MS % BUCKET_MS) == (5_000, 0)
