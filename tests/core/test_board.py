"""Stage 2: clocks, windows, closed intervals, and the view of several shards, from publications written by hand."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from stream.core import fields as f
from stream.core import kpi
from stream.core.board import (
    MAGIC,
    QUARTERS_KEPT_MS,
    TREND_INTERVALS,
    UNFINAL_KEPT_MS,
    BoardShard,
    approach,
    cap,
    merge_counts,
    merge_views,
)
from stream.core.calls import CallsStage
from stream.core.checkpoint import CheckpointError
from stream.core.opening import parse_opening
from stream.core.place import shard_of
from stream.core.rules import Clock, FoldRules, QueuePolicy, QueueRule
from stream.core.wire import PUBLICATION_VERSION
from tests.core.publications import HALF_HOUR_MS, NOON_MS, Reader, board_rules, said, snapshot, update
from tests.oracle import Rec, log_of

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def queued(count=1, **more):
    return {f.QUEUED: count} | more


def closed(reader):
    """Take closed intervals as {key: row}."""
    return {key: json.loads(value) for key, value in reader.board.take_closed()}


def intervals(reader):
    """Take closed intervals as (start, queued, final)."""
    return [(row["start"][11:16], row["queued"], row["final"]) for row in closed(reader).values()]


# --- the clock --------------------------------------------------------------------------------------------------------


def test_there_is_no_clock_until_every_source_partition_was_heard():
    """Nor anything final, nor a closed interval."""
    reader = Reader(board_rules(source_partitions=2))
    assert (
        reader.board.clock_ms(),
        reader.board.final_before_ms(),
        reader.board.take_closed(),
    ) == (None, 0, [])

    reader.hear(said(update("a", {NOON_MS - HOUR_MS: queued()}), final_ms=NOON_MS))
    assert (
        reader.board.clock_ms(),
        reader.board.final_before_ms(),
        reader.board.take_closed(),
    ) == (None, 0, [])

    reader.hear(said(partition=1, final_ms=NOON_MS - 5_000))
    assert (reader.board.clock_ms(), reader.board.final_before_ms()) == (NOON_MS, NOON_MS - 5_000)


def test_the_wall_clock_is_the_earliest_as_of():
    """A partition that still reads its backlog holds the board at its stream time."""
    reader = Reader(board_rules(source_partitions=2))
    reader.hear(said(as_of_ms=NOON_MS), said(partition=1, as_of_ms=NOON_MS - HOUR_MS, caught_up=False))
    assert reader.board.clock_ms() == NOON_MS - HOUR_MS

    reader.hear(said(partition=1, offset=1, as_of_ms=NOON_MS + 1))
    assert reader.board.clock_ms() == NOON_MS


def test_an_idle_partition_does_not_hold_back_the_wall_clock():
    """It has no events at all, and says so twice a second; only the mark final waits for it."""
    reader = Reader(board_rules(source_partitions=2))
    reader.hear(
        said(as_of_ms=NOON_MS, final_ms=NOON_MS - 5_000),
        said(partition=1, offset=-1, stream_ms=None, as_of_ms=NOON_MS, final_ms=0),
    )

    assert (reader.board.clock_ms(), reader.board.final_before_ms()) == (NOON_MS, 0)


def test_a_partition_without_any_time_yet_leaves_the_clock_unknown():
    """It has records, and has read none of them."""
    wall, stream = (
        Reader(board_rules(source_partitions=2)),
        Reader(board_rules(source_partitions=2, clock=Clock.STREAM)),
    )
    for reader in (wall, stream):
        reader.hear(said(), said(partition=1, offset=-1, stream_ms=None, as_of_ms=None, caught_up=False))

        assert reader.board.clock_ms() is None


@pytest.mark.parametrize(
    ("first", "second", "expected_s"),
    [
        ((10, False), (20, False), 10),
        ((10, True), (20, False), 20),
        ((10, True), (20, True), 20),
        ((None, True), (20, False), 20),
        ((None, True), (20, True), 20),
        ((None, True), (None, True), None),
        ((None, False), (20, True), None),
    ],
)
def test_the_stream_clock_is_that_of_the_slowest_partition_with_something_to_read(first, second, expected_s):
    """A silent partition is not slow; at the end of all logs it is the newest event. The wall has no say."""
    reader = Reader(board_rules(source_partitions=2, clock=Clock.STREAM))
    for partition, (second_s, caught_up) in enumerate((first, second)):
        stream_ms = None if second_s is None else NOON_MS + 1_000 * second_s
        reader.hear(
            said(partition=partition, stream_ms=stream_ms, as_of_ms=NOON_MS + HOUR_MS, caught_up=caught_up)
        )

    assert (None if expected_s is None else NOON_MS + 1_000 * expected_s) == reader.board.clock_ms()


@pytest.mark.parametrize("clock", Clock)
def test_the_clock_never_goes_back(clock):
    """A partition that reads its log again after a crash is behind; the board waits for it. Nor over a move."""
    reader = Reader(board_rules(clock=clock))
    reader.hear(said(offset=5, caught_up=False))
    reader.board.clock_ms()
    back = {"as_of_ms": NOON_MS - 5_000, "stream_ms": NOON_MS - 5_000, "caught_up": False}
    reader.hear(said(offset=6, **back))
    assert reader.board.clock_ms() == NOON_MS

    reader.move().hear(said(offset=7, **back))
    assert reader.board.clock_ms() == NOON_MS


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_record_that_is_no_publication_is_counted_and_passed_over():
    """A tombstone, noise, and something of another shape; what comes after them is read."""
    reader = Reader().hear(None, b"", b"noise", b"\x93\x01\x02\x03", said(update("a", {NOON_MS: queued(3)})))

    assert (
        reader.board.unreadable,
        reader.board.applied_offset,
        reader.view("a").totals[f.QUEUED],
    ) == (4, 4, 3)
    assert reader.move().board.unreadable == 4


def test_a_publication_of_a_newer_version_is_refused():
    """It may mean something else; what an older one means is known."""
    payload = said(update("a", {NOON_MS: queued()}), version=PUBLICATION_VERSION + 1)
    newer = f"version {PUBLICATION_VERSION + 1}, newer than {PUBLICATION_VERSION}"
    with pytest.raises(CheckpointError, match=f"{newer}: run the newer callgauge everywhere"):
        Reader().hear(payload)


def test_records_at_or_below_the_applied_offset_are_skipped():
    """Redelivered records are not even looked at."""
    board = BoardShard(0, board_rules())
    board.fold([Rec(7, None, b"", said(update("a", {NOON_MS: queued()}), offset=1))])
    board.fold([Rec(7, None, b"", b"noise"), Rec(3, None, b"", said(update("b", {}), offset=9))])

    assert (board.applied_offset, board.unreadable, [name for name, _ in board.firsts()]) == (7, 0, ["a"])


def test_publications_of_a_zombie_change_nothing():
    """The old owner of a partition still sends what it knows; the new one is further.

    new owner:   offset 9: 5 queued, final up to 11:59
    zombie:      offset 4: 2 queued, another time, nothing final
    """
    reader = Reader()
    reader.hear(
        said(
            update("a", {NOON_MS: queued(5)}, oldest_waiting_at_ms=NOON_MS),
            offset=9,
            final_ms=NOON_MS - 60_000,
        )
    )
    before = reader.view("a"), reader.board.final_before_ms()
    reader.hear(said(update("a", {NOON_MS: queued(2)}), offset=4, as_of_ms=NOON_MS + HOUR_MS, final_ms=0))

    after = reader.view("a"), reader.board.final_before_ms()
    assert before == after
    assert reader.board.clock_ms() == NOON_MS


def test_an_older_word_on_what_is_final_changes_nothing():
    """The cell was let go of; a zombie says it again, and it does not count twice."""
    first = said(update("a", {NOON_MS: queued(5)}), offset=4)
    reader = Reader().hear(first, said(offset=9, final_ms=NOON_MS + 5_000, as_of_ms=NOON_MS + 60_000), first)

    assert reader.view("a").windows["interval"].counts[f.QUEUED] == 5
    assert [window.counts[f.QUEUED] for window in reader.view("a").trend if window.counts] == [5]


def test_the_same_offset_again_moves_the_clock_only_forwards():
    """A heartbeat has the offset of the one before; a retried one is older by its clock."""
    reader = Reader().hear(said(offset=4, as_of_ms=NOON_MS + 2_000, final_ms=10_000))
    reader.hear(said(offset=4, as_of_ms=NOON_MS + 1_000, final_ms=5_000))
    assert (reader.board.clock_ms(), reader.board.final_before_ms()) == (NOON_MS + 2_000, 10_000)

    reader.hear(said(offset=4, as_of_ms=NOON_MS + 3_000, final_ms=10_000))
    assert reader.board.clock_ms() == NOON_MS + 3_000


def test_a_lost_publication_is_healed_by_the_next_owner():
    """The owner died after its checkpoint and before its publication arrived; the next one says all again.

    old owner:   checkpoint --- publication lost --- dead
    new owner:   load --- publication of everything --- goes on
    """
    rules = FoldRules(shards=1, grace_ms=10_000)
    log = log_of("0 queued a", "3 answered", "4 queued b call=d", "9 abandoned call=d", "11 ended")
    stage = CallsStage(0, rules)
    reader = Reader(board_rules(fold=rules))
    stage.fold(log[:2])
    reader.hear(*stage.publish(5_000, caught_up=True))
    stage.fold(log[2:4])
    checkpoint = stage.dump()
    stage.publish(10_000, caught_up=True)  # lost

    owner = CallsStage.load(checkpoint, 0, rules)
    owner.fold(log[4:])
    reader.hear(*owner.publish(12_000, caught_up=True))
    assert {
        name: (
            reader.view(name).totals[f.QUEUED],
            reader.view(name).totals.get(f.ANSWERED, 0),
            reader.view(name).windows["day"].counts[f.QUEUED],
        )
        for name in "ab"
    } == {"a": (1, 1, 1), "b": (1, 0, 1)}


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock_s", "expected"),
    [(-5.001, 0), (-5, 0), (-0.001, 0), (0, 1), (4.999, 1), (5, 1), (9.999, 1), (10, 0), (60, 0)],
)
def test_a_rolling_window_has_exactly_as_many_buckets_as_fill_its_length(clock_s, expected):
    """A window of 10 s is two buckets: that of now and the one before.

    -5       0        5        10       15
     |-------|--visit-|--------|--------|
     [ clock -1 )              .
             [  clock 0..5, 5..10       )
    """
    clock_ms = NOON_MS + round(clock_s * 1_000)
    reader = Reader().hear(said(update("a", {NOON_MS: queued()}), as_of_ms=clock_ms))
    window = reader.view("a").windows["10s"]
    bucket_ms = clock_ms // 5_000 * 5_000

    assert (bucket_ms - 5_000, bucket_ms + 5_000) == (window.start_ms, window.end_ms)
    assert expected == window.counts.get(f.QUEUED, 0)


def test_windows_follow_the_clock_without_news_from_the_queue():
    """Four looks while the clock goes on, and a fresh board that looks once, see the same."""
    cells = {NOON_MS + 5_000 * number: queued(10**number) for number in range(4)}
    reader = Reader()
    for number, as_of_s in enumerate((0, 5, 15, 20, 25)):
        reader.hear(said(update("a", cells), offset=number, as_of_ms=NOON_MS + 1_000 * as_of_s))
        fresh = Reader().hear(said(update("a", cells), as_of_ms=NOON_MS + 1_000 * as_of_s))

        assert fresh.view("a").windows == reader.view("a").windows
    assert reader.view("a").windows["10s"].counts == {}


@pytest.mark.parametrize(
    ("zone", "clock", "interval_ms", "interval", "day"),
    [
        ("UTC", "2026-03-02T12:00:00+00:00", HALF_HOUR_MS, "12:00", "2026-03-02T00:00+00:00"),
        ("UTC", "2026-03-02T12:29:59+00:00", HALF_HOUR_MS, "12:00", "2026-03-02T00:00+00:00"),
        ("UTC", "2026-03-02T12:29:59+00:00", HALF_HOUR_MS // 2, "12:15", "2026-03-02T00:00+00:00"),
        ("Asia/Kathmandu", "2026-03-02T23:59:59+05:45", HALF_HOUR_MS, "23:30", "2026-03-02T00:00+05:45"),
        ("Asia/Kathmandu", "2026-03-03T00:00:00+05:45", HALF_HOUR_MS, "00:00", "2026-03-03T00:00+05:45"),
        ("Europe/Amsterdam", "2026-03-29T03:10:00+02:00", HALF_HOUR_MS, "03:00", "2026-03-29T00:00+01:00"),
        ("Europe/Amsterdam", "2026-10-25T02:40:00+02:00", HALF_HOUR_MS, "02:30", "2026-10-25T00:00+02:00"),
        ("Europe/Amsterdam", "2026-10-25T02:10:00+01:00", HALF_HOUR_MS, "02:00", "2026-10-25T00:00+02:00"),
        ("Europe/Amsterdam", "2026-10-25T23:59:59+01:00", HALF_HOUR_MS, "23:30", "2026-10-25T00:00+02:00"),
    ],
)
def test_interval_and_day_are_those_of_the_local_clock(zone, clock, interval_ms, interval, day):
    """A visit a millisecond before the start is out, at the start in; both windows end with the bucket of now.

    day start            interval start        clock
    1 | 10                100 | 1000             |
    """
    clock_ms = round(datetime.fromisoformat(clock).timestamp() * 1_000)
    day_ms = round(datetime.fromisoformat(day).timestamp() * 1_000)
    zone_info = ZoneInfo(zone)
    start = datetime.fromtimestamp(clock_ms / 1_000, zone_info)
    hours, minutes = map(int, interval.split(":"))
    start_ms = round(start.replace(hour=hours, minute=minutes, second=0).timestamp() * 1_000)
    cells = {}
    for moment_ms, count in ((day_ms - 1, 1), (day_ms, 10), (start_ms - 1, 100), (start_ms, 1_000)):
        cells[moment_ms] = queued(cells.get(moment_ms, {}).get(f.QUEUED, 0) + count)
    reader = Reader(board_rules(time_zone=zone_info, interval_ms=interval_ms))
    view = reader.hear(said(update("a", cells), as_of_ms=clock_ms)).view("a")

    assert (start_ms, day_ms) == (view.windows["interval"].start_ms, view.windows["day"].start_ms)
    assert {clock_ms // 5_000 * 5_000 + 5_000} == {window.end_ms for window in view.windows.values()}
    assert view.windows["interval"].counts[f.QUEUED] == (1_010 if day_ms == start_ms else 1_000)
    assert (1_010 if day_ms == start_ms else 1_110) == view.windows["day"].counts[f.QUEUED]


@pytest.mark.parametrize(("date", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-02", 24)])
def test_the_day_is_added_up_over_all_its_hours(date, hours):
    """One visit every half-hour, of a day with 46, 48 or 50 half-hours, seen in its last second."""
    zone = ZoneInfo("Europe/Amsterdam")
    start_ms = round(datetime.fromisoformat(date).replace(tzinfo=zone).timestamp() * 1_000)
    moments = range(start_ms - HALF_HOUR_MS, start_ms + hours * HOUR_MS + HALF_HOUR_MS, HALF_HOUR_MS)
    reader = Reader(board_rules(time_zone=zone))
    reader.hear(
        said(update("a", {at_ms: queued() for at_ms in moments}), as_of_ms=start_ms + hours * HOUR_MS - 1)
    )

    assert 2 * hours == reader.view("a").windows["day"].counts[f.QUEUED]
    reader.hear(said(offset=1, as_of_ms=start_ms + hours * HOUR_MS))
    assert reader.view("a").windows["day"].counts[f.QUEUED] == 1


def test_the_day_is_whole_when_its_buckets_are_long_gone():
    """Looked at every hour, and only at its end, it is the same: buckets become quarter hours.

    00:00  1  . . . . . . . . . . . . . . . . . . . 23:00
    """
    looked, rarely = Reader(), Reader()
    midnight_ms = NOON_MS - 12 * HOUR_MS
    for hour in range(24):
        at_ms = midnight_ms + hour * HOUR_MS + 7_000
        payload = said(update("a", {at_ms: queued(1)}), offset=hour, as_of_ms=at_ms, final_ms=at_ms - HOUR_MS)
        assert hour + 1 == looked.hear(payload).view("a").windows["day"].counts[f.QUEUED]
        rarely.hear(payload)

    assert rarely.view("a").windows["day"].counts[f.QUEUED] == 24
    assert looked.view("a").windows == rarely.move().view("a").windows


def test_the_longest_wait_of_a_window_follows_corrections_and_leaves_with_its_bucket():
    """30 s at 12:00:00, corrected to 8 s; 12 s at 12:00:05."""
    long, short = {f.LONGEST_WAIT_MS: 30_000, f.ANSWERED: 1}, {f.LONGEST_WAIT_MS: 8_000, f.ANSWERED: 1}
    next_one = {NOON_MS + 5_000: {f.LONGEST_WAIT_MS: 12_000}}
    reader = Reader().hear(said(update("a", {NOON_MS: long} | next_one), as_of_ms=NOON_MS + 5_000))
    assert reader.view("a").windows["10s"].counts[f.LONGEST_WAIT_MS] == 30_000

    reader.hear(said(update("a", {NOON_MS: short} | next_one), offset=1, as_of_ms=NOON_MS + 5_000))
    assert {12_000} == {w.counts[f.LONGEST_WAIT_MS] for w in reader.view("a").windows.values()}

    reader.hear(said(offset=2, as_of_ms=NOON_MS + 15_000))
    assert f.LONGEST_WAIT_MS not in reader.view("a").windows["10s"].counts
    assert reader.view("a").windows["interval"].counts[f.LONGEST_WAIT_MS] == 12_000


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("final_first", "left_ms"), [(False, 12_000), (True, 20_000)])
def test_the_longest_wait_is_corrected_however_far_the_clock_is_ahead(restarted, final_first, left_ms):
    """A feed that is three hours behind: its buckets have left all windows, and are not final. Found by the chaos.

    In one bucket 30 s, then 8 s; in the next 12 s; and maybe 20 s in a third one, final already on its partition.
    """
    rules = board_rules(source_partitions=2)
    late_ms = NOON_MS + 3 * 3_600_000
    cells = {
        NOON_MS: {f.LONGEST_WAIT_MS: 30_000, f.ANSWERED: 1},
        NOON_MS + 5_000: {f.LONGEST_WAIT_MS: 12_000},
    }
    other = {NOON_MS + 10_000: {f.LONGEST_WAIT_MS: 20_000, f.ANSWERED: 1}} if final_first else {}
    reader = Reader(rules).hear(
        said(update("a", cells), as_of_ms=late_ms),
        said(update("a", other), partition=1, as_of_ms=late_ms),
        said(partition=1, offset=1, as_of_ms=late_ms + 900_000, final_ms=NOON_MS + 60_000),
        said(offset=1, as_of_ms=late_ms + 900_000),
    )
    assert [row["longest_wait_s"] for row in closed(reader).values()] == [30.0]
    if restarted:
        reader = reader.move()
    corrected = cells | {NOON_MS: {f.LONGEST_WAIT_MS: 8_000, f.ANSWERED: 1}}
    reader.hear(said(update("a", corrected), offset=2, as_of_ms=late_ms))

    assert [row["longest_wait_s"] for row in closed(reader).values()] == [left_ms / 1_000]


def test_the_trend_is_the_last_intervals_the_current_one_last():
    """Twelve half-hours, the oldest first; one more hour and the two oldest are gone."""
    cells = {NOON_MS - number * HALF_HOUR_MS: queued(number + 1) for number in range(14)}
    reader = Reader().hear(said(update("a", cells), as_of_ms=NOON_MS + 60_000))
    trend = reader.view("a").trend
    assert list(range(TREND_INTERVALS, 0, -1)) == [window.counts[f.QUEUED] for window in trend]
    assert [NOON_MS - number * HALF_HOUR_MS for number in range(11, -1, -1)] == [w.start_ms for w in trend]
    assert trend[-1] == reader.view("a").windows["interval"]

    reader.hear(said(offset=1, as_of_ms=NOON_MS + HOUR_MS))
    later = reader.view("a").trend
    assert [*range(TREND_INTERVALS - 2, 0, -1), 0, 0] == [w.counts.get(f.QUEUED, 0) for w in later]


def test_the_trend_follows_a_correction_of_a_past_interval():
    """A visit of half an hour ago arrives within the grace."""
    reader = Reader().hear(said(update("a", {NOON_MS - 5_000: queued(1)})))
    assert reader.view("a").trend[-2].counts[f.QUEUED] == 1

    reader.hear(said(update("a", {NOON_MS - 5_000: queued(2)}), offset=1))
    assert reader.view("a").trend[-2].counts[f.QUEUED] == 2


# --- now --------------------------------------------------------------------------------------------------------------


def stuck(clock_s, lines=("0 queued a", "1 queued a call=d", "2 queued a call=e")):
    """Fold visits of which none ends, and look at a clock that goes on without events."""
    rules = FoldRules(shards=1, default=QueueRule(20_000), grace_ms=10_000)
    stage = CallsStage(0, rules)
    stage.fold(log_of(*lines))
    reader = Reader(board_rules(fold=rules))
    return reader.hear(*stage.publish(round(1_000 * clock_s), caught_up=True)).view("a")


@pytest.mark.parametrize(
    ("clock_s", "past", "level"),
    [(2, 0, None), (19.999, 0, None), (20, 3, 0.0), (24.999, 3, 0.0), (60, 3, 0.0)],
)
def test_those_who_wait_past_their_target_have_failed_though_nothing_happens(clock_s, past, level):
    """Three wait, their targets at 20, 21 and 22, and no event comes any more: never 100 %, never absent.

    0 queued                          20        25
    |---|----------------------------|---------|
    no base: absent                   0 of 3
    """
    view = stuck(clock_s)

    assert (3, past, 0) == (view.waiting, view.waiting_past_target, view.oldest_waiting_at_ms)
    assert level == kpi.SERVICE_LEVEL.of(view.windows["1m"].counts)


def test_a_visit_answered_past_its_target_waits_past_it_no_more():
    """Answered at 30; the other goes on."""
    view = stuck(31, ("0 queued a", "1 queued a call=d", "30 answered"))

    assert (
        view.waiting,
        view.waiting_past_target,
        view.in_progress,
        view.oldest_waiting_at_ms,
    ) == (1, 1, 1, 1_000)


def test_a_configured_queue_is_there_from_the_start_at_nothing():
    """In its shard only; every window is empty, and no histogram has an observation."""
    fold = FoldRules(shards=2, queues={"sales": QueueRule(30_000)})
    rules = board_rules(shards=2, fold=fold, queues={"sales": QueuePolicy(0.9, 0.03, 60_000)})
    home, other = (Reader(rules, shard) for shard in (shard_of("sales", 2), 1 - shard_of("sales", 2)))
    for reader in (home, other):
        reader.hear(said())
    view = home.view("sales")

    assert other.board.views(NOON_MS) == []
    assert (
        view.target_ms,
        view.objective,
        view.abandonment_limit,
        view.wait_limit_ms,
        view.open,
    ) == (30_000, 0.9, 0.03, 60_000, True)
    assert (
        view.waiting,
        view.waiting_past_target,
        view.in_progress,
        view.oldest_waiting_at_ms,
        view.totals,
    ) == (0, 0, 0, None, {})
    assert list(view.windows) == ["10s", "1m", "interval", "day"]
    assert not any(window.counts for window in (*view.windows.values(), *view.trend))
    assert {0} == {count for histogram in view.histograms.values() for count in histogram.counts}


@pytest.mark.parametrize(
    ("offset_ms", "is_open"), [(-1, False), (0, True), (HOUR_MS - 1, True), (HOUR_MS, False)]
)
def test_a_queue_is_open_by_the_boards_clock_in_the_centres_zone(offset_ms, is_open):
    """Monday 13:00 to 14:00 in Amsterdam is 12:00 to 13:00 in UTC."""
    policy = QueuePolicy(opening=parse_opening("Mo 13:00-14:00"))
    reader = Reader(board_rules(time_zone=ZoneInfo("Europe/Amsterdam"), queues={"a": policy}))
    reader.hear(said(update("a", {}), update("b", {}), as_of_ms=NOON_MS + offset_ms))

    assert (is_open, True) == (reader.view("a").open, reader.view("b").open)


def test_a_look_without_news_is_the_same_look():
    """Nothing is computed again within a bucket; the next bucket, or news, is another look."""
    reader = Reader().hear(said(update("a", {NOON_MS: queued()})))
    first = reader.view("a")
    assert first is reader.hear(said(offset=1, as_of_ms=NOON_MS + 4_999)).view("a")
    second = reader.hear(said(offset=2, as_of_ms=NOON_MS + 5_000)).view("a")
    assert second is not first
    assert second is not reader.hear(said(update("a", {}), offset=3, as_of_ms=NOON_MS + 5_000)).view("a")


# --- closed intervals -------------------------------------------------------------------------------------------------


def test_an_interval_is_provisional_when_the_clock_is_past_it_and_final_when_nothing_can_change():
    """Said when it closes, again when it changes, and a last time as final.

    11:30           12:00    :01          :05          :06
      |---- 2 ------|  open   | 2, not final | 3         | final, and gone
    """
    at_ms = NOON_MS - 60_000
    reader = Reader().hear(said(update("a", {at_ms: queued(2)}), as_of_ms=NOON_MS - 1))
    assert intervals(reader) == []

    reader.hear(said(offset=1, as_of_ms=NOON_MS))
    assert intervals(reader) == [("11:30", 2, False)]
    assert intervals(reader) == [], "nothing changed"

    reader.hear(said(offset=2, as_of_ms=NOON_MS + 60_000), said(update("b", {NOON_MS: queued()}), offset=3))
    assert intervals(reader) == [], "another interval, another queue"

    reader.hear(said(update("a", {at_ms: queued(3)}), offset=4, as_of_ms=NOON_MS + 60_000))
    assert intervals(reader) == [("11:30", 3, False)]

    reader.hear(said(offset=5, as_of_ms=NOON_MS + 61_000, final_ms=NOON_MS - 1))
    assert intervals(reader) == []
    reader.hear(said(offset=6, as_of_ms=NOON_MS + 62_000, final_ms=NOON_MS))
    assert intervals(reader) == [("11:30", 3, True)]
    assert intervals(reader) == []


def test_an_interval_may_be_final_the_first_time_it_is_said():
    """Once is enough, if nobody looked before."""
    reader = Reader().hear(
        said(update("a", {NOON_MS - 1: queued()}), update("b", {NOON_MS - 1: queued()}), final_ms=NOON_MS)
    )

    assert intervals(reader) == [("11:30", 1, True)] * 2


def test_a_partition_behind_holds_back_the_mark_and_not_the_value():
    """Two partitions; one is idle, so nobody knows what it may still send."""
    reader = Reader(board_rules(source_partitions=2))
    reader.hear(said(update("a", {NOON_MS - 1: queued()}), final_ms=NOON_MS), said(partition=1, offset=-1))
    assert intervals(reader) == [("11:30", 1, False)]

    reader.hear(said(partition=1, offset=0, final_ms=NOON_MS))
    assert intervals(reader) == [("11:30", 1, True)]


def test_only_the_queues_that_changed_are_said_again():
    """Each by itself, until the interval is final: then all of them."""
    cells = {NOON_MS - 1: queued()}
    reader = Reader().hear(said(update("b", cells), update("a", cells)))
    assert [row["queue"] for row in closed(reader).values()] == ["a", "b"]

    reader.hear(said(update("b", {NOON_MS - 2: queued(2)}), offset=1))
    assert [row["queue"] for row in closed(reader).values()] == ["b"]


def test_the_key_of_an_interval_is_its_queue_and_start_with_the_offset_of_the_zone():
    """In October two half-hours have the same name but for the offset, and so two keys."""
    zone = ZoneInfo("Europe/Amsterdam")
    first_ms = 1_792_888_200_000  # 2026-10-25 02:30 +02:00
    cells = {first_ms: queued(1), first_ms + HOUR_MS: queued(2)}
    reader = Reader(board_rules(time_zone=zone)).hear(
        said(update("a|b", cells), as_of_ms=first_ms + 2 * HOUR_MS, final_ms=first_ms + 2 * HOUR_MS)
    )
    rows = closed(reader)

    assert {key: row["queued"] for key, row in rows.items()} == {
        "a|b|2026-10-25T02:30:00+02:00": 1,
        "a|b|2026-10-25T02:30:00+01:00": 2,
    }
    assert [row["end"] for row in rows.values()] == ["2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]


def test_an_interval_has_the_contracts_keys_and_the_mark():
    """The counts and KPIs of section 6, and `final`."""
    reader = Reader().hear(said(update("a", {NOON_MS - 1: queued() | {f.LONGEST_WAIT_MS: 1_500}})))
    (row,) = closed(reader).values()
    place = {"queue": "a", "window": "interval", "start": "2026-03-02T11:30:00+00:00"}

    expected = kpi.interval_values({f.QUEUED: 1, f.LONGEST_WAIT_MS: 1_500})
    assert place | {"end": "2026-03-02T12:00:00+00:00", **expected, "final": False} == row


def test_an_interval_of_a_quarter_ends_after_a_quarter():
    """15 minutes: two intervals in a half-hour."""
    cells = {NOON_MS - HALF_HOUR_MS: queued(1), NOON_MS - HALF_HOUR_MS // 2: queued(2)}
    reader = Reader(board_rules(interval_ms=900_000)).hear(said(update("a", cells)))

    assert intervals(reader) == [("11:30", 1, False), ("11:45", 2, False)]


def test_an_interval_that_is_not_final_keeps_its_values_for_days():
    """An idle partition delays the mark for a long weekend; then it comes, with the right values.

    Fri 12:00 ............................... Mon 12:00
      values, not final                       final
    """
    reader = Reader(board_rules(source_partitions=2))
    reader.hear(said(update("a", {NOON_MS - 1: queued(7)}), final_ms=NOON_MS), said(partition=1, offset=-1))
    assert intervals(reader) == [("11:30", 7, False)]

    monday_ms = NOON_MS + QUARTERS_KEPT_MS + DAY_MS
    for partition in (0, 1):
        reader.hear(said(partition=partition, offset=5, as_of_ms=monday_ms, final_ms=NOON_MS))
    assert intervals(reader) == [("11:30", 7, True)]


@pytest.mark.parametrize(("past_ms", "still"), [(0, True), (900_000 + 1, False)])
def test_the_mark_final_is_given_up_after_a_week_and_a_day(past_ms, still):
    """Then the interval is dropped, and its values stay as they were published."""
    reader = Reader(board_rules(source_partitions=2))
    reader.hear(said(update("a", {NOON_MS - 1: queued(7)})), said(partition=1))
    assert intervals(reader) == [("11:30", 7, False)]

    late_ms = NOON_MS - HALF_HOUR_MS + UNFINAL_KEPT_MS + past_ms
    for partition in (0, 1):
        reader.hear(said(partition=partition, offset=5, as_of_ms=late_ms, final_ms=NOON_MS))
    assert ([("11:30", 7, True)] if still else []) == intervals(reader)


def test_an_interval_that_nobody_took_is_not_given_up():
    """However old: it was never said."""
    reader = Reader().hear(said(update("a", {NOON_MS - 1: queued(7)})))
    reader.hear(said(offset=1, as_of_ms=NOON_MS + UNFINAL_KEPT_MS + DAY_MS))

    assert intervals(reader) == [("11:30", 7, False)]


def test_final_intervals_are_taken_once_in_order_without_empty_ones():
    """An interval in which only the other queue had something is left out; what is not final waits."""
    cells = {NOON_MS - DAY_MS: queued(1), NOON_MS: queued(2), NOON_MS + HALF_HOUR_MS: queued(4)}
    reader = Reader().hear(
        said(update("b", {NOON_MS: queued(8)}), update("a", cells), final_ms=NOON_MS + HALF_HOUR_MS)
    )

    assert reader.board.take_final() == [
        (NOON_MS - DAY_MS, "a", queued(1)),
        (NOON_MS, "a", queued(2)),
        (NOON_MS, "b", queued(8)),
    ]
    assert reader.board.take_final() == []

    reader.hear(said(offset=1, final_ms=NOON_MS + 2 * HALF_HOUR_MS))
    assert reader.board.take_final() == [(NOON_MS + HALF_HOUR_MS, "a", queued(4))]


# --- state to bytes ---------------------------------------------------------------------------------------------------


def test_a_board_that_moves_shows_and_publishes_the_same():
    """Sources, queues, what is not final, what was said of intervals, and the clock."""
    cells = {NOON_MS - 1: queued(2) | {f.LONGEST_WAIT_MS: 7_000}, NOON_MS: queued(1)}
    payload = said(
        update("a", cells, oldest_waiting_at_ms=NOON_MS, histograms=[[1, 2, 3]] * 5),
        final_ms=NOON_MS - 10_000,
    )
    stayed, moved = Reader().hear(payload), Reader().hear(payload)
    moved.move()
    assert (stayed.view("a"), stayed.board.dump()) == (moved.view("a"), moved.board.dump())
    assert closed(stayed) == closed(moved.move())
    assert closed(moved.move()) == {}, "what was said is known after the next move"

    correction = said(update("a", {NOON_MS - 1: queued(3)}), offset=1, final_ms=NOON_MS)
    assert stayed.hear(correction).view("a") == moved.hear(correction).view("a")
    assert [("11:30", 3, True)] == intervals(moved) == intervals(stayed)
    assert stayed.board.dump() == moved.board.dump()


def test_a_board_before_its_first_record_is_saved_and_loaded():
    """No clock, nothing applied."""
    reader = Reader().move()

    assert (
        reader.board.applied_offset,
        reader.board.clock_ms(),
        reader.board.firsts(),
    ) == (-1, None, [])


def test_histograms_under_other_bounds_are_empty_until_stage_one_says_them_again():
    """Counts by the old bounds mean nothing by the new ones; the sums stay."""
    fold = FoldRules(shards=1, histogram_bounds_ms=(9_000, 20_000))
    totals = {f.TALKS: 6, f.TALK_MS: 60_000}
    reader = Reader().hear(said(update("a", {}, totals=totals, histograms=[[1, 2, 3]] * 5)))
    assert reader.view("a").histograms["talk"].counts == (1, 2, 3)

    reader.move(board_rules(fold=fold))
    talk = reader.view("a").histograms["talk"]
    assert (talk.counts, talk.bounds_ms, talk.sum_ms) == ((0, 0, 0), (9_000, 20_000), 60_000)

    reader.hear(said(update("a", {}, totals=totals, histograms=[[0, 3, 3]] * 5), offset=1))
    assert reader.view("a").histograms["talk"].counts == (0, 3, 3)


@pytest.mark.parametrize(
    ("shard", "bucket_ms"), [(1, 5_000), (0, 10_000)], ids=["another shard", "other buckets"]
)
def test_the_checkpoint_of_something_else_is_refused(shard, bucket_ms):
    """The message names both."""
    data = Reader().hear(said()).board.dump()
    rules = board_rules(fold=FoldRules(bucket_ms=bucket_ms))

    with pytest.raises(
        CheckpointError, match=f"of shard 0 with buckets of 5000 ms, not of {shard} with {bucket_ms}"
    ):
        BoardShard.load(data, shard, rules)


def test_a_torn_checkpoint_of_a_board_is_refused_at_every_byte():
    """And that of a stage by its magic."""
    data = Reader().hear(said(update("a", {NOON_MS: queued()}))).board.dump()
    assert data.startswith(MAGIC)
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            BoardShard.load(data[:length], 0, board_rules())
    with pytest.raises(CheckpointError, match="belongs to something else"):
        BoardShard.load(CallsStage(0, FoldRules()).dump(), 0, board_rules())


# --- several shards ---------------------------------------------------------------------------------------------------


def test_a_snapshot_is_as_of_the_earliest_clock_of_its_shards():
    """And has no queues until every shard knows the time; what the caller says is passed on."""
    rules = board_rules(shards=2)
    ahead, behind = Reader(rules, 0), Reader(rules, 1)
    ahead.hear(said(update("b", {}), as_of_ms=NOON_MS + 60_000))
    early = snapshot(rules, ahead.board, behind.board)
    assert (early.clock_ms, early.queues, early.over_limit) == (None, (), 0)
    assert (
        early.ready,
        early.not_ready_reason,
        early.healthy,
        early.unhealthy_reason,
        early.taken_at_ms,
    ) == (True, "", False, "slow", 7)

    behind.hear(said(update("a", {NOON_MS: queued()})))
    taken = snapshot(rules, ahead.board, behind.board)
    assert (taken.clock_ms, [view.queue for view in taken.queues]) == (NOON_MS, ["a", "b"])
    assert {NOON_MS + 5_000} == {view.windows["10s"].end_ms for view in taken.queues}


def test_a_snapshot_that_was_approached_in_steps_is_the_same():
    """Whatever is said between the steps; each step looks at a shard."""
    rules = board_rules(shards=3, fold=FoldRules(shards=3, histogram_bounds_ms=(5_000, 20_000)))
    twins = [[Reader(rules, shard) for shard in range(3)] for _ in range(2)]
    for reader in (*twins[0], *twins[1]):
        reader.hear(
            said(update("a", {NOON_MS: queued()}), update("b", {NOON_MS: queued()}), as_of_ms=NOON_MS)
        )
    steps = 0
    for _ in approach([reader.board for reader in twins[0]]):
        steps += 1
        later_ms = NOON_MS + steps * MINUTE_MS
        changed = update("a", {later_ms: queued(steps)})
        for reader in (*twins[0], *twins[1]):
            reader.hear(said(changed, offset=steps, as_of_ms=later_ms))

    assert steps == 3
    approached, direct = ([reader.board for reader in readers] for readers in twins)
    assert snapshot(rules, *approached) == snapshot(rules, *direct)


def test_nothing_is_approached_before_there_is_a_clock():
    """Nobody knows which windows to look at."""
    board = Reader(board_rules(source_partitions=2)).hear(said(update("a", {NOON_MS: queued()}))).board

    assert list(approach([board])) == [None]
    assert snapshot(board_rules(source_partitions=2), board).clock_ms is None


def test_a_snapshot_without_shards_has_no_clock():
    """A worker that was assigned nothing exports nothing."""
    assert (snapshot(board_rules()).clock_ms, snapshot(board_rules()).queues) == (None, ())


def crowd(queues_max, configured=()):
    """Look at five queues in two shards, first heard of in the order e, d, c, b, a; with ``unrouted`` and one more."""
    fold = FoldRules(shards=2, queues={name: QueueRule() for name in configured})
    rules = board_rules(shards=2, fold=fold, queues_max=queues_max)
    readers = [Reader(rules, shard) for shard in range(2)]
    for shard, reader in enumerate(readers):
        names = [name for name in (*"abcde", f.UNROUTED) if shard_of(name, 2) == shard]
        updates = [
            update(
                name,
                {NOON_MS: {f.OFFERED: 1, f.QUEUED: 10, f.BLOCKED_BUSY: 100, f.LONGEST_WAIT_MS: ord(name[0])}},
                first_at_ms=NOON_MS - ord(name[0]),
                oldest_waiting_at_ms=NOON_MS - ord(name[0]),
                histograms=[[1, 0, 2]] * 5,
            )
            for name in names
        ]
        reader.hear(said(*updates))
    return snapshot(rules, *(reader.board for reader in readers))


@pytest.mark.parametrize(
    ("queues_max", "kept", "over"),
    [(4, "bcde", 1), (5, "abcde", 0), (6, "abcde", 0), (1, "e", 4), (0, "", 5)],
)
def test_queues_beyond_the_limit_are_shown_together(queues_max, kept, over):
    """The first ones by their first event are kept, over all shards; unrouted takes no place."""
    taken = crowd(queues_max)
    others = [view for view in taken.queues if view.queue == f.OTHER]

    assert sorted([*kept, f.UNROUTED, *([f.OTHER] if over else [])]) == [view.queue for view in taken.queues]
    assert over * 111 == taken.over_limit
    if over:
        assert (over, 10 * over) == (len("abcde") - len(kept), others[0].totals[f.QUEUED])
        assert 10 * over == others[0].windows["10s"].counts[f.QUEUED] == others[0].trend[-1].counts[f.QUEUED]


@pytest.mark.parametrize(("queues_max", "kept"), [(1, "ab"), (2, "ab"), (3, "abe"), (5, "abcde")])
def test_configured_queues_keep_their_place_before_all_others(queues_max, kept):
    """Also when there are more of them than the limit."""
    shown = {view.queue for view in crowd(queues_max, "ab").queues} - {f.UNROUTED, f.OTHER}

    assert set(kept) == shown


def test_what_stage_one_counted_together_is_added_to_what_the_board_puts_there():
    """Both have a queue of all others: it is one."""
    rules = board_rules(queues_max=1)
    cells = {NOON_MS: queued(5)}
    reader = Reader(rules).hear(
        said(update("a", cells, first_at_ms=1), update("b", cells, first_at_ms=2), update(f.OTHER, cells))
    )
    taken = snapshot(rules, reader.board)

    assert {view.queue: view.totals[f.QUEUED] for view in taken.queues} == {f.OTHER: 10, "a": 5}
    assert taken.over_limit == 10


def test_a_tie_of_first_events_is_broken_by_name():
    """So that every worker and every restart keeps the same one."""
    reader = Reader().hear(said(update("b", {}), update("a", {})))
    views = reader.board.views(NOON_MS)

    for arranged in (views, views[::-1]):
        kept = cap(arranged, dict(reader.board.firsts()), board_rules(queues_max=1))
        assert [view.queue for view in kept] == ["a", f.OTHER]


def test_merged_views_are_sums_and_extremes():
    """Counts add up, the longest wait is the longest, the oldest the oldest; open is any."""
    policy = {"a": QueuePolicy(opening=parse_opening("Su 08:00-20:00"))}
    reader = Reader(board_rules(queues=policy))
    late = NOON_MS + 5_000
    reader.hear(
        said(
            update(
                "a",
                {NOON_MS: queued(2) | {f.LONGEST_WAIT_MS: 7_000, f.OVERDUE: 1}},
                histograms=[[1, 2, 3]] * 5,
                oldest_waiting_at_ms=NOON_MS,
            ),
            update(
                "b",
                {NOON_MS: queued(3) | {f.LONGEST_WAIT_MS: 9_000, f.ANSWERED: 1}},
                histograms=[[1, 1, 1]] * 5,
            ),
            as_of_ms=late,
        )
    )
    a, b = reader.view("a"), reader.view("b")
    merged = merge_views("both", [a, b])

    assert (a.open, b.open, merged.open) == (False, True, True)
    assert (
        merged.queue,
        merged.waiting,
        merged.waiting_past_target,
        merged.in_progress,
        merged.oldest_waiting_at_ms,
    ) == ("both", 4, 1, 1, NOON_MS)
    assert merged.windows["10s"].counts == {
        f.QUEUED: 5,
        f.ANSWERED: 1,
        f.OVERDUE: 1,
        f.LONGEST_WAIT_MS: 9_000,
    }
    assert merged.totals == {f.QUEUED: 5, f.ANSWERED: 1, f.OVERDUE: 1}
    assert (
        merged.histograms["talk"].counts,
        merged.histograms["talk"].bounds_ms,
    ) == ((2, 3, 4), (5_000, 20_000))
    assert (len(a.trend), merged.windows["interval"]) == (len(merged.trend), merged.trend[-1])
    assert None is merge_views("b", [b, b]).oldest_waiting_at_ms


@pytest.mark.parametrize(
    ("all_counts", "expected"),
    [
        ([], {}),
        ([{}, {}], {}),
        ([{f.QUEUED: 1}, {f.QUEUED: -1}], {}),
        ([{f.LONGEST_WAIT_MS: 0}, {}], {f.LONGEST_WAIT_MS: 0}),
        ([{f.LONGEST_WAIT_MS: 5}, {f.LONGEST_WAIT_MS: 3, f.QUEUED: 1}], {f.LONGEST_WAIT_MS: 5, f.QUEUED: 1}),
    ],
)
def test_counts_are_merged_by_sum_and_the_longest_wait_by_maximum(all_counts, expected):
    """A wait of 0 ms is one; no wait at all is none."""
    assert expected == merge_counts(all_counts)


def test_the_clock_and_zone_of_the_helper_are_what_they_say():
    """Everything above is reckoned from Monday noon in UTC."""
    assert datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1_000 == NOON_MS
    assert datetime.fromtimestamp(NOON_MS / 1_000, UTC).weekday() == 0
