"""Counts that are added up."""

from stream.core.counts import add, total_of
from stream.core.fields import FIELD_COUNT


def test_zeros_vanish_from_sums():
    """A sum that comes back to 0 is as if nothing had been."""
    total = {1: 2, 2: 5}
    add(total, {1: 2, 3: 4, 4: 0}, -1)

    assert total == {2: 5, 3: -4}


def test_many_add_up_and_zeros_vanish():
    """Also in a field that only a newer release knows: it may run beside this one."""
    assert total_of([{1: 2, 2: 5, FIELD_COUNT: 7}, {1: -2, 3: 4}, {FIELD_COUNT: 1}]) == {
        2: 5,
        3: 4,
        FIELD_COUNT: 8,
    }
    assert total_of([]) == {}
