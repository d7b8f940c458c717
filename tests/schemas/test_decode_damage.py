"""Damage every field in every way we could think of, and hold the two decoders against each other.

`decode` answers from msgspec where it can, `decode_reference` never does. They share the reading of instants
(tested in `test_events`) and the numbers of the bounds (`test_limits`), and neither the JSON parser nor the
checks. An event is kept as raw members, `"name":value`, so that damage below the level of JSON can be done.
"""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import Event, Rejected, RejectReason, decode, decode_reference
from schemas.events import BLOCKED_REASONS, EVENT_TYPES, LEFT_REASONS, MODELS, type_of

MARK = "m4rk"
FIELDS = {type_of(model): [name for name in model.model_fields if name != "type"] for model in MODELS}
WHERE = {"", "type", *itertools.chain.from_iterable(FIELDS.values())}
EXTRA = "extra"


def quoted(text):
    return b'"' + text + b'"'


def nested(depth, opening=b"[", closing=b"]"):
    return opening * depth + b"0" + closing * depth


# What stands in the place of a field's value, whatever the field.
VALUES = {
    "null": b"null",
    "true": b"true",
    "false": b"false",
    "zero": b"0",
    "one": b"1",
    "minus one": b"-1",
    "minus zero": b"-0",
    "minus zero float": b"-0.0",
    "integral float": b"1.0",
    "large integral float": b"1722500000000.0",
    "exponent": b"1e3",
    "capital exponent": b"1E3",
    "fraction": b"0.5",
    "overflowing float": b"1e999",
    "vanishing float": b"1e-999",
    "endless exponent": b"1e99999999999999999999",
    "2**31 - 1": b"2147483647",
    "2**31": b"2147483648",
    "2**53 + 1": b"9007199254740993",
    "2**63 - 1": b"9223372036854775807",
    "2**63": b"9223372036854775808",
    "2**64 - 1": b"18446744073709551615",
    "2**64": b"18446744073709551616",
    "-2**63": b"-9223372036854775808",
    "-2**63 - 1": b"-9223372036854775809",
    "400 digits": b"9" * 400,
    "5000 digits": b"9" * 5000,
    "minus 5000 digits": b"-" + b"9" * 5000,
    "5000 zeros and a fraction": b"1" + b"0" * 5000 + b".5",
    "leading zero": b"01",
    "double zero": b"00",
    "minus leading zero": b"-01",
    "plus": b"+1",
    "bare minus": b"-",
    "bare point": b"1.",
    "leading point": b".5",
    "bare exponent": b"1e",
    "hexadecimal": b"0x10",
    "underscore": b"1_000",
    "Arabic digit": "\N{ARABIC-INDIC DIGIT ONE}".encode(),
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "lower-case nan": b"nan",
    "Python None": b"None",
    "unquoted word": b"voice",
    "single quotes": b"'voice'",
    "nothing": b"",
    "empty list": b"[]",
    "list": b"[1]",
    "list with comma": b"[1,]",
    "empty object": b"{}",
    "object": b'{"a":1}',
    "object with comma": b'{"a":1,}',
    "object with bare name": b"{a:1}",
    "object with twice the same name": b'{"a":1,"a":2}',
    "mismatched brackets": b"[}",
    "empty text": b'""',
    "number as text": b'"1"',
    "true as text": b'"true"',
    "null as text": b'"null"',
    "64 characters": quoted(b"x" * 64),
    "65 characters": quoted(b"x" * 65),
    "128 characters": quoted(b"x" * 128),
    "129 characters": quoted(b"x" * 129),
    "64 wide characters": quoted("😀".encode() * 64),
    "65 wide characters": quoted("😀".encode() * 65),
    "128 wide characters": quoted("😀".encode() * 128),
    "129 wide characters": quoted("😀".encode() * 129),
    "128 escaped characters": quoted(b"\\u00e9" * 128),
    "129 escaped pairs": quoted(b"\\ud83d\\ude00" * 129),
    "60000 characters": quoted(b"x" * 60_000),
    "70000 characters": quoted(b"x" * 70_000),
    "surrogate pair": b'"\\ud83d\\ude00"',
    "capital surrogate pair": b'"\\uD83D\\uDE00"',
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"\\udc00"',
    "capital lone surrogate": b'"\\uDFFF"',
    "two high surrogates": b'"\\ud83d\\ud83d"',
    "swapped surrogates": b'"\\ude00\\ud83d"',
    "high surrogate and text": b'"\\ud83dabcdef"',
    "high surrogate and another escape": b'"\\ud83d\\u0041"',
    "escaped backslash before ud800": b'"\\\\ud800"',
    "lone surrogate in a list": b'["\\ud800"]',
    "lone surrogate as a name": b'{"\\ud800":1}',
    "lone surrogate in a dropped value": b'{"a":"\\ud800","a":1}',
    "escaped NUL": b'"\\u0000"',
    "raw NUL": b'"\x00"',
    "raw newline": b'"\n"',
    "raw tab": b'"\t"',
    "raw control character": b'"\x1f"',
    "raw DEL": b'"\x7f"',
    "every short escape": b'"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    "unknown escape": b'"\\x41"',
    "short escape": b'"\\u12"',
    "escape that is not hexadecimal": b'"\\u12g4"',
    "signed escape": b'"\\u+123"',
    "unclosed text": b'"abc',
    "escaped closing quote": b'"abc\\"',
    "byte ff": b'"\xff"',
    "byte ff in a name": b'{"\xff":1}',
    "byte ff outside text": b"\xff",
    "lone continuation byte": b'"\x80"',
    "cut sequence": b'"\xe2\x82"',
    "overlong slash": b'"\xc0\xaf"',
    "overlong NUL": b'"\xc0\x80"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "latin-1": "ü".encode("latin-1").join([b'"', b'"']),
    "highest character": '"\U0010ffff"'.encode(),
    "noncharacter": '"\uffff"'.encode(),
    "byte order mark in text": '"\ufeff"'.encode(),
    "byte order mark outside text": "\ufeff1".encode(),
    "line separator in text": '"\u2028"'.encode(),
    "no-break space outside text": "\u00a01".encode(),
    "vertical tab outside text": b"\x0b1",
    "comment": b"1/*x*/",
    "nested 127": nested(127),
    "nested 128": nested(128),
    "nested 900": nested(900),
    "nested 20000": nested(20_000),
    "objects nested 127": nested(127, b'{"a":', b"}"),
    "objects nested 128": nested(128, b'{"a":', b"}"),
    "unclosed nesting": b"[" * 200,
    "brackets in text": quoted(b"[{" * 200),
    "brackets beside each other": b"[" + b"[]," * 200 + b"0]",
    "instant": b'"2024-02-29T12:34:56.789+02:00"',
    "instant, lower case": b'"2024-02-29t12:34:56z"',
    "instant, space": b'"2024-02-29 12:34:56Z"',
    "instant, nanoseconds": b'"2024-02-29T12:34:56.999999999Z"',
    "instant, ten digits": b'"2024-02-29T12:34:56.9999999999Z"',
    "instant, escaped": b'"2024-02-29\\u005412:34:56Z"',
    "instant, trailing newline": b'"2024-02-29T12:34:56Z\\n"',
    "instant, no offset": b'"2024-02-29T12:34:56"',
    "instant, leap second": b'"2016-12-31T23:59:60Z"',
    "instant, no such day": b'"2023-02-29T12:34:56Z"',
    "instant, year 0": b'"0000-01-01T00:00:00Z"',
    "instant before the epoch": b'"1969-12-31T23:59:59.999Z"',
    "instant before the epoch by its offset": b'"1970-01-01T00:00:00+00:01"',
    "last instant": b'"9999-12-31T23:59:59.999Z"',
    "instant after the last": b'"9999-12-31T23:59:59.999-00:01"',
    "day": b'"2024-02-29"',
    "mark": quoted(MARK.encode()),
    "mark in a list": b'["' + MARK.encode() + b'"]',
}

# What becomes of the whole member: the name and the value go in, any number of raw members come out.
MEMBERS = {
    "removed": lambda _name, _value: [],
    "twice the same": lambda name, value: [name + b":" + value] * 2,
    "bad first, good last": lambda name, value: [name + b":[5]", name + b":" + value],
    "good first, bad last": lambda name, value: [name + b":" + value, name + b":[5]"],
    "null first, good last": lambda name, value: [name + b":null", name + b":" + value],
    "good first, null last": lambda name, value: [name + b":" + value, name + b":null"],
    "another text last": lambda name, value: [name + b":" + value, name + b':"other"'],
    "lone surrogate first": lambda name, value: [name + b':"\\ud800"', name + b":" + value],
    "byte ff first": lambda name, value: [name + b':"\xff"', name + b":" + value],
    "upper-case name": lambda name, value: [name.upper() + b":" + value],
    "capital name": lambda name, value: [name.title() + b":" + value],
    "upper-case value": lambda name, value: [name + b":" + value.upper()],
    "dashes in the name": lambda name, value: [name.replace(b"_", b"-") + b":" + value],
    "space in the name": lambda name, value: [b'" ' + name[1:] + b":" + value],
    "NUL in the name": lambda name, value: [name[:-1] + b'\\u0000":' + value],
    "escaped name": lambda name, value: [b'"\\u%04x' % name[1] + name[2:] + b":" + value],
    "escaped name, twice": lambda name, value: [
        name + b":[5]",
        b'"\\u%04x' % name[1] + name[2:] + b":" + value,
    ],
    "lone surrogate after the name": lambda name, value: [name[:-1] + b'\\ud800":' + value],
    "byte ff after the name": lambda name, value: [name[:-1] + b'\xff":' + value],
    "bare name": lambda name, value: [name[1:-1] + b":" + value],
    "single-quoted name": lambda name, value: [b"'" + name[1:-1] + b"':" + value],
    "no colon": lambda name, value: [name + b" " + value],
    "two colons": lambda name, value: [name + b"::" + value],
    "equals sign": lambda name, value: [name + b"=" + value],
    "no value": lambda name, _value: [name],
    "empty member": lambda name, value: [name + b":" + value, b""],
    "empty name": lambda _name, value: [b'"":' + value],
    "whitespace": lambda name, value: [b" \t\r\n" + name + b" \t\r\n:\t" + value + b" \r"],
    "form feed": lambda name, value: [name + b":\x0c" + value],
    "value in a list": lambda name, value: [name + b":[" + value + b"]"],
    "value as text": lambda name, value: [name + b":" + json.dumps(value.decode("latin-1")).encode()],
    "two values": lambda name, value: [name + b":" + value + b" " + value],
    "cut value": lambda name, value: [name + b":" + value[:-1]],
    "unclosed object": lambda name, value: [name + b":{" + value],
}

DAMAGE = {f"value: {kind}": lambda name, _, new=new: [name + b":" + new] for kind, new in VALUES.items()} | {
    f"member: {kind}": change for kind, change in MEMBERS.items()
}

# What becomes of the whole record.
RECORD_DAMAGE = {
    "none": lambda raw: raw,
    "byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "trailing word": lambda raw: raw + b" x",
    "trailing bracket": lambda raw: raw + b"}",
    "trailing NUL": lambda raw: raw + b"\x00",
    "trailing byte ff": lambda raw: raw + b"\xff",
    "trailing comma": lambda raw: raw[:-1] + b",}",
    "leading comma": lambda raw: b"{," + raw[1:],
    "whitespace": lambda raw: b"\r\n\t " + raw + b" \t\r\n",
    "vertical tab": lambda raw: raw + b"\x0b",
    "cut": lambda raw: raw[:-1],
    "cut in the middle": lambda raw: raw[: len(raw) // 2],
    "twice": lambda raw: raw + raw,
    "two lines": lambda raw: raw + b"\n" + raw,
    "in a list": lambda raw: b"[" + raw + b"]",
    "as text": lambda raw: json.dumps(raw.decode("latin-1")).encode(),
    "UTF-16": lambda raw: raw.decode("latin-1").encode("utf-16"),
    "UTF-16 without a mark": lambda raw: raw.decode("latin-1").encode("utf-16-le"),
    "UTF-32": lambda raw: raw.decode("latin-1").encode("utf-32"),
    "padded to the bound": lambda raw: raw.ljust(65_536),
    "padded beyond the bound": lambda raw: raw.ljust(65_537),
    "an extra field of 300 characters": lambda raw: raw[:-1] + b',"long":"' + b"x" * 300 + b'"}',
    "an extra field beyond ASCII": lambda raw: raw[:-1] + ',"schlüssel":"😀"}'.encode(),
}

SAMPLES = {
    "call_id": "8f14e45f-ceea-467f-9c3b-0d1b2a3c4d5e",
    "at": 1_722_500_000_123,
    "event_id": "e-1",
    "channel": "chat",
    "schema_version": 2,
    "queue": "sales",
    "agent": "ann",
    "duration_ms": 90_000,
}


def sample(event_type):
    """Return an event with every field of its type and one field more, as raw names and values."""
    reason = {"left": "timeout", "blocked": "busy"}.get(event_type, "customer")
    values = {name: SAMPLES.get(name, reason) for name in FIELDS[event_type]}
    fields = {"type": event_type, **values, EXTRA: {"a": [1, "x"]}}
    return {name: json.dumps(value).encode() for name, value in fields.items()}


def assembled(fields, damaged=(), order=None):
    """Join raw fields into a record, with the damage of `damaged` (name -> kind) done."""
    damaged = dict(damaged)
    members = []
    for name in order or fields:
        key = quoted(name.encode())
        if name in damaged:
            members.extend(DAMAGE[damaged[name]](key, fields[name]))
        else:
            members.append(key + b":" + fields[name])
    return b"{" + b",".join(members) + b"}"


def agreed(raw):
    """Return what both decoders say, having checked that it is the same and gives nothing away."""
    result, reference = decode(raw), decode_reference(raw)

    assert repr(result) == repr(reference), raw[:500]
    assert type(result) is type(reference)
    if isinstance(result, Rejected):
        assert result.where in WHERE
        assert MARK not in repr(result)
    else:
        assert isinstance(result, Event)
        assert type(result.at) is int
    return result


def test_there_are_enough_kinds_of_damage():
    """Every field, known or not, is damaged in far more than twenty ways."""
    assert len(DAMAGE) >= 150
    assert len(RECORD_DAMAGE) >= 20
    assert len(DAMAGE) * sum(len(sample(event_type)) for event_type in EVENT_TYPES) > 10_000


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_kind_of_damage_to_every_field_is_judged_alike(event_type):
    """One damaged field, wherever it stands: same verdict, same reason, same values."""
    fields = sample(event_type)

    assert isinstance(agreed(assembled(fields)), Event)
    for name in fields:
        reversed_names = list(reversed(fields))
        for kind in DAMAGE:
            agreed(assembled(fields, {name: kind}))
            if name in ("type", "at", EXTRA):
                agreed(assembled(fields, {name: kind}, reversed_names))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_kind_of_damage_to_the_record_is_judged_alike(event_type):
    """The same for what is done to the record as a whole, and for a record cut at every byte."""
    raw = assembled(sample(event_type))
    for damage in RECORD_DAMAGE.values():
        agreed(damage(raw))
    for length in range(len(raw)):
        assert isinstance(agreed(raw[:length]), Rejected)


def test_damage_to_a_field_meets_every_reason():
    """The kinds of damage are varied enough to draw every reason from the decoder, and to be survived."""
    fields = sample("left")
    results = [agreed(assembled(fields, {name: kind})) for name in fields for kind in DAMAGE]
    reasons = {result.reason for result in results if isinstance(result, Rejected)}
    elsewhere = {
        RejectReason.TOMBSTONE,
        RejectReason.NOT_OBJECT,
        RejectReason.NO_KEY,
        RejectReason.KEY_MISMATCH,
        RejectReason.FUTURE,
        RejectReason.CALL_TOO_LONG,
        RejectReason.TOO_MANY_CALLS,
    }

    assert reasons == set(RejectReason) - elsewhere
    assert sum(isinstance(result, Event) for result in results) > 100


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=130)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
instants = st.datetimes(timezones=st.timezones()).map(lambda instant: instant.isoformat())
random_values = {
    "at": st.integers(-1, 253_402_300_800_000) | instants,
    "schema_version": st.integers(0, 2_147_483_648),
    "duration_ms": st.integers(-1, 604_800_001),
    "reason": st.sampled_from(LEFT_REASONS + BLOCKED_REASONS) | texts,
}


@st.composite
def damaged_records(draw):
    """Draw a random event with up to two fields, the record, the order and one byte damaged."""
    event_type = draw(st.sampled_from(EVENT_TYPES))
    fields = sample(event_type)
    escaped = draw(st.booleans())
    for name in draw(st.lists(st.sampled_from([*FIELDS[event_type], EXTRA]), unique=True, max_size=4)):
        values = json_values if name == EXTRA else random_values.get(name, texts)
        fields[name] = json.dumps(draw(values), ensure_ascii=escaped).encode()
    damaged = draw(st.dictionaries(st.sampled_from(list(fields)), st.sampled_from(list(DAMAGE)), max_size=2))
    raw = assembled(fields, damaged, draw(st.permutations(list(fields))))
    raw = RECORD_DAMAGE[draw(st.sampled_from(["none"] * 20 + list(RECORD_DAMAGE)))](raw)
    if raw and draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(raw) - 1))
        raw = raw[:place] + bytes([draw(st.integers(0, 255))]) + raw[place + draw(st.integers(0, 1)) :]
    return raw


@settings(max_examples=300, deadline=None)
@given(damaged_records())
def test_random_events_with_random_damage_are_judged_alike(raw):
    """What nobody thought of: combinations of damage, values, order and single bytes."""
    agreed(raw)
