"""What a centre may be."""

import random
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from stream.simulate import Centre, Duration, QueueModel, Shape, default_centre, seconds
from stream.simulate.model import staffing

SEED = 5
QUEUE = QueueModel(name="q", arrivals=(1.0,), agents=(1,), talk=seconds(60))


@pytest.mark.parametrize(
    ("duration", "expected_variation"),
    [
        (seconds(180), 1.0),
        (seconds(180, Shape.LOG_NORMAL, 0.7), 0.7),
        (seconds(180, Shape.CONSTANT), 0.0),
    ],
)
def test_durations_have_the_mean_and_the_variation_asked_for(duration, expected_variation):
    """The mean within four standard errors; sd / mean within 5 % over 40 000 draws."""
    draw = duration.sampler(random.Random(SEED))
    drawn = [draw() for _ in range(40_000)]

    assert abs(fmean(drawn) - 180_000) <= 4 * stdev(drawn) / 200
    assert stdev(drawn) / fmean(drawn) == pytest.approx(expected_variation, rel=0.05)


def test_a_duration_is_at_least_a_millisecond():
    """Also where the draw rounds to nothing."""
    draw = Duration(1).sampler(random.Random(SEED))

    assert min(draw() for _ in range(1_000)) == 1


def test_staff_follows_the_square_root_rule():
    """100 calls per half hour of 180 s are 10 Erlang: 10 + sqrt(10), rounded up; nobody is still one."""
    assert staffing((100.0, 0.0), 180_000, 1.0) == (14, 1)


def test_a_scaled_centre_has_more_of_everything():
    """Calls, agents, trunks and places to wait; times stay."""
    small, large = default_centre(), default_centre().scaled(3)

    assert large.trunks == 3 * small.trunks
    for before, after in zip(small.queues, large.queues, strict=True):
        assert after.agents == tuple(3 * count for count in before.agents)
        assert after.arrivals == pytest.approx([3 * rate for rate in before.arrivals])
        assert after.capacity == (None if before.capacity is None else 3 * before.capacity)
        assert after.talk == before.talk


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "a name has 1 to 128 characters"),
        ({"arrivals": (1.0, 2.0)}, "arrivals has 2 values, not 1 or 48"),
        ({"agents": (-1,)}, "agents has a value below 0"),
        ({"week": (1.0,)}, "week needs 7 factors"),
        ({"hold_probability": 1.5}, "hold_probability is 1.5, not within 0..1"),
        ({"opening": (600, 300)}, "is not a span of minutes"),
        ({"opening": (8 * 60 + 10, 1080)}, "is not on half hours"),
        ({"overflow_to": "x"}, "belong together"),
        ({"transfer_probability": 0.1}, "without transfer_to"),
    ],
)
def test_an_impossible_queue_is_refused(change, message):
    """One line that names the queue and the field."""
    with pytest.raises(ValueError, match=message):
        replace(QUEUE, **change)


@pytest.mark.parametrize(
    ("queues", "message"),
    [
        ((), "at least one queue"),
        ((QUEUE, QUEUE), "two queues of the same name"),
        ((replace(QUEUE, transfer_to=("q",)),), "cannot send calls to 'q'"),
        ((replace(QUEUE, overflow_after_ms=1, overflow_to="x"),), "cannot send calls to 'x'"),
    ],
)
def test_an_impossible_centre_is_refused(queues, message):
    """Queues are distinct, and calls go to queues that exist."""
    with pytest.raises(ValueError, match=message):
        Centre(queues=queues)


@pytest.mark.parametrize("arguments", [(0,), (1, Shape.LOG_NORMAL, 0.0)])
def test_an_impossible_duration_is_refused(arguments):
    """No mean below a millisecond, no variation of zero."""
    with pytest.raises(ValueError, match=r"mean_ms|variation"):
        Duration(*arguments)
