"""The one clock."""

from stream import clock


def test_the_wall_clock_counts_milliseconds() -> None:
    """The present is after 2020 and before 2100, so the unit is right."""
    assert 1_577_836_800_000 < clock.wall_ms() < 4_102_444_800_000


def test_the_monotonic_clock_never_regresses() -> None:
    """Two readings are in order."""
    earlier = clock.monotonic_s()

    assert clock.monotonic_s() >= earlier
