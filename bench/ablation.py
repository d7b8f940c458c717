"""What the worker costs when it counts nothing: it fetches, decodes, checks, finds the call of an event, and is done.

What is left between this and a bare loop is what all counting may take: the life of a call, cells, stage 2, and what is
published and saved of them.

As a process: `python -m bench.ablation worker --config FILE` is `callgauge worker` so disabled. Its core is plain
Python, also where it could be compiled: a table of transitions that is compiled cannot be exchanged.
"""

import sys
from typing import Any

from bench import full_job
from bench.full_job import FullJob
from bench.setting import Setting, Topic


def run(setting: Setting, topic: Topic) -> FullJob:
    """Measure one pass over the topic."""
    return full_job.run(setting, topic, module="bench.ablation")


def _main() -> int:
    from stream import compiled  # noqa: PLC0415 - the parent does without

    compiled.avoid()
    from stream.cli import main  # noqa: PLC0415
    from stream.core import calls  # noqa: PLC0415

    def nothing(*_: Any) -> None:
        """Let an event change nothing."""

    calls.TRANSITIONS = tuple(tuple(nothing for _ in row) for row in calls.TRANSITIONS)
    return main() or 0


if __name__ == "__main__":
    sys.exit(_main())
