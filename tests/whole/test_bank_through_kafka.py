"""The bank days through `send`, Kafka, `worker` and /metrics. Their time is long past: the counters must fit."""

from pathlib import Path

import pytest

from tests.bank import COUNTS, RATIO_TOLERANCE, convert, expected, needs_bank_calls
from tests.whole.conftest import Centre, Samples, total, value

pytestmark = [pytest.mark.broker, needs_bank_calls()]


def count(samples: Samples, name: str, queue: str) -> int:
    """Return a counter of contacts of a queue; what the table calls offered is queued here."""
    ours = "queued" if name == "offered" else name
    return int(value(samples, f"callcenter_contacts_{ours}_total", queue=queue))


def test_the_counters_are_those_of_the_table(centre: Centre, tmp_path: Path) -> None:
    """Every count of every type of call exactly, every mean to 1e-6; the same again after a restart."""
    events = convert(tmp_path / "bank-calls.jsonl")
    sent = len(events.read_bytes().splitlines())
    centre.run("topics")
    centre.run("send", str(events))
    worker = centre.worker()
    samples = worker.wait_for(
        "all events are counted",
        lambda seen: total(seen, "callgauge_events_total") == sent and _settled(seen),
    )
    _compare(samples)
    worker.stop()

    again = centre.worker()
    _compare(again.wait_for("it is ready", lambda seen: value(seen, "callgauge_ready") == 1))
    again.stop()


def _settled(samples: Samples) -> bool:
    """Say whether stage 2 has heard of everything that stage 1 counted."""
    answered = value(samples, "callgauge_events_total", event="answered")
    return total(samples, "callcenter_contacts_answered_total") == answered and (
        total(samples, "callcenter_talk_seconds_count")
        == value(samples, "callgauge_events_total", event="ended")
    )


def _compare(samples: Samples) -> None:
    by_type = expected()["by_type"]
    found = {queue: {name: count(samples, name, queue) for name in COUNTS} for queue in by_type}

    assert found == {queue: {name: row[name] for name in COUNTS} for queue, row in by_type.items()}
    assert total(samples, "callgauge_events_late_total") == 0
    assert total(samples, "callgauge_events_rejected_total") == 0
    for queue, row in by_type.items():
        for histogram, theirs in (
            ("answer_wait", "asa_s"),
            ("abandon_wait", "abandon_time_s"),
            ("talk", "talk_s"),
        ):
            name = f"callcenter_{histogram}_seconds"
            mean = value(samples, f"{name}_sum", queue=queue) / value(samples, f"{name}_count", queue=queue)
            assert mean == pytest.approx(row[theirs], abs=RATIO_TOLERANCE), (queue, theirs)
        within = value(samples, "callcenter_answer_wait_seconds_bucket", queue=queue, le="20.0")
        assert within == row["answered_within_target"]
