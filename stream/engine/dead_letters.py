"""Records that are not counted, kept aside with their original bytes and the reason."""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from stream.core.calls import SetAside
from stream.engine.engine_settings import TopicNames
from stream.engine.owned import all_confirmed
from stream.engine.tp import Place
from stream.letters.layout import Headers, Source, parts_of


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


async def keep_aside(asides: Sequence[SetAside], place: Place, names: TopicNames, send: Send) -> None:
    """Send each record to its topic, same partition, original key and bytes; return when all are confirmed.

    A crash before the next checkpoint sends them again: the header's coordinates tell a reader which are the
    same.
    """
    pending = []
    for aside in asides:
        topic = names.late if aside.late else names.dead
        record: Any = aside.record
        source = Source(place.topic, place.partition, record.offset)
        earlier = getattr(record, "headers", ())  # a fold's record need not have any
        letter = parts_of(record, source, aside.reason, aside.where, earlier)
        pending.append(await send(topic, letter.key, letter.value, place.partition, letter.headers))
    await all_confirmed(pending)
