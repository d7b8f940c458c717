"""Local half hours: where on the day curve an instant lies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_MS = 86_400_000
HALF_HOUR_MS = 1_800_000
SLOTS_A_DAY = 48
WEEKDAYS = 7
_WEEK_MS = WEEKDAYS * DAY_MS
_EPOCH_WEEKDAY_MS = 3 * DAY_MS  # 1970-01-01 was a Thursday; weeks begin on Monday
_MILLISECOND = timedelta(milliseconds=1)


class Slot(NamedTuple):
    """One local half hour."""

    weekday: int
    half_hour: int  # of the day, 0 to 47
    ends_at_ms: int


@lru_cache(maxsize=16)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"no such time zone: {name!r}") from error


@dataclass(frozen=True, slots=True)
class LocalClock:
    """Instants as local time; it reads no clock. `shift_ms` moves the calendar, not the instants."""

    time_zone: str
    shift_ms: int = 0

    def local_ms(self, at_ms: int) -> int:
        """Return the instant as milliseconds of local time since 1970-01-01 00:00 local."""
        offset = datetime.fromtimestamp(at_ms // 1000, tz=_zone(self.time_zone)).utcoffset()
        return at_ms + self.shift_ms + (offset or timedelta()) // _MILLISECOND

    def slot(self, at_ms: int) -> Slot:
        """Return the half hour of an instant.

        A change to or from summer time falls on a half hour, so a slot never spans one.
        """
        local_ms = self.local_ms(at_ms)
        weekday = (local_ms + _EPOCH_WEEKDAY_MS) // DAY_MS % WEEKDAYS
        return Slot(
            weekday,
            local_ms % DAY_MS // HALF_HOUR_MS,
            at_ms + HALF_HOUR_MS - local_ms % HALF_HOUR_MS,
        )

    def next_time_of_day(self, from_ms: int, minute: int) -> int:
        """Return the first instant at or after `from_ms` with that local minute of the day."""
        wait_ms = (minute * 60_000 - self.local_ms(from_ms)) % DAY_MS
        at_ms = from_ms + wait_ms
        # Over a change of summer time the wait is off by what the clocks were moved.
        drift_ms = (minute * 60_000 - self.local_ms(at_ms)) % DAY_MS
        return at_ms + (drift_ms if drift_ms <= DAY_MS // 2 else drift_ms - DAY_MS)


def shift_to(clock: LocalClock, at_ms: int, week_position_ms: int) -> int:
    """Return the shift that makes an instant fall at that position in the local week."""
    return week_position_ms - (clock.local_ms(at_ms) + _EPOCH_WEEKDAY_MS) % _WEEK_MS
