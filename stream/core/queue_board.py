"""Stage 2, one queue: cells from all source partitions, added up into buckets, quarter hours and windows.

Theory of operation. Source partitions send absolute values. ``_Part`` keeps, for one of them, the cells that can still
change; a new value replaces the old one and only the difference is added to the sums. What is final on its partition is
let go of: it is in the sums already. Windows are running sums that follow the board's clock when somebody looks.
``LONGEST_WAIT_MS`` is a maximum and cannot be corrected by a difference, so it is kept beside the sums, by bucket.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from stream.core import fields as f
from stream.core.rules import QUARTER_MS
from stream.core.snapshot import HistogramView, QueueView, WindowView
from stream.core.wire import QueueUpdate

Counts = dict[int, int]


def add(into: Counts, counts: Mapping[int, int], sign: int = 1) -> None:
    """Add the counts of a cell to others; zeros vanish."""
    for field, count in counts.items():
        total = into.get(field, 0) + sign * count
        if total:
            into[field] = total
        else:
            into.pop(field, None)


class Part(msgspec.Struct, array_like=True, gc=False):
    """What one source partition has said about a queue."""

    offset: int = -1
    oldest_waiting_at_ms: int | None = None
    totals: Counts = msgspec.field(default_factory=dict)
    histograms: list[list[int]] = msgspec.field(default_factory=list)
    cells: dict[int, tuple[int, Counts]] = msgspec.field(default_factory=dict)  # bucket -> (offset, counts)


class QueueState(msgspec.Struct, array_like=True, gc=False):
    """Everything of a queue that is saved."""

    name: str
    first_at_ms: int
    parts: dict[int, Part] = msgspec.field(default_factory=dict)
    sums: dict[int, Counts] = msgspec.field(default_factory=dict)  # by bucket
    longest: dict[int, int] = msgspec.field(default_factory=dict)  # by bucket
    final_longest: dict[int, int] = msgspec.field(default_factory=dict)  # of parts that are final there
    quarters: dict[int, Counts] = msgspec.field(default_factory=dict)  # by number of the quarter hour
    quarter_longest: dict[int, int] = msgspec.field(default_factory=dict)


class _Window:
    """A running sum over [start, end), in buckets."""

    __slots__ = ("counts", "end", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self.counts: Counts = {}


class QueueBoard:
    """One queue on the board of its shard."""

    __slots__ = (
        "_bucket_ms",
        "_per_quarter",
        "_windows",
        "kept_from",
        "state",
        "trend_cache",
        "version",
        "view_cache",
    )

    def __init__(self, state: QueueState, windows: int, bucket_ms: int) -> None:
        self.state = state
        self.version = 0  # grows with every change
        self.kept_from = 0  # buckets before this have gone into their quarter only
        self.view_cache: tuple[object, QueueView] | None = None
        self.trend_cache: tuple[object, tuple[WindowView, ...]] | None = None
        self._windows = [_Window() for _ in range(windows)]
        self._bucket_ms = bucket_ms
        self._per_quarter = max(1, QUARTER_MS // bucket_ms)

    # --- taking in -----------------------------------------------------------------------------------------------

    def absorb(self, partition: int, offset: int, update: QueueUpdate, final_before: int) -> list[int]:
        """Take what a source partition says; return the buckets that changed.

        ``final_before``: buckets before this were final on that partition already, and are in the sums.
        """
        state = self.state
        part = state.parts.get(partition)
        if part is None:
            part = state.parts[partition] = Part()
        if offset >= part.offset:
            part.offset = offset
            part.oldest_waiting_at_ms = update.oldest_waiting_at_ms
            part.totals = update.totals
            part.histograms = update.histograms
        state.first_at_ms = min(state.first_at_ms, update.first_at_ms)
        self.version += 1
        changed = []
        for bucket, counts in update.cells:
            held = part.cells.get(bucket)
            if bucket < final_before or (held is not None and held[0] > offset):
                continue
            part.cells[bucket] = (offset, counts)
            self._replace(bucket, held[1] if held else {}, counts)
            changed.append(bucket)
        return changed

    def settle(self, partition: int, bucket: int) -> None:
        """Let go of a cell that is final on its partition."""
        held = self.state.parts[partition].cells.pop(bucket, None)
        if held is not None and f.LONGEST_WAIT_MS in held[1]:
            finals = self.state.final_longest
            finals[bucket] = max(held[1][f.LONGEST_WAIT_MS], finals.get(bucket, 0))

    def _replace(self, bucket: int, old: Counts, new: Counts) -> None:
        difference = {
            field: count - old.get(field, 0) for field, count in new.items() if field != f.LONGEST_WAIT_MS
        }
        for field, count in old.items():
            if field not in new and field != f.LONGEST_WAIT_MS:
                difference[field] = -count
        state = self.state
        add(state.sums.setdefault(bucket, {}), difference)
        add(state.quarters.setdefault(bucket // self._per_quarter, {}), difference)
        for window in self._windows:
            if window.start <= bucket < window.end:
                add(window.counts, difference)
        if old.get(f.LONGEST_WAIT_MS) != new.get(f.LONGEST_WAIT_MS):
            self._replace_longest(bucket)

    def _replace_longest(self, bucket: int) -> None:
        state = self.state
        waits = [
            held[1][f.LONGEST_WAIT_MS]
            for part in state.parts.values()
            if (held := part.cells.get(bucket)) is not None and f.LONGEST_WAIT_MS in held[1]
        ]
        if bucket in state.final_longest:
            waits.append(state.final_longest[bucket])
        _set(state.longest, bucket, max(waits, default=None))
        quarter = bucket // self._per_quarter
        first = quarter * self._per_quarter
        in_quarter = [
            state.longest[other]
            for other in range(first, first + self._per_quarter)
            if other in state.longest
        ]
        _set(state.quarter_longest, quarter, max(in_quarter, default=None))

    def forget_before(self, bucket: int, quarter: int, keep: set[int]) -> None:
        """Drop the sums of old buckets, and of old quarters but those in ``keep``."""
        state = self.state
        self.kept_from = max(self.kept_from, bucket)
        for table in (state.sums, state.longest, state.final_longest):
            for old in [held for held in table if held < bucket]:
                del table[old]
        for table in (state.quarters, state.quarter_longest):
            for old in [held for held in table if held < quarter and held not in keep]:
                del table[old]

    # --- looking -------------------------------------------------------------------------------------------------

    def window(self, index: int, start: int, end: int) -> Counts:
        """Return the counts of a window, moved to the buckets [start, end)."""
        window = self._windows[index]
        if window.start != start or window.end != end:
            if window.start <= start < window.end <= end and window.start >= self.kept_from:
                for bucket in range(window.start, start):
                    add(window.counts, self.state.sums.get(bucket, {}), -1)
                for bucket in range(window.end, end):
                    add(window.counts, self.state.sums.get(bucket, {}))
            else:
                window.counts = self.sum(start, end)
            window.start, window.end = start, end
        counts = dict(window.counts)
        _set(counts, f.LONGEST_WAIT_MS, self.longest_ms(start, end))
        return counts

    def sum(self, start: int, end: int) -> Counts:
        """Add up the buckets [start, end), by whole quarters where possible; without the longest wait."""
        total: Counts = {}
        for table, first, last in self._spans(start, end):
            numbers = self.state.quarters if table else self.state.sums
            for number in _present(numbers, first, last):
                add(total, numbers[number])
        return total

    def interval(self, start: int, end: int) -> Counts:
        """Return the counts of the buckets [start, end), the longest wait among them."""
        counts = self.sum(start, end)
        _set(counts, f.LONGEST_WAIT_MS, self.longest_ms(start, end))
        return counts

    def longest_ms(self, start: int, end: int) -> int | None:
        """Return the longest wait that ended in the buckets [start, end)."""
        longest: int | None = None
        for table, first, last in self._spans(start, end):
            numbers = self.state.quarter_longest if table else self.state.longest
            for number in _present(numbers, first, last):
                wait_ms = numbers[number]
                longest = wait_ms if longest is None or wait_ms > longest else longest
        return longest

    def _spans(self, start: int, end: int) -> list[tuple[bool, int, int]]:
        """Cut a range into (whole quarters?, first, last + 1)."""
        size = self._per_quarter
        first, last = -(-start // size), end // size
        if first >= last:
            return [(False, start, end)]
        return [(False, start, first * size), (True, first, last), (False, last * size, end)]

    def totals(self) -> Counts:
        """Return the sums since the beginning."""
        totals: Counts = {}
        for part in self.state.parts.values():
            add(totals, part.totals)
        return totals

    def histograms(self, bounds_ms: tuple[int, ...], totals: Counts) -> dict[str, HistogramView]:
        """Return the histograms since the beginning."""
        summed = [[0] * (len(bounds_ms) + 1) for _ in f.HISTOGRAM_NAMES]
        for part in self.state.parts.values():
            for total, counts in zip(summed, part.histograms, strict=False):
                if len(counts) == len(total):
                    total[:] = map(int.__add__, total, counts)
        return {
            name: HistogramView(bounds_ms, tuple(counts), totals.get(f.HISTOGRAMS[name][1], 0))
            for name, counts in zip(f.HISTOGRAM_NAMES, summed, strict=True)
        }

    def oldest_waiting_at_ms(self) -> int | None:
        """Return when the visit that waits longest was queued; None when nobody waits."""
        return min(
            (
                part.oldest_waiting_at_ms
                for part in self.state.parts.values()
                if part.oldest_waiting_at_ms is not None
            ),
            default=None,
        )

    def overdue_after(self, bucket: int) -> int:
        """Return how many visits reach their target only in buckets after this one."""
        sums = self.state.sums
        return sum(
            sums[later].get(f.OVERDUE, 0) for later in _present(sums, bucket + 1, max(sums, default=0) + 1)
        )


def _set(table: dict[int, int], key: int, value: int | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


_FEW: Final = 4


def _present(table: Mapping[int, object], first: int, last: int) -> Iterable[int]:
    """Return the keys of a table in [first, last), by whichever is shorter."""
    if last - first <= _FEW * len(table):
        return [key for key in range(first, last) if key in table]
    return [key for key in table if first <= key < last]
