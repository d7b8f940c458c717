"""Moments as people write them, with their zone, and as milliseconds since the epoch."""

from datetime import datetime


def zoned_ms(text: str) -> int:
    """Read an ISO 8601 time that says its zone, like 2026-03-02T10:00:00+01:00. Raises ValueError for any other."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return round(moment.timestamp() * 1_000)
