"""The real worker as a measured process.

How far it is, is read from what it says anyway: every half second it publishes, for each source partition,
the applied offset. Reading those records afterwards costs the worker nothing, unlike scraping it.
"""

import asyncio
import http.client
import math
import re
import time
from typing import Any, NamedTuple

import aiokafka
import msgspec
from kafka import KafkaConsumer, TopicPartition

from bench.child import BenchError, Child, python
from bench.figures import Sample, value_at
from bench.setting import Setting

READY_TIMEOUT_S = 60.0
_EVENTS = re.compile(
    rb"^callgauge_events(?:|_rejected|_late|_duplicate)_total(?:\{[^}]*\})? (\S+)$", re.MULTILINE
)
_LAGS = re.compile(rb'^callgauge_lag_records\{.*topic="([^"]*)"\} (\S+)$', re.MULTILINE)
_ADDRESS = re.compile(r"^http://127\.0\.0\.1:(\d+)/$", re.MULTILINE)
_HTTP_TIMEOUT_S = 30.0
# A feed of 1,000 events/s goes on while we look: what it sends between two answers of Kafka is always under way.
UNDER_WAY_MAX = 1_000
SHOWN_WITHIN_S = 60.0  # all who ask share an answer of some seconds ago
PIECE_BYTES = 16_384
PUBLISHED_LOOK_S = 2.0  # all publications are read each time: some hundreds of records
_ONE_SECOND_OF_LOOKS = 10


class Standing(NamedTuple):
    """What a worker shows of itself."""

    counted: float  # events, by any outcome
    lag: float | None  # records of its topic; None while it has no partition


class Head(msgspec.Struct, array_like=True):
    """The beginning of a publication."""

    version: int
    partition: int
    applied_offset: int


class Worker(Child):
    """`callgauge worker` with a group and topics of its own, so that it begins from nothing."""

    def __init__(
        self,
        setting: Setting,
        events_topic: str,
        *,
        group: str | None = None,
        module: str = "stream",
    ) -> None:
        self.group = group or setting.fresh("worker")
        self._setting = setting
        self._topic = events_topic
        name = setting.fresh(self.group)
        config = setting.folder / f"{name}.toml"
        config.write_text(_configuration(setting, events_topic, self.group))
        super().__init__(python(module, "worker", "--config", config), setting.folder, name)

    # --- how far --------------------------------------------------------------------------------------------

    def watch_until_saved(self, ends: int, timeout_s: float) -> None:
        """Wait until the committed offsets, which only a checkpoint moves, have reached the end."""
        consumer: Any = KafkaConsumer(
            bootstrap_servers=self._setting.servers, group_id=self.group, enable_auto_commit=False
        )
        tps = self._partitions(self._topic)
        looks = 0

        def saved() -> bool:
            nonlocal looks
            looks += 1
            if looks % _ONE_SECOND_OF_LOOKS:
                return False
            return sum(consumer.committed(tp) or 0 for tp in tps) >= ends

        try:
            self.watch(saved, timeout_s)
        finally:
            consumer.close()

    def watch_until_published(self, ends: int, timeout_s: float) -> None:
        """Wait until the publications, which need no checkpoint, have reached the end."""

        def published() -> bool:
            heads = self.publications()
            reached = {head.partition: head.applied_offset + 1 for _, head in heads}
            return sum(reached.values()) >= ends

        self.watch_until_ready()
        self.watch(published, timeout_s, every_s=PUBLISHED_LOOK_S)

    def publications(self) -> list[tuple[float, Head]]:
        """Return the heads of all publications so far, with their times in ms."""
        return asyncio.run(_publications(self._setting.servers, f"{self.group}-cells"))

    def progress(self, ends: int) -> list[Sample]:
        """Return events applied over time, up to the last publication before the end was reached."""
        heads = self.publications()
        by_partition: dict[int, list[Sample]] = {}
        for at_ms, head in heads:
            by_partition.setdefault(head.partition, []).append(Sample(at_ms, head.applied_offset + 1))
        times = sorted({at_ms for at_ms, _ in heads})
        totals = [
            Sample(at_ms, sum(value_at(series, at_ms) for series in by_partition.values())) for at_ms in times
        ]
        return [sample for sample in totals if sample.total < ends]

    def standing(self) -> Standing:
        """Return where it says that it is."""
        shown = self.get("/metrics")
        lags = [float(lag) for topic, lag in _LAGS.findall(shown) if topic.decode() == self._topic]
        return Standing(
            sum(float(value) for value in _EVENTS.findall(shown)), math.fsum(lags) if lags else None
        )

    def check_all_counted(self, ends: int) -> None:
        """Compare the outcome of every record with the number of records, once /metrics is of after the last one."""
        try:
            self.watch(lambda: self.standing().counted == ends, SHOWN_WITHIN_S)
        except BenchError as error:
            counted = self.standing().counted
            raise BenchError(f"{self.name} counted {counted:.0f} of {ends} events") from error

    def _partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(self._setting.sizes.partitions)]

    # --- HTTP -----------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where it listens; it says so itself. ConnectionError before that."""
        found = _ADDRESS.search(self.output.read_text())
        if found is None:
            raise ConnectionError(f"{self.name} does not listen yet")
        return int(found[1])

    def get(self, path: str, headers: dict[str, str] | None = None, *, pause_s: float = 0.0) -> bytes:
        """Return the body of an answer, read in pieces with a pause between them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            body = b""
            while piece := answer.read(PIECE_BYTES if pause_s else None):
                body += piece
                time.sleep(pause_s)
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise BenchError(f"{path} of {self.name} answered {answer.status}: {body[:200]!r}")
        return body

    def is_ready(self) -> bool:
        """Say whether it serves, and would be scraped."""
        try:
            self.get("/readyz")
        except (OSError, BenchError, http.client.HTTPException):
            return False
        return True

    def watch_until_ready(self) -> None:
        """Wait until it has joined the group and exports."""
        self.watch(self.is_ready, READY_TIMEOUT_S)

    def watch_until_current(self, timeout_s: float) -> None:
        """Wait until it has read nearly everything there is, while more is being sent."""

        def current() -> bool:
            lag = self.standing().lag
            return lag is not None and lag < UNDER_WAY_MAX

        self.watch(current, timeout_s, every_s=0.5)


async def _publications(servers: str, cells_topic: str) -> list[tuple[float, Head]]:
    """Read the first shard: every publication goes to all shards with the same head."""
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    tp = aiokafka.TopicPartition(cells_topic, 0)
    decode = msgspec.msgpack.Decoder(Head).decode
    found: list[tuple[float, Head]] = []
    await consumer.start()
    try:
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [(record.timestamp, decode(record.value)) for record in records]
    finally:
        await consumer.stop()
    return found


def _configuration(setting: Setting, events_topic: str, group: str) -> str:
    return f"""
[kafka]
bootstrap_servers = "{setting.servers}"
partitions = {setting.sizes.partitions}
group_id = "{group}"
instance_id = "{group}-0"
topic_events = "{events_topic}"
topic_cells = "{group}-cells"
topic_intervals = "{group}-intervals"
topic_dead = "{group}-dead"
topic_late = "{group}-late"

[http]
port = 0
"""
