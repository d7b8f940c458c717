"""A feed as it really arrives: late, out of order, some of it twice."""

from __future__ import annotations

import copy
import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stream.simulate.emission import Emission


@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """How bad: every event is sent up to `delay_ms_max` late, and twice with that probability."""

    delay_ms_max: int = 0
    duplicate_probability: float = 0.0

    def __post_init__(self) -> None:
        if self.delay_ms_max < 0:
            raise ValueError(f"delay_ms_max is {self.delay_ms_max}: below 0")
        if not 0.0 <= self.duplicate_probability <= 1.0:
            raise ValueError(f"duplicate_probability is {self.duplicate_probability}, not within 0..1")


def disordered(emissions: Iterable[Emission], disorder: Disorder, seed: int) -> Iterator[Emission]:
    """Yield the same events by the time they are sent now, some twice.

    Never sends before an event happened nor more than `delay_ms_max` after. With duplicates every
    event gets an `event_id`, the same one on both copies. Holds back only what is under way.
    """
    source = random.Random(f"{seed}/disorder")  # noqa: S311  # simulation, not cryptography
    under_way: list[tuple[int, int, Emission]] = []
    number = 0
    for emission in emissions:
        while under_way and under_way[0][0] <= emission.emit_at_ms:
            yield heapq.heappop(under_way)[2]
        event = emission.event
        copies = 1
        if disorder.duplicate_probability:
            event = copy.copy(event)  # somebody may hold the undisturbed one
            event.event_id = f"{number:x}"
            copies += source.random() < disorder.duplicate_probability
        for _ in range(copies):
            number += 1
            sent_at_ms = emission.emit_at_ms + source.randint(0, disorder.delay_ms_max)
            heapq.heappush(under_way, (sent_at_ms, number, Emission(sent_at_ms, event)))
    while under_way:
        yield heapq.heappop(under_way)[2]
