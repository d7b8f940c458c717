"""Windows on integer milliseconds, half-open [start, end), in whole buckets; and the local calendar of a time zone."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from stream.core.rules import QUARTER_MS

MS_PER_S: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def local_time(at_ms: int, zone: tzinfo) -> datetime:
    """Return the local date and time of a moment."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)


def interval_start_ms(at_ms: int, interval_ms: int, zone: tzinfo) -> int:
    """Return the start of the clock interval (half-hour, quarter) that holds a moment, by the local clock."""
    offset_ms = _offset_ms(local_time(at_ms, zone))
    return (at_ms + offset_ms) // interval_ms * interval_ms - offset_ms


def day_start_ms(at_ms: int, zone: tzinfo) -> int:
    """Return the first moment of the local date of a moment, in whole quarter hours.

    Where the clock skips midnight, that is the moment of the skip: the offset before the gap maps 00:00 onto it.
    """
    midnight = local_time(at_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    start_ms = (midnight - _EPOCH) // _MS
    return start_ms // QUARTER_MS * QUARTER_MS


def day_end_ms(at_ms: int, zone: tzinfo) -> int:
    """Return the start of the next local date; days have 23, 24 or 25 hours."""
    noon = local_time(at_ms, zone).replace(hour=12, minute=0, second=0, microsecond=0, fold=0)
    next_noon_ms = (noon + timedelta(days=1) - _EPOCH) // _MS
    return day_start_ms(next_noon_ms, zone)


def minute_of_week(at_ms: int, zone: tzinfo) -> tuple[int, int]:
    """Return the local weekday (0 = Monday) and the minute of that day."""
    local = local_time(at_ms, zone)
    return local.weekday(), local.hour * 60 + local.minute


def rfc3339(at_ms: int, zone: tzinfo) -> str:
    """Write a moment with the offset of a time zone; whole seconds."""
    return local_time(at_ms, zone).isoformat(timespec="seconds")


def _offset_ms(local: datetime) -> int:
    offset = local.utcoffset()
    return 0 if offset is None else offset // _MS
