"""Stage 2, the numbers of a shard: absolute values from all source partitions, added up into windows.

Theory of operation. Source partitions say values of places (``stream.core.place``). For each of them the values that
can still change are held; a new value replaces the old one, and only the difference is added to the sums: to the cells
of its minute, and to its quarter hour. What is final on its partition is let go of: it is in the sums already. A window
is added up when somebody looks, of the largest pieces that fit: quarter hours, minutes, cells.
The longest wait is a maximum, which no difference corrects, so it is held beside the sums, cell by cell and by quarter.
Here as in publications it is one more than it is, 0 where there is none.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from stream.core import fields as f
from stream.core.columns import (
    Columns,
    Ints,
    column,
    compressed,
    grown,
    in_order,
    joined,
    longest,
    merged,
    runs,
    summed,
    unpacked,
)
from stream.core.counted import HISTOGRAMS
from stream.core.counts import Counts
from stream.core.facts import COUNTS_OVERDUE, by_field
from stream.core.place import (
    BUCKET_SHIFT,
    FIELD_BITS,
    FIELD_MASK,
    FIELDS,
    IN_BUCKET,
    LAST,
    QUEUE_MASK,
    QUEUE_NUMBERS,
    beginning,
)
from stream.core.rules import QUARTER_MS
from stream.core.wire import Update

NEVER: Final = 1 << 62  # nobody waits
_MINUTES_A_QUARTER: Final = 15
# Of a minute that nobody looks at: enough that putting them in order costs little, few enough to be no burden.
_ORDER_FROM: Final = 64
_LONGEST: Final = f.LONGEST_WAIT_MS


def cells_a_minute(bucket_ms: int) -> int:
    """Return how many cells make up a minute; where cells are too long for that, each is one of its own."""
    a_quarter = max(1, QUARTER_MS // bucket_ms)
    return 1 if a_quarter % _MINUTES_A_QUARTER else a_quarter // _MINUTES_A_QUARTER


class Heard(NamedTuple):
    """The queues that a publication is about."""

    queues: list[str]
    first_at_ms: list[int]
    oldest_waiting_at_ms: list[int | None]


class Part:
    """What one source partition has said."""

    __slots__ = ("cells", "heard", "histograms", "numbers", "oldest_waiting_at_ms", "totals")

    def __init__(self) -> None:
        self.cells = Columns()  # those that can still change
        self.heard: Heard | None = None  # the last time
        self.numbers = column(())  # of its queues
        self.totals = column(())  # FIELDS for each queue
        self.histograms = column(())  # a row for each queue
        self.oldest_waiting_at_ms = column(())  # for each queue; 0 when nobody waits


class Minute:
    """The sums of the cells of one minute. What comes is put in order when somebody looks.

    Nearly all minutes are at rest: those are held as bytes, an eighth of the memory, until somebody looks into them.
    """

    __slots__ = ("_by_queue", "_cells", "_new", "_packed")

    def __init__(self, packed: bytes | None = None) -> None:
        """Hold what was packed."""
        self._cells: Columns | None = Columns() if packed is None else unpacked(packed)
        self._new: list[tuple[Ints, Ints]] = []
        self._by_queue: Columns | None = None
        self._packed = packed

    def add(self, places: Ints, changes: Ints) -> None:
        """Add changes."""
        self._unpack()
        self._new.append((places, changes))
        self._by_queue = self._packed = None
        if len(self._new) > _ORDER_FROM:
            self.cells()

    def _unpack(self) -> Columns:
        if self._cells is None:
            assert self._packed is not None  # noqa: S101 - one of both is there
            self._cells = unpacked(self._packed)
        return self._cells

    def cells(self) -> Columns:
        """Return the sums cell by cell."""
        cells = self._unpack()
        if self._new:
            cells.add(*summed(*joined(self._new)))
            self._new.clear()
        return cells

    def pack(self) -> bytes:
        """Return the sums as bytes, compressed. If they are the same as the last time, they are held as such alone."""
        if self._packed is None:
            self._packed = compressed(self.cells())
        else:
            self._cells = None
        return self._packed

    def by_queue(self) -> Columns:
        """Return the sums of the whole minute."""
        if self._by_queue is None:
            cells = self.cells()
            self._by_queue = Columns(*summed(cells.places & IN_BUCKET, cells.values))
        return self._by_queue


class Quarter:
    """The sums of a quarter hour by queue. What comes is added up side by side until somebody looks."""

    __slots__ = ("_counts", "_new")

    def __init__(self, counts: Columns | None = None) -> None:
        self._counts = counts or Columns()
        self._new: Ints | None = None  # FIELDS for each queue

    def add(self, places: Ints, changes: Ints, queues: int) -> None:
        """Add changes, of so many queues at most."""
        self._new = grown(column(()) if self._new is None else self._new, queues * FIELDS)
        np.add.at(self._new, places & IN_BUCKET, changes)

    def counts(self) -> Columns:
        """Return the sums."""
        if self._new is not None:
            places = self._new.nonzero()[0]
            self._counts.add(places, self._new[places])
            self._new = None
        return self._counts


class Longest:
    """Longest waits: by place, without the field, and by quarter hour.

    Those by place lie by quarter hour too, so that what changes has only its neighbours to be put among.
    """

    __slots__ = ("_per_quarter", "cells", "quarters")

    def __init__(self, per_quarter: int) -> None:
        self._per_quarter = per_quarter
        self.cells: defaultdict[int, Columns] = defaultdict(Columns)
        self.quarters: defaultdict[int, Columns] = defaultdict(Columns)  # by queue

    def raise_to(self, places: Ints, values: Ints) -> None:
        """Set those that are shorter."""
        for number, from_, to in _pieces(places, self._per_quarter):
            self.cells[number].raise_to(places[from_:to], values[from_:to])
            self.quarters[number].raise_to(*longest(places[from_:to] & IN_BUCKET, values[from_:to]))

    def at(self, places: Ints) -> Ints:
        """Return those at some places; 0 where there is none."""
        pieces = _pieces(places, self._per_quarter)
        return np.concatenate(
            [self.cells.get(number, Columns()).at(places[from_:to]) for number, from_, to in pieces]
        )

    def of_queues(self, start: int, end: int) -> Columns:
        """Return by queue the longest of the buckets [start, end)."""
        first, last = start << BUCKET_SHIFT, end << BUCKET_SHIFT
        numbers = range(start // self._per_quarter, -(-end // self._per_quarter))
        cells = _joined(
            [self.cells[number].between(first, last) for number in numbers if number in self.cells]
        )
        return Columns(*longest(cells.places & IN_BUCKET, cells.values))

    def all_cells(self) -> Columns:
        """Return those of all places."""
        return _joined([self.cells[number] for number in sorted(self.cells)])

    def restore(self, cells: Columns, quarters: Mapping[int, Columns]) -> None:
        """Hold these, in place of nothing."""
        for number, from_, to in _pieces(cells.places, self._per_quarter):
            self.cells[number] = Columns(cells.places[from_:to], cells.values[from_:to])
        self.quarters.update(quarters)

    def forget_before(self, place: int) -> None:
        """Let go of what lies before a place; not of quarter hours."""
        number = (place >> BUCKET_SHIFT) // self._per_quarter
        for old in [known for known in self.cells if known < number]:
            del self.cells[old]
        if number in self.cells:
            self.cells[number].cut_before(place)


class Rows:
    """A sum, as a dictionary for each queue: the same object as long as it is the same."""

    __slots__ = ("_shown", "_sums")

    def __init__(self) -> None:
        self._sums = column(())
        self._shown: list[Counts | None] = []

    def queues(self) -> int:
        """Return how many queues are shown."""
        return len(self._shown)

    def show(self, sums: Ints) -> None:
        """Show other sums, FIELDS for each queue."""
        queues = len(sums) // FIELDS
        before = self._sums
        if len(before) < len(sums):
            before = np.concatenate((before, np.zeros(len(sums) - len(before), np.int64)))
            self._shown += [None] * (queues - len(self._shown))
        for row in (before != sums).reshape(-1, FIELDS).any(axis=1).nonzero()[0].tolist():
            self._shown[row] = None
        self._sums = sums

    def of(self, queue: int) -> Counts:
        """Return the counts of a queue."""
        shown = self._shown[queue]
        if shown is None:
            shown = self._shown[queue] = counts_of(self._sums[queue * FIELDS : (queue + 1) * FIELDS])
        return shown


def counts_of(row: Ints) -> Counts:
    """Return the sums of a queue as others know them: without zeros, the longest wait as long as it is."""
    counts = {field: count for field, count in enumerate(row.tolist()) if count}
    if _LONGEST in counts:
        counts[_LONGEST] -= 1
    return counts


class Tables:
    """The numbers of one shard. Queues by number, in the order in which they were heard of."""

    def __init__(self, bucket_ms: int, bounds: int) -> None:
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        self.first_at_ms: list[int] = []
        self.versions = column(())  # of each queue; grows with every change
        self.parts: dict[int, Part] = {}
        self.per_minute = cells_a_minute(bucket_ms)
        self._per_quarter = max(1, QUARTER_MS // bucket_ms)
        self.minutes: dict[int, Minute] = {}
        self.quarters: dict[int, Quarter] = {}
        self.longest = Longest(self._per_quarter)
        self.final_longest = Longest(self._per_quarter)  # the same, of what is final on its partition
        self.kept_from = 0  # cells of buckets before this have gone into their quarter only
        self.changed_from = NEVER  # the first bucket that has changed since somebody reset this
        self.width = HISTOGRAMS * (bounds + 1)  # of a queue's histograms
        self._longest_minutes: dict[int, Columns] = {}  # by queue, made when needed

    def number(self, name: str, first_at_ms: int) -> int:
        """Return the number of a queue, which begins if it is new."""
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.names)
            if number >= QUEUE_NUMBERS:
                raise OverflowError(f"more than {QUEUE_NUMBERS} queues in a shard: lower queues_max")
            self.names.append(name)
            self.first_at_ms.append(first_at_ms)
            self.versions = grown(self.versions, number + 1)
        return number

    def held(self, partition: int) -> Columns:
        """Return what a source partition has said that can still change."""
        part = self.parts.get(partition)
        return Columns() if part is None else part.cells

    # --- taking in -----------------------------------------------------------------------------------------------

    def absorb(self, partition: int, heard: Heard, update: Update, final_before: int) -> tuple[Ints, Ints]:
        """Take what a source partition says of queues.

        ``final_before``: buckets before this were final on that partition already, and are in the sums.
        Returns the buckets and the queues' numbers of what was taken, side by side.
        """
        part = self.parts.get(partition)
        if part is None:
            part = self.parts[partition] = Part()
        numbers = self._numbers_of(heard, part)
        places, values = in_order(_numbered(update.places, numbers), update.values)
        if update.anew_from is not None:
            part.totals, part.histograms, part.oldest_waiting_at_ms = column(()), column(()), column(())
            self.versions += 1
            held = part.cells.between(beginning(update.anew_from), LAST).places
            gone = np.setdiff1d(held, places, assume_unique=True)
            places, values = merged(*joined([(places, values), (gone, np.zeros_like(gone))]))
        self.versions[numbers] += 1
        self._replace_rows(part, numbers, heard.oldest_waiting_at_ms, update)
        first = int(places.searchsorted(beginning(final_before)))
        places, values = places[first:], values[first:]
        self._follow(places, part.cells.put(places, values), values)
        return places >> BUCKET_SHIFT, places >> FIELD_BITS & QUEUE_MASK

    def _numbers_of(self, heard: Heard, part: Part) -> Ints:
        """Return the numbers of queues, the same as the last time if those were; new ones get theirs."""
        known = part.heard
        if known is None or (heard.queues, heard.first_at_ms) != (known.queues, known.first_at_ms):
            queues = list(zip(heard.queues, heard.first_at_ms, strict=True))
            part.heard, part.numbers = heard, column(self.number(*queue) for queue in queues)
            for number, (_, at_ms) in zip(part.numbers.tolist(), queues, strict=True):
                self.first_at_ms[number] = min(self.first_at_ms[number], at_ms)
        return part.numbers

    def _replace_rows(self, part: Part, numbers: Ints, oldest_ms: list[int | None], update: Update) -> None:
        """Take what is said of whole queues."""
        queues = len(self.versions)
        part.totals = grown(part.totals, queues * FIELDS)
        part.oldest_waiting_at_ms = grown(part.oldest_waiting_at_ms, queues)
        part.histograms = grown(part.histograms, queues * self.width)
        totals = update.totals
        part.totals.reshape(-1, FIELDS)[numbers] = 0
        part.totals[_numbered(totals.places, numbers)] = totals.values
        part.oldest_waiting_at_ms[numbers] = [0 if at_ms is None else at_ms + 1 for at_ms in oldest_ms]
        # Those of other bounds wait until they are said anew.
        fits = len(update.histograms) == len(numbers) * self.width
        rows = part.histograms.reshape(-1, self.width)
        rows[numbers] = update.histograms.reshape(-1, self.width) if fits else 0

    def _follow(self, places: Ints, before: Ints, values: Ints) -> None:
        """Add to the sums what has changed."""
        changed = before != values
        if not changed.any():
            return
        places, before, values = places[changed], before[changed], values[changed]
        self.changed_from = min(self.changed_from, int(places[0]) >> BUCKET_SHIFT)
        waits = places & FIELD_MASK == _LONGEST
        if waits.any():
            self._follow_longest(places[waits] - _LONGEST, before[waits], values[waits])
            sums = ~waits
            places, before, values = places[sums], before[sums], values[sums]
        changes = values - before
        for number, from_, to in _pieces(places, self.per_minute):
            minute = self.minutes.setdefault(number, Minute())
            minute.add(places[from_:to], changes[from_:to])
        for number, from_, to in _pieces(places, self._per_quarter):
            quarter = self.quarters.setdefault(number, Quarter())
            quarter.add(places[from_:to], changes[from_:to], len(self.names))

    def _follow_longest(self, places: Ints, before: Ints, values: Ints) -> None:
        """Follow longest waits of a partition; those that grow are compared with what was longest so far."""
        for number, _, _ in _pieces(places, self.per_minute):
            self._longest_minutes.pop(number, None)
        grows = values > before
        self.longest.raise_to(places[grows], values[grows])
        if not grows.all():
            self._shorten(places[~grows])

    def _shorten(self, places: Ints) -> None:
        """Look what is left where the longest wait of a part shrank: a call was folded again, which is seldom.

        What is not final is in the parts, what is final is noted by cell and by quarter: so nothing depends on how long
        cells are kept, which is up to the clock.
        """
        left = np.maximum(self.final_longest.at(places), self._longest_of_parts(places))
        for number, from_, to in _pieces(places, self._per_quarter):
            self.longest.cells[number].put(places[from_:to], left[from_:to])
            queues = np.unique(places[from_:to] & IN_BUCKET)
            most = self.final_longest.quarters.get(number, Columns()).at(queues)
            first = number * self._per_quarter << BUCKET_SHIFT
            for part in self.parts.values():
                held = part.cells.between(first, first + (self._per_quarter << BUCKET_SHIFT))
                waits = held.places & FIELD_MASK == _LONGEST
                by_queue = Columns(*longest(held.places[waits] - _LONGEST & IN_BUCKET, held.values[waits]))
                most = np.maximum(most, by_queue.at(queues))
            self.longest.quarters[number].put(queues, most)

    def _longest_of_parts(self, places: Ints) -> Ints:
        waits = [part.cells.at(places + _LONGEST) for part in self.parts.values()]
        most: Ints = np.maximum.reduce(waits)
        return most

    def settle(self, partition: int, final_before: int) -> None:
        """Let go of the cells that are final on their partition: those of buckets before this one."""
        part = self.parts.get(partition)
        if part is None:
            return
        cut = part.cells.cut_before(beginning(final_before))
        waits = cut.places & FIELD_MASK == _LONGEST
        self.final_longest.raise_to(cut.places[waits] - _LONGEST, cut.values[waits])

    def forget_before(self, bucket: int, quarter: int, keep: set[int]) -> None:
        """Drop the minutes that lie before a bucket, and old quarters but those in ``keep``."""
        minute = bucket // self.per_minute
        self.kept_from = max(self.kept_from, minute * self.per_minute)
        for number in [old for old in self.minutes if old < minute]:
            del self.minutes[number]
        for number in [old for old in self._longest_minutes if old < minute]:
            del self._longest_minutes[number]
        for table in (self.longest, self.final_longest):
            table.forget_before(minute * self.per_minute << BUCKET_SHIFT)
        for quarters in (self.quarters, self.longest.quarters, self.final_longest.quarters):
            for number in [old for old in quarters if old < quarter and old not in keep]:
                del quarters[number]

    # --- looking -------------------------------------------------------------------------------------------------

    def sum(self, start: int, end: int) -> Ints:
        """Add up the buckets [start, end) by field: FIELDS for each queue, the longest wait among them."""
        sums = np.zeros(len(self.names) * FIELDS, np.int64)
        for counts, waits in self._cut(start, end):
            if counts is not None:
                sums[counts.places] += counts.values
            if waits is not None:
                places = waits.places + _LONGEST
                sums[places] = np.maximum(sums[places], waits.values)
        return by_field(sums)

    def _cut(self, start: int, end: int) -> Iterable[tuple[Columns | None, Columns | None]]:
        """Cut a range of buckets into the largest pieces that fit, each as its sums and its longest waits."""
        before, first_quarter, last_quarter, after = _whole(start, end, self._per_quarter)
        for number in _present(first_quarter, last_quarter, self.quarters, self.longest.quarters):
            quarter = self.quarters.get(number)
            yield None if quarter is None else quarter.counts(), self.longest.quarters.get(number)
        for from_, to in ((start, before), (after, end)):
            if from_ < to:
                low, first, last, high = _whole(from_, to, self.per_minute)
                yield from self._cells(from_, low)
                for number in _present(first, last, self.minutes):
                    yield self.minutes[number].by_queue(), None
                for number in range(first, last):
                    yield None, self._longest_minute(number)
                yield from self._cells(high, to)

    def _cells(self, start: int, end: int) -> Iterable[tuple[Columns, Columns]]:
        """Add up a part of a minute, or of the two at a border."""
        if start >= end:
            return
        first, last = start << BUCKET_SHIFT, end << BUCKET_SHIFT
        yield Columns(), self.longest.of_queues(start, end)
        for number in range(start // self.per_minute, -(-end // self.per_minute)):
            if number in self.minutes:
                cells = self.minutes[number].cells().between(first, last)
                yield Columns(*summed(cells.places & IN_BUCKET, cells.values)), Columns()

    def _longest_minute(self, number: int) -> Columns:
        waits = self._longest_minutes.get(number)
        if waits is None:
            first = number * self.per_minute
            waits = self._longest_minutes[number] = self.longest.of_queues(first, first + self.per_minute)
        return waits

    def overdue_after(self, bucket: int) -> list[int]:
        """Return for each queue how many visits reach their target only in buckets after this one."""
        overdue = np.zeros(len(self.names), np.int64)
        first = bucket + 1
        for number in self.minutes:
            if (number + 1) * self.per_minute > first:
                cells = self.minutes[number].cells()
                from_ = int(cells.places.searchsorted(first << BUCKET_SHIFT))
                cells = Columns(cells.places[from_:], cells.values[from_:])
                due = COUNTS_OVERDUE[cells.places & FIELD_MASK]
                np.add.at(overdue, cells.places[due] >> FIELD_BITS & QUEUE_MASK, cells.values[due])
        return list(overdue.tolist())

    def totals(self) -> Ints:
        """Return everything since the beginning by field: FIELDS for each queue."""
        return by_field(self._added(FIELDS, [part.totals for part in self.parts.values()]))

    def histograms(self) -> Ints:
        """Return all histograms: a row for each queue, one histogram after the other."""
        rows = self._added(self.width, [part.histograms for part in self.parts.values()])
        return rows.reshape(-1, self.width)

    def _added(self, width: int, columns: list[Ints]) -> Ints:
        length = len(self.names) * width
        total = np.zeros(length, np.int64)
        for values in columns:
            total[: len(values)] += values[:length]
        return total

    def oldest_waiting_at_ms(self) -> list[int | None]:
        """Return for each queue when the visit that waits longest was queued; None when nobody waits."""
        oldest = np.full(len(self.names), NEVER, np.int64)
        for part in self.parts.values():
            said = part.oldest_waiting_at_ms[: len(oldest)]
            known = said.nonzero()[0]
            oldest[known] = np.minimum(oldest[known], said[known] - 1)
        return [None if at_ms == NEVER else at_ms for at_ms in oldest.tolist()]


def _joined(pieces: list[Columns]) -> Columns:
    """Put columns that follow each other one behind the other."""
    return Columns(*joined([(piece.places, piece.values) for piece in pieces])) if pieces else Columns()


def _numbered(places: Ints, numbers: Ints) -> Ints:
    """Give places the queues' numbers of here."""
    if not len(places):
        return places
    queues = numbers[places >> FIELD_BITS & QUEUE_MASK]
    renumbered: Ints = (places & ~(QUEUE_MASK << FIELD_BITS)) | queues << FIELD_BITS
    return renumbered


def _pieces(places: Ints, buckets: int) -> list[tuple[int, int, int]]:
    """Cut places in order into pieces of so many buckets: (number, where it begins, where it ends)."""
    numbers = (places >> BUCKET_SHIFT) // buckets
    return [(int(numbers[begin]), begin, end) for begin, end in runs(numbers)]


def _whole(start: int, end: int, size: int) -> tuple[int, int, int, int]:
    """Return what pieces of a size lie in a range: the place of the first, its number, the last + 1, and its place."""
    first, last = -(-start // size), end // size
    if first >= last:
        return end, first, first, end
    return first * size, first, last, last * size


def _present(first: int, last: int, *tables: Container[int]) -> list[int]:
    """Return the numbers in [first, last) that one of the tables has."""
    return [number for number in range(first, last) if any(number in table for table in tables)]
