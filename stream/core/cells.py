"""What stage 1 counts into: a ledger for each queue, a cell for each bucket in it.

Cells are absolute: a reader replaces what it had, so sending one twice is harmless. A cell leaves stage 1 once its
bucket is final and sent; the ledger's totals keep what it counted.
"""

from collections import defaultdict

from stream.core import fields as f
from stream.core.rules import QueueRule


def without_zeros(counts: dict[int, int]) -> dict[int, int]:
    """Copy counts. Zeros are seldom: only what was taken back leaves one."""
    if 0 in counts.values():
        return {field: count for field, count in counts.items() if count}
    return dict(counts)


class Cell:
    """The counts of one queue in one bucket."""

    __slots__ = ("counts", "settled", "unsent", "waits")

    def __init__(self) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)
        self.waits: dict[
            int, int
        ] = {}  # waits that ended here, by length: a maximum cannot be taken back, a count can
        self.settled: dict[int, int] = {}  # what the ledger's totals have of it
        self.unsent = False

    def value(self) -> dict[int, int]:
        """Return the counts without zeros, the longest wait among them."""
        value = without_zeros(self.counts)
        waits = without_zeros(self.waits)
        if waits:
            value[f.LONGEST_WAIT_MS] = max(waits)
        return value


class Ledger:
    """Everything that stage 1 knows of one queue in one source partition."""

    __slots__ = (
        "cells",
        "changed",
        "first_at_ms",
        "histograms",
        "name",
        "newest_waiting_ms",
        "rule",
        "totals",
        "waiting",
        "waiting_in_order",
    )

    def __init__(self, name: str, rule: QueueRule, bounds: int, first_at_ms: int) -> None:
        self.name = name
        self.rule = rule
        self.first_at_ms = first_at_ms
        self.cells: dict[int, Cell] = {}  # by bucket
        self.changed: list[int] = []  # buckets whose cell is unsent
        self.totals: defaultdict[int, int] = defaultdict(int)
        self.histograms = [[0] * (bounds + 1) for _ in f.HISTOGRAM_NAMES]
        self.waiting: dict[
            bytes, int
        ] = {}  # key of the call -> queued at, in order of it while waiting_in_order
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

    def settle(self) -> None:
        """Bring the totals up to date with the changed cells."""
        totals = self.totals
        for bucket in self.changed:
            cell = self.cells[bucket]
            counts, settled = cell.counts, cell.settled
            for field, count in counts.items():
                difference = count - settled.get(field, 0)
                if difference:
                    totals[field] += difference
            cell.settled = dict(counts)


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
        self.buckets: dict[int, list[Ledger]] = {}  # bucket -> ledgers with a cell there
        self.offers: dict[
            bytes, int
        ] = {}  # key of a call -> when it was offered: open ones, which may still count there
        # (bucket of an offer, bucket of the event that closed it) -> such offers, until that event is final
        self.reaches: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.applied = [0] * event_types
        self.duplicates = 0
        self.anomalies = [0] * len(f.ANOMALIES)

    def cell(self, ledger: Ledger, at_ms: int) -> Cell:
        """Return the cell of a moment, marked as changed."""
        bucket = at_ms // self.bucket_ms
        cell = ledger.cells.get(bucket)
        if cell is None:
            cell = ledger.cells[bucket] = Cell()
            held = self.buckets.get(bucket)
            if held is None:
                self.buckets[bucket] = [ledger]
            else:
                held.append(ledger)
        if not cell.unsent:
            cell.unsent = True
            if not ledger.changed:
                self.changed[ledger.name] = ledger
            ledger.changed.append(bucket)
        return cell

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
