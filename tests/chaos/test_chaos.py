"""A small run of the chaos in every `make check`; the full one is `make chaos`."""

import random

import pytest

from tests import oracle
from tests.chaos.faults import FULL, SMALL, SMALL_LONGEST_S, schedule
from tests.chaos.run import run
from tests.chaos.verdict import judge, recompute
from tests.conftest import MISSING, without_broker

# So that a minute holds several intervals, and the clock gets hours ahead of what is sent again.
SPEED = 240.0


def test_the_seed_decides_the_faults():
    """The same seed gives the same schedule, and another one another."""
    assert schedule(1, FULL) == schedule(1, FULL) != schedule(2, FULL)
    assert len(schedule(1, FULL)) == sum(FULL.values())


@pytest.mark.broker
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_after_kills_a_zombie_a_frozen_broker_and_a_cut_nothing_differs(tmp_path):
    """Every counter, window and closed interval is the oracle's; and a record more or less would have been seen."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    try:
        done = run(tmp_path, seed, SMALL, minutes=0, speed=SPEED, longest_s=SMALL_LONGEST_S)
    except MISSING as error:
        without_broker(str(error))

    assert done.account.failures == []
    assert done.account.windows > 50
    assert differences(done) == []
    log, number = next(
        (log, number)
        for log, one in zip(done.topics.events, recompute(done.topics, done.centre).partitions, strict=True)
        for number, outcome in enumerate(one.outcomes)
        if outcome == oracle.APPLIED
    )
    del log[number]
    assert differences(done) != []


def differences(done):
    """Judge once more what was seen."""
    result = recompute(done.topics, done.centre)
    bounds_ms = done.centre.settings.fold.histogram_bounds_ms
    return judge(done.topics, result, done.outlooks, bounds_ms).differences
