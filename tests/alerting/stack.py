"""A real Prometheus, a real Alertmanager and a receiver, with the shipped configuration and all its spans scaled."""

import json
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from stream.clock import monotonic_s, wall_ms
from tests.machine import free_port, program

GRAFANA = Path(__file__).parents[2] / "grafana"
LOOK_S = 0.1
START_S = 60.0  # generous: a machine that is busy is slow, not wrong
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"\b(\d+)([smhdw])\b")


def scaled(text: str, pace: int) -> str:
    """Return a text with every span of time divided, to the millisecond; what ends a name (`:last5m`) is none."""

    def shorter(found: re.Match[str]) -> str:
        span_ms = int(found[1]) * _UNIT_S[found[2]] * 1_000 // pace
        return f"{span_ms // 1_000}s" if span_ms % 1_000 == 0 else f"{span_ms}ms"

    return _SPAN.sub(shorter, text)


@dataclass
class Receiver:
    """A webhook: keeps what Alertmanager sends, with the receiver's name and when it came."""

    received: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.received.append((wall_ms(), self.path.strip("/"), message))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def heard(self, receiver: str, alert: str, status: str, severity: str = "") -> int | None:
        """Return when a receiver first heard of an alert in this status, ms since the epoch."""
        for at_ms, name, message in list(self.received):
            for found in message["alerts"] if name == receiver else []:
                labels = found["labels"]
                if (labels["alertname"], found["status"]) == (alert, status) and severity in labels[
                    "severity"
                ]:
                    return at_ms
        return None

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@dataclass
class Stack:
    """Prometheus and Alertmanager, running."""

    prometheus: str
    alertmanager: str
    receiver: Receiver
    processes: list[subprocess.Popen[bytes]]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that Alertmanager holds."""
        found: list[dict[str, Any]] = _ask(f"{self.alertmanager}/api/v2/alerts")
        return found

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query."""
        url = f"{self.prometheus}/api/v1/query?query={urllib.request.quote(expression)}"
        found: list[dict[str, Any]] = _ask(url)["data"]["result"]
        return found

    def wait_for(self, what: str, condition: Callable[[], Any], deadline_s: float) -> Any:
        """Look until the condition holds, and return what it returned."""
        end_s = monotonic_s() + deadline_s
        while True:
            for process in self.processes:
                assert process.poll() is None, f"{process.args} ended"
            if found := condition():
                return found
            assert monotonic_s() < end_s, (
                f"waited in vain until {what}; received {self.receiver.received[-5:]}"
            )
            time.sleep(LOOK_S)

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.receiver.close()


def _ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
        return json.loads(answer.read())


def start(folder: Path, target: str, pace: int) -> Stack:
    """Start both for one worker and wait until they answer; `pace` divides every span of the shipped files."""
    path = program("prometheus")
    stack = start_alertmanager(folder, pace)
    port = free_port()
    stack.prometheus = f"http://127.0.0.1:{port}"
    rules = (GRAFANA / "prometheus/rules/callgauge.yml").read_text()
    (folder / "rules.yml").write_text(scaled(rules, pace))
    (folder / "prometheus.yml").write_text(_prometheus(target, stack.alertmanager, pace))
    options = [
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        # its default; what comes before Alertmanager is discovered is offered again after it
        f"--rules.alert.resend-delay={scaled('1m', pace)}",
        "--log.level=error",
    ]
    stack.processes.append(subprocess.Popen([path, *options], cwd=folder))
    stack.wait_for("Prometheus is ready", lambda: _ready(stack.prometheus), START_S)
    return stack


def start_alertmanager(folder: Path, pace: int, *, is_open: bool = True) -> Stack:
    """Start Alertmanager alone, with a receiver, within the opening hours or outside them."""
    path = program("prometheus-alertmanager", "alertmanager")
    receiver, port = Receiver(), free_port()
    (folder / "alertmanager.yml").write_text(_alertmanager(receiver.port, pace, is_open=is_open))
    options = [
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/alerts",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    process = subprocess.Popen([path, *options], cwd=folder)
    stack = Stack("", f"http://127.0.0.1:{port}", receiver, [process])
    stack.wait_for("Alertmanager is ready", lambda: _ready(stack.alertmanager), START_S)
    return stack


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/-/ready", timeout=5) as answer:  # noqa: S310 - our own
            return bool(answer.status == 200)
    except OSError:
        return False


def _prometheus(target: str, alertmanager: str, pace: int) -> str:
    config = yaml.safe_load(scaled((GRAFANA / "prometheus/prometheus.yml").read_text(), pace))
    config["global"]["scrape_timeout"] = config["global"]["scrape_interval"]
    config["rule_files"] = ["rules.yml"]
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "callgauge"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [target]}]
    config["scrape_configs"] = [job]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [
        alertmanager.removeprefix("http://")
    ]
    return yaml.safe_dump(config)


def _alertmanager(port: int, pace: int, *, is_open: bool) -> str:
    config = yaml.safe_load((GRAFANA / "alertmanager/alertmanager.yml").read_text())
    routes = [config["route"], *config["route"]["routes"]]
    for route in routes:
        for key in ("group_wait", "group_interval", "repeat_interval"):
            if key in route:
                route[key] = scaled(route[key], pace)
    # a test runs at any hour
    years = "2000:3000" if is_open else "2000:2001"
    config["time_intervals"] = [{"name": "opening-hours", "time_intervals": [{"years": [years]}]}]
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": f"http://127.0.0.1:{port}/{receiver['name']}"}]
    return yaml.safe_dump(config)
