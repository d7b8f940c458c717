"""How Kafka is spoken to: one description of TLS and password, the options of each client, and a first look."""

from stream.access.configured import access_of
from stream.access.errors import AccessFileError, KafkaRefusedError, KafkaUnreachableError
from stream.access.model import Access, Sasl

__all__ = [
    "Access",
    "AccessFileError",
    "KafkaRefusedError",
    "KafkaUnreachableError",
    "Sasl",
    "access_of",
]
