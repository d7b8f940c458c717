"""Records as aiokafka's C parser makes them, for the topics whose fold needs no more.

aiokafka makes of each such record a ``ConsumerRecord`` of eleven fields, in three Python frames; that was 2.3 us
a record where parsing itself, checksum included, takes 0.5 us (8 k records of 240 bytes, median of 15). The
fold reads ``offset``, ``timestamp``, ``key`` and ``value``, which the parser's own objects have. So for these
topics whole batches of the log are handed over as the parser gives them.

Everything else is as in ``PartitionRecords._unpack_records`` of aiokafka 0.14: checksums are compared, batches
of control records are left out, and so is what lies before the position (a batch of the log is read from its
beginning wherever in it the position is); the position goes to the end of each batch even where compaction
took its last records. Who needs more gets aiokafka's own: transactions that were aborted (``read_committed``) and
``max_poll_records``, which stops in the middle of a batch.

Nothing here may be left to the garbage collector. It knows neither how large a fetch is, nor does it look often
(``stream.garbage``): 700 MB of fetches that were long counted have been waiting for it.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult
from aiokafka.errors import CorruptRecordException


class RawRecords:
    """Stands in for aiokafka's ``PartitionRecords``, of which it was made, inside a ``FetchResult``."""

    def __init__(self, stock: Any) -> None:
        self._tp = stock._tp  # noqa: SLF001 - there is no other way to it
        self._batches = stock._records  # noqa: SLF001
        self._check_crcs = stock._check_crcs  # noqa: SLF001
        self.next_fetch_offset: int = stock.next_fetch_offset
        self._iterator: Iterator[Any] | None = None
        # It and its generator, which never begins, hold each other, and with them the bytes of the fetch.
        stock._records_iterator = None  # noqa: SLF001

    def __iter__(self) -> Iterator[Any]:
        """Return the records; always the same iterator, as the original is one."""
        if self._iterator is None:
            # not before: the generator holds us until its end, and what is dropped unread has none
            self._iterator = chain.from_iterable(self._unpack())
        return self._iterator

    def _unpack(self) -> Iterator[list[Any]]:
        batches = self._batches
        while batches.has_next():
            batch = batches.next_batch()
            if self._check_crcs and not batch.validate_crc():
                # As in the original: nothing of this fetch counts, and it is fetched again.
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if not batch.is_control_batch:
                records = list(batch)
                if records and records[0].offset < self.next_fetch_offset:
                    records = [record for record in records if record.offset >= self.next_fetch_offset]
                yield records
            self.next_fetch_offset = batch.next_offset


class _Fetched(OrderedDict[Any, Any]):
    """The fetcher's results that nobody has taken yet: the one place that each of them passes."""

    def __init__(self, raw_topics: frozenset[str]) -> None:
        super().__init__()
        self._raw_topics = raw_topics

    def __setitem__(self, tp: Any, result: Any) -> None:
        if type(result) is FetchResult and tp.topic in self._raw_topics:
            result._partition_records = RawRecords(result._partition_records)  # noqa: SLF001
        super().__setitem__(tp, result)


def hand_over_raw(consumer: Any, topics: frozenset[str]) -> None:
    """Let a started consumer of aiokafka hand over the parser's records for these topics."""
    fetcher = consumer._fetcher  # noqa: SLF001
    if fetcher._isolation_level == READ_UNCOMMITTED and consumer._max_poll_records is None:  # noqa: SLF001
        fetcher._records = _Fetched(topics)  # noqa: SLF001
