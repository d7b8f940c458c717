"""Drive both stages over a stream of records: one source partition, one shard, no clock but the events' own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from types import SimpleNamespace
from typing import Final

from stream.core.board import BoardShard
from stream.core.calls import CallsStage, Record
from stream.core.rules import QUARTER_MS, BoardRules, Clock
from stream.core.snapshot import PipelineView

# Between two publications: enough to make their cost vanish, little enough to keep the memory flat.
RECORDS_A_BATCH: Final = 10_000


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the records of a replay."""

    read: int
    pipeline: PipelineView

    def counts(self) -> dict[str, object]:
        """Return the outcomes (contract, section 2) by name."""
        pipeline = self.pipeline
        return {
            "read": self.read,
            "applied": sum(pipeline.events.values()),
            "duplicate": pipeline.duplicate,
            "late": pipeline.late,
            "rejected": sum(pipeline.rejected.values()),
            "events": {kind: count for kind, count in pipeline.events.items() if count},
            "rejected_by_reason": dict(sorted(pipeline.rejected.items())),
            "anomalous": {kind: count for kind, count in pipeline.anomalous.items() if count},
        }


def replay(records: Iterable[Record], rules: BoardRules, *, by_arrival: bool) -> tuple[BoardShard, Summary]:
    """Fold all records; return the board with every interval, and the outcomes.

    Cells are whole quarter hours here: intervals and days are all that is asked for. ``by_arrival`` counts everything
    of a visit in the interval of its ``queued``.
    """
    fold_rules = replace(rules.fold, bucket_ms=QUARTER_MS, shards=1, by_arrival=by_arrival)
    board_rules = replace(rules, fold=fold_rules, shards=1, source_partitions=1, clock=Clock.STREAM)
    stage, board = CallsStage(0, fold_rules), BoardShard(0, board_rules)
    stream = iter(records)
    publications = read = 0
    while batch := list(islice(stream, RECORDS_A_BATCH)):
        read += len(batch)
        stage.fold(batch)
        for payload in stage.publish(stage.stream_time_ms, caught_up=False):
            board.fold([SimpleNamespace(offset=publications, timestamp=None, key=None, value=payload)])
            publications += 1
    return board, Summary(read, stage.tally())
