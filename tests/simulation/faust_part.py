"""Faust's part of one simulated worker: what the engine calls and is called by, and nothing of its own.

The order of things at a rebalance is that of faust.md and of Faust 0.15.3: handlers of "revoked", join, queues cleared,
"rebalance complete", recovery of the tables, their callbacks, ``perform_seek``, flow.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.errors import ProducerFenced
from faust.types import TP

from stream.engine.batching import Batch, Consumer
from stream.engine.checkpoints import Tail
from stream.engine.membership import NO_ERROR, Membership
from stream.engine.owned import all_confirmed
from stream.engine.restore import LogBounds
from stream.engine.shell import Outgoing, TakenOverError
from tests.simulation.loop import KilledError
from tests.simulation.topics import Log, Record, Right, Sending

if TYPE_CHECKING:
    from tests.simulation.world import Process

BATCHES_BUFFERED = 16
HEARTBEAT_INTERVAL_S = 0.25
COMMIT_INTERVAL_S = 0.4


class Signal:
    """One of Faust's signals."""

    def __init__(self) -> None:
        self._receivers: list[Any] = []

    def connect(self, receiver: Any, **_: Any) -> None:
        """Call the receiver whenever it is sent."""
        self._receivers.append(receiver)

    async def send(self) -> None:
        """Call everybody."""
        for receiver in self._receivers:
            await receiver()


class Table:
    """A table that stays empty: it says when to restore."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def on_recover(self, callback: Any) -> Any:
        """Call back after each recovery."""
        self.callbacks.append(callback)
        return callback


class Tables:
    """All tables of an app, and the partitions of their changelogs that are owned."""

    def __init__(self) -> None:
        self.by_changelog: dict[str, Table] = {}
        self.active_tps: set[TP] = set()


class App:
    """What the engine sees of Faust."""

    def __init__(self, process: "Process", engine: Any) -> None:
        self.engine = engine
        self.conf = SimpleNamespace(id=engine.settings.app_id)
        self.rebalancing = True
        self.crashed = False
        self.crash_reason: BaseException | None = None
        self.consumer_generation_id = 0
        self.tables = Tables()
        self.producer = Producer(process)
        self.consumer = SimulatedConsumer(process, self, engine.batched_topics)
        self.agents: dict[str, Any] = {}  # with what the engine looks at: the task of each, and how it ended
        self.readers: list[tuple[str, Any]] = []
        self.background: list[Any] = []
        self.on_partitions_revoked = Signal()
        self.on_rebalance_complete = Signal()
        self.on_before_shutdown = Signal()

    def topic(self, name: str, **_: Any) -> str:
        """Name a topic."""
        return name

    def agent(self, topic: str, **_: Any) -> Any:
        """Let a function read a topic."""
        return lambda function: self.readers.append((topic, function))

    def task(self, function: Any) -> Any:
        """Run a function besides."""
        self.background.append(function)
        return function

    def Table(self, name: str, **_: Any) -> Table:  # noqa: N802 - Faust's name
        """Make a table."""
        table = Table()
        self.tables.by_changelog[f"{self.conf.id}-{name}-changelog"] = table
        return table


def tail_reader(process: "Process") -> Any:
    """Return what reads the ends of checkpoint topics."""

    async def read_tails(topic: str, wanted: dict[int, int]) -> dict[int, Tail]:
        await asyncio.sleep(process.world.random.uniform(0, 0.05))
        tails = {}
        for partition, count in wanted.items():
            log = process.world.broker.logs[topic][partition]
            records = log.read(max(0, log.end - count), count)
            tails[partition] = Tail([(record.key, record.value) for record in records], count >= log.end)
        process.world.passes(process, "recovery: checkpoints read")
        return tails

    return read_tails


class Producer:
    """Hands records to the broker."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    async def send(
        self, topic: str, key: Any, value: Any, partition: int | None, _: Any, headers: Any
    ) -> "asyncio.Future[Any]":
        """Send; the result ends with the delivery."""
        return await send(self._process, topic, key, value, partition, headers)


async def send(
    process: "Process",
    topic: str,
    key: Any,
    value: Any,
    partition: int | None,
    headers: Any = (),
    right: Right | None = None,
) -> "asyncio.Future[Any]":
    """Hand a record to the broker; the result ends with its delivery."""
    world, step = process.world, process.world.step_of(topic)
    world.passes(process, f"{step}: before it is sent")
    if world.happens(world.weather.slow_send, "producer's buffer full"):
        await asyncio.sleep(world.random.uniform(0.01, 1.0))
        world.passes(process, f"{step}: before it is sent")
    if partition is None:
        partition = world.broker.partition_of(topic, key)
    future = process.loop.create_future()
    world.broker.produce(
        Sending(process, topic, partition, key, value, headers, future, step, world.now_s, right)
    )
    world.passes(process, f"{step}: sent")
    return future


def writer_of(process: "Process") -> Callable[[int], "IntervalWriter"]:
    """Return what makes the writer of a shard."""
    return lambda shard: IntervalWriter(process, f"intervals of {shard}")


class IntervalWriter:
    """Writes in a transaction: whoever opens last may write, and nobody else."""

    def __init__(self, process: "Process", name: str) -> None:
        self._process, self._name = process, name
        self._right = process.loop.create_future()  # None: closed before it was open
        self._closed = False

    async def open(self) -> None:
        """Take the right over, some time after asking for it."""
        await asyncio.sleep(self._process.world.random.uniform(0.0, 0.1))
        if not self._right.done():
            self._right.set_result(self._process.world.broker.next_right(self._name))

    async def write(self, records: list[Outgoing]) -> None:
        """Write rows, and end the transaction."""
        if not records:
            return
        process, world = self._process, self._process.world
        right = await self._right
        if self._closed or right is None:
            raise TakenOverError(f"{self._name}: given away")
        try:
            await all_confirmed(
                [
                    await send(process, record.topic, record.key, record.value, record.partition, right=right)
                    for record in records
                ]
            )
            await asyncio.sleep(world.random.uniform(0.001, 0.02))
            ended = world.broker.holds(right)
        except ProducerFenced:
            ended = False
        if not ended:
            raise TakenOverError(f"{self._name}: taken over")

    async def close(self) -> None:
        """Write nothing more."""
        self._closed = True
        if not self._right.done():
            self._right.set_result(None)


class Event:
    """One batch, as an agent gets it."""

    def __init__(self, consumer: "SimulatedConsumer", tp: TP, batch: Batch) -> None:
        self.value = batch
        self.message = SimpleNamespace(tp=tp, offset=batch.records[-1].offset)
        self._consumer = consumer

    def ack(self) -> None:
        """Let its offset be committed."""
        self._consumer._acked[self.message.tp].append(self.message.offset)


class Stream:
    """The batches of one topic."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self.events_waiting: deque[Event] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._handed_over = False

    def noack(self) -> "Stream":
        """Return itself: nothing is acknowledged by reading on."""
        return self

    def events(self) -> "Stream":
        """Return itself."""
        return self

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Event:
        process = self._process
        if self._handed_over:
            process.world.passes(process, "batch: folded")
        while not self.events_waiting:
            self._arrived = process.loop.create_future()
            await self._arrived
        self._handed_over = True
        event = self.events_waiting.popleft()
        if process.world.happens(process.world.weather.slow_agent, "agent slow"):
            await asyncio.sleep(process.world.random.uniform(0.0, 0.6))
        process.world.passes(process, "batch: handed over")
        return event

    def put(self, event: Event) -> None:
        """Add a batch."""
        self.events_waiting.append(event)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


class DyingRecord:
    """A record at whose decoding the process dies."""

    def __init__(self, record: Record, process: "Process") -> None:
        self._record, self._process = record, process

    def __getattr__(self, name: str) -> Any:
        if name == "value" and self._process.alive:
            self._process.world.dies_in_the_fold(self._process)
        return getattr(self._record, name)


class SimulatedConsumer:
    """Faust's consumer with aiokafka behind it. What is committed is decided by the real one's code."""

    _new_offset = Consumer._new_offset

    def __init__(self, process: "Process", app: App, batched_topics: frozenset[str]) -> None:
        self._process, self._world, self._app = process, process.world, app
        self.batched_topics = batched_topics
        self._acked: dict[TP, list[int]] = defaultdict(list)
        self._acked_index: dict[TP, set[int]] = defaultdict(set)
        self._positions: dict[TP, int] = {}
        self._sought: set[TP] = set()  # positions not read from since they were set
        self._epochs: dict[TP, int] = {}
        self._ends: dict[TP, int] = {}
        self.flow_active = False
        self.streams: dict[str, Stream] = {}
        self.handed_out: dict[TP, int] = {}
        self.membership = Membership(
            static=False,
            session_timeout_s=app.engine.settings.session_timeout_s,
            last_contact_s=self._world.now_s,
        )

    # --- what the engine asks -------------------------------------------------------------------------------

    def assignment(self) -> set[TP]:
        """Return the partitions owned, those of the changelogs among them."""
        return set(self._positions) | self._app.tables.active_tps

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        """Return the ends of logs."""
        await asyncio.sleep(self._world.random.uniform(0, 0.02))
        return {tp: self._log(tp).end for tp in tps}

    async def bounds(self, tps: list[TP]) -> dict[TP, LogBounds]:
        """Return where logs begin and end: nothing is ever deleted from their beginning."""
        committed = self._world.group.committed
        return {tp: LogBounds(0, end, committed.get(tp)) for tp, end in (await self.highwaters(*tps)).items()}

    async def start_of(self, tp: TP) -> int:  # noqa: ARG002
        """Return the first offset."""
        return 0

    def end_offset(self, tp: TP) -> int | None:
        """Return the end of a log as of the last fetch."""
        return self._ends.get(tp)

    def fetch_position(self, tp: TP) -> int | None:
        """Return where the next fetch begins."""
        return self._positions.get(tp)

    async def answers(self) -> None:
        """Return as soon as the fetching thread has had a turn."""
        await asyncio.sleep(0)

    async def ends(self, tps: list[TP]) -> dict[TP, int]:
        """Ask where logs end."""
        return await self.highwaters(*tps)

    def what_ended(self) -> None:
        """Return what ended a part of the client: nothing does."""

    def stop_flow(self) -> None:
        """Deliver nothing."""
        self.flow_active = False

    async def seek_all(self, positions: dict[TP, int]) -> dict[TP, int]:
        """Set positions; return the epochs that hold from now on."""
        self._world.passes(self._process, "seek: before")
        await asyncio.sleep(self._world.random.uniform(0, 0.02))
        for tp, offset in positions.items():
            self._epochs[tp] = self._epochs.get(tp, 0) + 1
            if tp in self._positions:
                self._positions[tp] = offset
                self._sought.add(tp)
            self.handed_out.pop(tp, None)
        await asyncio.sleep(self._world.random.uniform(0, 0.02))
        self._world.passes(self._process, "seek: done")
        return {tp: self._epochs[tp] for tp in positions}

    async def commit(self) -> None:
        """Commit what was acknowledged."""
        world, process = self._world, self._process
        offsets = {}
        for tp in [tp for tp in sorted(self._acked) if tp in self._positions]:
            offset = self._new_offset(tp)
            if offset is not None:
                offsets[tp] = offset
        if not offsets:
            return
        world.passes(process, "commit: before")
        await asyncio.sleep(world.random.uniform(0.001, 0.05))
        if world.happens(world.weather.lost_commit, "commit lost"):
            return
        fenced = not world.happens(
            world.weather.unfenced_commit, "commit of a zombie let through", self._is_zombie()
        )
        sent_s = world.now_s
        if world.group.commit(process.number, self._app.consumer_generation_id, offsets, fenced=fenced):
            world.committed(offsets)
            self.membership.answered([NO_ERROR], sent_s, world.now_s)
        world.passes(process, "commit: done")

    def _is_zombie(self) -> bool:
        return self._app.consumer_generation_id != self._world.group.generation

    # --- reading --------------------------------------------------------------------------------------------

    def _log(self, tp: TP) -> Log:
        return self._world.broker.logs[tp.topic][tp.partition]

    def assign(self, tps: list[TP]) -> None:
        """Take over partitions: everything that was on its way to the agents is dropped."""
        self._positions = {tp: self._world.group.committed.get(tp, 0) for tp in tps}
        self._ends.clear()
        self.handed_out.clear()
        self._acked.clear()
        for stream in self.streams.values():
            if stream.events_waiting:
                self._world.note("batches dropped at a rebalance")
            stream.events_waiting.clear()

    async def fetch_for_ever(self) -> None:
        """Fetch, from whatever partition has something."""
        world = self._world
        while True:
            await asyncio.sleep(world.random.uniform(0.02, 0.2))
            tps = sorted(self._positions)
            world.random.shuffle(tps)
            for tp in tps:
                if self.flow_active and len(self.streams[tp.topic].events_waiting) < BATCHES_BUFFERED:
                    self._fetch(tp)

    def _fetch(self, tp: TP) -> None:
        world, weather, log = self._world, self._world.weather, self._log(tp)
        position = self._positions[tp]
        self._ends[tp] = log.end
        if (
            tp not in self._sought
            and position
            and world.happens(weather.redelivery, "records delivered again")
        ):
            position = max(0, position - world.random.randint(1, 30))
        records = log.read(position, world.random.choice((1, 3, 10, 40)))
        if not records:
            self._positions[tp] = log.end  # the markers at the end are passed
            return
        missing = position or log.read(0, 1)[0].offset
        if records[0].offset > missing:
            world.note("gap in a log read over")
        fresh = tp not in self._sought
        self._positions[tp] = records[-1].offset + 1
        self._sought.discard(tp)
        if fresh and world.happens(weather.hole, "batch skipped"):
            return
        self._deliver(tp, records)
        if world.happens(weather.repeated_batch, "batch delivered twice"):
            self._deliver(tp, records)

    def _deliver(self, tp: TP, records: list[Record]) -> None:
        world = self._world
        self.handed_out[tp] = records[-1].offset
        handed: list[Any] = list(records)
        if world.will_die_in_the_fold(self._process):
            index = world.random.randrange(len(handed))
            handed[index] = DyingRecord(handed[index], self._process)
        self.streams[tp.topic].put(Event(self, tp, Batch(handed, self._epochs.get(tp, 0))))


async def be_a_member(process: "Process", app: App) -> None:
    """Join, own partitions, send heartbeats, give them away, join again, for ever."""
    world, consumer = process.world, app.consumer
    started = False
    while True:
        app.rebalancing = True
        consumer.flow_active = False
        world.passes(process, "revoked: before the handlers")
        await app.on_partitions_revoked.send()
        world.passes(process, "revoked: all given away")
        generation, partitions = await world.group.join(process)
        if process.earlier and world.changed and partitions[1]:
            world.supersede(process)  # it cannot read what is said to shards now, and says so
            raise KilledError
        consumer.membership.joined(world.now_s)
        app.consumer_generation_id = generation
        await _recover(process, app, partitions)
        if app.consumer_generation_id == world.group.generation and not world.group.rebalancing:
            app.rebalancing = False
        consumer.flow_active = True
        if not started:
            started = True
            for function in app.background:
                process.spawn(function())
        while not await _must_join_again(process, app):
            pass


async def _recover(process: "Process", app: App, partitions: tuple[list[int], list[int]]) -> None:
    world, topics = process.world, app.engine.settings.topics
    changelogs = list(app.tables.by_changelog)
    app.consumer.assign(
        [
            TP(topic, number)
            for topic, numbers in zip((topics.events, topics.cells), partitions, strict=True)
            for number in numbers
        ]
    )
    await app.on_rebalance_complete.send()
    world.passes(process, "recovery: before")
    await asyncio.sleep(world.random.uniform(0, 0.05))
    app.tables.active_tps = {
        TP(topic, number) for topic, numbers in zip(changelogs, partitions, strict=True) for number in numbers
    }
    await asyncio.sleep(world.random.uniform(0, 0.05))
    for table in app.tables.by_changelog.values():
        for callback in table.callbacks:
            await callback()
    world.passes(process, "recovery: states made")
    await app.engine.seek_to_states()


async def _must_join_again(process: "Process", app: App) -> bool:
    """Send a heartbeat, and say whether the answer calls for that."""
    world, membership = process.world, app.consumer.membership
    await asyncio.sleep(HEARTBEAT_INTERVAL_S * world.random.uniform(0.8, 1.2))
    if world.happens(world.weather.lost_heartbeat, "heartbeat lost"):
        return False
    sent_s = world.now_s
    code = world.group.heartbeat(process.number, app.consumer_generation_id)
    await asyncio.sleep(world.random.uniform(0.0, 0.02))
    membership.answered([code], sent_s, world.now_s)
    return code != NO_ERROR


async def commit_for_ever(app: App) -> None:
    """Commit now and then."""
    while True:
        await asyncio.sleep(COMMIT_INTERVAL_S)
        if not app.rebalancing:
            await app.consumer.commit()
