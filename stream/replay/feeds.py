"""What a replay reads: one feed for each source partition, each a sequence of batches in the order of offsets."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from stream.core.calls import Record

# Enough to make the cost of a batch vanish, little enough to keep the memory flat.
RECORDS_A_BATCH: Final = 10_000


class Feed(Protocol):
    """The history of one source partition."""

    @property
    def partition(self) -> int:
        """Which one."""

    def read(self) -> Sequence[Record]:
        """Return the next records in the order of their offsets; none at the end. Raises ReplayError."""


class RecordFeed:
    """Records that somebody else reads, as one partition: the lines of a file."""

    def __init__(self, records: Iterable[Record], partition: int = 0, batch: int = RECORDS_A_BATCH) -> None:
        self.partition = partition
        self._batch = batch
        self._records: Iterator[Record] = iter(records)

    def read(self) -> Sequence[Record]:
        """Return the next records."""
        return list(islice(self._records, self._batch))
