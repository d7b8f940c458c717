"""Clock intervals and days in the time zones where they are not what one thinks."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.window import (
    day_end_ms,
    day_start_ms,
    interval_start_ms,
    local_time,
    minute_of_week,
    rfc3339,
)

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
HAVANA = ZoneInfo("America/Havana")
HALF_HOUR_MS, QUARTER_MS, HOUR_MS = 1_800_000, 900_000, 3_600_000


def utc(text):
    """Read a moment, in UTC unless it has an offset."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def start(at, length_ms, zone):
    return rfc3339(interval_start_ms(utc(at), length_ms, zone), zone)


def day(at, zone):
    """Return start, end and hours of a day."""
    first, end = day_start_ms(utc(at), zone), day_end_ms(utc(at), zone)
    return rfc3339(first, zone), rfc3339(end, zone), (end - first) / HOUR_MS


def test_an_interval_holds_its_first_moment_and_not_its_end():
    """Windows are half-open.

    10:00        10:30        11:00
      [------------[------------[
      a           bc
    """
    first_ms = utc("2026-03-02T10:00:00")

    assert first_ms == interval_start_ms(first_ms, HALF_HOUR_MS, UTC)
    assert first_ms == interval_start_ms(first_ms + HALF_HOUR_MS - 1, HALF_HOUR_MS, UTC)
    assert first_ms + HALF_HOUR_MS == interval_start_ms(first_ms + HALF_HOUR_MS, HALF_HOUR_MS, UTC)
    assert first_ms - HALF_HOUR_MS == interval_start_ms(first_ms - 1, HALF_HOUR_MS, UTC)


@pytest.mark.parametrize(
    ("at", "length_ms", "expected"),
    [
        ("2026-03-02T10:00:00", HALF_HOUR_MS, "2026-03-02T15:30:00+05:45"),
        ("2026-03-02T10:14:59", HALF_HOUR_MS, "2026-03-02T15:30:00+05:45"),
        ("2026-03-02T10:15:00", HALF_HOUR_MS, "2026-03-02T16:00:00+05:45"),
        ("2026-03-02T10:14:59", QUARTER_MS, "2026-03-02T15:45:00+05:45"),
        ("2026-03-02T10:15:00", QUARTER_MS, "2026-03-02T16:00:00+05:45"),
    ],
)
def test_half_hours_are_those_of_the_local_clock(at, length_ms, expected):
    """In Kathmandu a half-hour begins at a quarter past or to the hour of UTC.

    UTC        09:45          10:15          10:45
                 [--------------[--------------[
    Kathmandu  15:30          16:00          16:30
    """
    assert expected == start(at, length_ms, KATHMANDU)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-10-25T00:59:59", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T01:00:00", "2026-10-25T02:00:00+01:00"),
        ("2026-10-25T01:30:00", "2026-10-25T02:30:00+01:00"),
        ("2026-03-29T00:59:59", "2026-03-29T01:30:00+01:00"),
        ("2026-03-29T01:00:00", "2026-03-29T03:00:00+02:00"),
    ],
)
def test_the_hour_that_comes_again_is_told_apart_and_the_skipped_one_is_not_there(at, expected):
    """Local names repeat in October; the offset in the name tells them apart.

    UTC        00:00   00:30   01:00   01:30   02:00
                 [-------[-------[-------[-------[
    local      02:00   02:30   02:00   02:30   03:00
               +02:00          +01:00
    """
    assert expected == start(at, HALF_HOUR_MS, AMSTERDAM)


def test_half_an_hour_that_comes_again_is_an_interval_of_its_own():
    """Lord Howe goes back by half an hour, from 02:00 +11:00 to 01:30 +10:30."""
    assert start("2026-04-04T14:59:59", HALF_HOUR_MS, LORD_HOWE) == "2026-04-05T01:30:00+11:00"
    assert start("2026-04-04T15:00:00", HALF_HOUR_MS, LORD_HOWE) == "2026-04-05T01:30:00+10:30"


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        ("2026-03-02T12:00", UTC, ("2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00", 24)),
        ("2026-03-29T12:00", AMSTERDAM, ("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", 23)),
        ("2026-10-25T12:00", AMSTERDAM, ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00", 25)),
        ("2026-03-02T18:14:59", KATHMANDU, ("2026-03-02T00:00:00+05:45", "2026-03-03T00:00:00+05:45", 24)),
        ("2026-03-02T18:15:00", KATHMANDU, ("2026-03-03T00:00:00+05:45", "2026-03-04T00:00:00+05:45", 24)),
        # midnight is left out: the day begins at 01:00
        ("2018-11-04T12:00", SAO_PAULO, ("2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00", 23)),
        # the last hour before midnight comes again
        ("2018-02-18T01:30", SAO_PAULO, ("2018-02-17T00:00:00-02:00", "2018-02-18T00:00:00-03:00", 25)),
        ("2018-02-18T02:30", SAO_PAULO, ("2018-02-17T00:00:00-02:00", "2018-02-18T00:00:00-03:00", 25)),
        # the first hour comes again: the day begins at the first midnight
        ("2026-11-01T05:30", HAVANA, ("2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00", 25)),
    ],
)
def test_a_day_is_the_local_date_whatever_its_length(at, zone, expected):
    """23, 24 or 25 hours, from the first to the last moment of the date."""
    assert expected == day(at, zone)


@given(
    st.integers(0, 2_000_000_000_000),
    st.sampled_from((UTC, AMSTERDAM, KATHMANDU, SAO_PAULO, LORD_HOWE, HAVANA)),
    st.sampled_from((QUARTER_MS, HALF_HOUR_MS)),
)
def test_every_moment_lies_in_its_interval_and_its_day(at_ms, zone, length_ms):
    """Whatever the moment: start <= moment < end, and the next day begins where this one ends."""
    first_ms = interval_start_ms(at_ms, length_ms, zone)

    assert first_ms <= at_ms < first_ms + length_ms
    assert day_start_ms(at_ms, zone) <= at_ms < day_end_ms(at_ms, zone)
    assert day_end_ms(at_ms, zone) == day_start_ms(day_end_ms(at_ms, zone), zone)
    assert day_start_ms(at_ms, zone) % QUARTER_MS == 0


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        ("2026-03-01T23:59:59", UTC, (6, 1_439)),
        ("2026-03-02T00:00:00", UTC, (0, 0)),
        ("2026-03-01T23:00:00", AMSTERDAM, (0, 0)),
        ("2026-03-01T18:15:00", KATHMANDU, (0, 0)),
        ("2026-03-01T18:14:00", KATHMANDU, (6, 1_439)),
    ],
)
def test_the_minute_of_the_week_is_local(at, zone, expected):
    """Monday is 0; the minute is that of the local day."""
    assert expected == minute_of_week(utc(at), zone)


def test_a_moment_is_written_in_whole_seconds_with_its_offset():
    """Milliseconds are cut, and west is minus."""
    assert (
        rfc3339(utc("2026-03-02T12:00:00") + 999, timezone(timedelta(hours=-5.5)))
        == "2026-03-02T06:30:00-05:30"
    )
    assert datetime(1970, 1, 1, 1, tzinfo=AMSTERDAM) == local_time(0, AMSTERDAM)
