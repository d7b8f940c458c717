"""The cells of one minute of a queue, side by side, as ``{place: value}`` without zeros.

A *place* is the cell's number within the minute times ``PLACES_A_CELL``, plus the field. A queue with an event a second
has a handful of counts in each of its cells: with a dictionary for each of those, most of the work would be theirs.
What stage 1 holds, sends and saves, and what stage 2 holds, are minutes; the cells in them are as separate as ever.

Minutes are numbered since the epoch, like cells. Where cells are too long to make up minutes, each is one of its own.
"""

from collections.abc import Iterable
from typing import Final

from stream.core import fields as f
from stream.core.counts import Counts
from stream.core.rules import QUARTER_MS

# More than there are fields, and a power of two: places are taken apart millions of times.
PLACES_A_CELL: Final = 64
FIELD_MASK: Final = PLACES_A_CELL - 1
_MINUTES_A_QUARTER: Final = 15
_LONGEST: Final = f.LONGEST_WAIT_MS


def cells_a_minute(bucket_ms: int) -> int:
    """Return how many cells make up a minute: quarter hours are made of whole minutes."""
    a_quarter = max(1, QUARTER_MS // bucket_ms)
    return 1 if a_quarter % _MINUTES_A_QUARTER else a_quarter // _MINUTES_A_QUARTER


def by_field(minute: Counts) -> Counts:
    """Add up the cells of a minute; without the longest waits, which are no sums."""
    sums: Counts = {}
    for place, count in minute.items():
        field = place & FIELD_MASK
        if field != _LONGEST:
            sums[field] = sums.get(field, 0) + count
    return _without_zeros(sums)


def part_by_field(minute: Counts, first: int, last: int) -> Counts:
    """Add up the cells [first, last) of a minute, by their numbers within it; without the longest waits."""
    sums: Counts = {}
    from_, to = first * PLACES_A_CELL, last * PLACES_A_CELL
    for place, count in minute.items():
        field = place & FIELD_MASK
        if from_ <= place < to and field != _LONGEST:
            sums[field] = sums.get(field, 0) + count
    return _without_zeros(sums)


def _without_zeros(sums: Counts) -> Counts:
    """Return the sums, without those that came back to 0."""
    return {field: count for field, count in sums.items() if count} if 0 in sums.values() else sums


def cells_of(number: int, minute: Counts, per_minute: int) -> dict[int, Counts]:
    """Take a minute apart: its cells by bucket, empty ones left out."""
    cells: dict[int, Counts] = {}
    for place, count in minute.items():
        cells.setdefault(number * per_minute + place // PLACES_A_CELL, {})[place & FIELD_MASK] = count
    return cells


def minutes_of(cells: Iterable[tuple[int, Counts]], per_minute: int) -> dict[int, Counts]:
    """Put cells together into minutes by their number; a minute all of whose cells are empty is there, and empty."""
    minutes: dict[int, Counts] = {}
    for bucket, counts in cells:
        minute = minutes.setdefault(bucket // per_minute, {})
        base = bucket % per_minute * PLACES_A_CELL
        for field, count in counts.items():
            minute[base + field] = count
    return minutes
