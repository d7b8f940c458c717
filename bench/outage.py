"""How long the worker needs to be at the end of the log again after Kafka was away.

1,000 events a second; the broker is frozen (SIGSTOP) for half a minute, which no client is told of, and then goes
on. What the sender held back meanwhile comes all at once. How far the worker is, is read from its publications: its own
numbers of records are those of its last checkpoint, so they say less about where it is than about when it saved.
"""

import math
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from bench.child import BenchError
from bench.live import live
from bench.load import RATE
from bench.setting import Setting
from bench.worker import Head
from stream import clock

QUEUES = 10
SETTLE_S = 10.0
FROZEN_S = 30.0
UNDER_WAY_S = 1.0  # between a sender's request and the next publication
MORE_S = 15.0  # of events afterwards: longer than it may take
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Outage:
    """Seconds from the moment at which the broker went on."""

    ready_s: float
    current_s: float  # nothing is unread that was sent more than a second ago


def run(setting: Setting) -> Outage:
    """Measure one outage."""
    with live(setting, QUEUES) as (topic, worker):
        time.sleep(SETTLE_S)
        sent = sum(len(times_ms) for times_ms in _sent(setting, topic).values())
        os.kill(setting.broker_pid, signal.SIGSTOP)
        time.sleep(FROZEN_S)
        os.kill(setting.broker_pid, signal.SIGCONT)
        healed_ms, began_s = clock.wall_ms(), clock.monotonic_s()
        worker.watch_until_ready()
        ready_s = clock.monotonic_s() - began_s
        worker.watch_until_published(sent + int((FROZEN_S + MORE_S) * RATE), TIMEOUT_S)
        heads = [(at_ms, head) for at_ms, head in worker.publications() if at_ms >= healed_ms]
        return Outage(ready_s, (_current_ms(heads, _sent(setting, topic)) - healed_ms) / 1_000)


def _sent(setting: Setting, topic: str) -> dict[int, list[int]]:
    """Return, for each partition, when its records were sent. The sender may hold them back, which counts."""
    consumer: Any = KafkaConsumer(bootstrap_servers=setting.servers, auto_offset_reset="earliest")
    try:
        tps = [TopicPartition(topic, number) for number in range(setting.sizes.partitions)]
        consumer.assign(tps)
        ends = consumer.end_offsets(tps)
        found: dict[int, list[int]] = {tp.partition: [] for tp in tps}
        while any(len(found[tp.partition]) < ends[tp] for tp in tps):
            for tp, records in consumer.poll(timeout_ms=500).items():
                found[tp.partition] += [record.timestamp for record in records]
        return found
    finally:
        consumer.close()


def _current_ms(heads: Iterable[tuple[float, Head]], sent: dict[int, list[int]]) -> float:
    """Return the time of the publication from which on nothing is unread that is older than what is under way."""
    oldest_ms = dict.fromkeys(sent, -math.inf)
    for at_ms, head in heads:
        unread = sent[head.partition][head.applied_offset + 1 :]
        oldest_ms[head.partition] = unread[0] if unread else math.inf
        if min(oldest_ms.values()) > at_ms - UNDER_WAY_S * 1_000:
            return at_ms
    raise BenchError("the worker did not get to the end of the log")
