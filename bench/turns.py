"""In turns within one run: a few seconds undisturbed, a few seconds disturbed, again and again.

Neighbouring turns meet the same noise, which two runs on a shared machine do not: what slows a worker by a twentieth
can be seen. The order is quiet, disturbed, disturbed, quiet, so that a worker that gets slower or faster in the course
of a run favours neither.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from bench.figures import Sample, Throughput, between
from bench.worker import Worker
from stream import clock

READY_LOOK_S = 0.2
WARM_UP_S = 20.0  # a worker that begins from nothing holds more and more at first, and an event costs more

Disturbance = Callable[[Worker], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Turn:
    """From when to when, of the wall clock in ms, and whether anything disturbed."""

    from_ms: float
    to_ms: float
    disturbed: bool


@dataclass(slots=True)
class Turns:
    """The turns of one run so far."""

    taken: list[Turn] = field(default_factory=list)

    def pairs(self, progress: Sequence[Sample], cpu: Sequence[Sample]) -> list[tuple[Throughput, Throughput]]:
        """Return what was done in each pair of neighbours, as (quiet, disturbed); only of turns before the end."""
        ends_ms = progress[-1].at_ms
        whole = [turn for turn in self.taken if turn.from_ms >= progress[0].at_ms and turn.to_ms <= ends_ms]
        pairs = []
        for one, other in zip(whole[::2], whole[1::2], strict=False):
            quiet, disturbed = (other, one) if one.disturbed else (one, other)
            pairs.append(
                (
                    between(progress, cpu, quiet.from_ms, quiet.to_ms),
                    between(progress, cpu, disturbed.from_ms, disturbed.to_ms),
                )
            )
        return pairs


@contextlib.contextmanager
def in_turns(worker: Worker, disturb: Disturbance, turn_s: float) -> Iterator[Turns]:
    """Disturb a worker in every other turn, from some time after it is ready."""
    turns, done = Turns(), threading.Event()

    def take(*, disturbed: bool) -> None:
        with disturb(worker) if disturbed else contextlib.nullcontext():
            from_ms = clock.wall_ms()
            if not done.wait(turn_s):
                turns.taken.append(Turn(from_ms, clock.wall_ms(), disturbed))

    def take_all() -> None:
        while not worker.is_ready():
            if done.wait(READY_LOOK_S):
                return
        done.wait(WARM_UP_S)
        first_disturbed = False
        while not done.is_set():
            take(disturbed=first_disturbed)
            take(disturbed=not first_disturbed)
            first_disturbed = not first_disturbed

    thread = threading.Thread(target=take_all)
    thread.start()
    try:
        yield turns
    finally:
        done.set()
        thread.join()
