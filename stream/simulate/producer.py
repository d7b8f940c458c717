"""Events to Kafka, at the pace of a clock that is handed in.

Events are packed into one batch per partition and posted when a batch is full, when the next event
is not due yet, and every second. That is several times faster than sending them one by one, and as
prompt: nothing waits in a batch while the program sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, KafkaError
from aiokafka.partitioner import DefaultPartitioner

from schemas import encode
from stream.simulate.emission import Emission
from stream.simulate.pace import Pace

# Calls whose partition is remembered: more than a large centre has at once.
_CALLS_REMEMBERED = 16_384
# Events between two turns for the other tasks (the Kafka client's own is one of them).
_TURN_LENGTH = 200
_PARTITIONER = DefaultPartitioner()
# The longest time before the answers are looked at.
_SETTLE_EVERY_MS = 1_000
# The shortest sleep: at a high speed, events of this much time share a batch.
_NAP_MS_MIN = 10.0
# The longest sleep before looking at `stop` again.
_NAP_MS_MAX = 200.0


class ProduceError(Exception):
    """Kafka did not take an event; one line that says why."""


class Progress(NamedTuple):
    """How far it is. `live` turns true when the past has been sent and acknowledged."""

    sent: int
    simulated_ms: int
    live: bool


class Batch(Protocol):
    """Records for one partition."""

    def append(self, *, timestamp: int, key: bytes, value: bytes) -> object | None:
        """Add a record, or return None: full."""


class Sender(Protocol):
    """The part of a Kafka producer that is used here."""

    async def partitions_for(self, topic: str) -> set[int]:
        """Return the partitions of a topic."""

    def create_batch(self) -> Batch:
        """Return an empty batch."""

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Awaitable[object]:
        """Hand over a batch; the result completes when it is acknowledged."""


@asynccontextmanager
async def _kafka_sender(bootstrap_servers: str, options: Mapping[str, Any]) -> AsyncIterator[Sender]:
    settings: dict[str, Any] = {
        "client_id": "callgauge-simulate",
        "acks": "all",
        "enable_idempotence": True,  # a retry neither doubles nor reorders
        "linger_ms": 0,  # batches come ready made
        "max_batch_size": 65_536,
        **options,
    }
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, **settings)
    try:
        await producer.start()
        yield producer
    except KafkaError as error:
        raise ProduceError(f"Kafka at {bootstrap_servers}: {_explained(error)}") from error
    finally:
        await producer.stop()


def _explained(error: KafkaError) -> str:
    text = str(error).strip() or type(error).__name__
    if isinstance(error, InvalidTimestampError):
        # From Kafka 4.0 on the default is an hour, which a fast run leaves behind soon.
        return f"{text}: the topic refuses times so far ahead; raise its message.timestamp.after.max.ms"
    return text


async def produce(
    emissions: Iterable[Emission],
    bootstrap_servers: str,
    topic: str,
    *,
    speed: float | None,
    now_ms: Callable[[], int],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    stop: asyncio.Event | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    client_options: Mapping[str, Any] | None = None,
) -> int:
    """Send events to a topic, keyed by call, and return how many were acknowledged.

    What is simulated for the past goes out at once; from the present on, simulated time runs
    `speed` times wall time (None: everything at once). The record timestamp is the simulated time
    of sending, so at a speed above 1 it runs ahead of the clock. Ends with the emissions or soon
    after `stop` is set; everything sent is acknowledged then. Raises `ProduceError`.
    """
    async with _kafka_sender(bootstrap_servers, client_options or {}) as sender:
        timetable = _Timetable(Pace(now_ms(), speed), now_ms, sleep, stop or asyncio.Event())
        partitions = await sender.partitions_for(topic)
        return await _paced(emissions, _Delivery(sender, topic, partitions, on_progress), timetable)


@dataclass(frozen=True, slots=True)
class _Timetable:
    """Waits for the moment at which something is due, or for the order to stop."""

    pace: Pace
    now_ms: Callable[[], int]
    sleep: Callable[[float], Awaitable[object]]
    stop: asyncio.Event

    def is_past(self, simulated_ms: int) -> bool:
        return self.pace.speed is None or simulated_ms <= self.pace.switch_at_ms

    def is_due(self, simulated_ms: int) -> bool:
        return self.pace.due_at_ms(simulated_ms) <= self.now_ms()

    async def wait_for(self, simulated_ms: int) -> None:
        due_at_ms = self.pace.due_at_ms(simulated_ms)
        while not self.stop.is_set() and (wait_ms := due_at_ms - self.now_ms()) > 0:
            await self.sleep(min(max(wait_ms, _NAP_MS_MIN), _NAP_MS_MAX) / 1000.0)


async def _paced(emissions: Iterable[Emission], delivery: _Delivery, timetable: _Timetable) -> int:
    for emission in emissions:
        if not timetable.is_past(emission.emit_at_ms):
            await delivery.go_live(emission.emit_at_ms)
            if not timetable.is_due(emission.emit_at_ms):
                await delivery.post()
                await timetable.wait_for(emission.emit_at_ms)
        if timetable.stop.is_set():
            break
        await delivery.add(emission)
        await delivery.settle_now_and_then(timetable.now_ms())
        if delivery.sent % _TURN_LENGTH == 0:
            await timetable.sleep(0)
    await delivery.settle()
    return delivery.sent


class _Delivery:
    """Packs, posts, and keeps the answers that are still to come."""

    def __init__(
        self,
        sender: Sender,
        topic: str,
        partitions: Iterable[int],
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._sender = sender
        self._topic = topic
        self._partitions = sorted(partitions)
        # A call's events come close together, and the hash is pure Python.
        self._partition_of = lru_cache(maxsize=_CALLS_REMEMBERED)(self._hashed)
        self._on_progress = on_progress
        self._open: dict[int, Batch] = {}
        self._unanswered: list[Awaitable[object]] = []
        self._simulated_ms = 0
        self._settled_at_ms = 0
        self._live = False
        self.sent = 0

    def _hashed(self, key: bytes) -> int:
        """Return the partition that Kafka's own producers choose for the key."""
        partition: int = _PARTITIONER(key, self._partitions, self._partitions)
        return partition

    async def add(self, emission: Emission) -> None:
        value, key = encode(emission.event), emission.event.call_id.encode()
        partition = self._partition_of(key)
        batch = self._open.get(partition)
        if batch is None or batch.append(timestamp=emission.emit_at_ms, key=key, value=value) is None:
            if batch is not None:
                await self._post(partition)
            batch = self._open[partition] = self._sender.create_batch()
            batch.append(timestamp=emission.emit_at_ms, key=key, value=value)
        self.sent += 1
        self._simulated_ms = emission.emit_at_ms

    async def _post(self, partition: int) -> None:
        batch = self._open.pop(partition)
        self._unanswered.append(await self._sender.send_batch(batch, self._topic, partition=partition))

    async def post(self) -> None:
        """Hand everything over to the client."""
        for partition in sorted(self._open):
            await self._post(partition)

    async def settle(self) -> None:
        """Wait until everything is acknowledged."""
        await self.post()
        unanswered, self._unanswered = self._unanswered, []
        await asyncio.gather(*unanswered)
        if self._on_progress is not None:
            self._on_progress(Progress(self.sent, self._simulated_ms, self._live))

    async def settle_now_and_then(self, now_ms: int) -> None:
        """Settle when the last time is a while ago: it shows progress, and errors too."""
        if not 0 <= now_ms - self._settled_at_ms < _SETTLE_EVERY_MS:
            self._settled_at_ms = now_ms
            await self.settle()

    async def go_live(self, simulated_ms: int) -> None:
        """Finish the past, once."""
        if self._live:
            return
        self._live = True
        self._simulated_ms = simulated_ms
        await self.settle()
