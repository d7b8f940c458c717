"""The events that are measured: a seeded, fast stand-in for a call centre, and a process that sends them.

The same seed gives the same calls whatever the number of queues, so two topics differ in queue names alone.
A call is offered, queued, and abandoned or answered; some hold, some are transferred; it ends and is wrapped
up. At the default rate about ten thousand calls are open.

As a process: `python -m bench.load ADDRESS TOPIC LOAD-AS-JSON`. What lies in the past is sent at once; with
`live`, it then goes on at the pace of the clock until it is stopped.
"""

import asyncio
import dataclasses
import heapq
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from schemas import Abandoned, Answered, Ended, Event, Hold, Offered, Queued, Resumed, WrapUp
from stream import clock
from stream.simulate import Emission, produce

RATE = 1_000.0  # a very large centre
EVENTS_A_CALL = 5.1
MENU_MS, WAIT_MS, PATIENCE_MS, TALK_MS, WRAP_UP_MS = 4_000, 8_000, 15_000, 34_000, 8_000
ABANDONING, HOLDING, TRANSFERRED = 0.10, 0.12, 0.05


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. `open_calls`: instead of whole lives, so many calls that are answered and never end."""

    queues: int
    start_ms: int
    events: int | None = None
    rate: float = RATE  # events per second of event time
    live: bool = False
    open_calls: int | None = None
    seed: int = 1


def emissions(load: Load) -> Iterator[Emission]:
    """Yield the events of a load in order of time."""
    made = _open_calls(load) if load.open_calls is not None else _lives(load)
    for number, emission in enumerate(made):
        if load.events is not None and number >= load.events:
            return
        yield emission


def _lives(load: Load) -> Iterator[Emission]:
    chance = random.Random(load.seed)
    heap: list[tuple[int, int, Event]] = []
    planned, number, at_ms = 0, 0, float(load.start_ms)
    calls_per_ms = load.rate / EVENTS_A_CALL / 1_000.0
    while True:
        at_ms += chance.expovariate(calls_per_ms)
        while heap and heap[0][0] <= at_ms:
            due_ms, _, event = heapq.heappop(heap)
            yield Emission(due_ms, event)
        for event in _life(load, number, round(at_ms), chance):
            heapq.heappush(heap, (event.at, planned, event))
            planned += 1
        number += 1


def _life(load: Load, number: int, at_ms: int, chance: random.Random) -> Iterator[Event]:
    call_id, place, agent = f"{load.start_ms:x}-{number:07d}", chance.random(), f"agent-{number % 997:03d}"
    queue = f"queue-{int(place * load.queues):04d}"

    def later(mean_ms: float) -> int:
        return at_ms + 1 + round(chance.expovariate(1.0 / mean_ms))

    yield Offered(call_id=call_id, at=at_ms, queue=queue)
    at_ms = later(MENU_MS)
    yield Queued(call_id=call_id, at=at_ms, queue=queue)
    if chance.random() < ABANDONING:
        yield Abandoned(call_id=call_id, at=later(PATIENCE_MS))
        return
    at_ms = later(WAIT_MS)
    yield Answered(call_id=call_id, at=at_ms, agent=agent)
    if chance.random() < HOLDING:
        at_ms = later(TALK_MS / 3)
        yield Hold(call_id=call_id, at=at_ms)
        at_ms = later(TALK_MS / 3)
        yield Resumed(call_id=call_id, at=at_ms)
    if chance.random() < TRANSFERRED:
        at_ms = later(TALK_MS / 2)
        yield Queued(call_id=call_id, at=at_ms, queue=f"queue-{int((place + 0.3) % 1 * load.queues):04d}")
        at_ms = later(WAIT_MS)
        yield Answered(call_id=call_id, at=at_ms, agent=f"{agent}-2")
        agent = f"{agent}-2"
    at_ms = later(TALK_MS)
    yield Ended(call_id=call_id, at=at_ms)
    after_ms = later(WRAP_UP_MS)
    yield WrapUp(call_id=call_id, at=after_ms, agent=agent, duration_ms=after_ms - at_ms)


def _open_calls(load: Load) -> Iterator[Emission]:
    for number in range(load.open_calls or 0):
        call_id, queue = f"open-{number:07d}", f"queue-{number % load.queues:04d}"
        at_ms = load.start_ms + int(number * 3_000.0 / load.rate)
        for event in (
            Offered(call_id=call_id, at=at_ms, queue=queue),
            Queued(call_id=call_id, at=at_ms + 1, queue=queue),
            Answered(call_id=call_id, at=at_ms + 2, agent=f"agent-{number:06d}"),
        ):
            yield Emission(event.at, event)


def main() -> None:
    """Send a load; the number of events sent goes to stdout."""
    servers, topic, described = sys.argv[1:]
    load = Load(**json.loads(described))
    sent = asyncio.run(
        produce(emissions(load), servers, topic, speed=1.0 if load.live else None, now_ms=clock.wall_ms)
    )
    sys.stdout.write(f"{sent}\n")


def command(servers: str, topic: str, load: Load) -> list[str]:
    """Return the command of the process above."""
    described = json.dumps(dataclasses.asdict(load))
    return [sys.executable, "-m", "bench.load", servers, topic, described]


if __name__ == "__main__":
    main()
