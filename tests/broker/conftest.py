"""Workers as real processes, and a producer of call events."""

import contextlib
import http.client
import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stream.core.calls import CallsStage
from stream.core.rules import FoldRules
from stream.kafka import EmbeddedKafka

with (
    warnings.catch_warnings()
):  # kafka-python's own; pytest reads this file before the filters of tests/conftest.py hold
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
    from kafka.admin import KafkaAdminClient

    from stream.engine import EngineSettings, KafkaUnreachableError, TopicsUnfitError, ensure_topics

DEADLINE_S = 60.0  # generous: a machine that is busy is slow, not wrong
LOOK_S = 0.05
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("worker_process.py")


def wait_until(what: str, condition: Callable[[], Any]) -> Any:
    """Look until the condition holds, and return what it returned."""
    deadline_s = time.monotonic() + DEADLINE_S  # noqa: TID251 - a test's own patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline_s, f"waited in vain until {what}"  # noqa: TID251
        time.sleep(LOOK_S)


@dataclass
class Worker:
    """One running worker process."""

    process: subprocess.Popen[str]
    status: Path
    errors: Path

    def shows(self) -> dict[str, Any]:
        """Return its last snapshot; nothing before the first."""
        with contextlib.suppress(FileNotFoundError):
            shown: dict[str, Any] = json.loads(self.status.read_text())
            return shown
        return {}

    def wait_for(self, what: str, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until its snapshot is as it should be."""

        def look() -> dict[str, Any] | None:
            assert self.process.poll() is None, f"the worker ended: {self.log()}"
            shown = self.shows()
            return shown if shown and condition(shown) else None

        try:
            found: dict[str, Any] = wait_until(what, look)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {self.shows()} and says {self.log()}") from error
        return found

    def wait_ready(self) -> dict[str, Any]:
        """Wait until it is ready."""
        return self.wait_for("it is ready", lambda shown: shown["ready"])

    def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP port; status and text, (0, "") when nobody answers."""
        port = self.shows().get("port", 0)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""

    def exported(self) -> dict[str, int]:
        """Return the queued contacts of every queue that it exports."""
        found = re.findall(
            r'^callcenter_contacts_queued_total\{queue="([^"]+)"\} (\d+)',
            self.get("/metrics")[1],
            re.MULTILINE,
        )
        return {queue: int(count) for queue, count in found}

    def let_it_happen(self) -> None:
        """Let the fault that it was started with happen now."""
        self.status.with_suffix(".fault").touch()

    def complaints(self) -> list[str]:
        """Return what it said at last."""
        return [line for line in self.log().splitlines() if " critical " in line]

    def log(self) -> str:
        """Return what it said."""
        return self.errors.read_text()

    def kill(self) -> None:
        """End it without any notice, as a lost machine would."""
        self.process.kill()
        self.process.wait()

    def ends(self) -> int:
        """Wait until it ends by itself; return the exit code."""
        return self.process.wait(timeout=DEADLINE_S)

    def stop(self) -> int:
        """Ask it to stop; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE_S)


@dataclass
class Cluster:
    """A broker with the topics of one test, its workers, and everything that was sent."""

    broker: EmbeddedKafka
    prefix: str
    folder: Path
    partitions: int = 3
    shards: int = 2
    workers: list[Worker] = field(default_factory=list)
    sent: list[tuple[int, bytes, bytes]] = field(default_factory=list)  # partition, key, value

    @property
    def settings(self) -> EngineSettings:
        """Return the settings that its workers have."""
        spec = importlib.util.spec_from_file_location("worker_process", SCRIPT)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made: EngineSettings = module.settings_of(self.options())
        return made

    def options(self, **more: Any) -> dict[str, Any]:
        """Return a worker's options."""
        return {
            "servers": self.broker.bootstrap_servers,
            "prefix": self.prefix,
            "partitions": self.partitions,
            "shards": self.shards,
            **more,
        }

    def start(self, **more: Any) -> Worker:
        """Start one more worker."""
        number = len(self.workers)
        status, errors = self.folder / f"status-{number}.json", self.folder / f"errors-{number}.txt"
        options = self.options(status=str(status), **more)
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, str(SCRIPT), json.dumps(options)], cwd=ROOT, stderr=stderr, text=True
            )
        worker = Worker(process, status, errors)
        self.workers.append(worker)
        return worker

    def create_topics(self) -> None:
        """Make the topics before a worker does."""
        ensure_topics(self.settings)

    def send(self, records: list[tuple[int, bytes, bytes]]) -> None:
        """Send (partition, key, value), all confirmed."""
        producer = KafkaProducer(bootstrap_servers=self.broker.bootstrap_servers, linger_ms=5)
        futures = [
            producer.send(f"{self.prefix}-events", key=key, value=value, partition=partition)
            for partition, key, value in records
        ]
        for future in futures:
            future.get(timeout=DEADLINE_S)
        producer.close()
        self.sent.extend(records)

    def write(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """Write one record to any topic."""
        producer = KafkaProducer(bootstrap_servers=self.broker.bootstrap_servers)
        producer.send(topic, key=key, value=value, partition=partition).get(timeout=DEADLINE_S)
        producer.close()

    def forget(self, partition: int, before_offset: int) -> None:
        """Delete the beginning of a source partition, as retention does."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap_servers)
        admin.delete_records({TopicPartition(f"{self.prefix}-events", partition): before_offset})
        admin.close()

    def delete(self, topic: str) -> None:
        """Delete one of the test's topics, and wait until it is gone."""
        name = f"{self.prefix}-{topic}"
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap_servers)
        admin.delete_topics([name])
        wait_until(f"{name} is gone", lambda: name not in admin.list_topics())
        admin.close()

    def delete_topic(self, name: str) -> None:
        """Delete one of the test's topics."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap_servers)
        admin.delete_topics([f"{self.prefix}-{name}"])
        admin.close()

    def recreate_topics(self) -> bool:
        """Make what is missing; a topic that was deleted a moment ago may still be in the way."""
        with contextlib.suppress(TopicsUnfitError, KafkaUnreachableError):
            return bool(ensure_topics(self.settings).created)
        return False

    def read(self, topic: str, count: int) -> list[Any]:
        """Return the first records of one of the test's topics, at least ``count``."""
        consumer = self._consumer()
        tps = [TopicPartition(f"{self.prefix}-{topic}", number) for number in range(self.partitions)]
        consumer.assign(tps)
        consumer.seek_to_beginning(*tps)
        found: list[Any] = []

        def enough() -> bool:
            for records in consumer.poll(timeout_ms=100).values():
                found.extend(records)
            return len(found) >= count

        wait_until(f"{topic} has {count} records", enough)
        consumer.close()
        return found

    def checkpoints(self, table: str, partition: int) -> list[tuple[bytes, bytes]]:
        """Return the records of a checkpoint topic that are there now."""
        consumer = self._consumer()
        tp = TopicPartition(f"{self.prefix}-{table}-changelog", partition)
        consumer.assign([tp])
        consumer.seek_to_beginning(tp)
        end, found = consumer.end_offsets([tp])[tp], []

        def all_read() -> bool:
            for records in consumer.poll(timeout_ms=100).values():
                found.extend((record.key, record.value) for record in records)
            return bool(consumer.position(tp) >= end)

        wait_until(f"{tp} is read", all_read)
        consumer.close()
        return found

    def commit(self, partition: int, offset: int) -> None:
        """Commit an offset of a source partition, as a worker of the group would have."""
        consumer = self._consumer(group_id=self.prefix)
        tp = TopicPartition(f"{self.prefix}-events", partition)
        consumer.assign([tp])
        consumer.commit({tp: OffsetAndMetadata(offset, "", -1)})
        consumer.close()

    def committed(self) -> dict[int, tuple[int, int]]:
        """Return committed offset and end of each source partition."""
        consumer = self._consumer(group_id=self.prefix)
        tps = [TopicPartition(f"{self.prefix}-events", number) for number in range(self.partitions)]
        ends = consumer.end_offsets(tps)
        offsets = {tp.partition: (consumer.committed(tp) or 0, ends[tp]) for tp in tps}
        consumer.close()
        return offsets

    def _consumer(self, group_id: str | None = None) -> Any:
        return KafkaConsumer(
            bootstrap_servers=self.broker.bootstrap_servers, group_id=group_id, enable_auto_commit=False
        )

    def expected_totals(self) -> dict[str, dict[str, int]]:
        """Recompute the totals of everything sent, one partition after another, with the pure stage."""
        totals: dict[str, dict[str, int]] = {}
        for partition in range(self.partitions):
            stage = CallsStage(partition, FoldRules(shards=self.shards))
            mine = [(key, value) for where, key, value in self.sent if where == partition]
            stage.fold([Sent(offset, None, key, value) for offset, (key, value) in enumerate(mine)])
            for queue, counts in stage.totals().items():
                into = totals.setdefault(queue, {})
                for name, count in counts.items():
                    into[str(name)] = into.get(str(name), 0) + count
        return totals


@dataclass
class Sent:
    """A record as the stage reads it."""

    offset: int
    timestamp: int | None
    key: bytes
    value: bytes


@pytest.fixture
def cluster(kafka: EmbeddedKafka, unique_name: str, tmp_path: Path) -> Iterator[Cluster]:
    """Lend a broker with names of its own; every worker is gone afterwards."""
    lent = Cluster(kafka, unique_name, tmp_path)
    yield lent
    for worker in lent.workers:
        worker.kill()


def call(number: int, at_ms: int, partitions: int, queues: int = 5) -> list[tuple[int, bytes, bytes]]:
    """Return the events of one call: queued, answered, ended, wrapped up, or abandoned."""
    call_id, queue = f"call-{number}", f"queue-{number % queues}"
    events: list[dict[str, Any]] = [
        {"type": "offered", "at": at_ms},
        {"type": "queued", "at": at_ms + 100, "queue": queue},
    ]
    if number % 7 == 0:
        events.append({"type": "abandoned", "at": at_ms + 4_000})
    else:
        events.append({"type": "answered", "at": at_ms + 3_000, "agent": f"agent-{number % 9}"})
        events.append({"type": "ended", "at": at_ms + 9_000})
        events.append({"type": "wrap_up", "at": at_ms + 9_500, "duration_ms": 400})
    return [
        (number % partitions, call_id.encode(), json.dumps({**event, "call_id": call_id}).encode())
        for event in events
    ]


@pytest.fixture
def calls(cluster: Cluster) -> Callable[[int, int], list[tuple[int, bytes, bytes]]]:
    """Make the records of calls [first, end), two minutes in the past."""
    began_at_ms = time.time_ns() // 1_000_000 - 120_000

    def make(first: int, end: int) -> list[tuple[int, bytes, bytes]]:
        return [
            record for number in range(first, end) for record in call(number, began_at_ms, cluster.partitions)
        ]

    return make
