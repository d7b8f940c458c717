"""Who follows another worker: what it says of what that one said, how long it says so, and who is believed."""

from dataclasses import replace

import msgspec
import pytest

from stream.core import fields as f
from stream.core.calls import MAGIC, CallsStage
from stream.core.calls_state import StageState
from stream.core.checkpoint import seal, unseal
from stream.core.rules import Clock, FoldRules
from stream.core.wire import decode_publication
from tests.core.named import RULES
from tests.core.publications import NOON_MS, Reader, board_rules, said, told, update
from tests.oracle import log_of

LATER_MS = NOON_MS + 60_000
BUCKET = NOON_MS // 5_000
BLOCKED = "100 blocked a reason=busy"


def follower(*lines, rules=RULES, since_ms=2):
    """Return a stage that counts a log from its beginning, as somebody before it did."""
    stage = CallsStage(0, rules, since_ms=since_ms, follows=True)
    stage.fold(log_of(*lines))
    return stage


def published(stage, *, caught_up=False, alone=False):
    return decode_publication(stage.publish(None, caught_up=caught_up, alone=alone)[0])


def queued(reader, queue="a"):
    view = reader.view(queue)
    return tuple(counts.get(f.QUEUED, 0) for counts in (view.totals, view.windows["interval"].counts))


# --- what it says -----------------------------------------------------------------------------------------------------


def test_who_counts_a_log_again_says_everything_anew_until_it_is_at_the_end():
    """Any of its publications may be the first that is as far as the one before was."""
    stage = follower("0 queued a call=x")
    heard = [published(stage, caught_up=at_end) for at_end in (False, False, True, False)]

    assert [one.anew_from for one in heard] == [0, 0, 0, None]
    assert [one.queues for one in heard] == [["a"]] * 3 + [[]]
    assert {one.since_ms for one in heard} == {2}


def test_what_was_said_at_the_end_of_the_log_is_said_once_more_when_nobody_else_can_speak():
    """One that was thrown out alive may have read on beyond that end; whether it has, nobody knows."""
    stage = follower("0 queued a call=x")
    moments = ((True, False), (False, True), (True, True), (True, True))
    heard = [published(stage, caught_up=at_end, alone=alone) for at_end, alone in moments]

    assert [one.anew_from for one in heard] == [0, None, 0, None]
    assert published(follower("0 queued a call=x"), caught_up=True, alone=True).anew_from == 0


def test_with_a_shorter_grace_the_cells_of_the_longer_one_are_kept_until_all_others_are_silent():
    """Those of ten seconds: what was counted then and is late now has to be taken back."""
    before = CallsStage(0, RULES)
    before.fold(log_of(BLOCKED))
    published(before)
    stage = CallsStage.load(before.dump(), 0, replace(RULES, grace_ms=1_000))
    heard = []
    for offset, (line, caught_up) in enumerate(
        (("102 hold", False), ("119 hold", False), ("119 hold", True)), 1
    ):
        stage.fold([log_of(line)[0]._replace(offset=offset)])
        one = published(stage, caught_up=caught_up, alone=caught_up)
        heard.append((one.anew_from, set(told(one).get("a", {})), set(stage.cells())))

    assert heard == [(18, {20}, {("a", 100_000)}), (18, {20}, {("a", 100_000)}), (19, {20}, set())]


def test_what_is_kept_for_those_before_is_kept_over_restarts_too():
    """A chain of restarts on the way through a backlog: the grace of the first one still counts."""
    stage = CallsStage(0, RULES)
    stage.fold(log_of(BLOCKED))
    for _ in range(3):
        stage = CallsStage.load(stage.dump(), 0, replace(RULES, grace_ms=1_000))
        published(stage)
    stage.fold([log_of("119 hold call=y")[0]._replace(offset=1)])
    published(stage)

    assert set(stage.cells()) == {("a", 100_000)}


def test_a_checkpoint_that_does_not_say_how_much_could_change_is_taken_as_of_one_grace():
    """Those of earlier releases: all that is not final is held, and twice the grace could be open."""
    before = CallsStage(0, RULES)
    before.fold(log_of(BLOCKED))
    state = unseal(MAGIC, before.dump(), StageState)
    earlier = msgspec.structs.replace(state, held_from=None, open_ms=None)
    stage = CallsStage.load(seal(MAGIC, state.applied_offset, earlier), 0, replace(RULES, grace_ms=0))

    assert (stage.held_from, stage.open_ms()) == (before.final_before_ms() // 5_000, 20_000)


def test_before_the_first_event_nothing_was_open():
    """A checkpoint of a partition in which nothing has happened."""
    state = unseal(MAGIC, CallsStage(0, RULES).dump(), StageState)
    earlier = msgspec.structs.replace(state, held_from=None, open_ms=None)
    stage = CallsStage.load(seal(MAGIC, state.applied_offset, earlier), 0, replace(RULES, grace_ms=0))

    assert (stage.held_from, stage.open_ms()) == (0, 0)


# --- who is believed --------------------------------------------------------------------------------------------------


def test_a_queue_that_only_the_one_before_had_opened_is_emptied():
    """The follower names none at all: what it does not say is nothing."""
    waits = update("a", {NOON_MS: {f.QUEUED: 1}}, oldest_waiting_at_ms=NOON_MS)
    reader = Reader().hear(said(waits, offset=5))
    before = reader.view("a")
    reader.hear(said(offset=5, anew_from=0, since_ms=2))

    assert (before.waiting, before.oldest_waiting_at_ms) == (1, NOON_MS)
    assert (queued(reader), reader.view("a").waiting) == ((0, 0), 0)
    assert reader.view("a").oldest_waiting_at_ms is None


@pytest.mark.parametrize("offset", [5, 9])
def test_an_earlier_release_is_not_believed_once_a_later_one_was_heard(offset):
    """It counts by field what the later one counts by kind, so both would be added."""
    reader = Reader().hear(said(update("a", {NOON_MS: {f.QUEUED: 1}}), offset=5, since_ms=2))
    reader.hear(
        said(update("a", {NOON_MS: {f.QUEUED: 7}}), offset=offset, version=3, as_of_ms=LATER_MS),
    )

    assert (queued(reader), reader.board.clock_ms()) == ((1, 1), LATER_MS), (
        "it is alive, and holds nothing up"
    )


@pytest.mark.parametrize(
    ("offset", "since_ms", "anew_from", "expected"),
    [
        (5, 1, None, 1),
        (5, 3, None, 1),
        (5, 1, BUCKET, 1),
        (5, 3, BUCKET, 7),
        (5, 2, None, 7),
        (6, 1, None, 7),
        (4, 3, BUCKET, 1),
    ],
    ids=[
        "one before",
        "one after",
        "one before, anew",
        "one after, anew",
        "the same one",
        "one before, further on",
        "one after, not as far",
    ],
)
def test_at_one_offset_only_who_spoke_last_is_believed_and_who_says_everything_anew(
    offset, since_ms, anew_from, expected
):
    """A former owner's word may arrive when the new owner has said all there is."""
    reader = Reader().hear(said(update("a", {NOON_MS: {f.QUEUED: 1}}), offset=5, since_ms=2))
    late = update("a", {NOON_MS: {f.QUEUED: 7}})
    reader.hear(said(late, offset=offset, since_ms=since_ms, anew_from=anew_from))

    assert queued(reader) == (expected, expected)
    reader.move()
    assert queued(reader) == (expected, expected)


def test_another_one_that_says_nothing_new_is_alive_all_the_same():
    """The clock goes on, and never back: else one late word would hold up a silent partition until its next call."""
    reader = Reader().hear(said(update("a", {NOON_MS: {f.QUEUED: 1}}), offset=5, since_ms=2))
    times = []
    for as_of_ms in (NOON_MS - 1, None, LATER_MS):
        reader.hear(said(offset=5, since_ms=1, as_of_ms=as_of_ms))
        times.append(reader.board.clock_ms())

    assert times == [NOON_MS, NOON_MS, LATER_MS]
    reader.hear(said(update("a", {NOON_MS: {f.QUEUED: 2}}), offset=5, since_ms=2, as_of_ms=LATER_MS))
    assert queued(reader) == (2, 2), "who spoke last is still who spoke last"


def test_one_before_that_was_behind_does_not_stop_the_clock_of_a_partition_at_its_end():
    """By the stream's time its word is as old as all that follow until the next call."""
    reader = Reader(board_rules(clock=Clock.STREAM, source_partitions=2))
    reader.hear(said(offset=5, since_ms=2), said(offset=5, since_ms=1, anew_from=0, caught_up=False))
    reader.hear(said(offset=5, since_ms=2), said(partition=1, stream_ms=LATER_MS))

    assert reader.board.clock_ms() == LATER_MS


def test_who_comes_with_a_clock_that_is_behind_is_heard_from_then_on():
    """Two machines differ by a minute; what the new owner says next counts."""
    reader = Reader().hear(
        said(update("a", {NOON_MS: {f.QUEUED: 1}}), offset=5, since_ms=2, as_of_ms=LATER_MS)
    )
    reader.hear(said(update("a", {NOON_MS: {f.QUEUED: 3}}), offset=5, since_ms=9, anew_from=0))
    reader.hear(said(update("a", {NOON_MS: {f.QUEUED: 4}}), offset=5, since_ms=9))

    assert reader.board.clock_ms() == LATER_MS
    assert queued(reader) == (4, 4)


def test_a_shorter_grace_takes_back_what_is_late_by_it():
    """The one before took an event that is late now; whoever looks sees what the follower counts, and nothing else."""
    rules = FoldRules(grace_ms=60_000, shards=1, histogram_bounds_ms=RULES.histogram_bounds_ms)
    reader = Reader(board_rules(fold=rules))
    begin_s = NOON_MS // 1_000
    log = log_of(
        f"{begin_s} queued a call=x", f"{begin_s + 40} queued a call=y", f"{begin_s + 9} queued a call=z"
    )
    before = CallsStage(0, rules, since_ms=1)
    before.fold(log[:2])
    checkpoint = before.dump()
    before.fold(log[2:])
    reader.hear(*before.publish(NOON_MS + 41_000, caught_up=True))
    counted = queued(reader)
    stage = CallsStage.load(checkpoint, 0, replace(rules, grace_ms=5_000), since_ms=2)
    stage.fold(log[2:])
    reader.hear(*stage.publish(NOON_MS + 42_000, caught_up=True))

    assert (counted, queued(reader)) == ((3, 3), (2, 2))
