"""A topic as the source: what a live worker published for it, and what can be wrong with a range."""

import json
import time
from pathlib import Path

import pytest

from stream.access import Access
from stream.replay import ReplayError
from stream.replay.kafka_feed import Bound, KafkaHistory, TopicSpan, parse_source
from tests.broker.conftest import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, wait_until
from tests.replay.history import START_MS, logs
from tests.whole.conftest import Centre, total
from tests.whole.conftest import centre as centre  # noqa: PLC0414 - the fixture

pytestmark = pytest.mark.broker


def produce(
    servers: str, topic: str, history: list[list[tuple[int, int | None, bytes | None, bytes]]]
) -> int:
    """Write every log into its partition."""
    producer = KafkaProducer(bootstrap_servers=servers)
    for partition, log in enumerate(history):
        for _, _, key, value in log:
            producer.send(topic, value, key, partition=partition)
    producer.flush()
    producer.close()
    return sum(map(len, history))


def published(servers: str, topic: str) -> dict[tuple[str, str], dict[str, object]]:
    """Return the newest word on every interval in `queue-intervals`, by queue and start."""
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    found: dict[tuple[str, str], dict[str, object]] = {}
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(500).values():
            for record in records:
                row = json.loads(record.value)
                found[row["queue"], row["start"]] = row
    consumer.close()
    return found


def rows_of(path: Path) -> list[dict[str, object]]:
    """Return the rows of an output of --to json, the summary last."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_closed_intervals_equal_those_of_the_live_worker(centre: Centre, tmp_path: Path) -> None:
    """The same log through Faust, both agents and the board, and through the replay; twice, byte for byte."""
    text = centre.config.read_text().replace("[kafka]\n", "[kafka]\npartitions = 3\n")
    centre.config.write_text(text + '[windows]\nclock = "stream"\n[events]\ngrace = "1m"\n')
    centre.run("topics")
    servers = centre.broker.bootstrap_servers
    sent = produce(servers, centre.names["events"], [list(log) for log in logs(21, hours=4)])
    # Two graces later: what is before is closed and final in every partition.
    flush = b'{"type":"offered","call_id":"%s","at":%d,"queue":"sales"}'
    later_ms = START_MS + 8 * 3_600_000
    sent += produce(
        servers,
        centre.names["events"],
        [[(0, None, key, flush % (key, later_ms))] for key in (b"x", b"y", b"z")],
    )
    worker = centre.worker()
    worker.wait_for("something is counted", lambda samples: total(samples, "callgauge_events_total"))
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    for out in (first, second):
        centre.run("replay", f"kafka:{centre.names['events']}", "--to", "json", "--out", str(out))
    *rows, last = rows_of(first)
    expected = {
        (str(row["queue"]), str(row["start"])): row
        for row in rows
        if row["window"] == "interval" and str(row["start"]) < "2026-03-02T15"
    }
    assert expected
    assert last["summary"]["read"] == sent  # type: ignore[index]
    assert first.read_bytes() == second.read_bytes()

    def live() -> dict[tuple[str, str], dict[str, object]]:
        found = published(servers, centre.names["intervals"])
        return {key: row for key, row in found.items() if key in expected and row["final"]}

    found = wait_until(
        "every interval is final", lambda: (rows := live()) and rows.keys() == expected.keys() and rows
    )
    worker.stop()
    for key, row in expected.items():
        assert {name: found[key][name] for name in row} == row


@pytest.fixture
def topic(kafka, unique_name):  # type: ignore[no-untyped-def]
    """Lend a topic of two partitions with ten records each, half of them written a while after the other."""
    name = f"{unique_name}-history"
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1}})
    log = [(n, None, b"c%d" % n, b'{"type":"offered","call_id":"c%d","at":%d}' % (n, n)) for n in range(5)]
    produce(kafka.bootstrap_servers, name, [log, log])
    time.sleep(0.05)
    between_ms = time.time_ns() // 1_000_000
    time.sleep(0.05)
    produce(kafka.bootstrap_servers, name, [log, log])
    yield name, between_ms
    admin.delete_topics([name])
    admin.close()


def read(servers: str, span: TopicSpan) -> dict[int, list[int]]:
    """Return the offsets that a replay gets, by partition."""
    with KafkaHistory(servers, Access(), span) as history:
        found: dict[int, list[int]] = {}
        for feed in history.feeds:
            offsets = found[feed.partition] = []
            while records := feed.read():
                offsets += [record.offset for record in records]
        return found


def test_a_range_is_by_offset_or_by_time_and_its_end_is_not_in_it(kafka, topic):  # type: ignore[no-untyped-def]
    """Of every partition; nothing given is the log's own beginning and end."""
    name, between_ms = topic
    servers = kafka.bootstrap_servers

    assert read(servers, TopicSpan(name)) == {0: [*range(10)], 1: [*range(10)]}
    assert read(servers, TopicSpan(name, Bound(offset=2), Bound(offset=4))) == {0: [2, 3], 1: [2, 3]}
    assert read(servers, TopicSpan(name, Bound(at_ms=between_ms))) == {0: [*range(5, 10)], 1: [*range(5, 10)]}
    assert read(servers, TopicSpan(name, last=Bound(at_ms=between_ms))) == {0: [*range(5)], 1: [*range(5)]}


def test_what_is_not_in_the_log_is_said(kafka, topic):  # type: ignore[no-untyped-def]
    """An empty range, offsets gone by retention, no such topic, nobody there."""
    name, _ = topic
    servers = kafka.bootstrap_servers
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_records({TopicPartition(name, 0): 3})
    admin.close()
    for span, said in (
        (TopicSpan(name, Bound(offset=10)), f"kafka:{name}: holds no records in this range"),
        (TopicSpan(name, Bound(offset=1)), rf"kafka:{name}\[0\]: offsets 1 to 2 are gone by retention"),
        (TopicSpan(f"{name}-other"), f"kafka:{name}-other: there is no such topic"),
    ):
        with pytest.raises(ReplayError, match=said), KafkaHistory(servers, Access(), span):
            pass
    with (
        pytest.raises(ReplayError, match="no Kafka answers"),
        KafkaHistory("127.0.0.1:1", Access(), TopicSpan(name)),
    ):
        pass


@pytest.mark.parametrize(
    ("source", "span"),
    [
        ("kafka:calls", TopicSpan("calls")),
        ("kafka:calls@5..", TopicSpan("calls", Bound(offset=5))),
        ("kafka:calls@..2026-03-02T09:00:00+01:00", TopicSpan("calls", last=Bound(at_ms=START_MS))),
        ("kafka:calls@0..10", TopicSpan("calls", Bound(offset=0), Bound(offset=10))),
    ],
)
def test_a_source_is_a_topic_and_a_range(source, span):  # type: ignore[no-untyped-def]
    """Times have their zone."""
    assert parse_source(source) == span


@pytest.mark.parametrize(
    "source", ["kafka:", "kafka:a b", "kafka:a@5", "kafka:a@x..", "kafka:a@..2026-03-02T09:00:00"]
)
def test_what_is_no_source_is_said(source):  # type: ignore[no-untyped-def]
    """One line, before anything connects."""
    with pytest.raises(ReplayError, match=r"(is no topic|is neither an offset nor a time)"):
        parse_source(source)
