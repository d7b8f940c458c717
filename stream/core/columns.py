"""Many counts as two columns of integers: places in order (``stream.core.place``), and a value for each.

A batch of events changes some ten thousand counts, and each of them is cold in memory by the next time. As columns
they are sorted, added up and compared by numpy, a few nanoseconds each, however many queues they belong to. Values
are 64-bit: 10^18 milliseconds are thirty million years.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import cramjam
import msgspec
import numpy as np

from stream.core.checkpoint import COMPRESSION_LEVEL
from stream.core.place import BUCKET_SHIFT, IN_BUCKET, LAST

Ints = np.ndarray[Any, np.dtype[np.int64]]  # a column
# The first place, the steps from each to the next, and the values: a cell's neighbours are near, so steps are small.
Packed = tuple[int, bytes, bytes]

_RADIX_BITS: Final = 16
_RADIX_MASK: Final = (1 << _RADIX_BITS) - 1
_RADIX_FROM: Final = 8_000  # fewer are quicker sorted as they are
_EMPTY: Final[Ints] = np.zeros(0, np.int64)
_WIDTHS: Final = tuple(np.dtype(f"<i{width}") for width in (1, 2, 4, 8))  # in bytes


class Columns:
    """Counts by place. A count of 0 is the same as none, and is not held."""

    __slots__ = ("places", "values")

    def __init__(self, places: Ints = _EMPTY, values: Ints = _EMPTY) -> None:
        """Hold these, which are in order and without zeros."""
        self.places = places
        self.values = values

    def __len__(self) -> int:
        return len(self.places)

    def at(self, places: Ints) -> Ints:
        """Return the counts at some places, which are in order; 0 where there is none."""
        return self._held(*self._find(places))

    def put(self, places: Ints, values: Ints) -> Ints:
        """Set counts at places, which are in order and different; return what they were."""
        found, same = self._find(places)
        before = self._held(found, same)
        self._set(places, values, found, same)
        return before

    def add(self, places: Ints, changes: Ints) -> Ints:
        """Add to the counts at places, which are in order and different; return what they are."""
        return self.change(places, lambda held: held + changes)

    def raise_to(self, places: Ints, values: Ints) -> Ints:
        """Set those counts that are smaller, at places in order and different; return what they are."""
        return self.change(places, lambda held: np.maximum(held, values))

    def change(self, places: Ints, changed: Callable[[Ints], Ints]) -> Ints:
        """Set counts at places, which are in order and different, by what they are; return what they are then."""
        found, same = self._find(places)
        values = changed(self._held(found, same))
        self._set(places, values, found, same)
        return values

    def _find(self, places: Ints) -> tuple[Ints, Ints]:
        """Return where places, which are in order, are or would be, and which of them (as indexes) are there.

        Only those up to the last that is held are looked for: most of what comes is newer than that.
        """
        held = self.places
        found = np.full(len(places), len(held))
        if not len(held) or not len(places):
            return found, _EMPTY
        known = int(places.searchsorted(held[-1], side="right"))
        first = int(held.searchsorted(places[0]))
        found[:known] = held[first:].searchsorted(places[:known]) + first
        return found, (held[found[:known]] == places[:known]).nonzero()[0]

    def _held(self, found: Ints, same: Ints) -> Ints:
        values = np.zeros(len(found), np.int64)
        values[same] = self.values[found[same]]
        return values

    def _set(self, places: Ints, values: Ints, found: Ints, same: Ints) -> None:
        """Set counts. What lies before the first of them, which is nearly all, is copied as it is."""
        fresh = values != 0
        fresh[same] = False
        grows, shrinks = fresh.any(), not values[same].all()
        if not len(same) and not grows:
            return
        first = int(found[0])
        tail, counts = self.places[first:], self.values[first:].copy()  # somebody may hold them
        counts[found[same] - first] = values[same]
        if shrinks:  # some have come back to 0
            left = counts.nonzero()[0]
            tail, counts = tail[left], counts[left]
        if grows:
            tail, counts = merged(*joined([(tail, counts), (places[fresh], values[fresh])]))
        if grows or shrinks:
            self.places = np.concatenate((self.places[:first], tail))
        self.values = np.concatenate((self.values[:first], counts))

    def between(self, first: int, last: int) -> "Columns":
        """Return the counts at the places [first, last)."""
        from_, to = self.places.searchsorted((first, last))
        return Columns(self.places[from_:to], self.values[from_:to])

    def cut_before(self, place: int) -> "Columns":
        """Let go of the counts before a place, and return them."""
        end = int(self.places.searchsorted(place))
        cut = Columns(self.places[:end], self.values[:end])
        if end:
            self.places, self.values = self.places[end:].copy(), self.values[end:].copy()
        return cut

    def pack(self) -> Packed:
        """Return the counts as bytes."""
        return pack_columns(self.places, self.values)


def column(values: Iterable[int] | Ints) -> Ints:
    """Make a column of whole numbers."""
    return np.asarray(values if isinstance(values, list | np.ndarray) else list(values), np.int64)


def joined(pieces: Iterable[tuple[Ints, ...]]) -> tuple[Ints, ...]:
    """Put columns one behind the other, each beside the others."""
    return tuple(map(np.concatenate, zip(*pieces, strict=True)))


def in_order(places: Ints, *columns: Ints) -> tuple[Ints, ...]:
    """Sort places, and the columns beside them."""
    return _by(
        _order(places) if len(places) > _RADIX_FROM else places.argsort(kind="stable"), places, *columns
    )


def merged(places: Ints, *columns: Ints) -> tuple[Ints, ...]:
    """Sort places that are pieces in order, one behind the other, and the columns beside them."""
    return _by(places.argsort(kind="stable"), places, *columns)


def _by(order: Ints, *columns: Ints) -> tuple[Ints, ...]:
    return tuple(beside[order] for beside in columns)


def _order(places: Ints) -> Ints:
    """Return how places are brought in order, equal ones as they stand.

    Numpy sorts 16 bits by radix, in a fraction of the time that it takes for 64 bits without any order; two such passes
    do, since places of a batch lie near each other.
    """
    buckets, in_bucket = places >> BUCKET_SHIFT, places & IN_BUCKET
    keys: Ints = (buckets - buckets.min()) * (int(in_bucket.max()) + 1) + in_bucket
    if int(keys.max()) >> 2 * _RADIX_BITS:
        return places.argsort(kind="stable")
    order: Ints = (keys & _RADIX_MASK).astype(np.uint16).argsort(kind="stable")
    high = (keys >> _RADIX_BITS).astype(np.uint16)
    if high.any():
        order = order[high[order].argsort(kind="stable")]
    return order


def firsts(places: Ints) -> Ints:
    """Return where each different place begins among places in order."""
    begins = np.empty(len(places), bool)
    begins[:1] = True
    np.not_equal(places[1:], places[:-1], out=begins[1:])
    return begins.nonzero()[0]


def runs(numbers: Ints) -> list[tuple[int, int]]:
    """Return where each run of equal numbers begins and ends."""
    begins = firsts(numbers).tolist()
    return list(zip(begins, [*begins[1:], len(numbers)], strict=True)) if begins else []


def summed(places: Ints, changes: Ints) -> tuple[Ints, Ints]:
    """Bring pieces in order together, and add up what is at the same place; sums of 0 stay."""
    return _reduced(places, changes, np.add)


def longest(places: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Bring pieces in order together, and keep the largest of the values at the same place."""
    return _reduced(places, values, np.maximum)


def _reduced(places: Ints, values: Ints, by: np.ufunc) -> tuple[Ints, Ints]:
    if not len(places):
        return _EMPTY, _EMPTY
    places, values = merged(places, values)
    begins = firsts(places)
    return places[begins], by.reduceat(values, begins)


def grown(values: Ints, length: int) -> Ints:
    """Return a column of at least a length, doubled so that it seldom grows; what is new is 0."""
    if len(values) >= length:
        return values
    larger = np.zeros(max(length, 2 * len(values)), np.int64)
    larger[: len(values)] = values
    return larger


# --- to bytes and back ------------------------------------------------------------------------------------------------


def pack(values: Ints) -> bytes:
    """Return a column as bytes: how many a value takes, then the values, each in as few as the largest needs."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    kind = next(width for width in _WIDTHS if -low <= (most := 1 << width.itemsize * 8 - 1) and high < most)
    return bytes((kind.itemsize,)) + values.astype(kind).tobytes()


def unpack(data: bytes) -> Ints:
    """Return the column that was packed. Raises ValueError where none was."""
    kind = next((width for width in _WIDTHS if data[:1] == bytes((width.itemsize,))), None)
    if kind is None:
        raise ValueError("no column")
    return np.frombuffer(data, kind, offset=1).astype(np.int64)


def pack_columns(places: Ints, values: Ints) -> Packed:
    """Return counts as bytes; zeros stay."""
    if not len(places):
        return 0, b"", b""
    return int(places[0]), pack(np.diff(places)), pack(values)


def unpack_columns(packed: Packed) -> tuple[Ints, Ints]:
    """Return the counts that were packed. Raises ValueError where none were."""
    first, steps, values = packed
    if not values:
        return _EMPTY, _EMPTY
    counts, places = unpack(values), np.append(0, unpack(steps)).cumsum()
    if len(places) != len(counts):
        raise ValueError("columns of two lengths")
    if (
        not 0 <= first <= LAST
        or (places < 0).any()
        or first > LAST - int(places[-1])
        or (np.diff(places) < 0).any()
    ):
        raise ValueError("places beyond all places, or not in order")
    return places + first, counts


def compressed(counts: Columns) -> bytes:
    """Return counts as bytes, compressed by themselves."""
    return bytes(cramjam.zstd.compress(msgspec.msgpack.encode(counts.pack()), COMPRESSION_LEVEL))


def unpacked(data: bytes) -> Columns:
    """Return the counts that were compressed."""
    return Columns(*unpack_columns(msgspec.msgpack.decode(cramjam.zstd.decompress(data), type=Packed)))
