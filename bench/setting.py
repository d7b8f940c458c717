"""What the questions share: the broker, the topics, the sizes, and a folder for what the processes say."""

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kafka.admin import KafkaAdminClient

from bench.child import BenchError, Child
from bench.load import RATE, Load, command
from stream import clock

PREFILL_TIMEOUT_S = 1_800.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    # Some 15 s: what it costs to begin, with each queue, is no part of an event's price.
    events: int = 4_000_000
    rounds: int = 5
    faust_s: float = 20.0
    faust_warm_up_s: float = 4.0
    latency_s: float = 75.0
    scrapes: int = 30
    history_s: int = 300  # event time in a live topic before the measurement
    open_calls: int = 100_000
    partitions: int = 8


FULL = Sizes()
QUICK = Sizes(
    events=250_000,
    rounds=1,
    faust_s=6.0,
    faust_warm_up_s=2.0,
    latency_s=12.0,
    scrapes=6,
    history_s=30,
    open_calls=10_000,
)


class Shape(NamedTuple):
    """What tells one filled topic from another."""

    queues: int
    rate: float = RATE  # events per second of event time
    times: int = 1  # as many events as the others have


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with events in it."""

    name: str
    events: int
    partitions: int


@dataclass(slots=True)
class Setting:
    """One run of the benchmark."""

    servers: str
    folder: Path
    sizes: Sizes
    broker_pid: int
    _names: int = 0
    _topics: dict[Shape, Topic] = field(default_factory=dict)

    def fresh(self, what: str) -> str:
        """Return a name that nothing else has."""
        self._names += 1
        return f"{what}-{self._names}"

    def create(self, name: str) -> str:
        """Create a topic for events."""
        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        try:
            wanted = {"num_partitions": self.sizes.partitions, "replication_factor": 1}
            admin.create_topics({name: wanted})
            admin.wait_for_topics([name])
        finally:
            admin.close()
        return name

    def prefill(self, shapes: Sequence[Shape]) -> None:
        """Fill a topic of each shape, side by side, with the same calls but for queues and pace."""
        sizes = self.sizes
        with contextlib.ExitStack() as running:
            children = []
            for shape in shapes:
                name = self.create(f"events-{shape.queues}-{shape.rate:.0f}-{shape.times}")
                events = sizes.events * shape.times
                topic = self._topics[shape] = Topic(name, events, sizes.partitions)
                # It ends a minute ago, so that nothing is too far ahead and nothing is deleted for its age.
                start_ms = clock.wall_ms() - 60_000 - int(events / shape.rate * 1_000)
                load = Load(shape.queues, start_ms, events=events, rate=shape.rate)
                sending = command(self.servers, topic.name, load)
                children.append((running.enter_context(Child(sending, self.folder, topic.name)), events))
            for child, events in children:
                _await_filled(child, events)

    def topic(self, shape: Shape) -> Topic:
        """Return the filled topic of a shape."""
        return self._topics[shape]


def _await_filled(child: Child, events: int) -> None:
    try:
        child.process.wait(PREFILL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{child.name} was not filled in {PREFILL_TIMEOUT_S:.0f} s") from None
    if child.output.read_text().strip() != str(events):
        raise BenchError(f"{child.name} was not filled: {child.said()}")
