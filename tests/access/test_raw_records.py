"""The parser's records against aiokafka's own, on bytes as a broker sends them."""

import gc
import struct
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.access.raw_records import hand_over_raw

TP = TopicPartition("events", 3)
CONTROL = 0x20
LZ4 = 3


def batch(
    first: int, deltas: list[int], *, last: int | None = None, attributes: int = 0, codec: int = 0
) -> bytes:
    """Return a batch of the log; `last`: an offset that compaction took."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for delta in deltas:
        key = None if delta % 5 == 4 else b"k%d" % (first + delta)
        value = None if delta % 7 == 6 else b"v" * delta
        builder.append(delta, 1_000 + first + delta, key, value, [("h", b"x")] if delta % 2 else [])
    raw = bytearray(builder.build())
    raw[0:8] = struct.pack(">q", first)
    raw[21:23] = struct.pack(">h", struct.unpack(">h", raw[21:23])[0] | attributes)
    if last is not None:
        raw[23:27] = struct.pack(">i", last - first)
    raw[17:21] = struct.pack(">I", calc_crc32c(memoryview(raw)[21:]))
    return bytes(raw)


def legacy(first: int, count: int) -> bytes:
    """Return messages in the format before Kafka 0.11."""
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    for offset in range(first, first + count):
        builder.append(offset, 1_000 + offset, b"k%d" % offset, b"v")
    return bytes(builder.build())


class State:
    """A partition's position, as aiokafka keeps it."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.paused = False

    def consumed_to(self, position: int) -> None:
        """Move."""
        self.position = position


def fetcher_of(data: bytes, position: int, *, raw: bool) -> tuple[dict[Any, Any], State]:
    """Return what a fetcher keeps after a fetch from `position`."""
    fetcher = SimpleNamespace(_records={}, _isolation_level=READ_UNCOMMITTED)
    if raw:
        hand_over_raw(SimpleNamespace(_fetcher=fetcher, _max_poll_records=None), frozenset({TP.topic}))
    state = State(position)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    records = PartitionRecords(TP, MemoryRecords(data), [], position, None, None, True, READ_UNCOMMITTED)
    fetcher._records[TP] = FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)
    return fetcher._records, state


@pytest.mark.parametrize(
    ("data", "position"),
    [
        (batch(0, [0, 1, 2, 3, 4, 5, 6]), 0),
        (batch(0, list(range(40))) + batch(40, list(range(9))), 17),
        (batch(10, [0, 2, 5], last=19) + batch(20, [3, 4]), 12),
        (batch(10, [0, 2, 5], last=19), 18),
        (batch(0, [0, 1]) + batch(2, [0], attributes=CONTROL) + batch(3, [0, 1, 2]), 0),
        (batch(0, [0, 1]) + batch(2, [0], attributes=CONTROL), 1),
        (batch(5, [0], attributes=CONTROL), 5),
        (batch(100, list(range(30)), codec=LZ4), 111),
        (batch(0, [0, 1, 2])[:-3], 0),
        (batch(0, [0, 1, 2]) + batch(3, [0, 1])[:40], 0),
        (legacy(7, 5), 7),
        (legacy(7, 5), 9),
    ],
)
def test_the_same_records_and_the_same_position_as_aiokafka(data, position):
    """Batches from the middle, compacted, compressed, cut off, in old formats, and markers of transactions."""
    (stock, stock_state), (raw, raw_state) = (fetcher_of(data, position, raw=raw) for raw in (False, True))

    expected, found = stock[TP].getall(), raw[TP].getall()

    wanted = [(record.offset, record.timestamp, record.key, record.value) for record in expected]
    assert [(record.offset, record.timestamp, record.key, record.value) for record in found] == wanted
    assert [record.timestamp_type for record in found] == [record.timestamp_type for record in expected]
    assert raw_state.position == stock_state.position
    assert not any(type(record) is ConsumerRecord for record in found)
    assert raw[TP].has_more() == stock[TP].has_more() is False


@pytest.mark.parametrize("broken", [0, 1])
def test_a_wrong_checksum_is_raised_and_the_fetch_forgotten(broken):
    """The position stays, nothing of the fetch is handed over later, and the fetcher may fetch again."""
    parts = [bytearray(batch(0, [0, 1, 2])), bytearray(batch(3, [0, 1, 2]))]
    parts[broken][-2] ^= 0xFF
    for raw in (False, True):
        fetched, state = fetcher_of(bytes(parts[0] + parts[1]), 0, raw=raw)
        with pytest.raises(CorruptRecordException, match="Invalid CRC"):
            fetched[TP].getall()
        assert fetched[TP].getall() == []
        assert not fetched[TP].has_more()
        assert state.position == 0


def test_a_seek_in_between_leaves_nothing_to_hand_over():
    """What was fetched for another position is dropped, as aiokafka does."""
    fetched, state = fetcher_of(batch(0, [0, 1, 2]), 0, raw=True)
    state.position = 2
    assert fetched[TP].getall() == []
    assert state.position == 2


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let nothing be freed but by counting references."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fate", ["read", "sought", "dropped", "corrupt"])
def test_what_was_fetched_is_freed_without_the_collector(fate):
    """Neither aiokafka's records nor ours, which hold a megabyte of the log, wait for it."""
    data = bytearray(batch(0, [0, 1, 2]))
    if fate == "corrupt":
        data[-2] ^= 0xFF
    fetched, state = fetcher_of(b"", 0, raw=True)
    stock = PartitionRecords(TP, MemoryRecords(bytes(data)), [], 0, None, None, True, READ_UNCOMMITTED)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    fetched[TP] = FetchResult(TP, assignment=assignment, partition_records=stock, backoff=0)
    held = [weakref.ref(stock), weakref.ref(fetched[TP]._partition_records)]
    del stock
    if fate == "sought":
        state.position = 2
    if fate == "corrupt":
        with pytest.raises(CorruptRecordException):
            fetched[TP].getall()
    if fate != "dropped":
        fetched[TP].getall()

    del fetched[TP]
    assert [ref() for ref in held] == [None, None]


@pytest.mark.parametrize(
    ("isolation_level", "max_poll_records", "topic"),
    [(READ_COMMITTED, None, TP.topic), (READ_UNCOMMITTED, 500, TP.topic), (READ_UNCOMMITTED, None, "other")],
)
def test_whoever_needs_more_gets_aiokafkas_own(isolation_level, max_poll_records, topic):
    """Aborted transactions, stops in the middle of a batch, and the tables' changelogs."""
    fetcher = SimpleNamespace(_records={}, _isolation_level=isolation_level)
    consumer = SimpleNamespace(_fetcher=fetcher, _max_poll_records=max_poll_records)
    hand_over_raw(consumer, frozenset({topic}))
    records = PartitionRecords(TP, MemoryRecords(batch(0, [0])), [], 0, None, None, True, isolation_level)
    result = FetchResult(TP, assignment=None, partition_records=records, backoff=0)
    fetcher._records[TP] = result
    assert result._partition_records is records
