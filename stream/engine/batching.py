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
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

import faust
from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaError
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from stream.access.raw_records import hand_over_raw
from stream.clock import monotonic_s
from stream.engine.last_resort import unheard
from stream.engine.membership import FENCED_INSTANCE, NO_ERROR, UNKNOWN_MEMBER, Membership
from stream.engine.restore import LogBounds

log = logging.getLogger("callgauge")
T = TypeVar("T")
SCHEME: Final = "callgauge"
FETCH_WAIT_MS: Final = 200  # Faust fixes 1500: the first event after a restore came up to 1.85 s late
IDLE_WAIT_S: Final = 0.05  # while every partition is paused; Faust sleeps a whole second there
UUID_CHARACTERS: Final = 36
ENDS_WAIT_S: Final = 10.0  # for the broker to say where logs end
ASK_AGAIN_S: Final = 0.1  # before the group is joined again for topics that were not known


class PartEndedError(Exception):
    """A part that must go on for ever has ended without an error."""


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
        self._looked = False  # for a predecessor; later it would find this worker itself
        self._unknown: list[str] = []  # topics that were not known when partitions were to be assigned
        settings = self.consumer.app.engine.settings
        self.membership = Membership(
            static=settings.instance_id is not None,
            session_timeout_s=settings.session_timeout_s,
            last_contact_s=monotonic_s(),
        )

    def _create_consumer(self, loop: Any) -> Any:
        consumer = super()._create_consumer(loop)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - no setting reaches it
        return consumer

    async def on_start(self) -> None:
        """Thread: connect, then listen to what the group answers."""
        engine = self.consumer.app.engine
        self.thread_loop.set_exception_handler(unheard(self.parent_loop, engine.fail))
        await super().on_start()
        hand_over_raw(self._consumer, self.consumer.batched_topics)
        coordinator = self._consumer._coordinator  # noqa: SLF001
        coordinator._send_req = self._listening(coordinator._send_req)  # noqa: SLF001

    def _listening(self, send: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        """Return the coordinator's way of sending, with ears."""

        async def send_and_hear(request: Any) -> Any:
            if isinstance(request, JoinGroupRequest):
                await self._before_joining(send)
            elif isinstance(request, SyncGroupRequest) and request._group_assignment:  # noqa: SLF001 - the leader's
                await self._before_assigning()
            sent_s = monotonic_s()
            response = await send(request)
            if getattr(response, "error_code", NO_ERROR) == FENCED_INSTANCE:
                # To aiokafka that is an unknown error, at which it stops for ever. It means the same.
                response.error_code = UNKNOWN_MEMBER
            self._hear(request, response, sent_s)
            return response

        return send_and_hear

    async def _before_joining(self, send: Callable[[Any], Awaitable[Any]]) -> None:
        """Stay out once this worker has to go: joining again on its way out it would throw out the one that stays."""
        if self.membership.must_go:
            raise KafkaConnectionError("this worker came later than another one with its instance id")
        if not self._looked:
            await self._look_for_a_predecessor(send)
            self._looked = True

    async def _look_for_a_predecessor(self, send: Callable[[Any], Awaitable[Any]]) -> None:
        """See whether the group has a member with our instance id: one that has ended, or one that runs.

        Nothing says which of the two. A running one will take its place back, and then this tells who came later.
        """
        settings = self.consumer.app.engine.settings
        if self.membership.static:
            response = await send(DescribeGroupsRequest([settings.app_id]))
            members = [member[0] for group in response.groups for member in group[-1]]
            self.membership.took_place |= any(_is_of(settings.instance_id, member) for member in members)

    async def _before_assigning(self) -> None:
        """Do not hand out what is known of in part: join again instead, once the broker has told of every topic.

        The leader of the group assigns the partitions that its client knows. A client that lost its connection while it
        asked for the topics of the group knows some of them, or none; it asks again after five minutes, and until then
        nobody would read the rest.
        """
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001
        known: Mapping[str, int] = coordinator._get_metadata_snapshot()  # noqa: SLF001
        unknown = sorted(topic for topic, partitions in known.items() if not partitions)
        if unknown and unknown != self._unknown:
            log.warning("joining the group until the broker has told of %s", ", ".join(unknown))
        self._unknown = unknown
        if unknown:
            await coordinator._client.force_metadata_update()  # noqa: SLF001
            await asyncio.sleep(ASK_AGAIN_S)
            raise KafkaConnectionError("topics of the group are not known yet")

    def _hear(self, request: Any, response: Any, sent_s: float) -> None:
        if isinstance(request, OffsetCommitRequest):
            codes = [code for _, partitions in response.topics for _, code in partitions]
            self.membership.answered(codes, sent_s, monotonic_s())
        elif isinstance(request, SyncGroupRequest) and response.error_code == NO_ERROR:
            self.membership.joined(sent_s)
        elif isinstance(request, HeartbeatRequest):
            self.membership.answered([response.error_code], sent_s, monotonic_s())
        elif getattr(response, "error_code", NO_ERROR) == UNKNOWN_MEMBER:
            self.membership.forgotten(monotonic_s())

    async def in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        """Run in the thread's loop, past the queue of calls: a call that hangs there must not keep this one waiting."""
        if self.thread_loop.is_closed():
            work.close()
            raise PartEndedError("the thread that reads Kafka has ended")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))

    async def ends(self, tps: Sequence[TP]) -> dict[TP, int]:
        """Thread: ask the broker for the ends of logs."""
        asked = [driver.ensure_aiokafka_TP(tp) for tp in tps]
        ends = await self._ensure_consumer().end_offsets(asked)
        return {TP(tp.topic, tp.partition): end for tp, end in ends.items()}

    async def on_thread_stop(self) -> None:
        """Thread: disconnect. Without Kafka the client's own end fails, and that must not look like a bug."""
        try:
            await super().on_thread_stop()
        except (asyncio.CancelledError, KafkaError) as error:
            self.log.warning("the consumer did not end well: %s", type(error).__name__)

    def close(self) -> None:
        """Do nothing: ``on_thread_stop`` disconnects, in the right order.

        Faust calls this when a rebalance meets a stop, and the original closes the client beside that stop, from
        the app's loop. A coordinator that then asks for metadata waits for ever, and the stop for it.
        """

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

    async def committed(self, tps: Sequence[TP]) -> dict[TP, int | None]:
        """Return what the group has committed."""
        found: dict[TP, int | None] = await self.call_thread(self._committed, tps)
        return found

    async def _committed(self, tps: Sequence[TP]) -> dict[TP, int | None]:
        """Thread: ask for all in one request, for which the client has no method of its own."""
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001
        found = await coordinator.fetch_committed_offsets([driver.ensure_aiokafka_TP(tp) for tp in tps])
        offsets = {TP(tp.topic, tp.partition): commit.offset for tp, commit in found.items()}
        return {tp: offset if (offset := offsets.get(tp, -1)) >= 0 else None for tp in tps}

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


def _is_of(instance_id: str, member_id: str) -> bool:
    """Say whether the broker made a member id for an instance id: it appends a UUID."""
    return (
        member_id.startswith(f"{instance_id}-") and len(member_id) == len(instance_id) + 1 + UUID_CHARACTERS
    )


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
        """Cells first: they are few, and what they say is what people look at. Then what is oldest.

        Faust stops reading a partition whose batch finds the agent's queue full, and that is the last ones. In an order
        of numbers it would always be the same ones: in a backlog they fall behind, and cells of all that lies between
        the first and the last are held.
        """
        return sorted(
            fetched.items(),
            key=lambda item: (item[0].topic != self.app.engine.cells_topic, _first_time(item[1]), item[0]),
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
        """Where Faust's recovery of a changelog begins: at its end, since the checkpoints are read by us."""
        return {tp: end or 0 for tp, end in (await self.highwaters(*partitions)).items()}

    async def start_of(self, tp: TP) -> int:
        """Return the first offset that a log still has."""
        starts = await super().earliest_offsets(tp)
        return int(starts.get(tp) or 0)

    async def bounds(self, tps: Sequence[TP]) -> dict[TP, LogBounds]:
        """Return where logs begin and end, and what the group has committed."""
        if not tps:
            return {}
        starts, ends = await super().earliest_offsets(*tps), await self.highwaters(*tps)
        committed = await self._thread.committed(tps)
        return {tp: LogBounds(starts.get(tp) or 0, ends.get(tp) or 0, committed[tp]) for tp in tps}

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
    def membership(self) -> Membership:
        """This worker's place in the group."""
        return self._thread.membership

    async def answers(self) -> None:
        """Return as soon as the fetching thread has had a turn."""
        await self._thread.in_thread(asyncio.sleep(0))

    async def ends(self, tps: Sequence[TP]) -> dict[TP, int]:
        """Return where logs end, as the broker says; of those only that Kafka speaks of within a while."""
        try:
            return await asyncio.wait_for(self._thread.in_thread(self._thread.ends(tps)), ENDS_WAIT_S)
        except (KafkaError, TimeoutError):
            return {}

    def what_ended(self) -> BaseException | None:
        """Return what ended a part of the client that must go on for ever: nobody else would say so.

        Without its coordination the client neither joins nor leaves nor reads any more; an error of it that is
        pending waits for somebody to ask, and nobody does.
        """
        client = self._thread._consumer  # noqa: SLF001
        if client is None:
            return None
        coordinator, fetcher = client._coordinator, client._fetcher  # noqa: SLF001
        pending: BaseException | None = getattr(coordinator, "_pending_exception", None)
        return (
            pending
            or error_of(
                "the client's task that coordinates", getattr(coordinator, "_coordination_task", None)
            )
            or error_of("the client's task that fetches", getattr(fetcher, "_fetch_task", None))
        )

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


def what_ended(app: Any) -> BaseException | None:
    """Return what ended an agent or the producer's sender, which would only say so to whoever waits for a delivery."""
    actors = {
        f"the agent {name}": actor.actor_task
        for name, agent in app.agents.items()
        for actor in agent._actors  # noqa: SLF001
    }
    producer = getattr(getattr(app, "_producer", None), "_producer", None)
    sender = getattr(getattr(producer, "_sender", None), "_sender_task", None)
    parts = {**actors, "the client's task that sends to Kafka": sender}
    return next(filter(None, (error_of(what, task) for what, task in parts.items())), None)


def error_of(what: str, task: Any) -> BaseException | None:
    """Return what ended a task that should never end; None as long as it runs."""
    if task is None or not task.done():
        return None
    error: BaseException | None = None if task.cancelled() else task.exception()
    return error or PartEndedError(f"{what} has ended")


def _first_offset(records: Batch | Sequence[Any]) -> int:
    return int(_first(records).offset)


def _first_time(records: Batch | Sequence[Any]) -> int:
    return int(_first(records).timestamp or 0)


def _first(records: Batch | Sequence[Any]) -> Any:
    plain: Sequence[Any] = records.records if isinstance(records, Batch) else records
    return plain[0]


class Transport(driver.Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer: ClassVar[type[Any]] = Consumer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
