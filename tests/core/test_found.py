"""What the twins found in the core, kept as the smallest case that shows it."""

from dataclasses import replace

import pytest

from stream.core import fields as f
from stream.core import kpi
from stream.core.calls import CallsStage
from stream.core.checkpoint import CheckpointError, seal, unseal
from stream.core.rules import FoldRules, QueueRule
from stream.core.wire import decode_publication
from tests.core.named import RULES, folded, totals
from tests.core.publications import HALF_HOUR_MS, NOON_MS, Reader, board_rules, said, told, update
from tests.core.test_board import HOUR_MS, closed, queued
from tests.core.test_calls_state import more, reloaded
from tests.oracle import log_of


def test_the_longest_wait_of_a_quarter_survives_a_correction_after_its_buckets_are_gone():
    """A 50 s wait at 12:00; two hours later a 10 s wait of 12:00:30 arrives (idle partition, or a grace of 2 h)."""
    wait = {f.ANSWERED: 1, f.LONGEST_WAIT_MS: 50_000}
    reader = Reader().hear(said(update("a", {NOON_MS: wait})))
    reader.hear(said(offset=1, as_of_ms=NOON_MS + 2 * HOUR_MS))
    closed(reader)
    late = {f.ANSWERED: 1, f.LONGEST_WAIT_MS: 10_000}
    both = {NOON_MS: wait, NOON_MS + 30_000: late}
    reader.hear(said(update("a", both), offset=2, as_of_ms=NOON_MS + 2 * HOUR_MS))
    (row,) = closed(reader).values()

    assert (row["answered"], row["longest_wait_s"]) == (2, 50.0)


def test_an_interval_that_was_given_up_is_not_overwritten_by_a_part_of_it():
    """Dropped after 8 days without the mark; a late correction then publishes a row without the rest."""
    reader = Reader(board_rules(source_partitions=2))
    reader.hear(said(update("a", {NOON_MS - 1: queued(7)})), said(partition=1, offset=-1))
    closed(reader)
    for partition in (0, 1):
        reader.hear(said(partition=partition, offset=5, as_of_ms=NOON_MS + 9 * 24 * HOUR_MS))
    reader.hear(
        said(
            update("a", {NOON_MS - 60_000: queued(1)}),
            partition=1,
            offset=6,
            as_of_ms=NOON_MS + 9 * 24 * HOUR_MS,
        )
    )

    assert [row["queued"] for row in closed(reader).values()] in ([], [8])


@pytest.mark.parametrize("lines", [("0 queued a",), ("0 queued a", "1 answered")])
def test_a_lower_call_age_ends_what_is_older_and_counts_it(lines):
    """call_age_max 100 s, restart with 30 s at 50 s: nobody may wait (or talk) for ever."""
    stage = folded(*lines, "50 hold call=t")
    loaded = more(reloaded(stage, replace(RULES, call_age_max_ms=30_000)), "200 hold call=t")
    counts = loaded.totals()["a"]

    assert (kpi.WAITING.of(counts), kpi.IN_PROGRESS.of(counts)) == (0, 0)
    assert kpi.EXPIRED.of(counts) == 1


def test_a_higher_call_age_does_not_raise_the_dead():
    """Expired at 100, restart with an age of 1000 s at 105: the visit is over and was counted."""
    stage = folded("0 queued a", "105 hold call=t")
    loaded = reloaded(stage, replace(RULES, call_age_max_ms=1_000_000))

    assert stage.now() == loaded.now()
    more(loaded, "106 answered")
    counts = loaded.totals()["a"]
    assert kpi.WAITING.of(counts) == 0


@pytest.mark.parametrize("place", [4, 5])
def test_a_flipped_bit_in_the_version_is_noticed(place):
    """1 becomes 0: accepted, since the checksum does not cover the header and no version but a newer one is refused."""
    data = bytearray(seal(b"test", 0, [1]))
    data[place] ^= 1
    with pytest.raises(CheckpointError):
        unseal(b"test", bytes(data), list[int])


def test_a_publication_that_is_no_utf8_is_counted_as_unreadable():
    """Msgspec raises UnicodeDecodeError there, which is no MsgspecError: the shard can never get past the record."""
    payload = said(update("ab", {})).replace(b"\xa2ab", b"\xa2\xff\xfe")

    assert Reader().hear(payload).board.unreadable == 1


def test_a_restart_invents_no_queue():
    """Every event without a queue makes a ledger ``unrouted``, and a restart publishes all ledgers."""
    stage = folded("0 queued a", "1 answered", "2 ended")
    before = decode_publication(stage.publish(None, caught_up=False)[0])
    after = decode_publication(reloaded(stage).publish(None, caught_up=False)[0])

    assert before.queues == after.queues


def test_a_late_event_takes_no_place_among_the_queues():
    """It begins nothing; yet the queue that it names has a ledger from then on, within ``queues_max``."""
    stage = folded(
        "0 queued a", "20 hold call=t", "1 queued x", "21 queued b call=d", rules=replace(RULES, queues_max=2)
    )

    assert set(stage.totals()) == {"a", "b"}


def test_a_higher_grace_does_not_count_final_cells_twice():
    """A crash back to a checkpoint, then a grace of 60 s: a cell that the board has let go of comes again, whole."""
    rules, wider = (
        FoldRules(shards=1, grace_ms=grace, default=QueueRule(20_000)) for grace in (10_000, 60_000)
    )
    log = log_of(
        "0 queued a", "1 abandoned", "5 hold call=t", "30 hold call=t", "31 hold call=t", "2 offered a call=d"
    )
    stage, reader = CallsStage(0, rules), Reader(board_rules(fold=rules))
    stage.fold(log[:3])
    checkpoint = stage.dump()
    reader.hear(*stage.publish(31_000, caught_up=True))
    stage.fold(log[3:4])
    reader.hear(*stage.publish(31_000, caught_up=True))
    stage = CallsStage.load(checkpoint, 0, wider)
    for record in log[3:]:
        stage.fold([record])
        reader.hear(*stage.publish(32_000, caught_up=True))

    assert totals(stage, "a", (f.QUEUED, f.OFFERED)) == {"OFFERED": 1, "QUEUED": 1}
    day = reader.view("a").windows["day"].counts
    assert day[f.QUEUED] == 1  # the offer of then is in the totals; its bucket was published as final


@pytest.mark.parametrize("again", [False, True])
def test_a_shorter_grace_after_a_crash_loses_nothing(again):
    """Final for the one who goes on, and let go of, before anything that it says holds for the board."""
    log = log_of("10 queued a", "11 abandoned", "30 hold call=t", "55 hold call=t", "60 hold call=t")
    patient, brief = (replace(RULES, grace_ms=grace_ms) for grace_ms in (50_000, 1_000))
    stage, reader = CallsStage(0, patient), Reader(board_rules(fold=patient))
    stage.fold(log[:3])
    checkpoint = stage.dump()
    stage.fold(log[3:4])
    reader.hear(*stage.publish(55_000, caught_up=True))
    stage = CallsStage.load(checkpoint, 0, brief)
    for record in log[3:]:
        reader.hear(*stage.publish(30_000, caught_up=False))
        stage = reloaded(stage, brief) if again else stage
        stage.fold([record])
    reader.hear(*stage.publish(60_000, caught_up=True))

    view = reader.view("a")
    assert view.windows["day"].counts == view.totals | {f.LONGEST_WAIT_MS: 1_000}


def test_another_target_after_a_crash_leaves_nothing_of_the_one_before():
    """Said beyond the checkpoint: late at 20 s. Counted again with a target of 60 s, which nobody had reached then."""
    log = log_of("0 hold call=t", "1 queued a", "5 queued a call=d", "6 answered call=d", "70 hold call=t")
    stage, patient = folded("0 hold call=t"), replace(RULES, default=QueueRule(60_000))
    checkpoint = stage.dump()
    stage.fold(log[:-1])
    reader = Reader(board_rules(fold=patient)).hear(*stage.publish(6_000, caught_up=True))
    stage, alone = CallsStage.load(checkpoint, 0, patient), Reader(board_rules(fold=patient))
    stage.fold(log)
    alone.hear(*(told := stage.publish(70_000, caught_up=True)))
    reader.hear(*told)

    assert reader.view("a") == alone.view("a")


def test_a_shorter_interval_publishes_all_of_what_was_open():
    """30 minutes, restart with 15 before it closed: the second quarter of the open half-hour is never published."""
    cells = {NOON_MS - HALF_HOUR_MS: queued(1), NOON_MS - 60_000: queued(2)}
    reader = Reader().hear(said(update("a", cells), as_of_ms=NOON_MS - 30_000))
    reader.move(board_rules(interval_ms=900_000)).hear(said(offset=1, as_of_ms=NOON_MS))

    assert sum(row["queued"] for row in closed(reader).values()) == 3


def test_a_configured_queue_of_all_others_is_shown_once():
    """A queue named ``__other__`` in the configuration comes twice out of ``cap``: two equal series."""
    fold = FoldRules(shards=1, queues={f.OTHER: QueueRule()})
    reader = Reader(board_rules(fold=fold, queues_max=2)).hear(said(update(f.OTHER, {NOON_MS: queued()})))
    from tests.core.publications import snapshot  # noqa: PLC0415

    assert [view.queue for view in snapshot(reader.rules, reader.board).queues] == [f.OTHER]


# Both found by the simulation (tests/simulation): what a worker published and then lost with a crash must be corrected
# by the one that reads on from the checkpoint before, though that one publishes at other moments.

UNDONE = (
    "0 queued a",
    "30 hold call=other",  # the visit is older than call_age_max by now, as long as nothing else is known of it
    "10 answered a",  # which was within the age, and arrives within the grace
)
TAKEN_BACK = (
    "6 hold",
    "7 offered a id=x",
    "5 offered b id=x",  # the same event, and the one that counts: that in a was the copy
)


@pytest.mark.parametrize("lines", [UNDONE, TAKEN_BACK])
def test_what_was_published_before_a_crash_is_corrected_after_it(lines):
    """Every minute that the first worker spoke of is spoken of by the second, and says what is so now."""
    log = log_of(*lines)
    rules = replace(RULES, grace_ms=60_000, call_age_max_ms=27_000)
    first = CallsStage(0, rules)
    first.fold(log[:1])
    saved = first.dump()
    heard = {}
    for record in log[1:-1]:
        first.fold([record])
        heard |= places_of(first.publish(None, caught_up=False)[0])
    second = CallsStage.load(saved, 0, rules)
    second.fold(log[1:])
    heard |= places_of(second.publish(None, caught_up=False)[0])

    whole = CallsStage(0, rules)
    whole.fold(log)
    assert {place: count for place, count in heard.items() if count or place[2] == f.LONGEST_WAIT_MS} == {
        (*cell, field): count for cell, counts in whole.cells().items() for field, count in counts.items()
    }


def places_of(payload):
    """Return what a publication says, by queue, moment and field."""
    return {
        (queue, bucket * 5_000, field): count
        for queue, cells in told(decode_publication(payload)).items()
        for bucket, counts in cells.items()
        for field, count in counts.items()
    }
