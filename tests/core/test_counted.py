"""What a partition has counted, held against a plain recount of its facts."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import facts
from stream.core import fields as f
from stream.core.columns import column
from stream.core.counted import HISTOGRAMS, Counted, Waits
from stream.core.facts import FACTS, KINDS, fact
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELD_MASK, FIELDS, IN_BUCKET, QUEUE_MASK
from tests.core.named import in_fields

BOUNDS_MS = (5_000, 20_000)
QUEUES = 3
ENDS_WAIT = frozenset(kind for kind in KINDS if fact(kind).ends_wait)
ANY_KIND = st.sampled_from([kind for kind in KINDS if kind != f.LONGEST_WAIT_MS])
SPANS_MS = st.sampled_from([0, 1, 4_999, 5_000, 5_001, 20_000, 20_001, 70_000]) | st.integers(0, 1 << 40)


def at(bucket, queue, field=0):
    """Return a place."""
    return (bucket << BUCKET_SHIFT) + (queue << FIELD_BITS) + field


FACT = st.tuples(
    st.builds(at, st.integers(0, 1), st.integers(0, QUEUES - 1), st.sampled_from(sorted(FACTS)) | ANY_KIND),
    SPANS_MS,
)


@st.composite
def lives(draw):
    """Draw facts in the order in which they are written down, as (fact, span, sign).

    A wait is taken back after it has ended; other counts may come the other way round, as ``OVERDUE`` does.
    """
    written, waits = [], []
    for one, back in draw(st.lists(st.tuples(FACT, st.booleans()), max_size=40)):
        if not back:
            written.append((*one, 1))
            if one[0] & FIELD_MASK in ENDS_WAIT:
                waits.append(one)
        elif one[0] & FIELD_MASK not in ENDS_WAIT:
            written.append((*one, -1))
        elif waits:
            written.append((*waits.pop(draw(st.integers(0, len(waits) - 1))), -1))
    return written


@st.composite
def batches(draw):
    """Draw facts that are cut anywhere; batches may be empty."""
    written = draw(lives())
    cuts = sorted(draw(st.lists(st.integers(0, len(written)), max_size=8)))
    return [written[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]


class Recount:
    """The same, one fact at a time and in dictionaries."""

    def __init__(self):
        self.cells, self.totals = Counter(), Counter()
        self.histograms = Counter()  # by number of the queue, name, and bound
        self.waits = defaultdict(Counter)  # by place of the longest wait
        self.touched = set()

    def count(self, written, span_ms, sign):
        """Count a fact, or take it back."""
        one, base = fact(written & FIELD_MASK), written & ~FIELD_MASK
        changes = ([1] if one.fields else []) + ([] if one.span is None else [span_ms])
        for place, change in enumerate(changes, written):
            self.touched.add(place)
            self.cells[place] += sign * change
            self.totals[place & IN_BUCKET] += sign * change
        if one.histogram is not None:
            bound = sum(bound_ms < span_ms for bound_ms in BOUNDS_MS)
            self.histograms[written >> FIELD_BITS & QUEUE_MASK, one.histogram, bound] += sign
        if one.ends_wait:
            place = base + f.LONGEST_WAIT_MS
            self.touched.add(place)
            self.waits[place][span_ms] += sign
            self.cells[place] = max(
                (known + 1 for known, many in self.waits[place].items() if many), default=0
            )


def settle(counted, written, queues=QUEUES):
    """Settle facts as a book does."""
    sides = {1: [], -1: []}
    for one, span_ms, sign in written:
        sides[sign] += [one, span_ms]
    counted.settle(queues, sides[1], sides[-1])


def without_zeros(counts):
    """Leave out what is 0."""
    return {key: count for key, count in counts.items() if count}


def cells(counted):
    """Show the cells as {place: value}."""
    return dict(zip(counted.cells.places.tolist(), counted.cells.values.tolist(), strict=True))


def totals(counted):
    """Show the totals as {number of the queue and field: count}."""
    return without_zeros(dict(enumerate(counted.totals.tolist())))


def histograms(counted):
    """Show the histograms as {(number of the queue, name, bound): count}."""
    rows = counted.histograms.reshape(-1, HISTOGRAMS, len(BOUNDS_MS) + 1).tolist()
    return without_zeros(
        {
            (queue, name, bound): count
            for queue, row in enumerate(rows)
            for name, counts in zip(f.HISTOGRAM_NAMES, row, strict=True)
            for bound, count in enumerate(counts)
        }
    )


def taken(counted):
    """Take what is to be said, as {place: value}; every place once and in order."""
    places, values = (one.tolist() for one in counted.take())
    assert places == sorted(set(places))
    return dict(zip(places, values, strict=True))


# --- what a cell counts -----------------------------------------------------------------------------------------------


@given(batches())
def test_facts_count_the_same_however_they_are_cut(cut):
    """Cells, totals and histograms are those of one fact after the other: a crash may cut anywhere."""
    counted, recount = Counted(BOUNDS_MS), Recount()
    for written in cut:
        settle(counted, written)
        for one in written:
            recount.count(*one)
        assert cells(counted) == without_zeros(recount.cells)

    assert totals(counted) == without_zeros(recount.totals)
    assert histograms(counted) == without_zeros(recount.histograms)


@given(batches())
def test_the_state_is_the_same_bytes_however_facts_are_cut(cut):
    """A checkpoint tells nothing of the batches before it."""
    whole, pieces = Counted(BOUNDS_MS), Counted(BOUNDS_MS)
    settle(whole, [one for written in cut for one in written])
    for written in cut:
        settle(pieces, written)

    assert whole.cells.pack() == pieces.cells.pack()
    assert whole.waits.pack() == pieces.waits.pack()


@given(st.lists(st.tuples(batches(), st.booleans()), max_size=4))
def test_every_touched_place_is_said_once_with_its_present_value(rounds):
    """Also one where all was taken back, with 0; and nothing that has not been counted in since."""
    counted, recount = Counted(BOUNDS_MS), Recount()
    for cut, say in rounds:
        for written in cut:
            settle(counted, written)
            for one in written:
                recount.count(*one)
        if say:
            assert taken(counted) == {place: recount.cells[place] for place in recount.touched}
            recount.touched.clear()

    assert taken(counted) == {place: recount.cells[place] for place in recount.touched}
    assert taken(counted) == {}


@given(lives())
def test_what_was_taken_back_is_as_if_never_counted(written):
    """In the same batch or in a later one; whoever was told of it is told of 0."""
    counted = Counted(BOUNDS_MS)
    settle(counted, [(one, span_ms, 1) for one, span_ms, _ in written])
    settle(counted, [(one, span_ms, -1) for one, span_ms, _ in written])

    assert (cells(counted), totals(counted), histograms(counted)) == ({}, {}, {})
    assert counted.waits.pack() == Waits().pack()
    assert set(taken(counted).values()) <= {0}


def test_a_fact_counts_in_all_of_its_fields():
    """An answer of 12 s in time, twice, and the longest of the two as one more than it is."""
    counted = Counted(BOUNDS_MS)
    settle(counted, [(at(7, 2, facts.ANSWERED_IN_TIME), wait_ms, 1) for wait_ms in (12_000, 3_000)])
    once_each = {
        at(7, 2, field): 2
        for field in (
            f.ANSWERED,
            f.ANSWER_WAITS,
            f.ANSWERED_WITHIN_TARGET,
            f.SERVICE_LEVEL_MET,
            f.SERVICE_LEVEL_BASE,
        )
    }

    assert len(cells(counted)) == 3
    assert in_fields(cells(counted)) == {
        **once_each,
        at(7, 2, f.ANSWER_WAIT_MS): 15_000,
        at(7, 2, f.LONGEST_WAIT_MS): 12_001,
    }
    assert at(0, 2, f.LONGEST_WAIT_MS) not in totals(counted)
    assert histograms(counted) == {(2, "answer_wait", 0): 1, (2, "answer_wait", 1): 1}


@pytest.mark.parametrize(
    ("span_ms", "bound"), [(0, 0), (5_000, 0), (5_001, 1), (20_000, 1), (20_001, 2), (1 << 40, 2)]
)
@pytest.mark.parametrize(
    "kind", [facts.ANSWERED_LATE, facts.ABANDONED, facts.TALKED, facts.WRAPPED_UP, facts.HANDLED]
)
def test_a_bound_is_part_of_what_it_bounds(kind, span_ms, bound):
    """As in Prometheus, whose buckets are "less or equal"; the last one is without a bound."""
    counted = Counted(BOUNDS_MS)
    settle(counted, [(at(0, 1, kind), span_ms, 1)])

    assert histograms(counted) == {(1, FACTS[kind].histogram, bound): 1}


def test_a_queue_that_counted_nothing_has_totals_too():
    """Whoever reads them finds a row for each queue that there is, also when nothing was written down."""
    counted = Counted(BOUNDS_MS)
    for queues in (1, 2, 7, 100):
        counted.settle(queues, [], [])

        assert len(counted.totals) >= queues * FIELDS
        assert len(counted.histograms) >= queues * HISTOGRAMS * (len(BOUNDS_MS) + 1)
        assert len(counted.totals) % FIELDS == 0
        assert len(counted.histograms) % (HISTOGRAMS * (len(BOUNDS_MS) + 1)) == 0
    assert (totals(counted), histograms(counted), taken(counted)) == ({}, {}, {})


def test_queues_that_come_later_leave_the_others_as_they_are():
    """Totals and histograms grow behind what is there."""
    counted = Counted(BOUNDS_MS)
    for queues in range(1, 20):
        settle(counted, [(at(0, queues - 1, facts.TALKED), queues, 1)], queues)

    assert {
        place: count for place, count in in_fields(totals(counted)).items() if place & FIELD_MASK == f.TALK_MS
    } == {at(0, queue, f.TALK_MS): queue + 1 for queue in range(19)}
    assert histograms(counted) == {(queue, "talk", 0): 1 for queue in range(19)}


# --- what is said, and what is let go of ------------------------------------------------------------------------------


def test_every_cell_can_be_said_once_more():
    """After a restart nobody here knows what was said; together with what has changed since, each place once."""
    counted = Counted(BOUNDS_MS)
    settle(counted, [(at(bucket, 0, f.QUEUED), 0, 1) for bucket in (1, 2, 3)])
    assert len(taken(counted)) == 3
    counted.say_all()
    settle(counted, [(at(2, 0, f.QUEUED), 0, 1), (at(3, 0, f.QUEUED), 0, -1), (at(4, 0, f.QUEUED), 0, 1)])

    assert taken(counted) == {at(1, 0, f.QUEUED): 1, at(2, 0, f.QUEUED): 2, at(3, 0, f.QUEUED): 0} | {
        at(4, 0, f.QUEUED): 1
    }
    assert taken(counted) == {}


def test_where_no_cell_is_held_none_can_be_said():
    """A worker that takes over a partition without events, or one whose cells are all final, says all of nothing."""
    counted = Counted(BOUNDS_MS)
    counted.say_all()

    assert taken(counted) == {}


def test_what_is_said_once_more_is_what_was_counted_until_then_and_since():
    """Of a place that has changed since, what came last is said: what waits to be said must not be stale."""
    counted = Counted(BOUNDS_MS)
    settle(counted, [(at(1, 0, facts.WAIT_ENDED), 4_000, 1), (at(1, 0, f.QUEUED), 0, 1)])
    counted.take()
    assert counted.say_all() == {0}
    settle(counted, [(at(1, 0, facts.WAIT_ENDED), 9_000, 1), (at(1, 0, f.QUEUED), 0, 1)])
    settle(counted, [(at(1, 0, facts.WAIT_ENDED), 9_000, -1), (at(1, 0, f.QUEUED), 0, 1)])

    assert taken(counted) == {at(1, 0, f.QUEUED): 3, at(1, 0, f.LONGEST_WAIT_MS): 4_001}


def test_totals_and_histograms_outlive_the_cells():
    """What is final leaves the cells, with its waits; its bucket does not, and what was counted stays counted."""
    counted = Counted(BOUNDS_MS)
    settle(
        counted, [(at(bucket, queue, facts.ABANDONED), 6_000, 1) for bucket in (1, 2, 3) for queue in (0, 2)]
    )
    before = totals(counted), histograms(counted)
    counted.take()
    counted.forget_before(2)

    assert {place >> BUCKET_SHIFT for place in cells(counted)} == {2, 3}
    assert counted.waits.longest(column([at(1, 0, f.LONGEST_WAIT_MS)])).tolist() == [0]
    assert counted.waits.longest(column([at(2, 0, f.LONGEST_WAIT_MS)])).tolist() == [6_001]
    assert (totals(counted), histograms(counted)) == before
    assert in_fields(totals(counted))[at(0, 2, f.ABANDONED)] == 3
    assert taken(counted) == {}


def test_everything_can_be_final():
    """At the end of a log, whose time is then later than any column holds."""
    counted = Counted(BOUNDS_MS)
    settle(counted, [(at(1 << 35, 0, facts.ABANDONED), 6_000, 1)])
    counted.forget_before(1 << 62)

    assert cells(counted) == {}
    assert counted.waits.pack() == Waits().pack()


# --- the longest wait -------------------------------------------------------------------------------------------------


def longest_ms(counted, bucket=0):
    """Return the longest wait of a cell of the first queue; None where there is none."""
    kept = cells(counted).get(at(bucket, 0, f.LONGEST_WAIT_MS))
    return None if kept is None else kept - 1


def test_a_shorter_wait_leaves_the_longest_as_it_is():
    """Whether it comes in the same batch or later; 0 ms is a wait, and each cell has its own."""
    counted = Counted(BOUNDS_MS)
    seen = []
    for waits_ms in ((0,), (7_000, 12_000, 3_000), (9_000,), (12_000,), (12_001,)):
        settle(counted, [(at(0, 0, facts.WAIT_ENDED), wait_ms, 1) for wait_ms in waits_ms])
        seen.append(longest_ms(counted))
        assert taken(counted) == {at(0, 0, f.LONGEST_WAIT_MS): seen[-1] + 1}
    settle(counted, [(at(1, 0, facts.WAIT_ENDED), 5, 1)])

    assert seen == [0, 12_000, 12_000, 12_000, 12_001]
    assert (longest_ms(counted), longest_ms(counted, 1)) == (12_001, 5)


@pytest.mark.parametrize("kind", sorted(ENDS_WAIT))
def test_the_longest_wait_can_be_taken_back(kind):
    """It leaves the next longest one, down to 0 ms and to none, and another cell in peace."""
    counted = Counted(BOUNDS_MS)
    settle(counted, [(at(0, 0, kind), wait_ms, 1) for wait_ms in (0, 12_000, 9_000, 12_000)])
    settle(counted, [(at(1, 0, kind), 70_000, 1)])
    seen = []
    for wait_ms in (12_000, 12_000, 9_000, 0):
        counted.take()
        settle(counted, [(at(0, 0, kind), wait_ms, -1)])
        said = taken(counted)[at(0, 0, f.LONGEST_WAIT_MS)]
        assert said == (0 if longest_ms(counted) is None else longest_ms(counted) + 1)
        assert longest_ms(counted, 1) == 70_000
        seen.append(longest_ms(counted))

    assert seen == [12_000, 9_000, 0, None]


def test_a_wait_that_another_replaces_in_one_batch_is_gone():
    """A call that is folded again takes its old wait back and ends the new one at once."""
    counted = Counted(BOUNDS_MS)
    settle(counted, [(at(0, 0, facts.WAIT_ENDED), 12_000, 1)])
    settle(counted, [(at(0, 0, facts.WAIT_ENDED), 12_000, -1), (at(0, 0, facts.WAIT_ENDED), 4_000, 1)])

    assert longest_ms(counted) == 4_000


class Counting:
    """Waits as a counter of each place."""

    def __init__(self):
        self.known = Counter()
        self.before = 0

    def add(self, pairs, sign):
        """Add waits, or take them back."""
        for place, length in pairs:
            if place >= self.before:
                self.known[place, length] += sign

    def forget_before(self, place):
        """Let go of the waits of cells before a place."""
        self.before = place
        self.known = Counter({key: many for key, many in self.known.items() if key[0] >= place})

    def longest(self, place):
        """Return one more than the longest wait; 0 where there is none."""
        return max(
            (length + 1 for (at, length), many in self.known.items() if at == place and many), default=0
        )


PIECE = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3) | st.integers(0, 1 << 50)), max_size=6)
ACTION = st.tuples(st.sampled_from(["add", "add", "take back", "forget", "look"]), PIECE, st.integers(0, 6))
EVERYWHERE = column(range(7))


def put_in(waits, pairs, sign):
    """Add one piece."""
    waits.add(
        column(place for place, _ in pairs),
        column(length for _, length in pairs),
        column([sign] * len(pairs)),
    )


def looks(waits, counting):
    """Say whether both know the same longest wait everywhere."""
    return waits.longest(EVERYWHERE).tolist() == [counting.longest(place) for place in EVERYWHERE.tolist()]


@given(st.lists(ACTION, max_size=30))
def test_waits_are_those_of_a_counter(actions):
    """Whatever is added, taken back and let go of, and whenever somebody looks."""
    waits, counting, before = Waits(), Counting(), 0
    for action, pairs, place in actions:
        if action == "add":
            put_in(waits, pairs, 1)
            counting.add(pairs, 1)
        elif action == "take back":
            there = list(counting.known.elements())[: len(pairs)]
            put_in(waits, there, -1)
            counting.add(there, -1)
        elif action == "forget":
            before = max(before, place)
            waits.forget_before(before)
            counting.forget_before(before)
        else:
            assert looks(waits, counting)

    assert looks(waits, counting)


@pytest.mark.parametrize("pieces", [1, 63, 64, 65, 66, 129, 300])
def test_waits_may_come_in_any_number_of_pieces(pieces):
    """They are put in order from time to time, so that there are never many; nothing is lost or kept by that."""
    waits, counting = Waits(), Counting()
    for number in range(pieces):
        pairs = [(number % 7, number), (number * 5 % 7, number % 4)]
        put_in(waits, pairs, 1)
        counting.add(pairs, 1)
        assert len(waits._pieces) <= 64
    assert looks(waits, counting)

    for number in reversed(range(0, pieces, 2)):
        put_in(waits, [(number % 7, number)], -1)
        counting.add([(number % 7, number)], -1)
    assert looks(waits, counting)


@given(st.lists(PIECE, max_size=6), st.integers(0, 5))
def test_packed_waits_are_the_same_waits(pieces, before):
    """How many there are of a length is among them: one of two can still be taken back. What was let go of is not."""
    waits, counting, moved = Waits(), Counting(), Waits()
    for pairs in pieces:
        put_in(waits, pairs, 1)
        counting.add(pairs, 1)
    waits.forget_before(before)
    counting.forget_before(before)
    put_in(moved, [(0, 1), (5, 1 << 55)], 1)  # which what it takes over replaces
    moved.put(waits.pack())
    assert looks(moved, counting)
    assert moved.pack() == waits.pack()

    there = list(counting.known)
    put_in(moved, there, -1)
    counting.add(there, -1)
    assert looks(moved, counting)


def test_no_wait_is_known_before_the_first():
    """Asked for some places or for none."""
    assert Waits().longest(EVERYWHERE).tolist() == [0] * 7
    assert Waits().longest(column([])).tolist() == []
