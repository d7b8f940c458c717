"""How a record that was set aside looks in its topic: written by the worker, read by `callgauge dead-letters`.

The original key and bytes, and headers that say why, and where the record came from. Nothing of what is in the
record is in a header. Only a record far beyond anything that could be an event is cut; then headers say how long it
was.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from schemas.limits import AT_MS_MAX, AT_MS_MIN
from stream.letters.limits import (
    KEY_BYTES_MAX,
    REASON_CHARACTERS_MAX,
    RESENT_MAX,
    VALUE_BYTES_MAX,
)
from stream.settings.limits import TOPIC_CHARACTERS_MAX

Headers = list[tuple[str, bytes]]

REASON: Final = "reason"
TOPIC: Final = "topic"
PARTITION: Final = "partition"
OFFSET: Final = "offset"
ERROR: Final = "error"
RESENT: Final = "resent"  # how often an operator has sent it again; absent: never
KEY_BYTES: Final = "key_bytes"  # of the whole key, where it was cut
VALUE_BYTES: Final = "value_bytes"  # of the whole value, where it was cut

LATE: Final = "late"
UNKNOWN: Final = "unknown"  # somebody else's record: it does not say why it is here
_NUMBER: Final = re.compile(rb"[0-9]{1,18}\Z")


class Kind(StrEnum):
    """In which of the two topics a letter is."""

    DEAD = "dead"
    LATE = "late"


class Coordinate(NamedTuple):
    """The place of a letter."""

    kind: Kind
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.partition}:{self.offset}"


class Source(NamedTuple):
    """Where the record stood before it was set aside."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that was set aside. ``value`` may have been dropped by a reader that does not need it."""

    coordinate: Coordinate
    at_ms: int  # when it was set aside
    reason: str
    where: str  # the field at fault; "" where it is none's
    source: Source | None
    resent: int
    key: bytes | None
    value: bytes | None
    key_bytes: int  # as they were, even if they had to be cut
    value_bytes: int

    @property
    def whole(self) -> bool:
        """Whether it still is what was rejected, to the byte."""
        return self.key_bytes == len(self.key or b"") and self.value_bytes == len(self.value or b"")


class Parts(NamedTuple):
    """A record as it is set aside."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def parts_of(
    record: Any, source: Source, reason: str, where: str, earlier: Iterable[tuple[str, bytes | None]] = ()
) -> Parts:
    """Describe a record to set aside. ``earlier``: its own headers; of those only the count of resending is kept."""
    headers = [
        (REASON, reason.encode()),
        (TOPIC, source.topic.encode()),
        (PARTITION, str(source.partition).encode()),
        (OFFSET, str(source.offset).encode()),
        (ERROR, (f"{reason}: {where}" if where else reason).encode()),
    ]
    resent = resent_of(earlier)
    if resent:
        headers.append((RESENT, str(resent).encode()))
    key = _cut(record.key, KEY_BYTES_MAX, KEY_BYTES, headers)
    value = _cut(record.value, VALUE_BYTES_MAX, VALUE_BYTES, headers)
    return Parts(key, value, headers)


def _cut(content: bytes | None, longest: int, name: str, headers: Headers) -> bytes | None:
    if content is None or len(content) <= longest:
        return content
    headers.append((name, str(len(content)).encode()))
    return content[:longest]


def resent_of(headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Return how often a record was sent again; 0 where nobody says so in a way that we would."""
    return min(_number(dict(headers).get(RESENT)) or 0, RESENT_MAX)


def _number(content: bytes | None) -> int | None:
    return int(content) if content is not None and _NUMBER.match(content) else None


def _text(content: bytes | None, longest: int) -> str:
    return (content or b"").decode("utf-8", "replace")[:longest]


def letter_of(
    kind: Kind,
    place: tuple[int, int],
    at_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
) -> Letter:
    """Read a record of one of the two topics, whoever wrote it. ``place``: its partition and offset."""
    said = dict(headers)
    reason = _text(said.get(REASON), REASON_CHARACTERS_MAX) or UNKNOWN
    error = _text(said.get(ERROR), 2 * REASON_CHARACTERS_MAX)
    before, colon, where = error.partition(": ")
    partition, offset = _number(said.get(PARTITION)), _number(said.get(OFFSET))
    topic = _text(said.get(TOPIC), TOPIC_CHARACTERS_MAX)
    known = topic and partition is not None and offset is not None
    return Letter(
        coordinate=Coordinate(kind, *place),
        at_ms=min(max(at_ms, AT_MS_MIN), AT_MS_MAX),  # a stranger's record may bear any time
        reason=reason,
        where=where if colon and before == reason else "",
        source=Source(topic, partition or 0, offset or 0) if known else None,
        resent=resent_of(headers),
        key=key,
        value=value,
        key_bytes=max(len(key or b""), _number(said.get(KEY_BYTES)) or 0),
        value_bytes=max(len(value or b""), _number(said.get(VALUE_BYTES)) or 0),
    )
