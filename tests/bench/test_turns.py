"""Pairs of turns, on canned numbers: no worker, no clock."""

from bench.figures import Sample
from bench.turns import Turn, Turns

# Twice as fast in the first second of each turn of two as in the second one.
PROGRESS = [Sample(1_000, 0), Sample(2_000, 200), Sample(3_000, 300), Sample(4_000, 400), Sample(5_000, 600)]
CPU = [Sample(0, 0.0), Sample(10_000, 10.0)]


def test_a_turn_is_compared_with_its_neighbour_whichever_came_first():
    """Quiet, disturbed, disturbed, quiet: two pairs, the quiet one first in both."""
    turns = Turns(
        [
            Turn(1_000, 2_000, disturbed=False),
            Turn(2_000, 3_000, disturbed=True),
            Turn(3_000, 4_000, disturbed=True),
            Turn(4_000, 5_000, disturbed=False),
        ]
    )

    pairs = turns.pairs(PROGRESS, CPU)

    assert [(quiet.rate, disturbed.rate) for quiet, disturbed in pairs] == [(200, 100), (200, 100)]
    assert [disturbed.cpu_us for _, disturbed in pairs] == [10_000, 10_000]


def test_a_turn_that_lasted_beyond_the_run_is_left_out_with_its_neighbour():
    """There was nothing to do in a part of it."""
    turns = Turns([Turn(3_000, 4_000, disturbed=False), Turn(4_000, 5_001, disturbed=True)])

    assert turns.pairs(PROGRESS, CPU) == []
    assert turns.pairs([*PROGRESS, Sample(6_000, 700)], CPU) != []
