"""How long a worker is away when it is killed, and how much memory it takes.

50 queues and 100,000 calls that somebody talks on. `kill -9`, and the same instance at once again: from the
start of the process to the first answer of /metrics with an event sent after the kill. And the same with next to
nothing to restore: that is Python's start and Faust's join of the group.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from bench.child import BenchError, Child
from bench.latency import PROBE, mark
from bench.load import RATE, Load, command
from bench.setting import Setting
from bench.worker import Worker
from stream import clock

QUEUES = 50
FEW = 100
EVENTS_AN_OPEN_CALL = 3
TIMEOUT_S = 300.0
POLL_S = 0.02
_MARK_EVERY_S = (0.02, 0.05)
_VISIBLE = re.compile(rf'^callcenter_contacts_offered_total\{{queue="{PROBE}"\}} '.encode(), re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Restart:
    """What was measured with so many open calls."""

    ready_s: float  # from the start of the process to /readyz
    counted_s: float  # ... to the first new event on /metrics
    rss_bytes: int  # before the kill
    rss_restored_bytes: int


def run(setting: Setting, calls: int) -> Restart:
    """Measure one restart."""
    events = calls * EVENTS_AN_OPEN_CALL
    topic = setting.create(setting.fresh("open-calls"))
    load = Load(
        queues=QUEUES,
        start_ms=clock.wall_ms() - 5_000 - int(events / RATE * 1_000),
        open_calls=calls,
    )
    with Child(command(setting.servers, topic, load), setting.folder, setting.fresh("sender")) as sender:
        sender.finish(TIMEOUT_S)
    with Worker(setting, topic) as worker:
        worker.watch_until_saved(events, TIMEOUT_S)
        worker.check_all_counted(events)
        rss_bytes = worker.rss_bytes
        worker.kill()
    with Worker(setting, topic, group=worker.group) as again:
        return asyncio.run(_measure(setting, topic, again, rss_bytes))


async def _measure(setting: Setting, topic: str, worker: Worker, rss_bytes: int) -> Restart:
    marking = asyncio.ensure_future(mark(setting.servers, topic, [], TIMEOUT_S, _MARK_EVERY_S))
    try:
        ready_s = await _until(worker, worker.is_ready)
        counted_s = await _until(worker, lambda: _VISIBLE.search(worker.get("/metrics")) is not None)
    finally:
        marking.cancel()
    worker.look()
    return Restart(ready_s, counted_s, rss_bytes, worker.rss_bytes)


async def _until(worker: Worker, holds: Callable[[], bool]) -> float:
    while not await asyncio.to_thread(holds):
        if worker.process.poll() is not None:
            raise BenchError(f"{worker.name} ended: {worker.said()}")
        await asyncio.sleep(POLL_S)
    return (clock.wall_ms() - worker.started_ms) / 1_000
