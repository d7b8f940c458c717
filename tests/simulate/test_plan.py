"""What holds when: day curve, opening hours, disturbances."""

import random
from dataclasses import replace

import pytest

from stream.simulate import Centre, QueueModel, parse_disturbance, seconds
from stream.simulate.plan import Arrivals, Plan

MONDAY_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
QUEUE = QueueModel(
    name="q",
    arrivals=tuple(float(slot) for slot in range(48)),
    agents=tuple(range(48)),
    talk=seconds(60),
    week=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5),
    opening=(8 * 60, 18 * 60),
    open_days=(0, 1, 2, 3, 4),
)


def plan(*disturbances, queue=QUEUE, time_zone="UTC", start_ms=MONDAY_MS):
    centre = Centre(queues=(queue,), time_zone=time_zone)
    return Plan(centre, queue, [parse_disturbance(text) for text in disturbances], start_ms)


def test_a_segment_is_the_half_hour_of_local_time():
    """At 09:10 UTC it is 10:10 in Amsterdam: the 21st half hour, which ends in 20 minutes."""
    at_ms = MONDAY_MS + 9 * HOUR_MS + 10 * MINUTE_MS
    segment = plan(time_zone="Europe/Amsterdam").segment(at_ms)

    assert (segment.rate_per_ms, segment.agents) == (20 / 1_800_000, 20)
    assert segment.open
    assert segment.ends_at_ms == at_ms + 20 * MINUTE_MS


def test_a_sunday_has_its_factor_and_is_closed():
    """The factor of the weekday multiplies arrivals; staff is planned as always."""
    segment = plan().segment(MONDAY_MS - 12 * HOUR_MS)

    assert (segment.rate_per_ms, segment.agents, segment.open) == (12 / 1_800_000, 24, False)


@pytest.mark.parametrize(("minute", "is_open"), [(479, False), (480, True), (1079, True), (1080, False)])
def test_opening_hours_are_half_open(minute, is_open):
    """Open from 08:00 on, closed from 18:00 on."""
    assert plan().segment(MONDAY_MS + minute * MINUTE_MS).open is is_open


def test_a_disturbance_holds_from_its_begin_to_before_its_end():
    """It cuts the half hours at its begin and its end."""
    disturbed = plan("staff_shortage q 10:10 10m 0.4")
    ten_ms = MONDAY_MS + 10 * HOUR_MS
    segments = [disturbed.segment(ten_ms + minute * MINUTE_MS) for minute in (9, 10, 19, 20)]

    assert [segment.agents for segment in segments] == [20, 8, 8, 20]
    assert [(segment.ends_at_ms - ten_ms) // MINUTE_MS for segment in segments] == [10, 20, 20, 30]


def test_disturbances_at_the_same_time_multiply():
    """Two shortages leave the product; a surge does not touch the agents."""
    segment = plan(
        "staff_shortage q 10:00 1h 0.5", "staff_shortage all 10:00 1h 0.5", "surge q 10:00 1h 3"
    ).segment(MONDAY_MS + 10 * HOUR_MS)

    assert (segment.rate_per_ms, segment.agents) == (60 / 1_800_000, 5)


def test_a_disturbance_of_another_queue_is_none_of_its_business():
    """Only the queues named are touched."""
    assert plan("outage x 10:00 1h").segment(MONDAY_MS + 10 * HOUR_MS).agents == 20


def test_arrivals_survive_a_lull_longer_than_the_search_for_the_next_one():
    """A month without a call is not the end when the month after has calls."""
    busy = replace(QUEUE, arrivals=(10.0,), week=(1.0,) * 7)
    arrivals = Arrivals(plan("surge q 00:00 30d 0", queue=busy), random.Random(1), MONDAY_MS)

    assert MONDAY_MS + 30 * 24 * HOUR_MS < arrivals.next_at_ms() < MONDAY_MS + 31 * 24 * HOUR_MS


def test_a_queue_without_arrivals_has_no_next_one():
    """Instead of an endless search."""
    silent = replace(QUEUE, arrivals=(0.0,))

    assert Arrivals(plan(queue=silent), random.Random(1), MONDAY_MS).next_at_ms() is None


def test_one_half_hour_a_week_is_enough():
    """The search spans every slot of the week."""
    rare = replace(QUEUE, arrivals=(*(0.0,) * 47, 3.0), week=(*(0.0,) * 6, 1.0))
    arrivals = Arrivals(plan(queue=rare), random.Random(1), MONDAY_MS)
    found = [arrivals.next_at_ms() for _ in range(20)]

    assert all((at_ms - MONDAY_MS) % (7 * 24 * HOUR_MS) >= (7 * 24 - 0.5) * HOUR_MS for at_ms in found)
    assert found == sorted(found)
