"""Counts that are added up."""

from stream.core.counts import add


def test_zeros_vanish_from_sums():
    """A sum that comes back to 0 is as if nothing had been."""
    total = {1: 2, 2: 5}
    add(total, {1: 2, 3: 4, 4: 0}, -1)

    assert total == {2: 5, 3: -4}
