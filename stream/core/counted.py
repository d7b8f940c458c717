"""What one source partition has counted, as columns: its cells, and everything since the beginning.

``CallsStage`` writes down each fact as it happens (``stream.core.cells``); ``settle`` adds all of them at once. The
longest wait of a cell is kept there as one more than it is, since 0 ms is a wait and 0 is nothing.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from stream.core import fields as f
from stream.core.columns import (
    Columns,
    Ints,
    Packed,
    column,
    firsts,
    grown,
    in_order,
    joined,
    longest,
    merged,
    pack,
    pack_columns,
    unpack,
    unpack_columns,
)
from stream.core.facts import KINDS, fact
from stream.core.place import FIELD_BITS, FIELD_MASK, FIELDS, IN_BUCKET, QUEUE_MASK, beginning

HISTOGRAMS: Final = len(f.HISTOGRAM_NAMES)
_NONE: Final = -1
_ALL: Final = [fact(kind) for kind in KINDS]
# By kind of fact: in which histogram its span counts, and whether it is a wait.
_HISTOGRAM: Final = column(
    _NONE if one.histogram is None else f.HISTOGRAM_NAMES.index(one.histogram) for one in _ALL
)
_ENDS_WAIT: Final = np.array([one.ends_wait for one in _ALL])
# By kind, how many numbers a fact has: none when only the longest wait is kept of it, two with a span.
_NUMBERS: Final = column((bool(one.fields) + (one.span is not None)) for one in _ALL)
# Waits that came since they were last put in order: then in so many pieces at most.
_ORDER_FROM: Final = 64
PackedWaits = tuple[Packed, bytes]  # lengths by place, and how many
_Waits = tuple[Ints, Ints, Ints]


class Counted:
    """The counts of one source partition; queues by number, in the order of ``Book.ledgers``."""

    __slots__ = ("_bounds_ms", "_unsaid", "bounds", "cells", "histograms", "totals", "waits")

    def __init__(self, bounds_ms: tuple[int, ...]) -> None:
        self.bounds = len(bounds_ms)  # of the histograms
        self._bounds_ms = column(bounds_ms)
        self.cells = Columns()
        self.waits = Waits()
        self.totals = column(())  # FIELDS for each queue
        self.histograms = column(())  # for each queue, histogram by histogram, ``bounds`` and one more
        # Counts that may not be what was said of them last, in the order in which they came to be so.
        self._unsaid: list[tuple[Ints, Ints]] = []

    def settle(self, queues: int, facts: Iterable[int] | Ints, taken_back: Iterable[int] | Ints) -> None:
        """Add facts, and take others back, written down by a number of queues.

        Each is two entries: place plus kind, and its span in ms.
        """
        self.totals = grown(self.totals, queues * FIELDS)
        self.histograms = grown(self.histograms, queues * HISTOGRAMS * (self.bounds + 1))
        written = column(facts)
        entries = np.concatenate((written, column(taken_back)))
        if not len(entries):
            return
        signs = np.ones(len(entries) // 2, np.int64)
        signs[len(written) // 2 :] = -1
        ordered = in_order(entries[::2], entries[1::2], signs)
        waits = _waits_of(*ordered)
        undone = self._note_waits(waits)
        places, sums, ended, lengths = _with_waits(*_counts(*ordered), *waits[:2])
        np.add.at(self.totals, places & IN_BUCKET, sums)

        def changed(held: Ints) -> Ints:
            values = held + sums
            if undone:  # a call was folded again, which is seldom
                values[ended] = self.waits.longest(places[ended])
            else:
                values[ended] = np.maximum(held[ended], lengths + 1)
            return values

        self._unsaid.append((places, self.cells.change(places, changed)))
        self._observe(*ordered)

    def _observe(self, facts: Ints, spans: Ints, signs: Ints) -> None:
        """Count spans in the histograms of their kind."""
        histogram = _HISTOGRAM[facts & FIELD_MASK]
        observed = (histogram != _NONE).nonzero()[0]
        rows = (facts[observed] >> FIELD_BITS & QUEUE_MASK) * HISTOGRAMS + histogram[observed]
        bounds = self._bounds_ms.searchsorted(spans[observed])
        np.add.at(self.histograms, rows * (self.bounds + 1) + bounds, signs[observed])

    def _note_waits(self, waits: _Waits) -> bool:
        """Note each wait by itself, so that it can be taken back; say whether one was."""
        places, _, signs = waits
        if len(places):
            self.waits.add(*waits)
        return bool((signs < 0).any())

    def take(self) -> tuple[Ints, Ints]:
        """Return the places that have changed since the last call, in order, with their values, to be sent at once.

        A place where all was taken back is among them, with 0: before a crash, publishing at another moment, this
        partition may have told readers of it, and only what is sent can correct that.
        """
        if not self._unsaid:
            return column(()), column(())
        places, values = self._unsaid[0] if len(self._unsaid) == 1 else merged(*joined(self._unsaid))
        self._unsaid.clear()
        lasts = np.append(places[1:] != places[:-1], True)[: len(places)]  # what came last is what is so now
        return places[lasts], values[lasts]

    def say_all(self) -> set[int]:
        """Have every cell said once more; return the numbers of the queues of which there is anything to say."""
        self._unsaid.append((self.cells.places, self.cells.values.copy()))
        return set((self.totals.nonzero()[0] // FIELDS).tolist())

    def forget_before(self, bucket: int) -> None:
        """Let go of cells that are final and said."""
        self.cells.cut_before(beginning(bucket))
        self.waits.forget_before(beginning(bucket))


class Waits:
    """The waits that ended in each cell: a maximum cannot be taken back, one of several waits can."""

    __slots__ = ("_before", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[_Waits] = []  # places, lengths in ms, how many (fewer than 0: taken back)
        self._before = 0

    def add(self, places: Ints, lengths: Ints, signs: Ints) -> None:
        """Add waits, or take them back."""
        self._pieces.append((places, lengths, signs))
        if len(self._pieces) > _ORDER_FROM:
            self._all()

    def longest(self, touched: Ints) -> Ints:
        """Return one more than the longest wait at each of these places, which are in order; 0 where there is none."""
        places, lengths, _ = self._all()
        last = places.searchsorted(touched, side="right") - 1
        known = (last >= 0) & (places.take(last, mode="clip") == touched) if len(places) else last >= 0
        return np.where(known, lengths.take(last, mode="clip") + 1 if len(lengths) else 0, 0)

    def forget_before(self, place: int) -> None:
        """Let go of the waits of cells before a place."""
        self._before = place

    def _all(self) -> _Waits:
        """Put everything in order, by place and length, and return it; what was taken back is gone."""
        places, lengths, counts = joined(self._pieces) if self._pieces else _none()
        order = np.lexsort((lengths, places))
        order = order[places[order].searchsorted(self._before) :]
        places, lengths, counts = places[order], lengths[order], counts[order]
        if len(places):
            begins = ((np.diff(places, prepend=-1) != 0) | (np.diff(lengths, prepend=-1) != 0)).nonzero()[0]
            counts = np.add.reduceat(counts, begins)
            left = counts != 0
            places, lengths, counts = places[begins][left], lengths[begins][left], counts[left]
        self._pieces = [(places, lengths, counts)]
        return self._pieces[0]

    def pack(self) -> PackedWaits:
        """Return all of them as bytes."""
        places, lengths, counts = self._all()
        return pack_columns(places, lengths), pack(counts)

    def put(self, packed: PackedWaits) -> None:
        """Hold what was packed, and nothing else."""
        lengths, counts = packed
        self._pieces = [(*unpack_columns(lengths), unpack(counts))]


def _none() -> _Waits:
    return column(()), column(()), column(())


def _waits_of(facts: Ints, spans: Ints, signs: Ints) -> _Waits:
    """Return the waits among facts, by the place of the longest of them; facts in order give places in order."""
    waits = _ENDS_WAIT[facts & FIELD_MASK].nonzero()[0]
    return facts[waits] & ~FIELD_MASK | f.LONGEST_WAIT_MS, spans[waits], signs[waits]


def _counts(facts: Ints, spans: Ints, signs: Ints) -> tuple[Ints, Ints]:
    """Return the places of facts in order and of their spans, in order and different, and the changes there."""
    begins = firsts(facts)
    many, spans = np.add.reduceat(signs, begins), np.add.reduceat(spans * signs, begins)
    facts = facts[begins]
    numbers = _NUMBERS[facts & FIELD_MASK]
    measured = (numbers > 1).nonzero()[0]
    behind = numbers.cumsum()[measured] - 1
    places, changes = facts.repeat(numbers), many.repeat(numbers)
    places[behind] += 1
    changes[behind] = spans[measured]
    return places, changes


def _with_waits(places: Ints, changes: Ints, ended: Ints, lengths: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Put the places of longest waits among the others, changed by 0.

    Returns the places and changes, which of them are of longest waits, and the longest of the lengths there.
    """
    ended, lengths = longest(ended, lengths)
    before = places.searchsorted(ended)
    return (
        np.insert(places, before, ended),
        np.insert(changes, before, 0),
        before + np.arange(len(before)),
        lengths,
    )
