"""A worker that starts before its Kafka: it says so, waits, and loses nothing."""

import json
import time
from pathlib import Path

import pytest

from stream.kafka import EmbeddedKafka
from tests.whole.conftest import Centre, value

pytestmark = pytest.mark.broker


def test_a_worker_waits_for_its_kafka_and_says_so(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """503 with the address, no numbers that would look like zeros, one line an attempt; then it counts."""
    later = EmbeddedKafka()
    later.start()
    port = int(later.bootstrap_servers.rpartition(":")[2])
    later.stop()
    config = tmp_path / "callgauge.toml"
    config.write_text(f'[kafka]\nbootstrap_servers = "127.0.0.1:{port}"\npartitions = 3\n')
    centre = Centre(kafka, config, {})
    worker = centre.worker()
    try:
        code, reason = worker.get("/readyz")
        assert (code, f"127.0.0.1:{port}" in reason) == (503, True)
        assert worker.get("/healthz")[0] == 200
        samples = worker.metrics()
        assert value(samples, "callgauge_ready") == 0
        assert not [name for name, _ in samples if name.startswith(("callcenter_", "callgauge_events_"))]

        with EmbeddedKafka(port=port):
            event = {"type": "queued", "call_id": "c", "queue": "q", "at": time.time_ns() // 1_000_000}
            worker.wait_for("it is ready", lambda seen: value(seen, "callgauge_ready") == 1)
            centre.run("send", "-", data=json.dumps(event).encode())
            worker.wait_for(
                "the call waits", lambda seen: value(seen, "callcenter_contacts_waiting", queue="q") == 1
            )
            errors = worker.stop()
    finally:
        worker.process.kill()
        worker.process.communicate()
    attempts = [line for line in errors.splitlines() if "cannot reach Kafka" in line]
    assert attempts
    assert all("next attempt in" in line for line in attempts)
    assert "Traceback" not in errors
