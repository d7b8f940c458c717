"""Sending to a real broker."""

import asyncio

import pytest
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.partitioner import murmur2

from schemas import decode, encode
from stream.clock import wall_ms
from stream.simulate import ProduceError, default_centre, produce, simulate

pytestmark = pytest.mark.broker

HOUR_MS = 3_600_000
SEED = 13


def create_topic(kafka, topic):
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
    admin.close()


def records(kafka, topic, count):
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )
    found = [record for _, record in zip(range(count), consumer, strict=False)]
    consumer.close()
    return found


def test_a_shift_that_began_in_the_past_arrives_whole_and_goes_on_live(kafka, unique_name):
    """Every event of two hours of past and one second of present, keyed by call, in order for each call."""
    create_topic(kafka, unique_name)
    start_ms = wall_ms() - 2 * HOUR_MS
    feed = list(
        simulate(
            default_centre().at_working_hour(start_ms),
            seed=SEED,
            start_ms=start_ms,
            duration_ms=2 * HOUR_MS + 1_000,
            drain=False,
        )
    )
    begun_ms = wall_ms()
    sent = asyncio.run(produce(feed, kafka.bootstrap_servers, unique_name, speed=1.0, now_ms=wall_ms))
    found = records(kafka, unique_name, len(feed))

    assert sent == len(feed) == len(found) > 1_000
    assert wall_ms() - begun_ms < 60_000
    assert {record.value for record in found} == {encode(event) for _, event in feed}
    assert all(record.key == decode(record.value).call_id.encode() for record in found)
    assert all(record.timestamp == decode(record.value).at for record in found)
    # The same partition as any other producer of the same calls.
    assert all(record.partition == (murmur2(record.key) & 0x7FFFFFFF) % 3 for record in found)
    place = {encode(event): number for number, (_, event) in enumerate(feed)}
    for partition in range(3):
        places = [place[record.value] for record in found if record.partition == partition]
        assert places == sorted(places)


def test_events_for_a_topic_that_does_not_exist_fail_in_one_line(kafka, unique_name):
    """The embedded broker creates no topic by itself."""
    feed = simulate(default_centre(), seed=SEED, start_ms=wall_ms() - HOUR_MS, calls=3)
    with pytest.raises(ProduceError, match=r"^Kafka at ") as caught:
        asyncio.run(
            produce(
                feed,
                kafka.bootstrap_servers,
                unique_name,
                speed=None,
                now_ms=wall_ms,
                client_options={"request_timeout_ms": 2_000},
            )
        )

    assert "\n" not in str(caught.value)


def test_a_topic_that_refuses_the_far_future_is_named_as_the_cause(kafka, unique_name):
    """Kafka 4 takes nothing more than an hour ahead unless the topic says otherwise."""
    create_topic(kafka, unique_name)
    feed = simulate(default_centre(), seed=SEED, start_ms=wall_ms() + 2 * HOUR_MS, calls=3)
    with pytest.raises(ProduceError, match=r"message\.timestamp\.after\.max\.ms"):
        asyncio.run(produce(feed, kafka.bootstrap_servers, unique_name, speed=None, now_ms=wall_ms))
