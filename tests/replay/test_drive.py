"""The drive: what is seen at a step is a function of the logs alone."""

import itertools
import json
import random

import pytest

from stream.core.board import INTERVAL
from stream.replay import Rows, Sampler, summary
from stream.replay.drive import SILENCE_MAX_MS
from stream.settings import Alerts
from tests import oracle
from tests.replay.history import HOUR_MS, PARTITIONS, START_MS, Record, logs, replay_of, rules

STEP_MS = 60_000
SEEDS = range(5)


def rows_of(replay):
    with Rows(replay.rules) as rows:
        for moment in replay.moments():
            rows.add(moment.closed)
        return b"".join(rows.lines())


def samples_of(replay):
    sampler = Sampler("job", "instance", Alerts())
    return [
        (moment.at_ms, [(series.text, value) for series, value in sampler.take(replay.snapshot())])
        for moment in replay.moments()
    ]


def result_of(history):
    return oracle.recompute([[oracle.Rec(*record) for record in log] for log in history], rules().fold)


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_and_samples_do_not_depend_on_how_much_is_read_at_once(seed):
    """Byte for byte: batches of 1, 7 and everything; partitions in another order."""
    history = logs(seed)
    whole = rows_of(replay_of(history)), samples_of(replay_of(history, step_ms=STEP_MS))

    assert len(whole[1]) > 180
    for batch in (1, 7):
        assert rows_of(replay_of(history, batch)) == whole[0]
    assert samples_of(replay_of(history, 7, STEP_MS)) == whole[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_outcomes_of_all_records_are_those_of_the_oracle(seed):
    """Every record once: applied, duplicate, late or rejected."""
    history = logs(seed)
    replay = replay_of(history)
    rows_of(replay)
    counts, expected = summary(replay.read, replay.tally()), result_of(history).partitions

    assert counts["read"] == sum(map(len, history))
    assert counts["late"] == sum(part.late for part in expected) > 0
    assert counts["duplicate"] == sum(part.duplicate for part in expected) > 0
    assert counts["rejected"] == sum(part.rejected.total() for part in expected) == 5
    assert counts["applied"] == counts["read"] - counts["late"] - counts["duplicate"] - counts["rejected"]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_interval_is_the_sum_of_the_oracles_cells(seed):
    """Whatever the steps: of an hour, or of a minute."""
    history = logs(seed)
    expected = {}
    for (queue, bucket_ms), cell in result_of(history).cells.items():
        interval = bucket_ms // (HOUR_MS // 2) * (HOUR_MS // 2), queue
        oracle.merge_cell(expected.setdefault(interval, {}), cell)
    expected = {key: cell for key, value in expected.items() if (cell := oracle.without_zeros(value))}
    for step_ms in (None, STEP_MS):
        closed = [
            interval for moment in replay_of(history, step_ms=step_ms).moments() for interval in moment.closed
        ]
        assert {(start_ms, queue): counts for start_ms, queue, counts in closed} == expected
        assert closed == sorted(closed, key=lambda interval: interval[:2])


def test_a_step_shows_what_was_counted_up_to_its_moment():
    """The counters at a step are those of the logs cut before their first event beyond it."""
    history = logs(1)
    cut_ms = START_MS + HOUR_MS
    (shown,) = (
        samples for at_ms, samples in samples_of(replay_of(history, step_ms=STEP_MS)) if at_ms == cut_ms
    )
    queued = sum(value for text, value in shown if text.startswith("callcenter_contacts_queued_total{"))
    heads = []
    for log in history:
        ahead = next(i for i, record in enumerate(log) if record.value != b"{" and at_of(record) > cut_ms)
        heads.append(log[:ahead])
    totals = oracle.totals(result_of(heads).cells)

    assert queued == sum(counts.get(1, 0) for counts in totals.values()) > 0  # 1: the field QUEUED


def at_of(record):
    return oracle.parse(record.value).at


def test_days_are_sums_of_their_intervals_in_local_time():
    """Days come first, and every count of a day is that of its intervals."""
    replay = replay_of(logs(2, hours=30))
    found = [json.loads(line) for line in rows_of(replay).splitlines()]
    days = [row for row in found if row["window"] != INTERVAL]

    assert found == sorted(found, key=lambda row: (row["window"], row["start"], row["queue"]))
    assert {row["start"] for row in days} == {"2026-03-02T00:00:00+01:00", "2026-03-03T00:00:00+01:00"}
    for day in days:
        parts = [
            row
            for row in found
            if row["window"] == INTERVAL
            and row["queue"] == day["queue"]
            and day["start"] <= row["start"] < day["end"]
        ]
        assert parts
        for name in ("offered", "queued", "answered", "abandoned"):
            assert day[name] == sum(row[name] for row in parts)


def test_a_silence_of_more_than_a_week_is_passed_over_and_said():
    """The steps before and after it stay on the grid."""
    early, late = logs(3, calls=5, hours=0.1), logs(4, calls=5, hours=0.1)
    gap_ms = SILENCE_MAX_MS + HOUR_MS
    history = [
        [*log, *(moved(record, len(log) + index, gap_ms) for index, record in enumerate(other))]
        for log, other in zip(early, late, strict=True)
    ]
    replay = replay_of(history, step_ms=STEP_MS)
    steps = [moment.at_ms for moment in replay.moments()]

    assert len(replay.skipped) == 1
    assert not any(step % STEP_MS for step in steps)
    gaps = [after - before for before, after in itertools.pairwise(steps)]
    assert sorted(gaps)[-2:] == [STEP_MS, replay.skipped[0][1] - replay.skipped[0][0]]


def moved(record, offset, by_ms):
    event = oracle.parse(record.value)
    if event is None:
        return record._replace(offset=offset)
    value = record.value.replace(str(event.at).encode(), str(event.at + by_ms).encode())
    return Record(offset, None, b"x" + record.key, value.replace(b'"call-', b'"xcall-'))


def test_nothing_at_all_has_no_moments():
    """An empty history is whole."""
    replay = replay_of([[] for _ in range(PARTITIONS)], step_ms=STEP_MS)

    assert list(replay.moments()) == []
    assert summary(replay.read, replay.tally())["read"] == 0


def test_a_partition_that_ends_early_does_not_hold_back_the_intervals():
    """What is at its end is final; rows flow while the other partitions go on."""
    history = logs(5, hours=6)
    history[0] = history[0][: random.Random(5).randrange(5, 20)]
    closed_at = [
        (moment.at_ms, start_ms)
        for moment in replay_of(history, step_ms=STEP_MS).moments()
        for start_ms, _, _ in moment.closed
    ]

    assert all(at_ms - start_ms < HOUR_MS for at_ms, start_ms in closed_at[:-3])
