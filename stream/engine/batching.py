"""The batch transport: one Faust event for each fetched batch of a partition.

Theory of operation. Faust's own path costs about 100 us for every event, our work 3 us. So for the topics in
``batched_topics`` this consumer hands over whole fetches: one message whose offset is that of the last record
and whose value is a ``Batch``. All other topics (the tables' changelogs) stay per record, or recovery would
not understand them.

What the original does with offsets is replaced for the batched topics, because **the restored state is the
position**:
- a batch is read again from ``applied + 1`` after every assignment (``perform_seek``), whatever was
  committed;
- records at or below the applied offset are skipped by the state, so Faust's own guard against re-reading is
  off;
- a commit is the last acknowledged offset + 1; gaps inside a batch do not matter, since only what a confirmed
  checkpoint covers is acknowledged.

Two dangers of the original are closed here. Seeking from the main thread edits aiokafka's fetcher while the
fetcher's own thread reads it, which kills the fetcher; every seek here runs in that thread. And records that
were fetched but may not be delivered (flow stopped, another generation, partition paused) were dropped with
the position already behind them, which left holes; here the position goes back to the first of them, unless
somebody has moved it since.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

import faust
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from stream.clock import monotonic_s
from stream.engine.raw_records import hand_over_raw

SCHEME: Final = "callgauge"
FETCH_WAIT_MS: Final = 200  # Faust fixes 1500: the first event after a restore came up to 1.85 s late
IDLE_WAIT_S: Final = 0.05  # while every partition is paused; Faust sleeps a whole second there
TAIL_RECORDS: Final = (
    4  # of a checkpoint topic, read at a restore: the last is the state, the others are spare
)


class Batch(NamedTuple):
    """The records of one fetch of one partition, and after how many seeks they were fetched."""

    records: list[Any]
    epoch: int


class RawSchema(faust.Schema[Any, Any]):
    """Hands keys and values over as they are; a batch is a list, not bytes."""

    def loads_key(self, app: Any, message: Message, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ARG002
        """Return the key untouched."""
        return message.key

    def loads_value(self, app: Any, message: Message, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ARG002
        """Return the value untouched."""
        return message.value


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer.

    Methods marked "thread" run there, the others on the main loop.
    """

    consumer: Any
    _consumer: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self.epochs: dict[TP, int] = {}
        self.positions_after: dict[TP, int] = {}
        self.last_contact_s = monotonic_s()
        self.unknown_member_count = 0

    def _create_consumer(self, loop: Any) -> Any:
        consumer = super()._create_consumer(loop)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - no setting reaches it
        return consumer

    async def on_start(self) -> None:
        """Thread: connect, then listen to the heartbeats."""
        await super().on_start()
        hand_over_raw(self._consumer, self.consumer.batched_topics)
        coordinator = self._consumer._coordinator  # noqa: SLF001
        beat, reset = coordinator._do_heartbeat, coordinator.reset_generation  # noqa: SLF001

        async def heartbeat() -> bool:
            answered = await beat()
            if answered:
                self.last_contact_s = monotonic_s()
            return bool(answered)

        def reset_generation() -> None:
            self.unknown_member_count += 1
            reset()

        coordinator._do_heartbeat = heartbeat  # noqa: SLF001
        coordinator.reset_generation = reset_generation

    async def on_thread_stop(self) -> None:
        """Thread: disconnect. Without Kafka the client's own end fails, and that must not look like a bug."""
        try:
            await super().on_thread_stop()
        except (asyncio.CancelledError, KafkaError) as error:
            self.log.warning("the consumer did not end well: %s", type(error).__name__)

    def on_crash(self, msg: str, *fmt: Any, **_: Any) -> None:
        """Say it in one line; the original prints a traceback besides all logging."""
        self.log.error(msg.format(*fmt))

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, Any]:  # noqa: ASYNC109
        """Fetch for a copy of the set: Faust edits the original while the thread reads it."""
        copied = set(active_partitions or ())
        if not copied:
            return {}  # to aiokafka an empty set means every partition
        records: Mapping[TP, Any] = await super().getmany(copied, timeout)
        return records

    async def _fetch_records(self, consumer: Any, *args: Any, **options: Any) -> Mapping[TP, Any]:
        """Thread: fetch, and note how each batch was fetched while no seek can come in between."""
        fetched = await super()._fetch_records(consumer, *args, **options)
        batched = self.consumer.batched_topics
        result: dict[TP, Any] = {}
        for tp, records in fetched.items():
            state = _state_of(consumer, tp)
            self.positions_after[tp] = state.position if state is not None else -1
            epoch = self.epochs.get(tp, 0)
            result[tp] = Batch(records, epoch) if tp.topic in batched else records
        return result

    async def seek_all(self, positions: Mapping[TP, int]) -> dict[TP, int]:
        """Seek, in the consumer's thread; return the epochs that hold from now on."""
        epochs: dict[TP, int] = await self.call_thread(self._seek_all, positions)
        return epochs

    async def _seek_all(self, positions: Mapping[TP, int]) -> dict[TP, int]:
        """Thread: partitions that are no longer assigned are left out."""
        consumer = self._ensure_consumer()
        for tp, offset in positions.items():
            self.epochs[tp] = self.epochs.get(tp, 0) + 1
            if _state_of(consumer, tp) is not None:
                consumer.seek(driver.ensure_aiokafka_TP(tp), offset)
        return {tp: self.epochs[tp] for tp in positions}

    async def put_back(self, firsts: Mapping[TP, int]) -> None:
        """Read again what was fetched and could not be delivered."""
        await self.call_thread(self._put_back, firsts)

    async def _put_back(self, firsts: Mapping[TP, int]) -> None:
        """Thread: go back only where nobody has moved the position since the fetch."""
        consumer = self._ensure_consumer()
        for tp, first in firsts.items():
            state = _state_of(consumer, tp)
            if (
                state is not None
                and state.has_valid_position
                and state.position == self.positions_after.get(tp)
            ):
                consumer.seek(driver.ensure_aiokafka_TP(tp), first)


def _state_of(consumer: Any, tp: TP) -> Any:
    """Return aiokafka's state of an assigned partition; None when it is not assigned."""
    subscription = consumer._subscription.subscription  # noqa: SLF001
    assignment = subscription.assignment if subscription is not None else None
    if assignment is None or driver.ensure_aiokafka_TP(tp) not in assignment.tps:
        return None
    return assignment.state_value(driver.ensure_aiokafka_TP(tp))


class _ReadOffsets(defaultdict[TP, int | None]):
    """Faust's guard against reading twice, blind for the batched topics: the state does that, exactly."""

    def __init__(self, batched_topics: frozenset[str]) -> None:
        super().__init__(lambda: None)
        self._batched_topics = batched_topics

    def __getitem__(self, tp: TP) -> int | None:
        return None if tp.topic in self._batched_topics else super().__getitem__(tp)


class Consumer(driver.Consumer):
    """Faust's consumer, with batches for the topics in the engine's set."""

    app: Any
    _thread: ConsumerThread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.batched_topics: frozenset[str] = self.app.engine.batched_topics
        self._read_offset = _ReadOffsets(self.batched_topics)
        self.handed_out: dict[TP, int] = {}  # offset of the last record given to an agent

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # --- reading --------------------------------------------------------------------------------------------

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109
        """Fetch once, and hand over what may be delivered: the original's checks, but a batch at a time."""
        fetched, active = await self._wait_next_records(timeout)
        if not fetched or self.should_stop:
            return
        generation = self.app.consumer_generation_id
        for tp, records in self._one_by_one(fetched):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                break
            if active is None or tp in active or tp in self._buffered_partitions:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                if isinstance(records, Batch):
                    del fetched[tp]
                    yield tp, self._to_batch_message(tp, records)
                else:
                    async for message in self._deliver_each(tp, fetched, generation):
                        yield tp, message
        if fetched:
            await self._thread.put_back({tp: _first_offset(records) for tp, records in fetched.items()})

    def _one_by_one(self, fetched: dict[TP, Any]) -> Iterable[tuple[TP, Any]]:
        """Cells first: they are few, and what they say is what people look at."""
        return sorted(
            fetched.items(), key=lambda item: (item[0].topic != self.app.engine.cells_topic, item[0])
        )

    async def _deliver_each(self, tp: TP, fetched: dict[TP, Any], generation: int) -> AsyncIterator[Message]:
        records = fetched[tp]
        for index, record in enumerate(records):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                fetched[tp] = records[index:]
                return
            yield self._to_message(tp, record)
        del fetched[tp]

    async def _wait_next_records(self, timeout: float) -> tuple[dict[TP, Any], set[TP] | None]:  # noqa: ASYNC109
        if not self.flow_active:
            await self.wait_for_stopped(self.can_resume_flow.wait())
        active = self._get_active_partitions()
        if not active:
            await self.sleep(IDLE_WAIT_S)
            return {}, active
        return dict(await self._getmany(active_partitions=active, timeout=timeout)), active

    def _to_batch_message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        last = batch.records[-1]
        self.handed_out[tp] = last.offset
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            batch,  # type: ignore[arg-type]  # the schema hands it over untouched
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # --- positions ------------------------------------------------------------------------------------------

    async def perform_seek(self) -> None:
        """Read on where the restored states end, whatever was committed."""
        await super().perform_seek()
        await self.app.engine.seek_to_states()

    async def seek_all(self, positions: Mapping[TP, int]) -> dict[TP, int]:
        """Seek through the consumer's own thread; return the epochs from which batches count."""
        epochs = await self._thread.seek_all(positions)
        for tp in positions:
            self.handed_out.pop(tp, None)
        return epochs

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Where the recovery of a changelog begins: close to its end, since one record is the whole state.

        Compaction leaves the segment in use alone, so reading from the start could mean hours of old
        checkpoints.
        """
        earliest = await super().earliest_offsets(*partitions)
        ends = await self.highwaters(*partitions)
        return {tp: max(first or 0, (ends.get(tp) or 0) - TAIL_RECORDS) for tp, first in earliest.items()}

    def end_offset(self, tp: TP) -> int | None:
        """Return the end of a partition's log as of the last fetch; None when not fetched or assigned."""
        try:
            end: int | None = self.highwater(tp)
        except (AssertionError, KeyError, IllegalStateError):
            return None
        return end

    def fetch_position(self, tp: TP) -> int | None:
        """Return where the next fetch begins; None when nobody knows."""
        consumer = self._thread._consumer  # noqa: SLF001
        state = _state_of(consumer, tp) if consumer is not None else None
        return state.position if state is not None and state.has_valid_position else None

    @property
    def last_contact_s(self) -> float:
        """When the group last answered a heartbeat (monotonic)."""
        return self._thread.last_contact_s

    @property
    def coordination_error(self) -> BaseException | None:
        """What ended the client's part in the group: it would neither join nor leave nor read any more."""
        consumer = self._thread._consumer  # noqa: SLF001
        task = getattr(getattr(consumer, "_coordinator", None), "_coordination_task", None)
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    def touch(self) -> None:
        """Count an assignment as contact with the group."""
        self._thread.last_contact_s = monotonic_s()

    @property
    def unknown_member_count(self) -> int:
        """How often the group did not know this member: each time it had to join anew."""
        return self._thread.unknown_member_count

    # --- commits --------------------------------------------------------------------------------------------

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset to commit. Batches: the largest acknowledged + 1, which a checkpoint covers."""
        if tp.topic not in self.batched_topics:
            offset: int | None = super()._new_offset(tp)
            return offset
        acked = self._acked[tp]
        if not acked:
            return None
        newest = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return int(newest) + 1


def _first_offset(records: Batch | Sequence[Any]) -> int:
    plain: Sequence[Any] = records.records if isinstance(records, Batch) else records
    return int(plain[0].offset)


class Transport(driver.Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer: ClassVar[type[Any]] = Consumer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
