"""Publications written by hand, and a board that reads them."""

from datetime import UTC
from typing import Any, NamedTuple

from stream.core import fields as f
from stream.core.board import BoardShard, take_snapshot
from stream.core.columns import column, pack, pack_columns, summed
from stream.core.counts import add
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELD_MASK, QUEUE_MASK
from stream.core.rules import BoardRules, FoldRules, QueueRule
from stream.core.snapshot import PipelineView, QueueView, Snapshot, Status
from stream.core.wire import PUBLICATION_VERSION, Publication, encode_publication, opened
from tests.core.named import in_fields
from tests.oracle import Rec

NOON_MS = 1_772_452_800_000  # Monday 2026-03-02 12:00 UTC
HALF_HOUR_MS = 1_800_000
BUCKET_MS = 5_000
HISTOGRAMS = len(f.HISTOGRAM_NAMES)


class Update(NamedTuple):
    """What a publication says of one queue: {moment: counts}, its totals, and the rest."""

    name: str
    cells: dict[int, dict[int, int]]
    totals: dict[int, int]
    first_at_ms: int
    oldest_waiting_at_ms: int | None
    histograms: list[list[int]]


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
) -> Update:
    """Say the cells of a queue, {moment: counts}; its totals are their sum unless given."""
    summed_up: dict[int, int] = {}
    for counts in cells.values():
        add(summed_up, {field: count for field, count in counts.items() if field != f.LONGEST_WAIT_MS})
    return Update(
        name,
        cells,
        summed_up if totals is None else totals,
        first_at_ms,
        oldest_waiting_at_ms,
        histograms or [],
    )


def columns(counts: dict[int, int]) -> tuple[int, bytes, bytes]:
    """Pack counts by place."""
    return pack_columns(*summed(column(counts.keys()), column(counts.values())))


def said(
    *queues: Update,
    offset: int = 0,
    partition: int = 0,
    as_of_ms: int | None = NOON_MS,
    stream_ms: int | None = NOON_MS,
    final_ms: int = 0,
    caught_up: bool = True,
    version: int = PUBLICATION_VERSION,
    anew_from: int | None = None,
    since_ms: int = 0,
) -> bytes:
    """Encode one publication."""
    places = {}
    for number, queue in enumerate(queues):
        for at_ms, counts in queue.cells.items():
            for field, count in counts.items():
                place = (at_ms // BUCKET_MS << BUCKET_SHIFT) + (number << FIELD_BITS) + field
                places[place] = count + (field == f.LONGEST_WAIT_MS)
    return encode_publication(
        Publication(
            version,
            partition,
            offset,
            stream_ms,
            final_ms,
            as_of_ms,
            caught_up,
            [queue.name for queue in queues],
            [queue.first_at_ms for queue in queues],
            [queue.oldest_waiting_at_ms for queue in queues],
            columns(
                {
                    (number << FIELD_BITS) + field: count
                    for number, queue in enumerate(queues)
                    for field, count in queue.totals.items()
                }
            ),
            pack(column(count for queue in queues for counts in queue.histograms for count in counts)),
            columns(places),
            anew_from,
            since_ms,
        )
    )


def told(publication: Publication) -> dict[str, dict[int, dict[int, int]]]:
    """Read what a publication says: {queue: {bucket: counts}}, a count of 0 where all was taken back."""
    heard = opened(publication)
    said_of: dict[str, dict[int, dict[int, int]]] = {name: {} for name in publication.queues}
    for place, value in zip(heard.places.tolist(), heard.values.tolist(), strict=True):
        field = place & FIELD_MASK
        name = publication.queues[place >> FIELD_BITS & QUEUE_MASK]
        cell = said_of[name].setdefault(place >> BUCKET_SHIFT, {})
        cell[field] = value - 1 if field == f.LONGEST_WAIT_MS and value else value
    return {
        name: {bucket: in_fields(cell) for bucket, cell in cells.items()} for name, cells in said_of.items()
    }


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
