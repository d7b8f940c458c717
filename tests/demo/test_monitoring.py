"""`callgauge demo --full`: the real Prometheus and Alertmanager (Debian's packages), with the shipped configuration."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from stream.clock import monotonic_s
from stream.demo.monitoring import CONFIGURATION, Monitoring, MonitoringError, addressed, free_port_near
from tests.conftest import IN_CI

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0
SHIPPED = (CONFIGURATION / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def installed():
    """Need both programs; skip loudly without, and fail where CI=true."""
    missing = [name for name in ("prometheus", "prometheus-alertmanager") if shutil.which(name) is None]
    if missing and IN_CI:
        pytest.fail(f"{missing} not installed, and CI=true")
    if missing:
        pytest.skip(f"NOT INSTALLED: {missing}; DEMO --FULL IS NOT TESTED WITH THE REAL ONES")


def test_only_addresses_differ_from_what_is_shipped():
    """The worker, Alertmanager and Prometheus itself; everything else stays, line by line."""
    text = addressed(SHIPPED, "[::1]:7", 8, 9)
    before, after = SHIPPED.splitlines(), text.splitlines()

    assert set(after) - set(before) == {
        '      - targets: ["[::1]:7"]', '        - targets: ["127.0.0.1:9"]', '      - targets: ["127.0.0.1:8"]',
    }  # fmt: skip
    assert [line.split()[0] for line in before if line not in after and not line.strip().startswith("- targets")] == [
        "dns_sd_configs:", "-", "type:", "port:", "refresh_interval:",
    ]  # fmt: skip


def test_a_configuration_without_the_known_addresses_is_refused():
    """Better no alerts than alerts about another machine."""
    with pytest.raises(MonitoringError, match="does not have the addresses"):
        addressed(SHIPPED.replace("dns_sd_configs", "file_sd_configs"), "127.0.0.1:7", 8, 9)


def test_what_is_not_installed_is_said_and_the_demo_goes_on(monkeypatch, tmp_path):
    """One line says what to install; nothing is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = []
    monitoring = Monitoring(lines.append)
    monitoring.start("127.0.0.1:7")
    monitoring.stop()

    assert lines[0].startswith(
        "Prometheus and Alertmanager are not installed: the demo goes on without; apt-get"
    )
    assert "docker compose" in lines[-1]
    assert len(lines) == 2
    assert monitoring.running == []
    assert not monitoring.directory.exists()


def test_one_that_cannot_start_is_said_with_its_own_words(installed, tmp_path):
    """A broken configuration ends Prometheus, not the demo."""
    shutil.copytree(CONFIGURATION, tmp_path / "grafana")
    file = tmp_path / "grafana" / "prometheus" / "prometheus.yml"
    file.write_text(SHIPPED.replace("scrape_timeout: 10s", "scrape_timeout: soon"), encoding="utf-8")
    lines = []
    monitoring = Monitoring(lines.append, tmp_path / "grafana")
    try:
        monitoring.start("127.0.0.1:7")
    finally:
        monitoring.stop()

    assert re.match(r"Alertmanager http://127\.0\.0\.1:\d+/$", lines[0])
    assert lines[1].startswith("alerts     Prometheus ended at once: ")
    assert "soon" in lines[1]
    assert all(process.exit_code is not None for process in monitoring.running)


def test_a_port_that_is_taken_is_replaced_by_a_free_one():
    """Another Prometheus on the machine stays alone."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port_near(port) != port
    assert free_port_near(port) == port


def ask(address, path):
    with urllib.request.urlopen(f"{address.rstrip('/')}{path}", timeout=10) as answer:  # noqa: S310 - our own
        return json.loads(answer.read())["data"]


def wait_for(what, look):
    end_s = monotonic_s() + DEADLINE_S
    while not (found := look()):
        assert monotonic_s() < end_s, f"waited in vain for {what}"
        time.sleep(0.25)
    return found


def test_the_full_demo_is_watched_by_prometheus_and_leaves_nothing_behind(installed, kafka, tmp_path):
    """Both are up, with every shipped rule, scrape the demo's worker, know each other, and end with it."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    said = tmp_path / "said"
    with said.open("w") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "stream", "demo", "--full"],
            cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"TMPDIR": str(directory)},
        )  # fmt: skip
    try:

        def addresses():
            assert demo.poll() is None, said.read_text()
            found = dict(
                re.findall(r"^(Prometheus|Alertmanager) +(http://\S+)$", said.read_text(), re.MULTILINE)
            )
            return found if len(found) == 2 and "docker compose" in said.read_text() else None

        found = wait_for("both addresses", addresses)
        prometheus, alertmanager = found["Prometheus"], found["Alertmanager"]
        groups = ask(prometheus, "/api/v1/rules")["groups"]
        names = {rule["name"] for group in groups for rule in group["rules"]}
        shipped = "".join(file.read_text() for file in (CONFIGURATION / "prometheus" / "rules").glob("*.yml"))
        assert names == set(re.findall(r"^\s*- (?:alert|record): (\S+)$", shipped, re.MULTILINE))
        assert "ContactCentreServiceLevelLow" in names

        def query(text):
            return ask(prometheus, f"/api/v1/query?query={urllib.request.quote(text)}")["result"]

        wait_for("a scrape of the worker", lambda: query('up{job="callgauge"} == 1'))
        wait_for("service levels", lambda: query("callcenter_service_level_ratio"))
        wait_for("Alertmanager", lambda: ask(prometheus, "/api/v1/alertmanagers")["activeAlertmanagers"])
        with urllib.request.urlopen(f"{alertmanager}api/v2/status", timeout=10) as answer:  # noqa: S310 - our own
            assert json.loads(answer.read())["cluster"]["status"] == "disabled"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(DEADLINE_S) == 0, said.read_text()
    finally:
        demo.kill()
        demo.wait()

    for address in (prometheus, alertmanager):
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(address, timeout=5)  # noqa: S310 - our own
    assert list(directory.glob("callgauge-demo-*")) == []
