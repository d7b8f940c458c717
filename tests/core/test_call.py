"""The life of one call: the table of transitions, the order at one instant, wrap-ups, holds and ages.

Through the stage, as a log in words. The rules are small: grace 10 s, age 100 s, wrap-up wait 30 s, target 20 s.
"""

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from schemas import EVENT_TYPES
from stream.core import fields as f
from stream.core.call import PHASES, TRANSITIONS
from stream.core.rules import Formula, QueueRule
from tests.core.named import RULES, anomalies, cells, folded, outcomes, totals

# --- the table of transitions -----------------------------------------------------------------------------------------

BEFORE = {
    "idle": (),
    "offered": ("0 offered a",),
    "waiting": ("0 queued a",),
    "talking": ("0 queued a", "1 answered agent=ann"),
    "talking and waiting": ("0 queued a", "1 answered agent=ann", "2 queued b"),
}
EVENTS = {
    "offered": "5 offered c",
    "queued": "5 queued c",
    "answered": "5 answered",
    "abandoned": "5 abandoned",
    "left": "5 left reason=key",
    "blocked": "5 blocked reason=busy",
    "hold": "5 hold",
    "resumed": "5 resumed",
    "ended": "5 ended",
    "wrap_up": "5 wrap_up took=1000",
}
SHOWN = {
    f.OFFERED: "offered",
    f.QUEUED: "queued",
    f.ANSWERED: "answered",
    f.ABANDONED: "abandoned",
    f.LEFT_OVERFLOW: "overflow",
    f.LEFT_KEY: "left",
    f.BLOCKED_BUSY: "blocked",
    f.CONVERSATIONS_ENDED: "ended",
    f.WRAP_UPS: "wrapped",
    f.EXPIRED_WAITING: "expired",
    f.EXPIRED_TALKING: "expired talking",
}
# phase, event: what it counts in which queue, "!" an anomaly, "=" a duplicate
EXPECTED = """
idle | offered | c offered
idle | queued | c queued
idle | answered | unrouted queued, unrouted answered, !answered_without_visit
idle | abandoned | unrouted queued, unrouted abandoned, !abandoned_without_visit
idle | left | !left_without_visit
idle | blocked | unrouted blocked
idle | hold | !hold_without_conversation
idle | resumed | !resumed_without_hold
idle | ended | !ended_without_conversation
idle | wrap_up | !wrap_up_without_conversation
offered | offered | =
offered | queued | c queued
offered | answered | a queued, a answered
offered | abandoned | a queued, a abandoned
offered | left | !left_without_visit
offered | blocked | a blocked
offered | hold | !hold_without_conversation
offered | resumed | !resumed_without_hold
offered | ended |
offered | wrap_up | !wrap_up_without_conversation
waiting | offered | c offered
waiting | queued | a overflow, c queued
waiting | answered | a answered
waiting | abandoned | a abandoned
waiting | left | a left
waiting | blocked | unrouted blocked, !blocked_while_waiting
waiting | hold | !hold_without_conversation
waiting | resumed | !resumed_without_hold
waiting | ended | !ended_without_conversation
waiting | wrap_up | !wrap_up_without_conversation
talking | offered | c offered
talking | queued | c queued
talking | answered | a ended, unrouted queued, unrouted answered, !answered_without_visit
talking | abandoned | unrouted queued, unrouted abandoned, !abandoned_without_visit
talking | left | !left_without_visit
talking | blocked | unrouted blocked
talking | hold |
talking | resumed | !resumed_without_hold
talking | ended | a ended
talking | wrap_up | a ended, a wrapped
talking and waiting | offered | c offered
talking and waiting | queued | b overflow, c queued
talking and waiting | answered | a ended, b answered
talking and waiting | abandoned | b abandoned
talking and waiting | left | b left
talking and waiting | blocked | unrouted blocked, !blocked_while_waiting
talking and waiting | hold |
talking and waiting | resumed | !resumed_without_hold
talking and waiting | ended | a ended
talking and waiting | wrap_up | a ended, a wrapped
"""


def effect(before, event):
    """Say what one more event changes."""
    old, new = folded(*before), folded(*before, event)
    counted = []
    for queue, counts in sorted(new.totals().items()):
        earlier = old.totals().get(queue, {})
        counted += [
            f"{queue} {word}" for number, word in SHOWN.items() if counts.get(number) != earlier.get(number)
        ]
    strange = Counter(anomalies(new)) - Counter(anomalies(old))
    same = new.tally().duplicate - old.tally().duplicate
    return ", ".join([*counted, *(f"!{kind}" for kind in strange), *["="] * same])


def test_every_event_has_its_effect_in_every_phase():
    """The page on counting as a table; a difference shows as the line that differs."""
    actual = [
        f"{phase} | {kind} | {effect(before, EVENTS[kind])}".rstrip()
        for phase, before in BEFORE.items()
        for kind in EVENT_TYPES
    ]

    assert EXPECTED.strip().splitlines() == actual


def test_the_table_of_transitions_is_complete():
    """Every phase names a function for every kind of event, and for what late events close: a wait, a conversation."""
    kinds = [*EVENT_TYPES, "late: wait", "late: conversation"]
    table = "\n".join(
        f"{phase:>20} | {kind:<18} | {getattr(step, '__name__', '(nothing)')}"
        for phase, row in itertools.zip_longest(PHASES, TRANSITIONS, fillvalue=())
        for kind, step in itertools.zip_longest(kinds, row, fillvalue="")
    )

    assert len(TRANSITIONS) == len(PHASES) == len(BEFORE), table
    for row in TRANSITIONS:
        assert len(row) == len(kinds), table
        assert all(map(callable, row)), table
    assert list(PHASES) == list(BEFORE), table
    assert [*EVENTS] == [*EVENT_TYPES], table


@pytest.mark.parametrize(
    ("before", "late", "closed"),
    [
        ((), "1 answered", {}),
        (("0 offered a",), "1 answered", {}),
        (("0 queued a",), "1 answered", {"a": "EXPIRED_WAITING"}),
        (("0 queued a",), "1 answered a", {"a": "EXPIRED_WAITING"}),
        (("0 queued a",), "1 answered b", {}),
        (("0 queued a",), "1 abandoned", {"a": "EXPIRED_WAITING"}),
        (("0 queued a",), "1 left reason=key", {"a": "EXPIRED_WAITING"}),
        (("0 queued a",), "1 left b reason=key", {}),
        (("0 queued a",), "1 queued b", {"a": "EXPIRED_WAITING"}),
        (("0 queued a",), "1 queued a", {}),
        (("0 queued a",), "1 offered b", {}),
        (("0 queued a",), "1 blocked reason=busy", {}),
        (("0 queued a",), "1 ended", {}),
        (("0 queued a", "1 answered"), "1 ended", {"a": "EXPIRED_TALKING"}),
        (("0 queued a", "1 answered"), "1 wrap_up took=1", {"a": "EXPIRED_TALKING"}),
        (("0 queued a", "1 answered"), "1 hold", {}),
        (("0 queued a", "1 answered"), "1 queued b", {}),
        (("0 queued a", "1 answered", "2 queued b"), "1 abandoned", {"b": "EXPIRED_WAITING"}),
        (("0 queued a", "1 answered", "2 queued b"), "1 ended", {"a": "EXPIRED_TALKING"}),
    ],
)
def test_a_late_event_closes_what_it_would_have_ended_and_counts_nothing_else(before, late, closed):
    """At the stream time of its arrival, here 50 s.

    0            1 ....................... 40 ------ 50
    |-- before --| late                    |- grace -|
    """
    line = ("50 hold call=other",)
    stage, without = folded(*before, *line, late), folded(*before, *line)
    changed = {
        (queue, second): {name: value for name, value in counts.items() if name.startswith("EXPIRED")}
        for (queue, second), counts in cells(stage).items()
    }

    assert {(queue, 50): {name: 1} for queue, name in closed.items()} == {
        key: value for key, value in changed.items() if value
    }
    assert stage.tally().late == 1
    assert outcomes(without)["applied"] == outcomes(stage)["applied"]
    if not closed:
        assert without.totals() == stage.totals()


def test_two_late_events_close_a_wait_and_a_conversation_at_one_instant():
    """Each what it ends; and the same late event again closes nothing more."""
    before = ("0 queued a", "1 answered", "2 queued b", "50 hold call=other")
    stage = folded(*before, "3 ended", "4 abandoned", "3 ended", "4 abandoned")

    assert {name: totals(stage, "a")[name] for name in ("EXPIRED_TALKING", "CONVERSATIONS_ENDED")} == {
        "EXPIRED_TALKING": 1,
        "CONVERSATIONS_ENDED": 1,
    }
    assert totals(stage, "b", (f.EXPIRED_WAITING, f.QUEUED)) == {"QUEUED": 1, "EXPIRED_WAITING": 1}
    assert stage.tally().late == 4


def test_what_a_late_event_closed_stays_closed_when_the_call_is_folded_again():
    """An event on time comes out of order after it; the late one is part of the call's story.

    0 queued a     4 late abandoned (arrives at 20: closes a there)     19 offered, out of order
    """
    stage = folded("0 queued a", "20 hold call=other", "4 abandoned", "19 offered a")

    assert totals(stage, "a", (f.OFFERED, f.QUEUED, f.EXPIRED_WAITING)) == {
        "OFFERED": 1,
        "QUEUED": 1,
        "EXPIRED_WAITING": 1,
    }
    assert ("a", 20) in cells(stage, (f.EXPIRED_WAITING,))


def test_a_late_event_closes_nothing_once_it_turns_out_what_was_open_then():
    """It closed a; then an event on time says that the contact had gone on to b by then, which it did not mean.

    0 queued a      1 late: abandoned a (arrives at 20)       15 queued b, arrives last
    """
    stage = folded("0 queued a", "20 hold call=t", "1 abandoned a", "15 queued b")

    assert totals(stage, "a", SHOWN) == {"QUEUED": 1, "LEFT_OVERFLOW": 1}
    assert totals(stage, "b", SHOWN) == {"QUEUED": 1}
    assert (stage.now()["b"], stage.tally().late) == ((1, 0, 15_000), 1)


def test_a_late_event_that_closes_nothing_in_the_end_does_not_keep_the_call_in_mind():
    """It is no event of the call: what rests since 12 is forgotten after 22, not one grace after the late one came.

    0 offered, 1 queued a     2 late: abandoned a (arrives at 20)      12 abandoned a, out of order      25 offered a
    """
    stage = folded(
        "0 offered a", "1 queued a", "20 hold call=t", "2 abandoned a", "12 abandoned a", "25 offered a"
    )

    assert totals(stage, "a", (f.OFFERED, f.QUEUED, f.ABANDONED, f.EXPIRED_WAITING)) == {
        "OFFERED": 2,
        "QUEUED": 1,
        "ABANDONED": 1,
    }
    assert stage.tally().duplicate == 0


# --- the order at one instant -----------------------------------------------------------------------------------------

IN_ORDER = (
    "offered",
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


def arrangements(*lines, before=()):
    """Fold the same lines in every order of arrival, and show what each comes to."""
    return [
        (stage.totals(), anomalies(stage), outcomes(stage), stage.now())
        for order in itertools.permutations(lines)
        for stage in [folded(*before, *order)]
    ]


@pytest.mark.parametrize("phase", BEFORE)
@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(IN_ORDER, 2)))
def test_two_events_of_one_instant_count_the_same_in_either_order_of_arrival(first, second, phase):
    """As if the one that stands first in the list had come a millisecond earlier."""
    pair = EVENTS[first], EVENTS[second]
    seen = arrangements(*pair, before=BEFORE[phase])
    apart = folded(*BEFORE[phase], pair[0].replace("5 ", "4.999 "), pair[1])

    assert seen[0] == seen[1]
    assert (anomalies(apart), outcomes(apart)) == seen[0][1:3]
    counted = {queue: [counts.get(n) for n in SHOWN] for queue, counts in apart.totals().items()}
    assert counted == {queue: [counts.get(n) for n in SHOWN] for queue, counts in seen[0][0].items()}


@pytest.mark.parametrize(
    ("ender", "field"), [("answered", f.ANSWERED), ("abandoned", f.ABANDONED), ("left", f.LEFT_KEY)]
)
def test_an_end_that_names_another_queue_than_the_one_entered_comes_first(ender, field):
    """At 5 the contact is answered in a and queued in b: it was answered first, since b has just begun."""
    reason = " reason=key" if ender == "left" else ""
    for seen in arrangements(f"5 {ender} a{reason}", "5 queued b", before=("0 queued a",)):
        counts, strange, _, now = seen

        assert counts["a"][field] == 1
        assert strange == {}
        assert now["b"] == (1, 0, 5_000)


@pytest.mark.parametrize("named", ["b", ""])
def test_an_end_that_names_the_queue_just_entered_or_none_ends_that_one(named):
    """At 5 the contact is queued in b and answered there: a overflowed."""
    for counts, strange, _, now in arrangements(f"5 answered {named}", "5 queued b", before=("0 queued a",)):
        assert (counts["a"][f.LEFT_OVERFLOW], counts["b"][f.ANSWERED]) == (1, 1)
        assert strange == {}
        assert now["b"] == (0, 1, None)


def test_an_end_before_an_entry_is_told_by_all_entries_of_the_instant():
    """Queued in a and in b at once: an end in either comes after both, and b, the last, is the one that waits."""
    for counts, strange, _, now in arrangements("5 queued b", "5 queued a", "5 abandoned a"):
        assert strange == {"abandoned_without_visit": 1}
        assert (counts["a"][f.QUEUED], counts["a"][f.LEFT_OVERFLOW], counts["a"][f.ABANDONED]) == (2, 1, 1)
        assert counts["b"][f.LEFT_OVERFLOW] == 1
        assert now["b"][0] == 0


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ("5 blocked reason=busy", "5 blocked a reason=busy id=x", ""),
        ("5 answered a", "5 answered b", ""),
        ("5 answered agent=ann", "5 answered agent=bob", ""),
        ("5 ended", "5 ended reason=hangup", ""),
        ("5 wrap_up took=1000", "5 wrap_up took=2000", ""),
        ("5 hold", "5 hold id=x", ""),
        ("5 hold channel=chat", "5 hold channel=voice", ""),
        ("5 hold version=1", "5 hold version=2", ""),
        ("5 queued b id=x", "5 queued c id=x", "b"),
        ("5 offered b", "5 offered c", "b"),
        ("5 offered", "5 offered c", "unrouted"),
    ],
)
def test_ties_are_broken_by_the_fields_in_turn(one, other, kept):
    """Queue, agent, reason, duration, id, channel, version, an absent one first; never by arrival."""
    seen = arrangements(one, other, before=("0 queued a", "1 answered agent=ann"))

    assert seen[0] == seen[1]
    if kept:
        assert [kept] == [queue for queue in seen[0][0] if queue != "a"]


def test_the_agent_of_a_tied_answer_is_the_later_name():
    """Both answered at 1; ann's came first by name, so bob's conversation is the one in progress, and his wrap-up's."""
    lines = ("1 answered b agent=bob", "1 answered b agent=ann", "1 queued b")
    for order in itertools.permutations(lines):
        stage = folded(*order, "6 wrap_up agent=bob took=0")

        assert totals(stage, "b", (f.TALK_MS, f.WRAP_UPS, f.ANSWERED)) == {
            "ANSWERED": 2,
            "TALK_MS": 5_000,
            "WRAP_UPS": 1,
        }


def test_every_order_of_arrival_of_a_whole_call_is_the_same_call():
    """A transfer with holds, all within the grace."""
    lines = (
        "0 queued a",
        "1 answered agent=ann",
        "2 hold",
        "3 queued b",
        "4 answered b agent=bob",
        "5 ended",
        "6 wrap_up agent=bob took=1000",
    )
    expected = folded(*lines)
    for order in itertools.islice(itertools.permutations(lines), 0, None, 97):
        stage = folded(*order)

        assert (expected.cells(), expected.histograms(), expected.tally()) == (
            stage.cells(),
            stage.histograms(),
            stage.tally(),
        )


def named_left(reason):
    return f"LEFT_{reason.upper()}"


# --- duplicates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "duplicates"),
    [
        (("0 queued a id=x", "1 answered id=x"), 1),
        (("0 queued a id=x", "1 answered id=y"), 0),
        (("0 blocked reason=busy", "0 blocked reason=busy"), 1),
        (("0 blocked reason=busy", "0 blocked reason=full"), 0),
        (("0 blocked reason=busy", "0.001 blocked reason=busy"), 0),
        (("0 blocked reason=busy id=x", "0 blocked reason=busy"), 0),
        (("0 blocked reason=busy channel=chat", "0 blocked reason=busy"), 0),
        (("0 blocked reason=busy version=2", "0 blocked reason=busy"), 0),
        (("0 queued a", "1 queued a"), 1),
        (("0 queued a", "1 queued a", "2 queued a"), 2),
        (("0 queued a", "1 queued b", "2 queued a"), 0),
        (("0 queued a", "1 answered", "2 queued a"), 0),
        (("0 offered a", "5 offered b"), 1),
        (("0 offered a", "1 queued a", "2 answered", "3 offered a"), 1),
    ],
)
def test_what_was_said_already_is_a_duplicate(lines, duplicates):
    """By id; without one by every field; a second entry of the same queue; a second offer."""
    assert (duplicates, len(lines) - duplicates) == (
        folded(*lines).tally().duplicate,
        outcomes(folded(*lines)).get("applied"),
    )


def test_many_ids_are_remembered():
    """A call with more events than one expects still knows every id that it has had."""
    lines = [f"{number / 10} hold id=e{number}" for number in range(40)]
    again = [f"{4 + number / 10} hold id=e{number}" for number in range(40)]

    assert outcomes(folded(*lines, *again)) == {"applied": 40, "duplicate": 40}


def test_an_id_is_a_duplicate_by_the_order_of_events_not_of_arrival():
    """The queued of 0 arrives after the answer of 1 with its id: the answer is the duplicate then."""
    stage = folded("1 answered id=x", "0 queued a id=x")

    assert totals(stage, "a", (f.QUEUED, f.ANSWERED)) == {"QUEUED": 1}
    assert (
        stage.tally().events["queued"],
        stage.tally().events["answered"],
        stage.tally().duplicate,
    ) == (1, 0, 1)
    assert anomalies(stage) == {}


# --- the wait ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wait_s", "within"), [(19.999, True), (20, True), (20.001, False)])
def test_within_the_target_means_up_to_the_target(wait_s, within):
    """Wait <= target, for answers and for abandons."""
    answered = folded("0 queued a", f"{wait_s} answered")
    abandoned = folded("0 queued a", f"{wait_s} abandoned")

    assert within is ("ANSWERED_WITHIN_TARGET" in totals(answered, "a"))
    assert within is ("SERVICE_LEVEL_MET" in totals(answered, "a"))
    assert within is ("ABANDONED_WITHIN_TARGET" in totals(abandoned, "a"))
    assert within is not ("SERVICE_LEVEL_BASE" in totals(abandoned, "a"))


@pytest.mark.parametrize(("wait_s", "short"), [(4.999, True), (5, False), (5.001, False)])
@pytest.mark.parametrize("formula", Formula)
def test_a_short_abandon_is_shorter_than_the_bound_and_in_no_service_level(wait_s, short, formula):
    """Wait < short_abandon; it stays an abandoned one within the target."""
    rules = replace(RULES, default=QueueRule(20_000, 5_000, formula))
    counts = totals(folded("0 queued a", f"{wait_s} abandoned", rules=rules), "a")
    in_base = not short and formula in (Formula.ABANDONED_NEGATIVE, Formula.ABANDONED_POSITIVE)

    assert short is ("ABANDONED_SHORT" in counts)
    assert (counts["ABANDONED"], counts["ABANDONED_WITHIN_TARGET"]) == (1, 1)
    assert in_base is ("SERVICE_LEVEL_BASE" in counts)
    assert (not short and formula is Formula.ABANDONED_POSITIVE) is ("SERVICE_LEVEL_MET" in counts)


# how it ends -> for each formula (base at second or None, met)
SERVICE_LEVEL_TABLE = [
    ("15 answered", [(15, 1), (15, 1), (15, 1), (15, 1)]),
    ("40 answered", [(20, 0), (20, 0), (20, 0), (40, 0)]),
    ("15 abandoned", [(None, 0), (15, 0), (15, 1), (None, 0)]),
    ("40 abandoned", [(20, 0), (20, 0), (20, 0), (None, 0)]),
    ("15 left reason=key", [(None, 0), (None, 0), (None, 0), (None, 0)]),
    ("40 left reason=key", [(20, 0), (20, 0), (20, 0), (None, 0)]),
    ("40 hold call=other", [(20, 0), (20, 0), (20, 0), (None, 0)]),
    ("140 hold call=other", [(20, 0), (20, 0), (20, 0), (None, 0)]),
]


@pytest.mark.parametrize(("end", "expected"), SERVICE_LEVEL_TABLE)
def test_the_service_level_of_one_visit_by_formula(end, expected):
    """In the bucket of its moment: the end, or the target, whichever comes first.

    0 queued            20 target                 40
    |-------------------|--------------------------|
    15 within                                   later, expired, or never
    """
    actual = []
    for formula in Formula:
        rules = replace(RULES, default=QueueRule(20_000, 0, formula))
        shown = cells(folded("0 queued a", end, rules=rules), (f.SERVICE_LEVEL_BASE, f.SERVICE_LEVEL_MET))
        seconds = [second for _, second in shown]
        actual.append(
            (seconds[0] if seconds else None, sum("SERVICE_LEVEL_MET" in c for c in shown.values()))
        )
        assert len(seconds) <= 1

    assert expected == actual


def test_a_visit_counts_each_thing_in_the_bucket_of_its_own_event():
    """Queued at 3, answered at 30 after the target at 23.

    bucket   0 ...... 20 ...... 30
             queued   overdue   answered, no longer overdue
    """
    assert cells(folded("3 queued a", "30 answered")) == {
        ("a", 0): {"QUEUED": 1},
        ("a", 20): {"SERVICE_LEVEL_BASE": 1, "OVERDUE": 1},
        ("a", 30): {
            "ANSWERED": 1,
            "OVERDUE": -1,
            "ANSWER_WAITS": 1,
            "ANSWER_WAIT_MS": 27_000,
            "LONGEST_WAIT_MS": 27_000,
        },
    }


def test_by_arrival_everything_of_a_visit_is_in_the_bucket_of_its_queued():
    """The whole life, the target and the wrap-up at 3, though it lasted beyond; an offer counts at its own time."""
    rules = replace(RULES, by_arrival=True)
    lines = ("1 offered a", "8 queued a", "40 answered", "50 ended", "60 wrap_up took=1000")
    shown = cells(folded(*lines, rules=rules))

    assert {key: value for key, value in shown.items() if key != ("a", 5)} == {("a", 0): {"OFFERED": 1}}
    assert tuple(
        shown["a", 5][name] for name in ("QUEUED", "ANSWERED", "TALKS", "WRAP_UPS", "LONGEST_WAIT_MS")
    ) == (1, 1, 1, 1, 32_000)
    assert list(cells(folded("3 offered a", "40 abandoned", rules=rules))) == [("a", 0)]
    assert list(cells(folded("3 queued a", "4 answered", "200 hold call=t", rules=rules))) == [("a", 0)]


def test_an_unknown_wait_is_in_no_wait_figure_and_in_no_service_level():
    """Answered with nothing before it: queued and answered, and an anomaly."""
    assert cells(folded("7 answered a")) == {("a", 5): {"QUEUED": 1, "ANSWERED": 1}}
    assert folded("7 answered a").histograms() == {}


def test_an_event_without_any_queue_counts_as_unrouted():
    """Offered, blocked and answered without a queue; a queue named so is the same one."""
    stage = folded(
        "0 offered",
        "1 blocked reason=busy",
        "2 answered call=d",
        "3 queued unrouted call=e",
        "4 abandoned call=e",
    )

    assert set(stage.totals()) == {"unrouted"}
    assert totals(stage, "unrouted", (f.OFFERED, f.BLOCKED_BUSY, f.QUEUED, f.ANSWERED, f.ABANDONED)) == {
        "OFFERED": 1,
        "BLOCKED_BUSY": 1,
        "QUEUED": 2,
        "ANSWERED": 1,
        "ABANDONED": 1,
    }


def test_an_end_in_another_queue_overflows_the_visit_that_waits():
    """Answered in b while waiting in a: a is left, and b is queued and answered with an unknown wait."""
    stage = folded("0 queued a", "5 answered b")

    assert totals(stage, "a", SHOWN) == {"QUEUED": 1, "LEFT_OVERFLOW": 1}
    assert totals(stage, "b", SHOWN) == {"QUEUED": 1, "ANSWERED": 1}
    assert anomalies(stage) == {"answered_without_visit": 1}


@pytest.mark.parametrize(
    ("end", "queue"),
    [("5 answered", "a"), ("5 answered b", "b"), ("5 abandoned", "a"), ("5 abandoned b", "b")],
)
def test_an_end_after_an_offer_begins_its_visit_at_the_offer(end, queue):
    """In the queue of the event, else in that of the offer; the wait is known: 4 s."""
    stage = folded("1 offered a", end)

    assert totals(stage, queue)["QUEUED"] == 1
    assert cells(stage)[queue, 5]["LONGEST_WAIT_MS"] == 4_000
    assert cells(stage)[queue, 0]["QUEUED"] == 1
    assert anomalies(stage) == {}


@pytest.mark.parametrize(("answer_s", "bucket"), [(11, 0), (14.999, 0), (15, 5), (30, 20)])
def test_a_visit_reaches_back_one_grace_at_most(answer_s, bucket):
    """The offer was at 1; the grace is 10 s.

    0        5        10       15                30
    | offer  |        |   answer: back to 5       |  answer: back to 20
    """
    stage = folded("1 offered a", f"{answer_s} answered")

    assert [("a", bucket)] == list(cells(stage, (f.QUEUED,)))
    assert totals(stage, "a")["ANSWER_WAIT_MS"] == round(1_000 * answer_s) - 1_000


def test_an_offer_without_a_queue_answered_without_one_is_unrouted():
    """Nothing names a queue."""
    stage = folded("1 offered", "3 answered")

    assert totals(stage, "unrouted", SHOWN) == {"OFFERED": 1, "QUEUED": 1, "ANSWERED": 1}


@pytest.mark.parametrize(
    "using", ["2 queued a", "2 blocked reason=busy", "2 ended", "2 answered", "2 abandoned"]
)
def test_an_offer_is_used_once(using):
    """Whatever used it: the next answer finds no offer."""
    stage = folded("1 offered z", using, "4 abandoned a", "5 answered z")

    assert anomalies(stage)["answered_without_visit"] == 1


def test_an_offer_while_something_is_open_opens_nothing():
    """Offered late in life, it is counted; the end of the conversation leaves no offer behind."""
    stage = folded("0 queued a", "1 answered", "2 offered b", "3 ended", "4 answered")

    assert totals(stage, "b", SHOWN) == {"OFFERED": 1}
    assert anomalies(stage) == {"answered_without_visit": 1}


def test_a_blocked_contact_counts_where_it_says_or_where_it_was_offered():
    """The event's own queue first, then that of the open offer."""
    own, offered = (
        folded("0 offered a", "1 blocked b reason=full"),
        folded("0 offered a", "1 blocked reason=full"),
    )

    assert (totals(own, "b"), totals(offered, "a")["BLOCKED_FULL"]) == ({"BLOCKED_FULL": 1}, 1)


def test_leaving_another_queue_than_that_in_which_one_waits_is_an_anomaly_and_nothing_else():
    """The visit goes on."""
    stage = folded("0 queued a", "5 left b reason=key")

    assert anomalies(stage) == {"left_without_visit": 1}
    assert (set(stage.totals()), stage.now()["a"]) == ({"a"}, (1, 0, 0))


@pytest.mark.parametrize("reason", f.LEFT)
def test_every_reason_to_leave_has_its_count_and_its_wait(reason):
    """The longest wait too, for it ended."""
    stage = folded("0 queued a", f"6 left reason={reason}")

    assert cells(stage)["a", 5] == {named_left(reason): 1, "LONGEST_WAIT_MS": 6_000}


@pytest.mark.parametrize("reason", f.BLOCKED)
def test_every_reason_to_refuse_has_its_count(reason):
    """In the queue that it names."""
    assert totals(folded(f"0 blocked a reason={reason}"), "a") == {f"BLOCKED_{reason.upper()}": 1}


# --- the conversation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "talk_s"),
    [
        (("20 ended",), 19),
        (("3 hold", "7 resumed", "20 ended"), 15),
        (("3 hold", "20 ended"), 2),
        (("3 hold", "7 resumed", "10 hold", "11 resumed", "20 ended"), 14),
        (("3 hold", "5 hold", "7 resumed", "20 ended"), 15),
        (("3 hold", "7 resumed", "8 resumed", "20 ended"), 15),
        (("1 ended",), 0),
        (("20 wrap_up took=4000",), 15),
        (("3 hold", "20 wrap_up took=4000"), 2),
        (("3 hold", "18 resumed", "20 wrap_up took=4000"), 2),
        (("17 hold", "18 resumed", "20 wrap_up took=4000"), 15),
        (("20 wrap_up took=19000",), 0),
        (("20 wrap_up took=50000",), 0),
        (("3 hold", "5 resumed", "20 wrap_up took=50000"), 0),
        (("10 queued b", "20 answered"), 9),
        (("20 answered b",), 19),
    ],
)
def test_talk_is_what_lies_between_answer_and_end_without_holds(lines, talk_s):
    """Answered at 1. A hold that still runs ends with the talk; a wrap-up ends it its duration earlier."""
    stage = folded("0 queued a", "1 answered", *lines)

    assert (talk_s * 1_000 or None, 1) == (totals(stage, "a").get("TALK_MS"), totals(stage, "a")["TALKS"])


def test_handling_is_talk_and_holds_and_wrap_up():
    """Talk 15 s, hold 4 s, wrap-up 6 s; each in the bucket of its event.

    0 q  1 answered   3 hold 7   20 ended    26 wrap-up
    """
    stage = folded("0 queued a", "1 answered", "3 hold", "7 resumed", "20 ended", "26 wrap_up took=6000")

    assert cells(stage)["a", 20] == {"TALKS": 1, "TALK_MS": 15_000, "CONVERSATIONS_ENDED": 1}
    assert cells(stage)["a", 25] == {
        "WRAP_UPS": 1,
        "WRAP_UP_MS": 6_000,
        "HANDLES": 1,
        "HANDLE_MS": 25_000,
    }


# Three conversations in three queues: ann's in a and bob's in b are over, cid's in c is in progress (or over as well).
THREE = (
    "0 queued a",
    "1 answered agent=ann",
    "2 queued b",
    "3 answered agent=bob",
    "4 queued c",
    "5 answered agent=cid",
)


@pytest.mark.parametrize(
    ("lines", "wrapped"),
    [
        ((), ["a"]),
        (("agent=ann",), ["a"]),
        (("agent=bob",), ["b"]),
        (("agent=cid",), ["c"]),
        (("agent=eve",), ["a"]),
        (("", ""), ["a", "b"]),
        (("", "", ""), ["a", "b", "c"]),
        (("agent=bob", ""), ["b", "a"]),
        (("agent=bob", "agent=bob"), ["b", "a"]),
        (("agent=bob", "agent=bob", "agent=bob"), ["b", "a", "c"]),
        (("", "", "", ""), ["a", "b", "c", None]),
    ],
)
@pytest.mark.parametrize("ended", [(), ("6 ended",)])
def test_a_wrap_up_finds_its_conversation(lines, wrapped, ended):
    """By agent the newest; else the oldest that is over; else the one in progress; else none."""
    lines = lines or ("",)
    log = [*THREE, *ended, *(f"{7 + number} wrap_up took=0 {words}" for number, words in enumerate(lines))]
    actual = []
    counted = Counter()
    for length in range(len(log) - len(lines), len(log)):
        stage = folded(*log[: length + 1])
        now = Counter({queue: counts.get(f.WRAP_UPS, 0) for queue, counts in stage.totals().items()})
        actual.append(next(iter(now - counted), None))
        counted = now

    assert wrapped == actual
    assert wrapped.count(None) == anomalies(stage).get("wrap_up_without_conversation", 0)


def test_of_one_agents_conversations_the_newest_is_wrapped_up():
    """Ann has two, in a and then in b."""
    lines = ("0 queued a", "1 answered agent=ann", "2 queued b", "3 answered agent=ann", "5 ended")

    assert list(cells(folded(*lines, "6 wrap_up agent=ann took=0"), (f.WRAP_UPS,))) == [("b", 5)]


@pytest.mark.parametrize(("wrap_up_s", "accepted"), [(34.999, True), (35, True), (35.001, False)])
def test_a_wrap_up_is_awaited_until_its_time_is_over(wrap_up_s, accepted):
    """Ended at 5, awaited for 30 s."""
    stage = folded("0 queued a", "1 answered", "5 ended", f"{wrap_up_s} wrap_up took=0")

    assert accepted is ("WRAP_UPS" in totals(stage, "a"))
    assert accepted is (anomalies(stage) == {})


# --- ages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_s", "expired"), [(99.999, False), (100, False), (100.001, True)])
def test_a_visit_expires_at_its_age_once_the_stream_is_past_it(at_s, expired):
    """At exactly begin + 100 s, whoever moved the stream; an answer at that very time still finds it."""
    ticked = folded("0 queued a", f"{at_s} hold call=other")
    answered = folded("0 queued a", f"{at_s} answered")

    assert ([("a", 100)] if expired else []) == list(cells(ticked, (f.EXPIRED_WAITING,)))
    assert ((0, 0, None) if expired else (1, 0, 0)) == ticked.now()["a"]
    assert expired is (anomalies(answered) == {"answered_without_visit": 1})


@pytest.mark.parametrize(("at_s", "expired"), [(100.999, False), (101, False), (101.001, True)])
def test_a_conversation_expires_at_its_age_and_has_no_talk(at_s, expired):
    """Answered at 1; no wrap-up is awaited then."""
    ticked = folded("0 queued a", "1 answered", f"{at_s} hold call=other")
    ended = folded("0 queued a", "1 answered", f"{at_s} ended")

    assert ([("a", 100)] if expired else []) == list(cells(ticked, (f.EXPIRED_TALKING,)))
    assert (0, int(not expired), None) == ticked.now()["a"]
    assert expired is ("TALKS" not in totals(ended, "a"))


def test_a_transfer_expires_in_both_halves_each_at_its_own_age():
    """Answered at 1, queued again at 3: expired at 101 and at 103.

    1 talk .............................101
         3 wait ............................103
    """
    stage = folded("0 queued a", "1 answered", "3 queued b", "150 hold call=other")

    assert cells(stage, (f.EXPIRED_TALKING, f.EXPIRED_WAITING)) == {
        ("a", 100): {"EXPIRED_TALKING": 1},
        ("b", 100): {"EXPIRED_WAITING": 1},
    }
    both = folded("0 queued a", "1 answered a", "1 queued b", "150 hold call=other")
    assert (totals(both, "a")["EXPIRED_TALKING"], totals(both, "b")["EXPIRED_WAITING"]) == (1, 1)


def test_a_visit_that_expires_before_its_target_has_failed_at_the_target():
    """The age is 100 s and the target 200 s: it counts at 200, when that comes."""
    rules = replace(RULES, default=QueueRule(200_000))
    stage = folded("0 queued a", "150 hold call=other", rules=rules)

    assert cells(stage, (f.SERVICE_LEVEL_BASE, f.OVERDUE, f.EXPIRED_WAITING)) == {
        ("a", 100): {"EXPIRED_WAITING": 1},
        ("a", 200): {"SERVICE_LEVEL_BASE": 1},
    }


@pytest.mark.parametrize(("at_s", "open_"), [(100, True), (100.001, False)])
def test_an_open_offer_is_gone_after_its_age_uncounted(at_s, open_):
    """Nothing expires, and an answer after it has nothing to begin at."""
    stage = folded("0 offered a", f"{at_s} answered a")

    assert open_ is (anomalies(stage) == {})
    assert "EXPIRED_WAITING" not in totals(stage, "a")


@pytest.mark.parametrize(
    ("using", "strange"),
    [
        ("30 answered", {}),
        ("40 answered", {}),
        ("104 answered", {}),
        ("104.001 answered b", {"answered_without_visit": 1}),
    ],
)
def test_an_offer_beside_a_wrap_up_that_is_awaited_has_its_own_age(using, strange):
    """Ended at 3, awaited until 33; offered at 4, open until 104.

    3 ended ....... 33
      4 offered ..................................... 104
    """
    stage = folded("0 queued a", "1 answered", "3 ended", "4 offered b", using, "105 ended")

    assert anomalies(stage) == strange
    assert totals(stage, "b", (f.OFFERED, f.ANSWERED, f.TALKS)) == {"OFFERED": 1, "ANSWERED": 1, "TALKS": 1}


def test_a_wrap_up_is_awaited_beside_an_offer_and_after_it():
    """The offer of 4 is used up at 5 and the wrap-up of 6 finds the conversation that is over, for 30 s and no more."""
    lines = ("0 queued a", "1 answered", "3 ended", "4 offered b", "5 ended")

    assert totals(folded(*lines, "33 wrap_up took=0"), "a")["WRAP_UPS"] == 1
    assert anomalies(folded(*lines, "33.001 wrap_up took=0")) == {"wrap_up_without_conversation": 1}


@pytest.mark.parametrize(("at_s", "known"), [(11.999, True), (12, True), (12.001, False)])
def test_a_call_that_rests_is_remembered_for_one_grace(at_s, known):
    """Abandoned at 2; an offer up to 12 is the second one, after that it is a new contact."""
    stage = folded("0 offered a", "1 queued a", "2 abandoned", f"{at_s} offered a")

    assert (1 if known else 2) == totals(stage, "a")["OFFERED"]
    assert int(known) == stage.tally().duplicate


@pytest.mark.parametrize(
    ("lines", "moment_s"),
    [
        (("0 queued a id=x",), 100),
        (("0 queued a id=x", "1 answered"), 101),
        (("0 offered a id=x",), 100),
        (("0 queued a id=x", "1 answered", "5 ended"), 35),
    ],
    ids=["visit", "conversation", "offer", "wrap-up"],
)
@pytest.mark.parametrize("past_ms", [0, 1])
def test_the_memory_of_a_call_lasts_one_grace_from_what_ended_by_age(lines, moment_s, past_ms):
    """An id is a duplicate up to then and free a millisecond later."""
    at_s = moment_s + 10 + past_ms / 1_000
    tick = f"{moment_s + 1} hold call=other"

    for log in ((*lines, f"{at_s} hold id=x"), (*lines, tick, f"{at_s} hold id=x")):
        assert (1 - past_ms) == folded(*log).tally().duplicate


def test_a_call_that_went_on_after_it_was_forgotten_keeps_both_lives_apart():
    """The first life rests at 2 and is forgotten after 12; an event of 11 that comes after 15 is of the first."""
    stage = folded(
        "0 offered a",
        "1 queued a",
        "2 abandoned",
        "14 offered a",
        "15 queued a",
        "11 offered a",
        "16 abandoned",
    )

    assert totals(stage, "a", SHOWN) == {"OFFERED": 1, "QUEUED": 2, "ABANDONED": 2}
    assert stage.tally().duplicate == 2


def test_calls_that_are_over_are_let_go_of():
    """A stage holds what is open and what may still matter, not all calls since the beginning."""
    lines = [
        line
        for number in range(300)
        for line in (f"{20 * number} queued a call={number}", f"{20 * number + 1} abandoned call={number}")
    ]
    stage = folded(*lines)

    assert totals(stage, "a")["ABANDONED"] == 300
    assert len(stage.calls) < 60
