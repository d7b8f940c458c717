"""How long it takes until an event is visible.

1,000 events a second at real pace; now and then an `offered` of a queue of its own. From its acknowledgement
by Kafka to the first answer of /metrics that has it, asking every 20 ms (which costs the worker something).
"""

import asyncio
import random
import re
from dataclasses import dataclass

import aiohttp
from aiokafka import AIOKafkaProducer

from bench.live import live
from bench.setting import Setting
from schemas import Offered, encode
from stream import clock

QUEUES = 10
PROBE = "probe"
POLL_S = 0.020
MARK_EVERY_S = (0.1, 0.5)
SETTLE_S = 5.0
GRACE_S = 5.0
_VISIBLE = re.compile(rb'^callcenter_contacts_offered_total\{queue="probe"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from acknowledgement to visibility, one a marker; and markers never seen."""

    seconds: tuple[float, ...]
    lost: int


def run(setting: Setting) -> Latency:
    """Measure for as long as the sizes say."""
    with live(setting, QUEUES) as (topic, worker):
        return asyncio.run(_measure(setting, topic, f"http://127.0.0.1:{worker.port}/metrics"))


async def _measure(setting: Setting, topic: str, url: str) -> Latency:
    acknowledged: list[float] = []
    visible: list[float] = []
    watching = asyncio.ensure_future(_watch(url, visible))
    await asyncio.sleep(SETTLE_S)
    await mark(setting.servers, topic, acknowledged, setting.sizes.latency_s, MARK_EVERY_S)
    await asyncio.sleep(GRACE_S)
    watching.cancel()
    pairs = zip(acknowledged, visible, strict=False)
    return Latency(tuple(seen - sent for sent, seen in pairs), len(acknowledged) - len(visible))


async def mark(
    servers: str, topic: str, acknowledged: list[float], span_s: float, every_s: tuple[float, float]
) -> None:
    """Send markers for a while, noting when each was acknowledged."""
    chance = random.Random(3)
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        end_s = clock.monotonic_s() + span_s
        while clock.monotonic_s() < end_s:
            at_ms = clock.wall_ms()
            event = Offered(call_id=f"probe-{at_ms}", at=at_ms, queue=PROBE)
            await producer.send_and_wait(topic, encode(event), event.call_id.encode())
            acknowledged.append(clock.monotonic_s())
            await asyncio.sleep(chance.uniform(*every_s))
    finally:
        await producer.stop()


async def _watch(url: str, visible: list[float]) -> None:
    """Note when the k-th marker became visible."""
    async with aiohttp.ClientSession() as session:
        while True:
            asked_s = clock.monotonic_s()
            async with session.get(url) as answer:
                body = await answer.read()
            found = _VISIBLE.search(body)
            count = int(float(found[1])) if found else 0
            visible += [clock.monotonic_s()] * (count - len(visible))
            await asyncio.sleep(max(0.0, POLL_S - (clock.monotonic_s() - asked_s)))
