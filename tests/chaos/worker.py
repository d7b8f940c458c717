"""`callgauge`, with a wall clock that jumps: CHAOS_CLOCK_JUMP is ``AFTER_S:BY_S``. All of the process sees it."""

import os
import sys
import time

JUMP = "CHAOS_CLOCK_JUMP"


def jump(after_s: float, by_s: float) -> None:
    """Set the wall clock of this process that much ahead (or back), some time from now."""
    real_s, real_ns, monotonic_s = time.time, time.time_ns, time.monotonic  # noqa: TID251 - what is to be changed
    begin_s = monotonic_s()

    def by() -> float:
        return by_s if monotonic_s() - begin_s >= after_s else 0.0

    time.time = lambda: real_s() + by()  # noqa: TID251
    time.time_ns = lambda: real_ns() + int(by() * 1e9)


if __name__ == "__main__":
    if os.environ.get(JUMP):
        jump(*map(float, os.environ[JUMP].split(":")))
    from stream.cli import main  # after the clock was changed

    sys.exit(main())
