"""What is in a record, and what opens Kafka, is in nothing that a worker writes or shows."""

import json
import sys
import time
from pathlib import Path

import psutil
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.security.conftest import PASSWORD, Secured, set_password

pytestmark = pytest.mark.broker

CANARY = "canary"  # in the password too
NOW_MS = time.time_ns() // 1_000_000
CALL = b"canary-call"
# aiokafka's clients pause between attempts: some four a second together, until the worker gives up
ATTEMPTS_MAX = 1_000
PAGES = ("", "board.json", "metrics", "healthz", "readyz", "nowhere")


def event(**fields: object) -> bytes:
    """Return an event of the canary's call."""
    return json.dumps({"type": "offered", "call_id": CALL.decode(), "at": NOW_MS, **fields}).encode()


GOOD = [
    (CALL, event(type="queued", queue="sales", note="canary-note", event_id="canary-event")),
    (CALL, event(type="answered", agent="canary-agent", at=NOW_MS + 1, channel="canary-channel")),
]
LATE = [(CALL, event(at=NOW_MS - 7_200_000, event_id="canary-late"))]
BAD = [
    (CALL, b"canary, no JSON"),
    (CALL, b'{"canary": \xff}'),
    (CALL, b'"canary"'),
    (CALL, b'{"call_id": "canary", "type": "canary-type", "at": 1}'),
    (CALL, event(at="canary-time")),
    (CALL, event(type="queued", queue={"canary": 1})),
    (CALL, event(type="queued", queue="canary" * 100)),
    (CALL, event(type="left", reason="canary-reason", queue="sales")),
    (CALL, event(note="canary" * 20_000)),
    (CALL, event(at=4_102_444_800_000)),
    (b"canary-other-call", event()),
    (None, event()),
    (b"canary\xff", event()),
]
OF_A_BUG = (CALL, event(note="canary crash"))


def send(secured: Secured, topic: str, records: list[tuple[bytes | None, bytes]]) -> None:
    """Write records into the first partition."""
    producer = KafkaProducer(bootstrap_servers=secured.broker.bootstrap_servers)
    for key, content in records:
        producer.send(topic, key=key, value=content, partition=0).get(60)
    producer.close()


def headers_of(secured: Secured, topic: str) -> list[str]:
    """Return the headers of everything in the first partition, as text."""
    consumer = KafkaConsumer(bootstrap_servers=secured.broker.bootstrap_servers, enable_auto_commit=False)
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    end = consumer.end_offsets([place])[place]
    found = []
    while consumer.position(place) < end:
        for records in consumer.poll(timeout_ms=500).values():
            found += [repr(record.headers) for record in records]
    consumer.close()
    return found


@pytest.fixture
def commands(secured, command, tmp_path):
    """Make a command line whose password comes from a file; its topics exist."""
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    made = command(secured.options("SASLTLS", sasl_password="", sasl_password_file=str(file)))
    assert made.run("topics").returncode == 0
    return made


def topic_of(commands, name: str) -> str:
    """Return the name of one of the test's topics."""
    values = json.loads(commands.run("config", "--json").stdout)["values"]
    return values[f"kafka.topic_{name}"]["value"]


def test_nothing_of_a_record_or_a_password_is_in_anything_that_a_worker_writes(secured, commands, start):
    """Good, bad, late, oversized and misplaced records: counted, kept, and nowhere else."""
    worker = start(commands)
    worker.wait_until("it is ready", lambda: worker.count("callgauge_ready") == 1)
    send(secured, topic_of(commands, "events"), [*GOOD, *LATE, *BAD])
    worker.wait_until("all is rejected", lambda: worker.count("callgauge_events_rejected_total") == len(BAD))
    worker.wait_until(
        "the late one is counted", lambda: worker.count("callgauge_events_late_total") == len(LATE)
    )
    worker.wait_until("it has saved", lambda: worker.count("callgauge_checkpoint_timestamp_seconds") > 0)

    seen = {page: worker.get(page) for page in PAGES}
    seen["openmetrics"] = worker.get("metrics", accept="application/openmetrics-text; version=1.0.0")
    assert worker.stop() == 0, worker.said()
    seen["log"] = worker.said()
    for name in ("dead", "late"):
        seen[name] = "\n".join(headers_of(secured, topic_of(commands, name)))
    for arguments in (("config",), ("config", "--json")):
        done = commands.run(*arguments)
        seen[" ".join(arguments)] = (done.stdout + done.stderr).decode()

    assert len(seen["dead"].splitlines()) == len(BAD)
    assert len(seen["late"].splitlines()) == len(LATE)
    assert "sales" in seen["metrics"]
    assert {name for name, text in seen.items() if CANARY in text.lower()} == set()


def test_a_bug_in_the_fold_ends_the_worker_and_still_shows_nothing_of_the_record(secured, commands, start):
    """The log names the exception's kind and its places in the code; not what it says."""
    script = Path(__file__).with_name("crashing_worker.py")
    commands.program = [sys.executable, str(script)]
    worker = start(commands)
    worker.wait_until("it is ready", lambda: worker.count("callgauge_ready") == 1)
    send(secured, topic_of(commands, "events"), [*GOOD, OF_A_BUG])

    assert worker.process.wait(120) == 1
    assert "KeyError" in worker.said()
    assert "crashing_worker.py" in worker.said()
    assert CANARY not in worker.said()


def test_a_worker_listens_on_its_one_port_and_nothing_else(commands, start):
    """Faust's web server is off, and no other library opens a port; its paths are not here."""
    worker = start(commands)
    worker.wait_until("it is ready", lambda: worker.count("callgauge_ready") == 1)
    process = psutil.Process(worker.process.pid)
    family = [process, *process.children(recursive=True)]
    listening = [
        one.laddr
        for each in family
        for one in each.net_connections("all")
        if one.status == psutil.CONN_LISTEN
    ]

    assert [f"http://{one.ip}:{one.port}/" for one in listening] == [worker.address]
    for path in ("table", "tables/", "router", "router/", "graph", "stats", "stats/", "livecheck", "debug"):
        assert worker.get(path) == "404: Not Found\n"


def test_a_password_that_changes_under_a_worker_ends_it_with_a_line_and_without_a_storm(
    secured, commands, start
):
    """The running clients take it for a broker that is away; the worker ends, and says what it was."""
    worker = start(commands)
    worker.wait_until("it is ready", lambda: worker.count("callgauge_ready") == 1)
    try:
        set_password(secured.broker.bootstrap_servers, "another-canary")
        secured.broker.restart()

        assert worker.process.wait(240) == 1
        attempts = secured.broker.log_path.read_text().count("Failed authentication")
    finally:
        set_password(secured.broker.bootstrap_servers, PASSWORD)
    assert "its password is wrong for SCRAM-SHA-512" in worker.said()
    assert CANARY not in worker.said()
    assert 0 < attempts < ATTEMPTS_MAX


def test_a_worker_that_others_could_reach_does_not_start_unless_that_is_said(commands):
    """Neither the environment nor an option opens the port by accident."""
    done = commands.run("worker", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - refused

    assert done.returncode == 2
    assert b"--allow-remote" in done.stderr
    assert done.stderr.count(b"\n") == 1
