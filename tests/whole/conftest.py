"""The commands as a user starts them: real processes, the real broker, the real /metrics."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream.kafka import EmbeddedKafka

DEADLINE_S = 120.0  # generous: a machine that is busy is slow, not wrong
LOOK_S = 0.1
ROOT = Path(__file__).parents[2]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Centre:
    """One configuration, and the processes that run with it."""

    broker: EmbeddedKafka
    config: Path
    names: dict[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *arguments: str) -> list[str]:
        """Return a command line with this configuration."""
        return [sys.executable, "-m", "stream", *arguments, "--config", str(self.config)]

    def run(self, *arguments: str, code: int = 0, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        done = subprocess.run(
            self.command(*arguments), input=data, capture_output=True, cwd=ROOT, check=False
        )
        assert done.returncode == code, done.stderr.decode()
        return done

    def worker(self, port: str = "0") -> "Worker":
        """Start a worker, on a free port unless one is given, and wait until it listens."""
        process = subprocess.Popen(
            self.command("worker", "--port", port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, process.communicate()[1]
        return Worker(process, "http://" + line.split("http://")[1].split()[0].rstrip("/"))


@dataclass
class Worker:
    """A running worker, seen from outside."""

    process: subprocess.Popen[str]
    address: str

    def get(self, path: str, accept: str = "text/plain") -> tuple[int, str]:
        """Ask over HTTP."""
        request = urllib.request.Request(self.address + path, headers={"Accept": accept})  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self) -> Samples:
        """Return every sample, by name and labels."""
        _, text = self.get("/metrics")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def wait_for(self, what: str, condition: Callable[[Samples], Any]) -> Samples:
        """Look at the metrics until the condition holds."""
        deadline_s = time.monotonic() + DEADLINE_S  # noqa: TID251 - a test's own patience
        while True:
            assert self.process.poll() is None, f"the worker ended: {self.process.communicate()[1]}"
            samples = self.metrics()
            if condition(samples):
                return samples
            assert time.monotonic() < deadline_s, f"waited in vain until {what}"  # noqa: TID251
            time.sleep(LOOK_S)

    def stop(self) -> str:
        """Ask it to stop; return what it logged."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        assert self.process.returncode == 0, errors
        return errors


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return one sample; 0 where there is none."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def total(samples: Samples, name: str) -> float:
    """Add up all samples of a name."""
    return sum(found for (sample, _), found in samples.items() if sample == name)


@pytest.fixture
def centre(kafka: EmbeddedKafka, unique_name: str, tmp_path: Path) -> Iterator[Centre]:
    """Lend a configuration with topics of its own; every process is gone afterwards."""
    names = {name: f"{unique_name}-{name}" for name in ("events", "cells", "intervals", "dead", "late")}
    topics = "\n".join(f"topic_{name} = {json.dumps(topic)}" for name, topic in names.items())
    config = tmp_path / "callgauge.toml"
    config.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\ngroup_id = "{unique_name}"\n{topics}\n'
        '[queue_defaults]\nshort_abandon = "6s"\n'
    )
    lent = Centre(kafka, config, names)
    yield lent
    for process in lent.running:
        process.kill()
        process.communicate()
