"""Closed intervals and days of a replay (contract, section 6), in their order: by window, start, queue.

An interval is final at a step of the replay; days are sums of intervals and come first in the order. So intervals wait
in a temporary file, and memory holds the days alone.
"""

import tempfile
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Any, Final, Self

import msgspec

from stream.core import kpi
from stream.core.board import DAY, INTERVAL, interval_row, merge_counts
from stream.core.counts import Counts
from stream.core.rules import BoardRules
from stream.core.window import day_end_ms, day_start_ms

# In memory up to here: a year of a few queues. More goes to the temporary directory.
IN_MEMORY_BYTES: Final = 32 * 1024 * 1024
COLUMNS: Final = ("queue", "window", "start", "end", *kpi.interval_values({}))


Days = dict[tuple[int, str], Counts]  # (start in ms, queue) -> counts


def add_to_day(days: Days, zone: tzinfo, start_ms: int, queue: str, counts: Counts) -> None:
    """Add an interval of a queue to its local day."""
    day = day_start_ms(start_ms, zone), queue
    days[day] = merge_counts([days.get(day, {}), counts])


class Rows:
    """Collects intervals in the order in which they become final. A context manager: it holds a temporary file."""

    def __init__(self, rules: BoardRules) -> None:
        self._rules = rules
        self._days: Days = {}
        self._intervals = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - lives as long as this

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the temporary file."""
        self._intervals.close()

    def add(self, closed: Iterable[tuple[int, str, Counts]]) -> None:
        """Take intervals that are final: start in ms, queue, counts."""
        zone = self._rules.time_zone
        for start_ms, queue, counts in closed:
            row = interval_row(queue, INTERVAL, start_ms, start_ms + self._rules.interval_ms, counts, zone)
            self._intervals.write(msgspec.json.encode(row) + b"\n")
            add_to_day(self._days, zone, start_ms, queue, counts)

    def lines(self) -> Iterator[bytes]:
        """Yield every row as a line of JSON."""
        zone = self._rules.time_zone
        for (start_ms, queue), counts in sorted(self._days.items()):
            row = interval_row(queue, DAY, start_ms, day_end_ms(start_ms, zone), counts, zone)
            yield msgspec.json.encode(row) + b"\n"
        self._intervals.seek(0)
        yield from self._intervals

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every row as a mapping."""
        return map(msgspec.json.decode, self.lines())
