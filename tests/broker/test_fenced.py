"""Who may write the rows of a shard: its present owner, and nobody who owned it before.

Each writer here stands for a worker. What "stands still" is held up where a frozen process could be.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from stream.engine import EngineSettings, ensure_topics, fenced
from stream.engine.fenced import NoTransactionsError, writer_of
from stream.engine.last_resort import unheard
from stream.engine.shell import Outgoing, TakenOverError
from stream.kafka import EmbeddedKafka
from tests.broker.conftest import Cluster

pytestmark = pytest.mark.broker


def rows(cluster: Cluster, *values: str) -> list[Outgoing]:
    """Make rows for one and the same key."""
    topic = cluster.settings.topics.intervals
    return [Outgoing(topic, b"sales|10:00", value.encode(), 0) for value in values]


def written(cluster: Cluster, work: Callable[[], Coroutine[Any, Any, None]], count: int) -> list[str]:
    """Let workers write; return all rows that are in the topic, and complain about errors that nobody heard of."""
    failed: list[BaseException] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(unheard(loop, failed.append))
        await work()
        gc.collect()
        await asyncio.sleep(0)

    ensure_topics(cluster.settings)
    asyncio.run(run())
    assert failed == []
    return [record.value.decode() for record in cluster.read("intervals", count)]


def held(
    call: Callable[..., Coroutine[Any, Any, Any]], turn: int = 1
) -> tuple[Any, asyncio.Event, asyncio.Event]:
    """Return a function that stands still when it is called that time, that it does, and what lets it go on."""
    reached, go_on, calls = asyncio.Event(), asyncio.Event(), []

    async def wait(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == turn:
            reached.set()
            await go_on.wait()
        return await call(*arguments)

    return wait, reached, go_on


def test_a_former_owner_that_comes_back_writes_nothing(cluster: Cluster):
    """It has not heard that another one has taken its shard, and sends what it has."""

    async def work() -> None:
        before, now = writer_of(cluster.settings)(0), writer_of(cluster.settings)(0)
        await before.open()
        await before.write(rows(cluster, "true then"))
        await now.open()
        await now.write(rows(cluster, "true now"))
        with pytest.raises(TakenOverError, match="intervals-0: another worker writes now"):
            await before.write(rows(cluster, "late"))
        await asyncio.gather(before.close(), now.close())

    assert written(cluster, work, 2) == ["true then", "true now"]


@pytest.mark.parametrize(
    ("part", "turn", "there"),
    [("begin_transaction", 1, []), ("send", 2, ["a"]), ("commit_transaction", 1, ["a", "b"])],
)
def test_one_that_stands_still_while_it_writes_does_not_get_the_last_word(
    cluster: Cluster, part: str, turn: int, there: list[str]
):
    """What it had written by then came before; the rest is refused, and the new owner need not wait for it."""

    async def work() -> None:
        before, now = writer_of(cluster.settings)(0), writer_of(cluster.settings)(0)
        assert isinstance(before, fenced.FencedWriter)
        await before.open()
        wait, reached, go_on = held(getattr(before._producer, part), turn)
        setattr(before._producer, part, wait)
        writing = asyncio.ensure_future(before.write(rows(cluster, "a", "b")))
        await reached.wait()
        await before._producer.flush()

        await now.open()
        await now.write(rows(cluster, "true now"))
        go_on.set()

        with pytest.raises(TakenOverError):
            await writing
        await asyncio.gather(before.close(), now.close())

    assert written(cluster, work, len(there) + 1) == [*there, "true now"]


def test_an_owner_of_another_shard_is_not_shut_out(cluster: Cluster):
    """Each shard has its own line of owners."""

    async def work() -> None:
        writers = [writer_of(cluster.settings)(shard) for shard in (0, 1)]
        for writer in writers:
            await writer.open()
        for writer in writers:
            await writer.write(rows(cluster, "true"))
        await asyncio.gather(*[writer.close() for writer in writers])

    assert written(cluster, work, 2) == ["true", "true"]


def test_what_was_given_away_before_it_was_written_is_not_written(cluster: Cluster):
    """Neither by one that waits for its right, nor by one that had it."""

    async def work() -> None:
        waits, had = writer_of(cluster.settings)(0), writer_of(cluster.settings)(1)
        waiting = asyncio.ensure_future(waits.write(rows(cluster, "late")))
        await had.open()
        await had.write(rows(cluster, "true"))
        await asyncio.gather(waits.close(), had.close())
        await waits.open()
        with pytest.raises(TakenOverError):
            await waiting
        with pytest.raises(TakenOverError):
            await had.write(rows(cluster, "late"))

    assert written(cluster, work, 1) == ["true"]


@pytest.mark.alone
def test_a_kafka_that_cannot_keep_transactions_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch):
    """One broker, and a topic of transactions that wants three: Kafka's own defaults."""
    monkeypatch.setattr(fenced, "DELIVERY_TIMEOUT_S", 2.0)
    with EmbeddedKafka(config={"transaction.state.log.replication.factor": "3"}) as broker:

        async def work() -> None:
            writer = writer_of(EngineSettings(bootstrap_servers=broker.bootstrap_servers))(0)
            try:
                await writer.open()
            finally:
                await writer.close()

        with pytest.raises(NoTransactionsError, match=r"callgauge-queue-intervals-0 .*replication\.factor"):
            asyncio.run(work())
