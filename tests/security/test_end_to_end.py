"""With the right certificate and password everything works: topics, events in, numbers out."""

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.security.conftest import PASSWORD, ROOT, Command

pytestmark = pytest.mark.broker

DEADLINE_S = 120.0  # generous: a machine that is busy is slow, not wrong
RIGHT = {
    "tls": ("TLS", {}),
    "tls, other name allowed": ("OTHERHOST", {"ssl_check_hostname": False}),
    "certificates of both": ("MUTUAL", {}),
    "scram 512 over tls": ("SASLTLS", {}),
    "scram 256 over tls": ("SASLTLS", {"sasl_mechanism": "SCRAM-SHA-256"}),
    "plain over tls": ("SASLTLS", {"sasl_mechanism": "PLAIN"}),
    "scram 512": ("SASLPLAIN", {}),
    "scram 256": ("SASLPLAIN", {"sasl_mechanism": "SCRAM-SHA-256"}),
    "plain": ("SASLPLAIN", {"sasl_mechanism": "PLAIN"}),
}


@dataclass
class Worker:
    """A running worker, and the files with what it said."""

    process: subprocess.Popen[str]
    folder: Path
    address: str = ""

    def said(self) -> str:
        """Return everything it has written."""
        return (self.folder / "out.txt").read_text() + (self.folder / "errors.txt").read_text()

    def wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        """Look until it holds."""
        deadline_s = time.monotonic() + DEADLINE_S  # noqa: TID251 - a test's own patience
        while not condition():
            assert self.process.poll() is None, f"the worker ended: {self.said()}"
            assert time.monotonic() < deadline_s, f"waited in vain until {what}: {self.said()}"  # noqa: TID251
            time.sleep(0.1)

    def get(self, path: str) -> str:
        """Ask for a page."""
        with urllib.request.urlopen(self.address + path, timeout=30) as answer:  # noqa: S310 - our own
            return answer.read().decode()

    def count(self, name: str) -> float:
        """Add up the samples of a metric."""
        lines = [
            line for line in self.get("metrics").splitlines() if line.startswith((name + "{", name + " "))
        ]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def stop(self) -> int:
        """Ask it to stop; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Command], Worker]]:
    """Start workers; they are gone afterwards."""
    started: list[Worker] = []

    def make(command: Command) -> Worker:
        with (tmp_path / "out.txt").open("w") as out, (tmp_path / "errors.txt").open("w") as errors:
            process = subprocess.Popen(
                command.line("worker", "--port", "0"), stdout=out, stderr=errors, text=True, cwd=ROOT
            )
        worker = Worker(process, tmp_path)
        started.append(worker)
        worker.wait_until("it listens", lambda: "http://" in worker.said())
        worker.address = "http://" + worker.said().split("http://")[1].split()[0]
        return worker

    yield make
    for worker in started:
        worker.process.kill()
        worker.process.wait()


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
