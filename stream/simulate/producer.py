"""Events to Kafka, at the pace of a clock that is handed in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import encode
from stream.simulate.emission import Emission
from stream.simulate.pace import Pace

# Sends under way before waiting for the broker's answer: some batches for every partition.
_UNANSWERED_MAX = 5_000
# Sends between two turns for the other tasks (the Kafka client's own is one of them).
_TURN_LENGTH = 200
# The longest time before the answers are looked at.
_SETTLE_EVERY_MS = 1_000
# The longest sleep before looking at `stop` again.
_NAP_MS_MAX = 200.0


class ProduceError(Exception):
    """Kafka did not take an event; one line that says why."""


class Progress(NamedTuple):
    """How far it is. `live` turns true when the past has been sent and acknowledged."""

    sent: int
    simulated_ms: int
    live: bool


class Sender(Protocol):
    """The part of a Kafka producer that is used here."""

    async def send(self, topic: str, value: bytes, key: bytes, *, timestamp_ms: int) -> Awaitable[object]:
        """Hand over one record; the result completes when it is acknowledged."""


@asynccontextmanager
async def _kafka_sender(bootstrap_servers: str, options: Mapping[str, Any]) -> AsyncIterator[Sender]:
    settings: dict[str, Any] = {
        "client_id": "callgauge-simulate",
        "acks": "all",
        "enable_idempotence": True,  # a retry neither doubles nor reorders
        "linger_ms": 20,
        "max_batch_size": 65_536,
        **options,
    }
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, **settings)
    try:
        await producer.start()
        yield producer
    except KafkaError as error:
        raise ProduceError(f"Kafka at {bootstrap_servers}: {error}") from error
    finally:
        await producer.stop()


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
        return await _paced(emissions, _Delivery(sender, topic, on_progress), timetable)


@dataclass(frozen=True, slots=True)
class _Timetable:
    """Waits for the moment at which something is due, or for the order to stop."""

    pace: Pace
    now_ms: Callable[[], int]
    sleep: Callable[[float], Awaitable[object]]
    stop: asyncio.Event

    def is_past(self, simulated_ms: int) -> bool:
        return self.pace.speed is None or simulated_ms <= self.pace.switch_at_ms

    async def wait_for(self, simulated_ms: int) -> None:
        due_at_ms = self.pace.due_at_ms(simulated_ms)
        while not self.stop.is_set() and (wait_ms := due_at_ms - self.now_ms()) > 0:
            await self.sleep(min(wait_ms, _NAP_MS_MAX) / 1000.0)


async def _paced(emissions: Iterable[Emission], delivery: _Delivery, timetable: _Timetable) -> int:
    for emission in emissions:
        if not timetable.is_past(emission.emit_at_ms):
            await delivery.go_live(emission.emit_at_ms)
            await timetable.wait_for(emission.emit_at_ms)
        if timetable.stop.is_set():
            break
        await delivery.send(emission)
        await delivery.settle_now_and_then(timetable.now_ms())
        if delivery.sent % _TURN_LENGTH == 0:
            await timetable.sleep(0)
    await delivery.settle()
    return delivery.sent


class _Delivery:
    """Sends, and keeps the answers that are still to come."""

    def __init__(self, sender: Sender, topic: str, on_progress: Callable[[Progress], None] | None) -> None:
        self._sender = sender
        self._topic = topic
        self._on_progress = on_progress
        self._unanswered: list[Awaitable[object]] = []
        self._simulated_ms = 0
        self._settled_at_ms = 0
        self._live = False
        self.sent = 0

    async def send(self, emission: Emission) -> None:
        event = emission.event
        answer = await self._sender.send(
            self._topic, encode(event), event.call_id.encode(), timestamp_ms=emission.emit_at_ms
        )
        self.sent += 1
        self._simulated_ms = emission.emit_at_ms
        self._unanswered.append(answer)
        if len(self._unanswered) >= _UNANSWERED_MAX:
            await self.settle()

    async def settle(self) -> None:
        """Wait until everything sent is acknowledged."""
        unanswered, self._unanswered = self._unanswered, []
        await asyncio.gather(*unanswered)
        if self._on_progress is not None:
            self._on_progress(Progress(self.sent, self._simulated_ms, self._live))

    async def settle_now_and_then(self, now_ms: int) -> None:
        """Settle when the last time is a while ago, so that a slow feed shows progress and errors too."""
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
