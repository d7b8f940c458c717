"""Stage 2, one queue: cells from all source partitions, added up into minutes, quarter hours and windows.

Theory of operation. Source partitions send absolute values, a minute of cells at a time (``stream.core.minute``).
``Part`` keeps, for one of them, the minutes that can still change; a new value replaces the old one and only the
difference is added to the sums. What is final on its partition is let go of: it is in the sums already. Windows are
running sums that follow the board's clock when somebody looks; one that is too far from it, as in a backlog, is added
up anew, of the largest pieces that fit.
``LONGEST_WAIT_MS`` is a maximum and cannot be corrected by a difference, so it is kept beside the sums, by bucket.
"""

from collections.abc import Iterable, Mapping
from operator import add as add_up
from operator import sub as subtract
from typing import Any, Final

from stream.core import fields as f
from stream.core.counts import Counts, add, add_to, total_of
from stream.core.minute import (
    FIELD_MASK,
    PLACES_A_CELL,
    by_field,
    cells_a_minute,
    minutes_of,
    part_by_field,
)
from stream.core.queue_state import Part, QueueState
from stream.core.rules import QUARTER_MS
from stream.core.snapshot import HistogramView, QueueView, WindowView
from stream.core.wire import QueueUpdate

_NOTHING: Final[Counts] = {}
_LONGEST: Final = f.LONGEST_WAIT_MS
_NO_WAIT: Final = -1
_NO_VIEW: Final = HistogramView((), (), 0)
_FEW: Final = 4
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
        self._last = max(state.sums, default=0)  # no minute after this has a sum
        # Sums by field and longest waits of minutes. After a restart they are made when needed.
        self._minutes: dict[int, Counts] = {}
        self._minute_longest: dict[int, int] = {}
        self._windows = [_Window() for _ in range(windows)]
        self._seen = 0  # neither a window nor the trend has shown this bucket, or one after it
        # What has changed since the last look, before that.
        self._behind: dict[int, Counts] = {}  # what came, by minute and place
        self._longer: set[int] = set()  # buckets whose longest wait grew
        self._shorter = False  # one shrank
        self._changed_from: int | None = None  # the first bucket of the first minute that changed
        self._trend: dict[int, WindowView] = {}  # past intervals, by their start in ms
        self._trend_end = 0  # they are of buckets before this
        self._totals: Counts | None = None
        self._histograms: dict[str, HistogramView] = {}
        self._bounds_ms: tuple[int, ...] = ()  # those of the histograms
        self._summed: list[list[int]] = []  # histograms added up
        self._merged: dict[int, list[list[int]]] = {}  # what is added up in them, by partition
        self._bucket_ms = bucket_ms
        self._per_quarter = max(1, QUARTER_MS // bucket_ms)
        self._per_minute = cells_a_minute(bucket_ms)

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
        """Take what a source partition says; return the minutes that it said something new of.

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
        minutes, per_minute = part.minutes, self._per_minute
        for number, counts in update.minutes:
            first = number * per_minute
            held = minutes.get(number)
            if first + per_minute <= final_before or (held is not None and held[0] > offset):
                continue
            old = _NOTHING if held is None else held[1]
            if first < final_before:
                counts = _keep_final(old, counts, (final_before - first) * PLACES_A_CELL)  # noqa: PLW2901
            minutes[number] = (offset, counts)
            self._replace(number, old, counts)
            changed.append(number)
        return changed

    def whole_minutes(
        self, partition: int, cells: list[tuple[int, dict[int, int]]]
    ) -> list[tuple[int, dict[int, int]]]:
        """Put single cells, as earlier releases publish them, among the others of their minutes."""
        part = self._state.parts.get(partition)
        held = {} if part is None else part.minutes
        told = {bucket for bucket, _ in cells}
        minutes = minutes_of(cells, self._per_minute)
        for number, minute in minutes.items():
            if number in held:
                for place, count in held[number][1].items():
                    if number * self._per_minute + place // PLACES_A_CELL not in told:
                        minute[place] = count
        return list(minutes.items())

    def settle(self, partition: int, number: int) -> None:
        """Let go of a minute that is final on its partition."""
        held = self._state.parts[partition].minutes.pop(number, None)
        if held is None:
            return
        finals, of_quarters = self._state.final_longest, self._state.final_quarter_longest
        first = number * self._per_minute
        quarter = first // self._per_quarter
        for cell in range(self._per_minute):
            wait_ms = held[1].get(cell * PLACES_A_CELL + _LONGEST, _NO_WAIT)
            if wait_ms != _NO_WAIT:
                finals[first + cell] = max(wait_ms, finals.get(first + cell, 0))
                of_quarters[quarter] = max(wait_ms, of_quarters.get(quarter, 0))

    def _replace(self, number: int, old: Counts, new: Counts) -> None:
        """Follow a minute: its places, its quarter, and what was shown of it."""
        state = self._state
        minute = self._minute(number)  # as of before the change
        sums = state.sums.get(number)
        if sums is None:
            sums = state.sums[number] = {}
            self._last = max(self._last, number)
        first = number * self._per_minute
        shown = self._note(number, first) if first < self._seen else None
        fields: Counts = {}
        for place, count in new.items():
            field = place & FIELD_MASK
            if field == _LONGEST:
                self._replace_longest(first + place // PLACES_A_CELL, old.get(place, _NO_WAIT), count)
                continue
            change = count - old.get(place, 0)
            if change:
                add_to(sums, place, change)
                add_to(fields, field, change)
                if shown is not None:
                    add_to(shown, place, change)
        for place, count in old.items():
            if place not in new:
                field = place & FIELD_MASK
                if field == _LONGEST:
                    self._replace_longest(first + place // PLACES_A_CELL, count, _NO_WAIT)
                    continue
                add_to(sums, place, -count)
                add_to(fields, field, -count)
                if shown is not None:
                    add_to(shown, place, -count)
        add(minute, fields)
        quarter = first // self._per_quarter
        held = state.quarters.get(quarter)
        if held is None:
            state.quarters[quarter] = fields
        else:
            add(held, fields)

    def _note(self, number: int, first: int) -> Counts:
        """Return where to keep what windows that have shown a minute still need."""
        if self._changed_from is None or first < self._changed_from:
            self._changed_from = first
        behind = self._behind.get(number)
        if behind is None:
            behind = self._behind[number] = {}
        return behind

    def _replace_longest(self, bucket: int, was_ms: int, wait_ms: int) -> None:
        """Follow the longest wait of a part; growing, it is compared with what was longest so far."""
        state = self._state
        if wait_ms < was_ms:
            self._shorten(bucket)
        elif wait_ms > state.longest.get(bucket, _NO_WAIT):
            state.longest[bucket] = wait_ms
            if bucket < self._seen:
                self._longer.add(bucket)
            minute, quarter = bucket // self._per_minute, bucket // self._per_quarter
            if wait_ms > self._minute_longest.get(minute, _NO_WAIT):
                self._minute_longest[minute] = wait_ms
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
        minute = bucket // self._per_minute
        _set(self._minute_longest, minute, self._longest_of_cells(minute))
        quarter = bucket // self._per_quarter
        first, last = quarter * self._per_quarter, (quarter + 1) * self._per_quarter
        final_ms = state.final_quarter_longest.get(quarter)
        _set(state.quarter_longest, quarter, self._longest_of_parts(first, last, final_ms))

    def _longest_of_parts(self, first: int, last: int, final_ms: int | None) -> int | None:
        """Return the longest wait in the buckets [first, last): of those not final yet, and of the final ones."""
        per_minute = self._per_minute
        waits = [
            counts[place]
            for part in self._state.parts.values()
            for number in _present(part.minutes, first // per_minute, -(-last // per_minute))
            for cell in range(
                max(0, first - number * per_minute), min(per_minute, last - number * per_minute)
            )
            if (place := cell * PLACES_A_CELL + _LONGEST) in (counts := part.minutes[number][1])
        ]
        return max(waits if final_ms is None else [*waits, final_ms], default=None)

    def forget_before(self, bucket: int, quarter: int, keep: set[int]) -> None:
        """Drop the minutes that lie before a bucket, and old quarters but those in ``keep``."""
        self._catch_up()  # what it notes is of minutes that are there
        state = self._state
        minute = bucket // self._per_minute
        first = minute * self._per_minute
        self.kept_from = max(self.kept_from, first)
        for before, tables in (
            (minute, (state.sums, self._minutes, self._minute_longest)),
            (first, (state.longest, state.final_longest)),
        ):
            for table in tables:
                for old in [held for held in table if held < before]:
                    del table[old]
        for table in (state.quarters, state.quarter_longest, state.final_quarter_longest):
            for old in [held for held in table if held < quarter and held not in keep]:
                del table[old]

    # --- looking -------------------------------------------------------------------------------------------------

    def _minute(self, number: int) -> Counts:
        """Return the sums of a minute by field, which are followed from now on, as is its longest wait."""
        counts = self._minutes.get(number)
        if counts is None:
            counts = self._minutes[number] = by_field(self._state.sums.get(number, _NOTHING))
            _set(self._minute_longest, number, self._longest_of_cells(number))
        return counts

    def _longest_of_cells(self, number: int) -> int | None:
        longest, first = self._state.longest, number * self._per_minute
        waits_ms = [longest[bucket] for bucket in range(first, first + self._per_minute) if bucket in longest]
        return max(waits_ms, default=None)

    def _catch_up(self) -> None:
        """Bring windows and trend up to date with what has changed in the minutes that they have shown."""
        changed_from = self._changed_from
        if changed_from is None:
            return
        for number, difference in self._behind.items():
            self._correct(number * self._per_minute, difference)
        for window in self._windows:
            self._catch_up_longest(window)
        if changed_from < self._trend_end:
            lowest_ms = changed_from * self._bucket_ms
            self._trend = {start: view for start, view in self._trend.items() if view.end_ms <= lowest_ms}
        self._behind.clear()
        self._longer.clear()
        self._shorter = False
        self._changed_from = None

    def _correct(self, first: int, difference: Counts) -> None:
        """Add to the windows what has changed in the minute that begins with a bucket."""
        for window in self._windows:
            from_, to = max(0, window.start - first), min(self._per_minute, window.end - first)
            if from_ < to:
                add(window.counts, part_by_field(difference, from_, to))
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
        longest_ms = window.longest_ms
        leaves = longest_ms != _NO_WAIT and self._longest(window.start, start) == longest_ms
        for pieces, sign in ((leaving, -1), (entering, 1)):
            if pieces:
                add(window.counts, total_of(pieces), sign)
                window.shown = None
        window.longest_ms = (
            self._longest(start, end) if leaves else max(longest_ms, self._longest(window.end, end))
        )
        if window.longest_ms != longest_ms:
            window.shown = None

    def sum(self, start: int, end: int) -> Counts:
        """Add up the buckets [start, end); without the longest wait."""
        return total_of(self._pieces(start, end))

    def _pieces(self, start: int, end: int) -> list[Counts]:
        """Return the sums that make up the buckets [start, end)."""
        found: list[Counts] = []
        for piece, first, last in self._cut(start, end):
            if piece == _QUARTER:
                quarters = self._state.quarters
                found += [quarters[number] for number in _present(quarters, first, last)]
            elif piece == _MINUTE:
                found += filter(None, map(self._minute, range(first, last)))
            else:
                found += self._parts_of_minutes(first, last)
        return found

    def _parts_of_minutes(self, start: int, end: int) -> list[Counts]:
        """Return the sums of the minutes that the buckets [start, end) lie in, of those buckets only."""
        sums, per_minute = self._state.sums, self._per_minute
        return [
            part_by_field(
                sums[number], max(0, start - number * per_minute), min(per_minute, end - number * per_minute)
            )
            for number in range(start // per_minute, -(-end // per_minute))
            if number in sums
        ]

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
        sums, per_minute = self._state.sums, self._per_minute
        return sum(
            sums[number].get(cell * PLACES_A_CELL + f.OVERDUE, 0)
            for number in _present(sums, (bucket + 1) // per_minute, self._last + 1)
            for cell in range(max(0, bucket + 1 - number * per_minute), per_minute)
        )


def _whole(start: int, end: int, size: int) -> tuple[int, int, int, int]:
    """Return what pieces of a size lie in a range: the place of the first, its number, the last + 1, and its place."""
    first, last = -(-start // size), end // size
    if first >= last:
        return end, first, first, end
    return first * size, first, last, last * size


def _keep_final(old: Counts, new: Counts, final_before: int) -> Counts:
    """Return a minute as it is said now, but the places before one, which are final, as they were said before."""
    kept = {place: count for place, count in old.items() if place < final_before}
    kept.update({place: count for place, count in new.items() if place >= final_before})
    return kept


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
