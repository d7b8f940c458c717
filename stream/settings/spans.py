"""Spans of time as people write them, ``20s``, ``5m``, ``1h``, ``1m30s``, ``500ms``, and as milliseconds."""

import re
from typing import Final

UNITS_MS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
# A number of ten digits is eleven years even in seconds; more digits are a slip, and slow to multiply.
_SPAN: Final = re.compile("".join(rf"(?:([0-9]{{1,10}}){unit})?" for unit, _ in UNITS_MS) + r"\Z")


def parse_span(value: object) -> int:
    """Milliseconds of a span. A number without a unit is refused, because nobody can tell what it means."""
    # pydantic makes its findings of ValueError, not of TypeError
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'needs a unit; write "{value}s"')  # noqa: TRY004
    if not isinstance(value, str):
        raise ValueError('must be a span of time in quotes, like "20s"')  # noqa: TRY004
    found = _SPAN.match(value)
    if found is None or not value:
        if value.isascii() and value.isdigit():
            raise ValueError(f'needs a unit; write "{value}s"')
        raise ValueError('is no span of time; write it like "20s", "1m30s", "1h" or "500ms"')
    return sum(
        int(count) * unit_ms
        for count, (_, unit_ms) in zip(found.groups(), UNITS_MS, strict=True)
        if count is not None
    )


def format_span(span_ms: int) -> str:
    """Write a span so that `parse_span` gives it back: ``90_000`` is ``1m30s``; a day is ``24h``."""
    parts = []
    rest = span_ms
    for unit, unit_ms in UNITS_MS[1:]:
        count, rest = divmod(rest, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
