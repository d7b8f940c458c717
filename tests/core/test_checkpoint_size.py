"""The size of a checkpoint follows what is going on, not what has been: a month of the same day, day by day."""

import json

import pytest

from stream.core.board import UNFINAL_KEPT_MS, BoardShard
from stream.core.calls import CallsStage
from stream.core.rules import FoldRules
from tests.core.publications import NOON_MS, board_rules, said
from tests.oracle import Rec

MINUTE_MS, DAY_MS = 60_000, 86_400_000
MONTH, FORTNIGHT = 31, 14
STEP_MS = 15 * MINUTE_MS
CALL_EVERY_MS = 3 * MINUTE_MS
FOLD = FoldRules(shards=1)
# A handful of calls more or less happen to be open at noon; what grows with history would be many times as much.
GROWTH_MAX = 1.25


def call(number, at_ms):
    """Write one call: answered, abandoned, or left without any end."""
    queued = {"type": "queued", "queue": f"queue-{number % 5}", "at": at_ms}
    if number % 7 == 0:
        return [queued, {"type": "abandoned", "at": at_ms + 25_000}]
    if number % 11 == 0:
        return [queued]
    answered = [queued, {"type": "answered", "at": at_ms + 9_000}, {"type": "ended", "at": at_ms + 190_000}]
    return [*answered, {"type": "wrap_up", "at": at_ms + 200_000, "duration_ms": 10_000}]


def quarter_hours(days):
    """Yield the records of so many days, by quarter hour: (its end, records)."""
    calls, offset = 0, 0
    waiting = []
    for end_ms in range(NOON_MS + STEP_MS, NOON_MS + days * DAY_MS + 1, STEP_MS):
        for at_ms in range(end_ms - STEP_MS, end_ms, CALL_EVERY_MS):
            waiting += [(event["at"], calls, event) for event in call(calls, at_ms)]
            calls += 1
        waiting.sort(key=lambda item: item[:2])
        records = []
        while waiting and waiting[0][0] < end_ms:
            _, number, event = waiting.pop(0)
            call_id = f"call-{number}"
            value = json.dumps(event | {"call_id": call_id}).encode()
            records.append(Rec(offset, None, call_id.encode(), value))
            offset += 1
        yield end_ms, records


@pytest.mark.parametrize(
    "silent", [False, True], ids=["every partition speaks", "one has been silent from the start"]
)
def test_a_month_does_not_make_checkpoints_larger(silent):
    """Stage 1 keeps what may still change; stage 2 merges what is final and lets go of what no window shows.

    A silent partition keeps intervals from being final: the board holds them for eight days, then gives that up.
    """
    stage = CallsStage(0, FOLD)
    board = BoardShard(0, board_rules(fold=FOLD, source_partitions=2 if silent else 1))
    sizes, days = [], FORTNIGHT if silent else MONTH
    if silent:
        heard = said(partition=1, as_of_ms=NOON_MS + days * DAY_MS, final_ms=NOON_MS)
        board.fold([Rec(0, None, b"1", heard)])
    for step, (end_ms, records) in enumerate(quarter_hours(days), 1):
        stage.fold(records)
        board.fold([Rec(step, None, b"0", stage.publish(end_ms, caught_up=True)[0])])
        board.take_closed()
        if (end_ms - NOON_MS) % DAY_MS == 0:
            sizes.append((len(stage.encode().body), len(board.encode().body)))
    settled = UNFINAL_KEPT_MS // DAY_MS + 2 if silent else 3
    stages, boards = zip(*sizes, strict=True)

    assert max(stages[1:]) <= GROWTH_MAX * stages[1], stages
    assert max(boards[settled:]) <= GROWTH_MAX * boards[settled], boards
    assert boards[0] < boards[settled]
    assert sum(stage.tally().events.values()) > days * DAY_MS / CALL_EVERY_MS * 3
