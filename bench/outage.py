"""How long the worker needs to be at the end of the log again after Kafka was away.

1,000 events a second; the broker is frozen (SIGSTOP) for half a minute, which no client is told of, and then goes
on. What the sender held back meanwhile comes all at once.
"""

import os
import signal
import time
from dataclasses import dataclass

from bench.live import live
from bench.load import RATE
from bench.setting import Setting
from bench.worker import UNDER_WAY_MAX, Worker
from stream import clock

QUEUES = 10
SETTLE_S = 10.0
FROZEN_S = 30.0
LOOK_S = 0.05
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Outage:
    """Seconds from the moment at which the broker went on."""

    ready_s: float
    current_s: float  # nothing that was held back is waiting any more
    lag_max: float  # records, on the way there


def run(setting: Setting) -> Outage:
    """Measure one outage."""
    with live(setting, QUEUES) as (_, worker):
        time.sleep(SETTLE_S)
        counted = worker.standing().counted
        os.kill(setting.broker_pid, signal.SIGSTOP)
        time.sleep(FROZEN_S)
        os.kill(setting.broker_pid, signal.SIGCONT)
        return _measure(worker, counted)


def _measure(worker: Worker, counted_before: float) -> Outage:
    began_s = clock.monotonic_s()
    ready_s: list[float] = []
    lags: list[float] = []

    def current() -> bool:
        if not worker.is_ready():
            return False
        counted, lag = worker.standing()
        if lag is None:
            return False
        ready_s.append(clock.monotonic_s() - began_s)
        lags.append(lag)
        return counted - counted_before >= FROZEN_S * RATE - UNDER_WAY_MAX and lag < UNDER_WAY_MAX

    worker.watch(current, TIMEOUT_S, every_s=LOOK_S)
    return Outage(ready_s[0], clock.monotonic_s() - began_s, max(lags))
