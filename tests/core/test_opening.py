"""Opening hours: what is open, and what cannot be read."""

import pytest

from stream.core.opening import DAYS, parse_opening

MO, TU, WE, TH, FR, SA, SU = range(7)
EIGHT, TWENTY, LAST_MINUTE = 8 * 60, 20 * 60, 24 * 60 - 1


def open_days(text, minute):
    """Return the days on which a minute lies in the opening hours."""
    opening = parse_opening(text)
    return " ".join(name for day, name in enumerate(DAYS) if opening.is_open(day, minute))


@pytest.mark.parametrize(
    ("minute", "expected"),
    [(EIGHT - 1, ""), (EIGHT, "Mo"), (TWENTY - 1, "Mo"), (TWENTY, "")],
)
def test_a_span_holds_its_first_minute_and_not_its_last(minute, expected):
    """Closing time is closed."""
    assert expected == open_days("Mo 08:00-20:00", minute)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("Mo-Fr ", "Mo Tu We Th Fr"),
        ("We ", "We"),
        ("We-We ", "We"),
        ("Sa-Mo ", "Mo Sa Su"),
        ("Tu-Mo ", "Mo Tu We Th Fr Sa Su"),
        ("", "Mo Tu We Th Fr Sa Su"),
    ],
)
def test_days_are_a_range_that_may_run_over_sunday(days, expected):
    """Without days a rule holds every day."""
    assert expected == open_days(f"{days}08:00-20:00", EIGHT)


def test_several_rules_hold_side_by_side():
    """The hours of a day may differ, and blanks around the semicolon do not matter."""
    text = "Mo-Fr 08:00-20:00;  Sa 10:00-14:00"

    assert open_days(text, EIGHT) == "Mo Tu We Th Fr"
    assert open_days(text, 12 * 60) == "Mo Tu We Th Fr Sa"


@pytest.mark.parametrize(
    ("day", "minute", "expected"),
    [
        (SU, 22 * 60 - 1, False),
        (SU, 22 * 60, True),
        (SU, LAST_MINUTE, True),
        (MO, 0, True),
        (MO, 6 * 60 - 1, True),
        (MO, 6 * 60, False),
        (MO, 22 * 60, False),
        (SU, 0, False),
    ],
)
def test_a_span_that_ends_before_it_starts_runs_past_midnight(day, minute, expected):
    """Su 22:00-06:00 ends on Monday morning."""
    assert expected is parse_opening("Su 22:00-06:00").is_open(day, minute)


def test_a_span_that_ends_where_it_starts_is_a_whole_day():
    """Mo 08:00-08:00 ends on Tuesday at 8."""
    assert tuple(open_days("Mo 08:00-08:00", minute) for minute in (EIGHT, EIGHT - 1)) == ("Mo", "Tu")
    assert open_days("Mo 08:00-08:00", LAST_MINUTE) == "Mo"


@pytest.mark.parametrize("text", ["Mo 00:00-24:00", "Mo 00:00-00:00"])
def test_midnight_as_an_end_is_the_end_of_the_day(text):
    """Both ways of writing it mean the whole Monday and nothing of Tuesday."""
    assert (open_days(text, 0), open_days(text, LAST_MINUTE)) == ("Mo", "Mo")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not like"),
        ("Mo-Fr 08:00-20:00;", "is not like"),
        ("mo 08:00-20:00", "is not like"),
        ("Mo 8:00-20:00", "is not like"),
        ("Mo 08:00-20:00 ", ""),
        ("Mo 08:00", "is not like"),
        ("Mo 08:00-20:00\n;", "is not like"),
        ("Mo 08:00-24:01", "time of day that does not exist"),
        ("Mo 24:01-08:00", "time of day that does not exist"),
        ("Mo 08:60-20:00", "time of day that does not exist"),
        ("Mo 08:00-20:60", "time of day that does not exist"),
        ("Xx 08:00-20:00", "has the day 'Xx'"),
        ("Mo-Xx 08:00-20:00", "has the day 'Xx'"),
        ("Mo 08:00-20:00; Sa 99:00-14:00", "'Sa 99:00-14:00' has a time"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_part_that_is_wrong(text, complaint):
    """The message quotes the rule, not the whole text. Blanks at the ends alone are no mistake."""
    if not complaint:
        assert parse_opening(text.strip()) == parse_opening(text)
        return
    with pytest.raises(ValueError, match=complaint):
        parse_opening(text)
