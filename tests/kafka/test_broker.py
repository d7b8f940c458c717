"""The embedded broker as its users see it."""

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from stream.kafka import EmbeddedKafka

pytestmark = pytest.mark.broker


def create_topic(broker: EmbeddedKafka, topic: str, **config: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1, topic_configs=config)])
    admin.close()


def produce(broker: EmbeddedKafka, topic: str, values: list[bytes], **options: object) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all", **options)
    for value in values:
        producer.send(topic, value)
    producer.flush()
    producer.close()


def consume(broker: EmbeddedKafka, topic: str, count: int, **options: object) -> list[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
        **options,
    )
    values = [record.value for _, record in zip(range(count), consumer, strict=False)]
    consumer.close()
    return values


def test_what_is_produced_is_consumed(kafka: EmbeddedKafka, unique_name: str) -> None:
    """Records pass through the broker unchanged and in order."""
    create_topic(kafka, unique_name)
    produce(kafka, unique_name, [b"one", b"two", b"three"])

    assert consume(kafka, unique_name, 3, group_id=unique_name) == [b"one", b"two", b"three"]
