"""The two ways to write a disturbance down."""

import pytest

from stream.simulate import DisturbanceError, parse_disturbance, parse_disturbances_toml, parse_span
from stream.simulate.disturbance import Anchor, Disturbance, Kind
from stream.simulate.local_time import LocalClock

HOUR_MS = 3_600_000
MONDAY_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z


def test_the_compact_form_says_what_where_when_how_long_and_how_much():
    """The example of the documentation."""
    expected = Disturbance(
        kind=Kind.STAFF_SHORTAGE,
        queues=("sales", "support"),
        anchor=Anchor.TIME_OF_DAY,
        at_ms=10 * HOUR_MS,
        for_ms=45 * 60_000,
        factor=0.4,
    )

    assert parse_disturbance("staff_shortage sales,support 10:00 45m 0.4") == expected


def test_toml_and_the_compact_form_mean_the_same():
    """One table per disturbance; queues as a list, one name, or left out for all."""
    text = """
        [[disturbance]]
        kind = "staff_shortage"
        queues = ["sales", "support"]
        at = 10:00:00
        for = "45m"
        factor = 0.4
        [[disturbance]]
        kind = "surge"
        queue = "billing"
        at = "+1h30m"
        for = "1h"
        factor = 2
        [[disturbance]]
        kind = "outage"
        at = 2026-03-02T10:00:00+01:00
        for = "90s"
    """
    expected = (
        parse_disturbance("staff_shortage sales,support 10:00 45m 0.4"),
        parse_disturbance("surge billing +90m 60m 2.0"),
        parse_disturbance("outage all 2026-03-02T09:00:00Z 1m30s"),
    )

    assert parse_disturbances_toml(text) == expected


@pytest.mark.parametrize(
    ("at", "expected_ms"),
    [
        ("10:00", MONDAY_MS + 33 * HOUR_MS),  # 10:00 in Amsterdam is 09:00 UTC; today's has passed at noon
        ("14:00", MONDAY_MS + 13 * HOUR_MS),
        ("+2h", MONDAY_MS + 14 * HOUR_MS),
        ("2026-03-01T00:00:00Z", MONDAY_MS - 24 * HOUR_MS),
    ],
)
def test_the_begin_is_local_time_time_after_the_start_or_an_instant(at, expected_ms):
    """A run that starts at 12:00 UTC in Amsterdam."""
    interval = parse_disturbance(f"outage all {at} 1h").interval(
        LocalClock("Europe/Amsterdam"), MONDAY_MS + 12 * HOUR_MS
    )

    assert (interval.from_ms, interval.until_ms) == (expected_ms, expected_ms + HOUR_MS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outage", "expected KIND QUEUES AT FOR"),
        ("outrage sales 10:00 1h", "unknown kind 'outrage'; did you mean 'outage'?"),
        ("fire sales 10:00 1h", "unknown kind 'fire'; known: staff_shortage, outage, surge"),
        ("outage sales 25:00 1h", "'25:00' is not a time"),
        ("outage sales 2026-03-02T10:00:00 1h", "is not a time"),
        ("outage sales 10:00 1w", "'1w' is not a span of time"),
        ("outage sales 10:00 0s", "'0s' is no time at all"),
        ("outage sales 10:00 1h 0.5", "an outage takes no factor"),
        ("outage sales,,x 10:00 1h", "an empty queue name"),
        ("surge sales 10:00 1h", "surge needs a factor"),
        ("surge sales 10:00 1h lots", "factor 'lots' is not a number"),
        ("surge sales 10:00 1h nan", "factor nan is not within 0..1000"),
        ("surge sales 10:00 1h 1001", "factor 1001 is not within 0..1000"),
        ("staff_shortage sales 10:00 1h 1.5", "factor 1.5 is not within 0..1"),
    ],
)
def test_a_mistake_is_named_in_one_line(text, message):
    """What is wrong, with the text that is wrong."""
    with pytest.raises(DisturbanceError) as caught:
        parse_disturbance(text)

    assert message in str(caught.value)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[disturbance]", "not TOML"),
        ("disturbances = 1", "unknown key 'disturbances'"),
        ("disturbance = 1", "must be an array of tables"),
        ("[[disturbance]]\nkind='outage'\nat='10:00'", "number 1: 'for' is missing"),
        ("[[disturbance]]\nkinds='outage'", "number 1: unknown key 'kinds'; did you mean 'kind'?"),
        ("[[disturbance]]\nkind='surge'\nat='10:00'\nfor='1h'", "number 1: surge needs a factor"),
    ],
)
def test_a_mistake_in_toml_is_named_in_one_line(text, message):
    """With the number of the table."""
    with pytest.raises(DisturbanceError) as caught:
        parse_disturbances_toml(text)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected_ms"), [("90s", 90_000), ("1h30m", 5_400_000), ("2d", 172_800_000)]
)
def test_spans_add_up(text, expected_ms):
    """Seconds, minutes, hours and days, one after the other."""
    assert parse_span(text) == expected_ms
