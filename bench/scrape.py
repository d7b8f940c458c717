"""How long /metrics takes, with a live worker of 50 and of 1,000 queues.

Once a second, compressed, as Prometheus asks; 1,000 events a second flow meanwhile, so nothing is cached for
long.
"""

import time
from dataclasses import dataclass

from bench.live import live
from bench.setting import Setting
from stream import clock

INTERVAL_S = 1.0
_HEADERS = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "gzip"}


@dataclass(frozen=True, slots=True)
class Scrapes:
    """What was measured with so many queues."""

    seconds: tuple[float, ...]
    answer_bytes: int  # compressed
    rss_bytes: int


def run(setting: Setting, queues: int) -> Scrapes:
    """Measure."""
    seconds = []
    body = b""
    with live(setting, queues) as (_, worker):
        for _ in range(setting.sizes.scrapes):
            asked_s = clock.monotonic_s()
            body = worker.get("/metrics", _HEADERS)
            took_s = clock.monotonic_s() - asked_s
            seconds.append(took_s)
            time.sleep(max(0.0, INTERVAL_S - took_s))
        worker.look()
        return Scrapes(tuple(seconds), len(body), worker.rss_bytes)
