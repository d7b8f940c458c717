"""Publications written by hand, and a board that reads them."""

from datetime import UTC
from typing import Any

from stream.core import fields as f
from stream.core.board import BoardShard, take_snapshot
from stream.core.counts import add
from stream.core.minute import cells_a_minute, minutes_of
from stream.core.rules import BoardRules, FoldRules, QueueRule
from stream.core.snapshot import PipelineView, QueueView, Snapshot, Status
from stream.core.wire import PUBLICATION_VERSION, Publication, QueueUpdate, encode_publication
from tests.oracle import Rec

NOON_MS = 1_772_452_800_000  # Monday 2026-03-02 12:00 UTC
HALF_HOUR_MS = 1_800_000
BUCKET_MS = 5_000
PER_MINUTE = cells_a_minute(BUCKET_MS)


def board_rules(**changes: Any) -> BoardRules:
    """Return the rules of a board with one shard and one source partition, but for some changes."""
    given: dict[str, Any] = {
        "time_zone": UTC,
        "source_partitions": 1,
        "rolling": (("10s", 10_000), ("1m", 60_000)),
        "shards": 1,
        "fold": FoldRules(shards=1, default=QueueRule(20_000), histogram_bounds_ms=(5_000, 20_000)),
    }
    return BoardRules(**(given | changes))


def update(
    name: str,
    cells: dict[int, dict[int, int]],
    *,
    totals: dict[int, int] | None = None,
    first_at_ms: int = NOON_MS,
    oldest_waiting_at_ms: int | None = None,
    histograms: list[list[int]] | None = None,
) -> QueueUpdate:
    """Say the minutes of a queue that hold its cells, {moment: counts}; its totals are their sum unless given."""
    summed: dict[int, int] = {}
    for counts in cells.values():
        add(summed, {field: count for field, count in counts.items() if field != f.LONGEST_WAIT_MS})
    return QueueUpdate(
        name,
        first_at_ms,
        oldest_waiting_at_ms,
        summed if totals is None else totals,
        histograms or [],
        list(
            minutes_of([(at_ms // BUCKET_MS, counts) for at_ms, counts in cells.items()], PER_MINUTE).items()
        ),
    )


def said(
    *queues: QueueUpdate,
    offset: int = 0,
    partition: int = 0,
    as_of_ms: int | None = NOON_MS,
    stream_ms: int | None = NOON_MS,
    final_ms: int = 0,
    caught_up: bool = True,
    version: int = PUBLICATION_VERSION,
) -> bytes:
    """Encode one publication."""
    return encode_publication(
        Publication(version, partition, offset, stream_ms, final_ms, as_of_ms, caught_up, list(queues))
    )


class Reader:
    """A board and the topic that it reads."""

    def __init__(self, rules: BoardRules | None = None, shard: int = 0) -> None:
        self.rules = rules or board_rules()
        self.board = BoardShard(shard, self.rules)
        self.next_offset = 0

    def hear(self, *payloads: bytes | None) -> "Reader":
        """Read payloads as the next records of the topic."""
        records = [Rec(self.next_offset + number, None, b"", value) for number, value in enumerate(payloads)]
        self.next_offset += len(records)
        self.board.fold(records)
        return self

    def move(self, rules: BoardRules | None = None) -> "Reader":
        """Let another worker take over from the checkpoint, under the same rules or others."""
        self.rules = rules or self.rules
        self.board = BoardShard.load(self.board.dump(), self.board.shard, self.rules)
        return self

    def view(self, queue: str) -> QueueView:
        """Look at one queue as of the board's clock."""
        clock_ms = self.board.clock_ms()
        assert clock_ms is not None
        return next(view for view in self.board.views(clock_ms) if view.queue == queue)


def snapshot(rules: BoardRules, *boards: BoardShard) -> Snapshot:
    """Look at several shards at once."""
    return take_snapshot(
        boards,
        PipelineView(),
        rules,
        status=Status(ready=True, not_ready_reason="", healthy=False, unhealthy_reason="slow"),
        taken_at_ms=7,
    )
