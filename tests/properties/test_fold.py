"""Stage 1 and stage 2 against the oracle, over random logs.

One command reproduces a failure: the header of the run prints the seed, and Hypothesis prints the example.
``PROPERTY_EXAMPLES=2000`` sets the number of examples of every property here, whatever the profile.
"""

import os
from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.core import fields as f
from stream.core.calls import CallsStage
from stream.core.wire import decode_publication
from tests import oracle
from tests.properties import strategies

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES") or settings().max_examples)
many = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

PARTITION = 3
WINDOW_FIELDS = {f.OVERDUE, f.SERVICE_LEVEL_BASE, f.SERVICE_LEVEL_MET, f.LONGEST_WAIT_MS}
LEFT = tuple(f.LEFT.values())


def folded(log, rules):
    stage = CallsStage(PARTITION, rules)
    stage.fold(log)
    return stage


def shown(stage):
    """Return everything that a stage shows, without what is 0."""
    tally = stage.tally()
    return {
        "cells": without_empty(stage.cells()),
        "totals": without_empty(summed(stage.totals())),
        "now": {queue: now for queue, now in stage.now().items() if now[:2] != (0, 0)},
        "events": +Counter(tally.events),
        "rejected": sum(tally.rejected.values()),
        "late": tally.late,
        "duplicate": tally.duplicate,
        "anomalous": +Counter(tally.anomalous),
        "last_event_at_ms": tally.last_event_at_ms,
    }


def expected(result):
    """Return what a stage should show, by the oracle."""
    return {
        "cells": result.story.cells,
        "totals": without_empty(summed(oracle.totals(result.story.cells))),
        "now": {queue: now for queue, now in result.story.now().items() if now[:2] != (0, 0)},
        "events": +Counter(result.events),
        "rejected": sum(result.rejected.values()),
        "late": result.late,
        "duplicate": result.duplicate,
        "anomalous": +result.story.anomalies,
        "last_event_at_ms": result.stream_time,
    }


def summed(totals):
    """Keep what is a sum since the beginning."""
    return {
        queue: {number: value for number, value in cell.items() if value and number not in WINDOW_FIELDS}
        for queue, cell in totals.items()
    }


def without_empty(cells):
    return {key: cell for key, cell in cells.items() if cell}


def last_published(batches, rules):
    """Publish after each batch, which lets go of final cells; return what was shown last of each."""
    stage = CallsStage(PARTITION, rules)
    seen = {}
    held = set()
    for batch in batches:
        stage.fold(batch)
        current = without_empty(stage.cells())
        for emptied in held - set(current):
            del seen[emptied]
        seen.update(current)
        stage.publish(0, caught_up=False)
        held = set(without_empty(stage.cells()))
    return seen


# --- (a) the numbers are those of the oracle ------------------------------------------------------------


@many
@given(strategies.cases())
def test_stage_one_equals_the_oracle(case):
    """Cells, totals, outcomes and what is going on now are recomputed from the whole log."""
    result = oracle.recompute_partition(case.log, case.rules)
    stage = folded(case.log, case.rules)

    assert expected(result) == shown(stage)
    assert case.log == [] or stage.applied_offset == case.log[-1].offset
    assert stage.stream_time_ms == result.stream_time


@many
@given(strategies.cases(), st.data())
def test_what_is_set_aside_is_what_the_oracle_rejects_or_finds_late(case, data):
    """Each record is set aside in the batch that held it, in order, with its reason."""
    stage = CallsStage(PARTITION, case.rules)
    aside = [one for batch in data.draw(strategies.cuts(case.log)) for one in stage.fold(batch)]
    outcomes = oracle.recompute_partition(case.log, case.rules).outcomes
    plainly = {oracle.APPLIED, oracle.DUPLICATE}
    set_aside = [
        (record, what) for record, what in zip(case.log, outcomes, strict=True) if what not in plainly
    ]

    assert [record for record, _ in set_aside] == [one.record for one in aside]
    for (_, what), one in zip(set_aside, aside, strict=True):
        assert one.late is (what == oracle.LATE)
        if what in {oracle.NO_KEY, oracle.KEY_MISMATCH, oracle.FUTURE}:
            assert one.reason == what


@many
@given(
    strategies.cases(),
    st.sampled_from((1, 2, 3, 5, 8, 1_000)),
    st.sampled_from((1, 2, 3, 1_000)),
    st.data(),
)
def test_bounds_are_met_where_the_oracle_meets_them(case, call_events_max, calls_max, data):
    """Calls that are cut off and calls for which there is no room, with a restart between any two batches."""
    rules = replace(case.rules, call_events_max=call_events_max, calls_max=calls_max)
    result = oracle.recompute_partition(case.log, rules)
    stage = CallsStage(PARTITION, rules)
    aside = []
    for batch in data.draw(strategies.cuts(case.log)):
        aside += stage.fold(batch)
        stage = CallsStage.load(stage.dump(), PARTITION, rules)
    bounds = {oracle.CALL_TOO_LONG, oracle.TOO_MANY_CALLS}

    assert expected(result) == shown(stage)
    assert [what for what in result.outcomes if what in bounds] == [
        one.reason for one in aside if one.reason in bounds
    ]


@many
@given(strategies.cases())
def test_histograms_equal_the_oracle(case):
    """Each observation lies below the first bound that it does not exceed."""
    observed = oracle.recompute_partition(case.log, case.rules).story.observations
    stage = folded(case.log, case.rules)
    counts = {
        (queue, name): oracle.histogram(spans, case.rules.histogram_bounds_ms)
        for queue, named in observed.items()
        for name, spans in named.items()
    }

    assert counts == {
        (queue, name): list(histogram)
        for queue, named in stage.histograms().items()
        for name, histogram in named.items()
        if any(histogram)
    }


@many
@given(strategies.cases(), st.data())
def test_cells_that_leave_stage_one_are_final(case, data):
    """Publishing lets go of old cells, and none of those changes any more."""
    batches = data.draw(strategies.cuts(case.log))

    assert oracle.recompute_partition(case.log, case.rules).story.cells == last_published(batches, case.rules)


# --- (b) batches and checkpoints ------------------------------------------------------------------------


@many
@given(strategies.cases(), st.data())
def test_batches_and_checkpoints_change_nothing(case, data):
    """Any cut into batches, and any dump and load between them, gives the same bytes."""
    stage = CallsStage(PARTITION, case.rules)
    for batch in data.draw(strategies.cuts(case.log)):
        stage.fold(batch)
        if data.draw(st.booleans()):
            stage = CallsStage.load(stage.dump(), PARTITION, case.rules)

    assert folded(case.log, case.rules).dump() == stage.dump()


@many
@given(strategies.cases(), st.data())
def test_saving_changes_nothing_in_what_goes_on(case, data):
    """A stage that was saved now and then says and holds the same as one that never was."""
    saved, plain = CallsStage(PARTITION, case.rules), CallsStage(PARTITION, case.rules)
    for batch in data.draw(strategies.cuts(case.log)):
        saved.fold(batch)
        plain.fold(batch)
        if data.draw(st.booleans()):
            assert said(plain) == said(saved)
        if data.draw(st.booleans()):
            saved.dump()

    assert shown(plain) == shown(saved)
    assert plain.dump() == saved.dump()


def said(stage):
    """Return what a stage publishes."""
    return [decode_publication(payload) for payload in stage.publish(0, caught_up=False)]


# --- (c) the order of arrival ---------------------------------------------------------------------------


@many
@given(strategies.cases(late=False, broken=False))
def test_the_order_of_arrival_within_the_grace_changes_nothing(case):
    """The log as it came, and the same events in the order in which they happened, show the same."""
    happened = sorted(case.log, key=lambda record: oracle.parse(record.value).at)
    in_order = [record._replace(offset=offset) for offset, record in enumerate(happened)]
    came, meant = shown(folded(case.log, case.rules)), shown(folded(in_order, case.rules))

    assert came["late"] == 0
    assert meant == came


# --- (d) redelivery -------------------------------------------------------------------------------------


@many
@given(strategies.cases(), st.data())
def test_redelivery_of_applied_offsets_changes_nothing(case, data):
    """Batches that overlap, or come again, are taken once, and nothing is set aside twice."""
    stage = CallsStage(PARTITION, case.rules)
    aside = []
    reached = 0
    while reached < len(case.log):
        start = data.draw(st.integers(0, reached))
        end = data.draw(st.integers(start, len(case.log)))
        aside += stage.fold(case.log[start:end])
        reached = max(reached, end)
    once = CallsStage(PARTITION, case.rules)

    assert once.fold(case.log) == aside
    assert once.dump() == stage.dump()


# --- (e) conservation -----------------------------------------------------------------------------------


@many
@given(strategies.cases(), st.data())
def test_nothing_is_lost_between_queued_and_ended(case, data):
    """At any moment every visit is somewhere, every conversation is, and every record has one outcome."""
    stage = CallsStage(PARTITION, case.rules)
    read = 0
    for batch in data.draw(strategies.cuts(case.log)):
        stage.fold(batch)
        read += len(batch)
        totals, now, tally = stage.totals(), stage.now(), stage.tally()
        for queue, cell in totals.items():
            of = Counter(cell)
            waiting, in_progress, oldest_at_ms = now.get(queue, (0, 0, None))
            ended = of[f.ANSWERED] + of[f.ABANDONED] + sum(of[number] for number in LEFT)

            assert of[f.QUEUED] == ended + of[f.EXPIRED_WAITING] + waiting
            assert of[f.ANSWERED] == of[f.CONVERSATIONS_ENDED] + in_progress
            assert of[f.CONVERSATIONS_ENDED] == of[f.TALKS] + of[f.EXPIRED_TALKING]
            assert (oldest_at_ms is None) is (waiting == 0)
            assert min([0, *(value for number, value in cell.items() if number != f.OVERDUE)]) == 0
            assert of[f.ANSWERED_WITHIN_TARGET] <= of[f.ANSWER_WAITS] <= of[f.ANSWERED]
            assert of[f.ABANDONED_WITHIN_TARGET] <= of[f.ABANDON_WAITS] <= of[f.ABANDONED]
            assert of[f.SERVICE_LEVEL_MET] <= of[f.SERVICE_LEVEL_BASE] <= of[f.QUEUED]
            assert of[f.WRAP_UPS] == of[f.HANDLES] <= of[f.TALKS]
            assert of[f.HANDLE_MS] >= of[f.WRAP_UP_MS]
        outcomes = sum(tally.events.values()) + tally.duplicate + tally.late + sum(tally.rejected.values())

        assert read == outcomes


@many
@given(strategies.cases(), st.data())
def test_clocks_and_offsets_never_go_back(case, data):
    """Neither the stream time, nor what is final, nor the applied offset."""
    stage = CallsStage(PARTITION, case.rules)
    before = (-1, -1)
    for batch in data.draw(strategies.cuts(case.log)):
        stage.fold(batch)
        now = (-1 if stage.stream_time_ms is None else stage.stream_time_ms, stage.applied_offset)
        now = (now[0], -1 if now[1] is None else now[1])

        assert before[0] <= now[0]
        assert before[1] <= now[1]
        before = now
