"""What the shells of both stages have in common: batches in, publications and checkpoints out.

Faults end the process and are never skipped: every coroutine here raises, and the engine's ``guard`` ends
what raised.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple

from faust.types import TP

from stream.clock import monotonic_s, wall_ms
from stream.core.checkpoint import CheckpointError
from stream.engine.checkpoints import CheckpointTable
from stream.engine.dead_letters import Send
from stream.engine.holes import Verdict
from stream.engine.owned import Owned, StageT, all_confirmed
from stream.engine.tp import Place

log = logging.getLogger("callgauge")

FOLD_RECORDS_MAX: Final = 2_000  # at a time, about 10 ms: then heartbeats and HTTP get their turn


class Outgoing(NamedTuple):
    """A record to publish."""

    topic: str
    key: bytes
    value: bytes
    partition: int | None


class UnreadableStateError(Exception):
    """A checkpoint exists and cannot be used."""


class Shell(ABC, Generic[StageT]):
    """One stage: its owned partitions and everything that happens to them."""

    def __init__(self, topic: str, table: CheckpointTable, send: Send) -> None:
        self.topic = topic
        self.owned: dict[int, Owned[StageT]] = {}
        self.holes = 0  # of partitions that have been given away since
        self.gaps = 0
        self._table = table
        self._send = send

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

    def saved(self, owned: Owned[StageT]) -> None:
        """Hear that a checkpoint was confirmed; nothing to do unless a stage says otherwise."""

    # --- batches in -----------------------------------------------------------------------------------------

    async def on_batch(
        self, event: Any, seek: Callable[[Mapping[TP, int]], Awaitable[dict[TP, int]]]
    ) -> None:
        """Fold one batch, or read again what is missing before it."""
        batch, tp = event.value, event.message.tp
        owned = self.owned.get(tp.partition)
        if owned is None or not batch.records:
            return  # given away while the batch was on its way
        first = batch.records[0].offset
        verdict = owned.holes.judge(first, owned.stage.applied_offset, batch.epoch)
        if verdict is Verdict.FOLD:
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
            epochs = await seek({tp: owned.stage.applied_offset + 1})
            owned.holes.rewound(epochs[tp])

    async def _fold_in_parts(self, owned: Owned[StageT], records: Sequence[Any]) -> None:
        for start in range(0, len(records), FOLD_RECORDS_MAX):
            self.fold(owned, records[start : start + FOLD_RECORDS_MAX])
            if owned.deliveries:
                await all_confirmed(list(owned.deliveries))
            await asyncio.sleep(0)

    # --- publications and checkpoints out -------------------------------------------------------------------

    async def publish(self, owned: Owned[StageT]) -> None:
        """Publish what is new and wait for the deliveries, unless the previous ones are under way."""
        if owned.lock.locked():
            return
        async with owned.lock:
            await self._deliver(self.outgoing(owned))
            owned.published += 1

    async def checkpoint(self, owned: Owned[StageT]) -> None:
        """Save the state, then acknowledge what it covers.

        What is in the state has been published before it is saved, and both are confirmed before anything is
        acknowledged. Taking the publications and the state is one step without an await: no record comes in
        between.
        """
        async with owned.lock:
            applied_offset = owned.stage.applied_offset
            if applied_offset == owned.saved_offset and not owned.deliveries:
                owned.checkpoint_at_ms = wall_ms()  # the same state again would be as good
                return
            records, deliveries, event = self.outgoing(owned), list(owned.deliveries), owned.newest_event
            began_s = monotonic_s()
            data = owned.stage.dump()
            owned.dump_s = monotonic_s() - began_s
            self.about_to_save(owned)
            await self._deliver(records)
            await all_confirmed(deliveries)
            await self._table.save(owned.place.partition, data, self._send)
            owned.saved_offset = applied_offset
            owned.checkpoint_at_ms = wall_ms()
            self.saved(owned)
            if event is not None:
                event.ack()
                if owned.newest_event is event:
                    owned.newest_event = None

    def about_to_save(self, owned: Owned[StageT]) -> None:
        """Note what belongs to the state just dumped; nothing unless a stage says otherwise."""

    async def _deliver(self, records: Sequence[Outgoing]) -> None:
        pending = [await self._send(*record) for record in records]
        await all_confirmed(pending)

    # --- coming and going of partitions ---------------------------------------------------------------------

    def restore(self, partition: int, end_offset: int) -> Owned[StageT]:
        """Make the state of a partition from its checkpoint, or begin at the beginning."""
        data = self._table.newest(partition)
        place = Place(self.topic, partition)
        if data is None:
            return Owned(place, self.fresh(partition), end_offset)
        try:
            stage = self.load(data, partition)
        except CheckpointError as error:
            raise UnreadableStateError(
                f"{self._table.topic}[{partition}]: {error}; to count {place} again from the "
                f"beginning of its log, delete the topic {self._table.topic}"
            ) from error
        return Owned(place, stage, end_offset, saved_offset=stage.applied_offset)

    def drop_all(self) -> None:
        """Forget every partition, so that nothing of it is exported any more."""
        for owned in self.owned.values():
            self.holes += owned.holes.holes
            self.gaps += owned.holes.gaps
        self.owned.clear()

    def hole_counts(self) -> tuple[int, int]:
        """Return holes and gaps since the process began."""
        checks = [owned.holes for owned in self.owned.values()]
        return self.holes + sum(c.holes for c in checks), self.gaps + sum(c.gaps for c in checks)
