"""A second implementation of docs/counting.md: all is recomputed from the whole log, in the obvious way.

It shares no code with ``stream.core``; the numbers of the fields and the dataclasses of the rules are only
its vocabulary. Nothing here is incremental. For every call, its on-time events are sorted and its life is
lived from the beginning, at the end of the log and again wherever a late event asks what is open at that
moment. So it is quadratic and slow, and short enough to be checked against the page by reading.

Not modelled: the cap on queues (keep below it), and in detail why bytes are no event (``bad``).
"""

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from stream.core import fields as f
from stream.core.rules import FoldRules, Formula, QueueRule

Cells = dict[tuple[str, int], dict[int, int]]

APPLIED = "applied"
DUPLICATE = "duplicate"
LATE = "late"
BAD = "bad"  # the bytes are no event, whatever the reason
NO_KEY = "no_key"
KEY_MISMATCH = "key_mismatch"
FUTURE = "future"
CALL_TOO_LONG = "call_too_long"
TOO_MANY_CALLS = "too_many_calls"

QUARTER_MS = 900_000
SWEEP_MS = 300_000  # whenever the stream time enters another one of these, calls that are over are let go of


class Rec(NamedTuple):
    """One record of a log."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None


WORDS = {"call": "call_id", "id": "event_id", "took": "duration_ms", "version": "schema_version"}
NUMBERS = {"duration_ms", "schema_version"}
SECOND_MS = 1000


def log_of(*lines: str) -> list[Rec]:
    """Write a log in words, a record a line: ``12.5 answered sales call=x agent=ann id=e1 took=30000``.

    The time is in seconds. The call is ``c`` unless named; a word without ``=`` is the queue; ``key=``
    replaces the record's key.
    """
    records = []
    for offset, line in enumerate(lines):
        seconds, kind, *words = line.split()
        event: dict[str, Any] = {"type": kind, "call_id": "c", "at": round(float(seconds) * SECOND_MS)}
        for word in words:
            name, equals, value = word.rpartition("=")
            name = WORDS.get(name, name) if equals else "queue"
            event[name] = int(value) if name in NUMBERS else value
        key = event.pop("key", event["call_id"]).encode()
        records.append(Rec(offset, event["at"], key, json.dumps(event).encode()))
    return records


# --- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """A well-formed event. Two are equal when every field is."""

    type: str
    call_id: str
    at: int
    queue: str | None = None
    agent: str | None = None
    reason: str | None = None
    duration_ms: int | None = None
    event_id: str | None = None
    channel: str = "voice"
    schema_version: int = 1


MANDATORY = {"queued": ("queue",), "left": ("reason",), "blocked": ("reason",), "wrap_up": ("duration_ms",)}
CARRIES = {
    "offered": ("queue",),
    "queued": ("queue",),
    "answered": ("queue", "agent"),
    "abandoned": ("queue",),
    "left": ("queue", "reason"),
    "blocked": ("queue", "reason"),
    "hold": (),
    "resumed": (),
    "ended": ("reason",),
    "wrap_up": ("duration_ms", "agent"),
}
EVERY = ("type", "call_id", "at", "event_id", "channel", "schema_version")


def instant(at: Any) -> int:
    """Milliseconds since the epoch; of RFC 3339 text only whole milliseconds occur in tests."""
    if isinstance(at, str):
        since_epoch = dt.datetime.fromisoformat(at) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return since_epoch // dt.timedelta(milliseconds=1)
    if isinstance(at, bool) or not isinstance(at, int) or at < 0:
        raise ValueError(at)
    return at


def parse(value: bytes | None) -> Event | None:
    """Read an event; None for bytes that are clearly none. Fields that the type does not have are ignored."""
    try:
        loaded = json.loads(value or b"")
        names = EVERY + CARRIES[loaded["type"]]
        given = {name: loaded[name] for name in names if loaded.get(name) is not None}
        given["at"] = instant(given["at"])
        event = Event(**given)
    except (ValueError, TypeError, KeyError):
        return None
    texts = (event.call_id, event.queue, event.agent, event.reason, event.event_id, event.channel)
    reasons = {"left": f.LEFT, "blocked": f.BLOCKED}.get(event.type)
    sound = (
        all(getattr(event, name) is not None for name in MANDATORY.get(event.type, ()))
        and all(text is None or (isinstance(text, str) and text) for text in texts)
        and (reasons is None or event.reason in reasons)
        and (event.duration_ms is None or event.duration_ms >= 0)
    )
    return event if sound else None


def judge(record: Rec, rules: FoldRules) -> Event | str:
    """Say which event a record carries, or why it is rejected."""
    if record.key is None:
        return NO_KEY
    event = parse(record.value)
    if event is None:
        return BAD
    if record.key != event.call_id.encode():
        return KEY_MISMATCH
    known = record.timestamp is not None and record.timestamp >= 0
    if known and event.at > record.timestamp + rules.future_skew_ms:
        return FUTURE
    return event


# --- the order within one call ---------------------------------------------------------------------

RANK = {
    "offered": 1,
    "queued": 3,
    "blocked": 4,
    "answered": 5,
    "hold": 6,
    "resumed": 7,
    "abandoned": 8,
    "left": 9,
    "ended": 10,
    "wrap_up": 11,
}
ENDS_WHAT_CAME_BEFORE = 2


def absent_first(value: Any) -> tuple[bool, Any]:
    """Sort key of a field that may be absent."""
    return (value is not None, value)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Sort the events of one call into the order in which they are folded."""
    ordered: list[Event] = []
    for _, same in groupby(sorted(events, key=attrgetter("at")), key=attrgetter("at")):
        instant_events = list(same)
        entered = {event.queue for event in instant_events if event.type == "queued"}

        def place(event: Event, entered: set[str | None] = entered) -> tuple[Any, ...]:
            rank = RANK[event.type]
            names_another = event.queue is not None and event.queue not in entered
            if event.type in {"answered", "abandoned", "left"} and entered and names_another:
                rank = ENDS_WHAT_CAME_BEFORE
            rest = (
                event.queue,
                event.agent,
                event.reason,
                event.duration_ms,
                event.event_id,
                event.channel,
                event.schema_version,
            )
            # The type comes last: it only decides within rank 2, between events that are equal otherwise.
            return (rank, *map(absent_first, rest), RANK[event.type])

        ordered.extend(sorted(instant_events, key=place))
    return ordered


# --- the life of one call --------------------------------------------------------------------------


@dataclass(frozen=True)
class Closing:
    """What a late event ended, at the stream time of its moment, selected as by the event."""

    at: int
    talking: bool  # a conversation; otherwise a waiting visit
    event: Event


@dataclass(eq=False)
class Visit:
    """One contact in one queue."""

    queue: str
    begin: int
    rule: QueueRule
    reaches_back: bool = False  # it began at an offer
    known: bool = True  # its wait


@dataclass(eq=False)
class Conversation:
    """From an answer on."""

    visit: Visit
    agent: str | None
    begin: int
    holds: list[list[int | None]] = field(default_factory=list)  # [from, to]
    wrap_up_from: int = 0  # once over: the time of the event that ended it
    talk_ms: int = 0
    hold_ms: int = 0

    def on_hold(self) -> bool:
        """Say whether a hold is running."""
        return bool(self.holds) and self.holds[-1][1] is None


@dataclass
class Story:
    """What a call, a partition or a whole log amounts to."""

    cells: Cells = field(default_factory=dict)
    observations: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    anomalies: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, list[int]] = field(default_factory=dict)  # queue -> begins of the visits waiting now
    in_progress: Counter[str] = field(default_factory=Counter)

    def add(self, queue: str, at: int, number: int, amount: int = 1) -> None:
        """Count in the bucket of an instant. A sum that comes back to 0 is as good as never counted."""
        cell = self.cells.setdefault((queue, at), {})
        cell[number] = cell.get(number, 0) + amount

    def merge(self, other: "Story") -> None:
        """Take in another story."""
        for (queue, bucket), cell in other.cells.items():
            merge_cell(self.cells.setdefault((queue, bucket), {}), cell)
        for queue, named in other.observations.items():
            for name, values in named.items():
                self.observations.setdefault(queue, {}).setdefault(name, []).extend(values)
        self.anomalies += other.anomalies
        for queue, begins in other.waiting.items():
            self.waiting.setdefault(queue, []).extend(begins)
        self.in_progress += other.in_progress

    def now(self) -> dict[str, tuple[int, int, int | None]]:
        """Return waiting, in progress, and since when the oldest waits, for the queues with any."""
        return {
            queue: (
                len(self.waiting.get(queue, ())),
                self.in_progress[queue],
                min(self.waiting.get(queue, ()), default=None),
            )
            for queue in {*self.waiting, *self.in_progress}
        }


def merge_cell(into: dict[int, int], cell: dict[int, int]) -> None:
    """Add a cell to another: sums, and the longest wait by maximum."""
    for number, value in cell.items():
        if number == f.LONGEST_WAIT_MS:
            into[number] = max(into.get(number, 0), value)
        else:
            into[number] = into.get(number, 0) + value


def without_zeros(cell: dict[int, int]) -> dict[int, int]:
    """Drop what is 0, but for a longest wait of 0 ms: that somebody did wait."""
    return {number: value for number, value in sorted(cell.items()) if value or number == f.LONGEST_WAIT_MS}


class Life:
    """One call, lived from its first event up to a moment of stream time."""

    def __init__(self, rules: FoldRules) -> None:
        self.rules = rules
        self.story = Story()
        self.duplicates: list[Event] = []
        self.begin_contact()

    def begin_contact(self) -> None:
        """Nothing is known of the call, or nothing any more."""
        self.earlier: list[Event] = []
        self.offered = False
        self.offer: Event | None = None  # while it is open
        self.visit: Visit | None = None  # the one that waits
        self.talk: Conversation | None = None  # the one in progress
        self.over: list[Conversation] = []  # awaiting their wrap-up, oldest first
        self.last: int | None = None  # when the last thing happened

    # Time goes by.

    def live(self, events: Sequence[Event], closings: Sequence[Closing], now: int) -> "Life":
        """Go through what happened, in order, each closing after everything else of its instant."""
        happenings: list[Event | Closing] = sorted([*in_order(events), *closings], key=attrgetter("at"))
        for happening in happenings:
            self.pass_time(happening.at)
            if isinstance(happening, Closing):
                self.close(happening)
                continue
            if self.rests() and self.last is not None and happening.at > self.last + self.rules.grace_ms:
                self.begin_contact()
            self.touch(happening.at)  # also a duplicate is an event
            if self.is_duplicate(happening):
                self.duplicates.append(happening)
            else:
                getattr(self, "on_" + happening.type)(happening)
            self.earlier.append(happening)
        self.pass_time(now)
        return self

    def pass_time(self, now: int) -> None:
        """End by age whatever has not ended at its limit when time is past it."""
        age = self.rules.call_age_max_ms
        if self.visit is not None and self.visit.begin + age < now:
            self.expire_visit(self.visit.begin + age)
        if self.talk is not None and self.talk.begin + age < now:
            self.expire_talk(self.talk.begin + age)
        if self.offer is not None and self.offer.at + age < now:
            self.touch(self.offer.at + age)
            self.offer = None
        for conversation in list(self.over):
            until = conversation.wrap_up_from + self.rules.wrap_up_wait_ms
            if until < now:
                self.touch(until)
                self.over.remove(conversation)

    def touch(self, at: int) -> None:
        """Something happened: the memory of the call lasts from here."""
        self.last = max(self.last or 0, at)

    def rests(self) -> bool:
        """Say whether nothing is waiting, in progress, offered, or awaiting its wrap-up."""
        return self.visit is None and self.talk is None and self.offer is None and not self.over

    def is_duplicate(self, event: Event) -> bool:
        """Say whether the call has had this event, or it repeats what already holds."""
        if event.event_id is not None and any(event.event_id == before.event_id for before in self.earlier):
            return True
        if event.event_id is None and event in self.earlier:
            return True
        if event.type == "queued" and self.visit is not None and self.visit.queue == event.queue:
            return True
        return event.type == "offered" and self.offered

    # What each event does.

    def on_offered(self, event: Event) -> None:
        """Count the offer, once a contact. It is open when the contact is nowhere else."""
        self.count(event.queue or f.UNROUTED, event.at, f.OFFERED)
        self.offered = True
        if self.visit is None and self.talk is None:
            self.offer = event

    def on_queued(self, event: Event) -> None:
        """Enter a queue, out of another one if need be."""
        self.overflow(event.at)
        self.offer = None
        self.visit = self.new_visit(event.queue or f.UNROUTED, event.at)

    def on_answered(self, event: Event) -> None:
        """End a wait and begin a conversation, in place of the one in progress."""
        visit = self.end_visit_of(event)
        if self.talk is not None:
            # It was over when the contact went to queue for the new visit.
            self.end_talk(visit.begin if visit.known else event.at, counted_at=event.at)
        self.talk = Conversation(visit, event.agent, event.at)

    def on_abandoned(self, event: Event) -> None:
        """End a wait."""
        self.end_visit_of(event)

    def on_left(self, event: Event) -> None:
        """End a wait, if there is one."""
        visit = self.selected(event)
        if visit is None:
            self.anomaly("left_without_visit")
        else:
            self.visit = None
            self.count_visit(visit, event.at, "left", event.reason)

    def on_blocked(self, event: Event) -> None:
        """Count the refusal; the offer is used up."""
        offered_to = self.offer.queue if self.offer else None
        self.count(event.queue or offered_to or f.UNROUTED, event.at, f.BLOCKED[event.reason or ""])
        self.offer = None
        if self.visit is not None:
            self.anomaly("blocked_while_waiting")

    def on_hold(self, event: Event) -> None:
        """Start a hold."""
        if self.talk is None:
            self.anomaly("hold_without_conversation")
        elif self.talk.on_hold():
            self.anomaly("hold_on_hold")
        else:
            self.talk.holds.append([event.at, None])

    def on_resumed(self, event: Event) -> None:
        """End the hold."""
        if self.talk is None or not self.talk.on_hold():
            self.anomaly("resumed_without_hold")
        else:
            self.talk.holds[-1][1] = event.at

    def on_ended(self, event: Event) -> None:
        """End the conversation, or hang up in the menu."""
        if self.talk is not None:
            self.end_talk(event.at, counted_at=event.at)
        elif self.offer is not None:
            self.offer = None
        else:
            self.anomaly("ended_without_conversation")

    def on_wrap_up(self, event: Event) -> None:
        """Close the conversation that is meant, ending it first when it is in progress."""
        candidates = [*self.over] + ([self.talk] if self.talk is not None else [])  # oldest first
        of_agent = [one for one in candidates if event.agent is not None and one.agent == event.agent]
        if not candidates:
            self.anomaly("wrap_up_without_conversation")
            return
        conversation = of_agent[-1] if of_agent else candidates[0]
        duration = event.duration_ms or 0
        if conversation is self.talk:
            self.end_talk(max(conversation.begin, event.at - duration), counted_at=event.at)
        self.over.remove(conversation)
        handle = conversation.talk_ms + conversation.hold_ms + duration
        self.observe(conversation.visit, event.at, "wrap_up", duration)
        self.observe(conversation.visit, event.at, "handle", handle)

    def close(self, closing: Closing) -> None:
        """Do what a late event does: end, as expired, what it would have ended."""
        if closing.talking:
            if self.talk is not None:
                self.expire_talk(closing.at)
        elif self.late_selects(closing.event):
            self.expire_visit(closing.at)

    # Visits.

    def new_visit(self, queue: str, begin: int, **more: bool) -> Visit:
        """Begin a visit under the rule that its queue has."""
        return Visit(queue, begin, self.rules.rule(queue), **more)

    def selected(self, event: Event) -> Visit | None:
        """Return the waiting visit, if the event names its queue or none."""
        if self.visit is not None and event.queue in {None, self.visit.queue}:
            return self.visit
        return None

    def late_selects(self, event: Event) -> bool:
        """Say whether a late event ends the waiting visit."""
        if event.type == "queued":
            return self.visit is not None and self.visit.queue != event.queue
        return self.selected(event) is not None

    def end_visit_of(self, event: Event) -> Visit:
        """End the visit that an ``answered`` or ``abandoned`` is about, making one if there is none."""
        visit = self.selected(event)
        if visit is None and self.offer is not None:
            queue = event.queue or self.offer.queue or f.UNROUTED
            visit = self.new_visit(queue, self.offer.at, reaches_back=True)
            self.offer = None
        elif visit is None:
            self.overflow(event.at)
            visit = self.new_visit(event.queue or f.UNROUTED, event.at, known=False)
            self.anomaly(event.type + "_without_visit")
        self.visit = None
        self.count_visit(visit, event.at, event.type)
        return visit

    def overflow(self, at: int) -> None:
        """End the waiting visit, if any, since the contact goes on elsewhere."""
        if self.visit is not None:
            visit, self.visit = self.visit, None
            self.count_visit(visit, at, "left", "overflow")

    def expire_visit(self, at: int) -> None:
        """End the waiting visit without knowing how it went on."""
        assert self.visit is not None
        visit, self.visit = self.visit, None
        self.touch(at)
        self.count_visit(visit, at, "expired")

    def count_visit(self, visit: Visit, end: int, how: str, reason: str | None = None) -> None:
        """Count everything of a visit that is over, or (how = waiting) that has no end yet."""
        rule = visit.rule
        wait = end - visit.begin
        due = visit.begin + rule.target_ms
        earliest = self.bucket(end - self.rules.grace_ms) if visit.reaches_back else 0
        at_begin, at_due = max(visit.begin, earliest), max(due, earliest)
        within = wait <= rule.target_ms
        short = how == "abandoned" and wait < rule.short_abandon_ms

        self.count(visit.queue, at_begin, f.QUEUED, visit=visit)
        if how == "left":
            self.count(visit.queue, end, f.LEFT[reason or ""], visit=visit)
        elif how != "waiting":
            number = {"answered": f.ANSWERED, "abandoned": f.ABANDONED, "expired": f.EXPIRED_WAITING}[how]
            self.count(visit.queue, end, number, visit=visit)
        if not visit.known:
            return

        if how == "answered":
            self.observe(visit, end, "answer_wait", wait)
            self.count(visit.queue, end, f.ANSWERED_WITHIN_TARGET, int(within), visit=visit)
        if how == "abandoned":
            self.observe(visit, end, "abandon_wait", wait)
            self.count(visit.queue, end, f.ABANDONED_WITHIN_TARGET, int(within), visit=visit)
            self.count(visit.queue, end, f.ABANDONED_SHORT, int(short), visit=visit)
        if how in {"answered", "abandoned", "left"}:
            key = (visit.queue, self.bucket(visit.begin if self.rules.by_arrival else end))
            merge_cell(self.story.cells.setdefault(key, {}), {f.LONGEST_WAIT_MS: wait})
        if how == "waiting" or not within:
            self.count(visit.queue, at_due, f.OVERDUE, visit=visit)
            if how != "waiting":
                self.count(visit.queue, end, f.OVERDUE, -1, visit=visit)

        in_base, met, at_end = service_level(how, rule.formula, within=within, short=short)
        if in_base:
            moment = end if at_end else at_due
            self.count(visit.queue, moment, f.SERVICE_LEVEL_BASE, visit=visit)
            self.count(visit.queue, moment, f.SERVICE_LEVEL_MET, int(met), visit=visit)

    # Conversations.

    def end_talk(self, end: int, *, counted_at: int) -> None:
        """End the conversation in progress. It now awaits its wrap-up."""
        assert self.talk is not None
        conversation, self.talk = self.talk, None
        for hold in conversation.holds:
            begin, until = hold[0] or 0, end if hold[1] is None else hold[1]
            conversation.hold_ms += max(0, min(until, end) - begin)
        conversation.talk_ms = end - conversation.begin - conversation.hold_ms
        conversation.wrap_up_from = counted_at
        self.over.append(conversation)
        visit = conversation.visit
        self.count(visit.queue, counted_at, f.CONVERSATIONS_ENDED, visit=visit)
        self.observe(visit, counted_at, "talk", conversation.talk_ms)

    def expire_talk(self, at: int) -> None:
        """End the conversation in progress, its talk unknown and no wrap-up awaited."""
        assert self.talk is not None
        visit, self.talk = self.talk.visit, None
        self.touch(at)
        self.count(visit.queue, at, f.EXPIRED_TALKING, visit=visit)
        self.count(visit.queue, at, f.CONVERSATIONS_ENDED, visit=visit)

    # Counting.

    def bucket(self, at: int) -> int:
        """Return the start of the bucket of an instant."""
        return at // self.rules.bucket_ms * self.rules.bucket_ms

    def count(self, queue: str, at: int, number: int, amount: int = 1, visit: Visit | None = None) -> None:
        """Count in a queue; by arrival, all of a visit counts where it began."""
        if visit is not None and self.rules.by_arrival:
            at = visit.begin
        self.story.add(queue, self.bucket(at), number, amount)

    def observe(self, visit: Visit, at: int, name: str, span: int) -> None:
        """Count a span, its sum, and its place in the histogram."""
        how_many, total = f.HISTOGRAMS[name]
        self.count(visit.queue, at, how_many, visit=visit)
        self.count(visit.queue, at, total, span, visit=visit)
        self.story.observations.setdefault(visit.queue, {}).setdefault(name, []).append(span)

    def anomaly(self, kind: str) -> None:
        """Count what made no sense."""
        self.story.anomalies[kind] += 1

    def told(self) -> Story:
        """Return the story so far, with what is waiting and in progress now."""
        if self.visit is not None:
            self.count_visit(self.visit, self.visit.begin, "waiting")
            self.story.waiting[self.visit.queue] = [self.visit.begin]
            self.visit = None
        if self.talk is not None:
            self.story.in_progress[self.talk.visit.queue] += 1
            self.talk = None
        return self.story


def service_level(how: str, formula: Formula, *, within: bool, short: bool) -> tuple[bool, bool, bool]:
    """Return of a visit with a known wait: is it in the base, is it met, and does that count at its end.

    What does not count at the end counts at queued + target.
    """
    answered_only = formula == Formula.ANSWERED_ONLY
    nothing = (False, False, False)
    if how == "answered":
        return (True, within, within or answered_only)
    if answered_only or short:
        return nothing
    if how == "abandoned" and within:
        if formula == Formula.ABANDONED_IGNORED:
            return nothing
        return (True, formula == Formula.ABANDONED_POSITIVE, True)
    if how == "left" and within:
        return nothing
    return (True, False, False)


# --- the log of one partition ----------------------------------------------------------------------


@dataclass
class PartitionResult:
    """What one source partition amounts to."""

    outcomes: list[str]  # of each record: applied, duplicate, late, or why it is rejected
    story: Story
    events: Counter[str]  # applied, by type
    stream_time: int | None

    @property
    def late(self) -> int:
        """Records that came too late."""
        return self.outcomes.count(LATE)

    @property
    def duplicate(self) -> int:
        """Records that repeat others."""
        return self.outcomes.count(DUPLICATE)

    @property
    def rejected(self) -> Counter[str]:
        """Records that were refused, by reason."""
        reasons = (BAD, NO_KEY, KEY_MISMATCH, FUTURE, CALL_TOO_LONG, TOO_MANY_CALLS)
        return Counter(outcome for outcome in self.outcomes if outcome in reasons)


@dataclass
class Held:
    """The calls that a partition holds, and what is kept of each: records with their place in the log, closings."""

    rules: FoldRules
    records: dict[str, list[tuple[int, Event]]] = field(default_factory=lambda: defaultdict(list))
    closings: dict[str, list[Closing]] = field(default_factory=lambda: defaultdict(list))
    sizes: Counter[str] = field(default_factory=Counter)  # of the calls that are held: how much is kept
    cut_until: dict[str, int] = field(default_factory=dict)
    cut_off: list[tuple[list[tuple[int, Event]], list[Closing]]] = field(default_factory=list)

    def life(self, call_id: str, now: int) -> Life:
        """Live a call up to now."""
        known = [one for _, one in self.records[call_id]]
        return Life(self.rules).live(known, self.closings[call_id], now)

    def sweep(self, now: int) -> None:
        """Let go of what has rested for two graces."""
        for call_id in list(self.sizes):
            life = self.life(call_id, now)
            if life.rests() and (life.last or 0) + 2 * self.rules.grace_ms < now:
                del self.sizes[call_id]
        self.cut_until = {call_id: until for call_id, until in self.cut_until.items() if until >= now}

    def refuses(self, call_id: str, now: int) -> str | None:
        """Say why an event on time has no call to go to."""
        if call_id in self.sizes:
            return None
        if self.cut_until.get(call_id, -1) >= now:
            return CALL_TOO_LONG
        self.cut_until.pop(call_id, None)
        return TOO_MANY_CALLS if len(self.sizes) + len(self.cut_until) >= self.rules.calls_max else None

    def add(self, call_id: str, now: int) -> None:
        """Count what is kept of a call, and cut it off when that is as much as may be."""
        self.sizes[call_id] += 1
        if self.sizes[call_id] < self.rules.call_events_max:
            return
        any_end = Event("left", call_id, now, reason="other")
        ends = [Closing(now, talking=talking, event=any_end) for talking in (False, True)]
        self.cut_off.append((self.records.pop(call_id), self.closings.pop(call_id, []) + ends))
        self.cut_until[call_id] = now + self.rules.call_age_max_ms
        del self.sizes[call_id]


def recompute_partition(log: Sequence[Rec], rules: FoldRules) -> PartitionResult:
    """Recompute one source partition from its whole log."""
    outcomes: list[str] = []
    held = Held(rules)
    stream_time: int | None = None
    for number, record in enumerate(log):
        event = judge(record, rules)
        if isinstance(event, str):
            outcomes.append(event)
        elif stream_time is not None and event.at < stream_time - rules.grace_ms:
            outcomes.append(LATE)
            if event.call_id in held.sizes:
                closing = late_closing(event, held.life(event.call_id, stream_time), stream_time)
                if closing is not None:
                    held.closings[event.call_id].append(closing)
                    held.add(event.call_id, stream_time)
        else:
            before, stream_time = stream_time, max(stream_time or 0, event.at)
            if before is None or stream_time // SWEEP_MS > before // SWEEP_MS:
                held.sweep(stream_time)
            refused = held.refuses(event.call_id, stream_time)
            outcomes.append(refused or APPLIED)  # unless it turns out to be a duplicate, below
            if refused is None:
                held.records[event.call_id].append((number, event))
                held.add(event.call_id, stream_time)

    story = Story()
    lives = [*held.cut_off, *((records, held.closings[call]) for call, records in held.records.items())]
    for numbered, closings in lives:
        life = Life(rules).live([event for _, event in numbered], closings, stream_time or 0)
        story.merge(life.told())
        unassigned = list(life.duplicates)
        for number, event in reversed(numbered):  # of equal events, call the later ones the duplicates
            if event in unassigned:
                unassigned.remove(event)
                outcomes[number] = DUPLICATE
    story.cells = {key: kept for key, cell in sorted(story.cells.items()) if (kept := without_zeros(cell))}

    applied = Counter(
        event.type for numbered, _ in lives for number, event in numbered if outcomes[number] == APPLIED
    )
    return PartitionResult(outcomes, story, applied, stream_time)


def late_closing(event: Event, life: Life, stream_time: int) -> Closing | None:
    """Return what a late event ends, given its call as it is; None when it ends nothing."""
    if event.type in {"answered", "abandoned", "left", "queued"} and life.late_selects(event):
        return Closing(stream_time, talking=False, event=event)
    if event.type in {"ended", "wrap_up"} and life.talk is not None:
        return Closing(stream_time, talking=True, event=event)
    return None


# --- all partitions, and what is shown of them -----------------------------------------------------


@dataclass
class Result:
    """Everything, by partition and merged."""

    partitions: list[PartitionResult]
    story: Story

    @property
    def cells(self) -> Cells:
        """The cells of all partitions, added."""
        return self.story.cells

    @property
    def totals(self) -> dict[str, dict[int, int]]:
        """The sums of each queue since the beginning."""
        return totals(self.cells)


def recompute(partitions: Sequence[Sequence[Rec]], rules: FoldRules) -> Result:
    """Recompute everything from the whole logs."""
    results = [recompute_partition(log, rules) for log in partitions]
    story = Story()
    for result in results:
        story.merge(result.story)
    story.cells = {key: kept for key, cell in sorted(story.cells.items()) if (kept := without_zeros(cell))}
    return Result(results, story)


def totals(cells: Cells) -> dict[str, dict[int, int]]:
    """Add up the cells of each queue."""
    sums: dict[str, dict[int, int]] = {}
    for (queue, _), cell in cells.items():
        merge_cell(sums.setdefault(queue, {}), cell)
    return {queue: without_zeros(cell) for queue, cell in sorted(sums.items())}


def sum_between(cells: Cells, queue: str, start_ms: int, end_ms: int) -> dict[int, int]:
    """Add up a queue's cells of the buckets that start in [start, end)."""
    total: dict[int, int] = {}
    for (of, bucket), cell in cells.items():
        if of == queue and start_ms <= bucket < end_ms:
            merge_cell(total, cell)
    return without_zeros(total)


def rolling(
    cells: Cells, queue: str, clock_ms: int, length_ms: int, bucket_ms: int = 5_000
) -> dict[int, int]:
    """Add up the bucket of now and as many before it as fill the length."""
    end_ms = clock_ms // bucket_ms * bucket_ms + bucket_ms
    return sum_between(cells, queue, end_ms - length_ms, end_ms)


def waiting_past_target(cells: Cells, queue: str, clock_ms: int) -> int:
    """Count the visits that wait past their target now."""
    return sum(
        cell.get(f.OVERDUE, 0) for (of, bucket), cell in cells.items() if of == queue and bucket <= clock_ms
    )


def histogram(observations: Iterable[int], bounds_ms: Sequence[int]) -> list[int]:
    """Count observations by the first bound that they do not exceed; the last place is for +Inf."""
    counts = [0] * (len(bounds_ms) + 1)
    for span in observations:
        counts[next((place for place, bound in enumerate(bounds_ms) if span <= bound), len(bounds_ms))] += 1
    return counts


def interval_of(at_ms: int, minutes: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return [start, end) of the interval of the local clock around an instant."""
    length = minutes * 60_000
    local = dt.datetime.fromtimestamp(at_ms // 1000, zone)
    past = (local.minute % minutes) * 60_000 + local.second * 1000 + at_ms % 1000
    return at_ms - past, at_ms - past + length


def day_of(at_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return [start, end) of the local day around an instant: walk by quarters until the date changes."""

    def date(ms: int) -> dt.date:
        return dt.datetime.fromtimestamp(ms // 1000, zone).date()

    start = at_ms // QUARTER_MS * QUARTER_MS
    end = start + QUARTER_MS
    while date(start - QUARTER_MS) == date(at_ms):
        start -= QUARTER_MS
    while date(end) == date(at_ms):
        end += QUARTER_MS
    return start, end


def roll_up(cells: Cells, minutes: int, zone: ZoneInfo) -> dict[tuple[str, int, int], dict[int, int]]:
    """Add up the cells of each (queue, start, end) of the clock; 0 minutes stands for the whole day."""
    sums: dict[tuple[str, int, int], dict[int, int]] = {}
    for (queue, bucket), cell in cells.items():
        start, end = interval_of(bucket, minutes, zone) if minutes else day_of(bucket, zone)
        merge_cell(sums.setdefault((queue, start, end), {}), cell)
    return {key: without_zeros(cell) for key, cell in sorted(sums.items())}


# --- KPIs ------------------------------------------------------------------------------------------


def ratio(part: int, base: int, unit: int = 1) -> float | None:
    """Divide exactly and round once; None where there is nothing to divide by."""
    return float(Fraction(part, base * unit)) if base else None


def kpis(cell: dict[int, int]) -> dict[str, int | float | None]:
    """Return what a closed interval shows, by the names of the contract (section 6)."""

    def of(number: int) -> int:
        return cell.get(number, 0)

    left = sum(of(number) for number in f.LEFT.values())
    blocked = sum(of(number) for number in f.BLOCKED.values())
    not_short = of(f.ABANDONED) - of(f.ABANDONED_SHORT)
    longest = cell.get(f.LONGEST_WAIT_MS)
    return {
        "offered": of(f.OFFERED),
        "queued": of(f.QUEUED),
        "answered": of(f.ANSWERED),
        "answered_within_target": of(f.ANSWERED_WITHIN_TARGET),
        "abandoned": of(f.ABANDONED),
        "abandoned_within_target": of(f.ABANDONED_WITHIN_TARGET),
        "abandoned_short": of(f.ABANDONED_SHORT),
        "left": left,
        "blocked": blocked,
        "service_level": ratio(of(f.SERVICE_LEVEL_MET), of(f.SERVICE_LEVEL_BASE)),
        "abandonment": ratio(not_short, of(f.ANSWERED) + not_short + left),
        "answer_speed_s": ratio(of(f.ANSWER_WAIT_MS), of(f.ANSWER_WAITS), 1000),
        "abandon_time_s": ratio(of(f.ABANDON_WAIT_MS), of(f.ABANDON_WAITS), 1000),
        "longest_wait_s": None if longest is None else float(Fraction(longest, 1000)),
        "talk_s": ratio(of(f.TALK_MS), of(f.TALKS), 1000),
    }
