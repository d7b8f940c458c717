"""Competitor: Faust one event at a time. A plain app, an agent with an empty body, the default transport.

Worker at `-l info` (the default level costs a sixth more), store in memory, no table, values left as bytes.
What is measured is Faust's own path alone, after the group has settled.
"""

import asyncio
import sys
from typing import Any

from bench.child import Child, ProgressWriter, python, read_progress
from bench.figures import MS_PER_S, Throughput, throughput
from bench.setting import Setting, Topic

START_TIMEOUT_S = 90.0
_SAMPLE_S = 0.5


def run(setting: Setting, topic: Topic) -> Throughput:
    """Measure its steady rate over a part of the topic."""
    name = setting.fresh("faust")
    file = setting.folder / f"{name}.progress"
    sizes = setting.sizes
    span_ms = (sizes.faust_s + sizes.faust_warm_up_s) * MS_PER_S

    def enough() -> bool:
        working = [sample for sample in read_progress(file) if 0 < sample.total < topic.events]
        return bool(working) and working[-1].at_ms - working[0].at_ms >= span_ms

    with Child(
        python("bench.faust_per_event", setting.servers, topic.name, name, file), setting.folder, name
    ) as child:
        child.watch(enough, START_TIMEOUT_S + span_ms / MS_PER_S)
        return throughput(read_progress(file), child.cpu, skip_ms=sizes.faust_warm_up_s * MS_PER_S)


def _main(servers: str, topic_name: str, name: str, file: str) -> None:
    import faust  # noqa: PLC0415 - the parent does without

    app = faust.App(
        name,
        broker=f"kafka://{servers}",
        store="memory://",
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
    )
    progress = ProgressWriter(file, every_ms=0)

    async def empty(stream: Any) -> None:
        async for _ in stream:
            pass

    async def sample() -> None:
        while True:
            progress.note(app.monitor.events_total)
            await asyncio.sleep(_SAMPLE_S)

    app.agent(app.topic(topic_name))(empty)
    app.task(sample)
    faust.Worker(app, loglevel="info").execute_from_commandline()


if __name__ == "__main__":
    _main(*sys.argv[1:])
