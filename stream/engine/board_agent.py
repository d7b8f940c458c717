"""The shell of stage 2: cells in, closed intervals out."""

from collections.abc import Sequence
from typing import Any

from stream.core.board import BoardShard
from stream.engine.checkpoints import CheckpointTable
from stream.engine.dead_letters import Send
from stream.engine.engine_settings import EngineSettings
from stream.engine.owned import Owned
from stream.engine.shell import Outgoing, Shell
from stream.engine.tp import source_key


class BoardShell(Shell[BoardShard]):
    """Stage 2, for the owned shards."""

    def __init__(self, settings: EngineSettings, table: CheckpointTable, send: Send) -> None:
        super().__init__(
            settings.topics.cells, table, send, stop_on_retention_gap=settings.stop_on_retention_gap
        )
        self._settings = settings
        self._sources = frozenset(map(source_key, range(settings.partitions)))

    def fresh(self, partition: int) -> BoardShard:
        """Return the state of a shard that nobody has heard of yet."""
        return BoardShard(partition, self._settings.board)

    def load(self, data: bytes, partition: int) -> BoardShard:
        """Return a restored state."""
        return BoardShard.load(data, partition, self._settings.board)

    def fold(self, owned: Owned[BoardShard], records: Sequence[Any]) -> None:
        """Fold the publications of a batch."""
        owned.stage.fold(records)
        owned.heard.update(record.key for record in records if record.key in self._sources)

    def outgoing(self, owned: Owned[BoardShard]) -> list[Outgoing]:
        """Take the intervals that have closed; the key decides the partition, for compaction."""
        topic = self._settings.topics.intervals
        return [Outgoing(topic, key.encode(), value, None) for key, value in owned.stage.take_closed()]

    def live_shards(self) -> list[BoardShard]:
        """Return the shards that have read all that was there when they were taken over.

        Before that their counters are older than what the previous owner exported, and a counter that goes
        back counts as a restart from zero at the reader's.
        """
        return [owned.stage for owned in self.owned.values() if owned.live]
