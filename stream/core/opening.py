"""Opening hours of a queue: ``Mo-Fr 08:00-20:00; Sa 10:00-14:00``, in the centre's time zone."""

import re
from dataclasses import dataclass
from typing import Final

DAYS: Final = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
MINUTES_OF_DAY: Final = 1_440
_RULE = re.compile(r"(?:([A-Z][a-z])(?:-([A-Z][a-z]))? )?(\d{2}):(\d{2})-(\d{2}):(\d{2})\Z")
_MINUTES_OF_HOUR: Final = 60


@dataclass(frozen=True, slots=True)
class Opening:
    """Spans of (weekday 0-6, first minute, last minute + 1) in which a queue is open."""

    spans: tuple[tuple[int, int, int], ...]

    def is_open(self, weekday: int, minute: int) -> bool:
        """Say whether the minute of that weekday (0 = Monday) lies in a span."""
        return any(day == weekday and first <= minute < end for day, first, end in self.spans)


def parse_opening(text: str) -> Opening:
    """Read rules separated by ``;``. A span that ends at or before its start runs past midnight. Raises ValueError."""
    spans: list[tuple[int, int, int]] = []
    for rule in text.split(";"):
        spans.extend(_parse_rule(rule.strip()))
    return Opening(tuple(sorted(spans)))


def _parse_rule(rule: str) -> list[tuple[int, int, int]]:
    found = _RULE.match(rule)
    if found is None:
        raise ValueError(f"{rule!r} is not like 'Mo-Fr 08:00-20:00'")
    first_day, last_day, *clock = found.groups()
    hour, minute, end_hour, end_minute = map(int, clock)
    start, end = hour * _MINUTES_OF_HOUR + minute, end_hour * _MINUTES_OF_HOUR + end_minute
    if max(start, end) > MINUTES_OF_DAY or max(minute, end_minute) >= _MINUTES_OF_HOUR:
        raise ValueError(f"{rule!r} has a time of day that does not exist")
    spans = []
    for day in _days(first_day, last_day, rule):
        if start < end:
            spans.append((day, start, end))
        else:
            spans.append((day, start, MINUTES_OF_DAY))
            spans.append(((day + 1) % len(DAYS), 0, end))
    return spans


def _days(first: str | None, last: str | None, rule: str) -> list[int]:
    if first is None:
        return list(range(len(DAYS)))
    unknown = [day for day in (first, last) if day is not None and day not in DAYS]
    if unknown:
        raise ValueError(f"{rule!r} has the day {unknown[0]!r}; days are {', '.join(DAYS)}")
    start = DAYS.index(first)
    count = (DAYS.index(last or first) - start) % len(DAYS) + 1
    return [(start + step) % len(DAYS) for step in range(count)]
