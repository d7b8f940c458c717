"""Random logs of a few calls in a few queues: plausible lives, adversarial soups, and bytes that are neither.

Times are small and fall on few instants, so that ties, ages, the end of a call's memory and the limits of
the grace are met all the time instead of never. A log is drawn as events with a delay each: the order of
arrival is that of ``at + delay``. No delay beyond the grace means no late record, since whatever arrived
before has a smaller ``at + delay``, and so an ``at`` of at most this one's plus the grace.
"""

import datetime as dt
import itertools
import json
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from stream.core.rules import BoardRules, Clock, FoldRules, Formula, QueueRule
from tests.oracle import Rec

SECOND_MS = 1_000
SOUP = 14  # events that make no sense, at most; and a plausible call for every four of them
QUEUES = ("a", "b", "c", None)
AGENTS = (None, "ann", "bob")
LEFT_REASONS = ("key", "overflow", "callback")
BLOCKED_REASONS = ("busy", "closed")
SPANS_MS = (0, 1, 1_000, 2_000, 3_000, 4_999, 5_000, 7_000, 12_000, 20_000, 41_000)
KINDS = (
    "queued",
    "answered",
    "abandoned",
    "left",
    "ended",
    "wrap_up",
    "offered",
    "hold",
    "resumed",
    "blocked",
)
HAVE_QUEUE = {"offered", "queued", "answered", "abandoned", "left", "blocked"}
HAVE_AGENT = {"answered", "wrap_up"}

# How calls go. A step is an event, and "." is a pause in which time goes by without one.
LIVES = tuple(
    tuple(life.split())
    for life in (
        "offered queued answered hold resumed ended wrap_up",
        "queued answered ended wrap_up",
        "queued answered wrap_up",
        "queued abandoned",
        "offered queued left",
        "queued queued answered ended",
        "queued answered queued answered ended wrap_up wrap_up",
        "queued answered hold queued answered wrap_up ended wrap_up",
        "offered answered ended",
        "offered abandoned",
        "offered blocked",
        "offered ended . offered queued answered ended",
        "offered . answered",
        "queued answered ended offered answered",
        "queued answered ended offered . abandoned",
        "queued . answered . ended . wrap_up",
        "queued answered . wrap_up . offered queued",
        "queued",
        "queued answered",
    )
)

BROKEN = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe{}",
    b'{"type":"hold","call_id":"k0"}',
    b'{"type":"hold","call_id":"k0","at":-1}',
    b'{"type":"hold","call_id":"k0","at":true}',
    b'{"type":"hold","call_id":7,"at":1}',
    b'{"type":"greeted","call_id":"k0","at":1}',
    b'{"type":"queued","call_id":"k0","at":99000000}',
    b'{"type":"left","call_id":"k0","at":99000000,"reason":"bored"}',
    b'{"type":"wrap_up","call_id":"k0","at":99000000}',
    None,
)


TEXT_FORM, WORDY_FORM = 9, 8  # of an event, out of ten; the others are plain


@dataclass(frozen=True)
class Draft:
    """An event before it has a place in a log."""

    fields: dict[str, Any]
    delay_ms: int
    form: int = 0

    @property
    def at(self) -> int:
        """When it happened."""
        return int(self.fields["at"])

    def value(self) -> bytes:
        """Write the event in one of the forms that mean the same."""
        fields = dict(self.fields)
        if self.form == TEXT_FORM:
            text = dt.datetime.fromtimestamp(self.at // SECOND_MS, dt.timezone(dt.timedelta(hours=2)))
            fields["at"] = f"{text:%Y-%m-%dT%H:%M:%S}.{self.at % SECOND_MS:03}+02:00"
        elif self.form == WORDY_FORM:
            fields = {"unknown": [1], "event_id": None, "agent": None, "channel": "voice"} | fields
        return json.dumps(fields).encode()


@dataclass(frozen=True)
class Case:
    """Rules and a log."""

    rules: FoldRules
    log: list[Rec]


QUEUE_RULES = st.builds(
    # a short abandon is no longer than the target, as usual
    lambda target_ms, short_ms, formula: QueueRule(target_ms, min(short_ms, target_ms), formula),
    st.sampled_from((0, 3_000, 5_000, 7_500, 20_000, 300_000)),
    st.sampled_from((0, 2_000, 3_000, 5_000)),
    st.sampled_from(list(Formula)),
)

# Spans so small that a minute of events crosses all of them.
FOLD_RULES = st.builds(
    FoldRules,
    grace_ms=st.sampled_from((0, 2_000, 5_000, 7_001, 12_000, 60_000)),
    future_skew_ms=st.sampled_from((0, 2_000)),
    call_age_max_ms=st.sampled_from((5_000, 20_000, 41_000, 1_000_000)),
    wrap_up_wait_ms=st.sampled_from((0, 5_000, 12_000)),
    shards=st.sampled_from((1, 3)),
    default=QUEUE_RULES,
    queues=QUEUE_RULES.map(lambda rule: {"b": rule}),
    histogram_bounds_ms=st.just((3_000, 5_000, 12_000)),
)


def event(
    call: int, kind: str, at: int, *, queue: str | None, agent: str | None, word: int
) -> dict[str, Any]:
    """Build the fields of an event; ``word`` decides on its reason, its duration and its id."""
    fields: dict[str, Any] = {"type": kind, "call_id": f"k{call}", "at": at}
    if kind in HAVE_QUEUE and (queue is not None or kind == "queued"):
        fields["queue"] = queue or "a"
    if kind in HAVE_AGENT and agent is not None:
        fields["agent"] = agent
    if kind == "left":
        fields["reason"] = LEFT_REASONS[word % len(LEFT_REASONS)]
    if kind == "blocked":
        fields["reason"] = BLOCKED_REASONS[word % len(BLOCKED_REASONS)]
    if kind == "wrap_up":
        fields["duration_ms"] = SPANS_MS[word % len(SPANS_MS)]
    if word >= WORDS_WITHOUT_ID:
        fields["event_id"] = f"e{word % 3}"
    return fields


WORDS_WITHOUT_ID = 12
WORDS = st.integers(0, 14)
AT = st.one_of(
    st.integers(0, 12).map(lambda second: second * SECOND_MS),
    st.integers(0, 70).map(lambda second: second * SECOND_MS),
    st.integers(0, 70_000),
)
CALLS = st.sampled_from((0, 0, 0, 1, 2))
FORMS = st.integers(0, 9)


DELAYS = st.integers(0, 8)  # an index into what ``delays`` returns
SOUP_EVENT = st.tuples(
    CALLS, st.sampled_from(KINDS), AT, st.sampled_from(QUEUES), st.sampled_from(AGENTS), WORDS, DELAYS, FORMS
)
STEP = st.tuples(st.sampled_from(SPANS_MS), st.sampled_from(QUEUES), WORDS, DELAYS)
LIFE = st.one_of(
    *(
        st.tuples(st.just(life), CALLS, AT, st.lists(STEP, min_size=len(life), max_size=len(life)))
        for life in LIVES
    )
)
TICKS = st.lists(st.sampled_from((1_000, 9_999, 30_000, 60_001, 75_000, 200_000)), max_size=2)
COPIES = st.lists(st.tuples(st.integers(0, 40), DELAYS), max_size=3)


def happenings(size: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw what ``drafts`` makes events of; it knows nothing of the rules, so that it is built only once."""
    return st.tuples(st.lists(SOUP_EVENT, max_size=size), st.lists(LIFE, max_size=size // 4), TICKS, COPIES)


HAPPENINGS = {size: happenings(size) for size in (SOUP, SOUP // 2)}


def delays(rules: FoldRules, *, late: bool) -> list[int]:
    """List how long an event may be on its way: mostly no time, at most the grace unless it may be late."""
    grace_ms = rules.grace_ms
    some = [0, grace_ms, 1_000, grace_ms // 2, 0, 0]
    if late:
        return [*some, grace_ms + 1, 2 * grace_ms, 30_000]
    return [min(delay, grace_ms) for delay in some]


def drafts(drawn: tuple[Any, ...], rules: FoldRules, *, late: bool) -> list[Draft]:
    """Make events of what was drawn: a soup, lives, ticks of another call, and some of it once more."""
    soup, lives, ticks, copies = drawn
    on_the_way = delays(rules, late=late)

    def delay(index: int) -> int:
        return on_the_way[index % len(on_the_way)]

    found = [
        Draft(event(call, kind, at, queue=queue, agent=agent, word=word), delay(index), form)
        for call, kind, at, queue, agent, word, index, form in soup
    ]
    for life, call, begin, steps in lives:
        at = begin
        for kind, (span, queue, word, index) in zip(life, steps, strict=True):
            at += span
            if kind == ".":
                at += rules.grace_ms
                continue
            named = queue if kind in {"queued", "offered", "blocked"} else None
            agent, reason = AGENTS[word % len(AGENTS)], word % WORDS_WITHOUT_ID
            found.append(Draft(event(call, kind, at, queue=named, agent=agent, word=reason), delay(index)))
    found += [Draft({"type": "hold", "call_id": "tick", "at": at}, 0) for at in ticks]
    copied = [Draft(found[number % len(found)].fields, delay(index)) for number, index in copies if found]
    return found + copied


def record(draft: Draft, offset: int, skew_ms: int) -> Rec:
    """Give a draft its place in a log; it is stamped well, not at all, or just early enough."""
    timestamp = (draft.at, None, -1, max(0, draft.at - skew_ms))[offset % 4]
    return Rec(offset, timestamp, draft.fields["call_id"].encode(), draft.value())


def shifted(draft: Draft, by_ms: int) -> Draft:
    """Move an event to another day."""
    return Draft(draft.fields | {"at": draft.at + by_ms}, draft.delay_ms, draft.form)


FAR = json.dumps({"type": "queued", "queue": "a", "call_id": "k0", "at": 99_000_000}).encode()
REJECTS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.one_of(
            st.sampled_from([(None, b"k0", value) for value in BROKEN]),
            st.sampled_from(
                ((None, None, FAR), (None, b"k1", FAR), (0, b"k0", FAR), (98_997_999, b"k0", FAR))
            ),
        ),
    ),
    max_size=2,
)


@st.composite
def logs(
    draw: st.DrawFn,
    rules: FoldRules,
    *,
    late: bool = True,
    broken: bool = True,
    size: int = SOUP,
    from_ms: int = 0,
) -> list[Rec]:
    """Draw a log: events in order of arrival, rejected records in between, gaps in the offsets."""
    arrivals: list[Any] = sorted(
        drafts(draw(HAPPENINGS[size]), rules, late=late), key=lambda draft: draft.at + draft.delay_ms
    )
    if broken:
        for place, reject in draw(REJECTS):
            arrivals.insert(place, reject)
    offset = draw(st.sampled_from((0, 0, 7, 1_000)))
    jump_after = draw(st.integers(0, 30)) - 1
    log = []
    for number, arrival in enumerate(arrivals):
        if isinstance(arrival, Draft):
            log.append(record(shifted(arrival, from_ms), offset, rules.future_skew_ms))
        else:
            log.append(Rec(offset, *arrival))
        offset += 3 if number == jump_after else 1
    return log


@st.composite
def cases(draw: st.DrawFn, *, late: bool = True, broken: bool = True) -> Case:
    """Draw rules and a log under them."""
    rules = draw(FOLD_RULES)
    return Case(rules, draw(logs(rules, late=late, broken=broken)))


# Moments in the middle of which something of the calendar happens, 30 s after the events begin.
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
CALENDAR = (
    (AMSTERDAM, 1_711_846_770_000),  # 2024-03-31 01:59:30, an hour is left out
    (AMSTERDAM, 1_729_990_770_000),  # 2024-10-27 02:59:30, an hour comes again
    (AMSTERDAM, 1_711_839_570_000),  # midnight
    (ZoneInfo("Asia/Kathmandu"), 1_711_842_270_000),  # a quarter to the hour in UTC
    (ZoneInfo("Australia/Lord_Howe"), 1_712_415_570_000),  # 2024-04-07, half an hour comes again
    (ZoneInfo("America/Sao_Paulo"), 1_518_919_170_000),  # 2018-02-18, midnight comes again
    (ZoneInfo("America/Sao_Paulo"), 1_541_300_370_000),  # 2018-11-04, midnight is left out
    (ZoneInfo("UTC"), 0),
)


@st.composite
def boards(draw: st.DrawFn) -> tuple[BoardRules, list[list[Rec]]]:
    """Draw rules of a board and the logs of two source partitions."""
    rules = draw(FOLD_RULES)
    zone, from_ms = draw(st.sampled_from(CALENDAR))
    partitions = [draw(logs(rules, size=SOUP // 2, from_ms=from_ms)) for _ in range(2)]
    board_rules = BoardRules(
        time_zone=zone,
        source_partitions=2,
        rolling=(("30s", 30_000), ("5m", 300_000)),
        interval_ms=draw(st.sampled_from((900_000, 1_800_000))),
        clock=draw(st.sampled_from((Clock.STREAM, Clock.WALL))),
        shards=rules.shards,
        fold=rules,
    )
    return board_rules, partitions


@st.composite
def cuts(draw: st.DrawFn, log: list[Rec]) -> list[list[Rec]]:
    """Cut a log into batches, empty ones among them."""
    places = sorted(draw(st.lists(st.integers(0, len(log)), max_size=5)))
    edges = [0, *places, len(log)]
    return [log[start:end] for start, end in itertools.pairwise(edges)]
