"""Many worlds, one after another or on all cores, and the account of them."""

import dataclasses
import hashlib
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.simulation import weather
from tests.simulation.world import FAULTS, STEPS, World

SEED = "SIMULATION_SEED"
WORLDS_MAX_PER_CRASH = 0.1  # more worlds than this for a crash point: the storms are no storms
QUIET_LIVES = 3


class Disagreement(AssertionError):  # noqa: N818 - it reads as what it is
    """A world whose end, or whose way, was not right."""


@dataclass
class Account:
    """What happened in some worlds."""

    worlds: int = 0
    records: int = 0
    crashes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    histories: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    @property
    def crash_points(self) -> int:
        """Return how many times a process died at a chosen step."""
        return self.crashes.total()

    def missing(self) -> list[str]:
        """Return the steps and faults that never were."""
        return [name for name in STEPS if not self.crashes[name]] + [
            name for name in FAULTS if not self.faults[name]
        ]

    def add(self, told: "Told") -> None:
        """Add what a world told."""
        self.worlds += 1
        self.records += told.records
        self.crashes += told.crashes
        self.faults += told.faults
        self.histories.update(told.trace_hash.encode())

    def lines(self) -> Iterator[str]:
        """Tell it."""
        yield f"{self.worlds} worlds, {self.records} records, {self.crash_points} crash points, 0 differing"
        yield f"history {self.histories.hexdigest()}"
        for title, counts in (("crashed at", self.crashes), ("faults", self.faults)):
            yield f"{title}:"
            for name, number in sorted(counts.items()):
                yield f"  {number:8}  {name}"


@dataclass(frozen=True)
class Told:
    """What one world told."""

    records: int
    crashes: Counter[str]
    faults: Counter[str]
    trace_hash: str
    passages: int


def seed_from_environment() -> str:
    """Return the seed of this run: ``SIMULATION_SEED``, else a new one; the same each time where CI=true."""
    given = os.environ.get(SEED)
    if given:
        return given
    in_ci = os.environ.get("CI", "").lower() in {"1", "true"}
    return "1" if in_ci else str(random.SystemRandom().getrandbits(32))


def live_through(seed: str, **options: Any) -> Told:
    """Live through one world. Raises Disagreement, with the seed that shows it again."""
    world = World(seed, **options)
    try:
        world.run()
    except Exception as error:
        shown = ", ".join(f"{name}={value}" for name, value in options.items() if name != "storm")
        cause = f" ({error.__cause__!r})" if error.__cause__ is not None else ""
        raise Disagreement(
            f"{SEED}={seed}{' ' + shown if shown else ''}: {type(error).__name__}: {error}{cause}"
        ) from error
    records = sum(len(log.records) for log in world.broker.logs[world.settings.topics.events])
    return Told(records, world.crashes, world.counts, world.trace_hash, world.passages)


def simulate(
    seed: str, crash_points: int, jobs: int = 1, say: Callable[[str], None] | None = None
) -> Account:
    """Live through worlds until there were enough crash points, and every step and every fault.

    A seed with a slash, ``17/4``, is one world of a run. Raises Disagreement.
    """
    account = Account()
    if "/" in seed:
        account.add(live_through(seed))
        return account
    worlds_max = max(100, int(crash_points * WORLDS_MAX_PER_CRASH))
    for told in _in_order(_seeds(seed), jobs):
        account.add(told)
        if say is not None and account.worlds % 100 == 0:
            say(f"{account.worlds} worlds, {account.crash_points} crash points")
        if account.crash_points >= crash_points and not account.missing():
            return account
        if account.worlds >= worlds_max:
            raise Disagreement(f"{SEED}={seed}: {worlds_max} worlds, and never: {account.missing()}")
    raise AssertionError


def _seeds(seed: str) -> Iterator[str]:
    return (f"{seed}/{number}" for number in count())


def _in_order(seeds: Iterable[str], jobs: int) -> Iterator[Told]:
    """Tell of worlds in the order of their seeds, whichever is done first."""
    if jobs == 1:
        yield from map(live_through, seeds)
        return
    seeds = iter(seeds)
    with ProcessPoolExecutor(jobs) as pool:
        waiting = [pool.submit(live_through, next(seeds)) for _ in range(2 * jobs)]
        try:
            while True:
                yield waiting.pop(0).result()
                waiting.append(pool.submit(live_through, next(seeds)))
        finally:
            pool.shutdown(cancel_futures=True)


def every_passage(seed: str, step: int, offset: int = 0) -> Iterator[Told]:
    """Live through one quiet world again and again, with one death each: at every ``step``-th crash point passed."""
    storm = dataclasses.replace(weather.CALM)
    quiet = live_through(seed, lives=QUIET_LIVES, storm=storm)
    for number in range(1 + offset, quiet.passages + 1, step):
        yield live_through(seed, lives=QUIET_LIVES, storm=dataclasses.replace(storm), dies_at=number)
