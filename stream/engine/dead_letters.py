"""Records that are not counted, kept aside with their original bytes and the reason."""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from stream.core.calls import SetAside
from stream.engine.engine_settings import TopicNames
from stream.engine.owned import all_confirmed
from stream.engine.tp import Place

Headers = list[tuple[str, bytes]]


class Send(Protocol):
    """Hands a record to the producer; the result is a future that ends with its delivery."""

    def __call__(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: Headers | None = None,
    ) -> Awaitable[Awaitable[Any]]:
        """Send one record."""
        ...


def headers_of(aside: SetAside, place: Place) -> Headers:
    """Say why, and where the record came from; nothing of what is in it."""
    error = f"{aside.reason}: {aside.where}" if aside.where else aside.reason
    return [
        ("reason", aside.reason.encode()),
        ("topic", place.topic.encode()),
        ("partition", str(place.partition).encode()),
        ("offset", str(aside.record.offset).encode()),
        ("error", error.encode()),
    ]


async def keep_aside(asides: Sequence[SetAside], place: Place, names: TopicNames, send: Send) -> None:
    """Send each record to its topic, same partition, original key and bytes; return when all are confirmed.

    A crash before the next checkpoint sends them again: the header's coordinates tell a reader which are the
    same.
    """
    pending = []
    for aside in asides:
        topic = names.late if aside.late else names.dead
        headers = headers_of(aside, place)
        pending.append(await send(topic, aside.record.key, aside.record.value, place.partition, headers))
    await all_confirmed(pending)
