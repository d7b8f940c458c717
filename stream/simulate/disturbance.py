"""What goes wrong during a run: agents missing, nobody answering, too many calls.

A disturbance is written `KIND QUEUES AT FOR [FACTOR]`, for example
`staff_shortage sales,support 10:00 45m 0.4`, or as a TOML table with those keys.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from stream.settings.moments import zoned_ms
from stream.simulate.local_time import LocalClock

_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN = re.compile(r"(?:\d+[smhd])+")
_SPAN_PART = re.compile(r"(\d+)([smhd])")
_TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_USAGE = "KIND QUEUES AT FOR [FACTOR], like 'staff_shortage sales 10:00 45m 0.4'"
_ALL = "all"
_KEYS = ("at", "for", "kind", "queue", "queues", "factor")
_FACTOR_MAX = 1000.0  # a surge beyond this is a typing error


class DisturbanceError(ValueError):
    """A disturbance that cannot be understood; one line that says what and where."""


class Kind(Enum):
    """What a disturbance does."""

    STAFF_SHORTAGE = "staff_shortage"  # agents x factor
    OUTAGE = "outage"  # nobody answers
    SURGE = "surge"  # arrivals x factor


class Anchor(Enum):
    """How the begin of a disturbance is given."""

    TIME_OF_DAY = "time_of_day"  # first such local time in the run
    AFTER_START = "after_start"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """One disturbance as written; `at_ms` is read by `anchor`. An empty `queues` means all."""

    kind: Kind
    queues: tuple[str, ...]
    anchor: Anchor
    at_ms: int
    for_ms: int
    factor: float

    def interval(self, clock: LocalClock, start_ms: int) -> Interval:
        """Return when it happens in a run that starts at `start_ms`."""
        if self.anchor is Anchor.INSTANT:
            from_ms = self.at_ms
        elif self.anchor is Anchor.AFTER_START:
            from_ms = start_ms + self.at_ms
        else:
            from_ms = clock.next_time_of_day(start_ms, self.at_ms // 60_000)
        return Interval(from_ms, from_ms + self.for_ms, self.kind, self.factor)


class Interval(NamedTuple):
    """A disturbance placed in time, half-open [from, until)."""

    from_ms: int
    until_ms: int
    kind: Kind
    factor: float


def parse_disturbance(text: str) -> Disturbance:
    """Return the disturbance that the compact form describes, or raise `DisturbanceError`."""
    words = text.split()
    if len(words) not in (4, 5):
        raise DisturbanceError(f"disturbance {text!r}: expected {_USAGE}")
    kind, queues, at, span, *factor = words
    try:
        return _build(kind, queues.split(","), at, span, factor[0] if factor else None)
    except DisturbanceError as error:
        raise DisturbanceError(f"disturbance {text!r}: {error}") from None


def parse_disturbances_toml(text: str) -> tuple[Disturbance, ...]:
    """Return the disturbances of a TOML text: an array of tables named `disturbance`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DisturbanceError(f"not TOML: {error}") from None
    tables = document.pop("disturbance", [])
    if document:
        raise DisturbanceError(f"unknown key {next(iter(document))!r}; expected [[disturbance]] tables")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise DisturbanceError("'disturbance' must be an array of tables: [[disturbance]]")
    return tuple(_from_table(number, table) for number, table in enumerate(tables, start=1))


def _from_table(number: int, table: Mapping[str, object]) -> Disturbance:
    try:
        _check_keys(table)
        queues = table.get("queues", table.get("queue", _ALL))
        names = [str(name) for name in queues] if isinstance(queues, list) else [str(queues)]
        at = table["at"]
        at_text = at.isoformat() if isinstance(at, datetime) else str(at)
        return _build(str(table["kind"]), names, at_text, str(table["for"]), table.get("factor"))
    except DisturbanceError as error:
        raise DisturbanceError(f"disturbance number {number}: {error}") from None


def _check_keys(table: Mapping[str, object]) -> None:
    for key in table:
        if key not in _KEYS:
            raise DisturbanceError(f"unknown key {key!r}{_nearest(key, _KEYS)}")
    for key in ("kind", "at", "for"):
        if key not in table:
            raise DisturbanceError(f"{key!r} is missing")


def _build(kind_text: str, queues: list[str], at: str, span: str, factor: object) -> Disturbance:
    kind = _kind(kind_text)
    anchor, at_ms = _begin(at)
    for_ms = parse_span(span)
    if for_ms == 0:
        raise DisturbanceError(f"{span!r} is no time at all")
    if "" in queues:
        raise DisturbanceError("an empty queue name")
    return Disturbance(
        kind=kind,
        queues=() if _ALL in queues else tuple(queues),
        anchor=anchor,
        at_ms=at_ms,
        for_ms=for_ms,
        factor=_factor(kind, factor),
    )


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        kinds = [kind.value for kind in Kind]
        raise DisturbanceError(f"unknown kind {text!r}{_nearest(text, kinds)}") from None


def _begin(text: str) -> tuple[Anchor, int]:
    if text.startswith("+"):
        return Anchor.AFTER_START, parse_span(text[1:])
    if found := _TIME_OF_DAY.fullmatch(text.removesuffix(":00") if text.count(":") == 2 else text):  # noqa: PLR2004  # TOML writes 10:00:00
        return Anchor.TIME_OF_DAY, (int(found[1]) * 60 + int(found[2])) * 60_000
    try:
        return Anchor.INSTANT, zoned_ms(text)
    except ValueError:
        raise DisturbanceError(
            f"{text!r} is not a time: write 10:00, +90m or 2026-03-02T10:00:00+01:00"
        ) from None


def parse_span(text: str) -> int:
    """Return the milliseconds of `45m`, `1h30m`, `90s`, `2d`."""
    if not _SPAN.fullmatch(text):
        raise DisturbanceError(f"{text!r} is not a span of time: write 90s, 45m or 1h30m")
    return sum(int(count) * _UNIT_MS[unit] for count, unit in _SPAN_PART.findall(text))


def _factor(kind: Kind, given: object) -> float:
    if kind is Kind.OUTAGE:
        if given is not None:
            raise DisturbanceError("an outage takes no factor: nobody answers")
        return 0.0
    if given is None:
        raise DisturbanceError(f"{kind.value} needs a factor")
    try:
        factor = float(str(given))
    except ValueError:
        raise DisturbanceError(f"factor {given!r} is not a number") from None
    if kind is Kind.STAFF_SHORTAGE and not 0.0 <= factor <= 1.0:
        raise DisturbanceError(f"factor {given} is not within 0..1: it is the share of agents left")
    if not 0.0 <= factor <= _FACTOR_MAX:
        raise DisturbanceError(f"factor {given} is not within 0..{_FACTOR_MAX:g}")
    return factor


def check_queues(disturbances: Iterable[Disturbance], known: Iterable[str]) -> None:
    """Raise `DisturbanceError` for the first queue that the centre does not have."""
    names = tuple(known)
    for disturbance in disturbances:
        for queue in disturbance.queues:
            if queue not in names:
                raise DisturbanceError(
                    f"{disturbance.kind.value}: no queue {queue!r}{_nearest(queue, names)}"
                )


def _nearest(word: str, known: Iterable[str]) -> str:
    names = tuple(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
