"""Where the worker's time goes. Not a part of the default run.

The same worker, with the CPU clock of the thread read around what happens once a batch or once a tick: folds,
publications, dumps, the board. That costs nothing for an event, unlike a profiler. What is left of the main
thread is Faust, the loop, and the Kafka client's sending; what is left of the process is mostly the thread
that fetches.

As a process: `python -m bench.breakdown worker --config FILE` is `callgauge worker` so instrumented; at its
end it writes the figures to stderr, as one line that begins with `breakdown:`.
"""

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.figures import US_PER_S
from bench.full_job import TIMEOUT_S
from bench.report import Number
from bench.setting import Setting, Topic
from bench.worker import Worker

_MARK = "breakdown:"


def run(setting: Setting, topic: Topic, of: str) -> list[Number]:
    """Measure one pass over the topic; whole life of the process, so start and stop are in it."""
    with Worker(setting, topic.name, module="bench.breakdown") as worker:
        worker.watch_until_saved(topic.events, TIMEOUT_S)
        worker.check_all_counted(topic.events)
        worker.stop()
        return list(_numbers(worker, topic.events, of))


def _numbers(worker: Worker, events: int, of: str) -> Iterator[Number]:
    line = next(line for line in worker.errors.read_text().splitlines() if line.startswith(_MARK))
    spent: dict[str, list[float]] = json.loads(line.removeprefix(_MARK))
    known_s = 0.0
    for what, (calls, cpu_s) in sorted(spent.items(), key=lambda item: -item[1][1]):
        main = what in ("main thread", "all threads")
        known_s += 0.0 if main else cpu_s
        yield Number(
            f"breakdown, {of}: {what}", cpu_s / events * US_PER_S, "us/event", detail=f"{calls:.0f} calls"
        )
    rest_s = spent["main thread"][1] - known_s
    yield Number(f"breakdown, {of}: rest of the main thread", rest_s / events * US_PER_S, "us/event")
    others_s = spent["all threads"][1] - spent["main thread"][1]
    yield Number(f"breakdown, {of}: other threads (fetch)", others_s / events * US_PER_S, "us/event")


class Meter:
    """CPU seconds of the calling thread, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}

    def wrap(self, owner: Any, method: str, what: str) -> None:
        """Measure a synchronous method, which must not call another measured one."""
        original: Callable[..., Any] = getattr(owner, method)
        entry = self.spent.setdefault(what, [0.0, 0.0])

        @functools.wraps(original)
        def measured(*arguments: Any, **options: Any) -> Any:
            began_s = time.thread_time()
            try:
                return original(*arguments, **options)
            finally:
                entry[0] += 1
                entry[1] += time.thread_time() - began_s

        setattr(owner, method, measured)


def _main() -> int:
    from stream.cli import main  # noqa: PLC0415 - the parent does without
    from stream.core import board, calls  # noqa: PLC0415
    from stream.engine import worker  # noqa: PLC0415

    meter = Meter()
    stage, shard = calls.CallsStage, board.BoardShard
    meter.wrap(stage, "fold", "stage 1: decode and fold")
    meter.wrap(stage, "publish", "stage 1: publications")
    meter.wrap(stage, "encode", "stage 1: checkpoints")
    meter.wrap(shard, "fold", "stage 2: fold")
    meter.wrap(shard, "take_closed", "stage 2: closed intervals")
    meter.wrap(shard, "encode", "stage 2: checkpoints")

    start = worker._start  # noqa: SLF001 - from here on events flow
    began = [0.0, 0.0]

    async def started(engine: Any) -> None:
        began[:] = [time.thread_time(), time.process_time()]
        await start(engine)

    worker._start = started  # noqa: SLF001
    try:
        return main() or 0
    finally:
        meter.spent["main thread"] = [1, time.thread_time() - began[0]]
        meter.spent["all threads"] = [1, time.process_time() - began[1]]
        sys.stderr.write(f"{_MARK} {json.dumps(meter.spent)}\n")


if __name__ == "__main__":
    sys.exit(_main())
