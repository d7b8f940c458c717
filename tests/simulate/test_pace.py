"""Simulated time against wall time."""

import pytest

from stream.simulate import Pace


@pytest.mark.parametrize(
    ("speed", "simulated_ms", "expected_ms"),
    [
        (1.0, 500, 1_000),  # the past: at once
        (1.0, 1_000, 1_000),
        (1.0, 1_600, 1_600),
        (4.0, 1_600, 1_150),  # the future, four times as fast
        (0.5, 1_600, 2_200),
        (None, 9_999, 1_000),  # everything at once
    ],
)
def test_the_past_is_due_at_once_and_the_future_at_its_speed(speed, simulated_ms, expected_ms):
    """Both times are equal at 1000 ms, when sending began."""
    assert Pace(1_000, speed).due_at_ms(simulated_ms) == expected_ms


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_is_above_zero(speed):
    """At speed 0 nothing would ever come."""
    with pytest.raises(ValueError, match="speed is"):
        Pace(0, speed)
