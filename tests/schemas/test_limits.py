"""Every bound is tried one below, at, and one above."""

import json

import pytest

from schemas import Event, Rejected, RejectReason, decode, limits

OUT = RejectReason.OUT_OF_BOUNDS


def encoded(event_type, **fields):
    return json.dumps({"type": event_type, "call_id": "c", "at": 1, **fields}, ensure_ascii=False).encode()


TEXTS = [
    ("hold", "call_id", limits.CALL_ID_CHARACTERS_MIN, limits.CALL_ID_CHARACTERS_MAX),
    ("hold", "event_id", limits.EVENT_ID_CHARACTERS_MIN, limits.EVENT_ID_CHARACTERS_MAX),
    ("hold", "channel", limits.CHANNEL_CHARACTERS_MIN, limits.CHANNEL_CHARACTERS_MAX),
    ("queued", "queue", limits.QUEUE_CHARACTERS_MIN, limits.QUEUE_CHARACTERS_MAX),
    ("abandoned", "queue", limits.QUEUE_CHARACTERS_MIN, limits.QUEUE_CHARACTERS_MAX),
    ("answered", "agent", limits.AGENT_CHARACTERS_MIN, limits.AGENT_CHARACTERS_MAX),
    ("ended", "reason", limits.ENDED_REASON_CHARACTERS_MIN, limits.ENDED_REASON_CHARACTERS_MAX),
]
NUMBERS = [
    ("hold", "at", limits.AT_MS_MIN, limits.AT_MS_MAX),
    ("hold", "schema_version", limits.SCHEMA_VERSION_MIN, limits.SCHEMA_VERSION_MAX),
    ("wrap_up", "duration_ms", limits.DURATION_MS_MIN, limits.DURATION_MS_MAX),
]


@pytest.mark.parametrize("character", ["x", "ü", "€", "😀"])
@pytest.mark.parametrize(("event_type", "field", "shortest", "longest"), TEXTS)
def test_a_text_is_bounded_in_characters_not_bytes(event_type, field, shortest, longest, character):
    """A text at its bounds is accepted, one character beyond either is not, whatever a character weighs."""
    for length in (shortest, shortest + 1, longest - 1, longest):
        event = decode(encoded(event_type, **{field: character * length}))

        assert isinstance(event, Event)
        assert getattr(event, field) == character * length
    for length in (shortest - 1, longest + 1):
        assert decode(encoded(event_type, **{field: character * length})) == Rejected(OUT, field)


@pytest.mark.parametrize(("event_type", "field", "lowest", "highest"), NUMBERS)
def test_a_number_is_bounded_on_both_sides(event_type, field, lowest, highest):
    """A number at its bounds is accepted, one beyond either is not."""
    for value in (lowest, lowest + 1, highest - 1, highest):
        event = decode(encoded(event_type, **{field: value}))

        assert isinstance(event, Event)
        assert getattr(event, field) == value
    for value in (lowest - 1, highest + 1):
        assert decode(encoded(event_type, **{field: value})) == Rejected(OUT, field)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("9999-12-31T23:59:59.998Z", limits.AT_MS_MAX - 1),
        ("9999-12-31T23:59:59.999999999Z", limits.AT_MS_MAX),
    ],
)
def test_an_instant_as_text_reaches_the_same_bounds(text, at_ms):
    """The bounds of `at` hold for the instant, however it is written."""
    assert decode(encoded("hold", at=text)).at == at_ms


@pytest.mark.parametrize(
    "text", ["1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"]
)
def test_an_instant_as_text_beyond_the_bounds_is_out_of_bounds(text):
    """An instant that is well written but too early or too late is not called badly written."""
    assert decode(encoded("hold", at=text)) == Rejected(OUT, "at")


def test_the_fraction_of_a_second_is_bounded_in_digits():
    """As many digits as the bound are accepted, none and one more are not."""
    digits = limits.AT_FRACTION_DIGITS_MAX
    for count in (1, digits - 1, digits):
        assert decode(encoded("hold", at=f"1970-01-01T00:00:01.{'9' * count}Z")).at // 1000 == 1
    for count in (0, digits + 1):
        bad = decode(encoded("hold", at=f"1970-01-01T00:00:01.{'9' * count}Z"))

        assert bad == Rejected(RejectReason.BAD_TIME, "at")


@pytest.mark.parametrize("padding", [b" ", "é".encode()])
def test_an_event_is_bounded_in_bytes(padding):
    """A record as long as the bound is accepted, one byte more is not."""
    for length in (limits.EVENT_BYTES_MAX - 1, limits.EVENT_BYTES_MAX):
        event = encoded("hold", extra="")
        room = length - len(event)
        padded = event[:-2] + padding * (room // len(padding)) + b"." * (room % len(padding)) + event[-2:]

        assert len(padded) == length
        assert decode(padded) == decode(event)
    assert decode(padded + b" ") == Rejected(RejectReason.TOO_LARGE)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"b":', b"}]")])
def test_nesting_is_bounded(opening, closing):
    """An extra field may nest up to the bound, counting the event itself, and no deeper."""
    levels = opening.count(b"[") + opening.count(b"{")
    for depth in range(limits.NESTING_DEPTH_MAX - 2, limits.NESTING_DEPTH_MAX + 3):
        inside, rest = divmod(depth - 1, levels)
        value = b"[" * rest + opening * inside + b"0" + closing * inside + b"]" * rest
        result = decode(b'{"type":"hold","call_id":"c","at":1,"x":' + value + b"}")

        if depth <= limits.NESTING_DEPTH_MAX:
            assert isinstance(result, Event)
        else:
            assert result == Rejected(RejectReason.TOO_DEEP)


def test_the_shortest_event_that_nests_too_deep_is_rejected():
    """No event is short enough to slip under the length from which brackets are counted."""
    depth = limits.NESTING_DEPTH_MAX
    raw = b'{"type":"hold","call_id":"c","at":0,"":' + b"[" * depth + b"]" * depth + b"}"

    assert decode(raw) == Rejected(RejectReason.TOO_DEEP)


def test_many_brackets_that_do_not_nest_are_accepted():
    """Brackets beside each other and inside strings are no nesting."""
    many = limits.NESTING_DEPTH_MAX + 1
    beside = b"[" + b"[]," * many + b"{}]"
    inside = b'"\\"' + b"[{" * many + b'\\\\"'
    for value in (beside, inside):
        assert isinstance(decode(b'{"type":"hold","call_id":"c","at":1,"x":' + value + b"}"), Event)
