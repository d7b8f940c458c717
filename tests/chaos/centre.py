"""What a run has: a broker behind a proxy, and workers as real processes that are watched from outside."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream.access import access_of
from stream.clock import monotonic_s
from stream.commands.common import configuration
from stream.engine import EngineSettings
from stream.kafka import EmbeddedKafka
from stream.wiring import engine_settings
from tests import oracle
from tests.chaos.feed import GRACE_MS
from tests.chaos.proxy import HOST, Proxy
from tests.chaos.worker import JUMP
from tests.machine import free_port

ROOT = Path(__file__).parents[2]
SESSION_S = 6.0  # the least that a broker allows
PARTITIONS, SHARDS = 6, 3
PATIENCE_S = 300.0  # until all is well again; a machine that is busy is slow, not wrong
LOOK_S = 0.1
HTTP_S = 20.0
LAG_MAX = 500  # records; the feed goes on while we look
BUCKET_MS = 5_000
SPARE = "no partitions assigned"
CONFIG = """
[kafka]
bootstrap_servers = "{servers}"
group_id = "chaos"
partitions = {partitions}
shards = {shards}
session_timeout = "{session_s:.0f}s"
[events]
grace = "{grace_s}s"
[windows]
interval = "15m"
[queue_defaults]
short_abandon = "5s"
[worker]
publish_interval = "200ms"
checkpoint_interval = "1s"
"""


class ChaosError(AssertionError):
    """A run that did not do what it must; one line."""


def wait_until(what: str, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Look until it holds, and return what it returned."""
    deadline_s = monotonic_s() + patience_s
    while not (found := condition()):
        if monotonic_s() > deadline_s:
            raise ChaosError(f"waited in vain for {patience_s:.0f} s until {what}")
        time.sleep(LOOK_S)
    return found


def state_of(pid: int) -> str:
    """Return what the kernel says of a process: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def bucket_of(board: dict[str, Any]) -> int | None:
    """Return the number of the bucket that a board's clock is in."""
    return None if board["clock"] is None else oracle.instant(board["clock"]) // BUCKET_MS


@dataclass
class Worker:
    """One running worker."""

    process: subprocess.Popen[bytes]
    said: Path
    logged: Path

    @property
    def running(self) -> bool:
        """Say whether it has not ended."""
        return self.process.poll() is None

    def connect(self) -> http.client.HTTPConnection | None:
        """Return a connection to its port, which the kernel takes even for a frozen process."""
        told = self.said.read_text()
        if "http://" not in told:
            return None
        address = told.split("http://")[1].split()[0].rstrip("/")
        return http.client.HTTPConnection(address, timeout=HTTP_S)

    def get(self, path: str) -> tuple[int, str]:
        """Ask for a page; (0, "") when nobody answers."""
        connection = self.connect()
        if connection is None:
            return 0, ""
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        return 0, ""

    @property
    def spare(self) -> bool:
        """Say whether it has nothing to do."""
        return SPARE in self.get("/readyz")[1]

    def lag(self, topic: str) -> int | None:
        """Return how far it is behind in its partitions of the topic; None while it is not ready."""
        status, _ = self.get("/readyz")
        if status != http.client.OK:
            return None
        lines = [
            line
            for line in self.get("/metrics")[1].splitlines()
            if line.startswith("callgauge_lag_records{") and f'topic="{topic}"' in line
        ]
        return sum(int(float(line.rpartition(" ")[2])) for line in lines)


@dataclass
class Centre:
    """The whole of it."""

    folder: Path
    seed: int
    workers: dict[int, Worker] = field(default_factory=dict)  # by slot
    ended: list[str] = field(default_factory=list)  # what workers said that ended by themselves
    started: int = 0

    def __post_init__(self) -> None:
        inner, outer = free_port(), free_port()
        self.broker = EmbeddedKafka(
            data_dir=self.folder / "kafka",
            config={
                "listeners": f"PROXIED://{HOST}:{inner}",
                "advertised.listeners": f"PROXIED://{HOST}:{outer}",
                "listener.security.protocol.map": "PROXIED:PLAINTEXT",
            },
        )
        self.proxy = Proxy(outer, inner)
        self.config = self.folder / "callgauge.toml"
        self.config.write_text(
            CONFIG.format(
                servers=f"{HOST}:{outer}",
                partitions=PARTITIONS,
                shards=SHARDS,
                session_s=SESSION_S,
                grace_s=GRACE_MS // 1000,
            )
        )
        self.settings: EngineSettings = self._settings()

    def _settings(self) -> EngineSettings:
        settings = configuration(self.config, None).settings
        return engine_settings(settings, access_of(settings))

    def open(self) -> None:
        """Start the broker and make the topics."""
        self.broker.start()
        subprocess.run(self._command("topics"), cwd=ROOT, check=True, capture_output=True)

    def close(self) -> None:
        """End everything."""
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.wait()
        self.broker.stop()
        self.proxy.close()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.chaos.worker", *arguments, "--config", str(self.config)]

    def launch(self, slot: int, *, jump: str = "") -> Worker:
        """Start a worker; those of even slots have an instance id, so that they keep their partitions."""
        self.started += 1
        said, logged = (self.folder / f"worker-{self.started}.{end}" for end in ("out", "log"))
        named = ["--instance-id", f"chaos-{slot}"] if slot % 2 == 0 else []
        environment = {**os.environ, JUMP: jump}
        with said.open("wb") as out, logged.open("wb") as errors:
            process = subprocess.Popen(
                self._command("worker", "--port", "0", *named),
                stdout=out,
                stderr=errors,
                cwd=ROOT,
                env=environment,
            )
        return Worker(process, said, logged)

    def start(self, slot: int, *, jump: str = "") -> Worker:
        """Start the worker of a slot."""
        self.workers[slot] = self.launch(slot, jump=jump)
        return self.workers[slot]

    def supervise(self) -> None:
        """Start again what has ended by itself, as a supervisor would, and keep what it said."""
        for slot, worker in list(self.workers.items()):
            if not worker.running:
                lines = [line for line in worker.logged.read_text().splitlines() if line.strip()]
                self.ended.append(
                    f"slot {slot} with {worker.process.returncode}: {lines[-1] if lines else 'no word'}"
                )
                self.start(slot)

    def well(self) -> bool:
        """Say whether every worker is ready, or spare while others are not, and nobody is far behind."""
        self.supervise()
        busy = [worker for worker in self.workers.values() if not worker.spare]
        lags = [worker.lag(self.settings.topics.events) for worker in busy]
        return bool(busy) and None not in lags and sum(lag or 0 for lag in lags) <= LAG_MAX

    def recover(self) -> float:
        """Wait until all is well; return how long that took."""
        begin_s = monotonic_s()
        try:
            wait_until("all workers are ready and have caught up", self.well)
        except ChaosError as error:
            shown = {slot: worker.get("/readyz") for slot, worker in self.workers.items()}
            raise ChaosError(f"{error}: {shown}; {self.ended}") from error
        return monotonic_s() - begin_s

    def boards(self) -> list[tuple[dict[str, Any], str]]:
        """Return board and metrics of each worker, taken while its clock stood in one bucket."""

        def one(worker: Worker) -> tuple[dict[str, Any], str] | None:
            before, metrics, after = (
                worker.get(path)[1] for path in ("/board.json", "/metrics", "/board.json")
            )
            if not (before and metrics and after):
                return None
            board: dict[str, Any] = json.loads(before)
            stood_still = bucket_of(board) == bucket_of(json.loads(after))
            return (board, metrics) if stood_still else None

        return [
            wait_until("a worker shows its board", lambda w=worker: one(w))
            for worker in self.workers.values()
        ]

    def signal(self, slot: int, number: signal.Signals) -> None:
        """Send a signal to a worker."""
        self.workers[slot].process.send_signal(number)
