"""Counts as two columns, held against plain dictionaries."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.columns import (
    Columns,
    column,
    firsts,
    grown,
    in_order,
    joined,
    longest,
    pack,
    pack_columns,
    summed,
    unpack,
    unpack_columns,
)

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
# Few places, so that they meet; and some that are as far apart as places can be.
PLACES = st.one_of(st.integers(0, 30), st.integers(0, HIGHEST))
VALUES = st.integers(-3, 3) | st.integers(-(1 << 60), 1 << 60)
COUNTS = st.dictionaries(PLACES, VALUES, max_size=20)
PAIRS = st.lists(st.tuples(st.integers(0, 8), VALUES), max_size=30)
INT64 = st.lists(st.integers(LOWEST, HIGHEST), max_size=20)


def sides(counts):
    """Return the places of counts in order, and their values."""
    places = sorted(counts)
    return column(places), column([counts[place] for place in places])


def held(counts):
    """Hold counts; zeros are not held."""
    return Columns(*sides(without_zeros(counts)))


def without_zeros(counts):
    """Leave out what is 0."""
    return {place: value for place, value in counts.items() if value}


def shown(columns):
    """Show columns as the dictionary that they stand for; they are in order and as many as there are places."""
    places = columns.places.tolist()
    assert places == sorted(set(places))
    assert columns.places.dtype == columns.values.dtype == np.int64
    assert len(columns) == len(places)
    return dict(zip(places, columns.values.tolist(), strict=True))


def as_lists(columns):
    """Show columns side by side."""
    return tuple(one.tolist() for one in columns)


# --- counting ---------------------------------------------------------------------------------------------------------


@given(COUNTS, COUNTS)
def test_what_is_put_replaces_what_was_there(before, changes):
    """A 0 takes the place away, and one that was not there does not come. Whoever puts hears what there was."""
    columns = held(before)
    replaced = columns.put(*sides(changes))

    assert replaced.tolist() == [before.get(place, 0) for place in sorted(changes)]
    assert shown(columns) == without_zeros(before | changes)


@given(COUNTS, COUNTS)
def test_what_is_added_adds_up(before, changes):
    """What comes back to 0 is as if it had never been counted. Whoever adds hears the sums, 0 included."""
    columns = held(before)
    sums = columns.add(*sides(changes))
    places = {*before, *changes}

    assert sums.tolist() == [before.get(place, 0) + changes[place] for place in sorted(changes)]
    assert shown(columns) == without_zeros({at: before.get(at, 0) + changes.get(at, 0) for at in places})


@given(COUNTS)
def test_what_is_added_can_be_taken_back(counts):
    """To the last place."""
    columns = Columns()
    places, values = sides(counts)
    columns.add(places, values)
    columns.add(places, -values)

    assert (shown(columns), len(columns)) == ({}, 0)


@given(COUNTS, COUNTS)
def test_a_smaller_count_is_raised_and_a_larger_one_stays(before, values):
    """No count at all is a 0, which is larger than what is below it. Whoever raises hears what is there now."""
    columns = held(before)
    now = columns.raise_to(*sides(values))
    raised = {place: max(before.get(place, 0), value) for place, value in values.items()}

    assert now.tolist() == as_lists(sides(raised))[1]
    assert shown(columns) == without_zeros(before | raised)


@given(COUNTS, st.lists(PLACES, max_size=10))
def test_a_count_is_found_at_its_place_and_a_zero_elsewhere(counts, other):
    """Places are asked for in order, and may be asked for twice."""
    asked = sorted([*other, *counts, *other])

    assert held(counts).at(column(asked)).tolist() == [counts.get(place, 0) for place in asked]


@given(COUNTS, PLACES, PLACES)
@example({1: 1, 2: 2, 3: 3}, 1, 3)
def test_a_range_of_places_holds_its_first_and_not_its_last(counts, one, other):
    """Ranges that follow each other share nothing and leave nothing out."""
    first, last = sorted((one, other))
    inside = {place: value for place, value in counts.items() if first <= place < last}

    assert shown(held(counts).between(first, last)) == without_zeros(inside)


@given(COUNTS, PLACES)
@example({1: 1, 2: 2, 3: 3}, 2)
@example({1: 1, 2: 2}, 1 << 80)
def test_what_is_cut_off_is_handed_over_and_the_rest_stays(counts, before):
    """The place itself stays; a place beyond all that a column can hold is after everything."""
    columns = held(counts)
    cut = columns.cut_before(before)

    assert shown(cut) == without_zeros({at: value for at, value in counts.items() if at < before})
    assert shown(columns) == without_zeros({at: value for at, value in counts.items() if at >= before})


@given(COUNTS, COUNTS, COUNTS, PLACES)
def test_what_was_handed_out_does_not_change_any_more(counts, changes, later, before):
    """What was counted waits to be said while counting goes on, and what was cut off is nobody else's."""
    columns = held(counts)
    cut, at = columns.cut_before(before), columns.at(sides(changes)[0])
    handed_out = [
        columns.places,
        columns.put(*sides(changes)),
        columns.add(*sides(changes)),
        columns.raise_to(*sides(changes)),
        at,
        cut.places,
        cut.values,
    ]
    seen = as_lists(handed_out)
    columns.add(*sides(changes | later))
    columns.put(*sides({place: value + 1 for place, value in (counts | changes | later).items()}))
    columns.raise_to(*sides(later))

    assert as_lists(handed_out) == seen


@given(COUNTS, COUNTS)
def test_what_is_handed_in_is_not_counted_into(counts, changes):
    """The columns that are put or added are still the caller's."""
    columns = Columns()
    handed_in = [*sides(counts), *sides(changes)]
    seen = as_lists(handed_in)
    columns.put(*handed_in[:2])
    columns.add(*handed_in[2:])
    columns.raise_to(*handed_in[:2])
    columns.put(handed_in[0], handed_in[1] + 1)

    assert as_lists(handed_in) == seen


@given(COUNTS, COUNTS)
def test_new_columns_are_empty_whatever_others_hold(counts, changes):
    """They begin with a column that all of them share."""
    Columns().put(*sides(counts))
    Columns().add(*sides(changes))

    assert shown(Columns()) == {}


# --- lists as columns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values", [[3, 1], (3, 1), {3: 0, 1: 0}.keys(), (value for value in (3, 1)), map(int, "31")]
)
def test_a_column_is_made_of_anything_that_can_be_gone_through(values):
    """Once, and with 64 bits whatever the machine prefers."""
    made = column(values)

    assert (made.tolist(), made.dtype) == ([3, 1], np.int64)


def test_a_column_of_nothing_holds_integers():
    """Numpy would take it for one of floats."""
    assert (column([]).tolist(), column([]).dtype) == ([], np.int64)


def test_pieces_are_put_one_behind_the_other():
    """Each column behind its own, whatever the lengths."""
    pieces = [(column([1, 2]), column([3, 4])), (column([]), column([])), (column([5]), column([6]))]

    assert as_lists(joined(pieces)) == ([1, 2, 5], [3, 4, 6])
    assert as_lists(joined(iter(pieces[:1]))) == ([1, 2], [3, 4])


@given(PAIRS)
def test_what_stands_beside_places_moves_with_them(pairs):
    """What is at the same place stays in the order in which it came."""
    places, values = column(place for place, _ in pairs), column(value for _, value in pairs)
    numbers = column(range(len(pairs)))
    ordered = sorted(enumerate(pairs), key=lambda item: item[1][0])

    assert as_lists(in_order(places, values, numbers)) == (
        [place for _, (place, _) in ordered],
        [value for _, (_, value) in ordered],
        [number for number, _ in ordered],
    )


@given(st.lists(st.integers(0, 8)).map(sorted))
def test_each_different_place_begins_once(places):
    """Where it is found first."""
    assert firsts(column(places)).tolist() == [places.index(place) for place in sorted(set(places))]


@given(PAIRS)
def test_what_is_at_the_same_place_is_summed(pairs):
    """A sum of 0 stays: whoever says what has changed must name that place too."""
    sums = Counter()
    for place, change in pairs:
        sums[place] += change

    places, changes = summed(column(place for place, _ in pairs), column(change for _, change in pairs))

    assert (places.tolist(), changes.tolist()) == as_lists(sides(sums))


@given(PAIRS)
def test_of_what_is_at_the_same_place_the_longest_stays(pairs):
    """Also of values below 0."""
    largest = {}
    for place, value in pairs:
        largest[place] = max(value, largest.get(place, value))

    places, values = longest(column(place for place, _ in pairs), column(value for _, value in pairs))

    assert (places.tolist(), values.tolist()) == as_lists(sides(largest))


@given(st.lists(VALUES, max_size=20), st.integers(0, 60))
def test_a_column_that_grows_keeps_its_beginning(values, length):
    """What is new is 0; one that is long enough stays as it is."""
    before = column(values)
    after = grown(before, length)

    assert after.tolist() == values + [0] * (len(after) - len(values))
    assert (after is before) == (length <= len(values))
    assert len(after) >= length
    assert after.dtype == np.int64


def test_a_column_grows_by_doubling():
    """A thousand queues that come one by one must not copy all the others a thousand times."""
    assert len(grown(column([1] * 100), 101)) == 200
    assert len(grown(column([1] * 100), 1_000)) == 1_000


# --- to bytes and back ------------------------------------------------------------------------------------------------


@given(INT64)
@example([LOWEST])
@example([HIGHEST])
@example([LOWEST, HIGHEST])
@example([])
def test_a_packed_column_is_read_as_it_was(values):
    """Whatever 64 bits can hold."""
    read = unpack(pack(column(values)))

    assert (read.tolist(), read.dtype) == (values, np.int64)


@given(INT64)
def test_a_column_that_was_read_can_be_counted_into(values):
    """It is no view of the bytes that it came in."""
    read = unpack(pack(column(abs(value) // 2 for value in values)))
    read += 1

    assert read.tolist() == [abs(value) // 2 + 1 for value in values]


@pytest.mark.parametrize(
    ("value", "width"),
    [
        (0, 1),
        (127, 1),
        (-127, 1),
        (128, 2),
        (-129, 2),
        (32_767, 2),
        (32_768, 4),
        (-32_769, 4),
        ((1 << 31) - 1, 4),
        (1 << 31, 8),
        (HIGHEST, 8),
        (LOWEST + 1, 8),
    ],
)
def test_values_take_as_many_bytes_as_the_largest_needs(value, width):
    """Most counts of a cell are 1, and there are hundreds of thousands; a sign takes its bit too."""
    for values in ([value], [value, 0, 1], [1, 0, value]):
        data = pack(column(values))

        assert (data[0], len(data)) == (width, 1 + width * len(values))
        assert unpack(data).tolist() == values


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\x03\x01\x02\x03", b"\x10" + bytes(16), b"\x02\x01", b"\x08" + bytes(15), b"\xff"],
    ids=bytes.hex,
)
def test_what_is_no_column_is_refused(data):
    """Of a width that there is not, or with a value that is cut off."""
    with pytest.raises(ValueError):
        unpack(data)


@given(st.dictionaries(PLACES, st.integers(-(1 << 62), HIGHEST), max_size=20))
@example({0: HIGHEST, HIGHEST: 1})
@example({5: 0})
@example({})
def test_packed_counts_are_read_as_they_were(counts):
    """Zeros too, which say that all was taken back; places may be as far apart as there are."""
    read = unpack_columns(pack_columns(*sides(counts)))

    assert as_lists(read) == as_lists(sides(counts))
    assert all(one.dtype == np.int64 for one in read)


@given(COUNTS)
def test_columns_pack_what_they_hold(counts):
    """Places and values."""
    assert shown(Columns(*unpack_columns(held(counts).pack()))) == without_zeros(counts)


def test_neighbours_take_a_byte_each():
    """A cell's places are steps of one from a first place, however large that is."""
    first, steps, values = pack_columns(column(range(1 << 60, (1 << 60) + 100)), column([1] * 100))

    assert (first, len(steps), len(values)) == (1 << 60, 1 + 99, 1 + 100)


def test_no_counts_are_no_bytes():
    """A heartbeat is as small as it can be."""
    assert pack_columns(column([]), column([])) == Columns().pack() == (0, b"", b"")


ONE, TWO = pack(column([1])), pack(column([1, 1]))


@pytest.mark.parametrize(
    "packed",
    [
        (7, ONE, ONE),
        (7, ONE, ONE + b"\x01\x01"),
        (7, TWO, ONE),
        (7, b"", ONE),
        (7, b"\x03", ONE),
        (7, ONE, b"\x03"),
        (7, b"\x02\x01", ONE),
        (1 << 63, pack(column([])), ONE),
        (HIGHEST, ONE, TWO),
        (HIGHEST + 2, pack(column([-5])), TWO),
    ],
)
def test_what_is_no_columns_is_refused(packed):
    """Two lengths, no column at all, or places beyond 64 bits: the reader expects one kind of error."""
    with pytest.raises(ValueError):
        unpack_columns(packed)
