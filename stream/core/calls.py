"""Stage 1: the records of one source partition become calls, and calls become cells.

Theory of operation. The state is a function of the log's prefix up to ``applied_offset`` and of nothing else: how the
records were cut into batches, when something was published or saved, and what the wall clock said have no influence.
Time is the stream's own: the largest event time accepted so far. Only a record moves it. What got too old by then ends
as of its age: in the call that an event belongs to at once, in all others at the latest when somebody looks at the
state. Every few minutes of stream time all calls are gone through: what can matter no more is dropped, and what gets
old before the next time is put on a heap. So the usual event pays nothing for it.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from schemas import EVENT_TYPES, STRUCTS, Event, Rejected, RejectReason, decode
from stream.core import fields as f
from stream.core import older
from stream.core.call import (
    KIND,
    LATE_CONVERSATION,
    LATE_WAIT,
    NEVER,
    OFFERED,
    TALKING,
    TALKING_AND_WAITING,
    TRANSITIONS,
    WAITING,
    Call,
    Closing,
    Entry,
    Log,
    Machine,
    canonical,
    closes_visit,
)
from stream.core.calls_state import StageState
from stream.core.cells import Book, Ledger
from stream.core.checkpoint import CheckpointError, Encoded, encode, header, unseal
from stream.core.columns import runs
from stream.core.counted import HISTOGRAMS
from stream.core.facts import by_field
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELD_MASK, FIELDS, QUEUE_MASK
from stream.core.rules import FoldRules, QueueRule
from stream.core.snapshot import PipelineView
from stream.core.tables import cells_a_minute, counts_of
from stream.core.wire import PUBLICATION_VERSION, Publication, Sayings

MAGIC: Final = b"cgS1"
LATE: Final = "late"
NO_KEY: Final = Rejected(RejectReason.NO_KEY)
KEY_MISMATCH: Final = Rejected(RejectReason.KEY_MISMATCH, "call_id")
FUTURE: Final = Rejected(RejectReason.FUTURE, "at")
CALL_TOO_LONG: Final = Rejected(RejectReason.CALL_TOO_LONG, "call_id")
TOO_MANY_CALLS: Final = Rejected(RejectReason.TOO_MANY_CALLS)
_CLOSES_WAIT: Final = frozenset(KIND[name] for name in ("queued", "answered", "abandoned", "left"))
_CLOSES_CONVERSATION: Final = frozenset(KIND[name] for name in ("ended", "wrap_up"))
# Long enough that going through all calls costs the single event next to nothing, short enough to hold few dead ones.
SWEEP_MS: Final = 300_000
KIND_OF: Final[dict[type, int]] = {struct: KIND[name] for name, struct in STRUCTS.items()}
Place = tuple[int, Ledger, QueueRule]  # its number, where it counts, and by which rule
_NO_TIME: Final = -NEVER


class Record(Protocol):
    """A record as Kafka hands it over."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int | None:
        """When it was written, in ms; None or -1 where nobody knows."""

    @property
    def key(self) -> bytes | None:
        """The call_id, or a partition."""

    @property
    def value(self) -> bytes | None:
        """The bytes."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that is kept in a topic of its own: late, or rejected for a reason."""

    record: Record
    late: bool
    reason: str
    where: str


class CallsStage:
    """The state of one source partition, and its fold.

    ``since_ms``: when it was made, to tell whoever speaks for the partition from those before. ``follows``: there may
    have been such, and what they said may have to be corrected.
    """

    def __init__(self, partition: int, rules: FoldRules, *, since_ms: int = 0, follows: bool = False) -> None:
        self.partition = partition
        self.since_ms = since_ms
        self.applied_offset = -1
        self.rules = rules
        self.now_ms = _NO_TIME
        self.calls: dict[bytes, Call] = {}  # by key
        self.cut_off: dict[
            bytes, int
        ] = {}  # keys of calls that had too many events, and until when they are refused
        self.late_before_ms = (
            _NO_TIME  # whatever the grace: events before this were late under an earlier one
        )
        self._final_before_ms = 0
        self._reach_ms = rules.grace_ms  # the longest grace of any call held: how far back a visit may begin
        self._watched: list[tuple[int, bytes]] = []  # a heap: when something in a call gets too old, its key
        self._next_sweep_ms = 0
        self.book = Book(
            rules.bucket_ms, rules.histogram_bounds_ms, len(EVENT_TYPES), by_arrival=rules.by_arrival
        )
        self.machine = Machine(self.book)
        self._places: dict[str | None, Place] = {}  # queue as an event names it -> where it counts
        self.numbered: list[Place] = []
        self._numbers: dict[tuple[str, QueueRule], Place] = {}
        self.again: set[int] = set()  # numbers of queues that are said once more, changed or not
        self.rejected: dict[str, int] = {}
        self.late = 0
        self._follows = follows
        self._was_at_end = False  # of the log, and told everything there
        self._told = False  # the same, when nobody else could tell anything any more
        self.held_from = 0  # a bucket: cells before it are final, and were let go of
        self.open_before_ms = 0  # what ``open_ms`` was to those before

    @property
    def stream_time_ms(self) -> int | None:
        """The largest event time accepted; None before the first."""
        return None if self.now_ms == _NO_TIME else self.now_ms

    # --- the fold ------------------------------------------------------------------------------------------------

    def fold(  # noqa: C901, PLR0912, PLR0915 - the one hot loop
        self, records: Sequence[Record], until_ms: int = NEVER
    ) -> list[SetAside]:
        """Take records in the order of their offsets; those at or below ``applied_offset`` are skipped.

        Stops before the first record that would move the stream's time beyond ``until_ms``. Never raises on what is in
        a record. Returns those that must be kept aside.
        """
        aside: list[SetAside] = []
        applied_offset = self.applied_offset
        future_skew_ms, grace_ms = self.rules.future_skew_ms, self.rules.grace_ms
        places, calls, machine, book, kinds = self._places, self.calls, self.machine, self.book, KIND_OF
        applied = book.applied
        cut_off, calls_max, log_max = self.cut_off, self.rules.calls_max, 2 * self.rules.call_events_max
        for record in records:
            offset = record.offset
            if offset <= applied_offset:
                continue
            applied_offset = offset
            value: Any = record.value  # bytes, if this is an event
            event: Any = decode(value)  # an Event, or Rejected, which is of no kind
            kind = kinds.get(event.__class__)
            if kind is None:
                self._reject(aside, record, event)
                continue
            key, call_id, at_ms = record.key, event.call_id, event.at
            call = calls.get(key)  # type: ignore[arg-type]  # no call has no key
            if call is None:
                if key is None:
                    self._reject(aside, record, NO_KEY)
                    continue
                if key != call_id.encode():
                    self._reject(aside, record, KEY_MISMATCH)
                    continue
            elif call_id != call.call_id:
                self._reject(aside, record, KEY_MISMATCH)
                continue
            timestamp_ms = record.timestamp
            if timestamp_ms is not None and timestamp_ms < at_ms - future_skew_ms and timestamp_ms >= 0:
                self._reject(aside, record, FUTURE)
                continue
            if at_ms > self.now_ms:
                if at_ms > until_ms:
                    applied_offset = offset - 1
                    break
                self.now_ms = at_ms
                if at_ms >= self._next_sweep_ms:
                    self._sweep()
                    call = calls.get(key)  # type: ignore[arg-type]
            elif at_ms < self.now_ms - grace_ms or at_ms < self.late_before_ms:
                self.late += 1
                aside.append(SetAside(record, True, LATE, "at"))
                if call is not None:
                    self._fold_late(call, event, value)
                continue
            elif call is not None and call.age_at_ms < self.now_ms and not call.rests():
                # Something ended by age that this event may undo. Whether somebody has looked since then, and
                # published it, must make no difference: what is taken back has to be said.
                machine.advance(call, self.now_ms)
            if call is None:
                if cut_off or len(calls) >= calls_max:
                    refused = self._refused(key)  # type: ignore[arg-type]
                    if refused is not None:
                        self._reject(aside, record, refused)
                        continue
                call = calls[key] = Call(key, call_id, self.rules)  # type: ignore[index, arg-type]
            place = places.get(event.queue)
            if place is None:
                place = self._place(event.queue, at_ms)
            number, ledger, rule = place
            # What follows is ``_take`` written out for the usual case: nearly every record passes here.
            if call.last_at_ms < at_ms <= call.age_at_ms:
                event_id = event.event_id
                call.last_at_ms = at_ms
                if (event_id is not None and call.knows(event_id)) or TRANSITIONS[call.phase][kind](
                    machine, call, at_ms, event, ledger, rule
                ):
                    book.duplicates += 1
                else:
                    applied[kind] += 1
                log = call.log
                log.append(value)
                log.append(number)
                if not call.phase and not call.over:
                    call.age_at_ms = at_ms + call.ages.grace_ms  # then it is forgotten
                elif call.age_at_ms < self._next_sweep_ms:
                    self._watch(call)
                if len(log) >= log_max:
                    self._cut(call)
            else:
                self._take(call, at_ms, kind, value, event, place)
        self.applied_offset = applied_offset
        book.note()
        return aside

    def _take(self, call: Call, at_ms: int, kind: int, value: bytes, event: Event, place: Place) -> None:
        """Take an event of a call, wherever it belongs among the others."""
        number, ledger, rule = place
        kept = value if kind < LATE_WAIT else (at_ms, kind, value)
        if at_ms > call.last_at_ms:
            self.machine.step(call, at_ms, kind, event, ledger, rule)
            call.log += (kept, number)
        else:
            call = self._fold_again(call, (at_ms, kind, event, ledger, rule), (kept, number))
        self._watch(call)
        if len(call.log) >= 2 * self.rules.call_events_max:
            self._cut(call)

    def _cut(self, call: Call) -> None:
        """Let go of a call that has as many events as it may: what is open ends now, and what it counted stays."""
        machine, now_ms = self.machine, self.now_ms
        machine.advance(call, now_ms)
        if call.phase in (WAITING, TALKING_AND_WAITING):
            machine.expire_visit(call, now_ms)
        if call.phase == TALKING:
            machine.expire_conversation(call, now_ms)
        if call.phase == OFFERED:
            machine.use_offer(call, now_ms)
        del self.calls[call.key]
        self.cut_off[call.key] = now_ms + call.ages.call_age_max_ms

    def _refused(self, key: bytes) -> Rejected | None:
        """Say why an event that would begin a call cannot; None if there is room."""
        until_ms = self.cut_off.get(key)
        if until_ms is not None:
            if self.now_ms <= until_ms:
                return CALL_TOO_LONG
            del self.cut_off[key]
        return TOO_MANY_CALLS if len(self.calls) + len(self.cut_off) >= self.rules.calls_max else None

    def _fold_again(self, call: Call, entry: Entry, kept: tuple[bytes | Closing, int]) -> Call:
        """Insert an event that came out of order: take back what the call counted, and fold it anew."""
        machine, book, now_ms = self.machine, self.book, self.now_ms
        machine.advance(call, now_ms)
        self._deregister(call)
        entries = self._entries(call.log)
        book.sign = -1
        machine.fold(Call(call.key, call.call_id, call.ages), entries, now_ms)
        book.sign = 1
        entries.append(entry)
        log = [*call.log, *kept]
        order = canonical(entries)
        fresh = Call(call.key, call.call_id, call.ages)
        machine.fold(fresh, [entries[index] for index in order], now_ms)
        fresh.log = [item for index in order for item in (log[2 * index], log[2 * index + 1])]
        self.calls[call.key] = fresh
        return fresh

    def restore_time(self, stream_time_ms: int, late_before_ms: int, final_before_ms: int) -> None:
        """Take the times that were saved. With a longer grace than before, what was late or final then stays so."""
        self.now_ms, self._next_sweep_ms = stream_time_ms, _next_sweep_ms(stream_time_ms)
        self.late_before_ms, self._final_before_ms = late_before_ms, final_before_ms

    def restore(self, call_id: str, ages: FoldRules, log: Log) -> None:
        """Take a call that was saved, with the spans that it began with."""
        self._reach_ms = max(self._reach_ms, ages.grace_ms)
        call = Call(call_id.encode(), call_id, ages)
        self.machine.fold(call, self._entries(log), self.now_ms)
        call.log = log
        self.calls[call.key] = call
        self._watch(call)

    def _entries(self, log: Log) -> list[Entry]:
        """Decode what a call was folded from: it was accepted once, so it is an event."""
        entries = []
        for kept, number in zip(log[::2], log[1::2], strict=True):
            _, ledger, rule = self.numbered[number]
            event = decode(kept if isinstance(kept, bytes) else kept[2])
            if isinstance(event, Rejected):
                raise CheckpointError(f"a record that was accepted is rejected now: {event.reason}")
            at_ms, kind = (event.at, event.kind) if isinstance(kept, bytes) else kept[:2]
            entries.append((at_ms, kind, event, ledger, rule))
        return entries

    def _deregister(self, call: Call) -> None:
        if call.phase in (WAITING, TALKING_AND_WAITING):
            del self.book.waiting[call.key]
        elif call.phase == OFFERED:
            del self.book.offers[call.key]

    def _fold_late(self, call: Call, event: Event, value: bytes) -> None:
        """Close what a late event closes, at the stream's time, so that nobody waits for ever."""
        self.machine.advance(call, self.now_ms)
        if event.kind in _CLOSES_WAIT:
            kind = LATE_WAIT
            closes = call.phase in (WAITING, TALKING_AND_WAITING) and closes_visit(call, event)
        else:
            kind = LATE_CONVERSATION
            closes = event.kind in _CLOSES_CONVERSATION and call.phase in (TALKING, TALKING_AND_WAITING)
        if closes:
            ledger = call.visit_ledger if kind == LATE_WAIT else call.conversation.ledger
            self._take(call, self.now_ms, kind, value, event, self.add_place(ledger, ledger.rule))

    def _reject(self, aside: list[SetAside], record: Record, rejected: Rejected) -> None:
        reason = rejected.reason.value
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        aside.append(SetAside(record, False, reason, rejected.where))

    def _place(self, queue: str | None, at_ms: int) -> Place:
        """Find where a queue counts; beyond ``queues_max`` that is the queue of all others."""
        name = f.UNROUTED if queue is None else queue
        ledgers = self.book.ledgers
        if name not in ledgers and name != f.UNROUTED and not self._admits(name):
            name = f.OTHER
        ledger = ledgers.get(name)
        if ledger is None:
            ledger = self.book.open(name, self.rules.rule(name), at_ms)
        place = self.add_place(ledger, ledger.rule)
        if name != f.OTHER or queue == f.OTHER:
            self._places[queue] = place  # names beyond the limit are not remembered: there is no end of them
        return place

    def add_place(self, ledger: Ledger, rule: QueueRule) -> Place:
        """Return the place of a queue under a rule. A call's log has its number, which a restart keeps."""
        place = self._numbers.get((ledger.name, rule))
        if place is None:
            place = len(self.numbered), ledger, rule
            self._numbers[ledger.name, rule] = place
            self.numbered.append(place)
        return place

    def _admits(self, name: str) -> bool:
        own = sum(1 for known in (f.UNROUTED, f.OTHER) if known in self.book.ledgers)
        return name in self.rules.queues or len(self.book.ledgers) - own < self.rules.queues_max

    # --- stream time ---------------------------------------------------------------------------------------------

    def _watch(self, call: Call) -> None:
        """Bring a call up to date, and see to it that it is looked at if something in it gets old before long."""
        if call.age_at_ms < self.now_ms:
            self.machine.advance(call, self.now_ms)
        if call.age_at_ms < self._next_sweep_ms and not call.rests():
            heapq.heappush(self._watched, (call.age_at_ms, call.key))

    def _sweep(self) -> None:
        """Go through all calls, every few minutes of stream time: drop what is over, watch what gets old soon."""
        self._review()
        now_ms, grace_ms, next_sweep_ms = self.now_ms, self.rules.grace_ms, _next_sweep_ms(self.now_ms)
        watched: list[tuple[int, bytes]] = []
        over: list[bytes] = []
        for key, call in self.calls.items():
            if call.phase or call.over:
                if call.age_at_ms < next_sweep_ms:
                    watched.append((call.age_at_ms, key))
            elif call.kept_until_ms(grace_ms) < now_ms:
                over.append(key)
        for key in over:
            del self.calls[key]
        for key in [known for known, until_ms in self.cut_off.items() if until_ms < now_ms]:
            del self.cut_off[key]
        heapq.heapify(watched)
        self._watched, self._next_sweep_ms = watched, next_sweep_ms

    def _review(self) -> None:
        """Bring every call up to date: what got too old has ended."""
        watched, now_ms = self._watched, self.now_ms
        while watched and watched[0][0] < now_ms:
            _, key = heapq.heappop(watched)
            call = self.calls.get(key)
            if call is not None and not call.rests():
                self._watch(call)

    def final_before_ms(self) -> int:
        """Return the time before which no cell can change: one grace back, two where an offer counts or may.

        By arrival an answer changes the interval of its visit however long ago that was queued: nothing is final.
        """
        if self.now_ms == _NO_TIME or self.rules.by_arrival:
            return 0
        grace_ms, bucket_ms = self.rules.grace_ms, self.rules.bucket_ms
        final_ms = self.now_ms - grace_ms
        reached_ms = self.book.reached_ms(final_ms)
        if reached_ms is not None:
            final_ms = max(final_ms - self._reach_ms, min(final_ms, reached_ms))
        return max(0, self._final_before_ms, final_ms // bucket_ms * bucket_ms)

    # --- what others see -----------------------------------------------------------------------------------------

    def publish(
        self, as_of_ms: int | None, *, caught_up: bool, alone: bool = False, at_end: bool = False
    ) -> list[bytes]:
        """Return one publication for each shard: what changed since the last one, and the watermark.

        ``alone``: nobody who spoke for the partition before can still do so. ``at_end``: no record will ever follow, so
        everything is final. The caller sends them all and waits for the deliveries before it calls again.
        """
        self._review()
        anew_from = self.held_from if self._say_all(caught_up=caught_up, alone=alone) else None
        said = Sayings(self.book, self.rules.shards, self.again)
        self.again.clear()
        final_before_ms = NEVER if at_end else self.final_before_ms()
        self.held_from = max(self.held_from, self._kept_from_ms(final_before_ms) // self.rules.bucket_ms)
        self.book.counted.forget_before(self.held_from)
        head = Publication(
            PUBLICATION_VERSION,
            self.partition,
            self.applied_offset,
            self.stream_time_ms,
            final_before_ms,
            as_of_ms,
            caught_up,
            anew_from=anew_from,
            since_ms=self.since_ms,
        )
        return [said.to(shard, head) for shard in range(self.rules.shards)]

    def _say_all(self, *, caught_up: bool, alone: bool) -> bool:
        """Have everything said if this follows somebody who may have counted otherwise, and said more than it knows.

        That can be another release, or the same with other rules. What it said was of the log up to its end; so what is
        said from there on holds, and until then each publication may be the first that holds. Once more everything is
        said in any case, when all others are silent: one that was thrown out alive may have read on meanwhile, or have
        spoken unheard.
        """
        if self._told:
            return False
        self._told = caught_up and alone
        anew = self._told or (self._follows and not self._was_at_end)
        self._was_at_end = self._was_at_end or caught_up
        if anew:
            self.again.update(self.book.settle().say_all())
        return anew

    def open_ms(self) -> int:
        """Return how far behind the stream's time a cell may be that can change, or that those before could change."""
        own_ms = self.rules.grace_ms + self._reach_ms
        return max(own_ms, self.open_before_ms) if self._corrects() else own_ms

    def _corrects(self) -> bool:
        """Say whether everything may have to be said anew."""
        return self._follows and not self._told

    def _kept_from_ms(self, final_before_ms: int) -> int:
        """Return the time before which cells are let go of.

        While they may have to correct what is not final to those before, whose grace may have been longer, they are
        kept for as long as that may be.
        """
        if not self._corrects():
            return final_before_ms
        return max(0, min(final_before_ms, self.now_ms - self.open_ms()))

    def tally(self) -> PipelineView:
        """Return what became of the records of this partition."""
        self._review()
        book = self.book
        return PipelineView(
            events=dict(zip(EVENT_TYPES, book.applied, strict=True)),
            rejected=dict(self.rejected),
            late=self.late,
            duplicate=book.duplicates,
            anomalous=dict(zip(f.ANOMALIES, book.anomalies, strict=True)),
            last_event_at_ms=self.stream_time_ms,
        )

    def cells(self) -> dict[tuple[str, int], dict[int, int]]:
        """Return the cells still held, as {(queue, bucket's start in ms): counts}; empty ones left out."""
        self._review()
        cells = self.book.settle().cells
        found: dict[tuple[str, int], dict[int, int]] = {}
        for begin, end in runs(cells.places >> FIELD_BITS):
            place, row = int(cells.places[begin]), np.zeros(FIELDS, np.int64)
            row[cells.places[begin:end] & FIELD_MASK] = cells.values[begin:end]
            if counts := counts_of(by_field(row)):
                name = self.book.numbered[place >> FIELD_BITS & QUEUE_MASK].name
                found[name, (place >> BUCKET_SHIFT) * self.rules.bucket_ms] = counts
        return found

    def totals(self) -> dict[str, dict[int, int]]:
        """Return the sums since the beginning, by queue; zeros left out."""
        self._review()
        rows = by_field(self.book.settle().totals).reshape(-1, FIELDS).tolist()
        totals = {
            ledger.name: {field: count for field, count in enumerate(row) if count}
            for ledger, row in zip(self.book.numbered, rows, strict=False)
        }
        return {name: counts for name, counts in totals.items() if counts}

    def histograms(self) -> dict[str, dict[str, list[int]]]:
        """Return the histograms, by queue and name: observations by bound, the last beyond all bounds."""
        self._review()
        counted = self.book.settle()
        rows = counted.histograms.reshape(-1, HISTOGRAMS, counted.bounds + 1).tolist()
        return {
            ledger.name: dict(zip(f.HISTOGRAM_NAMES, row, strict=True))
            for ledger, row in zip(self.book.numbered, rows, strict=False)
            if any(map(any, row))
        }

    def now(self) -> dict[str, tuple[int, int, int | None]]:
        """Return, by queue: waiting, in progress, and when the oldest waiting visit was queued."""
        totals = self.totals()
        return {
            name: (
                waiting,
                totals[name].get(f.ANSWERED, 0) - totals[name].get(f.CONVERSATIONS_ENDED, 0),
                oldest_at_ms,
            )
            for name, (waiting, oldest_at_ms) in zip(
                self.book.ledgers, self.book.waiting_by_queue(), strict=True
            )
            if name in totals
        }

    # --- state to bytes ------------------------------------------------------------------------------------------

    def encode(self) -> Encoded:
        """Return the whole state as of now, still to be sealed; equal states give equal bytes."""
        self._review()
        return encode(MAGIC, self.applied_offset, StageState.of(self))

    def dump(self) -> bytes:
        """Return the whole state, sealed."""
        return self.encode().seal()

    @classmethod
    def load(cls, data: bytes, partition: int, rules: FoldRules, *, since_ms: int = 0) -> "CallsStage":
        """Make a stage from ``dump``'s bytes. Calls keep the rules they were counted by. Raises CheckpointError."""
        layout = header(MAGIC, data).layout
        state = (
            older.stage_state(unseal(MAGIC, data, older.OldStage), layout, cells_a_minute(rules.bucket_ms))
            if layout <= older.LAYOUT
            else unseal(MAGIC, data, StageState)
        )
        if state.partition != partition:
            raise CheckpointError(f"checkpoint is of partition {state.partition}, not of {partition}")
        stage = cls(partition, rules, since_ms=since_ms, follows=True)
        state.into(stage)
        return stage


def _next_sweep_ms(now_ms: int) -> int:
    """Return when all calls are gone through next: by the stream time alone, so that a restart changes nothing."""
    return (now_ms // SWEEP_MS + 1) * SWEEP_MS
