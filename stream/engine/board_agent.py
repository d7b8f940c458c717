"""The shell of stage 2: cells in, closed intervals out."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from stream.core.board import BoardShard
from stream.engine.checkpoints import CheckpointTable
from stream.engine.dead_letters import Send
from stream.engine.engine_settings import EngineSettings
from stream.engine.fenced import Writer
from stream.engine.owned import Owned
from stream.engine.shell import Outgoing, Shell, TakenOverError
from stream.engine.tp import source_key

log = logging.getLogger("callgauge")

CLOSE_TIMEOUT_S: Final = 2.0  # what is written is confirmed before: only connections are left


class BoardShell(Shell[BoardShard]):
    """Stage 2, for the owned shards."""

    def __init__(
        self, settings: EngineSettings, table: CheckpointTable, send: Send, writer_of: Callable[[int], Writer]
    ) -> None:
        super().__init__(
            settings.topics.cells, table, send, stop_on_retention_gap=settings.stop_on_retention_gap
        )
        self._settings = settings
        self._writer_of = writer_of
        self._writers: dict[Owned[BoardShard], Writer] = {}
        self._closing: set[asyncio.Task[None]] = set()
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
        """Take the intervals that have closed; the key decides the partition, for compaction.

        Only once the shard has read what was there when it was taken over. The owner before may have published what
        came of all that, and what it saved last may arrive when it has long been dead. A row of ours that is older
        would stay then: whoever begins from that state takes the owner's row for the last.
        """
        if not owned.live:
            return []
        topic = self._settings.topics.intervals
        return [Outgoing(topic, key.encode(), value, None) for key, value in owned.stage.take_closed()]

    def take(self, restored: Mapping[int, Owned[BoardShard]]) -> None:
        """Own these shards, each with a writer of its own: what is written for them ends with their ownership."""
        super().take(restored)
        self._writers = {owned: self._writer_of(shard) for shard, owned in restored.items()}

    async def prepare(self) -> None:
        """Shut out whoever wrote the intervals of these shards before."""
        await asyncio.gather(*[writer.open() for writer in self._writers.values()])

    async def deliver(self, owned: Owned[BoardShard], records: Sequence[Outgoing]) -> None:
        """Write the intervals, as the owner that this worker is."""
        writer = self._writers.get(owned)
        if writer is None:
            raise TakenOverError(f"{owned.place}: given away before all was written")
        await writer.write(records)

    def drop_all(self) -> None:
        """Forget every shard, and close the writers beside what comes next."""
        super().drop_all()
        for writer in self._writers.values():
            task = asyncio.ensure_future(writer.close())
            self._closing.add(task)
            task.add_done_callback(self._closed)
        self._writers = {}

    def _closed(self, task: "asyncio.Task[None]") -> None:
        self._closing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("a writer of intervals could not be closed: %s", type(task.exception()).__name__)

    async def close(self) -> None:
        """Close every writer, as far as Kafka lets us."""
        self.drop_all()
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_TIMEOUT_S)

    def live_shards(self) -> list[BoardShard]:
        """Return the shards that have read all that was there when they were taken over.

        Before that their counters are older than what the previous owner exported, and a counter that goes
        back counts as a restart from zero at the reader's.
        """
        return [owned.stage for owned in self.owned.values() if owned.live]
