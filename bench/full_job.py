"""What the whole job costs, and whether that grows with the number of queues.

The real worker, from nothing, over the whole topic: decode, the full fold, both stages, publications,
checkpoints. From the first publication with events to the last one before the end; every run is checked to
have counted every event. What may disturb it is there in every other turn of a run: eight that ask for /metrics every
second, half of them slow to read it, 200 open wall pages, or its own checkpoints.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from bench.child import BenchError
from bench.figures import Throughput, late_by_early, throughput
from bench.setting import Setting, Topic
from bench.turns import Disturbance, Turns, in_turns
from bench.worker import Worker

TIMEOUT_S = 1_800.0
SCRAPE_INTERVAL_S = 1.0
SCRAPERS = 8
SLOW_S = 0.05  # between two pieces of an answer


@dataclass(frozen=True, slots=True)
class FullJob:
    """A run of the worker."""

    throughput: Throughput
    late_by_early: float  # CPU for an event in the last third against the first
    threads: tuple[float, ...]  # CPU us for an event, by thread, the largest first
    rss_bytes: int
    turns: tuple[tuple[Throughput, Throughput], ...] = ()  # undisturbed, disturbed


@dataclass(frozen=True, slots=True)
class Disturbed:
    """By what, and for how long at a time."""

    by: Disturbance
    turn_s: float
    saves: bool = True  # whether it writes checkpoints of its own accord


def run(
    setting: Setting, topic: Topic, *, module: str = "stream", disturbed: Disturbed | None = None
) -> FullJob:
    """Measure one pass over the topic. ``module``: the worker, or one that is changed for a question."""
    saved = disturbed is None or disturbed.saves
    with Worker(setting, topic.name, module=module) as worker:
        with (
            in_turns(worker, disturbed.by, disturbed.turn_s)
            if disturbed
            else contextlib.nullcontext(Turns()) as turns
        ):
            if saved:
                worker.watch_until_saved(topic.events, TIMEOUT_S)
            else:
                worker.watch_until_published(topic.events, TIMEOUT_S)
        if saved:  # what /metrics tells of the records is as of the last checkpoint
            worker.check_all_counted(topic.events)
        worker.stop()
        progress = worker.progress(topic.events)
        measured = throughput(progress, worker.cpu)
        return FullJob(
            measured,
            late_by_early(progress, worker.cpu),
            _threads(worker, measured, progress[-1].at_ms),
            worker.rss_bytes,
            tuple(turns.pairs(progress, worker.cpu)),
        )


def _threads(worker: Worker, measured: Throughput, last_ms: float) -> tuple[float, ...]:
    """Attribute the CPU to threads: the loop with the fold, the fetching one, and the pool's."""
    first_ms = last_ms - measured.seconds * 1_000
    inside = [threads for at_ms, threads in worker.threads if first_ms <= at_ms <= last_ms]
    if len(inside) < 2:
        return ()
    spent = {number: inside[-1][number] - inside[0].get(number, 0.0) for number in inside[-1]}
    whole = sum(spent.values()) or 1.0
    return tuple(sorted((measured.cpu_us * cpu_s / whole for cpu_s in spent.values()), reverse=True))


@contextlib.contextmanager
def scraping(_: Setting, worker: Worker) -> Iterator[None]:
    """Let eight scrapers ask meanwhile."""
    done = threading.Event()

    def scrape(pause_s: float) -> None:
        while not done.wait(SCRAPE_INTERVAL_S):
            with contextlib.suppress(OSError, BenchError):  # it has not begun to listen
                worker.get("/metrics", {"Accept-Encoding": "gzip"}, pause_s=pause_s)

    threads = [threading.Thread(target=scrape, args=(number % 2 * SLOW_S,)) for number in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
