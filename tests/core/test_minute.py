"""The cells of a minute, side by side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import fields as f
from stream.core.counts import total_of
from stream.core.minute import PLACES_A_CELL, by_field, cells_a_minute, cells_of, minutes_of, part_by_field
from stream.core.rules import BUCKET_MS, QUARTER_MS

PER_MINUTE = cells_a_minute(BUCKET_MS)
FIELDS = st.integers(0, f.FIELD_COUNT - 1)
COUNTS = st.dictionaries(FIELDS, st.integers(-(2**40), 2**40).filter(bool), min_size=1, max_size=4)
CELLS = st.dictionaries(st.integers(0, 5 * PER_MINUTE), COUNTS, max_size=12)


def sums_of(cells):
    """Add up cells, without the longest waits."""
    return total_of(
        [{field: count for field, count in counts.items() if field != f.LONGEST_WAIT_MS} for counts in cells]
    )


def test_there_is_room_for_every_field_of_a_cell():
    """Places of two cells are never the same, also with the fields of a release to come."""
    assert f.FIELD_COUNT < PLACES_A_CELL


@pytest.mark.parametrize(
    ("bucket_ms", "cells"),
    [(5_000, 12), (10_000, 6), (60_000, 1), (QUARTER_MS, 1), (QUARTER_MS // 16, 1), (2 * QUARTER_MS, 1)],
)
def test_a_quarter_hour_is_made_of_whole_minutes(bucket_ms, cells):
    """Cells that make up no minutes are minutes of their own."""
    assert cells_a_minute(bucket_ms) == cells
    assert max(1, QUARTER_MS // bucket_ms) % cells == 0


@given(CELLS)
def test_cells_put_together_and_taken_apart_are_the_same(cells):
    """Each in its own minute, whatever is in it."""
    minutes = minutes_of(cells.items(), PER_MINUTE)
    apart = {}
    for number, minute in minutes.items():
        apart |= cells_of(number, minute, PER_MINUTE)

    assert apart == cells
    assert set(minutes) == {bucket // PER_MINUTE for bucket in cells}


@given(CELLS, st.integers(0, PER_MINUTE), st.integers(0, PER_MINUTE))
def test_a_part_of_a_minute_is_the_sum_of_its_cells(cells, first, last):
    """Also one without cells; a longest wait is no sum, and zeros vanish."""
    for number, minute in minutes_of(cells.items(), PER_MINUTE).items():
        own = {bucket - number * PER_MINUTE: counts for bucket, counts in cells.items()}
        inside = [counts for cell, counts in own.items() if first <= cell < last]

        assert part_by_field(minute, first, last) == sums_of(inside)
        assert by_field(minute) == part_by_field(minute, 0, PER_MINUTE)


def test_a_minute_all_of_whose_cells_are_empty_is_there():
    """Somebody says that nothing is left in it."""
    assert minutes_of([(13, {})], PER_MINUTE) == {1: {}}
