"""The life of one call: a transition table over its events.

Theory of operation. A call is the list of its events in canonical order (``docs/counting.md``) and a small machine that
has folded them. Nearly every event arrives in order: it takes one step of the machine and is appended. An event that
arrives out of order has the call folded again from its first event: ``Machine.fold`` is run over the old list with the
book's sign at -1, which takes back what the call had counted, then over the new list with +1.

The machine has five phases. ``TRANSITIONS[phase][kind]`` names the one function that an event of that kind runs in that
phase; every change of a phase is in this file. Time passes only through ``advance``: what has no end within
``call_age_max`` ends there, at exactly that age. Nothing here reads a clock.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from schemas import EVENT_TYPES, Event
from stream.core import facts
from stream.core import fields as f
from stream.core.cells import Book, Ledger
from stream.core.rules import FoldRules, Formula, QueueRule

IDLE: Final = 0  # nothing is open; a wrap-up may still be awaited
OFFERED: Final = 1  # offered, and nothing since
WAITING: Final = 2
TALKING: Final = 3
TALKING_AND_WAITING: Final = 4  # transferred while the conversation has not ended
PHASES: Final = ("idle", "offered", "waiting", "talking", "talking and waiting")

KIND: Final = {name: kind for kind, name in enumerate(EVENT_TYPES)}
_QUEUED: Final = KIND["queued"]
_ENDERS: Final = (KIND["answered"], KIND["abandoned"], KIND["left"])
# A late event moves the state of its call and counts nothing but the end of what it closes: these two kinds stand in
# the list of events for what it closed, at the stream time of its arrival.
LATE_WAIT: Final = len(EVENT_TYPES)
LATE_CONVERSATION: Final = LATE_WAIT + 1

# The order of events at one instant (docs/counting.md); by kind.
_EARLY_ENDER: Final = 1
_ORDER: Final = (
    "offered",
    "",
    "queued",
    "blocked",
    "answered",
    "hold",
    "resumed",
    "abandoned",
    "left",
    "ended",
    "wrap_up",
)
RANK: Final = (*(_ORDER.index(name) for name in EVENT_TYPES), len(_ORDER), len(_ORDER))

_FEW_IDS: Final = 12  # up to here a list is smaller than a set, and as quick
NEVER: Final = 1 << 62  # later than any event time

_ANSWERED_ONLY: Final = Formula.ANSWERED_ONLY
_ANOMALY: Final = {name: index for index, name in enumerate(f.ANOMALIES)}

# at_ms, kind, event, ledger of the event's queue, the rule of that queue when the event arrived
Entry = tuple[int, int, Event, Ledger, QueueRule]
SortKey = tuple[object, ...]
Closing = tuple[int, int, bytes]  # at_ms, LATE_WAIT or LATE_CONVERSATION, the late record's bytes
Log = list[Any]  # bytes | Closing, number of the place, and so on


class Conversation:
    """A contact with an agent, from the answer to the wrap-up."""

    __slots__ = (
        "agent",
        "answered_at_ms",
        "ended_at_ms",
        "hold_ms",
        "holds",
        "ledger",
        "origin_ms",
        "talk_ms",
    )

    def __init__(self, answered_at_ms: int, ledger: Ledger, agent: str | None, origin_ms: int) -> None:
        self.answered_at_ms = answered_at_ms
        self.ledger = ledger
        self.agent = agent
        self.origin_ms = origin_ms  # when its visit was queued
        self.holds: list[list[int]] | None = None  # [start, end]; NEVER for one that is still running
        self.ended_at_ms = NEVER
        self.talk_ms = 0
        self.hold_ms = 0

    def end(self, at_ms: int, talked_until_ms: int) -> None:
        """Measure talk and holds up to a moment; ``at_ms`` is the event that ended it."""
        until_ms = max(self.answered_at_ms, talked_until_ms)
        if self.holds:
            self.hold_ms = sum(max(0, min(end, until_ms) - start) for start, end in self.holds)
        self.talk_ms = until_ms - self.answered_at_ms - self.hold_ms
        self.ended_at_ms = at_ms


_NONE_OVER: Final[list[Conversation]] = []  # shared, never changed


class Call:
    """One call: its events and the machine that has folded them.

    Offer, visit and conversation are there only while the phase says so; before the first one, reading them is an
    error.
    """

    __slots__ = (
        "age_at_ms",
        "ages",
        "call_id",
        "conversation",
        "forgotten_at_ms",
        "ids",
        "key",
        "last_at_ms",
        "log",
        "offer_at_ms",
        "offer_ledger",
        "offer_rule",
        "offered",
        "over",
        "phase",
        "visit_at_ms",
        "visit_floor_ms",
        "visit_ledger",
        "visit_queue",
        "visit_rule",
    )

    offer_ledger: Ledger
    offer_rule: QueueRule
    visit_ledger: Ledger
    visit_rule: QueueRule
    conversation: Conversation

    def __init__(self, key: bytes, call_id: str, ages: FoldRules) -> None:
        self.key = key
        self.call_id = call_id
        self.ages = ages  # the spans that were configured when it began hold for the whole of its life
        # What it was folded from, in canonical order, two items an event: a record's bytes (or what a late one closed),
        # and the number of its place. Bytes are kept, not events: they are small, hardly ever looked at again, and what
        # a checkpoint needs.
        self.log: Log = []
        # folded up to here: the last event, or what ended by age or was forgotten since
        self.last_at_ms = -1
        self.phase = IDLE
        self.offered = False
        self.ids: list[str] | set[str] | None = None
        self.over: list[Conversation] = _NONE_OVER  # ended, waiting for their wrap-up
        # the first moment at which something open gets too old; of one that rests: is forgotten
        self.age_at_ms = NEVER
        self.forgotten_at_ms = NEVER
        self.offer_at_ms = NEVER
        self.visit_at_ms = NEVER
        self.visit_floor_ms = -1  # nothing of the visit is counted before this moment
        self.visit_queue: str | None = None

    def forget(self) -> None:
        """Begin anew: what happened before has no influence any more."""
        self.phase = IDLE
        self.offered = False
        self.ids = None
        self.over = _NONE_OVER
        self.forgotten_at_ms = self.age_at_ms
        self.age_at_ms = NEVER
        self.offer_at_ms = NEVER
        self.visit_at_ms = NEVER
        self.visit_floor_ms = -1
        self.visit_queue = None

    def knows(self, event_id: str) -> bool:
        """Say whether an event with this id was taken; remember it."""
        ids = self.ids
        if ids is None:
            self.ids = [event_id]
            return False
        if event_id in ids:
            return True
        if isinstance(ids, list):
            ids.append(event_id)
            if len(ids) > _FEW_IDS:
                self.ids = set(ids)
        else:
            ids.add(event_id)
        return False

    def set_age(self) -> None:
        """Find the first moment at which something open gets too old."""
        age_at_ms = NEVER
        if self.phase == OFFERED:
            age_at_ms = self.offer_at_ms + self.ages.call_age_max_ms
        if self.phase in (WAITING, TALKING_AND_WAITING):
            age_at_ms = self.visit_at_ms + self.ages.call_age_max_ms
        if self.phase in (TALKING, TALKING_AND_WAITING):
            age_at_ms = min(age_at_ms, self.conversation.answered_at_ms + self.ages.call_age_max_ms)
        for conversation in self.over:
            age_at_ms = min(age_at_ms, conversation.ended_at_ms + self.ages.wrap_up_wait_ms)
        self.age_at_ms = age_at_ms

    def rests(self) -> bool:
        """Say whether nothing is open and no wrap-up is awaited."""
        return self.phase == IDLE and not self.over

    def kept_until_ms(self, grace_ms: int) -> int:
        """Return the stream time up to which a resting call is kept: two graces from its last moment.

        An event up to one grace after that still belongs to it, and may itself arrive one grace late.
        """
        forgotten_at_ms = self.forgotten_at_ms if self.age_at_ms == NEVER else self.age_at_ms
        return forgotten_at_ms + max(grace_ms, self.ages.grace_ms)


class Machine:
    """Folds events into calls and counts in a book."""

    __slots__ = ("book",)

    def __init__(self, book: Book) -> None:
        self.book = book

    def fold(self, call: Call, entries: Iterable[Entry], until_ms: int) -> None:
        """Fold entries in canonical order, and let time pass to ``until_ms``."""
        previous: Entry | None = None
        for entry in entries:
            at_ms, kind, event, ledger, rule = entry
            copied = previous is not None and is_copy(previous, entry)
            self.step(call, at_ms, kind, event, ledger, rule, copied=copied)
            previous = entry
        self.advance(call, until_ms)

    def step(
        self,
        call: Call,
        at_ms: int,
        kind: int,
        event: Event,
        ledger: Ledger,
        rule: QueueRule,
        *,
        copied: bool = False,
    ) -> None:
        """Take one event, not before the last one. ``copied``: it equals one that was taken."""
        if at_ms > call.age_at_ms:
            self.advance(call, at_ms)
        call.last_at_ms = at_ms
        book = self.book
        if kind >= LATE_WAIT:
            if call.phase == IDLE:
                return  # what came before it in the end has left nothing to close: it is no event of the call
            TRANSITIONS[call.phase][kind](self, call, at_ms, event, ledger, rule)
        else:
            event_id = event.event_id
            duplicate = copied if event_id is None else call.knows(event_id)
            if duplicate or TRANSITIONS[call.phase][kind](self, call, at_ms, event, ledger, rule):
                book.duplicates += book.sign
            else:
                book.applied[kind] += book.sign
        if not call.phase and not call.over:
            call.age_at_ms = at_ms + call.ages.grace_ms  # then it is forgotten

    def advance(self, call: Call, to_ms: int) -> None:
        """End what got too old before ``to_ms``; forget what has rested for one grace."""
        while call.age_at_ms < to_ms:
            at_ms = call.last_at_ms = call.age_at_ms
            if call.rests():
                call.forget()
                return
            self._expire(call, at_ms)
            if call.rests():
                call.age_at_ms = at_ms + call.ages.grace_ms

    def _expire(self, call: Call, at_ms: int) -> None:
        age_ms = call.ages.call_age_max_ms
        if call.phase == OFFERED and call.offer_at_ms + age_ms == at_ms:
            self.use_offer(call, at_ms)
        if call.phase in (WAITING, TALKING_AND_WAITING) and call.visit_at_ms + age_ms == at_ms:
            self.expire_visit(call, at_ms)
        if (
            call.phase in (TALKING, TALKING_AND_WAITING)
            and call.conversation.answered_at_ms + age_ms == at_ms
        ):
            self.expire_conversation(call, at_ms)
        wait_ms = call.ages.wrap_up_wait_ms
        call.over = [conversation for conversation in call.over if conversation.ended_at_ms + wait_ms > at_ms]
        call.set_age()

    # --- the offer -----------------------------------------------------------------------------------------------

    def use_offer(self, call: Call, at_ms: int) -> None:
        """Close the open offer. As long as this moment can be undone, the offer may still begin a visit."""
        self.book.reach(call.offer_at_ms, at_ms)
        if self.book.sign > 0:
            del self.book.offers[call.key]
        call.phase = IDLE
        call.offer_at_ms = NEVER
        if call.over:
            call.set_age()
        else:  # nearly always
            call.age_at_ms = NEVER

    def open_offer(self, call: Call, at_ms: int, ledger: Ledger, rule: QueueRule) -> None:
        """Open an offer, from which an answer or abandon may begin its visit."""
        call.phase = OFFERED
        call.offer_at_ms, call.offer_ledger, call.offer_rule = at_ms, ledger, rule
        if call.over:
            call.set_age()
        else:  # nearly always
            call.age_at_ms = at_ms + call.ages.call_age_max_ms
        if self.book.sign > 0:
            self.book.offers[call.key] = at_ms

    # --- the visit -----------------------------------------------------------------------------------------------

    def begin_visit(
        self, call: Call, at_ms: int, queue: str | None, ledger: Ledger, rule: QueueRule, floor_ms: int = -1
    ) -> None:
        """Begin to wait. What fails if nothing else happens is counted at once, where the target is passed."""
        call.visit_at_ms = at_ms
        call.visit_floor_ms = floor_ms
        call.visit_queue = queue
        call.visit_ledger = ledger
        call.visit_rule = rule
        if call.phase == IDLE and not call.over:  # nearly always
            call.phase = WAITING
            call.age_at_ms = at_ms + call.ages.call_age_max_ms
        else:
            call.phase = TALKING_AND_WAITING if call.phase == TALKING else WAITING
            call.set_age()
        book = self.book
        book.add(book.at(ledger, at_ms if at_ms > floor_ms else floor_ms) + f.QUEUED)
        book.add(
            book.at(ledger, self._due_ms(call)) + (f.OVERDUE if rule.formula is _ANSWERED_ONLY else facts.DUE)
        )
        if book.sign > 0:
            book.waiting[call.key] = (at_ms, ledger.number)

    def _due_ms(self, call: Call) -> int:
        """Return the moment whose bucket has the visit's failure."""
        if self.book.by_arrival:
            return call.visit_at_ms
        due_ms = call.visit_at_ms + call.visit_rule.target_ms
        return due_ms if due_ms > call.visit_floor_ms else call.visit_floor_ms

    def end_wait(self, call: Call, at_ms: int, *, failed: bool) -> int:
        """End the waiting visit and return the place where what happened at that moment counts.

        ``failed``: nobody knows how it ended. It keeps its failure at the target even if the target had not
        passed, and its wait is no longest one.
        """
        book, ledger, rule = self.book, call.visit_ledger, call.visit_rule
        queued_at_ms = call.visit_at_ms
        place = book.at(ledger, queued_at_ms if book.by_arrival else at_ms)
        if at_ms - queued_at_ms <= rule.target_ms:
            due = book.at(ledger, self._due_ms(call))
            book.take_back(due + (f.OVERDUE if failed or rule.formula is _ANSWERED_ONLY else facts.DUE))
        else:
            book.take_back(place + f.OVERDUE)
        if book.sign > 0:
            del book.waiting[call.key]
        call.visit_at_ms = NEVER
        if call.phase == WAITING and not call.over:  # nearly always
            call.phase = IDLE
            call.age_at_ms = NEVER
        else:
            call.phase = TALKING if call.phase == TALKING_AND_WAITING else IDLE
            call.set_age()
        return place

    def expire_visit(self, call: Call, at_ms: int) -> None:
        """End a visit that never came to an end of its own."""
        self.book.add(self.end_wait(call, at_ms, failed=True) + f.EXPIRED_WAITING)

    def leave(self, call: Call, at_ms: int, field: int) -> None:
        """End the waiting visit as left."""
        wait_ms = at_ms - call.visit_at_ms
        place = self.end_wait(call, at_ms, failed=False)
        self.book.add(place + field)
        self.book.add(place + facts.WAIT_ENDED, wait_ms)

    def answer(self, call: Call, at_ms: int, agent: str | None) -> None:
        """End the waiting visit as answered, and begin to talk."""
        book, ledger, rule, queued_at_ms = self.book, call.visit_ledger, call.visit_rule, call.visit_at_ms
        wait_ms = at_ms - queued_at_ms
        place = self.end_wait(call, at_ms, failed=False)
        if wait_ms <= rule.target_ms:
            book.add(place + facts.ANSWERED_IN_TIME, wait_ms)
        else:
            book.add(place + facts.ANSWERED_LATE, wait_ms)
            if rule.formula is _ANSWERED_ONLY:
                book.add(place + f.SERVICE_LEVEL_BASE)
        self.begin_conversation(call, at_ms, agent, ledger, queued_at_ms)

    def abandon(self, call: Call, at_ms: int) -> None:
        """End the waiting visit as abandoned."""
        book, rule = self.book, call.visit_rule
        wait_ms = at_ms - call.visit_at_ms
        place = self.end_wait(call, at_ms, failed=False)
        book.add(place + facts.ABANDONED, wait_ms)
        short = wait_ms < rule.short_abandon_ms
        if short:
            book.add(place + f.ABANDONED_SHORT)
        if wait_ms <= rule.target_ms:
            book.add(place + f.ABANDONED_WITHIN_TARGET)
            if not short and rule.formula in (Formula.ABANDONED_NEGATIVE, Formula.ABANDONED_POSITIVE):
                book.add(place + f.SERVICE_LEVEL_BASE)
                if rule.formula is Formula.ABANDONED_POSITIVE:
                    book.add(place + f.SERVICE_LEVEL_MET)

    def visit_from_offer(
        self, call: Call, at_ms: int, queue: str | None, ledger: Ledger, rule: QueueRule
    ) -> None:
        """Begin a visit at the open offer, in the event's queue if it names one.

        It reaches back in time, but not behind what may be final already: at most one grace (docs/counting.md).
        """
        if queue is None:
            ledger, rule = call.offer_ledger, call.offer_rule
        offer_at_ms = call.offer_at_ms
        self.use_offer(call, at_ms)
        floor_ms = -1
        if not self.book.by_arrival:
            floor_ms = at_ms - call.ages.grace_ms
        self.begin_visit(call, offer_at_ms, queue, ledger, rule, floor_ms)

    def visit_unknown(self, call: Call, at_ms: int, ledger: Ledger, field: int, anomaly: str) -> None:
        """Count a visit of which only the end is known: queued and ended at once, wait unknown."""
        if call.phase in (WAITING, TALKING_AND_WAITING):
            self.leave(call, at_ms, f.LEFT_OVERFLOW)
        place = self.book.at(ledger, at_ms)
        self.book.add(place + f.QUEUED)
        self.book.add(place + field)
        self.book.anomaly(_ANOMALY[anomaly])

    # --- the conversation ----------------------------------------------------------------------------------------

    def begin_conversation(
        self, call: Call, at_ms: int, agent: str | None, ledger: Ledger, queued_at_ms: int
    ) -> None:
        """Begin to talk; a conversation still in progress ended when this visit was queued."""
        if call.phase == TALKING:
            self.end_conversation(call, at_ms, queued_at_ms)
        call.conversation = Conversation(at_ms, ledger, agent, queued_at_ms)
        call.phase = TALKING
        if call.over:
            call.set_age()
        else:  # nearly always
            call.age_at_ms = at_ms + call.ages.call_age_max_ms

    def end_conversation(self, call: Call, at_ms: int, talked_until_ms: int) -> None:
        """End the conversation in progress; from then on its wrap-up is awaited."""
        conversation = call.conversation
        conversation.end(at_ms, talked_until_ms)
        call.over = [*call.over, conversation] if call.over else [conversation]
        if call.phase == TALKING and len(call.over) == 1:  # nearly always
            call.phase = IDLE
            call.age_at_ms = at_ms + call.ages.wrap_up_wait_ms
        else:
            call.phase = WAITING if call.phase == TALKING_AND_WAITING else IDLE
            call.set_age()
        book = self.book
        place = book.at(conversation.ledger, conversation.origin_ms if book.by_arrival else at_ms)
        book.add(place + facts.TALKED, conversation.talk_ms)

    def expire_conversation(self, call: Call, at_ms: int) -> None:
        """End a conversation that never came to an end of its own; no wrap-up is awaited."""
        conversation, book = call.conversation, self.book
        call.phase = WAITING if call.phase == TALKING_AND_WAITING else IDLE
        call.set_age()
        place = book.at(conversation.ledger, conversation.origin_ms if book.by_arrival else at_ms)
        book.add(place + f.CONVERSATIONS_ENDED)
        book.add(place + f.EXPIRED_TALKING)

    def wrap_up(self, call: Call, conversation: Conversation, at_ms: int, duration_ms: int) -> None:
        """Count the after-call work, and the handling that it completes."""
        call.over = (
            [other for other in call.over if other is not conversation] if len(call.over) > 1 else _NONE_OVER
        )
        if call.over or call.phase:
            call.set_age()
        else:  # nearly always
            call.age_at_ms = NEVER
        book, ledger = self.book, conversation.ledger
        handle_ms = conversation.talk_ms + conversation.hold_ms + duration_ms
        place = book.at(ledger, conversation.origin_ms if book.by_arrival else at_ms)
        book.add(place + facts.WRAPPED_UP, duration_ms)
        book.add(place + facts.HANDLED, handle_ms)


# --- events: each returns True when the event is a duplicate in this phase --------------------------------------------

Transition = Callable[["Machine", Call, int, Event, Ledger, QueueRule], bool | None]


def _offered(
    machine: Machine, call: Call, at_ms: int, _: Event, ledger: Ledger, rule: QueueRule
) -> bool | None:
    if call.offered:
        return True
    call.offered = True
    book = machine.book
    book.add(book.at(ledger, at_ms) + f.OFFERED)
    if call.phase == IDLE:
        machine.open_offer(call, at_ms, ledger, rule)
    return None


def _queued(machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule) -> None:
    machine.begin_visit(call, at_ms, event.queue, ledger, rule)


def _queued_after_offer(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    machine.use_offer(call, at_ms)
    machine.begin_visit(call, at_ms, event.queue, ledger, rule)


def _queued_while_waiting(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> bool | None:
    if event.queue == call.visit_queue:
        return True
    machine.leave(call, at_ms, f.LEFT_OVERFLOW)
    machine.begin_visit(call, at_ms, event.queue, ledger, rule)
    return None


def _answered(machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, _: QueueRule) -> None:
    machine.visit_unknown(call, at_ms, ledger, f.ANSWERED, "answered_without_visit")
    machine.begin_conversation(call, at_ms, event.agent, ledger, at_ms)


def _answered_after_offer(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    machine.visit_from_offer(call, at_ms, event.queue, ledger, rule)
    _answered_while_waiting(machine, call, at_ms, event, ledger, rule)


def _answered_while_waiting(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    if event.queue is None or event.queue == call.visit_queue:
        machine.answer(call, at_ms, event.agent)
    else:
        _answered(machine, call, at_ms, event, ledger, rule)


def _abandoned(machine: Machine, call: Call, at_ms: int, _: Event, ledger: Ledger, _rule: QueueRule) -> None:
    machine.visit_unknown(call, at_ms, ledger, f.ABANDONED, "abandoned_without_visit")


def _abandoned_after_offer(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    machine.visit_from_offer(call, at_ms, event.queue, ledger, rule)
    machine.abandon(call, at_ms)


def _abandoned_while_waiting(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    if event.queue is None or event.queue == call.visit_queue:
        machine.abandon(call, at_ms)
    else:
        _abandoned(machine, call, at_ms, event, ledger, rule)


def _left(machine: Machine, _call: Call, _at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule) -> None:
    machine.book.anomaly(_ANOMALY["left_without_visit"])


def _left_while_waiting(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    if event.queue is None or event.queue == call.visit_queue:
        machine.leave(call, at_ms, f.LEFT[event.reason or ""])
    else:
        _left(machine, call, at_ms, event, ledger, rule)


def _blocked(machine: Machine, _call: Call, at_ms: int, event: Event, ledger: Ledger, _: QueueRule) -> None:
    book = machine.book
    book.add(book.at(ledger, at_ms) + f.BLOCKED[event.reason or ""])


def _blocked_after_offer(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    if event.queue is None:
        ledger = call.offer_ledger
    machine.use_offer(call, at_ms)
    _blocked(machine, call, at_ms, event, ledger, rule)


def _blocked_while_waiting(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    _blocked(machine, call, at_ms, event, ledger, rule)
    machine.book.anomaly(_ANOMALY["blocked_while_waiting"])


def _hold(machine: Machine, _call: Call, _at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule) -> None:
    machine.book.anomaly(_ANOMALY["hold_without_conversation"])


def _hold_while_talking(
    machine: Machine, call: Call, at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule
) -> None:
    holds = call.conversation.holds
    if holds and holds[-1][1] == NEVER:
        machine.book.anomaly(_ANOMALY["hold_on_hold"])
    else:
        call.conversation.holds = [*(holds or ()), [at_ms, NEVER]]


def _resumed(machine: Machine, _call: Call, _at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule) -> None:
    machine.book.anomaly(_ANOMALY["resumed_without_hold"])


def _resumed_while_talking(
    machine: Machine, call: Call, at_ms: int, event: Event, ledger: Ledger, rule: QueueRule
) -> None:
    holds = call.conversation.holds
    if holds and holds[-1][1] == NEVER:
        holds[-1][1] = at_ms
    else:
        _resumed(machine, call, at_ms, event, ledger, rule)


def _ended(machine: Machine, _call: Call, _at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule) -> None:
    machine.book.anomaly(_ANOMALY["ended_without_conversation"])


def _ended_after_offer(
    machine: Machine, call: Call, at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule
) -> None:
    machine.use_offer(call, at_ms)


def _ended_while_talking(
    machine: Machine, call: Call, at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule
) -> None:
    machine.end_conversation(call, at_ms, at_ms)


def _wrap_up(machine: Machine, call: Call, at_ms: int, event: Event, _: Ledger, _rule: QueueRule) -> None:
    duration_ms = event.duration_ms or 0
    talking = call.phase in (TALKING, TALKING_AND_WAITING)
    conversation = select_conversation(call, event.agent, talking=talking)
    if conversation is None:
        machine.book.anomaly(_ANOMALY["wrap_up_without_conversation"])
        return
    if conversation.ended_at_ms == NEVER:
        machine.end_conversation(call, at_ms, at_ms - duration_ms)
    machine.wrap_up(call, conversation, at_ms, duration_ms)


def _nothing(
    _machine: Machine, _call: Call, _at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule
) -> None:
    """There is nothing that a late event could close."""


def _late_while_waiting(
    machine: Machine, call: Call, at_ms: int, event: Event, _: Ledger, _rule: QueueRule
) -> None:
    if closes_visit(call, event):
        machine.expire_visit(call, at_ms)


def _late_while_talking(
    machine: Machine, call: Call, at_ms: int, _: Event, _ledger: Ledger, _rule: QueueRule
) -> None:
    machine.expire_conversation(call, at_ms)


# One row a phase, one column a kind: offered, queued, answered, abandoned, left, blocked, hold, resumed, ended,
# wrap_up, then what late events close: a wait, a conversation.
TRANSITIONS: Final[tuple[tuple[Transition, ...], ...]] = (
    # idle
    (
        _offered,
        _queued,
        _answered,
        _abandoned,
        _left,
        _blocked,
        _hold,
        _resumed,
        _ended,
        _wrap_up,
        _nothing,
        _nothing,
    ),
    # offered
    (
        _offered,
        _queued_after_offer,
        _answered_after_offer,
        _abandoned_after_offer,
        _left,
        _blocked_after_offer,
        _hold,
        _resumed,
        _ended_after_offer,
        _wrap_up,
        _nothing,
        _nothing,
    ),
    # waiting
    (
        _offered,
        _queued_while_waiting,
        _answered_while_waiting,
        _abandoned_while_waiting,
        _left_while_waiting,
        _blocked_while_waiting,
        _hold,
        _resumed,
        _ended,
        _wrap_up,
        _late_while_waiting,
        _nothing,
    ),
    # talking
    (
        _offered,
        _queued,
        _answered,
        _abandoned,
        _left,
        _blocked,
        _hold_while_talking,
        _resumed_while_talking,
        _ended_while_talking,
        _wrap_up,
        _nothing,
        _late_while_talking,
    ),
    # talking and waiting
    (
        _offered,
        _queued_while_waiting,
        _answered_while_waiting,
        _abandoned_while_waiting,
        _left_while_waiting,
        _blocked_while_waiting,
        _hold_while_talking,
        _resumed_while_talking,
        _ended_while_talking,
        _wrap_up,
        _late_while_waiting,
        _late_while_talking,
    ),
)


# --- selection and order ----------------------------------------------------------------------------------------------


def closes_visit(call: Call, event: Event) -> bool:
    """Say whether a late event closes the waiting visit. A late queued closes one in another queue."""
    if event.kind == _QUEUED:
        return event.queue != call.visit_queue
    return event.queue is None or event.queue == call.visit_queue


def select_conversation(call: Call, agent: str | None, *, talking: bool) -> Conversation | None:
    """Find the conversation that a wrap-up belongs to (docs/counting.md)."""
    if agent is not None:
        if talking and call.conversation.agent == agent:
            return call.conversation
        for conversation in reversed(call.over):
            if conversation.agent == agent:
                return conversation
    if call.over:
        return call.over[0]
    return call.conversation if talking else None


def sort_key(entry: Entry) -> SortKey:
    """Return the place of an event among those of the same instant, apart from early enders."""
    kind, event = entry[1], entry[2]
    if kind >= LATE_WAIT:
        return (entry[0], RANK[kind])
    values = (
        event.queue,
        event.agent,
        event.reason,
        event.duration_ms,
        event.event_id,
        event.channel,
        event.schema_version,
    )
    return (
        entry[0],
        RANK[kind],
        *((value is not None, value if value is not None else 0) for value in values),
    )


def is_copy(one: Entry, other: Entry) -> bool:
    """Say whether two events without an id are equal in every field."""
    return one[1] == other[1] and one[0] == other[0] and sort_key(one) == sort_key(other)


def canonical(entries: list[Entry]) -> list[int]:
    """Return the order of the events of a call, as indexes. What late events closed keeps its order of arrival."""
    instants: dict[int, set[str | None]] = {}
    for entry in entries:
        if entry[1] == _QUEUED:
            instants.setdefault(entry[0], set()).add(entry[2].queue)

    def key(index: int) -> SortKey:
        entry = entries[index]
        place = sort_key(entry)
        queued = instants.get(entry[0])
        if queued and entry[1] in _ENDERS and entry[2].queue is not None and entry[2].queue not in queued:
            return (place[0], _EARLY_ENDER, RANK[entry[1]], *place[2:])
        return place

    return sorted(range(len(entries)), key=key)
