"""Kafka's part: logs, the way of a record from a producer into one, and what may happen to it on that way."""

from bisect import bisect_left
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from aiokafka.errors import KafkaTimeoutError, ProducerFenced

if TYPE_CHECKING:
    import asyncio

    from tests.simulation.world import Process, World


class Record(NamedTuple):
    """A record of a log, as aiokafka would hand it over."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Log:
    """One partition of a topic. Offsets may be missing: markers, or what compaction removed."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.end = 0

    def append(self, timestamp: int | None, key: bytes | None, value: bytes | None, headers: Any = ()) -> int:
        """Add a record; return its offset."""
        offset = self.end
        self.records.append(Record(offset, timestamp, key, value, tuple(headers or ())))
        self.end += 1
        return offset

    def skip(self, count: int) -> None:
        """Use up offsets that no reader ever sees."""
        self.end += count

    def read(self, start: int, count: int) -> list[Record]:
        """Return records from an offset on."""
        index = bisect_left(self.records, start, key=lambda record: record.offset)
        return self.records[index : index + count]

    def count_through(self, offset: int) -> int:
        """Return how many records there are up to and with an offset."""
        return bisect_left(self.records, offset + 1, key=lambda record: record.offset)

    def compact(self) -> int:
        """Keep the last record of each key, and the newest of all; return how many are gone."""
        newest = {record.key: record.offset for record in self.records}
        kept = [record for record in self.records if newest[record.key] == record.offset]
        removed = len(self.records) - len(kept)
        self.records = kept
        return removed


class Right(NamedTuple):
    """In whose name a record is sent, a transactional id, and which of its owners that was."""

    name: str
    epoch: int


@dataclass(eq=False)
class Sending:
    """A record on its way."""

    process: "Process"
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Any
    confirmation: "asyncio.Future[Any]"
    step: str  # what it is a part of, for the crash points
    sent_at_s: float
    right: "Right | None" = None
    lost: bool = False


class Metadata(NamedTuple):
    """What a producer learns of a record that was written."""

    topic: str
    partition: int
    offset: int


class Broker:
    """All logs, and the records under way to them."""

    def __init__(self, world: "World", partitions: dict[str, int]) -> None:
        self._world = world
        self.logs = {topic: [Log() for _ in range(count)] for topic, count in partitions.items()}
        self._channels: dict[tuple[int, str, int], deque[Sending]] = defaultdict(deque)
        self._free_at_s: dict[tuple[int, str, int], float] = defaultdict(float)
        self._epochs: dict[str, int] = defaultdict(int)

    def next_right(self, name: str) -> Right:
        """Let somebody write in a name; whoever did so before has lost that right."""
        self._epochs[name] += 1
        return Right(name, self._epochs[name])

    def holds(self, right: Right) -> bool:
        """Say whether nobody has taken a right over."""
        return self._epochs[right.name] == right.epoch

    def partition_of(self, topic: str, key: bytes | None) -> int:
        """Choose a partition by key."""
        return crc32(key or b"") % len(self.logs[topic])

    def produce(self, sending: Sending) -> None:
        """Take a record over from a producer. Those for one partition arrive in order; others may pass them."""
        world, weather = self._world, self._world.weather
        channel = (sending.process.number, sending.topic, sending.partition)
        latency_s = world.random.uniform(0.001, 0.03)
        if world.happens(weather.slow_delivery, "delivery delayed"):
            latency_s = world.random.uniform(0.2, 6.0)
        arrives_at_s = max(self._free_at_s[channel], world.now_s + latency_s)
        self._free_at_s[channel] = arrives_at_s
        self._channels[channel].append(sending)
        world.at(arrives_at_s, lambda: self._arrive(channel))

    def owes(self, before_s: float) -> bool:
        """Say whether something that was sent before a moment has not arrived yet."""
        return any(channel and channel[0].sent_at_s < before_s for channel in self._channels.values())

    def crashed(self, number: int) -> None:
        """Lose some of what a process had under way: on each connection everything from one record on."""
        world = self._world
        for (owner, _, _), channel in sorted(self._channels.items()):
            if owner == number and channel:
                cut = world.random.randint(0, len(channel))
                for sending in list(channel)[cut:]:
                    sending.lost = True
                    world.note("delivery lost with the crash")

    def _arrive(self, channel: tuple[int, str, int]) -> None:
        world, weather = self._world, self._world.weather
        sending = self._channels[channel].popleft()
        if sending.lost:
            return
        if sending.right is not None and not self.holds(sending.right):
            world.note("write of a former owner refused")
            self._tell(sending, ProducerFenced())
            return
        if world.happens(weather.failed_delivery, "delivery failed"):
            self._tell(sending, KafkaTimeoutError())
            return
        self._write(sending)
        if world.happens(weather.duplicated_delivery, "delivery repeated"):
            self._write(sending)
        if sending.process.alive:
            world.passes(sending.process, f"{sending.step}: in the log", outside=True)

    def _write(self, sending: Sending) -> None:
        world = self._world
        log = self.logs[sending.topic][sending.partition]
        offset = log.append(world.wall_ms(), sending.key, sending.value, sending.headers)
        world.trace("write", sending.topic, sending.partition, offset, crc32(sending.value or b""))
        world.wrote(sending.topic, sending.partition)
        if world.happens(world.weather.unknown_delivery, "delivery written, and not confirmed"):
            self._tell(sending, KafkaTimeoutError())
        else:
            self._tell(sending, Metadata(sending.topic, sending.partition, offset))

    def _tell(self, sending: Sending, outcome: Any) -> None:
        world = self._world
        world.at(world.now_s + world.random.uniform(0.0005, 0.01), lambda: self._confirm(sending, outcome))

    def _confirm(self, sending: Sending, outcome: Any) -> None:
        if not sending.process.alive or sending.confirmation.done():
            return
        if isinstance(outcome, BaseException):
            sending.confirmation.set_exception(outcome)
            return
        sending.confirmation.set_result(outcome)
        self._world.passes(sending.process, f"{sending.step}: confirmed", outside=True)
