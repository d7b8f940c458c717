"""Competitor: a bare aiokafka loop. Fetch, decode, one dictionary update for an event; nothing survives.

The floor for anything in Python on this client. It has the worker's settings of the garbage collector, which
give such a loop a fifth more.
"""

import asyncio
import sys
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.child import Child, ProgressWriter, python, read_progress
from bench.figures import Throughput, throughput
from bench.setting import Setting, Topic
from schemas import Rejected, decode
from stream.garbage import spare_the_collector

TIMEOUT_S = 600.0
_BUCKET_MS = 5_000


def run(setting: Setting, topic: Topic) -> Throughput:
    """Measure one pass over the topic."""
    name = setting.fresh("bare")
    file = setting.folder / f"{name}.progress"
    command = python("bench.bare", setting.servers, topic.name, topic.partitions, topic.events, file)
    with Child(command, setting.folder, name) as child:
        child.finish(TIMEOUT_S)
        return throughput(read_progress(file), child.cpu)


async def _loop(servers: str, topic: str, partitions: int, events: int, file: Path) -> None:
    progress = ProgressWriter(str(file))
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
    counts: dict[tuple[str | None, int, int], int] = {}
    spare_the_collector()
    seen = 0
    while seen < events:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            for record in records:
                event = decode(record.value)
                if isinstance(event, Rejected):
                    continue
                key = (event.queue, event.kind, event.at // _BUCKET_MS)
                counts[key] = counts.get(key, 0) + 1
            seen += len(records)
        progress.note(seen, now=seen >= events)
    if sum(counts.values()) != events:
        raise SystemExit(f"counted {sum(counts.values())} of {events} events")
    await consumer.stop()


if __name__ == "__main__":
    _servers, _topic, _partitions, _events, _file = sys.argv[1:]
    asyncio.run(_loop(_servers, _topic, int(_partitions), int(_events), Path(_file)))
