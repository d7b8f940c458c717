"""With the right certificate and password everything works: topics, events in, numbers out."""

import json
import time

import pytest

from tests.security.conftest import PASSWORD

pytestmark = pytest.mark.broker

RIGHT = {
    "tls": ("TLS", {}),
    "tls, other name allowed": ("OTHERHOST", {"ssl_check_hostname": False}),
    "certificates of both": ("MUTUAL", {}),
    "scram 512 over tls": ("SASLTLS", {}),
    "scram 256 over tls": ("SASLTLS", {"sasl_mechanism": "SCRAM-SHA-256"}),
    "plain over tls": ("SASLTLS", {"sasl_mechanism": "PLAIN"}),
    "plain": ("SASLPLAIN", {"sasl_mechanism": "PLAIN"}),
}


def events(calls: int) -> bytes:
    """Return two events of each call as JSON lines."""
    now_ms = time.time_ns() // 1_000_000
    lines = []
    for number in range(calls):
        call = {"call_id": f"call-{number}", "queue": "sales"}
        lines.append(json.dumps({"type": "queued", "at": now_ms - 9_000} | call))
        lines.append(json.dumps({"type": "answered", "at": now_ms - 4_000} | call))
    return "\n".join(lines).encode()


@pytest.mark.parametrize("case", RIGHT)
def test_topics_are_made_and_records_sent_by_everyone_who_is_let_in(secured, command, case):
    """Both Kafka clients of the commands are let in, with each mechanism."""
    listener, changes = RIGHT[case]
    commands = command(secured.options(listener, **changes))

    made = commands.run("topics")
    assert made.returncode == 0, made.stderr.decode()
    sent = commands.run("send", "-", data=events(2))
    assert sent.returncode == 0, sent.stderr.decode()
    assert sent.stdout == b"sent 4 records\n"
    assert made.stderr == b""
    listed = commands.run("dead-letters", "list", "--json")
    assert (listed.returncode, listed.stderr) == (0, b"")


@pytest.mark.parametrize("case", ["certificates of both", "scram 512 over tls", "plain"])
def test_events_that_go_in_encrypted_come_out_as_numbers(secured, command, start, case):
    """The worker joins, reads, writes checkpoints and publishes; the simulator and `send` deliver."""
    listener, changes = RIGHT[case]
    commands = command(secured.options(listener, **changes))
    worker = start(commands)
    worker.wait_until("it is ready", lambda: worker.count("callgauge_ready") == 1)

    assert commands.run("send", "-", data=events(5)).returncode == 0
    assert commands.run("simulate", "--calls", "3", "--at-once", "--start", "-2m").returncode == 0
    worker.wait_until("all is counted", lambda: worker.count("callcenter_contacts_answered_total") >= 5)
    worker.wait_until("it has saved", lambda: worker.count("callgauge_checkpoint_timestamp_seconds") > 0)

    assert worker.stop() == 0, worker.said()
    assert PASSWORD not in worker.said()
