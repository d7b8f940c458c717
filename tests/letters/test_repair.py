"""What is sent again, and what would only come back."""

import json

import pytest

from stream.core.calls import CallsStage
from stream.core.rules import FoldRules
from stream.letters.layout import Coordinate, Kind, Letter, Source
from stream.letters.limits import RESENT_MAX
from stream.letters.repair import outgoing, refusal

NOW_MS = 1_000_000_000
SKEW_MS = 60_000


def event(**fields):
    return json.dumps({"type": "queued", "call_id": "c", "at": NOW_MS, "queue": "q", **fields}).encode()


def letter(value, reason="not_json", resent=0, key=b"old", value_bytes=None):
    kind = Kind.LATE if reason == "late" else Kind.DEAD
    length = len(value or b"") if value_bytes is None else value_bytes
    place, source = Coordinate(kind, 0, 1), Source("call-events", 0, 9)
    return Letter(place, NOW_MS, reason, "", source, resent, key, value, len(key or b""), length)


@pytest.mark.parametrize(
    ("old", "repaired", "reason"),
    [
        (letter(b"{"), None, "not_json"),
        (letter(None, "tombstone"), None, "tombstone"),
        (letter(event(queue=""), "out_of_bounds"), None, "out_of_bounds"),
        (letter(event(), "late"), None, "late"),
        (letter(event(), "late"), event(queue="other"), "late"),
        (letter(event(), "late"), event(at=NOW_MS - 1), "late"),
        (letter(event(), "late"), event(at=NOW_MS + 1), None),
        (letter(b"{", "late"), event(), None),
        (letter(event(), "no_key"), None, None),
        (letter(event(), "key_mismatch"), None, None),
        (letter(event(at=NOW_MS + SKEW_MS), "future"), None, None),
        (letter(event(at=NOW_MS + SKEW_MS + 1), "future"), None, "future"),
        (letter(b"{"), event(), None),
        (letter(b"{"), b"[]", "not_object"),
        (letter(event(), value_bytes=9_999_999), None, "cut"),
        (letter(event(), value_bytes=9_999_999), event(), None),
        (None, event(), None),
        (None, b"nonsense", "not_json"),
    ],
)
def test_what_would_come_back_is_refused(old, repaired, reason):
    """Judged as the worker judges, before it is sent."""
    found = refusal(old, repaired, NOW_MS, SKEW_MS)

    assert (found.reason if found else None) == reason


def test_what_is_not_refused_is_accepted_by_the_worker():
    """The key is the call of what is sent, whatever the key was before."""
    for old, repaired in ((letter(event(), "no_key", key=None), None), (letter(b"{"), event(call_id="new"))):
        sent = outgoing(old, repaired)
        stage = CallsStage(0, FoldRules())
        record = type("Record", (), {"offset": 0, "timestamp": NOW_MS, "key": sent.key, "value": sent.value})

        assert stage.fold([record()]) == []
        assert sum(stage.tally().events.values()) == 1


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (event(call_id="é"), "é".encode()),
        (b'{"call_id": "c-1"}', b"c-1"),
        (b'{"call_id": ""}', b"old"),
        (b'{"call_id": 7}', b"old"),
        (b'{"call_id": "\\ud800"}', b"old"),
        (b"[" * 100_000, b"old"),
        (b"\xff", b"old"),
        (None, b"old"),
    ],
)
def test_by_force_anything_has_a_key(value, key):
    """That of the call it names, else that of the letter."""
    assert outgoing(letter(value), None).key == key


def test_the_header_counts_how_often_it_was_sent():
    """From one, and no further than the bound."""
    for before, after in ((0, 1), (1, 2), (RESENT_MAX - 1, RESENT_MAX), (RESENT_MAX, RESENT_MAX)):
        assert outgoing(letter(b"{", resent=before), None).headers == [("resent", str(after).encode())]
    assert outgoing(None, event()).headers == [("resent", b"1")]
