"""The shell of stage 1: call events in, cells, dead letters and late events out."""

from collections.abc import Sequence
from typing import Any, Final

from faust.types import TP

from stream.clock import monotonic_s, wall_ms
from stream.core.calls import CallsStage
from stream.core.rules import Clock
from stream.core.slots import Found
from stream.core.snapshot import PipelineView
from stream.engine.checkpoints import CheckpointTable
from stream.engine.dead_letters import Send, keep_aside
from stream.engine.engine_settings import EngineSettings
from stream.engine.owned import Owned
from stream.engine.restore import LogBounds
from stream.engine.shell import Outgoing, Shell, SourceLog
from stream.engine.tp import source_key

# A worker that is cut off publishes nothing after one session; what it was about to may take a moment.
SILENT_AFTER_SESSIONS: Final = 2


class CallsShell(Shell[CallsStage]):
    """Stage 1, for the owned source partitions."""

    def __init__(self, settings: EngineSettings, table: CheckpointTable, send: Send) -> None:
        super().__init__(
            settings.topics.events, table, send, stop_on_retention_gap=settings.stop_on_retention_gap
        )
        self._settings = settings
        self._tallies: dict[int, PipelineView] = {}  # of the state being saved
        self._somebody_spoke = True  # before; unless we know that nobody did

    async def look_around(self, source: SourceLog) -> None:
        """Look whether anybody has published: a state that begins from nothing then corrects that, too."""
        topic = self._settings.topics.cells
        ends = await source.highwaters(*[TP(topic, shard) for shard in range(self._settings.shards)])
        self._somebody_spoke = any(ends.values())

    def fresh(self, partition: int) -> CallsStage:
        """Return the state of a partition that is counted from its beginning."""
        return CallsStage(partition, self._settings.fold, since_ms=wall_ms(), follows=self._somebody_spoke)

    def load(self, data: bytes, partition: int) -> CallsStage:
        """Return a restored state."""
        return CallsStage.load(data, partition, self._settings.fold, since_ms=wall_ms())

    def restore(self, partition: int, found: Found, bounds: LogBounds) -> Owned[CallsStage]:
        """Restore, with the tally that was last shown."""
        owned = super().restore(partition, found, bounds)
        owned.tally = owned.stage.tally()
        return owned

    def fold(self, owned: Owned[CallsStage], records: Sequence[Any]) -> None:
        """Fold; what is not counted is kept aside before the offsets are committed."""
        asides = owned.stage.fold(records)
        if asides:
            owned.deliver(keep_aside(asides, owned.place, self._settings.topics, self._send))

    def outgoing(self, owned: Owned[CallsStage]) -> list[Outgoing]:
        """Take the publication, one record a shard; also when idle: it is heartbeat and watermark."""
        wall = self._settings.board.clock is Clock.WALL
        as_of_ms = wall_ms() if wall and owned.caught_up else owned.stage.stream_time_ms
        alone = monotonic_s() - owned.taken_at_s > SILENT_AFTER_SESSIONS * self._settings.session_timeout_s
        payloads = owned.stage.publish(as_of_ms, caught_up=owned.caught_up, alone=alone)
        key, topic = source_key(owned.place.partition), self._settings.topics.cells
        return [Outgoing(topic, key, payload, shard) for shard, payload in enumerate(payloads)]

    def about_to_save(self, owned: Owned[CallsStage]) -> None:
        """Take the tally of exactly the state that is saved."""
        self._tallies[owned.place.partition] = owned.stage.tally()

    def saved(self, owned: Owned[CallsStage]) -> None:
        """Show the tally: a restart, which reads on from this checkpoint, cannot take it back."""
        owned.tally = self._tallies.pop(owned.place.partition, owned.tally)
