"""The course of events of a whole run."""

import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import islice

import pytest

from schemas import decode, encode
from stream.simulate import (
    Centre,
    Disorder,
    DisturbanceError,
    QueueModel,
    default_centre,
    parse_disturbance,
    seconds,
    simulate,
)
from stream.simulate.model import believable_queue
from stream.simulate.run import Run

MONDAY_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z
HOUR_MS = 3_600_000
SEED = 7

# Everything that can happen, often: every queue is short of something.
EVENTFUL = Centre(
    queues=(
        replace(
            believable_queue("sales", 60, 200, 40, -0.6),
            callback_after_ms=30_000,
            callback_probability=0.5,
            callback_delay=seconds(600),
            overflow_after_ms=45_000,
            overflow_to="support",
            hold_probability=0.5,
            opening=(8 * 60, 18 * 60),
        ),
        replace(
            believable_queue("support", 60, 200, 40, -0.6),
            transfer_probability=0.3,
            transfer_to=("sales", "vip"),
            capacity=8,
            timeout_after_ms=120_000,
        ),
        replace(believable_queue("vip", 6, 200, 40, 0.0), join_empty=False),
    ),
    trunks=26,
)
EVENTFUL_DISTURBANCES = (
    parse_disturbance("outage vip 11:00 1h"),
    parse_disturbance("surge sales 12:00 1h 3"),
)

# Section "Order within one call" of docs/counting.md; a wrap-up may come at any time after its conversation.
RANKS = (
    *("offered", "left for overflow", "queued", "blocked", "answered", "hold", "resumed"),
    *("abandoned", "left", "ended"),
)


def eventful(seed=SEED, **limits):
    limits = limits or {"duration_ms": 24 * HOUR_MS}
    return simulate(EVENTFUL, seed=seed, start_ms=MONDAY_MS, disturbances=EVENTFUL_DISTURBANCES, **limits)


def events_of(emissions):
    return [emission.event for emission in emissions]


def by_call(events):
    calls = defaultdict(list)
    for event in events:
        calls[event.call_id].append(event)
    return calls


def test_a_day_of_the_eventful_centre_contains_every_type_and_reason():
    """The tests below speak about everything that the model can do."""
    seen = {(event.type, event.reason) for event in events_of(eventful())}

    expected = {
        *(
            (kind, None)
            for kind in ("offered", "queued", "answered", "abandoned", "hold", "resumed", "wrap_up")
        ),
        *(("left", reason) for reason in ("overflow", "timeout", "callback", "empty")),
        *(("blocked", reason) for reason in ("busy", "full", "closed", "no_agents")),
        *(("ended", reason) for reason in ("customer", "transfer", "menu")),
    }
    assert seen == expected


def test_every_event_survives_encoding_and_decoding():
    """What is simulated is valid under the public contract."""
    for event in events_of(eventful()):
        assert decode(encode(event)) == event


def test_events_come_in_order_of_time():
    """Without disorder an event is sent when it happens, and time never goes back."""
    emissions = list(eventful())

    assert all(emission.emit_at_ms == emission.event.at for emission in emissions)
    assert emissions == sorted(emissions, key=lambda emission: emission.emit_at_ms)


FOLLOWERS = {
    "": {"offered"},
    "offered": {"queued", "blocked", "ended"},
    "queued": {"answered", "abandoned", "left"},
    "answered": {"hold", "ended"},
    "hold": {"resumed", "ended"},
    "resumed": {"ended"},
    "left": {"queued"},
    "ended": {"queued", "blocked"},
    "abandoned": set(),
    "blocked": set(),
}


def test_every_call_goes_through_a_legal_order_of_events():
    """Offered before queued before answered, and nothing after the end but a wrap-up or a transfer."""
    for story in by_call(events_of(eventful())).values():
        before = ""
        for event in story:
            if event.type == "wrap_up":
                continue
            assert event.type in FOLLOWERS[before], story
            before = event.type
        assert before in {"ended", "abandoned", "left", "blocked"}, story


def test_only_an_overflow_and_a_transfer_go_on():
    """A visit follows `left` only for overflow, and `ended` only for a transfer."""
    for story in by_call(events_of(eventful())).values():
        steps = [event for event in story if event.type != "wrap_up"]
        for event, follower in zip(steps, [*steps[1:], None], strict=True):
            if event.type in ("left", "ended"):
                assert (event.reason in ("overflow", "transfer")) == (follower is not None)


def test_a_visit_ends_in_the_queue_in_which_it_began():
    """The queue on `answered`, `abandoned` and `left` is that of the `queued` before."""
    for story in by_call(events_of(eventful())).values():
        queue = None
        for event in story:
            if event.type == "queued":
                queue = event.queue
            elif event.type in ("answered", "abandoned", "left"):
                assert event.queue == queue


def test_sorting_by_the_rules_of_counting_keeps_the_order():
    """No meaning hangs on the order of events in one instant: a reader who sorts gets the same story."""

    def rank(event):
        return event.at, RANKS.index("left for overflow" if event.reason == "overflow" else event.type)

    for story in by_call(events_of(eventful())).values():
        steps = [event for event in story if event.type != "wrap_up"]
        assert sorted(steps, key=rank) == steps


def test_every_wrap_up_belongs_to_a_conversation_of_its_agent():
    """It ends as long after `ended` as it took, and names the agent who answered."""
    for story in by_call(events_of(eventful())).values():
        conversations = Counter()
        for begin, end in zip(
            [event for event in story if event.type == "answered"],
            [event for event in story if event.type == "ended" and event.reason != "menu"],
            strict=True,
        ):
            conversations[begin.agent, end.at] += 1
        wrap_ups = [event for event in story if event.type == "wrap_up"]
        assert Counter((event.agent, event.at - event.duration_ms) for event in wrap_ups) == conversations


def test_an_agent_does_one_thing_at_a_time():
    """From the answer to the end of the wrap-up an agent takes no other contact."""
    busy = {}
    for event in events_of(eventful()):
        if event.type == "answered":
            assert event.agent not in busy
            busy[event.agent] = event.call_id
        elif event.type == "wrap_up":
            assert busy.pop(event.agent) == event.call_id

    assert busy == {}


def test_nobody_overtakes_in_a_queue():
    """First come, first served: answers in a queue are in the order of the visits."""
    entered, answered = defaultdict(list), defaultdict(list)
    begin = {}
    for event in events_of(eventful()):
        if event.type == "queued":
            begin[event.call_id] = (event.at, len(entered[event.queue]))
            entered[event.queue].append(event.call_id)
        elif event.type == "answered":
            answered[event.queue].append(begin[event.call_id])

    assert all(turns == sorted(turns) for turns in answered.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_when_drained_every_visit_has_ended(seed):
    """Per queue: queued = answered + abandoned + left, and answered = ended outside the menu in all."""
    counts = Counter((event.type, event.queue) for event in events_of(eventful(seed)))
    total = Counter((event.type, event.reason) for event in events_of(eventful(seed)))

    for queue in ("sales", "support", "vip"):
        ends = sum(counts[kind, queue] for kind in ("answered", "abandoned", "left"))
        assert counts["queued", queue] == ends
    ended = total["ended", "customer"] + total["ended", "transfer"]
    assert total["answered", None] == ended == total["wrap_up", None]


def test_a_run_that_is_not_drained_stops_dead():
    """Nothing happens at or after the end, and somebody is left in the middle of something."""
    end_ms = MONDAY_MS + 13 * HOUR_MS
    dead = events_of(eventful(duration_ms=13 * HOUR_MS, drain=False))
    drained = events_of(eventful(duration_ms=13 * HOUR_MS))

    assert dead == [event for event in drained if event.at < end_ms]
    assert len(dead) < len(drained)


def test_a_number_of_calls_is_kept_exactly():
    """`calls` counts contacts offered, call-backs among them."""
    offered = [event for event in events_of(eventful(calls=1_000)) if event.type == "offered"]

    assert len(offered) == 1_000
    assert len({event.call_id for event in offered}) == 1_000


def test_no_calls_are_no_events():
    """Zero is a number of calls too."""
    assert list(eventful(calls=0)) == []


def test_without_limits_a_run_goes_on():
    """The stream is lazy: asking for some events of an endless run is enough."""
    endless = simulate(default_centre(), seed=SEED, start_ms=MONDAY_MS)

    assert len(list(islice(endless, 20_000))) == 20_000


def test_customers_whom_nobody_will_ever_answer_are_sent_away_in_the_end():
    """A drained run ends, even with endless patience and no agents."""
    queue = QueueModel(name="q", arrivals=(60.0,), agents=(0,), talk=seconds(60))
    events = events_of(simulate(Centre(queues=(queue,)), seed=SEED, start_ms=0, duration_ms=HOUR_MS))
    counts = Counter((event.type, event.reason) for event in events)

    assert counts["left", "other"] == counts["queued", None] > 0


def test_a_centre_that_nobody_calls_is_silent():
    """Rates of 0 end the run instead of looking for an arrival for ever."""
    queue = QueueModel(name="q", arrivals=(0.0,), agents=(1,), talk=seconds(60))

    assert list(simulate(Centre(queues=(queue,)), seed=SEED, start_ms=0)) == []


def test_memory_is_in_proportion_to_the_contacts_present():
    """What the simulation holds on its tenth day is no more than on its second."""
    run = Run(EVENTFUL, seed=SEED, start_ms=0, end_ms=None, calls=None, disturbances=(), drain=True)
    peaks = [0] * 10
    for emission in run.emissions():
        day = emission.emit_at_ms // (24 * HOUR_MS)
        if day >= len(peaks):
            break
        held = len(run._heap) + sum(len(pool.waiting) for pool in run._pools.values())
        peaks[day] = max(peaks[day], held)

    assert max(peaks[2:]) < 1.5 * max(peaks[:2])
    assert max(peaks) < 250  # 26 trunks, each with a few things planned; 20 000 calls went by


def digest_command():
    return (
        "import hashlib, sys\n"
        "from schemas import encode\n"
        "from stream.simulate import *\n"
        "digest = hashlib.sha256()\n"
        "disorder = Disorder(delay_ms_max=60_000, duplicate_probability=0.02)\n"
        f"run = simulate(default_centre(), seed=7, start_ms={MONDAY_MS}, calls=2_000, disorder=disorder)\n"
        "for emission in run:\n"
        "    digest.update(b'%d ' % emission.emit_at_ms + encode(emission.event))\n"
        "print(digest.hexdigest())\n"
    )


def test_the_same_seed_gives_the_same_bytes_in_every_process():
    """Also with another PYTHONHASHSEED: no order hangs on the hash of a text."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", digest_command()],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1", "4242")
    }

    assert len(digests) == 1


def test_another_seed_gives_other_events():
    """The seed matters, and it is part of every call id."""
    one, two = events_of(eventful(1, calls=50)), events_of(eventful(2, calls=50))

    assert [event.at for event in one] != [event.at for event in two]
    assert not {event.call_id for event in one} & {event.call_id for event in two}


def test_a_second_run_uses_other_call_ids():
    """The same seed at another start does not continue the calls of the first run."""
    one = simulate(default_centre(), seed=SEED, start_ms=MONDAY_MS, calls=10)
    two = simulate(default_centre(), seed=SEED, start_ms=MONDAY_MS + 1_000, calls=10)

    assert not {event.call_id for event in events_of(one)} & {event.call_id for event in events_of(two)}


def offered_between(events, queue, from_hour, until_hour):
    from_ms, until_ms = MONDAY_MS + from_hour * HOUR_MS, MONDAY_MS + until_hour * HOUR_MS
    return [
        event.at
        for event in events
        if event.type == "offered" and event.queue == queue and from_ms <= event.at < until_ms
    ]


def default_day(*disturbances, callbacks=True):
    parsed = [parse_disturbance(text) for text in disturbances]
    centre = default_centre()
    if not callbacks:
        queues = tuple(replace(queue, callback_probability=0.0) for queue in centre.queues)
        centre = replace(centre, queues=queues)
    return events_of(
        simulate(centre, seed=SEED, start_ms=MONDAY_MS, duration_ms=24 * HOUR_MS, disturbances=parsed)
    )


def abandoned(events, queue):
    """Count who gave up between 10:00 and 12:00."""
    hours = range(MONDAY_MS + 10 * HOUR_MS, MONDAY_MS + 12 * HOUR_MS)
    return sum(event.type == "abandoned" and event.queue == queue and event.at in hours for event in events)


def test_a_shortage_of_staff_meets_the_same_callers_and_loses_more_of_them():
    """With 40 % of the agents sales loses several times as many; who calls, and other queues, stay the same.

    Without call-backs: those are calls that follow from waiting.
    """
    calm = default_day(callbacks=False)
    short = default_day("staff_shortage sales 10:00 2h 0.4", callbacks=False)

    assert offered_between(calm, "sales", 0, 24) == offered_between(short, "sales", 0, 24)
    assert abandoned(short, "sales") > 3 * abandoned(calm, "sales") > 0
    assert abandoned(short, "priority") == abandoned(calm, "priority")


def test_nobody_answers_during_an_outage():
    """Conversations go on to their end, and no new one begins in any queue."""
    answers = [
        event.at - MONDAY_MS for event in default_day("outage all 10:00 30m") if event.type == "answered"
    ]
    half_hours = Counter(at_ms // (HOUR_MS // 2) for at_ms in answers)

    assert half_hours[20] == 0
    assert min(half_hours[19], half_hours[21]) > 100


def test_a_surge_multiplies_the_arrivals_of_its_interval():
    """Three times the calls of an hour, give or take four standard deviations of the two counts."""
    calm = len(offered_between(default_day(), "support", 10, 11))
    surge = len(offered_between(default_day("surge support 10:00 1h 3"), "support", 10, 11))

    assert abs(surge - 3 * calm) < 4 * (surge + 9 * calm) ** 0.5


def test_a_disturbance_of_an_unknown_queue_is_refused_at_once():
    """The error comes from the call, not from the first event."""
    with pytest.raises(DisturbanceError, match=r"no queue 'sale'; did you mean 'sales'\?"):
        simulate(
            default_centre(), seed=1, start_ms=0, disturbances=[parse_disturbance("outage sale 10:00 1h")]
        )


def test_disorder_changes_when_events_are_sent_and_not_what_happened():
    """The same events as without, in another order."""
    plain = events_of(eventful(calls=500))
    shuffled = events_of(eventful(calls=500, disorder=Disorder(delay_ms_max=60_000)))

    assert shuffled != plain
    assert sorted(map(encode, shuffled)) == sorted(map(encode, plain))
