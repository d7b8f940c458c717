"""Anything at all in the topic: each record is counted once under its reason and kept; the next good event counts."""

import json
import time
from typing import Any

import pytest

from tests.whole.conftest import Centre, total, value

pytestmark = pytest.mark.broker

NOW_MS = time.time_ns() // 1_000_000
CALL = b"call-1"


def event(**fields: Any) -> bytes:
    """Return an event of call-1, now, with other fields over it."""
    return json.dumps({"type": "offered", "call_id": "call-1", "at": NOW_MS, **fields}).encode()


# reason -> records as (key, value)
REJECTED: dict[str, list[tuple[bytes | None, bytes | None]]] = {
    "tombstone": [(CALL, None)],
    "too_large": [(CALL, event(note="x" * 1_000_000))],
    "not_utf8": [
        (CALL, b'{"type": "offered", "call_id": "\xff"}'),
        (CALL, event().decode().encode("utf-16")),
    ],
    "not_json": [
        (CALL, b""),
        (CALL, b"hello"),
        (CALL, event(at=float("nan"))),
        (CALL, event(queue="\ud800")),
    ],
    "too_deep": [
        (CALL, b'{"type":"offered","call_id":"call-1","at":1,"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}")
    ],
    "not_object": [(CALL, b"[1, 2]"), (CALL, b"17")],
    "unknown_type": [(CALL, event(type="teleported"))],
    "missing_field": [(CALL, b'{"type": "offered", "call_id": "call-1"}'), (CALL, event(type="queued"))],
    "wrong_type": [(CALL, event(at=1.5)), (CALL, event(queue=7)), (CALL, event(at=True))],
    "out_of_bounds": [
        (CALL, event(at=-1)),
        (CALL, event(at=10**30)),
        (CALL, event(call_id="")),
        (CALL, event(queue="")),
    ],
    "bad_time": [(CALL, event(at="2026-11-22T10:00:00")), (CALL, event(at="yesterday"))],
    "no_key": [(None, event())],
    "key_mismatch": [(b"call-2", event())],
    "future": [(CALL, event(at=4_102_444_800_000))],
}
LATE = [(CALL, event(at=0)), (CALL, event(at=NOW_MS - 3_600_000))]
# In an order that cannot be: applied, and counted by kind.
ANOMALOUS = {
    "abandoned_without_visit": "abandoned",
    "answered_without_visit": "answered",
    "hold_without_conversation": "hold",
    "resumed_without_hold": "resumed",
    "ended_without_conversation": "ended",
}


def anomalies() -> list[tuple[bytes, bytes]]:
    """Return events that no call can have, each of a call of its own."""
    records = []
    for kind, name in ANOMALOUS.items():
        call_id = f"odd-{kind}"
        records.append(
            (call_id.encode(), json.dumps({"type": name, "call_id": call_id, "at": NOW_MS}).encode())
        )
    records.append(
        (b"odd", json.dumps({"type": "left", "call_id": "odd", "at": NOW_MS, "reason": "key"}).encode())
    )
    wrap_up = {"type": "wrap_up", "call_id": "odd", "at": NOW_MS, "duration_ms": 5}
    return [*records, (b"odd", json.dumps(wrap_up).encode())]


def test_each_bad_record_counts_once_and_the_next_good_one_counts(centre: Centre) -> None:
    """After every bad record comes a good one; nothing is lost, and everything set aside has its coordinates."""
    from kafka import KafkaConsumer, KafkaProducer  # noqa: PLC0415 - its import warns, and the filter is set by then

    centre.run("topics")
    producer = KafkaProducer(bootstrap_servers=centre.broker.bootstrap_servers, max_request_size=2_000_000)
    topic = centre.names["events"]
    sent: dict[tuple[int, int], tuple[bytes | None, bytes | None]] = {}

    def send(key: bytes | None, payload: bytes | None) -> None:
        at = producer.send(topic, key=key, value=payload, partition=3).get(timeout=60)
        sent[at.partition, at.offset] = (key, payload)

    good = 0
    bad = [(reason, record) for reason, records in REJECTED.items() for record in records]
    send(b"first", json.dumps({"type": "queued", "call_id": "first", "at": NOW_MS, "queue": "q"}).encode())
    for _, record in [*bad, *(("late", record) for record in LATE)]:
        send(*record)
        good += 1
        call_id = f"good-{good}"
        send(
            call_id.encode(),
            json.dumps({"type": "queued", "call_id": call_id, "at": NOW_MS, "queue": "q"}).encode(),
        )
    for record in anomalies():
        send(*record)
    producer.close()

    worker = centre.worker()
    samples = worker.wait_for(
        "all records are counted",
        lambda seen: (
            value(seen, "callcenter_contacts_queued_total", queue="q") == good + 1
            and total(seen, "callgauge_events_anomalous_total") == len(ANOMALOUS) + 2
        ),
    )

    rejected = {
        reason: value(samples, "callgauge_events_rejected_total", reason=reason) for reason in REJECTED
    }
    assert rejected == {reason: len(records) for reason, records in REJECTED.items()}
    assert value(samples, "callgauge_events_late_total") == len(LATE)
    for kind in [*ANOMALOUS, "left_without_visit", "wrap_up_without_conversation"]:
        assert value(samples, "callgauge_events_anomalous_total", kind=kind) == 1, kind
    assert total(samples, "callgauge_events_total") == good + 1 + len(ANOMALOUS) + 2
    assert "yesterday" not in worker.stop()

    for name, reasons in (("dead", [reason for reason, _ in bad]), ("late", ["late"] * len(LATE))):
        consumer = KafkaConsumer(
            centre.names[name],
            bootstrap_servers=centre.broker.bootstrap_servers,
            auto_offset_reset="earliest",
            consumer_timeout_ms=5_000,
        )
        kept = sorted(consumer, key=lambda record: int(dict(record.headers)["offset"]))
        consumer.close()
        assert [dict(record.headers)["reason"].decode() for record in kept] == reasons
        for record in kept:
            headers = {header: text.decode() for header, text in record.headers}
            assert headers["topic"] == topic
            assert sent[int(headers["partition"]), int(headers["offset"])] == (record.key, record.value)
            assert headers["error"]
            assert "yesterday" not in headers["error"]
