"""Rows that only the present owner of a shard may write.

Who owned a shard before may still have rows under way: it stood still, or its connection did. In a compacted topic the
row that arrives last is the one that stays, whoever sent it. So a shard has a transactional id that goes from owner to
owner. An owner that opens it ends what the one before has begun, and from then on the broker refuses whatever comes
from before (KIP-98, "Transactional Guarantees": fencing by epochs).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerIdMapping,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
    TransactionalIdAuthorizationFailed,
)

from stream.engine.app import BATCH_BYTES_MAX, DELIVERY_TIMEOUT_S
from stream.engine.engine_settings import EngineSettings
from stream.engine.owned import all_confirmed
from stream.engine.shell import Outgoing, TakenOverError
from stream.engine.topics import MESSAGE_BYTES_MAX

OPEN_RETRY_S: Final = 0.5
LINGER_MS: Final = 5  # all rows of a look in a few requests
# Longer than any delivery may take, so that the broker never ends one of a living owner; what a dead one has left open
# is ended by its successor.
TRANSACTION_TIMEOUT_S: Final = 2 * DELIVERY_TIMEOUT_S
# The second: the id was not used for so long (transactional.id.expiration.ms, a week) that Kafka has forgotten it. Who
# owns the shard then cannot be told from who did, so the watchdog, and a new start, decide.
FENCED: Final = (ProducerFenced, InvalidProducerIdMapping)


class NoTransactionsError(Exception):
    """Kafka does not let us write in transactions; the message is the line for the operator."""


class Writer(Protocol):
    """Writes the rows of one shard, for as long as this worker owns it."""

    async def open(self) -> None:
        """Shut out whoever wrote before. Called once, before or beside the first ``write``."""
        ...

    async def write(self, records: Sequence[Outgoing]) -> None:
        """Write rows; return when they are confirmed. Raises ``TakenOverError``, and ``KafkaError``."""
        ...

    async def close(self) -> None:
        """Give up what it holds; nothing is written any more."""
        ...


def writer_of(settings: EngineSettings) -> Callable[[int], Writer]:
    """Return what makes the writer of a shard."""

    def make(shard: int) -> Writer:
        name = f"{settings.app_id}-{settings.topics.intervals}-{shard}"
        return FencedWriter(
            name,
            AIOKafkaProducer(
                client_id=name,
                bootstrap_servers=list(settings.servers),
                transactional_id=name,
                transaction_timeout_ms=int(TRANSACTION_TIMEOUT_S * 1_000),
                request_timeout_ms=int(DELIVERY_TIMEOUT_S * 1_000),
                linger_ms=LINGER_MS,
                max_request_size=MESSAGE_BYTES_MAX,
                max_batch_size=BATCH_BYTES_MAX,
                **settings.access.client_options(),
            ),
        )

    return make


class FencedWriter:
    """A writer with a producer of its own; ``name`` is its transactional id."""

    def __init__(self, name: str, producer: AIOKafkaProducer) -> None:
        self._name = name
        self._producer = producer
        self._opening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()  # opened, or closed
        self._closed = False
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Get the next epoch of the transactional id. Raises ``NoTransactionsError``, and ``KafkaError``."""
        if self._closed:
            return
        self._opening = asyncio.ensure_future(self._open())
        await asyncio.wait({self._opening})
        if not self._opening.cancelled():
            self._opening.result()
            self._ready.set()

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                await self._start()
        except TransactionalIdAuthorizationFailed:
            raise NoTransactionsError(
                f"Kafka refuses the transactional id {self._name}: give the user Describe and Write on it"
            ) from None
        except TimeoutError:
            raise NoTransactionsError(
                f"Kafka gave no transactional id {self._name} for {DELIVERY_TIMEOUT_S:g} s: it is away, or has fewer "
                "brokers than its transaction.state.log.replication.factor"
            ) from None

    async def _start(self) -> None:
        while True:
            try:
                await self._producer.start()
            except KafkaError as error:
                if not error.retriable:
                    raise
            else:
                return
            await asyncio.sleep(OPEN_RETRY_S)

    async def write(self, records: Sequence[Outgoing]) -> None:
        """Write rows, in a transaction of their own.

        What it is for is that a former owner cannot have one: nobody needs to wait for its end, since no row is wrong.
        """
        if not records:
            return
        await self._ready.wait()
        async with self._writing:
            if self._closed:
                raise TakenOverError(f"{self._name}: given away before all was written")
            try:
                async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                    await self._transaction(records)
            except FENCED:
                raise TakenOverError(
                    f"{self._name}: another worker writes now, and this one no longer"
                ) from None
            except TimeoutError:
                raise KafkaTimeoutError(f"{self._name}: nothing was confirmed") from None

    async def _transaction(self, records: Sequence[Outgoing]) -> None:
        producer = self._producer
        await producer.begin_transaction()
        pending: list[Any] = [
            await producer.send(record.topic, record.value, record.key, record.partition)
            for record in records
        ]
        await all_confirmed(pending)
        await producer.commit_transaction()

    async def close(self) -> None:
        """Close the producer, after what is being written; it may take as long as Kafka does not answer."""
        self._closed = True
        self._ready.set()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        async with self._writing:
            await self._producer.stop()
