"""Counts of a cell, and of whatever cells add up to: ``{field: value}`` without zeros (``stream.core.fields``)."""

from collections import defaultdict
from collections.abc import Iterable

Counts = dict[int, int]


def add(into: Counts, counts: Counts, sign: int = 1) -> None:
    """Add the counts of a cell to others; zeros vanish."""
    held = into.get
    for field, count in counts.items():
        total = held(field, 0) + sign * count
        if total:
            into[field] = total
        else:
            into.pop(field, None)


def total_of(many: Iterable[Counts]) -> Counts:
    """Return the sum of many counts, for less work than adding them one by one. Fields that nobody knows are kept."""
    totals: defaultdict[int, int] = defaultdict(int)
    for counts in many:
        for field, count in counts.items():
            totals[field] += count
    return {field: total for field, total in totals.items() if total}
