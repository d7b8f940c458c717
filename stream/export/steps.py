"""Work in small steps on the event loop, between which the processing goes on.

A thread would hold the interpreter's lock just as long, and make the loop ask for it again after every system call.
"""

import asyncio
from collections.abc import Callable, Iterator


async def in_steps(steps: Iterator[None], monotonic_s: Callable[[], float]) -> float:
    """Do it, and return for how many seconds the loop was left to others."""
    rested_s = 0.0
    for _ in steps:
        rests_s = monotonic_s()
        await asyncio.sleep(0)
        rested_s += monotonic_s() - rests_s
    return rested_s
