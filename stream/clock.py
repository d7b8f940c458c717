"""The only place that reads a clock; everything else is given the time or asks here."""

import time


def wall_ms() -> int:
    """Milliseconds since the epoch; may run backwards when the machine's clock is set."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Seconds from an arbitrary start; never runs backwards, so use it for spans and deadlines."""
    return time.monotonic()  # noqa: TID251 - this is the module that everything else reads the clock through
