"""The last records of a checkpoint topic, read by a consumer of its own that is in no group.

Not by the consumer of the group: that one belongs to Faust and to its thread, and is in the middle of an assignment.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from stream.engine.app import REQUEST_TIMEOUT_S
from stream.engine.checkpoints import ReadTails, Tail
from stream.engine.engine_settings import EngineSettings
from stream.engine.topics import MESSAGE_BYTES_MAX

FETCH_WAIT_MS: Final = 100
RETRY_S: Final = 0.5
SILENCE_MAX_S: Final = 60.0  # a broker that restarts is back within it; then the process ends


def tail_reader(settings: EngineSettings) -> ReadTails:
    """Return what reads the ends of topics. It raises ``KafkaError``."""

    def make() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            client_id=f"{settings.app_id}-checkpoints",
            bootstrap_servers=list(settings.servers),
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # compaction may move the beginning while we look
            request_timeout_ms=int(REQUEST_TIMEOUT_S * 1_000),
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
            **settings.access.client_options(),
        )

    async def read_tails(topic: str, counts: Mapping[int, int]) -> dict[int, Tail]:
        try:
            async with asyncio.timeout(SILENCE_MAX_S) as patience:
                while True:
                    try:
                        async with _started(make) as consumer:
                            return await _read(consumer, topic, counts, patience)
                    except KafkaError as error:
                        if not error.retriable:
                            raise
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            raise KafkaTimeoutError(f"{topic} could not be read") from None

    return read_tails


@asynccontextmanager
async def _started(make: Callable[[], AIOKafkaConsumer]) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = make()
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer, topic: str, counts: Mapping[int, int], patience: asyncio.Timeout
) -> dict[int, Tail]:
    tps = {TopicPartition(topic, partition): count for partition, count in counts.items()}
    begins, ends = await consumer.beginning_offsets(list(tps)), await consumer.end_offsets(list(tps))
    starts = {tp: max(begins[tp], ends[tp] - count) for tp, count in tps.items()}
    records: dict[TopicPartition, list[tuple[bytes | None, bytes | None]]] = {tp: [] for tp in tps}
    waiting = {tp for tp in tps if starts[tp] < ends[tp]}
    consumer.assign(list(waiting))
    for tp in waiting:
        consumer.seek(tp, starts[tp])
    while waiting:
        fetched: Mapping[TopicPartition, list[Any]] = await consumer.getmany(
            *waiting, timeout_ms=FETCH_WAIT_MS
        )
        for tp, batch in fetched.items():
            records[tp] += [(record.key, record.value) for record in batch if record.offset < ends[tp]]
        if fetched:
            patience.reschedule(asyncio.get_running_loop().time() + SILENCE_MAX_S)
        for tp in list(waiting):
            if await consumer.position(tp) >= ends[tp]:
                waiting.discard(tp)
                consumer.pause(tp)
    return {tp.partition: Tail(records[tp], starts[tp] <= begins[tp]) for tp in tps}
