"""What checkpoints cost: a worker that writes them only in every other turn of its run.

As a process: `python -m bench.saving worker --config FILE` is `callgauge worker` that saves nothing until SIGUSR1, and
nothing any more after SIGUSR2. A partition whose checkpoint falls into a quiet turn is asked again a second later; its
first one afterwards has more to write than usual, so the cost is told rather too high.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from bench.worker import Worker


@contextlib.contextmanager
def saving(worker: Worker) -> Iterator[None]:
    """Let it save meanwhile."""
    os.kill(worker.process.pid, signal.SIGUSR1)
    try:
        yield
    finally:
        os.kill(worker.process.pid, signal.SIGUSR2)


def _main() -> int:
    from stream import clock  # noqa: PLC0415 - the parent does without
    from stream.cli import main  # noqa: PLC0415
    from stream.engine.engine import Engine  # noqa: PLC0415

    save, saves = Engine._save, {"now": False}  # noqa: SLF001

    async def if_told(engine: Engine, shell: Any, owned: Any) -> None:
        if saves["now"]:
            await save(engine, shell, owned)
            return
        owned.saving = False
        owned.due_at_s = clock.monotonic_s() + 1.0
        owned.checkpoint_at_ms = clock.wall_ms()  # or the watchdog would miss it

    Engine._save = if_told  # type: ignore[method-assign]  # noqa: SLF001
    signal.signal(signal.SIGUSR1, lambda *_: saves.update(now=True))
    signal.signal(signal.SIGUSR2, lambda *_: saves.update(now=False))
    return main() or 0


if __name__ == "__main__":
    sys.exit(_main())
