"""What stage 1 counts into: a ledger for each queue, a cell for each bucket in it.

Cells are absolute: a reader replaces what it had, so sending one twice is harmless. What is counted goes into the
bucket's *change* since it was sent last; ``settle`` adds the changes to the cells and to the totals, once for many
events. A cell leaves stage 1 once its bucket is final and sent; the ledger's totals keep what it counted.

With many queues there are hundreds of thousands of cells, and nearly all are at rest. A checkpoint leaves those packed,
as it has written them: the next one takes them as they are, and they need a fraction of the memory.
"""

from collections import defaultdict
from typing import Final

import msgspec

from stream.core import fields as f
from stream.core.counts import Counts, add
from stream.core.rules import QueueRule

# The items of a dict, in order: there are many, and a list is quickly sorted and written.
Pairs = list[tuple[int, int]]
PackedCell = tuple[int, Pairs, Pairs]  # bucket, counts without the longest wait, waits
_ZEROS: Final = [0] * f.FIELD_COUNT
_read_packed: Final = msgspec.msgpack.Decoder(PackedCell).decode


class Ledger:
    """Everything that stage 1 knows of one queue in one source partition."""

    __slots__ = (
        "cells",
        "changed",
        "first_at_ms",
        "histograms",
        "name",
        "newest_waiting_ms",
        "packed",
        "rule",
        "totals",
        "waiting",
        "waiting_in_order",
        "waits",
    )

    def __init__(self, name: str, rule: QueueRule, bounds: int, first_at_ms: int) -> None:
        self.name = name
        self.rule = rule
        self.first_at_ms = first_at_ms
        self.changed: dict[int, list[int]] = {}  # by bucket: what is not in its cell yet, by field
        self.cells: dict[int, Counts] = {}  # by bucket; without zeros, the longest wait among them
        # By bucket, the waits that ended there, counted by length: a maximum cannot be taken back, a count can.
        self.waits: dict[int, Counts] = {}
        self.packed: dict[
            int, msgspec.Raw
        ] = {}  # by bucket, as a PackedCell: those that are not in the above
        self.totals: Counts = {}
        self.histograms = [[0] * (bounds + 1) for _ in f.HISTOGRAM_NAMES]
        self.waiting: dict[bytes, int] = {}  # key of the call -> queued at, in order while waiting_in_order
        self.newest_waiting_ms = 0
        self.waiting_in_order = True

    def wait(self, key: bytes, at_ms: int) -> None:
        """Enter a visit that waits, by the key of its call."""
        if at_ms < self.newest_waiting_ms:
            self.waiting_in_order = False
        else:
            self.newest_waiting_ms = at_ms
        self.waiting[key] = at_ms

    def oldest_waiting_at_ms(self) -> int | None:
        """Return when the visit that waits longest was queued; None when nobody waits."""
        if not self.waiting:
            return None
        if not self.waiting_in_order:
            self.waiting = dict(sorted(self.waiting.items(), key=lambda item: item[1]))
            self.waiting_in_order = True
        return next(iter(self.waiting.values()))

    def note_wait(self, bucket: int, wait_ms: int, sign: int) -> None:
        """Note, or take back, a wait that ended in a bucket. The bucket must be marked as changed."""
        waits = self.waits.get(bucket)
        if waits is None:
            self.waits[bucket] = {wait_ms: sign}
        elif count := waits.get(wait_ms, 0) + sign:
            waits[wait_ms] = count
        else:
            del waits[wait_ms]

    def settle(self) -> None:
        """Bring cells and totals up to date with what has changed."""
        for bucket, change in self.changed.items():
            counts: Counts = {}
            for field, count in enumerate(change):
                if count:
                    counts[field] = count
                    change[field] = 0
            add(self.totals, counts)
            cell = self.cells.get(bucket)
            if cell is None:
                # Also where all that was counted was taken back: before a crash, publishing at another moment, this
                # partition may have told readers of it, and only a cell that is sent can correct that.
                cell = self.cells[bucket] = counts
            else:
                add(cell, counts)
            waits = self.waits.get(bucket)
            if waits:
                cell[f.LONGEST_WAIT_MS] = max(waits)
            elif waits is not None:
                cell.pop(f.LONGEST_WAIT_MS, None)

    def take(self) -> list[tuple[int, Counts]]:
        """Return the cells that have changed since the last call, as (bucket, counts), to be sent at once."""
        self.settle()
        cells = self.cells
        taken = [(bucket, cells[bucket]) for bucket in self.changed if bucket in cells]
        self.changed.clear()
        return taken

    def put(self, bucket: int, counts: Pairs, waits: Pairs) -> None:
        """Put a cell back that was saved or packed."""
        cell = self.cells[bucket] = dict(counts)
        if waits:
            held = self.waits[bucket] = dict(waits)
            cell[f.LONGEST_WAIT_MS] = max(held)

    def pack(self) -> list[msgspec.Raw]:
        """Return all cells in order of their buckets, empty ones left out; those that are sent stay packed."""
        self.settle()
        fresh = {bucket: self._packed(bucket, cell) for bucket, cell in self.cells.items() if cell}
        for bucket in fresh.keys() - self.changed.keys():
            self.packed[bucket] = fresh[bucket]
            del self.cells[bucket]
            self.waits.pop(bucket, None)
        every = self.packed | fresh
        return [every[bucket] for bucket in sorted(every)]

    def _packed(self, bucket: int, cell: Counts) -> msgspec.Raw:
        counts = [(field, cell[field]) for field in sorted(cell) if field != f.LONGEST_WAIT_MS]
        packed: PackedCell = (bucket, counts, sorted(self.waits.get(bucket, {}).items()))
        return msgspec.Raw(msgspec.msgpack.encode(packed))

    def unpack(self, bucket: int) -> bool:
        """Make a cell that can be counted into of a packed one; say whether there was one."""
        packed = self.packed.pop(bucket, None)
        if packed is None:
            return False
        self.put(*_read_packed(packed))
        return True


class Book:
    """The ledgers of one source partition, and what became of its records.

    ``sign`` is +1 while counting and -1 while the contributions of a call are taken back before it is folded again.
    """

    __slots__ = (
        "anomalies",
        "applied",
        "bounds_ms",
        "bucket_ms",
        "buckets",
        "by_arrival",
        "changed",
        "duplicates",
        "ledgers",
        "offers",
        "reaches",
        "sign",
    )

    def __init__(
        self, bucket_ms: int, bounds_ms: tuple[int, ...], event_types: int, *, by_arrival: bool
    ) -> None:
        self.bucket_ms = bucket_ms
        self.bounds_ms = bounds_ms
        self.by_arrival = by_arrival
        self.sign = 1
        self.ledgers: dict[str, Ledger] = {}
        self.changed: dict[str, Ledger] = {}
        self.buckets: dict[int, list[Ledger]] = {}  # bucket -> ledgers with something there
        self.offers: dict[
            bytes, int
        ] = {}  # key of a call -> when it was offered: open ones, which may still count there
        # (bucket of an offer, bucket of the event that closed it) -> such offers, until that event is final
        self.reaches: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.applied = [0] * event_types
        self.duplicates = 0
        self.anomalies = [0] * len(f.ANOMALIES)

    def counts(self, ledger: Ledger, at_ms: int) -> list[int]:
        """Return where to count what happens at a moment."""
        bucket = at_ms // self.bucket_ms
        change = ledger.changed.get(bucket)
        return self.open(ledger, bucket) if change is None else change

    def open(self, ledger: Ledger, bucket: int) -> list[int]:
        """Mark a bucket as changed, and return where to count its change."""
        if not ledger.changed:
            self.changed[ledger.name] = ledger
        change = ledger.changed[bucket] = _ZEROS.copy()
        if bucket not in ledger.cells and not ledger.unpack(bucket):
            held = self.buckets.get(bucket)
            if held is None:
                self.buckets[bucket] = [ledger]
            else:
                held.append(ledger)
        return change

    def anomaly(self, kind: int) -> None:
        """Count an event that makes no sense (index in ANOMALIES)."""
        self.anomalies[kind] += self.sign

    def reach(self, from_ms: int, until_ms: int) -> None:
        """Note that an event up to ``until_ms`` may count at ``from_ms``."""
        first, last = from_ms // self.bucket_ms, until_ms // self.bucket_ms
        if first == last:
            return  # a bucket in which something can be undone is not final anyway
        self.reaches[first, last] += self.sign
        if not self.reaches[first, last]:
            del self.reaches[first, last]

    def reached_ms(self, undoable_from_ms: int) -> int | None:
        """Return the earliest moment at which an event from ``undoable_from_ms`` on counts; None: at its own."""
        for key in [known for known in self.reaches if (known[1] + 1) * self.bucket_ms <= undoable_from_ms]:
            del self.reaches[key]
        firsts = [first * self.bucket_ms for first, _ in self.reaches]
        return min((*firsts, *self.offers.values()), default=None)

    def forget_before(self, bucket: int) -> None:
        """Let go of sent cells whose bucket is final."""
        for old in [held for held in self.buckets if held < bucket]:
            for ledger in self.buckets.pop(old):
                ledger.cells.pop(old, None)
                ledger.packed.pop(old, None)
                ledger.waits.pop(old, None)
