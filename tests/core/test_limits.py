"""The bounds of a partition's state: one below, at, and one above; and memory that stays flat whatever comes."""

import os
import sys
from dataclasses import replace
from datetime import UTC
from types import GetSetDescriptorType, MemberDescriptorType

import pytest

from schemas import encode
from schemas.structs import Answered, Blocked, Hold, Queued, Resumed
from stream.core import fields as f
from stream.core.board import BoardShard
from stream.core.calls import CallsStage
from stream.core.limits import CALL_EVENTS_MAX, CALLS_MAX
from stream.core.rules import BoardRules, Clock, FoldRules
from tests.core.named import RULES, folded, outcomes, totals
from tests.oracle import Rec, log_of, recompute_partition

# How much comes in the tests of memory; BOUNDS_EVENTS=1000000 is the full run.
FEW = 8_000
EVENTS = int(os.environ.get("BOUNDS_EVENTS") or FEW)
FEW_EVENTS = replace(RULES, call_events_max=4)
FEW_CALLS = replace(RULES, calls_max=2)
WAITING = (f.QUEUED, f.EXPIRED_WAITING)


def test_the_bounds_are_those_that_are_documented():
    """Nobody configures them."""
    assert (FoldRules().call_events_max, FoldRules().calls_max) == (CALL_EVENTS_MAX, CALLS_MAX)


# --- events of a call -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holds", "rejected", "ended"),
    [(1, {}, {}), (2, {}, {"EXPIRED_TALKING": 1}), (3, {"call_too_long": 1}, {"EXPIRED_TALKING": 1})],
)
def test_a_call_is_cut_off_with_the_last_event_that_it_may_have(holds, rejected, ended):
    """One below it goes on; at the bound what is open ends; one above is rejected."""
    stage = folded(
        "0 queued a", "1 answered", *[f"{2 + number} hold" for number in range(holds)], rules=FEW_EVENTS
    )

    assert stage.tally().rejected == rejected
    assert totals(stage, "a", [f.EXPIRED_TALKING]) == ended
    assert stage.now()["a"][1] == (0 if ended else 1)


def test_what_waits_ends_as_expired_when_its_call_is_cut_off():
    """At the stream's time of that moment, also when the event that fills the call is an old one."""
    stage = folded(
        "0 queued a", "30 queued a", "40 queued b call=other", "31 queued a", "35 hold", rules=FEW_EVENTS
    )

    assert totals(stage, "a", WAITING) == {"QUEUED": 1, "EXPIRED_WAITING": 1}
    assert stage.cells()["a", 40_000][f.EXPIRED_WAITING] == 1
    assert stage.now()["a"] == (0, 0, None)


def test_an_open_offer_of_a_call_that_is_cut_off_holds_nothing_back():
    """What is final goes on."""
    rules = replace(RULES, call_events_max=2)
    stage = folded(
        "0 offered a", "1 left reason=key", "60 queued a call=other", "90 queued a call=another", rules=rules
    )

    assert stage.book.offers == {}
    assert stage.final_before_ms() == 80_000


def test_duplicates_and_what_late_events_closed_fill_a_call_too():
    """Everything that is kept counts, whatever it was good for."""
    copies = folded(*["0 queued a id=x"] * 5, rules=FEW_EVENTS)
    late = ["0 queued a", "1 answered", "50 queued b call=other", "20 ended"]
    closed = folded(*late, "51 hold", "52 hold", rules=FEW_EVENTS)

    assert outcomes(copies) == {"applied": 1, "duplicate": 3, "call_too_long": 1}
    assert closed.tally().rejected == {"call_too_long": 1}


def test_an_id_that_was_cut_off_is_free_again_after_the_age_of_a_call():
    """In stream time; to the millisecond; whoever comes before is rejected, and moves the clock."""
    full = [f"{number} hold" for number in range(4)]  # cut off at 3 s
    still = folded(*full, "103 queued a", rules=FEW_EVENTS)
    free = folded(*full, "103.001 queued a", rules=FEW_EVENTS)

    assert still.tally().rejected == {"call_too_long": 1}
    assert still.stream_time_ms == 103_000
    assert free.tally().rejected == {}
    assert totals(free, "a", [f.QUEUED]) == {"QUEUED": 1}


def test_a_late_event_of_a_call_that_was_cut_off_is_late():
    """It has nothing to end."""
    stage = folded("0 hold", "1 hold", "2 hold", "3 hold", "30 hold call=other", "4 ended", rules=FEW_EVENTS)

    assert (stage.tally().late, stage.tally().rejected) == (1, {})


# --- calls of a partition ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "rejected"), [(1, 0), (2, 0), (3, 1)])
def test_a_partition_holds_as_many_calls_as_the_bound(count, rejected):
    """The call that is one too many is rejected with all its events; calls that are held go on."""
    begun = [f"{number} queued a call=k{number}" for number in range(count)]
    stage = folded(*begun, "9 answered call=k0", rules=FEW_CALLS)

    assert stage.tally().rejected.get("too_many_calls", 0) == rejected
    assert totals(stage, "a", [f.QUEUED, f.ANSWERED]) == {"QUEUED": count - rejected, "ANSWERED": 1}


def test_what_is_rejected_moves_the_clock_so_that_there_is_room_again():
    """Otherwise calls that never end would lock out all others for ever."""
    lines = ["0 queued a call=k0", "1 queued a call=k1", "299 queued a call=k2", "300 queued a call=k3"]
    stage = folded(*lines, rules=FEW_CALLS)

    assert stage.tally().rejected == {"too_many_calls": 1}
    assert totals(stage, "a", WAITING) == {"QUEUED": 3, "EXPIRED_WAITING": 2}


def test_a_call_that_was_cut_off_takes_the_room_of_one():
    """Ids that are kept are bounded too."""
    rules = replace(RULES, calls_max=2, call_events_max=2)
    lines = [
        "0 hold call=k0",
        "1 hold call=k0",
        "2 hold call=k1",
        "3 hold call=k2",
        "4 hold call=k1",
        "5 hold call=k3",
    ]
    stage = folded(*lines, rules=rules)

    assert stage.tally().rejected == {"too_many_calls": 2}


def test_a_rejected_call_begins_no_queue():
    """A name that only a rejected event has is nowhere."""
    stage = folded("0 queued a call=k0", "1 queued a call=k1", "2 queued new call=k2", rules=FEW_CALLS)

    assert set(stage.book.ledgers) == {"a"}


def test_a_late_event_of_an_unknown_call_needs_no_room():
    """It is late, as ever."""
    stage = folded("0 hold call=k0", "30 hold call=k1", "5 hold call=k2", rules=FEW_CALLS)

    assert (stage.tally().late, stage.tally().rejected) == (1, {})


# --- memory -----------------------------------------------------------------------------------------------------------


def weight(thing, seen=None):
    """Return the bytes of everything that can be reached from a state, shared things once."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type):
        return 0
    seen.add(id(thing))
    total = sys.getsizeof(thing)
    if isinstance(thing, dict):
        parts = [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        parts = list(thing)
    else:
        kind = type(thing)
        # the attributes of a compiled class, and the slots of any other, are descriptors of its type
        descriptors = vars(kind).items() if kind.__module__.startswith("stream.") else ()
        slots = [
            name for name, of in descriptors if isinstance(of, MemberDescriptorType | GetSetDescriptorType)
        ]
        names = (*getattr(thing, "__struct_fields__", ()), *slots)
        parts = [getattr(thing, name, None) for name in names] + [getattr(thing, "__dict__", None)]
    return total + sum(weight(part, seen) for part in parts)


def records(events, first=0):
    return [
        Rec(offset, event.at, event.call_id.encode(), encode(event))
        for offset, event in enumerate(events, first)
    ]


def weights(make, rules, events=EVENTS):
    """Fold as much as wanted, publishing as a worker does, and weigh both stages after each quarter of it."""
    stage, board = CallsStage(0, rules), BoardShard(0, board_rules(rules))
    found, sent = [], 0
    for quarter in range(4):
        for start in range(quarter * events // 4, (quarter + 1) * events // 4, 1_000):
            numbers = range(start, min(start + 1_000, (quarter + 1) * events // 4))
            stage.fold(records(map(make, numbers), start))
            publications = stage.publish(stage.stream_time_ms, caught_up=True)
            board.fold([Rec(sent + number, None, b"0", data) for number, data in enumerate(publications)])
            sent += len(publications)
            board.take_closed()
        found.append((weight(stage), len(stage.dump()), weight(board)))
    return found


def board_rules(rules):
    """Show a short window only: what the board holds for the sake of time is full before the first weighing."""
    rolling = (("1m", 60_000),)
    return BoardRules(
        time_zone=UTC, source_partitions=1, rolling=rolling, shards=1, fold=rules, clock=Clock.STREAM
    )


SMALL = FoldRules(
    grace_ms=10_000, call_age_max_ms=60_000, shards=1, queues_max=20, calls_max=500, call_events_max=50
)
BEGIN_MS = 1_772_409_600_000
STEP_MS = (
    300  # a quarter of the events is a whole number of sweeps, so that all are weighed in the same phase
)

FLOODS = {
    "a queue of its own for every call": lambda n: Blocked(
        call_id=f"c{n}", at=BEGIN_MS + n * STEP_MS, queue=f"queue-{n}", reason="busy"
    ),
    "a waiting call that never ends, in a queue of its own": lambda n: Queued(
        call_id=f"c{n}", at=BEGIN_MS + n * STEP_MS, queue=f"queue-{n}"
    ),
    "a conversation that never ends, each": lambda n: Answered(
        call_id=f"c{n}", at=BEGIN_MS + n * STEP_MS, queue="a", agent=f"agent-{n}"
    ),
    "one call that goes through queues for ever": lambda n: Queued(
        call_id="c", at=BEGIN_MS + n * STEP_MS, queue=f"queue-{n}"
    ),
    "one call on hold for ever": lambda n: (Hold, Resumed)[n % 2](call_id="c", at=BEGIN_MS + n * STEP_MS),
    "one call with an id for every event": lambda n: Hold(
        call_id="c", at=BEGIN_MS + n * STEP_MS, event_id=f"id-{n}"
    ),
    "calls without end that never move the clock": lambda n: Queued(
        call_id=f"c{n}", at=BEGIN_MS, queue=f"queue-{n}"
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_memory_stays_flat_whatever_comes(flood):
    """The last quarter of a flood adds nothing to what the second had made of it, in either stage or saved."""
    _, *later = weights(FLOODS[flood], SMALL)

    for sizes in zip(*later, strict=True):
        assert max(sizes) < 1.25 * sizes[0] + 50_000, f"{flood}: {later}"


def test_without_bounds_the_same_measure_grows():
    """The test above can fail."""
    unbounded = replace(SMALL, calls_max=10**9, call_events_max=10**9, queues_max=10**9)
    _, second, _, last = weights(FLOODS["calls without end that never move the clock"], unbounded, FEW)

    assert all(after > 1.5 * before for before, after in zip(second, last, strict=True))


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_bounds_hold_over_a_restart_at_any_moment():
    """What was cut off stays so, and as many calls fit as before."""
    rules = replace(RULES, calls_max=3, call_events_max=3)
    lines = [
        f"{n * 7} {kind} call=k{n % 5}"
        for n, kind in enumerate(["hold", "queued a", "answered", "ended"] * 12)
    ]
    log = log_of(*lines)
    whole = CallsStage(0, rules)
    whole.fold(log)
    assert {"call_too_long", "too_many_calls"} <= set(whole.tally().rejected)
    for cut in range(len(log)):
        stage = CallsStage(0, rules)
        stage.fold(log[:cut])
        stage = CallsStage.load(stage.dump(), 0, rules)
        stage.fold(log[cut:])

        assert stage.dump() == whole.dump()


def test_the_oracle_knows_the_bounds():
    """A worked example of both, so that the comparison over random logs is of something."""
    rules = replace(RULES, calls_max=2, call_events_max=2)
    log = log_of(*["0 hold call=a", "1 hold call=a", "2 hold call=a", "3 hold call=b", "4 hold call=c"])

    outcomes = recompute_partition(log, rules).outcomes

    assert outcomes == ["applied", "applied", "call_too_long", "applied", "too_many_calls"]
