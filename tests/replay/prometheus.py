"""A real Prometheus for one test: filled by remote write or by blocks, asked over HTTP."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.machine import free_port, program

DEADLINE_S = 120.0  # generous: a machine that is busy is slow, not wrong
LOOK_S = 0.1


class Prometheus:
    """What a running one answers."""

    def __init__(self, address: str) -> None:
        """Know its address."""
        self.address = address
        self.write_url = f"{address}/api/v1/write"

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the data of an answer."""
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:  # noqa: S310 - our own
            return json.loads(answer.read())["data"]

    def samples(self, at_ms: int, span_s: int) -> dict[tuple[tuple[str, str], ...], list[tuple[float, str]]]:
        """Return every raw sample of a span that ends at a moment, by labels: (time in s, value)."""
        query = f'{{__name__=~".+"}}[{span_s}s]'
        found = self.get("query", query=query, time=at_ms / 1_000)["result"]
        return {
            tuple(sorted(series["metric"].items())): [(at_s, value) for at_s, value in series["values"]]
            for series in found
        }


@contextmanager
def running(folder: Path, storage: str = "") -> Iterator[Prometheus]:
    """Run one on a data directory `folder/data`; it scrapes nothing and keeps everything."""
    prometheus, address = program("prometheus"), f"127.0.0.1:{free_port()}"
    (folder / "prometheus.yml").write_text(storage)
    options = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=30y",
        "--web.enable-remote-write-receiver",
        f"--web.listen-address={address}",
    )
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([prometheus, *options], stderr=log)
    try:
        _wait(f"http://{address}/-/ready", process)
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + DEADLINE_S  # noqa: TID251 - a test's own patience
    while True:
        assert process.poll() is None, "Prometheus ended"
        try:
            with urllib.request.urlopen(url):  # noqa: S310 - our own
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline_s, "waited in vain for Prometheus"  # noqa: TID251
            time.sleep(LOOK_S)
