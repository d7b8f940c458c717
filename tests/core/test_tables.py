"""The numbers of a shard: absolute values by differences, ranges added up from pieces, the longest wait."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from stream.core import facts
from stream.core import fields as f
from stream.core.columns import Columns, column, pack, pack_columns, summed, unpacked
from stream.core.counted import HISTOGRAMS
from stream.core.counts import add
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELDS, QUEUE_NUMBERS
from stream.core.rules import BUCKET_MS, QUARTER_MS
from stream.core.tables import NEVER, Heard, Minute, Rows, Tables, cells_a_minute, counts_of
from stream.core.tables_state import TablesState
from stream.core.wire import Update, decode_publication, encode_publication
from tests.core.named import in_fields
from tests.core.publications import NOON_MS, Reader, said, update

QUARTER = QUARTER_MS // BUCKET_MS  # buckets
MINUTE = 60_000 // BUCKET_MS
BOUNDS = 1  # of the histograms
GONE = None  # what was taken back


def new_tables(bucket_ms=BUCKET_MS, bounds=BOUNDS):
    return Tables(bucket_ms, bounds)


def tell(
    tables,
    said,
    *,
    partition=0,
    final_before=0,
    totals=None,
    row=(0,) * (BOUNDS + 1) * HISTOGRAMS,
    oldest_ms=None,
    first_at_ms=1_000,
    anew_from=None,
):
    """Let a source partition say {queue: {bucket: counts}}; return what was taken as [(bucket, queue)].

    Each queue has the same histograms (``row``) and totals, and the same visit waits longest.
    """
    places = {
        (bucket << BUCKET_SHIFT) + (number << FIELD_BITS) + field: (
            0 if count is GONE else count + (field == f.LONGEST_WAIT_MS)
        )
        for number, buckets in enumerate(said.values())
        for bucket, counts in buckets.items()
        for field, count in counts.items()
    }
    of_queues = {
        (number << FIELD_BITS) + field: count
        for number in range(len(said))
        for field, count in (totals or {}).items()
    }
    buckets, numbers = tables.absorb(
        partition,
        Heard(list(said), [first_at_ms] * len(said), [oldest_ms] * len(said)),
        Update(
            Columns(*summed(column(of_queues), column(of_queues.values()))),
            column(list(row) * len(said)),
            *summed(column(places), column(places.values())),
            anew_from,
        ),
        final_before,
    )
    return [
        (bucket, tables.names[number])
        for bucket, number in zip(buckets.tolist(), numbers.tolist(), strict=True)
    ]


def counts(tables, start, end, queue="a"):
    """Add up a range, and show it as readers see it."""
    number = tables.numbers[queue]
    return counts_of(tables.sum(start, end)[number * FIELDS : (number + 1) * FIELDS])


def longest_ms(tables, start, end):
    return counts(tables, start, end).get(f.LONGEST_WAIT_MS)


def moved(tables):
    """Save the tables, and restore them elsewhere."""
    other = new_tables()
    TablesState.of(tables).into(other, same_bounds=True)
    return other


def test_queues_have_room_for_every_field():
    """Places of two queues are never the same, also with the fields of a release to come."""
    assert f.FIELD_COUNT < FIELDS


# --- values -----------------------------------------------------------------------------------------------------------


def test_a_value_said_again_replaces_what_was_said_before():
    """Values are absolute: twice is once, more is more, less is less, and a place that is said as 0 is gone."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 2, f.ANSWERED: 1}}})
    tell(tables, {"a": {3: {f.QUEUED: 2, f.ANSWERED: 1}}})
    assert counts(tables, 0, 10) == {f.QUEUED: 2, f.ANSWERED: 1}

    tell(tables, {"a": {3: {f.QUEUED: 5, f.ANSWERED: GONE}}})
    assert counts(tables, 0, 10) == {f.QUEUED: 5}

    tell(tables, {"a": {3: {f.QUEUED: 4}}})
    assert counts(tables, 0, 10) == {f.QUEUED: 4}

    tell(tables, {"a": {3: {f.ABANDONED: GONE}}})
    assert counts(tables, 0, 10) == {f.QUEUED: 4}
    assert len(tables.held(0)) == 1, "what never was takes no memory"

    tell(tables, {"a": {3: {f.QUEUED: GONE}}})
    assert counts(tables, 0, 10) == {}
    assert len(tables.held(0)) == 0, "nor does what is gone"


def test_a_place_of_which_nothing_is_said_stays_as_it_is():
    """Only what changes is said: the rest of a cell, of its minute and of other queues is as before."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 2, f.ANSWERED: 1}, 4: {f.QUEUED: 7}}, "b": {3: {f.QUEUED: 9}}})
    tell(tables, {"a": {3: {f.QUEUED: 3}}})

    assert counts(tables, 3, 4) == {f.QUEUED: 3, f.ANSWERED: 1}
    assert counts(tables, 4, 5) == {f.QUEUED: 7}
    assert counts(tables, 3, 4, "b") == {f.QUEUED: 9}


def test_who_says_everything_anew_takes_back_what_it_does_not_say():
    """Cells and longest waits of all its queues, what is there of them since the beginning, and who waits."""
    tables = new_tables()
    wait = {f.QUEUED: 2, facts.DUE: 1, f.LONGEST_WAIT_MS: 7}
    row = (1, 0) * HISTOGRAMS
    tell(tables, {"a": {3: wait, 4: wait}, "b": {4: wait}}, totals=wait, row=row, oldest_ms=5)
    tell(tables, {"a": {3: {f.QUEUED: 10, f.LONGEST_WAIT_MS: 1}}}, partition=1, totals={f.QUEUED: 10})
    before = tables.versions.tolist()
    taken = tell(tables, {"a": {4: {f.QUEUED: 3}}}, totals={f.QUEUED: 3}, anew_from=0)

    assert sorted(set(taken)) == [(3, "a"), (4, "a"), (4, "b")]
    assert counts(tables, 0, MINUTE) == counts(tables, 0, QUARTER) == {f.QUEUED: 13, f.LONGEST_WAIT_MS: 1}
    assert counts(tables, 0, MINUTE, "b") == counts(tables, 0, QUARTER, "b") == {}
    assert tables.overdue_after(0) == [0, 0]
    assert rows_of(tables) == [{f.QUEUED: 13}, {}]
    assert tables.histograms().tolist() == [[0] * len(row)] * 2
    assert tables.oldest_waiting_at_ms() == [None, None]
    assert (tables.versions > before).all()


@pytest.mark.parametrize(("settled", "anew_from"), [(4, 0), (0, 4), (4, 4), (4, 5)])
def test_what_is_final_stays_when_everything_is_said_anew(settled, anew_from):
    """Whether the board has let go of it, or the one who speaks: it can change no more, and nobody says it again."""
    tables = new_tables()
    tell(tables, {"a": {bucket: {f.QUEUED: 2, f.LONGEST_WAIT_MS: bucket} for bucket in (3, 4, 5)}})
    tables.settle(0, settled)
    tell(tables, {"a": {5: {f.QUEUED: 10}}}, final_before=settled, anew_from=anew_from)

    left = max(settled, anew_from)
    assert counts(tables, 0, QUARTER) == {f.QUEUED: 10 + 2 * (left - 3), f.LONGEST_WAIT_MS: left - 1}


def test_partitions_add_up_each_by_its_own_word():
    """One partition's correction leaves the other's counts alone."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 2}}}, partition=0)
    tell(tables, {"a": {3: {f.QUEUED: 4}}}, partition=1)
    tell(tables, {"a": {3: {f.QUEUED: 1}}}, partition=0)

    assert counts(tables, 3, 4) == {f.QUEUED: 5}


def test_queues_may_be_said_in_any_order():
    """Each publication numbers its own queues; one that is new comes after those that are known.

    said first    a 0   b 1
    said then     c 0   b 1   a 2
    here          a 0   b 1   c 2
    """
    tables = new_tables()
    tell(tables, {"a": {5: {f.QUEUED: 1}}, "b": {5: {f.QUEUED: 10, f.LONGEST_WAIT_MS: 7}}})
    tell(tables, {"c": {5: {f.QUEUED: 4}}, "b": {5: {f.QUEUED: 20}}, "a": {4: {f.ANSWERED: 2}}})

    assert tables.names == ["a", "b", "c"]
    tell(tables, {queue: {9: {f.BLOCKED_FULL: power}} for power, queue in enumerate("cba", 1)})
    tell(tables, {queue: {9: {f.BLOCKED_FULL: 2**power}} for power, queue in enumerate("bca", 1)})
    assert [counts(tables, 0, 10, queue) for queue in "abc"] == [
        {f.QUEUED: 1, f.ANSWERED: 2, f.BLOCKED_FULL: 8},
        {f.QUEUED: 20, f.LONGEST_WAIT_MS: 7, f.BLOCKED_FULL: 2},
        {f.QUEUED: 4, f.BLOCKED_FULL: 4},
    ]


def test_a_queue_was_first_heard_of_at_the_earliest_of_what_partitions_say():
    """Partitions are read at their own speeds; the order of queues must not depend on that."""
    tables = new_tables()
    for partition, at_ms in enumerate((900, 800, 950)):
        tell(tables, {"a": {}}, partition=partition, first_at_ms=at_ms)

    assert tables.first_at_ms == [800]
    tell(tables, {"a": {}}, partition=2, first_at_ms=700)
    assert tables.first_at_ms == [700], "the same queues as the last time, one of them earlier"


def test_the_version_of_a_queue_grows_when_something_is_said_of_it():
    """Also when it is what was said before; of a queue that nobody speaks of it stays."""
    tables = new_tables()
    tell(tables, {"a": {}, "b": {3: {f.QUEUED: 1}}})
    before = tables.versions[:2].tolist()
    tell(tables, {"b": {3: {f.QUEUED: 1}}})

    assert tables.versions[:2].tolist() == [before[0], before[1] + 1]


def test_more_queues_than_have_a_place_are_refused():
    """Their counts would go to another queue."""
    tables = new_tables()
    tables.names += ["x"] * QUEUE_NUMBERS

    with pytest.raises(OverflowError, match="lower queues_max"):
        tell(tables, {"a": {3: {f.QUEUED: 1}}})


@pytest.mark.parametrize(
    "broken",
    [
        {"totals": pack_columns(column([(5 << BUCKET_SHIFT) + f.QUEUED]), column([1]))},
        {"totals": (2**63, pack(column([])), pack(column([1])))},
        {"cells": (2**63, pack(column([])), pack(column([1])))},
        {"oldest_waiting_at_ms": [2**63]},
    ],
    ids=[
        "totals in a bucket",
        "totals beyond all places",
        "a cell beyond all places",
        "a wait beyond all times",
    ],
)
def test_a_publication_that_has_no_place_here_is_counted_and_passed_over(broken):
    """Another program wrote to the topic: a record that stops the worker would stop each one that restarts."""
    whole = decode_publication(said(update("a", {NOON_MS: {f.QUEUED: 1}})))
    reader = Reader().hear(encode_publication(replace(whole, **broken)), encode_publication(whole))

    assert reader.board.unreadable == 1
    assert reader.view("a").totals == {f.QUEUED: 1}


# --- what is final ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [f.QUEUED, f.LONGEST_WAIT_MS])
@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("before", [MINUTE, MINUTE + 3])
@pytest.mark.parametrize("distance", [-1, 0, 1])
def test_what_is_final_on_a_partition_changes_no_more(before, distance, settled, field):
    """Final before a bucket: the one before is closed, whether its minute is or not; the bucket itself is open."""
    tables = new_tables()
    bucket = before + distance
    tell(tables, {"a": {bucket: {field: 6}}})
    if settled:
        tables.settle(0, before)

    for count in (9, 5):
        taken = tell(tables, {"a": {bucket: {field: count}}}, final_before=before)
        assert taken == ([] if distance < 0 else [(bucket, "a")])
        assert counts(tables, bucket, bucket + 1) == {field: 6 if distance < 0 else count}
        assert counts(tables, 0, QUARTER) == {field: 6 if distance < 0 else count}


def test_what_is_final_on_one_partition_is_open_on_another():
    """Each has its own border: the slower one still counts."""
    tables = new_tables()
    for partition in (0, 1):
        tell(tables, {"a": {3: {f.QUEUED: 1}}}, partition=partition)
    tables.settle(0, 4)
    tell(tables, {"a": {3: {f.QUEUED: 10}}}, partition=1)

    assert counts(tables, 3, 4) == {f.QUEUED: 11}


def test_a_cell_that_is_final_before_anything_was_said_of_it_is_never_taken():
    """Another worker's words that came so late were counted elsewhere, or nowhere."""
    tables = new_tables()
    taken = tell(tables, {"a": {2: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 9}, 3: {f.QUEUED: 10}}}, final_before=3)

    assert taken == [(3, "a")]
    assert counts(tables, 0, MINUTE) == {f.QUEUED: 10}


def test_a_settled_cell_keeps_counting_and_its_longest_wait():
    """Letting go of a part changes no number; another part's shorter wait does not hide the longer one."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 2, f.LONGEST_WAIT_MS: 9_000}}}, partition=0)
    tables.settle(0, MINUTE)
    tell(tables, {"a": {3: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4_000}}}, partition=1)
    assert counts(tables, 3, 4) == {f.QUEUED: 3, f.LONGEST_WAIT_MS: 9_000}

    tables.settle(1, MINUTE)
    assert counts(tables, 3, 4) == {f.QUEUED: 3, f.LONGEST_WAIT_MS: 9_000}
    assert counts(tables, 0, QUARTER) == {f.QUEUED: 3, f.LONGEST_WAIT_MS: 9_000}


def test_a_settled_cell_is_held_no_more():
    """What cannot change needs no part: the memory is that of what can."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 2}, 4: {f.QUEUED: 1}, 5: {f.QUEUED: 7}}})
    tables.settle(0, 5)

    assert (tables.held(0).places >> BUCKET_SHIFT).tolist() == [5]
    assert len(tables.held(1)) == 0, "of a partition that has said nothing there is nothing"


def test_a_settled_cell_without_a_wait_leaves_none():
    """Nor is a partition that has said nothing, or nothing since, a reason to fail."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 2}}})
    tables.settle(0, MINUTE)
    tables.settle(0, MINUTE)
    tables.settle(7, MINUTE)

    assert counts(tables, 3, 4) == {f.QUEUED: 2}


# --- the longest wait -------------------------------------------------------------------------------------------------


def test_a_wait_of_nothing_is_a_wait():
    """Somebody was answered at once: that is 0 ms, and not that nobody was."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 0}}})
    assert longest_ms(tables, 3, 4) == 0

    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: GONE}}})
    assert longest_ms(tables, 3, 4) is None


@pytest.mark.parametrize(("start", "end"), [(3, 5), (0, MINUTE), (1, 3 * MINUTE), (0, QUARTER)])
@pytest.mark.parametrize("restarted", [False, True])
def test_the_longest_wait_shrinks_when_it_is_corrected(start, end, restarted):
    """The answer was not 30 s but 8 s after; minute and quarter hour follow their cells.

    bucket    3        4
          |-- 30 --|-- 12 --|      the longest is 30,
          |--  8 --|-- 12 --|      then 12,
          |--  8 --|--    --|      then 8, then none
    """
    tables = new_tables()
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 30_000}, 4: {f.LONGEST_WAIT_MS: 12_000}}})
    longest = [longest_ms(tables, start, end)]
    for cells in (
        {3: {f.LONGEST_WAIT_MS: 8_000}},
        {4: {f.LONGEST_WAIT_MS: GONE}},
        {3: {f.LONGEST_WAIT_MS: GONE, f.QUEUED: 1}},
    ):
        if restarted:
            tables = moved(tables)
        tell(tables, {"a": cells})
        longest.append(longest_ms(tables, start, end))

    assert longest == [30_000, 12_000, 8_000, None]


def test_the_longest_wait_shrinks_to_that_of_another_partition_or_queue_of_its_own():
    """Partition 1 holds 20 s in the cell; queue b has 25 s there, which is not a's."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 30}}, "b": {3: {f.LONGEST_WAIT_MS: 25}}}, partition=0)
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 20}}}, partition=1)
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 10}}}, partition=0)

    for end in (4, MINUTE, QUARTER):
        assert longest_ms(tables, 0, end) == 20
        assert counts(tables, 0, end, "b") == {f.LONGEST_WAIT_MS: 25}


def test_one_word_may_let_a_wait_grow_and_another_shrink():
    """Both in one quarter hour: the visit that waited longest was put into the next bucket."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 30}, 4: {f.LONGEST_WAIT_MS: 5}}})
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 2}, 4: {f.LONGEST_WAIT_MS: 29}}})

    assert [longest_ms(tables, *span) for span in ((3, 4), (4, 5), (0, MINUTE), (0, QUARTER))] == [
        2,
        29,
        29,
        29,
    ]


def test_a_shrunk_wait_leaves_the_longest_of_the_partitions_that_are_final():
    """Partition 0 is final with 50 s; partition 1 says 80 s, then takes it back to 40 s."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.ANSWERED: 1, f.LONGEST_WAIT_MS: 50_000}}})
    tables.settle(0, MINUTE)
    tell(tables, {"a": {3: {f.ANSWERED: 1, f.LONGEST_WAIT_MS: 80_000}}}, partition=1)
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 40_000}}}, partition=1)

    for end in (4, MINUTE, QUARTER):
        assert counts(tables, 0, end) == {f.ANSWERED: 2, f.LONGEST_WAIT_MS: 50_000}


def test_what_is_final_on_several_partitions_is_the_longest_of_them():
    """Partition 0 is final with 50 s and then partition 1 with 20 s; partition 2 takes its 80 s back."""
    tables = new_tables()
    for partition, wait_ms in enumerate((50_000, 20_000, 80_000)):
        tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: wait_ms}}}, partition=partition)
    tables.settle(0, MINUTE)
    tables.settle(1, MINUTE)
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: GONE}}}, partition=2)

    for end in (4, MINUTE, QUARTER):
        assert longest_ms(tables, 0, end) == 50_000


def test_a_shrunk_wait_leaves_the_longest_of_the_cells_that_are_final():
    """Of one minute bucket 3 is final with 50 s; bucket 4 says 80 s, then takes it back."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 50_000}, 4: {f.LONGEST_WAIT_MS: 80_000}}})
    tables.settle(0, 4)
    tell(tables, {"a": {4: {f.LONGEST_WAIT_MS: GONE}}}, final_before=4)

    for end in (5, MINUTE, QUARTER):
        assert longest_ms(tables, 0, end) == 50_000


def test_a_shrunk_wait_loses_nothing_of_a_quarter_whose_buckets_are_gone_in_part():
    """What the dropped buckets had is only in the quarter, so the quarter keeps its longest wait."""
    tables = new_tables()
    tell(tables, {"a": {0: {f.LONGEST_WAIT_MS: 60_000}, MINUTE: {f.LONGEST_WAIT_MS: 50_000}}})
    tables.settle(0, MINUTE)
    tables.forget_before(MINUTE, 0, set())
    tell(tables, {"a": {MINUTE: {f.LONGEST_WAIT_MS: 10_000}}}, final_before=MINUTE)

    assert longest_ms(tables, 0, QUARTER) == 60_000
    assert longest_ms(tables, MINUTE, 2 * MINUTE) == 10_000


@pytest.mark.parametrize("final_first", [False, True])
def test_a_wait_of_a_minute_that_is_gone_shrinks_in_its_quarter(final_first):
    """The clock is far ahead of a slow partition: its minutes are dropped before they are final on it.

    Partition 1 has 20 s in the same cell; whether that is final or not, it is what is left.
    """
    tables = new_tables()
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 60}}}, partition=0)
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 20}}}, partition=1)
    if final_first:
        tables.settle(1, MINUTE)
    tables.forget_before(MINUTE, 0, set())
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 10}}}, partition=0)

    assert longest_ms(tables, 0, QUARTER) == 20


def test_a_wait_that_grows_after_a_look_is_the_longest():
    """Somebody who waited 9 s was answered in the same bucket as one who waited 5 s, after its minute was shown."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 5_000}}})
    assert longest_ms(tables, 0, MINUTE) == 5_000

    tell(tables, {"a": {3: {f.LONGEST_WAIT_MS: 9_000}}})
    assert longest_ms(tables, 0, MINUTE) == 9_000


# --- ranges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket_ms", "cells"),
    [(5_000, 12), (10_000, 6), (60_000, 1), (QUARTER_MS, 1), (QUARTER_MS // 16, 1), (2 * QUARTER_MS, 1)],
)
def test_a_quarter_hour_is_made_of_whole_minutes(bucket_ms, cells):
    """Cells that make up no minutes are minutes of their own."""
    assert cells_a_minute(bucket_ms) == cells
    assert max(1, QUARTER_MS // bucket_ms) % cells == 0


POWERS = (
    0,
    MINUTE - 1,
    MINUTE,
    MINUTE + 1,
    QUARTER - 1,
    QUARTER,
    QUARTER + MINUTE,
    2 * QUARTER - 1,
    2 * QUARTER,
)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 1, 1),
        (1, 2, 0),
        (0, MINUTE, 3),
        (1, MINUTE, 2),
        (MINUTE - 1, MINUTE + 1, 6),  # over a border, without a whole minute
        (MINUTE - 3, MINUTE + 3, 14),
        (MINUTE + 1, MINUTE + 2, 8),
        (MINUTE - 1, 2 * MINUTE + 1, 14),
        (0, QUARTER, 31),
        (1, QUARTER, 30),
        (0, QUARTER + 1, 63),
        (QUARTER - 1, QUARTER + 1, 48),
        (QUARTER - 1, QUARTER, 16),
        (QUARTER - 5, QUARTER + MINUTE + 1, 112),
        (0, 3 * QUARTER, 511),
        (QUARTER, 2 * QUARTER, 224),
        (QUARTER + 1, 3 * QUARTER, 448),
        (2 * QUARTER, 2 * QUARTER, 0),
        (2 * QUARTER, QUARTER, 0),
        (-QUARTER - 5, 1, 1),
        (2 * QUARTER + 1, 9 * QUARTER, 0),
    ],
)
def test_a_range_is_added_up_from_quarters_minutes_and_cells_exactly(start, end, expected):
    """Each place has another power of two, so every sum says what is in it; the longest wait is the latest's.

        minute 0   minute 1            quarter 1               quarter 2
    |1 . . . . 2|4 8 . . . ... . . . 16|32 . . 64 ... . . . 128|256 . . .
    """
    tables = new_tables()
    said = {bucket: {f.QUEUED: 2**power, f.LONGEST_WAIT_MS: power} for power, bucket in enumerate(POWERS)}
    tell(tables, {"other": {bucket: {f.QUEUED: 1_000} for bucket in POWERS}, "a": said})
    found = counts(tables, start, end)

    assert expected == found.get(f.QUEUED, 0)
    assert found.get(f.LONGEST_WAIT_MS) == (expected.bit_length() - 1 if expected else None)


def test_a_window_holds_exactly_its_buckets():
    """A window of three buckets, moved one bucket at a time past a single visit in bucket 5.

    bucket   3  4  5  6  7  8
            [--------)            1
          [--------)              0
                  [--------)      1 ... in at 3 <= 5 < 6, out at start 6
    """
    tables = new_tables()
    tell(tables, {"a": {5: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 7}}})
    visit = {f.QUEUED: 1, f.LONGEST_WAIT_MS: 7}

    assert [counts(tables, start, start + 3) for start in (2, 3, 4, 5, 6)] == [{}, visit, visit, visit, {}]


def test_what_is_said_of_a_moment_inside_a_window_shows_at_once():
    """Outside of it, it changes nothing."""
    tables = new_tables()
    tell(tables, {"a": {}})
    assert counts(tables, 4, 7) == {}

    tell(tables, {"a": {number: {f.QUEUED: 10**number} for number in (3, 4, 6, 7)}})
    assert counts(tables, 4, 7) == {f.QUEUED: 1_010_000}


def test_a_cell_that_changes_twice_between_two_looks_is_followed():
    """1 was shown; then 2 and 5 are said, and nobody looks in between."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 1}}})
    assert counts(tables, 0, 10) == {f.QUEUED: 1}

    tell(tables, {"a": {3: {f.QUEUED: 2}}})
    tell(tables, {"a": {3: {f.QUEUED: 5}}})
    for end in (10, MINUTE, QUARTER):
        assert counts(tables, 0, end) == {f.QUEUED: 5}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({f.QUEUED: 10, f.LONGEST_WAIT_MS: 9_000}, {f.QUEUED: 11, f.LONGEST_WAIT_MS: 9_000}),
        ({f.QUEUED: 10, f.LONGEST_WAIT_MS: 2_000}, {f.QUEUED: 11, f.LONGEST_WAIT_MS: 4_000}),
        ({f.QUEUED: GONE, f.LONGEST_WAIT_MS: GONE}, {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4_000}),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_minute_is_as_of_now(said, expected, restarted):
    """What was added up of a minute follows its buckets, and is made anew after a restart."""
    tables = new_tables()
    tell(tables, {"a": {MINUTE: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4_000}}})
    tell(tables, {"a": {MINUTE + 1: {f.QUEUED: 3, f.LONGEST_WAIT_MS: 5_000}}})
    assert counts(tables, 1, 3 * MINUTE) == {f.QUEUED: 4, f.LONGEST_WAIT_MS: 5_000}

    if restarted:
        tables = moved(tables)
    tell(tables, {"a": {MINUTE + 1: said}})
    assert counts(tables, 1, 3 * MINUTE) == expected
    assert counts(tables, 0, QUARTER) == expected


def test_a_queue_that_is_added_later_has_a_sum_of_its_own():
    """Minutes and quarters that were shown before it came do not know it."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4}}})
    assert len(tables.sum(0, QUARTER + 1)) == FIELDS

    tell(tables, {"b": {QUARTER: {f.QUEUED: 2}}}, partition=1)
    for span in ((0, QUARTER + 1), (3, QUARTER + 1), (0, 2 * QUARTER)):
        assert counts(tables, *span) == {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4}
        assert counts(tables, *span, "b") == {f.QUEUED: 2}


@pytest.mark.parametrize("bucket_ms", [QUARTER_MS // 16, 7_000, QUARTER_MS, 2 * QUARTER_MS])
def test_a_bucket_that_is_no_part_of_a_minute_is_added_up_all_the_same(bucket_ms):
    """Sixteen buckets a quarter hour: a minute would lie in two quarters. Or fewer, or a number that fits nowhere."""
    tables = new_tables(bucket_ms)
    said = {15: 1, 16: 10, 17: 100, 127: 1_000, 128: 10_000, 129: 100_000}
    tell(
        tables,
        {"a": {bucket: {f.QUEUED: count, f.LONGEST_WAIT_MS: bucket} for bucket, count in said.items()}},
    )
    tell(tables, {"a": {16: {f.QUEUED: 20, f.LONGEST_WAIT_MS: 1}, 129: {f.LONGEST_WAIT_MS: GONE}}})

    for start, end in ((0, 16), (16, 32), (3, 17), (16, 17), (0, 256), (127, 129), (17, 130), (129, 130)):
        within = [bucket for bucket in said if start <= bucket < end]
        waits = [{16: 1}.get(bucket, bucket) for bucket in within if bucket != 129]
        assert counts(tables, start, end) == {
            f.QUEUED: sum(20 if bucket == 16 else said[bucket] for bucket in within),
            **({f.LONGEST_WAIT_MS: max(waits)} if waits else {}),
        }


# --- what is forgotten ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looked", [False, True])
def test_a_minute_that_ends_after_what_is_dropped_stays_whole(looked):
    """Whether somebody looked at it before or not; what is gone does not come back."""
    tables = new_tables()
    visit = {f.QUEUED: 10, f.LONGEST_WAIT_MS: 3}
    tell(tables, {"a": {MINUTE - 1: {f.QUEUED: 1}, MINUTE: visit, MINUTE + 1: {f.QUEUED: 100}}})
    if looked:
        assert counts(tables, 1, 3 * MINUTE) == {f.QUEUED: 111, f.LONGEST_WAIT_MS: 3}

    tables.forget_before(MINUTE + 1, 0, set())
    tables.forget_before(MINUTE - 1, 0, set())
    assert tables.kept_from == MINUTE
    assert counts(tables, 1, 3 * MINUTE) == {f.QUEUED: 110, f.LONGEST_WAIT_MS: 3}


def test_old_buckets_go_and_their_quarters_stay_as_long_as_they_are_wanted():
    """Buckets before 4 quarters and quarters before 3 are dropped, but for quarter 1, which is kept.

    quarter       0          1          2          3
             |---1---|---10---|---100--|--1000--|
               gone     kept     gone     stays
    """
    tables = new_tables()
    for quarter in range(4):
        tell(tables, {"a": {quarter * QUARTER: {f.QUEUED: 10**quarter, f.LONGEST_WAIT_MS: quarter}}})
    tables.settle(0, 4 * QUARTER)
    tables.forget_before(4 * QUARTER, 3, {1})
    whole = [counts(tables, number * QUARTER, (number + 1) * QUARTER) for number in range(4)]

    assert whole == [
        {},
        {f.QUEUED: 10, f.LONGEST_WAIT_MS: 1},
        {},
        {f.QUEUED: 1_000, f.LONGEST_WAIT_MS: 3},
    ]
    assert counts(tables, QUARTER, QUARTER + 1) == {}, "the bucket itself is gone"
    assert counts(tables, QUARTER, QUARTER + MINUTE) == {}, "and its minute"


def test_the_first_minute_and_quarter_that_are_kept_are_whole():
    """Before means before: the bound itself stays, one less goes."""
    tables = new_tables()
    bound = QUARTER + MINUTE
    tell(
        tables,
        {"a": {bound - 1: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 1}, bound: {f.QUEUED: 10, f.LONGEST_WAIT_MS: 2}}},
    )
    tables.forget_before(bound, 1, set())

    assert counts(tables, bound, bound + 1) == {f.QUEUED: 10, f.LONGEST_WAIT_MS: 2}
    assert counts(tables, bound - 1, bound) == {}
    assert counts(tables, QUARTER, 2 * QUARTER) == {f.QUEUED: 11, f.LONGEST_WAIT_MS: 2}


def test_a_minute_that_was_shown_is_dropped_with_its_longest_wait():
    """What was made for looks goes with what it was made of."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4}}})
    assert counts(tables, 0, MINUTE) == {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4}

    tables.forget_before(MINUTE, 0, set())
    assert counts(tables, 0, MINUTE) == {}


def test_a_minute_that_is_gone_may_be_corrected_and_its_quarter_is_exact():
    """A slow partition corrects what nobody keeps by minutes any more."""
    tables = new_tables()
    tell(tables, {"a": {3: {f.QUEUED: 5, f.LONGEST_WAIT_MS: 4}, 4: {f.QUEUED: 1}}})
    tables.forget_before(MINUTE, 0, set())
    tell(tables, {"a": {3: {f.QUEUED: 2, f.LONGEST_WAIT_MS: 6}}})
    assert counts(tables, 0, QUARTER) == {f.QUEUED: 3, f.LONGEST_WAIT_MS: 6}

    tables.forget_before(MINUTE, 0, set())
    assert counts(tables, 0, QUARTER) == {f.QUEUED: 3, f.LONGEST_WAIT_MS: 6}
    assert counts(tables, 0, MINUTE) == {}


# --- anything at all --------------------------------------------------------------------------------------------------

LAST = 2 * QUARTER + 40
# Often the same ones, and those beside a border.
BUCKETS = st.one_of(
    st.sampled_from((0, 3, MINUTE - 1, MINUTE, QUARTER - 1, QUARTER, QUARTER + MINUTE)), st.integers(0, LAST)
)
COUNTS = st.fixed_dictionaries(
    {},
    optional={
        f.QUEUED: st.integers(0, 9),
        f.OVERDUE: st.integers(-2, 2),
        facts.DUE: st.integers(0, 2),
        f.LONGEST_WAIT_MS: st.one_of(st.none(), st.integers(0, 9)),
    },
)
PARTITIONS = st.integers(0, 2)
MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("tell"),
            PARTITIONS,
            st.dictionaries(
                st.sampled_from("abc"), st.dictionaries(BUCKETS, COUNTS, max_size=3), min_size=1, max_size=3
            ),
            st.none() | BUCKETS,
        ),
        st.tuples(st.just("settle"), PARTITIONS, BUCKETS),
        st.tuples(st.just("forget"), st.integers(0, QUARTER + MINUTE)),
        st.tuples(st.just("move")),
        st.tuples(st.just("save")),
        st.tuples(st.just("look"), BUCKETS, st.integers(0, LAST)),
    ),
    max_size=25,
)


class Plain:
    """What tables are to equal: every value by partition, queue, bucket and field, in dictionaries."""

    def __init__(self):
        self.said = {}
        self.final = {}
        self.kept_from = 0
        self.queues = []

    def tell(self, partition, said, anew_from):
        """Note what a partition says, where that is not final."""
        if anew_from is not None:
            for key in self.said:
                if key[0] == partition and key[2] >= max(anew_from, self.final.get(partition, 0)):
                    self.said[key] = GONE
        for queue, cells in said.items():
            self.queues += [] if queue in self.queues else [queue]
            for bucket, cell in cells.items():
                if bucket >= self.final.get(partition, 0):
                    for field, count in cell.items():
                        self.said[partition, queue, bucket, field] = count

    def settle(self, partition, before):
        """Note what is final on a partition from now on."""
        self.final[partition] = max(before, self.final.get(partition, 0))

    def forget(self, before):
        """Note from where on there are minutes."""
        self.kept_from = max(self.kept_from, before // MINUTE * MINUTE)

    def known(self, start, end):
        """Widen a range to whole quarters where its minutes are gone."""
        if start < self.kept_from:
            start = start // QUARTER * QUARTER
            if end // QUARTER * QUARTER < self.kept_from:
                end = -(-end // QUARTER) * QUARTER
        return start, end

    def sum(self, queue, start, end):
        """Add up a range of a queue from everything that was ever said."""
        total, waits = {}, []
        for (_, name, bucket, field), count in self.said.items():
            if name == queue and start <= bucket < end and count is not GONE:
                if field == f.LONGEST_WAIT_MS:
                    waits.append(count)
                else:
                    add(total, in_fields({field: count}))
        return total | ({f.LONGEST_WAIT_MS: max(waits)} if waits else {})


@given(MOVES)
@example(
    [
        ("tell", 0, {"a": {3: {f.LONGEST_WAIT_MS: 9}, 4: {f.LONGEST_WAIT_MS: 3}}}, None),
        ("settle", 0, 4),
        ("forget", MINUTE),
        ("tell", 1, {"b": {}, "a": {3: {f.LONGEST_WAIT_MS: 5}}}, None),
        ("move",),
        ("tell", 1, {"a": {3: {f.LONGEST_WAIT_MS: None}}}, None),
        ("tell", 0, {"a": {3: {f.LONGEST_WAIT_MS: None}, 4: {f.LONGEST_WAIT_MS: None}}}, None),
        ("look", 0, 1),
    ]
)
@example(
    [
        ("tell", 0, {"a": {3: {f.QUEUED: 1}}}, None),
        ("save",),
        ("save",),
        ("look", 3, 4),
        ("save",),
        ("tell", 0, {"a": {4: {f.QUEUED: 2}}}, None),
        ("look", 3, 5),
    ]
)
def test_any_moves_equal_a_plain_recomputation(moves):
    """However values change and become final, and whatever is let go of, any range is the sum of its cells."""
    tables, plain = new_tables(), Plain()
    for what, *rest in [*moves, ("look", 0, LAST), ("look", 1, LAST - 1)]:
        if what == "tell":
            partition, said, anew_from = rest
            final_before = plain.final.get(partition, 0)
            tell(tables, said, partition=partition, final_before=final_before, anew_from=anew_from)
            plain.tell(partition, said, anew_from)
        elif what == "settle":
            plain.settle(*rest)
            tables.settle(rest[0], plain.final[rest[0]])
        elif what == "forget":
            plain.forget(*rest)
            tables.forget_before(plain.kept_from, 0, set())
        elif what == "move":
            tables = moved(tables)
        elif what == "save":
            TablesState.of(tables)  # minutes that have not changed since the last time are bytes from now on
        else:
            start, end = plain.known(*rest)
            rows = tables.sum(start, end).reshape(-1, FIELDS)
            assert tables.names == plain.queues
            assert [counts_of(row) for row in rows] == [plain.sum(q, start, end) for q in plain.queues]
            now = max(rest[0], plain.kept_from)
            assert tables.overdue_after(now) == [
                plain.sum(q, now + 1, LAST + 1).get(f.OVERDUE, 0) for q in plain.queues
            ]


# --- everything since the beginning -----------------------------------------------------------------------------------


def rows_of(tables):
    """Return the totals of each queue."""
    return [counts_of(row) for row in tables.totals().reshape(-1, FIELDS)]


def test_totals_and_histograms_are_sums_over_partitions():
    """Each partition says its own since the beginning; who says nothing of a queue has none there."""
    tables = new_tables()
    part = {"totals": {f.ANSWER_WAITS: 3, f.ANSWER_WAIT_MS: 6_000}, "row": (1, 2) * HISTOGRAMS}
    tell(tables, {"a": {}}, partition=0, **part)
    tell(tables, {"b": {}, "a": {}}, partition=1, **part)

    assert rows_of(tables) == [
        {f.ANSWER_WAITS: 6, f.ANSWER_WAIT_MS: 12_000},
        {f.ANSWER_WAITS: 3, f.ANSWER_WAIT_MS: 6_000},
    ]
    assert tables.histograms().tolist() == [[2, 4] * HISTOGRAMS, [1, 2] * HISTOGRAMS]


def test_totals_and_histograms_replace_what_a_partition_said_before():
    """All fields of a queue are said each time: one that is not said is 0. Other queues stay."""
    tables = new_tables()
    tell(tables, {"a": {}, "b": {}}, totals={f.QUEUED: 4, f.ANSWERED: 2}, row=(1, 2) * HISTOGRAMS)
    tell(tables, {"b": {}}, totals={f.QUEUED: 3}, row=(0, 5) * HISTOGRAMS)

    assert rows_of(tables) == [{f.QUEUED: 4, f.ANSWERED: 2}, {f.QUEUED: 3}]
    assert tables.histograms().tolist() == [[1, 2] * HISTOGRAMS, [0, 5] * HISTOGRAMS]


def test_each_histogram_is_in_its_own_columns():
    """One after the other, a queue in a row, however many queues there are."""
    tables = new_tables(bounds=2)
    row = tuple(range(3 * HISTOGRAMS))
    for queue in "abcdefg":
        tell(tables, {queue: {}}, row=row)
    tell(tables, {"d": {}}, row=row[::-1])

    assert tables.histograms().tolist() == [list(row)] * 3 + [list(row[::-1])] + [list(row)] * 3


def test_a_histogram_with_other_bounds_waits_for_its_partition_to_say_it_anew():
    """After a change of the bounds, one worker has restarted and the other has not."""
    tables = new_tables(bounds=2)
    tell(tables, {"a": {}}, partition=0, row=(1, 2) * HISTOGRAMS, totals={f.TALKS: 3})
    tell(tables, {"a": {}}, partition=1, row=(1, 2, 3) * HISTOGRAMS, totals={f.TALKS: 6})
    assert tables.histograms().tolist() == [[1, 2, 3] * HISTOGRAMS]
    assert rows_of(tables) == [{f.TALKS: 9}]

    tell(tables, {"a": {}}, partition=0, row=(1, 1, 1) * HISTOGRAMS, totals={f.TALKS: 3})
    assert tables.histograms().tolist() == [[2, 3, 4] * HISTOGRAMS]


def test_the_oldest_waiting_is_the_oldest_of_all_partitions():
    """None only when nobody waits anywhere; the epoch is a moment like others."""
    tables = new_tables()
    tell(tables, {"a": {}, "b": {}})
    assert tables.oldest_waiting_at_ms() == [None, None]

    tell(tables, {"a": {}}, partition=0, oldest_ms=7_000)
    tell(tables, {"a": {}}, partition=1, oldest_ms=None)
    tell(tables, {"a": {}}, partition=2, oldest_ms=3_000)
    tell(tables, {"c": {}}, partition=2, oldest_ms=0)
    assert tables.oldest_waiting_at_ms() == [3_000, None, 0]

    tell(tables, {"a": {}}, partition=2, oldest_ms=None)
    assert tables.oldest_waiting_at_ms() == [7_000, None, 0]


@pytest.mark.parametrize(("now", "later"), [(3, 111), (4, 110), (5, 110), (6, 100), (MINUTE + 2, 0)])
def test_visits_whose_target_is_still_ahead_are_counted(now, later):
    """OVERDUE stands in the bucket of the target: 4, 6 and 14. What lies in the bucket of now has come."""
    tables = new_tables()
    tell(tables, {"b": {6: {f.OVERDUE: 1_000}}})
    tell(
        tables,
        {
            "a": {
                4: {f.OVERDUE: 1},
                6: {f.OVERDUE: 10},
                MINUTE + 2: {f.OVERDUE: 100, f.QUEUED: 5},
                40: {f.QUEUED: 1},
            }
        },
    )

    assert tables.overdue_after(now) == [1_000 if now < 6 else 0, later]


# --- for those who look -----------------------------------------------------------------------------------------------


def test_the_first_bucket_that_changed_is_noted_until_somebody_resets_it():
    """Of all queues and partitions; what is said as before, or too late, is no change."""
    tables = new_tables()
    assert tables.changed_from == NEVER

    tell(tables, {"a": {9: {f.QUEUED: 1}}, "b": {7: {f.LONGEST_WAIT_MS: 1}, 8: {f.QUEUED: 1}}})
    assert tables.changed_from == 7
    tell(tables, {"a": {8: {f.QUEUED: 1}}}, partition=1)
    assert tables.changed_from == 7

    tables.changed_from = NEVER
    tell(tables, {"b": {2: {f.QUEUED: 1}, 7: {f.LONGEST_WAIT_MS: 1}, 8: {f.QUEUED: 1}}}, final_before=3)
    assert tables.changed_from == NEVER
    tell(tables, {"a": {9: {f.QUEUED: GONE}}})
    assert tables.changed_from == 9


def row(**fields):
    """Return the sums of one queue."""
    sums = [0] * FIELDS
    for name, count in fields.items():
        sums[getattr(f, name)] = count
    return sums


def test_a_sum_is_the_same_object_while_it_is_the_same():
    """A look at what has not changed costs nothing; who holds an old one still has what it was."""
    rows = Rows()
    rows.show(column(row(QUEUED=2, LONGEST_WAIT_MS=8) + row(QUEUED=1)))
    first, second = rows.of(0), rows.of(1)
    assert (first, second) == ({f.QUEUED: 2, f.LONGEST_WAIT_MS: 7}, {f.QUEUED: 1})

    rows.show(column(row(QUEUED=2, LONGEST_WAIT_MS=8) + row(QUEUED=5)))
    assert rows.of(0) is first
    assert (rows.of(1), second) == ({f.QUEUED: 5}, {f.QUEUED: 1})


def test_a_sum_stays_the_same_object_when_queues_are_added():
    """Those that come later are shown from then on, with or without counts."""
    rows = Rows()
    assert rows.queues() == 0
    rows.show(column(row(QUEUED=2)))
    first = rows.of(0)

    rows.show(column(row(QUEUED=2) + row() + row(QUEUED=4)))
    assert rows.queues() == 3
    assert rows.of(0) is first
    assert [rows.of(1), rows.of(2)] == [{}, {f.QUEUED: 4}]

    third = rows.of(2)
    rows.show(column(row(QUEUED=3) + row(ANSWERED=1) + row(QUEUED=4) + row(QUEUED=9)))
    assert rows.of(2) is third
    assert [rows.of(0), rows.of(1), rows.of(3)] == [{f.QUEUED: 3}, {f.ANSWERED: 1}, {f.QUEUED: 9}]


def test_a_sum_that_changed_between_two_looks_is_not_the_one_before():
    """Nobody took it in between; it went away and came back."""
    rows = Rows()
    for queued in (1, 2, 1):
        rows.show(column(row(QUEUED=queued)))
    assert rows.of(0) == {f.QUEUED: 1}

    rows.show(column(row()))
    assert rows.of(0) == {}


def test_a_window_that_nothing_enters_or_leaves_is_the_same_object():
    """The clock goes on by a bucket without calls."""
    tables, rows = new_tables(), Rows()
    tell(tables, {"a": {3: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 7_000}}})
    rows.show(tables.sum(1, 11))
    before = rows.of(0)
    rows.show(tables.sum(2, 12))

    assert before is rows.of(0)
    assert before == {f.QUEUED: 1, f.LONGEST_WAIT_MS: 7_000}


def test_a_minute_at_rest_is_packed_once_and_a_changed_one_again():
    """A checkpoint every few seconds takes as it is what has not changed since the one before."""
    minute = Minute()
    minute.add(column([5, 9]), column([1, 2]))
    packed = minute.pack()
    assert minute.pack() is packed

    minute.add(column([9]), column([-2]))
    assert minute.pack() != packed
    assert (unpacked(minute.pack()).places.tolist(), Minute(minute.pack()).cells().values.tolist()) == (
        [5],
        [1],
    )
