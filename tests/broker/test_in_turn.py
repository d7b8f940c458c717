"""Who publishes much does not keep others from publishing."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaProducer

from stream.engine import EngineSettings, ensure_topics
from stream.engine.in_turn import InTurn
from tests.broker.conftest import Cluster

pytestmark = pytest.mark.broker

PUBLISHERS = 8
RECORD = bytes(30_000)  # no two of them fit into a batch of aiokafka's default size
PAUSE_S = 0.1
# A loop that is busy folding: everybody moves on by one step in each of these turns, which is when newcomers overtake.
FOLD_S = 0.02
ROUNDS = 8


async def published_by_each(settings: EngineSettings) -> list[int]:
    """Let all publish on a busy loop until the first has done its rounds; return how often each has."""
    producer = AIOKafkaProducer(bootstrap_servers=list(settings.servers), linger_ms=5)
    await producer.start()
    send = InTurn(producer.send)
    published = [0] * PUBLISHERS

    async def publish(number: int) -> None:
        while True:
            shards = range(settings.shards)
            await asyncio.gather(*[await send(settings.topics.cells, None, RECORD, n) for n in shards])
            published[number] += 1
            await asyncio.sleep(PAUSE_S)

    publishers = [asyncio.ensure_future(publish(number)) for number in range(PUBLISHERS)]
    while max(published) < ROUNDS and not any(publisher.done() for publisher in publishers):
        time.sleep(FOLD_S)  # noqa: ASYNC251 - it holds the loop up, as a fold does
        await asyncio.sleep(0)
    for publisher in publishers:
        publisher.cancel()
    await asyncio.wait(publishers)
    await producer.stop()
    return published


def test_all_publish_equally_often_on_a_busy_loop(cluster: Cluster):
    """Without turns some have not published once when others have ten times, and fail in the end."""
    ensure_topics(cluster.settings)
    published = asyncio.run(published_by_each(cluster.settings))

    assert max(published) == ROUNDS
    assert min(published) >= max(published) - 2
