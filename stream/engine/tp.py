"""A partition of a topic, as this package names it."""

from typing import NamedTuple


class Place(NamedTuple):
    """Topic and partition; equal to Faust's and aiokafka's own tuples of the same values."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


def source_key(partition: int) -> bytes:
    """Return the key of what a source partition publishes."""
    return str(partition).encode()
