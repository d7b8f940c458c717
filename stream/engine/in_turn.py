"""Records handed to a producer in the order in which somebody asked.

A producer of aiokafka keeps one unsent batch a partition. When that is full, all who have more for the partition wait
for the same event, and whoever comes just after it is served before them. On a loop that is busy all the time this can
go on for a minute, since everybody moves by one step in each turn of the loop (measured: of eight partitions that
publish to one topic, three published ten times while two had not published once). Then a publication fails as if
Kafka were away.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any


class InTurn:
    """Sends as ``send`` does; of the records of one partition, the first that was to be sent is sent first."""

    def __init__(self, send: Callable[..., Awaitable[Any]]) -> None:
        self._send = send
        self._turns: defaultdict[tuple[str, int | None], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __call__(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> Awaitable[Any]:
        """Hand a record over; what is returned is done when it is confirmed."""
        async with self._turns[topic, partition]:  # asyncio's locks are fair
            future: Awaitable[Any] = await self._send(topic, key, value, partition, None, headers)
            return future
