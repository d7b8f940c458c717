"""Ledgers and the book: what stage 1 counts into."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import EVENT_TYPES
from stream.core import facts
from stream.core import fields as f
from stream.core.cells import Book
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELD_MASK, FIELDS, QUEUE_MASK, QUEUE_NUMBERS
from stream.core.rules import QueueRule
from tests.core.named import in_fields

BUCKET_MS = 5_000
BOUNDS_MS = (5_000, 20_000)
RULE = QueueRule()
MUCH = 2_000  # facts that are too many to be kept as a list


def new_book():
    return Book(BUCKET_MS, BOUNDS_MS, len(EVENT_TYPES), by_arrival=False)


def by_cell(places, values):
    """Show counts as {(queue number, bucket): {field: count}}, a longest wait as it is and None where none is left."""
    shown = {}
    for place, value in zip(places.tolist(), values.tolist(), strict=True):
        field = place & FIELD_MASK
        cell = shown.setdefault((place >> FIELD_BITS & QUEUE_MASK, place >> BUCKET_SHIFT), {})
        cell[field] = (value - 1 if value else None) if field == f.LONGEST_WAIT_MS else value
    return {key: in_fields(cell) for key, cell in shown.items()}


def taken(book):
    """Take what is to be sent."""
    return by_cell(*book.settle().take())


def held(book):
    """Show the cells."""
    cells = book.settle().cells
    return by_cell(cells.places, cells.values)


def totals(book, ledger):
    """Show the totals of a queue."""
    row = book.settle().totals[ledger.number * FIELDS :][:FIELDS].tolist()
    return in_fields({number: count for number, count in enumerate(row) if count})


def test_a_cell_shows_no_zeros():
    """What was taken back is as if it had never been counted."""
    book = new_book()
    ledger = book.open("a", RULE, 0)
    place = book.at(ledger, 0)
    book.add(place + f.QUEUED)
    book.add(place + f.OFFERED)
    book.take_back(place + f.OFFERED)

    assert held(book) == {(0, 0): {f.QUEUED: 1}}
    assert totals(book, ledger) == {f.QUEUED: 1}


def test_a_place_where_all_was_taken_back_is_sent_as_0():
    """Nobody here knows whether readers were told of it, by the process that this one took over from."""
    book = new_book()
    ledger = book.open("a", RULE, 0)
    for at_ms in (0, 5_000):
        book.add(book.at(ledger, at_ms) + f.OVERDUE)
    book.take_back(book.at(ledger, 5_000) + f.OVERDUE)

    assert taken(book) == {(0, 0): {f.OVERDUE: 1}, (0, 1): {f.OVERDUE: 0}}
    book.take_back(book.at(ledger, 0) + f.OVERDUE)
    assert taken(book) == {(0, 0): {f.OVERDUE: 0}}
    assert taken(book) == {}
    assert (held(book), totals(book, ledger)) == ({}, {})


def test_the_longest_wait_of_a_cell_can_be_taken_back():
    """It is kept by length, so that a correction leaves the next longest one; 0 ms is a wait."""
    book = new_book()
    ledger = book.open("a", RULE, 0)
    for wait_ms in (0, 12_000, 9_000, 12_000):
        book.add(book.at(ledger, 0) + facts.WAIT_ENDED, wait_ms)
    book.add(book.at(ledger, 5_000) + facts.WAIT_ENDED, 70_000)  # of the next cell, whose waits are its own
    assert taken(book) == {(0, 0): {f.LONGEST_WAIT_MS: 12_000}, (0, 1): {f.LONGEST_WAIT_MS: 70_000}}
    book.sign = -1
    shown = []
    for wait_ms in (12_000, 12_000, 9_000, 0):
        book.add(book.at(ledger, 0) + facts.WAIT_ENDED, wait_ms)
        said = taken(book)
        assert list(said) == [(0, 0)]
        shown.append(said[0, 0][f.LONGEST_WAIT_MS])

    assert shown == [12_000, 9_000, 0, None]
    assert held(book) == {(0, 1): {f.LONGEST_WAIT_MS: 70_000}}
    assert totals(book, ledger) == {}


@pytest.mark.parametrize(
    ("at_ms", "bucket"), [(0, 0), (4_999, 0), (5_000, 1), (9_999, 1), (59_999, 11), (60_000, 12)]
)
def test_a_moment_counts_in_the_bucket_that_holds_it(at_ms, bucket):
    """Buckets are half-open: [0, 5 s), [5 s, 10 s)."""
    book = new_book()
    book.add(book.at(book.open("a", RULE, 0), at_ms) + f.QUEUED)

    assert taken(book) == {(0, bucket): {f.QUEUED: 1}}


def test_a_place_is_listed_once_as_changed_until_it_is_sent():
    """However often it is counted in, and however often that is added up meanwhile."""
    book = new_book()
    ledger = book.open("a", RULE, 0)
    for at_ms in (0, 1, 5_000, 2):
        book.add(book.at(ledger, at_ms) + f.QUEUED)
        book.settle()
    places, values = book.settle().take()

    assert places.tolist() == [book.at(ledger, at_ms) + f.QUEUED for at_ms in (0, 5_000)]
    assert values.tolist() == [3, 1]
    assert taken(book) == {}


def test_what_was_written_down_is_added_up_once():
    """Settling twice counts once, and what is taken back from a cell is taken back from the total."""
    book = new_book()
    ledger = book.open("a", RULE, 0)
    place = book.at(ledger, 0) + f.QUEUED
    for _ in range(3):
        book.add(place)
    book.settle()
    book.settle()
    book.take_back(place)
    for _ in range(10):
        book.add(book.at(ledger, 5_000) + f.QUEUED)

    assert totals(book, ledger) == {f.QUEUED: 12}
    assert held(book) == {(0, 0): {f.QUEUED: 2}, (0, 1): {f.QUEUED: 10}}


def test_totals_outlive_the_cells():
    """A bucket is let go of in every queue once it is final, and what it counted stays."""
    book = new_book()
    ledgers = [book.open(name, RULE, 0) for name in "ab"]
    for ledger in ledgers:
        for at_ms in (0, 5_000, 60_000, 120_000):
            book.add(book.at(ledger, at_ms) + f.QUEUED)
    taken(book)
    book.counted.forget_before(12)

    assert sorted(held(book)) == [(0, 12), (0, 24), (1, 12), (1, 24)]
    assert [totals(book, ledger) for ledger in ledgers] == [{f.QUEUED: 4}] * 2


def test_what_is_not_sent_yet_stays_ready_to_be_sent():
    """A checkpoint that comes between a change and its publication takes nothing from the publication."""
    book = new_book()
    book.add(book.at(book.open("a", RULE, 0), 0) + f.QUEUED)
    counted = book.settle()
    counted.cells.pack()
    counted.waits.pack()

    assert taken(book) == {(0, 0): {f.QUEUED: 1}}


def test_while_a_call_is_taken_back_everything_counts_the_other_way_round():
    """What had been added is taken back, and what had been taken back is added."""
    book = new_book()
    ledger = book.open("a", RULE, 0)
    place = book.at(ledger, 0)

    def fold():
        book.add(place + facts.ABANDONED, 7_000)
        book.add(place + f.QUEUED)
        book.take_back(book.at(ledger, 20_000) + facts.DUE)

    fold()
    before = held(book)
    assert before[0, 4] == {f.OVERDUE: -1, f.SERVICE_LEVEL_BASE: -1}
    book.sign = -1
    fold()
    assert (held(book), totals(book, ledger)) == ({}, {})

    book.sign = 1
    fold()
    assert held(book) == before


def test_what_was_written_down_can_be_forgotten():
    """Who folds all calls again after a restart has the counts already, and wants only the calls."""
    book = new_book()
    place = book.at(book.open("a", RULE, 0), 0)
    for times in (1, MUCH):
        for _ in range(times):
            book.add(place + f.QUEUED)
            book.take_back(place + f.OVERDUE)
        book.note()
        book.add(place + f.OFFERED)
        book.forget_written()
        assert taken(book) == {}

    book.add(place + f.QUEUED)
    assert taken(book) == {(0, 0): {f.QUEUED: 1}}


@pytest.mark.parametrize("much", [1, MUCH])
def test_what_was_noted_counts_like_anything_else(much):
    """However much it is, and whether it is taken back before or after that."""
    book = new_book()
    ledger = book.open("a", RULE, 0)
    place = book.at(ledger, 0)
    for _ in range(much):
        book.add(place + facts.TALKED, 3)
        book.take_back(place + f.OVERDUE)
    book.note()
    book.add(place + facts.TALKED, 4)
    book.note()
    book.sign = -1
    book.add(place + facts.TALKED, 3)
    expected = {f.CONVERSATIONS_ENDED: much, f.TALKS: much, f.TALK_MS: 3 * much + 1, f.OVERDUE: -much}

    assert taken(book) == {(0, 0): expected}
    assert totals(book, ledger) == expected
    book.note()
    assert taken(book) == {}


@pytest.mark.parametrize("sign", [1, -1])
def test_much_is_not_kept_as_a_list(sign):
    """A replay looks every quarter hour, after millions of facts; also of such as are taken back."""
    book = new_book()
    place = book.at(book.open("a", RULE, 0), 0)
    book.sign = sign
    held_at_most = 0
    for _ in range(300):
        for _ in range(MUCH):
            book.add(place + f.QUEUED)
        book.note()
        assert (book._facts, book._taken_back) == ([], [])
        held_at_most = max(held_at_most, len(book._noted))

    assert held_at_most <= 256
    assert held(book) == {(0, 0): {f.QUEUED: sign * 300 * MUCH}}


# --- queues -----------------------------------------------------------------------------------------------------------


def test_queues_are_numbered_as_they_are_heard_of():
    """The number is a queue's place in the columns, so each has its own and keeps it."""
    book = new_book()
    ledgers = [book.open(name, RULE, at_ms) for name, at_ms in (("b", 7), ("a", 3), ("c", 5))]
    for ledger in ledgers:
        book.add(book.at(ledger, 5_000) + f.QUEUED + ledger.number)

    assert [(ledger.number, ledger.name, ledger.first_at_ms) for ledger in book.numbered] == [
        (0, "b", 7),
        (1, "a", 3),
        (2, "c", 5),
    ]
    assert book.ledgers == {ledger.name: ledger for ledger in ledgers}
    assert held(book) == {(number, 1): {f.QUEUED + number: 1} for number in range(3)}


def test_a_queue_beyond_the_last_number_is_refused():
    """It would count in another bucket."""
    book = new_book()
    book.numbered = [book.open("a", RULE, 0)] * (QUEUE_NUMBERS - 1)
    last = book.open("b", RULE, 0)
    assert book.at(last, 0) + FIELD_MASK < book.at(book.ledgers["a"], BUCKET_MS)

    with pytest.raises(OverflowError, match="lower queues_max"):
        book.open("c", RULE, 0)
    assert sorted(book.ledgers) == ["a", "b"]


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=2), st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=9
    )
)
def test_who_waits_is_known_by_queue(waiting):
    """How many, and since when the first of them; whoever came in whatever order."""
    book = new_book()
    for name in "abc":
        book.open(name, RULE, 0)
    book.waiting.update(waiting)
    times = [[at_ms for at_ms, queue in waiting.values() if queue == number] for number in range(3)]

    assert book.waiting_by_queue() == [(len(of_queue), min(of_queue, default=None)) for of_queue in times]


# --- what became of records -------------------------------------------------------------------------------------------


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


def test_what_reaches_no_bucket_but_its_own_holds_nothing():
    """A bucket in which something can be undone is not final anyway."""
    book = new_book()
    book.reach(5_000, 9_999)
    assert book.reached_ms(0) is None

    book.reach(4_999, 5_000)
    assert book.reached_ms(0) == 0


def test_an_open_offer_reaches_back_too():
    """Its end would count at its beginning; the earliest of all decides."""
    book = new_book()
    book.reach(7_000, 12_000)
    book.offers |= {b"1": 6_200, b"2": 3_100}
    assert book.reached_ms(0) == 3_100

    del book.offers[b"2"]
    assert (book.reached_ms(0), book.reached_ms(15_000)) == (5_000, 6_200)
