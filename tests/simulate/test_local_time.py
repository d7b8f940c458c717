"""Half hours of local time."""

import pytest

from stream.simulate import default_centre
from stream.simulate.local_time import LocalClock

HOUR_MS = 3_600_000
MONDAY_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z
SPRING_MS = 1_774_738_800_000  # 2026-03-28T23:00:00Z, midnight before summer time in Amsterdam


def test_a_slot_is_a_weekday_and_a_half_hour():
    """Monday 00:10 in UTC is still Sunday in New York."""
    at_ms = MONDAY_MS + 600_000

    assert LocalClock("UTC").slot(at_ms) == (0, 0, MONDAY_MS + HOUR_MS // 2)
    assert LocalClock("America/New_York").slot(at_ms) == (6, 38, MONDAY_MS + HOUR_MS // 2)


def test_slots_of_a_zone_off_the_half_hour_begin_on_its_own_half_hours():
    """Kathmandu is 5:45 ahead: its half hours begin at :15 and :45 of UTC."""
    slot = LocalClock("Asia/Kathmandu").slot(MONDAY_MS)

    assert slot == (0, 11, MONDAY_MS + HOUR_MS // 4)


def test_the_hour_that_summer_time_skips_has_no_slots():
    """On 29 March 2026 the half hour after 01:30 is 03:00."""
    clock = LocalClock("Europe/Amsterdam")
    slots = [clock.slot(SPRING_MS + step * HOUR_MS // 2).half_hour for step in range(6)]

    assert slots == [0, 1, 2, 3, 6, 7]


def test_a_time_of_day_is_found_across_the_change_to_summer_time():
    """10:00 local time comes an hour earlier that day."""
    clock = LocalClock("Europe/Amsterdam")

    assert clock.next_time_of_day(SPRING_MS, 600) == SPRING_MS + 9 * HOUR_MS


def test_a_centre_can_be_moved_to_a_working_hour():
    """At the given instant its calendar shows Tuesday 14:00, in any zone."""
    at_ms = MONDAY_MS - 5 * HOUR_MS - 123
    centre = default_centre("Asia/Tokyo").at_working_hour(at_ms)
    slot = LocalClock(centre.time_zone, centre.calendar_shift_ms).slot(at_ms)

    assert slot == (1, 28, at_ms + HOUR_MS // 2)


def test_an_unknown_time_zone_is_named():
    """One line, with the name."""
    with pytest.raises(ValueError, match="no such time zone: 'Mars/Olympus'"):
        LocalClock("Mars/Olympus").slot(0)
