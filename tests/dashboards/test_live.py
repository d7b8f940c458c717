"""Every query has a result from a real Prometheus that scrapes a real worker counting simulated calls from Kafka."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml

from tests.dashboards.boards import ROOT, filled, targets
from tests.machine import free_port, program

DEADLINE_S = 120.0  # generous: a machine that is busy is slow, not wrong
LOOK_S = 0.5
# Data of a week ago cannot be scraped; tests/dashboards/test_bad_input.py has those queries.
LAST_WEEK = "offset 1w"
VALUES = {"window": "30m", "interval": "30m", "__rate_interval": "20s"}
QUEUE = "sales"
pytestmark = pytest.mark.timeout(900)  # several processes, each of which may have to wait for a core
# So that some give up; with enough agents nobody does.
SHORTAGE = f"staff_shortage {QUEUE} +1m 9h 0.6"


def get(url):
    """Return what a server answers, or nothing while it does not."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:  # noqa: S310 - our own server
            return answer.read()
    except (urllib.error.URLError, OSError):
        return None


def wait_until(what, condition, processes=()):
    """Look until the condition holds."""
    deadline_s = time.monotonic() + DEADLINE_S  # noqa: TID251 - a test's own patience
    while not (found := condition()):
        assert all(process.poll() is None for process in processes), f"a process ended before {what}"
        assert time.monotonic() < deadline_s, f"waited in vain until {what}"  # noqa: TID251
        time.sleep(LOOK_S)
    return found


class Prometheus:
    """A real one, in a folder of its own."""

    def __init__(self, folder, worker):
        config = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
            "scrape_configs": [{"job_name": "callgauge", "static_configs": [{"targets": [worker]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{free_port()}"
        with (folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stderr=log,
            )

    def ask(self, path, **parameters):
        """Return the data of an answer; an error of the query is the test's."""
        answer = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        assert answer is not None, f"Prometheus refuses {parameters}"
        return json.loads(answer)["data"]

    def query(self, expr):
        """Return the result of an instant query."""
        return self.ask("query", query=expr)["result"]


@pytest.fixture(scope="module")
def prometheus(kafka, tmp_path_factory):
    """Lend one that scrapes a worker; an hour of calls lies behind, and they go on."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("live")
    prefix, port = f"live-{os.getpid()}", free_port()
    settings = [
        f"kafka.topic_{name}={prefix}-{name}" for name in ("events", "cells", "intervals", "dead", "late")
    ]
    settings += [
        f"kafka.group_id={prefix}",
        "kafka.partitions=3",
        "kafka.shards=2",
        "worker.checkpoint_interval=1s",
    ]
    common = ["--bootstrap-servers", kafka.bootstrap_servers]
    common += [part for setting in settings for part in ("--set", setting)]

    def start(name, *arguments):
        with (folder / f"{name}.log").open("w") as log:
            command = [sys.executable, "-m", "stream", *arguments, *common]
            return subprocess.Popen(
                command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )

    worker = start("worker", "worker", "--port", str(port))
    wait_until("the worker is ready", lambda: get(f"http://127.0.0.1:{port}/readyz"), [worker])
    calls = start("calls", "simulate", "--start", "-1h", "--busy", "--scale", "20", "--disturb", SHORTAGE)
    server = Prometheus(folder, f"127.0.0.1:{port}")
    processes = [worker, calls, server.process]
    try:
        wait_until("Prometheus answers", lambda: get(f"{server.url}/-/ready"), processes)
        selector = 'callcenter_window_queued{queue="sales",window="30m"} > 100'
        wait_until("calls are counted", lambda: server.query(selector), processes)
        yield server
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(DEADLINE_S)


def results(prometheus, target):
    """Return what a query gives for all queues, or on the board of one queue for one."""
    queue = QUEUE if target.board == "queues" else ".+"
    return prometheus.query(filled(target.expr, VALUES | {"queue": queue}))


@pytest.mark.broker
def test_every_query_of_a_graph_or_table_has_a_result(prometheus):
    """Of a real worker: nothing is misspelt, joined on the wrong labels, or filtered away."""
    asked = [one for one in targets() if one.panel["type"] != "stat" and LAST_WEEK not in one.expr]
    assert len(asked) > 50

    for target in asked:
        wait_until(
            f"{target} has a number",
            lambda target=target: [one for one in results(prometheus, target) if one["value"][1] != "NaN"],
            [prometheus.process],
        )


@pytest.mark.broker
def test_of_the_states_of_a_tile_exactly_one_holds(prometheus):
    """For each queue, or for all together: never two numbers on one tile, and never none."""
    tiles = {}
    for target in targets():
        if target.panel["type"] == "stat" and LAST_WEEK not in target.expr:
            tiles.setdefault((target.board, target.panel["title"]), []).append(target)
    queues = {one["metric"]["queue"] for one in prometheus.query("callcenter_contacts_waiting")}

    def held():
        return {
            key: [one["metric"].get("queue") for target in tile for one in results(prometheus, target)]
            for key, tile in tiles.items()
        }

    def right(found):
        def expected(key):
            return sorted(queues) if key == ("wall", "Service level by queue · $window") else None

        return [
            key
            for key, shown in found.items()
            if (sorted(shown) if len(shown) > 1 else None) != expected(key) or not shown
        ]

    # the queries of one tile are asked one after another: a call may end in between
    wait_until("every tile shows one state", lambda: not right(held()), [prometheus.process])


@pytest.mark.broker
def test_variables_list_queues_and_windows(prometheus):
    """What Grafana asks for the choices of $queue and $window."""
    queues = prometheus.ask(
        "label/queue/values", **{"match[]": 'callcenter_contacts_waiting{job="callgauge"}'}
    )
    windows = prometheus.ask(
        "label/window/values", **{"match[]": 'callcenter_window_queued{job="callgauge"}'}
    )

    assert QUEUE in queues
    assert set(windows) == {"5m", "30m", "1h", "interval", "day"}


@pytest.mark.broker
def test_the_wall_says_what_the_worker_exports(prometheus):
    """The sum over sum of the tile, computed by hand from one instant."""

    def at_once():
        # a scrape may have failed just now; then there is nothing to compare
        at = prometheus.query("time()")[1]
        parts = [
            prometheus.ask("query", query=f'callcenter_window_service_level_{part}{{window="30m"}}', time=at)
            for part in ("met", "base")
        ]
        met, base = (sum(float(one["value"][1]) for one in part["result"]) for part in parts)
        shown = [
            float(one["value"][1])
            for target in targets()
            if (target.board, target.panel["title"]) == ("wall", "Service level · $window")
            for one in prometheus.ask("query", query=filled(target.expr, VALUES | {"queue": ".+"}), time=at)[
                "result"
            ]
        ]
        return (met, base, shown) if base else None

    met, base, shown = wait_until("figures are there", at_once, [prometheus.process])

    assert shown == [pytest.approx(met * 1000 // base / 1000)]
