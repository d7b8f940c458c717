"""Counts of a cell, and of whatever cells add up to: ``{field: value}`` without zeros (``stream.core.fields``)."""

from collections.abc import Mapping

Counts = dict[int, int]


def add(into: Counts, counts: Mapping[int, int], sign: int = 1) -> None:
    """Add the counts of a cell to others; zeros vanish."""
    held = into.get
    for field, count in counts.items():
        total = held(field, 0) + sign * count
        if total:
            into[field] = total
        else:
            into.pop(field, None)
