"""What stage 1 counts into: a ledger for each queue, and a book of what was counted.

Counting is writing down facts (``stream.core.facts``), each with its place (``stream.core.place``). ``Book.settle`` has
all that was written down added to the columns of ``stream.core.counted`` at once, whenever somebody wants to know. So
what an event costs hardly depends on how many queues there are.
"""

from collections import defaultdict
from typing import Any, Final

import numpy as np

from stream.core import fields as f
from stream.core.columns import Ints, column, joined
from stream.core.counted import Counted
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, QUEUE_NUMBERS, shard_of
from stream.core.rules import QueueRule

# What a thousand events write down: more of it does not stay in the processor's cache as a list.
_NOTE_FROM: Final = 4_000
# Columns before they are added up: a million entries, should nobody look. A worker looks twice a second.
_ADD_UP_FROM: Final = 256


class Ledger:
    """A queue in one source partition, and where it counts."""

    __slots__ = ("first_at_ms", "name", "number", "place", "rule")

    def __init__(self, number: int, name: str, rule: QueueRule, first_at_ms: int) -> None:
        self.number = number
        self.place = number << FIELD_BITS  # of its first field, in every bucket
        self.name = name
        self.rule = rule
        self.first_at_ms = first_at_ms


class Book:
    """The ledgers of one source partition, and what became of its records.

    ``sign`` is +1 while counting and -1 while the contributions of a call are taken back before it is folded again.
    """

    __slots__ = (
        "_facts",
        "_noted",
        "_shards",
        "_taken_back",
        "anomalies",
        "applied",
        "bounds_ms",
        "bucket_ms",
        "by_arrival",
        "counted",
        "duplicates",
        "ledgers",
        "numbered",
        "offers",
        "reaches",
        "sign",
        "waiting",
    )

    def __init__(
        self, bucket_ms: int, bounds_ms: tuple[int, ...], event_types: int, *, by_arrival: bool
    ) -> None:
        self.bucket_ms = bucket_ms
        self.bounds_ms = bounds_ms
        self.by_arrival = by_arrival
        self.sign = 1
        self.ledgers: dict[str, Ledger] = {}
        self.numbered: list[Ledger] = []  # the same, by number
        self.counted = Counted(bounds_ms)
        # What was written down since ``counted`` was brought up to date (see Counted.settle).
        self._facts: list[int] = []
        self._taken_back: list[int] = []
        self._noted: list[tuple[Ints, Ints]] = []  # the same, from before
        self._shards: list[int] = []  # of each queue, as far as somebody has asked
        self.offers: dict[
            bytes, int
        ] = {}  # key of a call -> when it was offered: open ones, which may still count there
        # (bucket of an offer, bucket of the event that closed it) -> such offers, until that event is final
        # Who waits: key of the call -> queued at, number of the queue. One table for all queues: a table for each would
        # be cold in memory whenever somebody comes or goes.
        self.waiting: dict[bytes, tuple[int, int]] = {}
        self.reaches: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.applied = [0] * event_types
        self.duplicates = 0
        self.anomalies = [0] * len(f.ANOMALIES)

    def open(self, name: str, rule: QueueRule, first_at_ms: int) -> Ledger:
        """Begin the ledger of a queue. Its number is kept over restarts."""
        number = len(self.numbered)
        if number >= QUEUE_NUMBERS:
            raise OverflowError(f"more than {QUEUE_NUMBERS} queues in a source partition: lower queues_max")
        ledger = self.ledgers[name] = Ledger(number, name, rule, first_at_ms)
        self.numbered.append(ledger)
        return ledger

    def shards(self, shards: int) -> "np.ndarray[Any, np.dtype[np.uint16]]":
        """Return the shard of each queue, by number. ``shards``: how many there are, the same at every call."""
        self._shards += [shard_of(ledger.name, shards) for ledger in self.numbered[len(self._shards) :]]
        return np.array(self._shards, np.uint16)

    def at(self, ledger: Ledger, at_ms: int) -> int:
        """Return the place of a queue's first field at a moment; the others follow it."""
        return (at_ms // self.bucket_ms << BUCKET_SHIFT) + ledger.place

    def add(self, fact: int, span_ms: int = 0) -> None:
        """Write down a fact: a place plus its kind."""
        written = self._facts if self.sign > 0 else self._taken_back
        written.append(fact)
        written.append(span_ms)

    def take_back(self, fact: int) -> None:
        """Write down that what was a fact is none any more."""
        written = self._taken_back if self.sign > 0 else self._facts
        written.append(fact)
        written.append(0)

    def note(self) -> None:
        """Turn what was written down into columns, if it is much: they take a fifth of the memory."""
        if len(self._facts) + len(self._taken_back) < _NOTE_FROM:
            return
        self._noted.append((column(self._facts), column(self._taken_back)))
        self._facts.clear()
        self._taken_back.clear()
        if len(self._noted) > _ADD_UP_FROM:
            self.settle()

    def settle(self) -> Counted:
        """Bring what was counted up to date, and return it."""
        if not self._noted:
            self.counted.settle(len(self.numbered), self._facts, self._taken_back)
        else:
            self._noted.append((column(self._facts), column(self._taken_back)))
            facts, taken_back = joined(self._noted)
            self.counted.settle(len(self.numbered), facts, taken_back)
        self.forget_written()
        return self.counted

    def forget_written(self) -> None:
        """Forget what was written down and not added up yet."""
        self._noted.clear()
        self._facts.clear()
        self._taken_back.clear()

    def waiting_by_queue(self) -> list[tuple[int, int | None]]:
        """Return for each queue, by number, how many wait, and when the first of them was queued."""
        many = [0] * len(self.numbered)
        oldest_at_ms: list[int | None] = [None] * len(self.numbered)
        for at_ms, number in self.waiting.values():
            many[number] += 1
            oldest = oldest_at_ms[number]
            if oldest is None or at_ms < oldest:
                oldest_at_ms[number] = at_ms
        return list(zip(many, oldest_at_ms, strict=True))

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
