"""What stage 2 saves of the numbers of a shard."""

import msgspec

from stream.core.columns import Columns, Packed, column, grown, pack, unpack, unpack_columns
from stream.core.place import FIELDS
from stream.core.tables import Minute, Part, Quarter, Tables


class PartState(msgspec.Struct, array_like=True, gc=False):
    """What one source partition has said; everything but the cells has a row for each queue."""

    cells: Packed
    totals: bytes
    histograms: bytes
    oldest_waiting_at_ms: bytes


class TablesState(msgspec.Struct, array_like=True, gc=False):
    """Everything of the tables that is saved; queues by number."""

    names: list[str]
    first_at_ms: list[int]
    parts: dict[int, PartState]  # by source partition
    minutes: dict[int, bytes]  # compressed
    quarters: dict[int, Packed]
    longest: Packed
    final_longest: Packed
    longest_quarters: dict[int, Packed]
    final_longest_quarters: dict[int, Packed]

    @classmethod
    def of(cls, tables: Tables) -> "TablesState":
        """Describe tables, everything in a fixed order."""
        longest, final_longest = tables.longest, tables.final_longest
        return cls(
            tables.names,
            tables.first_at_ms,
            {partition: _part(part, tables) for partition, part in sorted(tables.parts.items())},
            {number: minute.pack() for number, minute in sorted(tables.minutes.items())},
            _packed({number: quarter.counts() for number, quarter in tables.quarters.items()}),
            longest.all_cells().pack(),
            final_longest.all_cells().pack(),
            _packed(longest.quarters),
            _packed(final_longest.quarters),
        )

    def into(self, tables: Tables, *, same_bounds: bool) -> None:
        """Restore tables in which no more than the configured queues are.

        ``same_bounds``: the histograms have the bounds that they have now; if not, stage 1 says them again.
        """
        _give_numbers(self, tables)
        for partition, state in self.parts.items():
            part = tables.parts[partition] = Part()
            part.cells = _columns(state.cells)
            part.totals, part.oldest_waiting_at_ms = unpack(state.totals), unpack(state.oldest_waiting_at_ms)
            if same_bounds:
                part.histograms = unpack(state.histograms)
        for number, packed in self.minutes.items():
            tables.minutes[number] = Minute(packed)
        tables.quarters.update(
            {number: Quarter(counts) for number, counts in _unpacked(self.quarters).items()}
        )
        tables.longest.restore(_columns(self.longest), _unpacked(self.longest_quarters))
        tables.final_longest.restore(_columns(self.final_longest), _unpacked(self.final_longest_quarters))


def _give_numbers(state: TablesState, tables: Tables) -> None:
    """Give the queues the numbers that they had; those that were configured since then follow."""
    fresh = list(zip(tables.names, tables.first_at_ms, strict=True))
    tables.names.clear()
    tables.first_at_ms.clear()
    tables.numbers.clear()
    tables.versions = grown(column(()), len(state.names))
    for name, first_at_ms in [*zip(state.names, state.first_at_ms, strict=True), *fresh]:
        tables.number(name, first_at_ms)


def _part(part: Part, tables: Tables) -> PartState:
    queues = len(tables.names)
    return PartState(
        part.cells.pack(),
        pack(part.totals[: queues * FIELDS]),
        pack(part.histograms[: queues * tables.width]),
        pack(part.oldest_waiting_at_ms[:queues]),
    )


def _packed(tables: dict[int, Columns]) -> dict[int, Packed]:
    return {number: counts.pack() for number, counts in sorted(tables.items())}


def _unpacked(tables: dict[int, Packed]) -> dict[int, Columns]:
    return {number: _columns(packed) for number, packed in tables.items()}


def _columns(packed: Packed) -> Columns:
    return Columns(*unpack_columns(packed))
