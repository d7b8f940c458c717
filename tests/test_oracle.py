"""The oracle itself, against cases that were worked out by hand.

Every case is a log in words (``oracle.log_of``): seconds, event, queue. The rules are small: grace 10 s,
age 100 s, wrap-up wait 30 s, target 20 s, so that a few lines reach every row of docs/counting.md.
"""

import json
from collections import Counter
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from stream.core import fields as f
from stream.core.rules import FoldRules, Formula, QueueRule
from tests import oracle
from tests.oracle import Rec, log_of

RULES = FoldRules(grace_ms=10_000, future_skew_ms=5_000, call_age_max_ms=100_000, wrap_up_wait_ms=30_000)
NAMES = {value: name for name, value in vars(f).items() if name.isupper() and isinstance(value, int)}
NAMES |= {number: f"LEFT_{reason.upper()}" for reason, number in f.LEFT.items()}
ENDS_AND_BEGINS = {"QUEUED", "ANSWERED", "ANSWER_WAITS", "ABANDONED", "ABANDON_WAITS"}
ENDS_AND_BEGINS |= {NAMES[number] for number in f.LEFT.values()}
SERVICE_LEVEL_NAMES = {"SERVICE_LEVEL_MET", "SERVICE_LEVEL_BASE"}
FORMULAS = (
    Formula.ABANDONED_IGNORED,
    Formula.ABANDONED_NEGATIVE,
    Formula.ABANDONED_POSITIVE,
    Formula.ANSWERED_ONLY,
)


def partition(*lines, rules=RULES):
    return oracle.recompute_partition(log_of(*lines), rules)


def cells(*lines, rules=RULES):
    """Name the fields, and write a bucket as its first second."""
    named = {}
    for (queue, bucket), cell in partition(*lines, rules=rules).story.cells.items():
        named[queue, bucket // 1000] = {NAMES[number]: value for number, value in cell.items()}
    return named


def totals(*lines, rules=RULES, without=("SERVICE_LEVEL_BASE", "SERVICE_LEVEL_MET", "OVERDUE")):
    named = {}
    for queue, cell in oracle.totals(partition(*lines, rules=rules).story.cells).items():
        named[queue] = {
            NAMES[number]: value for number, value in cell.items() if NAMES[number] not in without
        }
    return named


def outcomes(*lines, rules=RULES):
    return partition(*lines, rules=rules).outcomes


def anomalies(*lines, rules=RULES):
    return dict(partition(*lines, rules=rules).story.anomalies)


def service_level(*lines, formula=Formula.ABANDONED_IGNORED, short_s=0):
    """Return {second of the bucket: (met, base)} of the queue ``a``."""
    rules = replace(RULES, default=QueueRule(20_000, short_s * 1000, formula))
    return {
        second: (cell.get("SERVICE_LEVEL_MET", 0), cell.get("SERVICE_LEVEL_BASE", 0))
        for (queue, second), cell in cells(*lines, rules=rules).items()
        if queue == "a" and not SERVICE_LEVEL_NAMES.isdisjoint(cell)
    }


# --- a call that goes as calls should -----------------------------------------------------------------


def test_a_whole_call_lands_in_the_bucket_of_each_event():
    """Every number of a plain call stands where its event is."""
    actual = cells(
        "1 offered",
        "3 queued a",
        "12 answered agent=ann",
        "20 hold",
        "24 resumed",
        "40 ended",
        "56 wrap_up took=15000 agent=ann",
    )

    assert actual == {
        ("unrouted", 0): {"OFFERED": 1},
        ("a", 0): {"QUEUED": 1},
        ("a", 10): {
            "ANSWERED": 1,
            "ANSWERED_WITHIN_TARGET": 1,
            "SERVICE_LEVEL_MET": 1,
            "SERVICE_LEVEL_BASE": 1,
            "ANSWER_WAITS": 1,
            "ANSWER_WAIT_MS": 9_000,
            "LONGEST_WAIT_MS": 9_000,
        },
        ("a", 40): {"CONVERSATIONS_ENDED": 1, "TALKS": 1, "TALK_MS": 24_000},
        ("a", 55): {"WRAP_UPS": 1, "WRAP_UP_MS": 15_000, "HANDLES": 1, "HANDLE_MS": 43_000},
    }


def test_an_abandoned_call_counts_its_wait_and_none_of_an_answer():
    """An abandon within the target is in no service level when abandons are ignored."""
    actual = cells("0 queued a", "20 abandoned")

    assert actual == {
        ("a", 0): {"QUEUED": 1},
        ("a", 20): {
            "ABANDONED": 1,
            "ABANDONED_WITHIN_TARGET": 1,
            "ABANDON_WAITS": 1,
            "ABANDON_WAIT_MS": 20_000,
            "LONGEST_WAIT_MS": 20_000,
        },
    }


def test_a_visit_past_its_target_is_overdue_until_it_ends():
    """It fails the service level at queued + target, and stops being overdue at its end."""
    actual = cells("0 queued a", "33 left reason=key")

    assert actual == {
        ("a", 0): {"QUEUED": 1},
        ("a", 20): {"SERVICE_LEVEL_BASE": 1, "OVERDUE": 1},
        ("a", 30): {"LEFT_KEY": 1, "LONGEST_WAIT_MS": 33_000, "OVERDUE": -1},
    }


def test_a_visit_that_still_waits_is_due_in_the_future():
    """Its failure is written down ahead of time, and it waits now."""
    result = partition("7 queued a", "9 queued a call=d")

    assert result.story.now() == {"a": (2, 0, 7_000)}
    assert cells("7 queued a") == {
        ("a", 5): {"QUEUED": 1},
        ("a", 25): {"SERVICE_LEVEL_BASE": 1, "OVERDUE": 1},
    }


def test_a_wait_of_nothing_is_a_longest_wait_of_nothing():
    """0 ms is a wait, and not the same as no wait."""
    actual = cells("0 queued a", "0 answered")["a", 0]

    assert actual["LONGEST_WAIT_MS"] == 0
    assert actual["ANSWER_WAITS"] == 1
    assert "ANSWER_WAIT_MS" not in actual


# --- service level: every row of the table, under every formula ---------------------------------------


@pytest.mark.parametrize(
    ("row", "lines", "expected"),
    [
        ("answered at the target", ("0 queued a", "20 answered"), [{20: (1, 1)}] * 4),
        ("answered later", ("0 queued a", "26 answered"), [{20: (0, 1)}] * 3 + [{25: (0, 1)}]),
        ("abandoned, short", ("0 queued a", "4 abandoned"), [{}] * 4),
        ("abandoned, just not short", ("0 queued a", "5 abandoned"), [{}, {5: (0, 1)}, {5: (1, 1)}, {}]),
        ("abandoned within", ("0 queued a", "20 abandoned"), [{}, {20: (0, 1)}, {20: (1, 1)}, {}]),
        ("abandoned later", ("0 queued a", "26 abandoned"), [{20: (0, 1)}] * 3 + [{}]),
        ("left within", ("0 queued a", "20 left reason=key"), [{}] * 4),
        ("left later", ("0 queued a", "26 left reason=key"), [{20: (0, 1)}] * 3 + [{}]),
        ("expired", ("0 queued a", "101 offered call=d"), [{20: (0, 1)}] * 3 + [{}]),
        ("still waiting", ("0 queued a",), [{20: (0, 1)}] * 3 + [{}]),
        ("unknown wait", ("0 answered a", "9 abandoned a"), [{}] * 4),
    ],
)
def test_service_level_of_each_end_under_each_formula(row, lines, expected):
    """The moment, the base and the met of docs/counting.md, for one visit."""
    actual = [service_level(*lines, formula=formula, short_s=5) for formula in FORMULAS]

    assert expected == actual, row


def test_a_short_abandon_is_still_an_abandon():
    """It counts as abandoned, within the target, and short."""
    rules = replace(RULES, default=QueueRule(20_000, 5_000))
    actual = totals("0 queued a", "4 abandoned", rules=rules)["a"]

    assert actual["ABANDONED"] == actual["ABANDONED_WITHIN_TARGET"] == actual["ABANDONED_SHORT"] == 1


def test_an_expired_visit_was_overdue_only_if_it_outlived_its_target():
    """A visit that ends exactly at its target never waited past it."""
    outlived = cells("0 queued a", "101 offered call=d")
    at_target = cells("0 queued a", "101 offered call=d", rules=replace(RULES, default=QueueRule(100_000)))

    assert outlived["a", 20] == {"SERVICE_LEVEL_BASE": 1, "OVERDUE": 1}
    assert outlived["a", 100] == {"EXPIRED_WAITING": 1, "OVERDUE": -1}
    assert at_target["a", 100] == {"EXPIRED_WAITING": 1, "SERVICE_LEVEL_BASE": 1}


# --- visits: selection, overflow, offers ----------------------------------------------------------------


def test_queueing_elsewhere_is_an_overflow():
    """A contact waits in one queue at a time."""
    actual = totals("0 queued a", "3 queued b", "8 answered")

    assert actual["a"] == {"QUEUED": 1, "LEFT_OVERFLOW": 1, "LONGEST_WAIT_MS": 3_000}
    assert actual["b"]["ANSWERED"] == 1
    assert actual["b"]["ANSWER_WAIT_MS"] == 5_000


def test_queueing_again_in_the_same_queue_is_a_duplicate():
    """The first one began the wait."""
    lines = ("0 queued a", "3 queued a", "8 answered")

    assert outcomes(*lines) == ["applied", "duplicate", "applied"]
    assert totals(*lines)["a"]["ANSWER_WAIT_MS"] == 8_000


def test_queueing_again_after_the_answer_begins_a_new_visit():
    """A transfer back into the same queue is counted twice there."""
    assert totals("0 queued a", "3 answered", "8 queued a", "9 answered")["a"]["QUEUED"] == 2


@pytest.mark.parametrize(("kind", "field"), [("answered", "ANSWERED"), ("abandoned", "ABANDONED")])
def test_an_end_without_a_visit_reaches_back_to_the_open_offer(kind, field):
    """The visit began when the contact was offered, in the event's queue, else the offer's, else unrouted."""
    for offer, end, queue in [
        ("", "", "unrouted"),
        ("a", "", "a"),
        ("a", "b", "b"),
        ("", "b", "b"),
    ]:
        actual = cells(f"0 offered {offer}", f"6 {kind} {end}")

        assert actual[queue, 0]["QUEUED"] == 1
        assert actual[queue, 5][field] == 1
        assert actual[queue, 5]["LONGEST_WAIT_MS"] == 6_000
        assert not anomalies(f"0 offered {offer}", f"6 {kind} {end}")


def test_a_visit_at_an_offer_counts_no_earlier_than_the_grace_before_its_end():
    """The buckets before that are final; the wait is the true one."""
    actual = cells("0 offered a", "38 answered")

    assert actual["a", 0] == {"OFFERED": 1}
    assert actual["a", 25] == {"QUEUED": 1, "SERVICE_LEVEL_BASE": 1, "OVERDUE": 1}
    assert actual["a", 35]["ANSWER_WAIT_MS"] == 38_000
    assert actual["a", 35]["OVERDUE"] == -1


@pytest.mark.parametrize(("kind", "field"), [("answered", "ANSWERED"), ("abandoned", "ABANDONED")])
def test_an_end_with_neither_visit_nor_offer_has_no_wait(kind, field):
    """It counts as queued and ended at once, in no wait figure, and as an anomaly."""
    assert cells(f"6 {kind} a") == {("a", 5): {"QUEUED": 1, field: 1}}
    assert cells(f"6 {kind}") == {("unrouted", 5): {"QUEUED": 1, field: 1}}
    assert anomalies(f"6 {kind}") == {f"{kind}_without_visit": 1}


def test_an_answer_for_another_queue_ends_the_wait_as_overflow():
    """The contact cannot go on waiting where it was."""
    lines = ("0 queued a", "6 answered b")

    assert totals(*lines) == {
        "a": {"QUEUED": 1, "LEFT_OVERFLOW": 1, "LONGEST_WAIT_MS": 6_000},
        "b": {"QUEUED": 1, "ANSWERED": 1},
    }
    assert anomalies(*lines) == {"answered_without_visit": 1}


def test_an_offer_counts_once_a_contact():
    """A second one is a duplicate, whatever it says."""
    lines = ("0 offered", "3 offered a", "4 queued a", "5 offered b")

    assert outcomes(*lines) == ["applied", "duplicate", "applied", "duplicate"]


@pytest.mark.parametrize(
    "use", ["1 queued b", "1 answered b", "1 abandoned b", "1 blocked reason=busy", "1 ended"]
)
def test_an_offer_is_used_up_by_what_follows_it(use):
    """A later abandon no longer finds it."""
    found = anomalies("0 offered a", use, "2 left reason=key b", "3 abandoned")

    assert found["abandoned_without_visit"] == 1


def test_an_offer_while_the_contact_is_somewhere_is_never_open():
    """It is counted, and nothing reaches back to it."""
    assert anomalies("0 queued a", "1 offered", "2 left reason=key", "3 abandoned")["abandoned_without_visit"]
    assert anomalies("0 answered a", "1 offered", "2 ended", "3 abandoned")["abandoned_without_visit"]


def test_hanging_up_in_the_menu_is_no_anomaly():
    """The offer is over, and nobody waited."""
    assert partition("0 offered a", "3 ended").story.now() == {}
    assert anomalies("0 offered a", "3 ended") == {}


def test_left_needs_a_waiting_visit_of_its_queue():
    """Otherwise it is an anomaly and nothing else."""
    assert anomalies("0 left reason=key") == {"left_without_visit": 1}
    assert anomalies("0 queued a", "1 left b reason=key") == {"left_without_visit": 1}
    assert totals("0 offered a", "1 left reason=key", "2 answered")["a"]["ANSWER_WAIT_MS"] == 2_000


def test_blocked_counts_under_its_queue_or_that_of_the_offer():
    """The offer tells where a refused contact wanted to go."""
    assert totals("0 blocked a reason=busy") == {"a": {"BLOCKED_BUSY": 1}}
    assert totals("0 offered b", "1 blocked reason=full") == {"b": {"OFFERED": 1, "BLOCKED_FULL": 1}}
    assert totals("0 blocked reason=closed") == {"unrouted": {"BLOCKED_CLOSED": 1}}


def test_blocked_while_waiting_lets_the_wait_go_on():
    """It is counted and strange."""
    result = partition("0 queued a", "1 blocked reason=no_agents")

    assert result.story.now() == {"a": (1, 0, 0)}
    assert dict(result.story.anomalies) == {"blocked_while_waiting": 1}
    assert ("unrouted", 0) in result.story.cells


# --- conversations --------------------------------------------------------------------------------------


def test_a_hold_that_still_runs_ends_with_the_conversation():
    """Talk is what remains."""
    assert totals("0 answered a", "4 hold", "10 ended", "11 wrap_up took=1000")["a"] == {
        "QUEUED": 1,
        "ANSWERED": 1,
        "CONVERSATIONS_ENDED": 1,
        "TALKS": 1,
        "TALK_MS": 4_000,
        "WRAP_UPS": 1,
        "WRAP_UP_MS": 1_000,
        "HANDLES": 1,
        "HANDLE_MS": 11_000,
    }


def test_holds_that_make_no_sense_are_anomalies():
    """Each of them is counted by its kind and changes nothing."""
    assert anomalies("0 hold") == {"hold_without_conversation": 1}
    assert anomalies("0 queued a", "1 hold") == {"hold_without_conversation": 1}
    assert anomalies("0 queued a", "1 answered", "2 hold", "3 hold") == {"hold_on_hold": 1}
    assert anomalies("0 resumed") == {"resumed_without_hold": 1}
    assert anomalies("0 queued a", "1 answered", "2 resumed") == {"resumed_without_hold": 1}
    assert anomalies("0 queued a", "1 ended") == {"ended_without_conversation": 1}


def test_a_transfer_ends_the_conversation_when_the_contact_was_queued_again():
    """Its talk runs up to the new wait, and is counted at the new answer."""
    actual = cells("0 queued a", "0 answered", "30 queued b", "50 answered", "60 ended")

    assert actual["a", 50] == {"CONVERSATIONS_ENDED": 1, "TALKS": 1, "TALK_MS": 30_000}
    assert actual["b", 60] == {"CONVERSATIONS_ENDED": 1, "TALKS": 1, "TALK_MS": 10_000}


def test_a_transfer_cuts_the_holds_at_the_new_wait():
    """Held until the other agent answered: only the hold before the new wait counts."""
    actual = totals(
        "0 queued a",
        "0 answered",
        "20 hold",
        "30 queued b",
        "50 answered",
        "51 wrap_up took=1000",
        "51 ended",
    )

    assert actual["a"]["TALK_MS"] == 20_000
    assert actual["a"]["HANDLE_MS"] == 31_000


def test_a_further_answer_with_an_unknown_wait_ends_the_conversation_now():
    """There is no new wait to measure up to."""
    assert totals("0 queued a", "0 answered", "50 answered b")["a"]["TALK_MS"] == 50_000


def test_wrap_up_without_ended_takes_the_talk_back_from_itself():
    """Talk is wrap_up - duration - answered - holds, and is counted at the wrap-up."""
    actual = cells("0 queued a", "2 answered", "10 hold", "20 resumed", "60 wrap_up took=15000")["a", 60]

    assert actual["TALK_MS"] == 33_000
    assert actual["HANDLE_MS"] == 58_000
    assert actual["CONVERSATIONS_ENDED"] == 1


def test_wrap_up_longer_than_the_conversation_leaves_no_talk():
    """The conversation ends no earlier than it began, and its holds are cut."""
    actual = totals("0 queued a", "2 answered", "10 hold", "20 resumed", "60 wrap_up took=59000")["a"]
    part_of_hold = totals("0 queued a", "2 answered", "10 hold", "20 resumed", "60 wrap_up took=45000")["a"]

    assert actual["TALKS"] == 1
    assert "TALK_MS" not in actual
    assert actual["HANDLE_MS"] == 59_000
    assert part_of_hold["TALK_MS"] == 8_000
    assert part_of_hold["HANDLE_MS"] == 58_000


TWO_AGENTS = ("0 answered a agent=ann", "1 answered b agent=bob", "2 answered x agent=ann", "3 answered y")


@pytest.mark.parametrize(
    ("wrap_ups", "queues"),
    [
        (("4 wrap_up took=1 agent=bob",), ["b"]),
        (("4 wrap_up took=1 agent=ann",), ["x"]),
        (("4 wrap_up took=1 agent=ann", "5 wrap_up took=1 agent=ann"), ["a", "x"]),
        (("4 wrap_up took=1",), ["a"]),
        (("4 wrap_up took=1 agent=eve",), ["a"]),
        (
            ("4 wrap_up took=1", "5 wrap_up took=1", "6 wrap_up took=1", "7 wrap_up took=1"),
            ["a", "b", "x", "y"],
        ),
    ],
)
def test_wrap_up_selects_its_conversation(wrap_ups, queues):
    """The newest of its agent; else the oldest that is over; else the one in progress."""
    actual = totals(*TWO_AGENTS, *wrap_ups)

    assert queues == sorted(queue for queue, cell in actual.items() if "WRAP_UPS" in cell)


def test_wrap_up_of_the_agent_in_progress_comes_before_older_ones():
    """Ann is talking again: her wrap-up is about that, although bob's conversation is over and older."""
    actual = totals("0 answered a agent=bob", "1 answered b agent=ann", "9 wrap_up took=2000 agent=ann")

    assert actual["b"]["TALK_MS"] == 6_000
    assert "WRAP_UPS" not in actual["a"]


def test_wrap_up_is_awaited_just_so_long():
    """At ended + wrap_up_wait it still counts, a millisecond later it does not."""
    talked = ("0 answered a", "5 ended")

    assert totals(*talked, "35 wrap_up took=1000")["a"]["WRAP_UPS"] == 1
    assert "WRAP_UPS" not in totals(*talked, "35.001 wrap_up took=1000")["a"]
    assert anomalies(*talked, "35.001 wrap_up took=1000")["wrap_up_without_conversation"] == 1


def test_wrap_up_after_a_transfer_is_awaited_from_the_further_answer():
    """The first conversation ended at 1 by its talk, but at 20 for its wrap-up."""
    transferred = ("0 queued a", "0 answered agent=ann", "1 queued b", "20 answered agent=bob")

    assert "WRAP_UPS" in totals(*transferred, "50 wrap_up took=1000 agent=ann")["a"]
    late = totals(*transferred, "50.001 wrap_up took=1000 agent=ann")
    assert "WRAP_UPS" not in late["a"]
    assert "WRAP_UPS" in late["b"]


# --- ties -----------------------------------------------------------------------------------------------


def permuted(*lines):
    return cells(*lines), cells(*reversed(lines)), cells(*lines[1:], lines[0])


@pytest.mark.parametrize(
    ("lines", "queue", "expected"),
    [
        (("0 queued a", "0 offered", "0 answered"), "a", {"QUEUED": 1, "ANSWERED": 1, "ANSWER_WAITS": 1}),
        (("0 queued a", "9 left a reason=overflow", "9 queued b"), "a", {"QUEUED": 1, "LEFT_OVERFLOW": 1}),
        (("0 queued a", "9 left a reason=timeout", "9 queued b"), "a", {"QUEUED": 1, "LEFT_TIMEOUT": 1}),
        (("9 queued b", "9 left b reason=timeout", "9 left b reason=key"), "b", {"QUEUED": 1, "LEFT_KEY": 1}),
        (("0 queued a", "9 queued b", "9 left reason=timeout"), "b", {"QUEUED": 1, "LEFT_TIMEOUT": 1}),
        (("0 queued a", "9 queued b", "9 answered a"), "a", {"QUEUED": 1, "ANSWERED": 1, "ANSWER_WAITS": 1}),
        (
            ("0 queued a", "9 queued b", "9 abandoned a"),
            "a",
            {"QUEUED": 1, "ABANDONED": 1, "ABANDON_WAITS": 1},
        ),
        (("0 queued a", "9 abandoned", "9 answered"), "a", {"QUEUED": 1, "ANSWERED": 1, "ANSWER_WAITS": 1}),
    ],
)
def test_events_of_the_same_instant_have_one_order(lines, queue, expected):
    """In any order of arrival: ends of what came before, then the new wait, then its end."""
    for actual in permuted(*lines):
        summed = Counter()
        for (of, _), cell in actual.items():
            if of == queue:
                summed.update({name: value for name, value in cell.items() if name in ENDS_AND_BEGINS})

        assert expected == summed


def test_same_instant_events_of_one_kind_are_ordered_by_their_fields():
    """Two queues at once: the one that comes first in the alphabet overflows into the other."""
    assert "LEFT_OVERFLOW" in totals("0 queued b", "0 queued a")["a"]
    assert partition("0 queued b", "0 queued a").story.now() == {"b": (1, 0, 0)}


def test_an_absent_field_comes_first():
    """An answer that names no queue precedes one that does."""
    lines = ("0 queued a", "5 answered z", "5 answered")

    assert totals(*lines)["a"]["ANSWER_WAITS"] == 1
    assert "ANSWER_WAITS" not in totals(*lines)["z"]


# --- duplicates -----------------------------------------------------------------------------------------


def test_an_event_id_counts_once_a_call():
    """The earlier one in the order of the call counts, whatever the second says and whichever came first."""
    lines = ("5 abandoned id=x", "0 queued a id=x")

    assert outcomes(*lines) == ["duplicate", "applied"]
    assert outcomes("0 queued a id=x", "0 queued a id=x call=d") == ["applied", "applied"]


def test_exact_copies_without_an_id_count_once():
    """Equal in every field, after the defaults were filled in."""
    assert outcomes("0 hold", "0 hold") == ["applied", "duplicate"]
    assert outcomes("0 hold", "0 hold channel=voice version=1") == ["applied", "duplicate"]
    assert outcomes("0 hold", "0 hold channel=chat") == ["applied", "applied"]
    assert outcomes("0 hold id=x", "0 hold id=y", "0 hold") == ["applied"] * 3


def test_a_duplicate_changes_nothing():
    """No count, no anomaly, no event."""
    result = partition("0 queued a", "5 abandoned id=x", "6 abandoned id=x", "7 abandoned id=x")

    assert result.duplicate == 2
    assert result.events == {"queued": 1, "abandoned": 1}
    assert not result.story.anomalies


# --- ages and memory ------------------------------------------------------------------------------------


def test_a_visit_expires_at_its_age_once_time_is_past_it():
    """Another call moves the time; at the very limit the visit still waits."""
    assert partition("0 queued a", "100 hold call=d").story.now() == {"a": (1, 0, 0)}
    actual = cells("0 queued a", "100.001 hold call=d")

    assert actual["a", 100]["EXPIRED_WAITING"] == 1


def test_an_end_at_the_very_limit_counts_and_one_after_it_finds_nothing():
    """The limit belongs to the visit."""
    assert totals("0 queued a", "100 answered")["a"]["ANSWER_WAIT_MS"] == 100_000
    after = totals("0 queued a", "100.001 answered a")["a"]
    assert (after["QUEUED"], after["EXPIRED_WAITING"], after["ANSWERED"]) == (2, 1, 1)
    assert "ANSWER_WAITS" not in after


def test_a_conversation_expires_without_talk_and_awaits_no_wrap_up():
    """It counts as ended and as expired, 100 s after the answer."""
    actual = cells("0 queued a", "10 answered", "111 wrap_up took=1000")

    assert actual["a", 110] == {"EXPIRED_TALKING": 1, "CONVERSATIONS_ENDED": 1}


def test_an_offer_expires_uncounted():
    """At its age it can still be used, after it not."""
    assert totals("0 offered a", "100 answered")["a"]["ANSWER_WAIT_MS"] == 100_000
    assert totals("0 offered a", "100.001 answered")["unrouted"] == {"QUEUED": 1, "ANSWERED": 1}


@pytest.mark.parametrize(
    ("life", "forgotten_after"),
    [
        (("0 blocked reason=busy id=x",), 10),
        (("0 blocked reason=busy id=x", "4 hold"), 14),
        (("0 blocked reason=busy id=x", "4 hold id=x"), 14),  # also a duplicate is an event
        (("0 offered a id=x",), 110),
        (("0 queued a id=x",), 110),
        (("0 queued a id=x", "7 abandoned"), 17),
        (("0 queued a id=x", "7 answered"), 117),
        (("0 queued a id=x", "7 answered", "8 ended"), 48),
        (("0 queued a id=x", "7 answered", "8 ended", "9 wrap_up took=1"), 19),
        (("0 queued a id=x", "7 answered", "8 ended", "30 hold"), 48),
        (("0 queued a id=x", "7 answered", "8 ended", "38 hold"), 48),
    ],
)
def test_a_call_is_forgotten_when_it_has_rested_for_the_grace(life, forgotten_after):
    """Its event ids are taken up to that moment, and free a millisecond later."""
    remembered = outcomes(*life, f"{forgotten_after} resumed id=x")
    forgotten = outcomes(*life, f"{forgotten_after + 0.001} resumed id=x")

    assert remembered[-1] == "duplicate"
    assert forgotten[-1] == "applied"


def test_a_forgotten_call_may_be_offered_again():
    """The same call id, another contact."""
    assert totals("0 offered a", "1 ended", "11.001 offered a")["a"]["OFFERED"] == 2
    assert totals("0 offered a", "1 ended", "11 offered a")["a"]["OFFERED"] == 1


# --- late events ----------------------------------------------------------------------------------------


def test_late_is_more_than_the_grace_behind():
    """Exactly the grace behind is on time. A late event moves no clock."""
    lines = ("20 hold call=d", "10 hold", "9.999 hold", "30 hold call=d", "19.999 hold")

    assert outcomes(*lines) == ["applied", "applied", "late", "applied", "late"]


@pytest.mark.parametrize(
    ("late", "expired"),
    [
        ("1 answered", 1),
        ("1 answered a", 1),
        ("1 answered b", 0),
        ("1 abandoned", 1),
        ("1 left reason=key", 1),
        ("1 left b reason=key", 0),
        ("1 queued b", 1),
        ("1 queued a", 0),
        ("1 ended", 0),
        ("1 wrap_up took=1", 0),
        ("1 blocked reason=busy", 0),
        ("1 hold", 0),
        ("1 offered", 0),
    ],
)
def test_a_late_event_ends_a_wait_as_expired_at_the_stream_time(late, expired):
    """It counts as late and nothing else; nobody stays waiting for ever."""
    lines = ("0 queued a", "50 hold call=d", late)
    result = partition(*lines)

    assert result.outcomes[-1] == "late"
    assert cells(*lines).get(("a", 50), {}).get("EXPIRED_WAITING", 0) == expired
    assert result.story.now().get("a", (0, 0, None))[0] == 1 - expired


@pytest.mark.parametrize(("late", "expired"), [("1 ended", 1), ("1 wrap_up took=1", 1), ("1 answered", 0)])
def test_a_late_event_ends_a_conversation_as_expired(late, expired):
    """Its talk is unknown, and no wrap-up is awaited."""
    lines = ("0 queued a", "0 answered", "50 hold call=d", late)
    actual = totals(*lines, "50 wrap_up took=1")["a"]

    assert cells(*lines).get(("a", 50), {}).get("EXPIRED_TALKING", 0) == expired
    assert partition(*lines).story.now() == ({} if expired else {"a": (0, 1, None)})
    assert ("WRAP_UPS" in actual) is not expired or "TALKS" in actual


def test_a_late_event_for_an_unknown_call_does_nothing():
    """It is only counted as late, and begins nothing."""
    result = partition("50 hold call=d", "1 queued a", "2 answered", "3 offered")

    assert result.late == 3
    assert not result.story.cells


def test_a_late_end_comes_after_all_else_of_its_instant():
    """An answer at the stream time that arrives after the late event still finds the visit."""
    actual = totals("0 queued a", "50 hold call=d", "1 abandoned", "50 answered")["a"]

    assert actual["ANSWER_WAIT_MS"] == 50_000
    assert "EXPIRED_WAITING" not in actual


def test_a_late_end_yields_to_an_earlier_one_that_arrives_after_it():
    """The answer was on time; so the visit was over when the late event came."""
    actual = totals("0 queued a", "50 hold call=d", "1 abandoned", "45 answered")["a"]

    assert actual["ANSWERED"] == 1
    assert "EXPIRED_WAITING" not in actual


def test_a_late_end_keeps_the_call_in_mind_for_the_grace():
    """The call rests from the stream time on, not from its last event."""
    closed = ("0 queued a id=x", "50 hold call=d", "1 abandoned")

    assert outcomes(*closed, "60 resumed id=x")[-1] == "duplicate"
    assert outcomes(*closed, "60.001 resumed id=x")[-1] == "applied"


# --- records that are no events -------------------------------------------------------------------------


def test_rejected_records_move_no_clock():
    """Neither broken bytes, nor a missing or wrong key, nor an event from the future."""
    event = {"type": "hold", "call_id": "c", "at": 100_000}
    value = json.dumps(event).encode()
    log = [
        Rec(0, None, b"c", b"{"),
        Rec(1, None, b"c", b"[]"),
        Rec(2, None, b"c", json.dumps(event | {"type": "queued"}).encode()),
        Rec(3, None, None, value),
        Rec(4, None, b"d", value),
        Rec(5, 94_999, b"c", value),
        Rec(6, 0, b"c", json.dumps(event | {"at": 5_000}).encode()),
        Rec(7, -1, b"c", value),
        Rec(8, None, b"c", json.dumps(event | {"at": "1970-01-01T01:01:30.5+01:00"}).encode()),
    ]
    result = oracle.recompute_partition(log, RULES)

    assert result.outcomes == ["bad"] * 3 + [
        "no_key",
        "key_mismatch",
        "future",
        "applied",
        "applied",
        "applied",
    ]
    assert result.stream_time == 100_000


# --- what is shown --------------------------------------------------------------------------------------


def test_partitions_are_added_and_know_nothing_of_each_other():
    """The same call id in two partitions is two calls; the longest wait is the longer one."""
    one, two = log_of("0 queued a", "3 answered"), log_of("0 queued a", "4 answered", "90 hold")
    result = oracle.recompute([one, two], RULES)

    assert result.cells["a", 0][f.QUEUED] == 2
    assert result.cells["a", 0][f.LONGEST_WAIT_MS] == 4_000
    assert result.story.now() == {"a": (0, 2, None)}
    assert [each.stream_time for each in result.partitions] == [3_000, 90_000]


def test_windows_are_half_open_and_made_of_whole_buckets():
    """The bucket of now and as many before it as fill the length."""
    found = partition(
        "0 queued a", "4.999 queued b call=b", "5 queued a call=d", "9 queued a call=e"
    ).story.cells

    assert oracle.sum_between(found, "a", 0, 5_000) == {f.QUEUED: 1}
    assert oracle.rolling(found, "a", 9_999, 5_000) == {f.QUEUED: 2}
    assert oracle.rolling(found, "a", 9_999, 10_000) == {f.QUEUED: 3}
    assert oracle.waiting_past_target(found, "a", 24_000) == 1
    assert oracle.waiting_past_target(found, "a", 25_000) == 3


def test_histograms_include_their_bound():
    """An observation equal to the bound lies below it."""
    assert oracle.histogram([0, 5, 6, 10, 11], (5, 10)) == [2, 2, 1]


AMSTERDAM, KATHMANDU = ZoneInfo("Europe/Amsterdam"), ZoneInfo("Asia/Kathmandu")
HOUR_MS = 3_600_000
MARCH_31 = 1_711_839_600_000  # 2024-03-31 00:00 in Amsterdam; clocks go forward that night
OCTOBER_27 = 1_729_980_000_000  # 2024-10-27 00:00 in Amsterdam; clocks go back that night


def test_days_are_local_and_as_long_as_the_clocks_make_them():
    """23 hours in spring, 25 in autumn."""
    assert oracle.day_of(MARCH_31 + 12 * HOUR_MS, AMSTERDAM) == (MARCH_31, MARCH_31 + 23 * HOUR_MS)
    assert oracle.day_of(OCTOBER_27 + 24 * HOUR_MS, AMSTERDAM) == (OCTOBER_27, OCTOBER_27 + 25 * HOUR_MS)


def test_intervals_follow_the_local_clock():
    """Kathmandu is 5:45 ahead: its half-hours start a quarter past those of UTC."""
    assert oracle.interval_of(0, 30, KATHMANDU) == (0, 1_800_000)  # 05:30, before the zone moved to 5:45
    assert oracle.interval_of(MARCH_31, 30, KATHMANDU) == (MARCH_31 - 900_000, MARCH_31 + 900_000)
    assert oracle.interval_of(MARCH_31, 15, KATHMANDU) == (MARCH_31, MARCH_31 + 900_000)
    assert oracle.interval_of(OCTOBER_27 + 3 * HOUR_MS, 30, AMSTERDAM)[0] == OCTOBER_27 + 3 * HOUR_MS


def test_the_hour_that_comes_twice_is_two_hours():
    """Both 02:00 o'clocks have their own intervals."""
    log = [
        Rec(
            number,
            None,
            b"c",
            json.dumps({"type": "queued", "call_id": "c", "at": at, "queue": "a"}).encode(),
        )
        for number, at in enumerate((OCTOBER_27 + 2 * HOUR_MS, OCTOBER_27 + 3 * HOUR_MS))
    ]
    rolled = oracle.roll_up(oracle.recompute([log], RULES).cells, 30, AMSTERDAM)

    assert [(key[1] - OCTOBER_27, cell[f.QUEUED]) for key, cell in rolled.items() if f.QUEUED in cell] == [
        (2 * HOUR_MS, 1),
        (3 * HOUR_MS, 1),
    ]


def test_a_ratio_of_nothing_is_absent():
    """Never 0, never 1."""
    values = oracle.kpis({f.OFFERED: 3})

    assert values["offered"] == 3
    assert values["queued"] == 0
    for name in (
        "service_level",
        "abandonment",
        "answer_speed_s",
        "abandon_time_s",
        "longest_wait_s",
        "talk_s",
    ):
        assert values[name] is None


def test_kpis_of_a_few_calls_are_those_on_paper():
    """Two answered (one late), one abandoned, one left: 1/3 in service level, 1/4 abandoned."""
    found = partition(
        "0 queued a call=k",
        "10 answered call=k",
        "11 queued a call=l",
        "41 answered call=l",
        "42 queued a call=m",
        "72 abandoned call=m",
        "73 queued a call=n",
        "74 left reason=key call=n",
        "75 ended call=l",
    ).story.cells
    values = oracle.kpis(oracle.totals(found)["a"])

    assert values["service_level"] == 1 / 3
    assert values["abandonment"] == 1 / 4
    assert values["answer_speed_s"] == 20.0
    assert values["abandon_time_s"] == 30.0
    assert values["longest_wait_s"] == 30.0
    assert values["talk_s"] == 34.0


def test_by_arrival_everything_of_a_visit_counts_where_it_was_queued():
    """The answer, its wait and the talk move to the bucket of the visit's begin."""
    actual = cells("0 queued a", "30 answered", "60 ended", rules=replace(RULES, by_arrival=True))

    assert set(actual) == {("a", 0)}
    assert actual["a", 0]["TALK_MS"] == 30_000
