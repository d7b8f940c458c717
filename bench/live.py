"""A live centre: a topic with history, 1,000 further events a second, and a worker that keeps up."""

import contextlib
from collections.abc import Iterator

from bench.child import Child
from bench.load import Load, command
from bench.setting import Setting
from bench.worker import Worker
from stream import clock

CURRENT_TIMEOUT_S = 180.0


@contextlib.contextmanager
def live(setting: Setting, queues: int) -> Iterator[tuple[str, Worker]]:
    """Lend the topic and the worker, which has caught up."""
    topic = setting.create(setting.fresh(f"live-{queues}"))
    history_ms = setting.sizes.history_s * 1_000
    load = Load(queues=queues, start_ms=clock.wall_ms() - history_ms, live=True, seed=2)
    sender = Child(command(setting.servers, topic, load), setting.folder, setting.fresh("sender"))
    with sender, Worker(setting, topic) as worker:
        worker.watch_until_ready()
        worker.watch_until_current(CURRENT_TIMEOUT_S)
        yield topic, worker
