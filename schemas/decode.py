r"""Bytes to an event or to a reason, whatever the bytes.

Theory of operation. There are two decoders, and they agree on every input: on whether it is accepted, and on
every value. The *reference* says what is right, slowly: Python's own JSON parser, then the pydantic models in
strict mode. The *fast path* is msgspec with the structs derived from the same models. What the fast path
refuses goes to the reference, which accepts it after all or names the reason. So the fast path may refuse too
much, and may never accept too much. msgspec does accept too much where it skips a field nobody asked for:

- bytes that are not UTF-8. Only non-ASCII bytes can be that, so these are decoded as text first;
- nesting up to the interpreter's limit. A short event cannot nest deeper than ours, so long ones have their
  brackets counted first.

The rest of what it skips it checks as it checks what it reads: control characters, escapes, surrogate pairs,
numbers, NaN. `tests/schemas/test_decode_damage.py` damages every field, known and unknown, in every way we
could think of and holds the two decoders against each other, so a msgspec that grows lax fails there.

The JSON dialect is RFC 8259, and where that leaves a choice:

- UTF-8 without a byte order mark; a lone surrogate (`\ud800`) is refused in every string and name;
- NaN and Infinity are no numbers;
- of a name given twice the last value holds, as in most parsers, also for `type`;
- an integer is written without fraction and exponent: `1.0` and `1e3` are wrong types; `-0` is 0;
- a number of any size may stand in a field that is ignored;
- at most `NESTING_DEPTH_MAX` objects and lists inside each other, the event itself being the first.
"""

import dataclasses
import enum
import json
import re
from typing import Any, Final, NoReturn

import msgspec
from pydantic import TypeAdapter, ValidationError

from schemas.events import AnyEvent, CallEvent, instant_ms
from schemas.limits import AT_MS_MAX, AT_MS_MIN, EVENT_BYTES_MAX, NESTING_DEPTH_MAX
from schemas.structs import STRUCTS, Event, union


class RejectReason(enum.StrEnum):
    """Why a record is not an event. The set is closed: it is a metric label and a header."""

    TOMBSTONE = "tombstone"
    """The record has no value."""
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    """Not in the dialect of this module."""
    TOO_DEEP = "too_deep"
    NOT_OBJECT = "not_object"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_BOUNDS = "out_of_bounds"
    """The right type, but too long, too short, too large, too small, or no member of its closed set."""
    BAD_TIME = "bad_time"
    """`at` is text, but no RFC 3339 instant with an offset."""
    NO_KEY = "no_key"
    """The record has no key, so it may stand in the wrong partition."""
    KEY_MISMATCH = "key_mismatch"
    """The record's key is not the event's `call_id`."""
    FUTURE = "future"
    """`at` is too far ahead of the record's own timestamp."""
    CALL_TOO_LONG = "call_too_long"
    """An event like any other, but its call has had as many as a call may have."""
    TOO_MANY_CALLS = "too_many_calls"
    """An event like any other, but of one call more than a partition holds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no event: why, and in which field ("" when it is no field's fault).

    Holds nothing of the data, so it may go into logs, headers and labels.
    """

    reason: RejectReason
    where: str = ""


_TOMBSTONE: Final = Rejected(RejectReason.TOMBSTONE)
_TOO_LARGE: Final = Rejected(RejectReason.TOO_LARGE)
_NOT_UTF8: Final = Rejected(RejectReason.NOT_UTF8)
_NOT_JSON: Final = Rejected(RejectReason.NOT_JSON)
_TOO_DEEP: Final = Rejected(RejectReason.TOO_DEEP)
_NOT_OBJECT: Final = Rejected(RejectReason.NOT_OBJECT)

# The kinds of error that the models can give. One that is not listed would be a new constraint in the models,
# and `tests/schemas` would meet it as a surprising `wrong_type`.
_REASONS: Final = {
    "missing": RejectReason.MISSING_FIELD,
    "union_tag_not_found": RejectReason.MISSING_FIELD,
    "union_tag_invalid": RejectReason.UNKNOWN_TYPE,
    "value_error": RejectReason.BAD_TIME,
    "literal_error": RejectReason.OUT_OF_BOUNDS,
    "string_too_short": RejectReason.OUT_OF_BOUNDS,
    "string_too_long": RejectReason.OUT_OF_BOUNDS,
    "greater_than_equal": RejectReason.OUT_OF_BOUNDS,
    "less_than_equal": RejectReason.OUT_OF_BOUNDS,
}

_MODEL: Final[TypeAdapter[CallEvent]] = TypeAdapter(AnyEvent)

# What nests deeper than the bound has at least this many bytes: as many opening and closing brackets, and the
# shortest event around them. Below it, no search for brackets is needed.
_SHORTEST_EVENT: Final = len(b'{"type":"hold","call_id":"c","at":0,"":}')
_NESTING_POSSIBLE_BYTES: Final = _SHORTEST_EVENT + 2 * NESTING_DEPTH_MAX

# Strings first, so that a bracket within one is passed over. An unclosed string swallows the rest.
_STRING_OR_BRACKET: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)

# An integer of more digits lies outside every bound and is no more than that; Python itself refuses to
# convert one of more than 4300 digits.
_INTEGER_DIGITS_KEPT: Final = 20


def _is_too_deep(raw: bytes) -> bool:
    if raw.count(b"{") + raw.count(b"[") <= NESTING_DEPTH_MAX:
        return False
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(raw):
        first = match[0][:1]
        if first in b"{[":
            depth += 1
            if depth > NESTING_DEPTH_MAX:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def _integer(digits: str) -> int:
    return int(digits[: _INTEGER_DIGITS_KEPT + 1])


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _check_unicode(value: object) -> None:
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for item in value:
            _check_unicode(item)


def _unicode_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build the dictionary of one object, having looked at every name and value, also those given twice."""
    for name, value in pairs:
        name.encode()
        _check_unicode(value)
    return dict(pairs)


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_unicode_object, parse_int=_integer, parse_constant=_refuse_constant
)


def _rejected(fields: dict[str, Any], error: ValidationError) -> Rejected:
    """Name the first thing that is wrong. The place is a field of a model, so never a word of the data."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    location = first["loc"]
    if len(location) > 1:
        return Rejected(_REASONS.get(first["type"], RejectReason.WRONG_TYPE), str(location[1]))
    if "type" in fields and not isinstance(fields["type"], str):
        return Rejected(RejectReason.WRONG_TYPE, "type")
    return Rejected(_REASONS[first["type"]], "type")


def _checked(fields: dict[str, Any]) -> Event | Rejected:
    """Let the models decide, and build the struct from what they made of the fields."""
    try:
        model = _MODEL.validate_python(fields)
    except ValidationError as error:
        return _rejected(fields, error)
    values = model.model_dump()
    return STRUCTS[values.pop("type")](**values)


def decode_reference(raw: bytes) -> Event | Rejected:
    """Decode as `decode` does, slowly and without msgspec: this is what "right" means."""
    if len(raw) > EVENT_BYTES_MAX:
        return _TOO_LARGE
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return _NOT_UTF8
    if _is_too_deep(raw):
        return _TOO_DEEP
    try:
        fields = _JSON.decode(text)
    except ValueError:
        return _NOT_JSON
    return _checked(fields) if isinstance(fields, dict) else _NOT_OBJECT


_fast: Final[Any] = msgspec.json.Decoder(union(STRUCTS.values())).decode


def _may_be_too_much(raw: bytes) -> bool:
    """Whether a bound on the whole event may be exceeded; brackets within strings are counted too."""
    return len(raw) > EVENT_BYTES_MAX or raw.count(b"{") + raw.count(b"[") > NESTING_DEPTH_MAX


def _bounded_instant_ms(text: str) -> int:
    at_ms = instant_ms(text)
    if not AT_MS_MIN <= at_ms <= AT_MS_MAX:
        raise ValueError("out of bounds")
    return at_ms


def decode(raw: bytes | bytearray | memoryview | None) -> Event | Rejected:
    """Turn a record's value into an event, or say why it is none.

    Total: whatever the bytes, it returns and never raises. Pure: the same bytes give an equal result.
    """
    if type(raw) is not bytes:
        if raw is None:
            return _TOMBSTONE
        raw = bytes(raw)
    try:
        if len(raw) >= _NESTING_POSSIBLE_BYTES and _may_be_too_much(raw):
            return decode_reference(raw)
        if not raw.isascii():
            raw.decode()
        event: Event = _fast(raw)
        at: int | str = event.at
        if type(at) is not int:
            event.at = _bounded_instant_ms(str(at))
    except (msgspec.DecodeError, ValueError):
        return decode_reference(raw)
    return event


_encoder: Final = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """Write an event as compact JSON, `type` first, without the fields that hold their default.

    `decode(encode(event)) == event` for every event that `decode` returned.
    """
    return _encoder.encode(event)
