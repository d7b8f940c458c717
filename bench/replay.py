"""What `callgauge replay --to json` does with the same topic: both stages over all partitions, without Faust."""

import sys
from pathlib import Path
from typing import Any

from bench.child import Child, ProgressWriter, python, read_progress
from bench.figures import Throughput, throughput
from bench.setting import Setting, Topic
from stream.access import Access
from stream.garbage import spare_the_collector
from stream.replay import Replay, Rows, summary
from stream.replay.kafka_feed import KafkaHistory, TopicSpan
from stream.settings import Settings, board_rules

TIMEOUT_S = 600.0


def run(setting: Setting, topic: Topic) -> Throughput:
    """Measure one pass over the topic."""
    name = setting.fresh("replay")
    file = setting.folder / f"{name}.progress"
    command = python("bench.replay", setting.servers, topic.name, topic.events, file)
    with Child(command, setting.folder, name) as child:
        child.finish(TIMEOUT_S)
        return throughput(read_progress(file), child.cpu)


class _Noted:
    """A feed that tells how much was read of all."""

    def __init__(self, feed: Any, note: Any) -> None:
        self.partition = feed.partition
        self._feed, self._note = feed, note

    def read(self) -> Any:
        """Return the next records."""
        records = self._feed.read()
        self._note(len(records))
        return records


def _pass(servers: str, topic: str, events: int, file: Path) -> None:
    progress = ProgressWriter(str(file))
    seen = 0

    def note(records: int) -> None:
        nonlocal seen
        seen += records
        progress.note(seen)

    with KafkaHistory(servers, Access(), TopicSpan(topic)) as history:
        feeds = [_Noted(feed, note) for feed in history.feeds]
        replay = Replay(feeds, board_rules(Settings()), step_ms=None)
        spare_the_collector()
        with Rows(replay.rules) as rows:
            for moment in replay.moments():
                rows.add(moment.closed)
            written = sum(1 for _ in rows.lines())
    progress.note(seen, now=True)
    counts = summary(replay.read, replay.tally())
    if (counts["applied"], bool(written)) != (events, True):
        raise SystemExit(f"counted {counts} of {events} events in {written} rows")


if __name__ == "__main__":
    _servers, _topic, _events, _file = sys.argv[1:]
    _pass(_servers, _topic, int(_events), Path(_file))
