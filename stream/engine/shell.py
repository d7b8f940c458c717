"""What the shells of both stages have in common: batches in, publications and checkpoints out.

Faults end the process and are never skipped: every coroutine here raises, and the engine's ``guard`` ends
what raised.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol

from faust.types import TP

from stream.clock import monotonic_s, wall_ms
from stream.core.checkpoint import Encoded
from stream.core.slots import Found
from stream.engine.checkpoints import CheckpointTable
from stream.engine.dead_letters import Send
from stream.engine.holes import Verdict
from stream.engine.owned import Owned, StageT, all_confirmed
from stream.engine.restore import LogBounds, check_end, gap_error, gap_line, newest
from stream.engine.tp import Place

log = logging.getLogger("callgauge")

FOLD_RECORDS_MAX: Final = 2_000  # at a time, about 10 ms: then heartbeats and HTTP get their turn


class Outgoing(NamedTuple):
    """A record to publish."""

    topic: str
    key: bytes
    value: bytes
    partition: int | None


class TakenOverError(Exception):
    """Another worker writes for a partition that this one took for its own; the message is the line for the log."""


class SourceLog(Protocol):
    """What a shell asks of the log that it reads."""

    async def seek_all(self, positions: Mapping[TP, int]) -> Mapping[TP, int]:
        """Read on from these offsets; return the epochs from which batches count."""
        ...

    async def start_of(self, tp: TP) -> int:
        """Return the first offset that the log still has."""
        ...

    async def highwaters(self, *tps: TP) -> Mapping[TP, int | None]:
        """Return where logs end."""
        ...


class Shell(ABC, Generic[StageT]):
    """One stage: its owned partitions and everything that happens to them."""

    def __init__(
        self, topic: str, table: CheckpointTable, send: Send, *, stop_on_retention_gap: bool = True
    ) -> None:
        self.topic = topic
        self.table = table
        self.owned: dict[int, Owned[StageT]] = {}
        self.holes = 0  # of partitions that have been given away since
        self.gaps = 0
        self.retention_gaps = 0  # passed over, as the configuration allows
        self.refused = 0  # checkpoints that could not be used
        self._send = send
        self._stop_on_retention_gap = stop_on_retention_gap

    # --- what the stages differ in --------------------------------------------------------------------------

    @abstractmethod
    def fresh(self, partition: int) -> StageT:
        """Return the state of a partition that nobody has counted yet."""

    @abstractmethod
    def load(self, data: bytes, partition: int) -> StageT:
        """Return a restored state. Raises CheckpointError."""

    @abstractmethod
    def fold(self, owned: Owned[StageT], records: Sequence[Any]) -> None:
        """Fold a batch; whatever must be delivered on its behalf goes to ``owned.deliver``."""

    @abstractmethod
    def outgoing(self, owned: Owned[StageT]) -> list[Outgoing]:
        """Take what is to be published now. Once taken it must be delivered, or the process must end."""

    async def look_around(self, source: SourceLog) -> None:
        """Hear that partitions are about to be restored; nothing to do unless a stage says otherwise."""

    async def prepare(self) -> None:
        """Hear that partitions were taken over; nothing to do unless a stage says otherwise."""

    def saved(self, owned: Owned[StageT]) -> None:
        """Hear that a checkpoint was confirmed; nothing to do unless a stage says otherwise."""

    # --- batches in -----------------------------------------------------------------------------------------

    async def on_batch(self, event: Any, source: SourceLog) -> None:
        """Fold one batch, or read again what is missing before it."""
        batch, tp = event.value, event.message.tp
        owned = self.owned.get(tp.partition)
        if owned is None or not batch.records:
            return  # given away while the batch was on its way
        first = batch.records[0].offset
        verdict = owned.holes.judge(first, owned.stage.applied_offset, batch.epoch)
        if verdict is Verdict.GAP:
            self._accept_gap(owned, first, await source.start_of(tp))
        if verdict in (Verdict.FOLD, Verdict.GAP):
            await self._fold_in_parts(owned, batch.records)
            owned.newest_event = event
            batch.records.clear()  # the event is kept until the next checkpoint, its records need not be
        elif verdict is Verdict.REWIND:
            log.warning(
                "%s: the batch begins at offset %d, after %d: reading again from there",
                owned.place,
                first,
                owned.stage.applied_offset,
            )
            epochs = await source.seek_all({tp: owned.stage.applied_offset + 1})
            owned.holes.rewound(epochs[tp])

    def _accept_gap(self, owned: Owned[StageT], first: int, start: int) -> None:
        """Tell what retention has taken from what is no record at all: compaction, markers of transactions."""
        needed = owned.stage.applied_offset + 1
        if start > needed:
            self._pass_over(owned, needed, start)
        else:
            log.warning("%s: the log has nothing between offsets %d and %d", owned.place, needed - 1, first)

    async def _fold_in_parts(self, owned: Owned[StageT], records: Sequence[Any]) -> None:
        for start in range(0, len(records), FOLD_RECORDS_MAX):
            self.fold(owned, records[start : start + FOLD_RECORDS_MAX])
            if owned.deliveries:
                await all_confirmed(list(owned.deliveries))
            await asyncio.sleep(0)

    # --- publications and checkpoints out -------------------------------------------------------------------

    async def publish(self, owned: Owned[StageT]) -> None:
        """Publish what is new and wait for the deliveries, unless the previous ones are under way."""
        if not owned.lock.locked():
            await self._unless_taken_over(self._publish(owned))

    async def _publish(self, owned: Owned[StageT]) -> None:
        async with owned.lock:
            if owned.unsound:
                return
            with owned.sound_if_done():
                await self.deliver(owned, self.outgoing(owned))
            owned.published += 1

    async def checkpoint(self, owned: Owned[StageT]) -> None:
        """Save the state, then acknowledge what it covers.

        What is in the state has been published before it is saved, and both are confirmed before anything is
        acknowledged. Taking the publications and encoding the state is one step without an await: no record
        comes in between. Sealing takes as long again, and goes to a thread.
        """
        await self._unless_taken_over(self._checkpoint(owned))

    async def _checkpoint(self, owned: Owned[StageT]) -> None:
        async with owned.lock:
            if owned.unsound:
                return
            applied_offset = owned.stage.applied_offset
            if applied_offset == owned.saved_offset and not owned.deliveries:
                owned.checkpoint_at_ms = wall_ms()  # the same state again would be as good
                # The checkpoint before may have come between the end of a fold and the moment its batch is noted.
                self._acknowledge(owned, owned.newest_event)
                return
            with owned.sound_if_done():
                records, deliveries, event = self.outgoing(owned), list(owned.deliveries), owned.newest_event
                began_s = monotonic_s()
                owned.publishes(began_s)
                encoded = owned.stage.encode()
                encode_s = monotonic_s() - began_s
                self.about_to_save(owned)
                data, seal_s = await asyncio.to_thread(_seal, encoded)
                owned.dump_s = encode_s + seal_s
                await self.deliver(owned, records)
                await all_confirmed(deliveries)
            await self.table.save(owned.place.partition, applied_offset, data, self._send)
            owned.saved_offset = applied_offset
            owned.checkpoint_at_ms = wall_ms()
            self.saved(owned)
            self._acknowledge(owned, event)

    @staticmethod
    def _acknowledge(owned: Owned[StageT], event: Any) -> None:
        """Let the offset of a batch that a checkpoint covers be committed."""
        if event is not None:
            event.ack()
            if owned.newest_event is event:
                owned.newest_event = None

    def about_to_save(self, owned: Owned[StageT]) -> None:
        """Note what belongs to the state just dumped; nothing unless a stage says otherwise."""

    async def deliver(self, owned: Owned[StageT], records: Sequence[Outgoing]) -> None:  # noqa: ARG002 - for others
        """Send what was taken out of the state; return when all of it is confirmed."""
        pending = [await self._send(*record) for record in records]
        await all_confirmed(pending)

    async def _unless_taken_over(self, work: Awaitable[None]) -> None:
        """Leave to its new owner what another worker has taken over: this one hears of that with its next heartbeat.

        Until then nothing of it is published or saved here. If it never hears of it, the watchdog ends the process.
        """
        try:
            await work
        except TakenOverError as error:
            log.warning("%s", error)

    # --- coming and going of partitions ---------------------------------------------------------------------

    def restore(self, partition: int, found: Found, bounds: LogBounds) -> Owned[StageT]:
        """Make the state of a partition from its checkpoints, or begin at the beginning of its log.

        Raises RestoreError.
        """
        place, table = Place(self.topic, partition), self.table
        where = Place(table.topic, partition)
        stage, slot, refused = newest(found, lambda data: self.load(data, partition), where)
        if stage is not None:
            check_end(place, stage.applied_offset, bounds, table.topic)
        self.refused += refused
        table.restored(partition, slot)
        if stage is not None:
            if refused:
                log.error("%s: going on from the checkpoint at offset %d", place, stage.applied_offset)
            owned = Owned(place, stage, bounds.end, saved_offset=stage.applied_offset)
            needed = stage.applied_offset + 1
        else:
            if refused:
                log.error("%s: no checkpoint can be used, counting the whole log again", place)
            owned = Owned(place, self.fresh(partition), bounds.end)
            needed = 0 if refused else bounds.start if bounds.committed is None else bounds.committed
        if needed < bounds.start:
            self._pass_over(owned, needed, bounds.start)
        if stage is None or needed < bounds.start:
            owned.stage.applied_offset = bounds.start - 1
        return owned

    def _pass_over(self, owned: Owned[StageT], needed: int, start: int) -> None:
        """Go on behind records that retention has taken, if that is allowed. Raises RetentionGapError."""
        if self._stop_on_retention_gap:
            raise gap_error(owned.place, needed, start)
        self.retention_gaps += 1
        log.error("%s; going on without them", gap_line(owned.place, needed, start))

    def take(self, restored: Mapping[int, Owned[StageT]]) -> None:
        """Own these from now on, and nothing else."""
        self.drop_all()
        self.owned.update(restored)

    def drop_all(self) -> None:
        """Forget every partition, so that nothing of it is exported any more."""
        for owned in self.owned.values():
            self.holes += owned.holes.holes
            self.gaps += owned.holes.gaps
        self.owned.clear()

    async def close(self) -> None:
        """Hear that the process ends; nothing to do unless a stage says otherwise."""

    def hole_counts(self) -> tuple[int, int]:
        """Return holes and gaps since the process began."""
        checks = [owned.holes for owned in self.owned.values()]
        return self.holes + sum(c.holes for c in checks), self.gaps + sum(c.gaps for c in checks)


def _seal(encoded: Encoded) -> tuple[bytes, float]:
    """Return the sealed state, and how long it took."""
    began_s = monotonic_s()
    data = encoded.seal()
    return data, monotonic_s() - began_s
