"""What stage 1 counts into: a ledger for each queue, and in it a cell for each bucket, minute by minute.

Cells are absolute: a reader replaces what it had, so sending one twice is harmless. What is counted goes into the
bucket's *change* since it was sent last; ``settle`` adds the changes to the cells and to the totals, once for many
events. Cells are held, sent and saved by whole minutes (``stream.core.minute``). A minute leaves stage 1 once it is
final and sent; the ledger's totals keep what it counted.

With many queues there are tens of thousands of minutes, and nearly all are at rest. A checkpoint leaves those packed,
as it has written them: the next one takes them as they are, and they need a fraction of the memory.
"""

from collections import defaultdict
from typing import Final

import msgspec

from stream.core import fields as f
from stream.core.counts import Counts, add_to
from stream.core.minute import PLACES_A_CELL, cells_a_minute
from stream.core.rules import QueueRule

# The items of a dict, in order: there are many, and a list is quickly sorted and written.
Pairs = list[tuple[int, int]]
# number, counts by place without the longest waits, waits (see Ledger.waits)
PackedMinute = tuple[int, Pairs, Pairs]
_ZEROS: Final = [0] * f.FIELD_COUNT
_LONGEST: Final = f.LONGEST_WAIT_MS
_NO_WAIT: Final = -1
_read_packed: Final = msgspec.msgpack.Decoder(PackedMinute).decode


class Ledger:
    """Everything that stage 1 knows of one queue in one source partition."""

    __slots__ = (
        "changed",
        "first_at_ms",
        "histograms",
        "minutes",
        "name",
        "newest_waiting_ms",
        "packed",
        "per_minute",
        "rule",
        "totals",
        "waiting",
        "waiting_in_order",
        "waits",
    )

    def __init__(self, name: str, rule: QueueRule, bounds: int, first_at_ms: int, per_minute: int) -> None:
        self.name = name
        self.rule = rule
        self.first_at_ms = first_at_ms
        self.per_minute = per_minute  # cells in a minute
        self.changed: dict[int, list[int]] = {}  # by bucket: what is not in its cell yet, by field
        self.minutes: dict[int, Counts] = {}  # by number; the longest wait of each cell among the counts
        # By minute, the waits that ended in it, each as its length times ``per_minute`` plus the cell's number in the
        # minute, and how many: a maximum cannot be taken back, a count can.
        self.waits: dict[int, Counts] = {}
        # By number, as PackedMinutes: those that are not in the above.
        self.packed: dict[int, msgspec.Raw] = {}
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
        number = bucket // self.per_minute
        wait = (wait_ms - number) * self.per_minute + bucket
        waits = self.waits.get(number)
        if waits is None:
            self.waits[number] = {wait: sign}
        elif count := waits.get(wait, 0) + sign:
            waits[wait] = count
        else:
            del waits[wait]

    def settle(self) -> None:
        """Bring cells and totals up to date with what has changed."""
        per_minute, totals = self.per_minute, self.totals
        for bucket, change in self.changed.items():
            number = bucket // per_minute
            minute = self.minutes[number]
            base = (bucket - number * per_minute) * PLACES_A_CELL
            for field, count in enumerate(change):
                if count:
                    change[field] = 0
                    add_to(minute, base + field, count)
                    add_to(totals, field, count)
        for number in self._changed_minutes():
            if number in self.waits:
                self._find_longest(number)

    def _find_longest(self, number: int) -> None:
        """Write the longest wait into each cell of a minute; into none in which no known wait ended."""
        per_minute = self.per_minute
        longest_ms = [_NO_WAIT] * per_minute
        for wait in self.waits[number]:
            wait_ms = wait // per_minute
            cell = wait - wait_ms * per_minute
            longest_ms[cell] = max(longest_ms[cell], wait_ms)
        minute = self.minutes[number]
        for cell, wait_ms in enumerate(longest_ms):
            place = cell * PLACES_A_CELL + _LONGEST
            if wait_ms != _NO_WAIT:
                minute[place] = wait_ms
            elif place in minute:
                del minute[place]

    def take(self) -> list[tuple[int, Counts]]:
        """Return the minutes that have changed since the last call, as (number, counts), to be sent at once.

        One in which all was taken back is among them: before a crash, publishing at another moment, this partition may
        have told readers of it, and only what is sent can correct that.
        """
        self.settle()
        taken = [(number, self.minutes[number]) for number in self._changed_minutes()]
        self.changed.clear()
        return taken

    def _changed_minutes(self) -> list[int]:
        per_minute = self.per_minute
        return list(dict.fromkeys([bucket // per_minute for bucket in self.changed]))

    def put(self, number: int, counts: Pairs, waits: Pairs) -> None:
        """Put a minute back that was saved or packed."""
        self.minutes[number] = dict(counts)
        if waits:
            self.waits[number] = dict(waits)
            self._find_longest(number)

    def pack(self) -> list[msgspec.Raw]:
        """Return all minutes in order, empty ones left out; those that are sent stay packed."""
        self.settle()
        fresh = {number: self._packed(number, minute) for number, minute in self.minutes.items() if minute}
        for number in fresh.keys() - set(self._changed_minutes()):
            self.packed[number] = fresh[number]
            del self.minutes[number]
            self.waits.pop(number, None)
        every = self.packed | fresh
        return [every[number] for number in sorted(every)]

    def _packed(self, number: int, minute: Counts) -> msgspec.Raw:
        counts = [(place, minute[place]) for place in sorted(minute) if place % PLACES_A_CELL != _LONGEST]
        packed: PackedMinute = (number, counts, sorted(self.waits.get(number, {}).items()))
        return msgspec.Raw(msgspec.msgpack.encode(packed))

    def unpack(self, number: int) -> bool:
        """Make a minute that can be counted into of a packed one; say whether there was one."""
        packed = self.packed.pop(number, None)
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
        "by_arrival",
        "changed",
        "duplicates",
        "ledgers",
        "minutes",
        "offers",
        "per_minute",
        "reaches",
        "sign",
    )

    def __init__(
        self, bucket_ms: int, bounds_ms: tuple[int, ...], event_types: int, *, by_arrival: bool
    ) -> None:
        self.bucket_ms = bucket_ms
        self.per_minute = cells_a_minute(bucket_ms)
        self.bounds_ms = bounds_ms
        self.by_arrival = by_arrival
        self.sign = 1
        self.ledgers: dict[str, Ledger] = {}
        self.changed: dict[str, Ledger] = {}
        self.minutes: dict[int, list[Ledger]] = {}  # number -> ledgers with something there
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
        number = bucket // self.per_minute
        if number not in ledger.minutes and not ledger.unpack(number):
            ledger.minutes[number] = {}
            held = self.minutes.get(number)
            if held is None:
                self.minutes[number] = [ledger]
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
        """Let go of sent minutes that are final: all of their buckets lie before this one."""
        before = bucket // self.per_minute
        for old in [held for held in self.minutes if held < before]:
            for ledger in self.minutes.pop(old):
                ledger.minutes.pop(old, None)
                ledger.packed.pop(old, None)
                ledger.waits.pop(old, None)
