"""Stage 2, one queue: cells from all source partitions, added up into buckets, quarter hours and windows.

Theory of operation. Source partitions send absolute values. ``_Part`` keeps, for one of them, the cells that can still
change; a new value replaces the old one and only the difference is added to the sums. What is final on its partition is
let go of: it is in the sums already. Windows are running sums that follow the board's clock when somebody looks.
``LONGEST_WAIT_MS`` is a maximum and cannot be corrected by a difference, so it is kept beside the sums, by bucket.
"""

from collections.abc import Iterable, Mapping
from operator import add as add_up
from operator import sub as subtract
from typing import Final

import msgspec

from stream.core import fields as f
from stream.core.counts import Counts, add, total_of
from stream.core.rules import QUARTER_MS
from stream.core.snapshot import HistogramView, QueueView, WindowView
from stream.core.wire import QueueUpdate

_NOTHING: Final[Mapping[int, int]] = {}
_LONGEST: Final = f.LONGEST_WAIT_MS
_NO_WAIT: Final = -1
_NO_VIEW: Final = HistogramView((), (), 0)
_FEW: Final = 4


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
    # of parts that are final there
    final_quarter_longest: dict[int, int] = msgspec.field(default_factory=dict)


class _Window:
    """A running sum over [start, end), in buckets. ``shown`` is given out and never changed afterwards."""

    __slots__ = ("counts", "end", "longest_ms", "shown", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self.counts: Counts = {}  # without the longest wait
        self.longest_ms = _NO_WAIT
        self.shown: Counts | None = None


class QueueBoard:
    """One queue on the board of its shard."""

    __slots__ = (
        "_behind",
        "_bounds_ms",
        "_bucket_ms",
        "_histograms",
        "_last",
        "_longer",
        "_merged",
        "_per_quarter",
        "_shorter",
        "_state",
        "_summed",
        "_tails",
        "_totals",
        "_trend",
        "_trend_end",
        "_windows",
        "kept_from",
        "name",
        "version",
        "view_cache",
    )

    def __init__(self, state: QueueState, windows: int, bucket_ms: int) -> None:
        self.name = state.name
        self.version = 0  # grows with every change
        self.kept_from = 0  # buckets before this have gone into their quarter only
        self.view_cache: tuple[object, QueueView] | None = None
        self._state = state
        # What is in the sums by bucket and not yet in quarters and windows. A bucket that is new since the last look
        # stands here with the sum itself, so that what more comes for it is added once.
        self._behind: dict[int, Counts] = {}
        self._longer: set[int] = set()  # buckets whose longest wait grew, since the last look
        self._shorter = False  # one shrank
        self._last = max(state.sums, default=0)  # no bucket after this has a sum
        # As of when, and sum and longest wait from a bucket to the end of all windows.
        self._tails: tuple[object, dict[int, tuple[Counts, int]]] = (None, {})
        self._windows = [_Window() for _ in range(windows)]
        self._trend: dict[int, WindowView] = {}  # past intervals, by their start in ms
        self._trend_end = 0  # they are of buckets before this
        self._totals: Counts | None = None
        self._histograms: dict[str, HistogramView] = {}
        self._bounds_ms: tuple[int, ...] = ()  # those of the histograms
        self._summed: list[list[int]] = []  # histograms added up
        self._merged: dict[int, list[list[int]]] = {}  # what is added up in them, by partition
        self._bucket_ms = bucket_ms
        self._per_quarter = max(1, QUARTER_MS // bucket_ms)

    @property
    def state(self) -> QueueState:
        """Everything that is saved, complete."""
        self._catch_up()
        return self._state

    @property
    def first_at_ms(self) -> int:
        """When the queue was first heard of."""
        return self._state.first_at_ms

    # --- taking in -----------------------------------------------------------------------------------------------

    def absorb(self, partition: int, offset: int, update: QueueUpdate, final_before: int) -> list[int]:
        """Take what a source partition says; return the buckets that changed.

        ``final_before``: buckets before this were final on that partition already, and are in the sums.
        """
        state = self._state
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
        self._totals = None
        changed = []
        cells, replace = part.cells, self._replace
        for bucket, counts in update.cells:
            held = cells.get(bucket)
            if bucket < final_before or (held is not None and held[0] > offset):
                continue
            cells[bucket] = (offset, counts)
            replace(bucket, held[1] if held else _NOTHING, counts)
            changed.append(bucket)
        return changed

    def settle(self, partition: int, bucket: int) -> None:
        """Let go of a cell that is final on its partition."""
        held = self._state.parts[partition].cells.pop(bucket, None)
        if held is not None and _LONGEST in held[1]:
            wait_ms, quarter = held[1][_LONGEST], bucket // self._per_quarter
            finals, of_quarters = self._state.final_longest, self._state.final_quarter_longest
            finals[bucket] = max(wait_ms, finals.get(bucket, 0))
            of_quarters[quarter] = max(wait_ms, of_quarters.get(quarter, 0))

    def _replace(self, bucket: int, old: Mapping[int, int], new: Counts) -> None:
        difference = _difference(old, new) if old else new
        if _LONGEST in difference:
            difference = difference.copy()
            del difference[_LONGEST]
        sums = self._state.sums.get(bucket)
        if sums is None:
            sums = self._state.sums[bucket] = self._behind[bucket] = {}
            self._last = max(self._last, bucket)
        add(sums, difference)
        behind = self._behind.get(bucket)
        if behind is None:
            self._behind[bucket] = difference.copy()
        elif behind is not sums:
            add(behind, difference)
        if _LONGEST in new or _LONGEST in old:
            self._replace_longest(bucket, old.get(_LONGEST, _NO_WAIT), new.get(_LONGEST, _NO_WAIT))

    def _replace_longest(self, bucket: int, was_ms: int, wait_ms: int) -> None:
        """Follow the longest wait of a part; growing, it is compared with what was longest so far."""
        state = self._state
        if wait_ms < was_ms:
            self._shorten(bucket)
        elif wait_ms > state.longest.get(bucket, _NO_WAIT):
            state.longest[bucket] = wait_ms
            self._longer.add(bucket)
            quarter = bucket // self._per_quarter
            if wait_ms > state.quarter_longest.get(quarter, _NO_WAIT):
                state.quarter_longest[quarter] = wait_ms

    def _shorten(self, bucket: int) -> None:
        """Look what is left where the longest wait of a part shrank: a call was folded again, which is seldom.

        What is not final is in the parts, what is final is noted by bucket and by quarter: so nothing depends on how
        long buckets are kept, which is up to the clock.
        """
        state = self._state
        self._shorter = True
        final_ms = state.final_longest.get(bucket)
        _set(state.longest, bucket, self._longest_of_parts(bucket, bucket + 1, final_ms))
        quarter = bucket // self._per_quarter
        first, last = quarter * self._per_quarter, (quarter + 1) * self._per_quarter
        final_ms = state.final_quarter_longest.get(quarter)
        _set(state.quarter_longest, quarter, self._longest_of_parts(first, last, final_ms))

    def _longest_of_parts(self, first: int, last: int, final_ms: int | None) -> int | None:
        """Return the longest wait in the buckets [first, last): of those not final yet, and of the final ones."""
        waits = [
            held[1][_LONGEST]
            for part in self._state.parts.values()
            for bucket in _present(part.cells, first, last)
            if _LONGEST in (held := part.cells[bucket])[1]
        ]
        return max(waits if final_ms is None else [*waits, final_ms], default=None)

    def forget_before(self, bucket: int, quarter: int, keep: set[int]) -> None:
        """Drop the sums of old buckets, and of old quarters but those in ``keep``."""
        state = self.state
        self.kept_from = max(self.kept_from, bucket)
        for table in (state.sums, state.longest, state.final_longest):
            for old in [held for held in table if held < bucket]:
                del table[old]
        for table in (state.quarters, state.quarter_longest, state.final_quarter_longest):
            for old in [held for held in table if held < quarter and held not in keep]:
                del table[old]

    # --- looking -------------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Bring quarters, windows and trend up to date with the buckets that changed."""
        behind = self._behind
        if not behind:
            return
        seen_before = max([window.end for window in self._windows], default=0)
        by_quarter: dict[int, list[Counts]] = {}
        for bucket, difference in behind.items():
            by_quarter.setdefault(bucket // self._per_quarter, []).append(difference)
            if bucket < seen_before:
                self._correct(bucket, difference)
        for quarter, differences in by_quarter.items():
            add(self._state.quarters.setdefault(quarter, {}), total_of(differences))
        for window in self._windows:
            self._catch_up_longest(window)
        lowest = min(behind)
        if lowest < self._trend_end:
            lowest_ms = lowest * self._bucket_ms
            self._trend = {start: view for start, view in self._trend.items() if view.end_ms <= lowest_ms}
        behind.clear()
        self._longer.clear()
        self._shorter = False

    def _correct(self, bucket: int, difference: Counts) -> None:
        for window in self._windows:
            if window.start <= bucket < window.end:
                add(window.counts, difference)
                window.shown = None

    def _catch_up_longest(self, window: _Window) -> None:
        if self._shorter:
            window.longest_ms = self._longest(window.start, window.end)
            window.shown = None
            return
        for bucket in self._longer:
            wait_ms = self._state.longest[bucket]
            if wait_ms > window.longest_ms and window.start <= bucket < window.end:
                window.longest_ms = wait_ms
                window.shown = None

    def window(self, index: int, start: int, end: int) -> Mapping[int, int]:
        """Return the counts of a window, moved to the buckets [start, end): the same object while they are the same."""
        self._catch_up()
        window = self._windows[index]
        if window.end != end or window.start != start:
            if self._can_slide(window, start, end):
                self._slide(window, start, end)
            else:
                counts, window.longest_ms = self._tail(start, end)
                window.counts = counts.copy()
                window.shown = None
            window.start, window.end = start, end
        if window.shown is None:
            window.shown = window.counts.copy()
            if window.longest_ms != _NO_WAIT:
                window.shown[_LONGEST] = window.longest_ms
        return window.shown

    def _can_slide(self, window: _Window, start: int, end: int) -> bool:
        """Say whether what leaves and what enters are known, and fewer than what there is to add up anew."""
        leave, enter = start - window.start, end - window.end
        return (
            leave >= 0
            and enter >= 0
            and leave + enter < min(end - start, self._per_quarter)
            and window.end >= self.kept_from
            and (not leave or window.start >= self.kept_from)
        )

    def _slide(self, window: _Window, start: int, end: int) -> None:
        sums, longest = self._state.sums, self._state.longest
        leaving = [bucket for bucket in range(window.start, start) if bucket in sums]
        longest_leaves = any(longest.get(bucket) == window.longest_ms for bucket in leaving)
        if leaving:
            add(window.counts, total_of([sums[bucket] for bucket in leaving]), -1)
            window.shown = None
        if window.end < end:
            entering, longest_ms = self._tail(window.end, end)
            if entering or longest_ms > window.longest_ms:
                add(window.counts, entering)
                window.longest_ms = max(window.longest_ms, longest_ms)
                window.shown = None
        if longest_leaves:
            window.longest_ms = self._longest(start, end)

    def _tail(self, start: int, end: int) -> tuple[Counts, int]:
        """Return sum and longest wait of the buckets [start, end), made once for all windows: they end together.

        The sum is not to be changed.
        """
        key = (self.version, end)
        if self._tails[0] != key:
            self._tails = key, {}
        tails = self._tails[1]
        if start not in tails:
            quarter = end - end % self._per_quarter
            if start < quarter < end:
                found = [*self._pieces(start, quarter), self._tail(quarter, end)[0]]
            else:
                found = self._pieces(start, end)
            tails[start] = total_of(found), self._longest(start, end)
        return tails[start]

    def sum(self, start: int, end: int) -> Counts:
        """Add up the buckets [start, end), by whole quarters where possible; without the longest wait."""
        self._catch_up()
        return total_of(self._pieces(start, end))

    def _pieces(self, start: int, end: int) -> list[Counts]:
        """Return the sums that make up the buckets [start, end)."""
        found: list[Counts] = []
        for table, first, last in self._spans(start, end):
            numbers = self._state.quarters if table else self._state.sums
            found += [numbers[number] for number in _present(numbers, first, last)]
        return found

    def interval(self, start: int, end: int) -> Counts:
        """Return the counts of the buckets [start, end), the longest wait among them."""
        counts = self.sum(start, end)
        _set(counts, _LONGEST, self.longest_ms(start, end))
        return counts

    def longest_ms(self, start: int, end: int) -> int | None:
        """Return the longest wait that ended in the buckets [start, end)."""
        longest_ms = self._longest(start, end)
        return None if longest_ms == _NO_WAIT else longest_ms

    def _longest(self, start: int, end: int) -> int:
        longest_ms = _NO_WAIT
        for table, first, last in self._spans(start, end):
            numbers = self._state.quarter_longest if table else self._state.longest
            for number in _present(numbers, first, last):
                longest_ms = max(longest_ms, numbers[number])
        return longest_ms

    def trend(self, starts: range) -> tuple[WindowView, ...]:
        """Return past intervals, by their starts in ms; each ends where the next starts."""
        self._catch_up()
        known = self._trend
        self._trend = {
            start_ms: known.get(start_ms) or self._past(start_ms, start_ms + starts.step)
            for start_ms in starts
        }
        self._trend_end = -(-starts.stop // self._bucket_ms)
        return tuple(self._trend.values())

    def _past(self, start_ms: int, end_ms: int) -> WindowView:
        first, last = start_ms // self._bucket_ms, -(-end_ms // self._bucket_ms)
        return WindowView(start_ms, end_ms, self.interval(first, last))

    def _spans(self, start: int, end: int) -> list[tuple[bool, int, int]]:
        """Cut a range into (whole quarters?, first, last + 1)."""
        size = self._per_quarter
        first, last = -(-start // size), end // size
        if first >= last:
            return [(False, start, end)]
        return [(False, start, first * size), (True, first, last), (False, last * size, end)]

    def totals(self) -> Counts:
        """Return the sums since the beginning: the same object until something is said of the queue."""
        if self._totals is None:
            self._totals = total_of(part.totals for part in self._state.parts.values())
        return self._totals

    def histograms(self, bounds_ms: tuple[int, ...], totals: Counts) -> Mapping[str, HistogramView]:
        """Return the histograms since the beginning; one that is the same is the same object."""
        if self._bounds_ms != bounds_ms:
            self._bounds_ms, self._merged, self._histograms = bounds_ms, {}, {}
            self._summed = [[0] * (len(bounds_ms) + 1) for _ in f.HISTOGRAM_NAMES]
        for partition, part in self._state.parts.items():
            if self._merged.get(partition) is not part.histograms:
                self._merge_histograms(partition, part.histograms)
        views = self._histograms
        changed = {
            name: HistogramView(bounds_ms, tuple(counts), sum_ms)
            for name, counts in zip(f.HISTOGRAM_NAMES, self._summed, strict=True)
            if (sum_ms := totals.get(f.HISTOGRAMS[name][1], 0)) != (view := views.get(name, _NO_VIEW)).sum_ms
            or tuple(counts) != view.counts
        }
        if changed:
            self._histograms = views | changed
        return self._histograms

    def _merge_histograms(self, partition: int, histograms: list[list[int]]) -> None:
        """Replace what a partition said of its histograms. Those of other bounds wait until it says them anew."""
        merged = self._merged.get(partition) or self._empty_histograms()
        if list(map(len, histograms)) != list(map(len, self._summed)):
            histograms = self._empty_histograms()
        for total, before, after in zip(self._summed, merged, histograms, strict=True):
            if before != after:
                total[:] = map(add_up, total, map(subtract, after, before))
        self._merged[partition] = histograms

    def _empty_histograms(self) -> list[list[int]]:
        return [[0] * len(counts) for counts in self._summed]

    def oldest_waiting_at_ms(self) -> int | None:
        """Return when the visit that waits longest was queued; None when nobody waits."""
        return min(
            (
                part.oldest_waiting_at_ms
                for part in self._state.parts.values()
                if part.oldest_waiting_at_ms is not None
            ),
            default=None,
        )

    def overdue_after(self, bucket: int) -> int:
        """Return how many visits reach their target only in buckets after this one."""
        sums = self._state.sums
        return sum(sums[later].get(f.OVERDUE, 0) for later in _present(sums, bucket + 1, self._last + 1))


def _difference(old: Mapping[int, int], new: Counts) -> Counts:
    held = old.get
    difference = {field: change for field, count in new.items() if (change := count - held(field, 0))}
    for field, count in old.items():
        if field not in new:
            difference[field] = -count
    return difference


def _set(table: dict[int, int], key: int, value: int | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _present(table: Mapping[int, object], first: int, last: int) -> Iterable[int]:
    """Return the keys of a table in [first, last), by whichever is shorter."""
    if last - first <= _FEW * len(table):
        return [key for key in range(first, last) if key in table]
    return [key for key in table if first <= key < last]
