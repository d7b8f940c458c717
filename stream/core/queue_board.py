"""Stage 2, one queue: cells from all source partitions, added up into buckets, minutes, quarter hours and windows.

Theory of operation. Source partitions send absolute values. ``_Part`` keeps, for one of them, the cells that can still
change; a new value replaces the old one and only the difference is added to the sums. What is final on its partition is
let go of: it is in the sums already. Windows are running sums that follow the board's clock when somebody looks; one
that is too far from it, as in a backlog, is added up anew, of the largest pieces that fit.
``LONGEST_WAIT_MS`` is a maximum and cannot be corrected by a difference, so it is kept beside the sums, by bucket.
"""

from collections.abc import Iterable, Mapping
from operator import add as add_up
from operator import sub as subtract
from typing import Any, Final

from stream.core import fields as f
from stream.core.counts import Counts, add, total_of
from stream.core.queue_state import Part, QueueState
from stream.core.rules import QUARTER_MS
from stream.core.snapshot import HistogramView, QueueView, WindowView
from stream.core.wire import QueueUpdate

_NOTHING: Final[Counts] = {}
_LONGEST: Final = f.LONGEST_WAIT_MS
_NO_WAIT: Final = -1
_NO_VIEW: Final = HistogramView((), (), 0)
_FEW: Final = 4
_MINUTES_A_QUARTER: Final = 15
_BUCKET, _MINUTE, _QUARTER = range(3)  # pieces of a range


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
        "_changed_from",
        "_histograms",
        "_last",
        "_longer",
        "_merged",
        "_minute_longest",
        "_minutes",
        "_per_minute",
        "_per_quarter",
        "_seen",
        "_shorter",
        "_state",
        "_summed",
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
        self._last = max(state.sums, default=0)  # no bucket after this has a sum
        # Sums and longest waits of minutes, of the buckets that are kept. After a restart they are made when needed.
        self._minutes: dict[int, Counts] = {}
        self._minute_longest: dict[int, int] = {}
        self._windows = [_Window() for _ in range(windows)]
        self._seen = 0  # neither a window nor the trend has shown this bucket, or one after it
        # What has changed since the last look, before that.
        self._behind: dict[int, Counts] = {}  # what came, by bucket
        self._longer: set[int] = set()  # buckets whose longest wait grew
        self._shorter = False  # one shrank
        self._changed_from: int | None = None  # the first bucket that changed
        self._trend: dict[int, WindowView] = {}  # past intervals, by their start in ms
        self._trend_end = 0  # they are of buckets before this
        self._totals: Counts | None = None
        self._histograms: dict[str, HistogramView] = {}
        self._bounds_ms: tuple[int, ...] = ()  # those of the histograms
        self._summed: list[list[int]] = []  # histograms added up
        self._merged: dict[int, list[list[int]]] = {}  # what is added up in them, by partition
        self._bucket_ms = bucket_ms
        self._per_quarter = max(1, QUARTER_MS // bucket_ms)
        self._per_minute = (
            1 if self._per_quarter % _MINUTES_A_QUARTER else self._per_quarter // _MINUTES_A_QUARTER
        )

    @property
    def state(self) -> QueueState:
        """Everything that is saved."""
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
        by_minute: dict[int, list[Counts]] = {}
        cells, replace = part.cells, self._replace
        for bucket, counts in update.cells:
            held = cells.get(bucket)
            if bucket < final_before or (held is not None and held[0] > offset):
                continue
            cells[bucket] = (offset, counts)
            minute = bucket // self._per_minute
            if minute not in by_minute:
                self._minute(minute)  # as of before the change
                by_minute[minute] = []
            by_minute[minute].append(replace(bucket, held[1] if held else _NOTHING, counts))
            changed.append(bucket)
        for minute, differences in by_minute.items():
            difference = total_of(differences)
            add(self._minutes[minute], difference)
            quarter = minute * self._per_minute // self._per_quarter
            add(state.quarters.setdefault(quarter, {}), difference)
        return changed

    def settle(self, partition: int, bucket: int) -> None:
        """Let go of a cell that is final on its partition."""
        held = self._state.parts[partition].cells.pop(bucket, None)
        if held is not None and _LONGEST in held[1]:
            wait_ms, quarter = held[1][_LONGEST], bucket // self._per_quarter
            finals, of_quarters = self._state.final_longest, self._state.final_quarter_longest
            finals[bucket] = max(wait_ms, finals.get(bucket, 0))
            of_quarters[quarter] = max(wait_ms, of_quarters.get(quarter, 0))

    def _replace(self, bucket: int, old: Counts, new: Counts) -> Counts:
        """Follow a cell, in all but the counts of minutes and quarters; return what comes to those."""
        difference = _difference(old, new) if old else new
        if _LONGEST in difference:
            difference = difference.copy()
            del difference[_LONGEST]
        sums = self._state.sums.get(bucket)
        if sums is None:
            self._state.sums[bucket] = difference.copy()
            self._last = max(self._last, bucket)
        else:
            add(sums, difference)
        if bucket < self._seen:
            self._note(bucket, difference)
        if _LONGEST in new or _LONGEST in old:
            self._replace_longest(bucket, old.get(_LONGEST, _NO_WAIT), new.get(_LONGEST, _NO_WAIT))
        return difference

    def _note(self, bucket: int, difference: Counts) -> None:
        """Keep what windows that have been looked at still need."""
        behind = self._behind.get(bucket)
        if behind is None:
            self._behind[bucket] = difference.copy()
        else:
            add(behind, difference)
        if self._changed_from is None or bucket < self._changed_from:
            self._changed_from = bucket

    def _replace_longest(self, bucket: int, was_ms: int, wait_ms: int) -> None:
        """Follow the longest wait of a part; growing, it is compared with what was longest so far."""
        state = self._state
        if wait_ms < was_ms:
            self._shorten(bucket)
        elif wait_ms > state.longest.get(bucket, _NO_WAIT):
            state.longest[bucket] = wait_ms
            if bucket < self._seen:
                self._longer.add(bucket)
            for table, number in (
                (self._minute_longest, bucket // self._per_minute),
                (state.quarter_longest, bucket // self._per_quarter),
            ):
                if wait_ms > table.get(number, _NO_WAIT):
                    table[number] = wait_ms

    def _shorten(self, bucket: int) -> None:
        """Look what is left where the longest wait of a part shrank: a call was folded again, which is seldom.

        What is not final is in the parts, what is final is noted by bucket and by quarter: so nothing depends on how
        long buckets are kept, which is up to the clock.
        """
        state = self._state
        self._shorter = True
        final_ms = state.final_longest.get(bucket)
        _set(state.longest, bucket, self._longest_of_parts(bucket, bucket + 1, final_ms))
        minute = bucket // self._per_minute
        _set(self._minute_longest, minute, self._longest_of_buckets(minute))
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
        self._catch_up()  # what it notes is of buckets that are there
        state = self._state
        self.kept_from = max(self.kept_from, bucket)
        for table in (state.sums, state.longest, state.final_longest):
            for old in [held for held in table if held < bucket]:
                del table[old]
        for of_minutes in (self._minutes, self._minute_longest):
            # also of one that has lost some of its buckets only
            for old in [held for held in of_minutes if held * self._per_minute < bucket]:
                del of_minutes[old]
        for table in (state.quarters, state.quarter_longest, state.final_quarter_longest):
            for old in [held for held in table if held < quarter and held not in keep]:
                del table[old]

    # --- looking -------------------------------------------------------------------------------------------------

    def _minute(self, number: int) -> Counts:
        """Return the sums of a minute, which are followed from now on, as is its longest wait."""
        counts = self._minutes.get(number)
        if counts is None:
            sums = self._state.sums
            buckets = self._buckets_of(number)
            counts = total_of([sums[bucket] for bucket in buckets if bucket in sums])
            self._minutes[number] = counts
            _set(self._minute_longest, number, self._longest_of_buckets(number))
        return counts

    def _longest_of_buckets(self, minute: int) -> int | None:
        longest = self._state.longest
        waits_ms = [longest[bucket] for bucket in self._buckets_of(minute) if bucket in longest]
        return max(waits_ms, default=None)

    def _buckets_of(self, minute: int) -> range:
        return range(minute * self._per_minute, (minute + 1) * self._per_minute)

    def _catch_up(self) -> None:
        """Bring windows and trend up to date with what has changed in the buckets that they have shown."""
        changed_from = self._changed_from
        if changed_from is None:
            return
        for bucket, difference in self._behind.items():
            self._correct(bucket, difference)
        for window in self._windows:
            self._catch_up_longest(window)
        if changed_from < self._trend_end:
            lowest_ms = changed_from * self._bucket_ms
            self._trend = {start: view for start, view in self._trend.items() if view.end_ms <= lowest_ms}
        self._behind.clear()
        self._longer.clear()
        self._shorter = False
        self._changed_from = None

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

    def window(self, index: int, start: int, end: int) -> Counts:
        """Return the counts of a window, moved to the buckets [start, end): the same object while they are the same."""
        self._catch_up()
        window = self._windows[index]
        if window.end != end or window.start != start:
            if self._can_slide(window, start, end):
                self._slide(window, start, end)
            else:
                window.counts, window.longest_ms = self.sum(start, end), self._longest(start, end)
                window.shown = None
            window.start, window.end = start, end
            self._seen = max(self._seen, end)
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
        leaving, entering = self._pieces(window.start, start), self._pieces(window.end, end)
        longest_leaves = leaving and self._longest(window.start, start) == window.longest_ms
        for pieces, sign in ((leaving, -1), (entering, 1)):
            if pieces:
                add(window.counts, total_of(pieces), sign)
                window.shown = None
        window.longest_ms = (
            self._longest(start, end)
            if longest_leaves
            else max(window.longest_ms, self._longest(window.end, end))
        )

    def sum(self, start: int, end: int) -> Counts:
        """Add up the buckets [start, end); without the longest wait."""
        return total_of(self._pieces(start, end))

    def _pieces(self, start: int, end: int) -> list[Counts]:
        """Return the sums that make up the buckets [start, end)."""
        found: list[Counts] = []
        for piece, first, last in self._cut(start, end):
            if piece == _MINUTE:
                found += filter(None, map(self._minute, range(first, last)))
            else:
                numbers = self._state.quarters if piece == _QUARTER else self._state.sums
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
        waits_ms = [_NO_WAIT]
        for piece, first, last in self._cut(start, end):
            if piece == _MINUTE:
                for number in range(first, last):
                    self._minute(number)
            table = (self._state.longest, self._minute_longest, self._state.quarter_longest)[piece]
            waits_ms += [table[number] for number in _present(table, first, last)]
        return max(waits_ms)

    def trend(self, starts: range) -> tuple[WindowView, ...]:
        """Return past intervals, by their starts in ms; each ends where the next starts."""
        self._catch_up()
        known = self._trend
        self._trend = {
            start_ms: known.get(start_ms) or self._past(start_ms, start_ms + starts.step)
            for start_ms in starts
        }
        self._trend_end = -(-starts.stop // self._bucket_ms)
        self._seen = max(self._seen, self._trend_end)
        return tuple(self._trend.values())

    def _past(self, start_ms: int, end_ms: int) -> WindowView:
        first, last = start_ms // self._bucket_ms, -(-end_ms // self._bucket_ms)
        return WindowView(start_ms, end_ms, self.interval(first, last))

    def _cut(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Cut a range of buckets into the largest pieces that fit: (which, first, last + 1), in numbers of that."""
        before, first_quarter, last_quarter, after = _whole(start, end, self._per_quarter)
        cuts = [(_QUARTER, first_quarter, last_quarter)]
        for from_, to in ((start, before), (after, end)):
            if from_ < to:
                low, first_minute, last_minute, high = _whole(from_, to, self._per_minute)
                cuts += [(_MINUTE, first_minute, last_minute), (_BUCKET, from_, low), (_BUCKET, high, to)]
        return [cut for cut in cuts if cut[1] < cut[2]]

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


def _whole(start: int, end: int, size: int) -> tuple[int, int, int, int]:
    """Return what pieces of a size lie in a range: the place of the first, its number, the last + 1, and its place."""
    first, last = -(-start // size), end // size
    if first >= last:
        return end, first, first, end
    return first * size, first, last, last * size


def _difference(old: Counts, new: Counts) -> Counts:
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


def _present(table: dict[int, Any], first: int, last: int) -> Iterable[int]:
    """Return the keys of a table in [first, last), by whichever is shorter."""
    if last - first <= _FEW * len(table):
        return [key for key in range(first, last) if key in table]
    return [key for key in table if first <= key < last]
