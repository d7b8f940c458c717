"""The embedded Kafka: a real broker without Docker, started by Python alone."""

from stream.kafka.broker import EmbeddedKafka
from stream.kafka.errors import (
    BrokerDiedError,
    DataInUseError,
    DiskFullError,
    EmbeddedKafkaError,
    ExtraMissingError,
    JarChecksumError,
    JarFetchError,
    JavaMissingError,
    JavaTooOldError,
    NotKafkaDataError,
    PortTakenError,
    StartTimeoutError,
)
from stream.kafka.foreground import run_foreground
from stream.kafka.preparation import prepare

__all__ = [
    "BrokerDiedError",
    "DataInUseError",
    "DiskFullError",
    "EmbeddedKafka",
    "EmbeddedKafkaError",
    "ExtraMissingError",
    "JarChecksumError",
    "JarFetchError",
    "JavaMissingError",
    "JavaTooOldError",
    "NotKafkaDataError",
    "PortTakenError",
    "StartTimeoutError",
    "prepare",
    "run_foreground",
]
