"""A few hours of calls over some queues, seeded, and what the tests of the replay make of them."""

import random
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas import Abandoned, Answered, Ended, Event, Hold, Offered, Queued, WrapUp, encode
from stream.core.rules import BoardRules, Clock, FoldRules
from stream.replay import RecordFeed, Replay

START_MS = 1_772_438_400_000  # 2026-03-02T08:00:00Z
HOUR_MS = 3_600_000
PARTITIONS = 3


class Record(NamedTuple):
    """A record as Kafka hands it over."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes


def rules(**changes: object) -> BoardRules:
    """Return the rules of most tests."""
    fold = FoldRules(grace_ms=60_000)
    return BoardRules(ZoneInfo("Europe/Amsterdam"), PARTITIONS, clock=Clock.WALL, fold=fold, **changes)  # type: ignore[arg-type]


def life(number: int, at_ms: int, chance: random.Random) -> Iterator[Event]:
    """Yield the events of one call."""
    call_id, queue = f"call-{number}", chance.choice(("sales", "service", 'odd "queue"\\\n'))

    def later(mean_s: float) -> int:
        return at_ms + 1 + round(chance.expovariate(1 / mean_s) * 1_000)

    yield Offered(call_id=call_id, at=at_ms, queue=queue)
    at_ms = later(5)
    yield Queued(call_id=call_id, at=at_ms, queue=queue)
    if chance.random() < 0.2:
        yield Abandoned(call_id=call_id, at=later(40))
        return
    at_ms = later(20)
    yield Answered(call_id=call_id, at=at_ms, agent="ann")
    if chance.random() < 0.2:
        at_ms = later(30)
        yield Hold(call_id=call_id, at=at_ms)
    at_ms = later(180)
    yield Ended(call_id=call_id, at=at_ms)
    at_ms = later(30)
    yield WrapUp(call_id=call_id, at=at_ms, agent="ann", duration_ms=20_000)


def logs(seed: int, calls: int = 300, hours: float = 3.0) -> list[list[Record]]:
    """Return the log of each partition: disorder within and beyond the grace, duplicates, and what is no event."""
    chance = random.Random(seed)
    arrivals: list[tuple[float, bytes, bytes]] = []
    for number in range(calls):
        for event in life(number, START_MS + int(chance.random() * hours * HOUR_MS), chance):
            delay_ms = chance.choice((0, 0, 0, chance.randrange(50_000), chance.randrange(200_000)))
            copies = 1 + (chance.random() < 0.05)
            arrivals += [(event.at + delay_ms, event.call_id.encode(), encode(event))] * copies
    arrivals += [(START_MS + chance.randrange(HOUR_MS), b"broken", b"{") for _ in range(5)]
    arrivals.sort(key=lambda arrival: arrival[0])
    found: list[list[Record]] = [[] for _ in range(PARTITIONS)]
    for _, key, value in arrivals:
        log = found[zlib.crc32(key) % PARTITIONS]
        log.append(Record(len(log), None, key, value))
    return found


def replay_of(history: Sequence[Sequence[Record]], batch: int = 1_000, step_ms: int | None = None) -> Replay:
    """Return a replay of the logs that reads so much at once."""
    feeds = [RecordFeed(log, partition, batch) for partition, log in enumerate(history)]
    return Replay(feeds, rules(), step_ms=step_ms)
