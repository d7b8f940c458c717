"""A topic between two moments or offsets, without a group: nothing is joined, committed or written.

The end is fixed when the replay begins. A partition is asked for records only when the replay has folded those it gave
before, so memory holds one fetch of each.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, OffsetOutOfRangeError

from stream.access import Access
from stream.access.raw_records import hand_over_raw
from stream.core.calls import Record
from stream.replay.errors import ReplayError
from stream.settings.moments import zoned_ms

PREFIX: Final = "kafka:"
_SOURCE: Final = re.compile(
    r"kafka:(?P<topic>[A-Za-z0-9._-]{1,249})(?:@(?P<first>[^@]*?)\.\.(?P<last>[^@]*))?\Z"
)
FETCH_BYTES: Final = 1_048_576  # of one partition, read ahead
# A broker answers one fetch after the other: one that waits at the end of a partition would hold up all the others.
FETCH_WAIT_MS: Final = 20
POLL_MS: Final = 1_000
# A broker that says nothing for so long is not going to; elections and restarts take less.
SILENCE_MAX_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a replay begins or ends: an offset of every partition, or a record's timestamp. Neither: the log's own."""

    offset: int | None = None
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TopicSpan:
    """What SOURCE says; the end is not part of it."""

    topic: str
    first: Bound = Bound()
    last: Bound = Bound()


def parse_source(source: str) -> TopicSpan:
    """Read `kafka:TOPIC` or `kafka:TOPIC@FROM..TO`. Raises ReplayError."""
    found = _SOURCE.match(source)
    if found is None:
        raise ReplayError(f"{source}: is no topic; write kafka:TOPIC or kafka:TOPIC@FROM..TO")
    return TopicSpan(found["topic"], _bound(source, found["first"]), _bound(source, found["last"]))


def _bound(source: str, text: str | None) -> Bound:
    if not text:
        return Bound()
    if text.isascii() and text.isdigit():
        return Bound(offset=int(text))
    with suppress(ValueError):
        return Bound(at_ms=zoned_ms(text))
    raise ReplayError(
        f"{source}: {text!r} is neither an offset nor a time with its zone, like 2026-03-01T00:00:00+01:00"
    )


class KafkaHistory:
    """An open topic: one feed for each partition. A context manager."""

    def __init__(
        self,
        servers: str,
        access: Access,
        span: TopicSpan,
        ranges: Mapping[int, tuple[int, int]] | None = None,
    ) -> None:
        """Prepare; ``ranges`` are the offsets of a replay that goes on: {partition: [first, end)}."""
        self._servers = servers
        self._access = access
        self._span = span
        self._given = ranges
        self._runner = asyncio.Runner()
        self._consumer: Any = None
        self.feeds: list[KafkaFeed] = []

    @property
    def ranges(self) -> dict[int, tuple[int, int]]:
        """Return what is replayed of each partition: [first offset, end)."""
        return {feed.partition: (feed.first, feed.end) for feed in self.feeds}

    @property
    def total(self) -> int:
        """Return how many offsets there are, of which some may hold no record."""
        return sum(feed.end - feed.first for feed in self.feeds)

    def __enter__(self) -> Self:
        """Connect and fix the ends. Raises ReplayError."""
        self._runner.__enter__()
        try:
            self._runner.run(self._open())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        if self._consumer is not None:
            with suppress(KafkaError, OSError):
                self._runner.run(self._consumer.stop())
        self._runner.__exit__(kind, error, trace)

    async def _open(self) -> None:
        self._consumer = consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            **self._access.client_options(),
        )
        topic = self._span.topic
        try:
            await consumer.start()
            if topic not in await consumer.topics():  # reading from one that is not there might create it
                raise ReplayError(f"kafka:{topic}: there is no such topic at {self._servers}")
            consumer.assign([TopicPartition(topic, 0)])
            await consumer.beginning_offsets(consumer.assignment())  # then its partitions are known
            consumer.assign([TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))])
            hand_over_raw(consumer, frozenset({topic}))
            await self._find_ranges()
        except KafkaConnectionError as error:
            raise ReplayError(
                f"no Kafka answers at {self._servers}; start it, or name another one"
            ) from error
        except KafkaError as error:
            raise ReplayError(f"kafka:{topic}: {type(error).__name__}: {error}") from error

    async def _find_ranges(self) -> None:
        consumer, places = self._consumer, sorted(self._consumer.assignment())
        starts = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        if self._given is not None and set(self._given) != {tp.partition for tp in places}:
            raise ReplayError(f"kafka:{self._span.topic}: has other partitions than before; begin again")
        firsts = await self._offsets(self._span.first, starts, ends)
        lasts = await self._offsets(self._span.last, ends, ends)
        for tp in places:
            first, end = firsts[tp], min(lasts[tp], ends[tp])
            if self._given is not None:
                first, end = self._given[tp.partition]
            if first < starts[tp] and first < end:
                raise ReplayError(
                    f"kafka:{tp.topic}[{tp.partition}]: offsets {first} to {starts[tp] - 1} are gone by retention; "
                    f"the log begins at {starts[tp]}"
                )
            self.feeds.append(KafkaFeed(self, tp, first, max(first, end)))
            consumer.seek(tp, first)
        if not self.total:
            raise ReplayError(f"kafka:{self._span.topic}: holds no records in this range")

    async def _offsets(
        self, bound: Bound, otherwise: Mapping[Any, int], ends: Mapping[Any, int]
    ) -> dict[Any, int]:
        if bound.offset is not None:
            return {tp: min(bound.offset, ends[tp]) for tp in otherwise}
        if bound.at_ms is None:
            return dict(otherwise)
        found = await self._consumer.offsets_for_times(dict.fromkeys(otherwise, bound.at_ms))
        return {tp: ends[tp] if found.get(tp) is None else found[tp].offset for tp in otherwise}

    def done_with(self, tp: Any) -> None:
        """Fetch nothing more of a partition."""

        async def pause() -> None:  # the client wants a running loop
            self._consumer.pause(tp)

        self._runner.run(pause())

    def fetch(self, tp: Any) -> tuple[Sequence[Record], int]:
        """Return what a partition has next, possibly nothing, and the position after it."""
        return self._runner.run(self._fetch(tp))

    async def _fetch(self, tp: Any) -> tuple[Sequence[Record], int]:
        try:
            found = await self._consumer.getmany(tp, timeout_ms=POLL_MS)
            return found.get(tp, ()), await self._consumer.position(tp)
        except OffsetOutOfRangeError as error:
            raise ReplayError(
                f"kafka:{tp.topic}[{tp.partition}]: retention has taken records that were still to be read; "
                "replay a later range, or keep the log longer"
            ) from error
        except KafkaError as error:
            raise ReplayError(f"kafka:{tp.topic}[{tp.partition}]: {type(error).__name__}: {error}") from error


class KafkaFeed:
    """One partition between two offsets."""

    def __init__(self, history: KafkaHistory, tp: Any, first: int, end: int) -> None:
        self.partition: int = tp.partition
        self.first, self.end = first, end
        self._history = history
        self._tp = tp
        self._position = first

    def read(self) -> Sequence[Record]:
        """Return the next records; none at the end. Raises ReplayError."""
        waited_ms = 0
        while self._position < self.end:
            records, position = self._history.fetch(self._tp)
            moved, self._position = position > self._position, max(position, self._position)
            found = [record for record in records if record.offset < self.end]
            if found:
                return found
            waited_ms = 0 if moved else waited_ms + POLL_MS
            if waited_ms > SILENCE_MAX_S * 1_000:
                raise ReplayError(
                    f"kafka:{self._tp.topic}[{self.partition}]: nothing came for {SILENCE_MAX_S:.0f} s at offset "
                    f"{self._position}; see to the broker, then go on with --resume"
                )
        self._history.done_with(self._tp)
        return ()
