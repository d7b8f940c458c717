"""Ledgers, cells and the book: what stage 1 counts into."""

import pytest

from schemas import EVENT_TYPES
from stream.core import fields as f
from stream.core.cells import Book, Ledger
from stream.core.minute import cells_a_minute, cells_of, minutes_of
from stream.core.rules import QueueRule

BUCKET_MS = 5_000
PER_MINUTE = cells_a_minute(BUCKET_MS)
BOUNDS_MS = (5_000, 20_000)


def new_book():
    return Book(BUCKET_MS, BOUNDS_MS, len(EVENT_TYPES), by_arrival=False)


def new_ledger(book, name="a"):
    ledger = book.ledgers[name] = Ledger(name, QueueRule(), len(BOUNDS_MS), 0, PER_MINUTE)
    return ledger


def taken(ledger):
    """Take what is to be sent, as {number: {bucket: counts}}."""
    return {number: cells_of(number, minute, PER_MINUTE) for number, minute in ledger.take()}


def test_a_cell_shows_no_zeros():
    """What was taken back is as if it had never been counted."""
    book = new_book()
    ledger = new_ledger(book)
    counts = book.counts(ledger, 0)
    counts[f.QUEUED] += 1
    counts[f.OFFERED] += 1
    counts[f.OFFERED] -= 1

    assert taken(ledger) == {0: {0: {f.QUEUED: 1}}}
    assert ledger.totals == {f.QUEUED: 1}


def test_a_minute_in_which_all_was_taken_back_is_sent_as_empty():
    """Nobody here knows whether readers were told of it, by the process that this one took over from."""
    book = new_book()
    ledger = new_ledger(book)
    for at_ms in (0, 5_000, 60_000):
        book.counts(ledger, at_ms)[f.OVERDUE] += 1
    for at_ms in (5_000, 60_000):
        book.counts(ledger, at_ms)[f.OVERDUE] -= 1

    assert taken(ledger) == {0: {0: {f.OVERDUE: 1}}, 1: {}}
    book.counts(ledger, 0)[f.OVERDUE] -= 1
    assert ledger.take() == [(0, {})]
    assert ledger.take() == []
    assert ledger.totals == {}


def test_the_longest_wait_of_a_cell_can_be_taken_back():
    """It is counted by length, so that a correction leaves the next longest one; 0 ms is a wait."""
    book = new_book()
    ledger = new_ledger(book)
    book.counts(ledger, 0)[f.ANSWERED] += 1
    for wait_ms in (0, 12_000, 9_000, 12_000):
        ledger.note_wait(0, wait_ms, 1)
    book.counts(ledger, 5_000)
    ledger.note_wait(1, 70_000, 1)  # of the next cell, whose waits are its own
    shown = []
    for wait_ms in (12_000, 12_000, 9_000, 0):
        book.counts(ledger, 0)
        ledger.note_wait(0, wait_ms, -1)
        minute = taken(ledger)[0]
        assert minute[1] == {f.LONGEST_WAIT_MS: 70_000}
        shown.append(minute.get(0, {}).get(f.LONGEST_WAIT_MS))

    assert shown == [12_000, 9_000, 0, None]
    assert f.LONGEST_WAIT_MS not in ledger.totals


@pytest.mark.parametrize(
    ("at_ms", "bucket"), [(0, 0), (4_999, 0), (5_000, 1), (9_999, 1), (59_999, 11), (60_000, 12)]
)
def test_a_moment_counts_in_the_bucket_that_holds_it(at_ms, bucket):
    """Buckets are half-open: [0, 5 s), [5 s, 10 s)."""
    book = new_book()
    ledger = new_ledger(book)
    book.counts(ledger, at_ms)[f.QUEUED] += 1

    assert taken(ledger) == {bucket // PER_MINUTE: {bucket: {f.QUEUED: 1}}}


def test_a_cell_is_listed_once_as_changed_until_it_is_sent():
    """However often it is counted in."""
    book = new_book()
    ledger = new_ledger(book)
    for at_ms in (0, 1, 5_000, 2):
        book.counts(ledger, at_ms)[f.QUEUED] += 1

    assert ([0, 1], {"a": ledger}) == (list(ledger.changed), book.changed)


def test_totals_follow_the_cells_by_differences():
    """Settling twice counts once, and what is taken back from a cell is taken back from the total."""
    book = new_book()
    ledger = new_ledger(book)
    book.counts(ledger, 0)[f.QUEUED] += 3
    ledger.settle()
    ledger.settle()
    book.counts(ledger, 0)[f.QUEUED] -= 1
    book.counts(ledger, 5_000)[f.QUEUED] += 10
    ledger.settle()

    assert ledger.totals == {f.QUEUED: 12}
    assert ledger.minutes == minutes_of([(0, {f.QUEUED: 2}), (1, {f.QUEUED: 10})], PER_MINUTE)


def test_totals_outlive_the_cells():
    """A minute is let go of in every queue that has it once all of it is final, and what it counted stays."""
    book = new_book()
    ledgers = [new_ledger(book, name) for name in "ab"]
    for ledger in ledgers:
        for at_ms in (0, 5_000, 60_000, 120_000):
            book.counts(ledger, at_ms)[f.QUEUED] += 1
        ledger.take()
    book.forget_before(PER_MINUTE - 1)
    assert [list(ledger.minutes) for ledger in ledgers] == [[0, 1, 2]] * 2

    book.forget_before(2 * PER_MINUTE)
    assert [list(ledger.minutes) for ledger in ledgers] == [[2], [2]]
    assert [ledger.totals[f.QUEUED] for ledger in ledgers] == [4, 4]
    assert list(book.minutes) == [2]


def test_a_packed_minute_is_counted_into_like_any_other():
    """What a checkpoint packed comes back with its waits, and is sent whole when it changes again."""
    book = new_book()
    ledger = new_ledger(book)
    for at_ms, wait_ms in ((0, 12_000), (5_000, 9_000), (60_000, 8_000)):
        book.counts(ledger, at_ms)[f.QUEUED] += 1
        ledger.note_wait(at_ms // BUCKET_MS, wait_ms, 1)
    ledger.take()
    packed = ledger.pack()
    assert (ledger.minutes, list(ledger.packed)) == ({}, [0, 1])
    assert ledger.pack() == packed

    book.counts(ledger, 0)[f.QUEUED] += 2
    ledger.note_wait(0, 12_000, -1)
    ledger.note_wait(0, 4_000, 1)
    assert taken(ledger) == {
        0: {
            0: {f.QUEUED: 3, f.LONGEST_WAIT_MS: 4_000},
            1: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 9_000},
        }
    }
    assert list(ledger.packed) == [1]
    assert ledger.totals == {f.QUEUED: 5}


def test_what_is_not_sent_yet_stays_ready_to_be_sent():
    """A checkpoint that comes between a change and its publication takes nothing from the publication."""
    book = new_book()
    ledger = new_ledger(book)
    book.counts(ledger, 0)[f.QUEUED] += 1

    assert len(ledger.pack()) == 1
    assert ledger.packed == {}
    assert taken(ledger) == {0: {0: {f.QUEUED: 1}}}


def test_a_packed_minute_that_is_final_is_let_go_of():
    """Like one that is not packed."""
    book = new_book()
    ledger = new_ledger(book)
    for at_ms in (0, 60_000):
        book.counts(ledger, at_ms)[f.QUEUED] += 1
    ledger.take()
    ledger.pack()
    book.forget_before(PER_MINUTE)

    assert list(ledger.packed) == [1]


def test_an_anomaly_is_counted_by_kind_and_taken_back():
    """The sign decides."""
    book = new_book()
    book.anomaly(2)
    book.anomaly(2)
    book.sign = -1
    book.anomaly(2)

    assert book.anomalies == [0, 0, 1, 0, 0, 0, 0, 0, 0]


def test_a_visit_that_reached_back_holds_its_bucket_until_its_end_is_final():
    """An event before the end may still undo it.

    0        5       10       15       20
    |--------|--------|--------|--------|
        <-- reaches back -- end
    """
    book = new_book()
    book.reach(7_000, 12_000)

    assert tuple(book.reached_ms(at_ms) for at_ms in (0, 14_999, 15_000)) == (5_000, 5_000, None)
    assert book.reached_ms(0) is None, "what was final once does not come back"


def test_what_reached_back_can_be_taken_back():
    """Two visits reach to the same bucket; the mark goes with the second."""
    book = new_book()
    book.reach(7_000, 12_000)
    book.reach(8_000, 13_000)
    book.sign = -1
    book.reach(7_000, 12_000)
    assert book.reached_ms(0) == 5_000

    book.reach(8_000, 13_000)
    assert book.reached_ms(0) is None
