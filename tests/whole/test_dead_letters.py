"""An operator's way with dead letters: bad records in, listed, looked at, repaired, sent again, counted."""

import json
import time
from typing import Any

import pytest
from kafka import KafkaProducer

from stream.letters.limits import VALUE_BYTES_MAX
from tests.whole.conftest import Centre, Worker, total, value

pytestmark = pytest.mark.broker

NOW_MS = time.time_ns() // 1_000_000
CANARY = "canary-5551234"


def event(call_id: str, **fields: Any) -> bytes:
    """Return an event, now, with other fields over it."""
    return json.dumps(
        {"type": "offered", "call_id": call_id, "at": NOW_MS, "queue": "sales", **fields}
    ).encode()


def send(centre: Centre, *records: tuple[bytes | None, bytes | None], **options: Any) -> None:
    """Send records as some producer would, all to one partition: their order is known."""
    producer = KafkaProducer(bootstrap_servers=centre.broker.bootstrap_servers, **options)
    for key, content in records:
        producer.send(centre.names["events"], key=key, value=content, partition=3).get(60)
    producer.close()


def listed(centre: Centre, *options: str) -> list[dict[str, Any]]:
    """Return what the list says."""
    found: list[dict[str, Any]] = json.loads(
        centre.run("dead-letters", "list", "--json", *options).stdout.decode()
    )
    return found


@pytest.fixture
def worker(centre: Centre) -> Worker:
    """Lend a worker that runs on."""
    centre.run("topics")
    return centre.worker()


@pytest.fixture
def letters(centre: Centre, worker: Worker) -> Centre:
    """Lend a centre in which five records were set aside."""
    old = event("call-old", at=NOW_MS - 3_600_000, note=CANARY)
    send(
        centre,
        (b"call-0", event("call-0")),
        (CANARY.encode(), b'{"type": "offered", "call_id": "' + CANARY.encode() + b'", \x1b[2J'),
        (b"call-2", event("call-2", queue="", note=CANARY)),
        (None, event("call-3")),
        (b"call-old", old),
        (b"call-4", None),
    )
    worker.wait_for(
        "all are set aside",
        lambda samples: (
            total(samples, "callgauge_events_rejected_total") == 4
            and value(samples, "callgauge_events_late_total") == 1
        ),
    )
    return centre


def test_letters_are_listed_without_what_is_in_them(letters):
    """By coordinate, reason and source; filters and counts; no data of callers anywhere."""
    found = {letter["reason"]: letter for letter in listed(letters)}

    assert set(found) == {"not_json", "out_of_bounds", "no_key", "late", "tombstone"}
    assert found["out_of_bounds"]["where"] == "queue"
    assert found["not_json"]["source"] == f"{letters.names['events']}:3:1"
    assert found["late"]["letter"] == "late:3:0"
    assert found["tombstone"]["bytes"] == 0
    assert [letter["reason"] for letter in listed(letters, "--reason", "late", "--reason", "no_key")] == [
        "no_key",
        "late",
    ]
    assert len(listed(letters, "--topic", "dead")) == 4
    assert len(listed(letters, "--limit", "2")) == 2
    assert listed(letters, "--partition", "4") == []
    assert len(listed(letters, "--since", "1h")) == 5
    assert listed(letters, "--until", "1h") == []
    assert listed(letters, "--since", "2100-01-01T00:00:00Z") == []
    table = letters.run("dead-letters", "list").stdout.decode()
    counts = letters.run("dead-letters", "list", "--summary").stdout.decode()
    assert "late:3:0" in table
    assert counts.count("\n") == 5
    assert CANARY not in table + counts + json.dumps(found)


def test_a_letter_is_shown_safely_and_its_bytes_can_be_had(letters, tmp_path):
    """Escapes on the terminal, the very bytes in a file and in a pipe."""
    place = listed(letters, "--reason", "not_json")[0]["letter"]
    raw = b'{"type": "offered", "call_id": "' + CANARY.encode() + b'", \x1b[2J'

    shown = letters.run("dead-letters", "show", place).stdout
    assert CANARY.encode() in shown
    assert b"\\x1b[2J" in shown
    assert b"\x1b" not in shown
    assert letters.run("dead-letters", "show", place, "--raw").stdout == raw
    letters.run("dead-letters", "show", place, "--raw", "--out", str(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == raw
    gone = letters.run("dead-letters", "show", place, "dead:3:99", code=1)
    assert b"callgauge: dead:3:99 is not there" in gone.stderr
    assert CANARY.encode() in gone.stdout


def test_repaired_letters_are_counted_by_the_worker(letters, worker, tmp_path):
    """What is repaired counts; what would come back is refused, by force it comes back and says how often."""
    places = {letter["reason"]: letter["letter"] for letter in listed(letters)}
    dry = letters.run("dead-letters", "resend", "--all", "--dry-run", code=1).stdout.decode()
    assert dry.startswith("would send 1; refused 4 (")
    everything = letters.run("dead-letters", "resend", "--all", "--json", code=1)
    refused = {"not_json": 1, "out_of_bounds": 1, "tombstone": 1, "late": 1}
    assert json.loads(everything.stdout) == {
        "dry_run": False,
        "sent": 1,
        "forced": 0,
        "refused": refused,
        "copies": 0,
        "missing": 0,
    }
    repaired = tmp_path / "repaired.json"
    repaired.write_bytes(event("call-2"))
    done = letters.run("dead-letters", "resend", places["out_of_bounds"], "--edit", str(repaired))
    assert done.stdout == b"sent 1\n"
    lines = event("call-5") + b"\n" + event("call-6") + b"\n"
    pair = (places["not_json"], places["tombstone"])
    assert letters.run("dead-letters", "resend", *pair, "--edit", "-", data=lines).stdout == b"sent 2\n"
    assert letters.run("dead-letters", "resend", "--edit", "-", data=event("call-7")).stdout == b"sent 1\n"
    wrong = letters.run("dead-letters", "resend", *pair, "--edit", "-", code=2, data=event("call-5"))
    assert wrong.stderr == b"callgauge: --edit has 1 lines for 2 letters; it needs one each\n"

    worker.wait_for(
        "what was repaired is counted",
        lambda samples: value(samples, "callgauge_events_total", event="offered") == 6,
    )
    letters.run("dead-letters", "resend", places["not_json"], "--force", "--yes")

    def come_back() -> list[dict[str, Any]]:
        return [letter for letter in listed(letters) if letter["resent"]]

    deadline_s = time.monotonic() + 60  # noqa: TID251 - a test's own patience
    while not (again := come_back()):
        assert time.monotonic() < deadline_s, "the letter sent by force has not come back"  # noqa: TID251
    assert [(letter["reason"], letter["resent"]) for letter in again] == [("not_json", 1)]
    letters.run("dead-letters", "resend", again[0]["letter"], "--force")
    while len(again := come_back()) < 2:
        assert time.monotonic() < deadline_s, "the letter sent twice has not come back"  # noqa: TID251
    assert {letter["resent"] for letter in again} == {1, 2}


def test_a_record_that_is_too_large_to_keep_does_not_end_the_worker(centre, worker):
    """Packed, it was small enough for the topic. It is cut, says so, and cannot be sent again as it is."""
    length = 20 * VALUE_BYTES_MAX
    send(
        centre,
        (b"k" * 100_000, b"x" * length),
        (b"call-1", event("call-1")),
        compression_type="gzip",
        max_request_size=2 * length,
    )

    worker.wait_for(
        "the next event is counted",
        lambda samples: (
            value(samples, "callgauge_events_rejected_total", reason="too_large") == 1
            and value(samples, "callgauge_events_total", event="offered") == 1
        ),
    )

    (letter,) = listed(centre)
    assert letter["bytes"] == length
    refused = centre.run("dead-letters", "resend", letter["letter"], code=1)
    assert refused.stdout == b"sent 0; refused 1 (1 cut); --force sends them\n"
    assert len(centre.run("dead-letters", "show", letter["letter"], "--raw").stdout) == VALUE_BYTES_MAX
