"""One example of every rule: what is accepted, and the reason for everything that is not."""

import json
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas import Rejected, RejectReason, decode, decode_reference, encode
from schemas.events import BLOCKED_REASONS, LEFT_REASONS

BARE = b'"call_id":"c","at":1'
HOLD = schemas.Hold(call_id="c", at=1)

EVENTS = [
    schemas.Offered(call_id="c", at=1),
    schemas.Offered(call_id="c", at=1, queue="sales", event_id="e", channel="chat", schema_version=2),
    schemas.Queued(call_id="c", at=1, queue="sales"),
    schemas.Answered(call_id="c", at=1, queue="sales", agent="ann"),
    schemas.Abandoned(call_id="c", at=1),
    schemas.Left(call_id="c", at=1, reason="overflow"),
    schemas.Blocked(call_id="c", at=1, reason="no_agents"),
    schemas.Hold(call_id="c", at=1),
    schemas.Resumed(call_id="c", at=1),
    schemas.Ended(call_id="c", at=1, reason="customer hung up"),
    schemas.WrapUp(call_id="c", at=1, duration_ms=90_000, agent="ann"),
]

REJECTED = {
    None: Rejected(RejectReason.TOMBSTONE),
    b"": Rejected(RejectReason.NOT_JSON),
    b" " * 65_537: Rejected(RejectReason.TOO_LARGE),
    b'{"type":"hold","call_id":"\xff","at":1}': Rejected(RejectReason.NOT_UTF8),
    b'{"type":"hold","call_id":"c","at":1,"x":"\xff"}': Rejected(RejectReason.NOT_UTF8),
    b'{"type":"hold","call_id":"c","at":1,"x":"\xed\xa0\x80"}': Rejected(RejectReason.NOT_UTF8),
    b'{"type":"hold","call_id":"c","at":1,"x":"\\ud800"}': Rejected(RejectReason.NOT_JSON),
    b'{"type":"hold","call_id":"c","at":1,"x":["\\udc00"]}': Rejected(RejectReason.NOT_JSON),
    b'{"type":"hold","call_id":"c","at":1,"\\ud800":2}': Rejected(RejectReason.NOT_JSON),
    b'{"type":"hold","call_id":"c","at":1,"x":NaN}': Rejected(RejectReason.NOT_JSON),
    b'{"type":"hold","call_id":"c","at":-Infinity}': Rejected(RejectReason.NOT_JSON),
    b'\xef\xbb\xbf{"type":"hold","call_id":"c","at":1}': Rejected(RejectReason.NOT_JSON),
    b'{"type":"hold","call_id":"c","at":1}x': Rejected(RejectReason.NOT_JSON),
    b"[" * 129: Rejected(RejectReason.TOO_DEEP),
    b"null": Rejected(RejectReason.NOT_OBJECT),
    b"[]": Rejected(RejectReason.NOT_OBJECT),
    b'"hold"': Rejected(RejectReason.NOT_OBJECT),
    b"{}": Rejected(RejectReason.MISSING_FIELD, "type"),
    b'{"type":"Hold",' + BARE + b"}": Rejected(RejectReason.UNKNOWN_TYPE, "type"),
    b'{"type":"",' + BARE + b"}": Rejected(RejectReason.UNKNOWN_TYPE, "type"),
    b'{"type":null,' + BARE + b"}": Rejected(RejectReason.WRONG_TYPE, "type"),
    b'{"type":["hold"],' + BARE + b"}": Rejected(RejectReason.WRONG_TYPE, "type"),
    b'{"type":"hold","at":1}': Rejected(RejectReason.MISSING_FIELD, "call_id"),
    b'{"type":"hold","Call_id":"c","at":1}': Rejected(RejectReason.MISSING_FIELD, "call_id"),
    b'{"type":"hold","call_id":"c"}': Rejected(RejectReason.MISSING_FIELD, "at"),
    b'{"type":"queued",' + BARE + b"}": Rejected(RejectReason.MISSING_FIELD, "queue"),
    b'{"type":"queued","queue":null,' + BARE + b"}": Rejected(RejectReason.WRONG_TYPE, "queue"),
    b'{"type":"wrap_up",' + BARE + b"}": Rejected(RejectReason.MISSING_FIELD, "duration_ms"),
    b'{"type":"wrap_up","duration_ms":1.0,' + BARE + b"}": Rejected(RejectReason.WRONG_TYPE, "duration_ms"),
    b'{"type":"hold","call_id":5,"at":1}': Rejected(RejectReason.WRONG_TYPE, "call_id"),
    b'{"type":"hold","call_id":"c","at":true}': Rejected(RejectReason.WRONG_TYPE, "at"),
    b'{"type":"hold","call_id":"c","at":1e3}': Rejected(RejectReason.WRONG_TYPE, "at"),
    b'{"type":"hold","call_id":"c","at":null}': Rejected(RejectReason.WRONG_TYPE, "at"),
    b'{"type":"hold","call_id":"","at":1}': Rejected(RejectReason.OUT_OF_BOUNDS, "call_id"),
    b'{"type":"hold","call_id":"c","at":-1}': Rejected(RejectReason.OUT_OF_BOUNDS, "at"),
    b'{"type":"hold","call_id":"c","at":' + b"9" * 5000 + b"}": Rejected(RejectReason.OUT_OF_BOUNDS, "at"),
    b'{"type":"hold","call_id":"c","at":-' + b"9" * 5000 + b"}": Rejected(RejectReason.OUT_OF_BOUNDS, "at"),
    b'{"type":"left","reason":"busy",' + BARE + b"}": Rejected(RejectReason.OUT_OF_BOUNDS, "reason"),
    b'{"type":"left","reason":1,' + BARE + b"}": Rejected(RejectReason.OUT_OF_BOUNDS, "reason"),
    b'{"type":"hold","call_id":"c","at":"1"}': Rejected(RejectReason.BAD_TIME, "at"),
    b'{"type":"hold","call_id":"c","at":""}': Rejected(RejectReason.BAD_TIME, "at"),
    b'{"type":"hold","call_id":"c","at":"2024-01-01T00:00:00"}': Rejected(RejectReason.BAD_TIME, "at"),
}

ACCEPTED_AS_HOLD = {
    "plain": b'{"type":"hold",' + BARE + b"}",
    "type last": b"{" + BARE + b',"type":"hold"}',
    "whitespace": b' \t\r\n{ "type" : "hold" , "call_id":"c" ,"at" :1 } \n',
    "escaped names and values": b'{"\\u0074ype":"\\u0068old","call\\u005fid":"\\u0063","at":1}',
    "the last of two values": b'{"type":"left","call_id":5,"at":"x","type":"hold",' + BARE + b"}",
    "nulls": b'{"type":"hold","event_id":null,"channel":null,"schema_version":null,' + BARE + b"}",
    "fields of other types": b'{"type":"hold","queue":5,"reason":[],"agent":{},"duration_ms":-1,'
    + BARE
    + b"}",
    "an instant as text": b'{"type":"hold","call_id":"c","at":"1970-01-01T01:00:00.0019+01:00"}',
    "numbers of any size, unread": b'{"type":"hold",' + BARE + b',"x":[1e999,-' + b"9" * 5000 + b",1E-999]}",
    "a surrogate pair, unread": b'{"type":"hold",' + BARE + b',"x":"\\ud83d\\ude00","\\uD83D\\uDE00":1}',
    "text beyond ASCII, unread": b'{"type":"hold",' + BARE + ',"ключ":"😀"}'.encode(),
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_encoded_event_decodes_to_itself(event):
    """Encoding loses nothing; both decoders read it."""
    assert decode(encode(event)) == event
    assert decode_reference(encode(event)) == event


@pytest.mark.parametrize(("raw", "rejected"), REJECTED.items(), ids=lambda value: str(value)[:50])
def test_what_is_no_event_is_rejected_for_its_reason(raw, rejected):
    """Each way to be wrong has one reason and names the field."""
    assert decode(raw) == rejected


@pytest.mark.parametrize("raw", ACCEPTED_AS_HOLD.values(), ids=ACCEPTED_AS_HOLD)
def test_the_same_event_may_be_written_in_many_ways(raw):
    """The dialect is no stricter than it says."""
    assert decode(raw) == HOLD
    assert decode_reference(raw) == HOLD


def test_every_reason_of_the_decoder_has_an_example_here():
    """Only the three reasons that need more than the value come from elsewhere."""
    elsewhere = {
        RejectReason.NO_KEY,
        RejectReason.KEY_MISMATCH,
        RejectReason.FUTURE,
        RejectReason.CALL_TOO_LONG,
        RejectReason.TOO_MANY_CALLS,
    }

    assert {rejected.reason for rejected in REJECTED.values()} == set(RejectReason) - elsewhere


def test_the_reasons_are_the_closed_set_of_the_interface():
    """The reasons are values of a metric label, so a new one is a change for users."""
    assert [str(reason) for reason in RejectReason] == [
        "tombstone",
        "too_large",
        "not_utf8",
        "not_json",
        "too_deep",
        "not_object",
        "unknown_type",
        "missing_field",
        "wrong_type",
        "out_of_bounds",
        "bad_time",
        "no_key",
        "key_mismatch",
        "future",
        "call_too_long",
        "too_many_calls",
    ]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_value_may_be_any_kind_of_bytes(kind):
    """A Kafka client hands out what it likes."""
    assert decode(kind(encode(HOLD))) == HOLD
    assert decode(kind(b"{")) == Rejected(RejectReason.NOT_JSON)


def test_an_event_is_written_compactly_with_its_type_first():
    """Defaults and absent fields take no room."""
    event = schemas.Left(call_id="c", at=1, channel="voice", reason="key")

    assert encode(event) == b'{"type":"left","call_id":"c","at":1,"reason":"key"}'


@pytest.mark.parametrize(("event_type", "reasons"), [("left", LEFT_REASONS), ("blocked", BLOCKED_REASONS)])
def test_a_reason_of_a_closed_set_is_plain_text(event_type, reasons):
    """A reason serves as a label and a dictionary key without conversion."""
    for reason in reasons:
        raw = json.dumps({"type": event_type, "call_id": "c", "at": 1, "reason": reason}).encode()

        assert type(decode(raw).reason) is str
        assert decode(raw).reason is decode(raw).reason


def test_a_place_is_never_taken_from_the_data():
    """A record full of a secret is rejected without a word of it."""
    for raw in (
        b'{"secret":1}',
        b'{"type":"secret"}',
        b'{"type":"hold","call_id":["secret"],"at":1}',
        b'{"type":"left","call_id":"secret","at":1,"reason":"secret"}',
        b'{"type":"hold","call_id":"c","at":"secret"}',
        b'"secret"',
        b"secret",
    ):
        assert "secret" not in repr(decode(raw))


@pytest.mark.parametrize(
    "raw",
    [raw for raw in REJECTED if raw is not None] + list(ACCEPTED_AS_HOLD.values()),
    ids=lambda raw: str(raw)[:50],
)
def test_both_decoders_say_the_same_of_every_example(raw):
    """The reference and the fast path are one decoder to the outside."""
    assert repr(decode(raw)) == repr(decode_reference(raw))


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(raw):
    """Whatever the bytes, the answer is an event or a reason."""
    assert isinstance(decode(raw), schemas.Event | Rejected)


def test_an_ordinary_event_never_takes_the_slow_path(monkeypatch):
    """What producers send is decoded by msgspec alone, with extra fields, umlauts and textual times."""
    # schemas.decode is the function; the module of that name hides behind it
    monkeypatch.setattr(sys.modules["schemas.decode"], "decode_reference", None)
    for event in EVENTS:
        fields = msgspec.to_builtins(event) | {"extra": [{"a": 1.5}], "name": "Müller 😀"}
        for at in (1, "1970-01-01T01:00:00.001+01:00"):
            for escaped in (True, False):
                raw = json.dumps(fields | {"at": at}, ensure_ascii=escaped).encode()

                assert decode(raw) == event


def test_a_long_event_stays_on_the_fast_path_too(monkeypatch):
    """A hundred harmless brackets or 60,000 characters of text are no reason to be slow."""
    monkeypatch.setattr(sys.modules["schemas.decode"], "decode_reference", None)
    for extra in ("[" * 100 + "]" * 100, '"' + "x" * 60_000 + '"'):
        assert decode(b'{"type":"hold",' + BARE + b',"x":' + extra.encode() + b"}") == HOLD
