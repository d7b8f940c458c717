"""Prometheus and Alertmanager beside the demo, where they are installed, with the configuration that is shipped.

The copies of the configuration that they run with differ from the shipped files in addresses only. They live in
a directory of their own, which goes when the demo does; so do the two processes, even if the demo is killed.
"""

import re
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.clock import monotonic_s
from stream.kafka.process import ChildProcess
from stream.ready import is_ready

CONFIGURATION: Final = Path(__file__).parents[2] / "grafana"
HOST: Final = "127.0.0.1"
PROMETHEUS_PORT: Final = 9090  # their own defaults, where these are free
ALERTMANAGER_PORT: Final = 9093
READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 5.0
_LOOK_S: Final = 0.2
_ANSWER_S: Final = 2.0
_LOG_TAIL_BYTES: Final = 400
# Debian calls the second one otherwise.
_PROGRAMS: Final = {
    "Prometheus": ("prometheus",),
    "Alertmanager": ("prometheus-alertmanager", "alertmanager"),
}
_INSTALL: Final = (
    "{missing} not installed: the demo goes on without; apt-get install prometheus prometheus-alertmanager, "
    "or put the programs of prometheus.io into PATH"
)
_GRAFANA: Final = (
    "Grafana    is part of docker-compose.yml: GRAFANA_ADMIN_PASSWORD=... docker compose --profile demo up --build "
    "--detach, then http://127.0.0.1:3000/ (docs/dashboards.md)"
)
# What is replaced in the shipped file; a test holds each against it.
_WORKERS: Final = re.compile(r"^    dns_sd_configs:\n(?: {6,}.*\n)+", re.MULTILINE)
_ALERTMANAGERS: Final = '"alertmanager:9093"'
_ITSELF: Final = '"127.0.0.1:9090"'


class MonitoringError(Exception):
    """One of the two cannot run; one line that says why. The demo goes on without."""


@dataclass(slots=True)
class Monitoring:
    """What was started; ``say`` gets the lines for the user."""

    say: Callable[[str], None]
    configuration: Path = CONFIGURATION
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="callgauge-demo-")))
    running: list[ChildProcess] = field(default_factory=list)

    def start(self, worker: str) -> None:
        """Start what is installed, watching the worker at this ``host:port``; say where, or what is missing."""
        programs = {name: _found(commands) for name, commands in _PROGRAMS.items()}
        missing = " and ".join(name for name, program in programs.items() if program is None)
        if missing:
            self.say(_INSTALL.format(missing=f"{missing} {'are' if ' and ' in missing else 'is'}"))
        if not self.configuration.is_dir():
            self.say(f"no {self.configuration}: run the demo from callgauge's source tree to have alerts")
            return
        ports = {name: free_port_near(port) for name, port in _PORTS.items()}
        try:
            if program := programs["Alertmanager"]:
                self._start("Alertmanager", ports, self._alertmanager(program, ports))
            if program := programs["Prometheus"]:
                self._start("Prometheus", ports, self._prometheus(program, ports, worker))
        except (MonitoringError, OSError) as error:
            self.say(f"alerts     {error}; the demo goes on without")
        self.say(_GRAFANA)

    def stop(self) -> None:
        """End both, and remove what they wrote."""
        for process in self.running:
            process.stop(STOP_WITHIN_S)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _prometheus(self, program: str, ports: dict[str, int], worker: str) -> list[str]:
        shutil.copytree(self.configuration / "prometheus" / "rules", self.directory / "rules")
        shipped = (self.configuration / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
        file = self.directory / "prometheus.yml"
        file.write_text(
            addressed(shipped, worker, ports["Prometheus"], ports["Alertmanager"]), encoding="utf-8"
        )
        return [
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={self.directory / 'prometheus'}",
            f"--web.listen-address={HOST}:{ports['Prometheus']}",
            "--log.level=warn",
        ]

    def _alertmanager(self, program: str, ports: dict[str, int]) -> list[str]:
        return [
            program,
            f"--config.file={self.configuration / 'alertmanager' / 'alertmanager.yml'}",
            f"--storage.path={self.directory / 'alertmanager'}",
            f"--web.listen-address={HOST}:{ports['Alertmanager']}",
            "--cluster.listen-address=",  # one alone
            "--log.level=warn",
        ]

    def _start(self, name: str, ports: dict[str, int], command: list[str]) -> None:
        log = self.directory / f"{name}.log"
        process = ChildProcess(command, log, self.directory)
        self.running.append(process)
        end_s = monotonic_s() + READY_WITHIN_S
        while not is_ready(f"{HOST}:{ports[name]}", _ANSWER_S):
            if process.wait(_LOOK_S):
                raise MonitoringError(f"{name} ended at once: {_last_line(log)}")
            if monotonic_s() > end_s:
                raise MonitoringError(f"{name} was not ready within {READY_WITHIN_S:g} s: {_last_line(log)}")
        self.say(f"{name:<12} http://{HOST}:{ports[name]}/")


_PORTS: Final = {"Prometheus": PROMETHEUS_PORT, "Alertmanager": ALERTMANAGER_PORT}


def addressed(shipped: str, worker: str, prometheus_port: int, alertmanager_port: int) -> str:
    """Return Prometheus' configuration with other addresses: the worker at ``host:port``, and the two themselves."""
    text, replaced = _WORKERS.subn(f'    static_configs:\n      - targets: ["{worker}"]\n', shipped)
    for old, port in ((_ALERTMANAGERS, alertmanager_port), (_ITSELF, prometheus_port)):
        replaced += text.count(old)
        text = text.replace(old, f'"{HOST}:{port}"')
    if replaced != 3:  # noqa: PLR2004 - workers, Alertmanager, Prometheus
        raise MonitoringError("prometheus.yml does not have the addresses that the demo replaces")
    return text


def free_port_near(port: int) -> int:
    """Return the port itself, or any free one when it is taken."""
    for wanted in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return port


def _found(commands: tuple[str, ...]) -> str | None:
    return next((path for command in commands if (path := shutil.which(command))), None)


def _last_line(log: Path) -> str:
    text = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip() if log.exists() else ""
    return text.rpartition("\n")[2] or "it said nothing"
