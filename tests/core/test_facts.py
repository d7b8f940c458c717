"""What each kind of fact counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import facts
from stream.core import fields as f
from stream.core.facts import COUNTS_OVERDUE, FACTS, KINDS, Fact, by_field, fact
from stream.core.place import FIELDS
from tests.core.named import NAMES

NAMED = {name: kind for name, kind in vars(facts).items() if name.isupper() and type(kind) is int}
KINDS_NAMED = {name: kind for name, kind in NAMED.items() if name != "FIELDS"}
MEASURED = [kind for kind, one in FACTS.items() if one.span is not None]
SUMS = {field for field, name in NAMES.items() if name.endswith("_MS") and field != f.LONGEST_WAIT_MS}


def test_every_kind_is_one_of_its_own():
    """No two share a number, none has that of a field, each has a row, and all fit into a place."""
    taken = [*NAMES, *FACTS, *(kind + 1 for kind in MEASURED)]

    assert sorted(KINDS_NAMED.values()) == sorted(FACTS)
    assert len(set(taken)) == len(taken)
    assert {*taken} <= {*KINDS} == {*range(FIELDS)}


def test_no_kind_was_renumbered_within_a_layout():
    """A checkpoint written yesterday means the same today: as they were when they came, and new ones are appended."""
    assert (4, KINDS_NAMED) == (
        f.LAYOUT_VERSION,
        {
            "DUE": 48,
            "WAIT_ENDED": 49,
            "ANSWERED_IN_TIME": 50,
            "ANSWERED_LATE": 52,
            "ABANDONED": 54,
            "TALKED": 56,
            "WRAPPED_UP": 58,
            "HANDLED": 60,
        },
    )


COUNTS = st.dictionaries(
    st.tuples(st.integers(0, 2), st.sampled_from([*NAMES, *FACTS, *(kind + 1 for kind in MEASURED)])),
    st.integers(-(1 << 40), 1 << 40),
)


@given(COUNTS)
def test_sums_by_field_are_those_of_all_facts_that_count_there(counts):
    """For each queue by itself; a field counts what is written down of it alone, too: states of layout 3 are so."""
    sums, expected = np.zeros(3 * FIELDS, np.int64), np.zeros(3 * FIELDS, np.int64)
    for (queue, number), count in counts.items():
        sums[queue * FIELDS + number] = count
        fields = [FACTS[number - 1].span] if number - 1 in MEASURED else fact(number).fields
        for field in fields:
            expected[queue * FIELDS + field] += count

    assert by_field(sums).tolist() == expected.tolist()


def test_no_queues_have_no_sums():
    """Nothing has been heard of yet."""
    assert by_field(np.zeros(0, np.int64)).tolist() == []


def test_the_facts_of_visits_past_their_target_are_known():
    """From them the board takes who will be so only later."""
    overdue = {kind for kind, counts in enumerate(COUNTS_OVERDUE.tolist()) if counts}

    assert overdue == {f.OVERDUE, facts.DUE}


@pytest.mark.parametrize("field", sorted(NAMES), ids=NAMES.get)
def test_a_field_is_a_kind_of_fact_that_counts_there_and_nowhere_else(field):
    """Most of what happens in a call is just one count."""
    assert fact(field) == Fact((field,))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in FACTS and kind not in NAMES])
def test_a_number_that_nobody_gave_away_counts_nothing(kind):
    """The tables of the counting have a row for each number that fits into a place."""
    assert fact(kind) == Fact(())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fact_counts_in_known_fields_and_once_in_each(kind):
    """A field beyond the table would be a queue's neighbour."""
    one = fact(kind)
    counted = [*one.fields, *([] if one.span is None else [one.span])]

    assert set(counted) <= set(NAMES)
    assert len(set(counted)) == len(counted)


def test_every_field_but_the_longest_wait_can_be_counted():
    """A sum of milliseconds is the span of some fact; the longest wait combines by maximum, so no row counts in it."""
    spans = {one.span for one in FACTS.values() if one.span is not None}
    counts = {field for kind in KINDS if kind != f.LONGEST_WAIT_MS for field in fact(kind).fields}

    assert spans == SUMS
    assert spans | counts == set(NAMES) - {f.LONGEST_WAIT_MS}
    assert all(
        {*one.fields, one.span}.isdisjoint({f.LONGEST_WAIT_MS}) and SUMS.isdisjoint(one.fields)
        for one in FACTS.values()
    )


@pytest.mark.parametrize("name", f.HISTOGRAM_NAMES)
def test_a_histogram_is_fed_by_the_facts_that_count_its_count_and_its_sum(name):
    """By all of them and by no other: the three are one metric, and Prometheus divides one by the other."""
    count, total_ms = f.HISTOGRAMS[name]
    feeding = [kind for kind, one in FACTS.items() if one.histogram == name]

    assert feeding
    assert feeding == [kind for kind, one in FACTS.items() if count in one.fields]
    assert feeding == [kind for kind, one in FACTS.items() if one.span == total_ms]


def test_a_span_without_a_histogram_is_no_sum_either():
    """All sums of milliseconds are shown as histograms, under names that exist."""
    assert {one.histogram for one in FACTS.values() if one.span is not None} == set(f.HISTOGRAMS)
    assert {one.histogram for one in FACTS.values() if one.span is None} == {None}


def test_every_end_of_a_wait_counts_for_the_longest():
    """An answer, in time or late, an abandonment, and whatever else takes a caller out of the queue."""
    assert {kind for kind in KINDS if fact(kind).ends_wait} == {
        facts.ANSWERED_IN_TIME,
        facts.ANSWERED_LATE,
        facts.ABANDONED,
        facts.WAIT_ENDED,
    }
    assert fact(facts.WAIT_ENDED) == Fact((), ends_wait=True)


def test_an_answer_in_time_differs_from_a_late_one_by_the_service_level():
    """A late one has failed the service level already, when it passed its target."""
    in_time, late = fact(facts.ANSWERED_IN_TIME), fact(facts.ANSWERED_LATE)

    assert set(in_time.fields) - set(late.fields) == {
        f.ANSWERED_WITHIN_TARGET,
        f.SERVICE_LEVEL_MET,
        f.SERVICE_LEVEL_BASE,
    }
    assert set(late.fields) == {f.ANSWERED, f.ANSWER_WAITS}
    assert fact(facts.DUE) == Fact((f.OVERDUE, f.SERVICE_LEVEL_BASE))
    assert (in_time.span, in_time.histogram) == (late.span, late.histogram)
