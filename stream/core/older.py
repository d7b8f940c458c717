"""What earlier releases saved and published, made into what this one does: nothing is counted anew for an upgrade.

Layout 3, and publications of version 3, counted by field what is counted by kind of fact today (``stream.core.facts``).
They are read as they are, since each field is a kind of its own.
Up to layout 2 of the fields a state had a dictionary for each cell (layout 1) or for each minute of a queue, where a
cell's place within the minute is its number there times ``_PLACES_A_CELL``, plus the field. Publications of version 1
had whole cells, those of version 2 whole minutes, in which what is not there is 0.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import numpy as np

from stream.core import fields as f
from stream.core.calls_state import StageState
from stream.core.columns import Columns, Ints, Packed, column, compressed, longest, pack, pack_columns, summed
from stream.core.counted import HISTOGRAMS
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELD_MASK, QUEUE_MASK
from stream.core.tables_state import PartState, TablesState
from stream.core.wire import Publication, Update

LAYOUT: Final = 2  # the last one of another form
_CELLS_LAYOUT: Final = 1  # and before: single cells
VERSION: Final = 2  # of publications; the last one of another form
_CELLS_VERSION: Final = 1
_PLACES_A_CELL: Final = 64
_LONGEST: Final = f.LONGEST_WAIT_MS

_Counts = dict[int, int]
_Pairs = list[tuple[int, int]]
_Sum = tuple[int, int]  # place and count


class _Ledger(msgspec.Struct, array_like=True):
    name: str
    first_at_ms: int
    totals: _Counts
    histograms: list[list[int]]
    minutes: list[
        tuple[int, _Pairs, _Pairs]
    ]  # number, counts, waits by length and cell; or bucket, counts, waits


class OldStage(msgspec.Struct, array_like=True):
    """The state of stage 1."""

    partition: int
    applied_offset: int
    stream_time_ms: int | None
    bucket_ms: int
    bounds_ms: list[int]
    late_before_ms: int
    final_before_ms: int
    places: list[tuple[str, int, int, str]]
    ages: list[tuple[int, int, int]]
    calls: list[tuple[str, int, list[Any]]]
    ledgers: list[_Ledger]
    applied: list[int]
    duplicates: int
    anomalies: list[int]
    rejected: dict[str, int]
    late: int
    cut_off: list[tuple[str, int]] = []


class _Part(msgspec.Struct, array_like=True):
    offset: int
    oldest_waiting_at_ms: int | None
    totals: _Counts
    histograms: list[list[int]]
    minutes: dict[int, tuple[int, _Counts]]  # number, or bucket -> offset, counts


class _Queue(msgspec.Struct, array_like=True):
    name: str
    first_at_ms: int
    parts: dict[int, _Part]
    sums: dict[int, _Counts]  # by minute, or by bucket
    longest: _Counts  # by bucket
    final_longest: _Counts
    quarters: dict[int, _Counts]
    quarter_longest: _Counts
    final_quarter_longest: _Counts = {}


class OldShard(msgspec.Struct, array_like=True):
    """The state of stage 2. ``sources`` are what they are today."""

    shard: int
    applied_offset: int
    bucket_ms: int
    clock_ms: int | None
    unreadable: int
    bounds_ms: list[int]
    sources: dict[int, Any]
    queues: list[_Queue]
    open_intervals: dict[int, dict[str, bool]]
    interval_ms: int


class _Update(msgspec.Struct, array_like=True):
    name: str
    first_at_ms: int
    oldest_waiting_at_ms: int | None
    totals: _Counts
    histograms: list[list[int]]
    minutes: list[tuple[int, _Counts]]  # number, or bucket


class OldPublication(msgspec.Struct, array_like=True):
    """What one source partition said to a shard."""

    version: int
    partition: int
    applied_offset: int
    stream_time_ms: int | None
    final_before_ms: int
    as_of_ms: int | None
    caught_up: bool
    queues: list[_Update]


decode_publication: Final = msgspec.msgpack.Decoder(OldPublication).decode


# --- stage 1 ----------------------------------------------------------------------------------------------------------


def stage_state(old: OldStage, layout: int, per_minute: int) -> StageState:
    """Return a state of stage 1 as one of today."""
    many = 1 if layout <= _CELLS_LAYOUT else per_minute
    counts: list[_Sum] = []
    waits: list[tuple[int, int, int]] = []  # place, length, how many
    for number, ledger in enumerate(old.ledgers):
        for minute, places, lengths in ledger.minutes:
            counts += _cells(number, minute, places, many)
            for wait, count in lengths:
                # up to layout 1 a length by itself, then its length times the cells of a minute, plus the cell
                length_ms, cell = divmod(wait, many)
                waits.append((_place(number, minute * many + cell, _LONGEST), length_ms, count))
    waits.sort()
    table = np.array(waits, np.int64).reshape(-1, 3).T
    cells = _columns(counts)
    cells.raise_to(*longest(table[0], table[1] + 1))
    return StageState(
        old.partition,
        old.applied_offset,
        old.stream_time_ms,
        old.bucket_ms,
        old.bounds_ms,
        old.late_before_ms,
        old.final_before_ms,
        old.places,
        old.ages,
        old.calls,
        [(ledger.name, ledger.first_at_ms) for ledger in old.ledgers],
        cells.pack(),
        (pack_columns(table[0], table[1]), pack(table[2])),
        _columns(_totals(ledger.totals for ledger in old.ledgers)).pack(),
        pack(column(_flat(ledger.histograms for ledger in old.ledgers))),
        old.applied,
        old.duplicates,
        old.anomalies,
        old.rejected,
        old.late,
        old.cut_off,
    )


# --- stage 2 ----------------------------------------------------------------------------------------------------------


def tables_state(old: OldShard, layout: int, per_minute: int) -> TablesState:
    """Return the numbers of a shard as those of today."""
    many = 1 if layout <= _CELLS_LAYOUT else per_minute
    partitions = sorted({partition for queue in old.queues for partition in queue.parts})
    sums = _columns(
        count
        for number, queue in enumerate(old.queues)
        for minute, counts in queue.sums.items()
        for count in _cells(number, minute, counts.items(), many)
    )
    minutes = {place // per_minute for place in np.unique(sums.places >> BUCKET_SHIFT).tolist()}
    return TablesState(
        [queue.name for queue in old.queues],
        [queue.first_at_ms for queue in old.queues],
        {partition: _part(old, partition, many) for partition in partitions},
        {
            minute: compressed(
                sums.between(minute * per_minute << BUCKET_SHIFT, (minute + 1) * per_minute << BUCKET_SHIFT)
            )
            for minute in sorted(minutes)
        },
        _quarters((queue.quarters for queue in old.queues), 0),
        _columns(_longest(queue.longest for queue in old.queues)).pack(),
        _columns(_longest(queue.final_longest for queue in old.queues)).pack(),
        _quarters((_as_field(queue.quarter_longest) for queue in old.queues), 1),
        _quarters((_as_field(queue.final_quarter_longest) for queue in old.queues), 1),
    )


def marks(old: OldShard, published: int, changed: int) -> dict[int, Ints]:
    """Return which queues' intervals are to be published, by their start."""
    return {
        start_ms: column(
            0 if (mark := queues.get(queue.name)) is None else changed if mark else published
            for queue in old.queues
        )
        for start_ms, queues in old.open_intervals.items()
    }


def _part(old: OldShard, partition: int, many: int) -> PartState:
    nothing = _Part(-1, None, {}, [], {})
    parts = [queue.parts.get(partition, nothing) for queue in old.queues]
    cells = _columns(
        count
        for number, part in enumerate(parts)
        for minute, (_, counts) in part.minutes.items()
        for count in _cells(number, minute, counts.items(), many)
    )
    empty = [[0] * (len(old.bounds_ms) + 1)] * HISTOGRAMS
    return PartState(
        cells.pack(),
        pack(_dense(_totals(part.totals for part in parts), len(parts) << FIELD_BITS)),
        pack(column(_flat(part.histograms if _fits(part.histograms, empty) else empty for part in parts))),
        pack(
            column(
                0 if part.oldest_waiting_at_ms is None else part.oldest_waiting_at_ms + 1 for part in parts
            )
        ),
    )


def _fits(histograms: list[list[int]], empty: list[list[int]]) -> bool:
    """Say whether histograms have the present bounds; if not, they are said anew before long."""
    return list(map(len, histograms)) == list(map(len, empty))


def _quarters(queues: Iterable[dict[int, _Counts]], more: int) -> dict[int, Packed]:
    by_quarter: dict[int, list[_Sum]] = {}
    for number, quarters in enumerate(queues):
        for quarter, counts in quarters.items():
            by_quarter.setdefault(quarter, []).extend(
                ((number << FIELD_BITS) + field, count + more) for field, count in counts.items()
            )
    return {quarter: _columns(counts).pack() for quarter, counts in sorted(by_quarter.items())}


def _as_field(longest_ms: _Counts) -> dict[int, _Counts]:
    """Say longest waits by quarter as those of the first field, where today's are."""
    return {quarter: {0: wait_ms} for quarter, wait_ms in longest_ms.items()}


def _longest(queues: Iterable[_Counts]) -> Iterator[_Sum]:
    for number, by_bucket in enumerate(queues):
        for bucket, wait_ms in by_bucket.items():
            yield _place(number, bucket, 0), wait_ms + 1


# --- publications -----------------------------------------------------------------------------------------------------


def said(
    old: OldPublication, per_minute: int, held: Columns, numbers: dict[str, int]
) -> tuple[Publication, Update]:
    """Return a publication as one of today.

    ``held``: what the same partition said before, ``numbers``: how its queues are numbered. What is held in a cell or
    minute that is said now, and is not there any more, is said as 0.
    """
    many = 1 if old.version <= _CELLS_VERSION else per_minute
    places: dict[int, int] = {}
    for number, queue in enumerate(old.queues):
        own = numbers.get(queue.name)
        for minute, counts in queue.minutes:
            first, last = minute * many << BUCKET_SHIFT, (minute + 1) * many << BUCKET_SHIFT
            before = held.between(first, last).places.tolist() if own is not None else []
            for place in before:
                if place >> FIELD_BITS & QUEUE_MASK == own:
                    places[_place(number, place >> BUCKET_SHIFT, place & FIELD_MASK)] = 0
            places |= _cells(number, minute, counts.items(), many)
    in_order = sorted(places.items())
    publication = Publication(
        old.version,
        old.partition,
        old.applied_offset,
        old.stream_time_ms,
        old.final_before_ms,
        old.as_of_ms,
        old.caught_up,
        [queue.name for queue in old.queues],
        [queue.first_at_ms for queue in old.queues],
        [queue.oldest_waiting_at_ms for queue in old.queues],
    )
    return publication, Update(
        _columns(_totals(queue.totals for queue in old.queues)),
        column(_flat(queue.histograms for queue in old.queues)),
        column(place for place, _ in in_order),
        column(count for _, count in in_order),
    )


# --- places -----------------------------------------------------------------------------------------------------------


def _place(queue: int, bucket: int, field: int) -> int:
    return (bucket << BUCKET_SHIFT) + (queue << FIELD_BITS) + field


def _cells(queue: int, minute: int, counts: Iterable[_Sum], many: int) -> Iterator[_Sum]:
    """Give the counts of a minute of so many cells the places of today; a longest wait is one more there."""
    for old_place, count in counts:
        cell, field = divmod(old_place, _PLACES_A_CELL)
        yield _place(queue, minute * many + cell, field), count + (field == _LONGEST)


def _totals(queues: Iterable[_Counts]) -> Iterator[_Sum]:
    for number, totals in enumerate(queues):
        for field, count in totals.items():
            yield (number << FIELD_BITS) + field, count


def _flat(queues: Iterable[list[list[int]]]) -> Iterator[int]:
    return (count for histograms in queues for counts in histograms for count in counts)


def _columns(counts: Iterable[_Sum]) -> Columns:
    pairs = sorted(counts)
    places, values = summed(column(place for place, _ in pairs), column(count for _, count in pairs))
    kept = values != 0
    return Columns(places[kept], values[kept])


def _dense(counts: Iterable[_Sum], length: int) -> Ints:
    values = np.zeros(length, np.int64)
    for place, count in counts:
        values[place] = count
    return values
