"""What the promise is measured against: the same events counted with an ordinary Faust table, under the same kills."""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from stream.clock import monotonic_s
from stream.kafka import EmbeddedKafka
from tests.chaos.centre import SESSION_S

ROOT = Path(__file__).parents[2]
TOPIC, GROUP = "naive-events", "naive"
PARTITIONS = 4
KILLS = (0, 4, 10)  # the first shows that it counts right undisturbed
PROGRESS = (300, 2_000)  # events that are counted between two kills
RATE = 200  # events/s
LOOK_S = 0.05
PATIENCE_S = 120.0
QUIET_S = 8.0  # without a change: it has read everything


def main(servers: str, total: str) -> None:
    """Be the worker: the example of Faust's manual, with the store in memory."""
    import faust  # noqa: PLC0415 - only here

    app = faust.App(
        GROUP,
        broker=f"kafka://{servers}",
        web_enabled=False,
        topic_partitions=PARTITIONS,
        broker_session_timeout=SESSION_S,  # as the workers of the chaos have it
        broker_heartbeat_interval=SESSION_S / 3,
        datadir=total + ".d",
    )
    topic = app.topic(TOPIC, value_type=bytes, value_serializer="raw", partitions=PARTITIONS)
    counts = app.Table("counts", default=int, partitions=PARTITIONS)

    @app.agent(topic)
    async def count(stream: Any) -> None:
        async for queue in stream:
            counts[queue.decode()] += 1

    def write() -> None:
        new = Path(total + ".new")
        new.write_text(json.dumps(sum(counts.values())))
        new.replace(total)

    @app.timer(0.5)
    async def tell() -> None:
        write()

    app.finalize()
    faust.Worker(app, loglevel="error").execute_from_commandline()


def measure(folder: Path, seed: int) -> dict[str, Any]:
    """Count with several numbers of kills."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"runs": [_one(folder / str(kills), seed, kills) for kills in KILLS]}


def _one(folder: Path, seed: int, kills: int) -> dict[str, Any]:
    folder.mkdir()
    source = random.Random(f"{seed}/naive/{kills}")
    total = folder / "total"
    with EmbeddedKafka() as broker:
        feed = _Feed(broker.bootstrap_servers)
        worker = _start(broker.bootstrap_servers, total)
        try:
            feed.start()
            for _ in range(kills):
                _await_progress(total, source.randrange(*PROGRESS))
                _end(worker)
                worker = _start(broker.bootstrap_servers, total)
            _await_progress(total, PROGRESS[1])
            sent = feed.stop()
            counted = _settled(total)
        finally:
            _end(worker)
    return {"seed": seed, "kills": kills, "sent": sent, "counted": counted}


def _end(worker: "subprocess.Popen[bytes]") -> None:
    worker.kill()
    worker.wait()


def _start(servers: str, total: Path) -> "subprocess.Popen[bytes]":
    total.unlink(missing_ok=True)
    with (total.parent / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.naive", servers, str(total)], cwd=ROOT, stdout=log, stderr=log
        )


def _count(total: Path) -> int:
    return json.loads(total.read_text()) if total.exists() else 0


def _await_progress(total: Path, events: int) -> None:
    """Wait until it has counted so many more than when it had restored its table."""
    deadline_s = monotonic_s() + PATIENCE_S
    while _count(total) == 0 and monotonic_s() < deadline_s:
        time.sleep(LOOK_S)
    begin = _count(total)
    while _count(total) < begin + events and monotonic_s() < deadline_s:
        time.sleep(LOOK_S)


def _settled(total: Path) -> int:
    """Wait until the count does not change any more."""
    deadline_s, since_s, last = monotonic_s() + PATIENCE_S, monotonic_s(), -1
    while monotonic_s() < deadline_s and (monotonic_s() - since_s < QUIET_S or last < 1):
        now = _count(total)
        if now != last:
            last, since_s = now, monotonic_s()
        time.sleep(LOOK_S)
    return last


class _Feed:
    """Sends at a steady rate, all confirmed."""

    def __init__(self, servers: str) -> None:
        from kafka.admin import KafkaAdminClient, NewTopic  # noqa: PLC0415

        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.create_topics([NewTopic(TOPIC, num_partitions=PARTITIONS, replication_factor=1)])
        admin.close()
        self._servers, self._stop, self._sent = servers, threading.Event(), 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> int:
        """End; return how many are in the topic."""
        self._stop.set()
        self._thread.join()
        return self._sent

    def _run(self) -> None:
        from kafka import KafkaProducer  # noqa: PLC0415

        producer = KafkaProducer(bootstrap_servers=self._servers, linger_ms=20)
        began_s = monotonic_s()
        while not self._stop.is_set():
            while self._sent < (monotonic_s() - began_s) * RATE:
                queue = b"queue-%d" % (self._sent % PARTITIONS)  # each in one partition, as a table wants it
                producer.send(TOPIC, key=queue, value=queue, partition=self._sent % PARTITIONS)
                self._sent += 1
            time.sleep(0.01)
        producer.flush()
        producer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
