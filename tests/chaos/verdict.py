"""What everybody sees at the end, against a recomputation of what is in the topic."""

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from prometheus_client.parser import text_string_to_metric_families

from stream.core import fields as f
from tests import oracle
from tests.chaos.centre import BUCKET_MS, Centre
from tests.oracle import Rec

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Outlook = tuple[dict[str, Any], str]  # a board, and the metrics of the same moment
ZONE = ZoneInfo("UTC")
INTERVAL_MINUTES = 15
READ_MS = 500
SHOWN = 20  # differences that are told
PLACE = ("queue", "window", "start", "end", "final")
TOTALS: dict[str, tuple[int, ...]] = {
    "offered": (f.OFFERED,),
    "queued": (f.QUEUED,),
    "answered": (f.ANSWERED,),
    "answered_within_target": (f.ANSWERED_WITHIN_TARGET,),
    "abandoned": (f.ABANDONED,),
    "abandoned_within_target": (f.ABANDONED_WITHIN_TARGET,),
    "abandoned_short": (f.ABANDONED_SHORT,),
    "expired": (f.EXPIRED_WAITING, f.EXPIRED_TALKING),
}
WINDOWS: dict[str, tuple[int, ...]] = {
    "queued": (f.QUEUED,),
    "answered": (f.ANSWERED,),
    "answered_within_target": (f.ANSWERED_WITHIN_TARGET,),
    "abandoned": (f.ABANDONED,),
    "left": tuple(f.LEFT.values()),
    "blocked": tuple(f.BLOCKED.values()),
    "service_level_met": (f.SERVICE_LEVEL_MET,),
    "service_level_base": (f.SERVICE_LEVEL_BASE,),
}
RATIOS = {"service_level": "service_level_ratio", "abandonment": "abandonment_ratio"}
ROLLING_MS = {"5m": 300_000, "30m": 1_800_000, "1h": 3_600_000}


@dataclass
class Topics:
    """What is in the topics of a centre: the event log by partition, and all records of the others."""

    events: list[list[Rec]]
    intervals: list[dict[str, Any]]  # rows, in the order they were written
    aside: dict[str, list[tuple[int, int]]]  # dead and late: (partition, offset) of the events they came from


@dataclass
class Verdict:
    """How much was compared, and what differs."""

    records: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    values: int = 0
    differences: list[str] = field(default_factory=list)

    def same(self, what: str, wanted: Any, found: Any) -> None:
        """Compare one value."""
        self.values += 1
        if wanted != found:
            self.differences.append(f"{what}: the oracle has {wanted}, shown is {found}")


def read_topics(centre: Centre) -> Topics:
    """Read them all, past the proxy."""
    names = centre.settings.topics
    logs = _read(centre, names.events)
    rows = [
        json.loads(record.value) for log in _read(centre, names.intervals) for record in log if record.value
    ]
    aside = {}
    for name, topic in (("dead", names.dead), ("late", names.late)):
        headers = [dict(record.headers) for log in _read(centre, topic) for record in log]
        aside[name] = [(int(one["partition"]), int(one["offset"])) for one in headers]
    events = [[Rec(one.offset, one.timestamp, one.key, one.value) for one in log] for log in logs]
    return Topics(events, rows, aside)


def _read(centre: Centre, topic: str) -> list[list[Any]]:
    from kafka import KafkaConsumer, TopicPartition  # noqa: PLC0415 - its import warns, and filters are set by then

    consumer = KafkaConsumer(bootstrap_servers=centre.broker.bootstrap_servers, enable_auto_commit=False)
    tps = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(tps)
    consumer.seek_to_beginning(*tps)
    ends, found = consumer.end_offsets(tps), defaultdict(list)
    while any(consumer.position(tp) < ends[tp] for tp in tps):
        for tp, records in consumer.poll(timeout_ms=READ_MS).items():
            found[tp].extend(records)
    consumer.close()
    return [found[tp] for tp in tps]


def recompute(topics: Topics, centre: Centre) -> oracle.Result:
    """Recompute everything from the whole log."""
    return oracle.recompute(topics.events, centre.settings.fold)


def judge(
    topics: Topics, result: oracle.Result, outlooks: Sequence[Outlook], bounds_ms: Sequence[int]
) -> Verdict:
    """Compare."""
    verdict = Verdict(records=sum(map(len, topics.events)))
    for one in result.partitions:
        verdict.outcomes.update(outcome if outcome in _NAMED else "rejected" for outcome in one.outcomes)
        verdict.outcomes["future"] += one.outcomes.count(oracle.FUTURE)
    seen = [(board, samples_of(text)) for board, text in outlooks]
    _accounts(verdict, result, [samples for _, samples in seen])
    exported: Counter[str] = Counter()
    for board, samples in seen:
        for view in board["queues"]:
            exported[view["queue"]] += 1
            _queue(verdict, result, view["queue"], samples, bounds_ms)
            _windows(verdict, result, view["queue"], oracle.instant(board["clock"]), samples)
    known = set(result.totals)
    verdict.same("queues that are exported", sorted(known), sorted(known & set(exported)))
    verdict.same("queues of two workers", [], [queue for queue, times in exported.items() if times > 1])
    clocks = [oracle.instant(board["clock"]) for board, _ in seen if board["clock"] and board["queues"]]
    _intervals(verdict, topics, result, min(clocks, default=0))
    _aside(verdict, topics, result)
    return verdict


_NAMED = {oracle.APPLIED, oracle.DUPLICATE, oracle.LATE}


def samples_of(text: str) -> Samples:
    """Read an exposition."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def _sum(cell: dict[int, int], numbers: Iterable[int]) -> int:
    return sum(cell.get(number, 0) for number in numbers)


def _accounts(verdict: Verdict, result: oracle.Result, all_samples: Sequence[Samples]) -> None:
    """I1: every record of the topic is counted once, by all workers together."""
    found: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for samples in all_samples:
        for (name, labels), value in samples.items():
            found[name] += int(value) if math.isfinite(value) else 0
            if name == "callgauge_events_total":
                events[dict(labels)["event"]] += int(value)
    wanted: Counter[str] = Counter()
    for one in result.partitions:
        wanted.update(one.events)
    verdict.same("applied events", dict(+wanted), dict(+events))
    for name, key in (("late", oracle.LATE), ("duplicate", oracle.DUPLICATE), ("rejected", "rejected")):
        verdict.same(f"{name} records", verdict.outcomes[key], found[f"callgauge_events_{name}_total"])


def _queue(
    verdict: Verdict, result: oracle.Result, queue: str, samples: Samples, bounds_ms: Sequence[int]
) -> None:
    cell = result.totals.get(queue, {})
    for name, numbers in TOTALS.items():
        metric = f"callcenter_contacts_{name}_total"
        verdict.same(f"{metric} of {queue}", _sum(cell, numbers), _of(samples, metric, queue=queue))
    for name, reasons in (("left", f.LEFT), ("blocked", f.BLOCKED)):
        metric = f"callcenter_contacts_{name}_total"
        for reason, number in reasons.items():
            found = _of(samples, metric, queue=queue, reason=reason)
            verdict.same(f"{metric} of {queue}, {reason}", cell.get(number, 0), found)
    waiting, talking, _ = result.story.now().get(queue, (0, 0, None))
    for metric, number in (("waiting", waiting), ("in_progress", talking)):
        verdict.same(
            f"{metric} in {queue}", number, _of(samples, f"callcenter_contacts_{metric}", queue=queue)
        )
    for name, (count, total) in f.HISTOGRAMS.items():
        metric = f"callcenter_{name}_seconds"
        verdict.same(f"{metric} of {queue}", cell.get(count, 0), _of(samples, f"{metric}_count", queue=queue))
        verdict.same(
            f"{metric} of {queue}", cell.get(total, 0) / 1000, _of(samples, f"{metric}_sum", queue=queue)
        )
        observed = result.story.observations.get(queue, {}).get(name, [])
        wanted = list(itertools.accumulate(oracle.histogram(observed, bounds_ms)))
        buckets = sorted(
            (float(dict(labels)["le"]), value)
            for (sample, labels), value in samples.items()
            if sample == f"{metric}_bucket" and ("queue", queue) in labels
        )
        verdict.same(f"{metric} of {queue}, by bucket", wanted, [int(value) for _, value in buckets])


def _windows(verdict: Verdict, result: oracle.Result, queue: str, clock_ms: int, samples: Samples) -> None:
    end_ms = clock_ms // BUCKET_MS * BUCKET_MS + BUCKET_MS
    begins = {name: end_ms - length_ms for name, length_ms in ROLLING_MS.items()}
    begins["interval"] = oracle.interval_of(clock_ms, INTERVAL_MINUTES, ZONE)[0]
    begins["day"] = oracle.day_of(clock_ms, ZONE)[0]
    for window, begin_ms in begins.items():
        cell = oracle.sum_between(result.cells, queue, begin_ms, end_ms)
        labels = {"queue": queue, "window": window}
        found = {name: _of(samples, f"callcenter_window_{name}", **labels) for name in WINDOWS}
        found |= {name: _of(samples, f"callcenter_{metric}", **labels) for name, metric in RATIOS.items()}
        wanted: dict[str, float | None] = {name: _sum(cell, numbers) for name, numbers in WINDOWS.items()}
        values = oracle.kpis(cell)
        wanted |= {name: values[name] for name in RATIOS}
        verdict.windows += 1
        verdict.same(f"window {window} of {queue}", wanted, found)


def _intervals(verdict: Verdict, topics: Topics, result: oracle.Result, clock_ms: int) -> None:
    """Compare the last row of each closed interval, and every row that ever said final."""
    wanted = {
        (queue, start_ms): oracle.kpis(cell)
        for (queue, start_ms, end_ms), cell in oracle.roll_up(result.cells, INTERVAL_MINUTES, ZONE).items()
        if end_ms <= clock_ms
    }
    empty = oracle.kpis({})
    last: dict[tuple[str, int], dict[str, Any]] = {}
    for row in topics.intervals:
        key = (row["queue"], oracle.instant(row["start"]))
        last[key] = {name: value for name, value in row.items() if name not in PLACE}
        if row["final"] and last[key] != wanted.get(key, empty):
            verdict.differences.append(f"an interval that was final, {key}: {last[key]}")
    for key in sorted({*wanted, *last}):
        verdict.windows += 1
        verdict.same(f"closed interval {key}", wanted.get(key, empty), last.get(key, empty))


def _aside(verdict: Verdict, topics: Topics, result: oracle.Result) -> None:
    """Every rejected record is in the dead letters, every late one among the late, and nothing else is."""
    kept_elsewhere = {oracle.APPLIED, oracle.DUPLICATE, oracle.LATE}
    for name, is_kind in (
        ("dead", lambda outcome: outcome not in kept_elsewhere),
        ("late", lambda outcome: outcome == oracle.LATE),
    ):
        wanted = {
            (partition, record.offset)
            for partition, (log, one) in enumerate(zip(topics.events, result.partitions, strict=True))
            for record, outcome in zip(log, one.outcomes, strict=True)
            if is_kind(outcome)
        }
        kept = set(topics.aside[name])
        verdict.same(f"records missing in {name}", [], sorted(wanted - kept)[:SHOWN])
        verdict.same(f"records in {name} that do not belong there", [], sorted(kept - wanted)[:SHOWN])
