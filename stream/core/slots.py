"""A checkpoint as the records of a compacted log, and the newest usable one among such records.

Two *slots* are written in turn, so that the one in use is never touched. A state that fits is one record, under the
slot's own key. A larger one is *chunks* and then a *head*, which names slot, number of chunks, size and checksum of the
whole: as long as the head is not there, nothing is. Whoever dies between two chunks leaves the other slot untouched.

    key `7` or `7/1`       the slot of partition 7: a whole state, or a head
    key `7/0/2`            chunk 2 in slot 0 of partition 7

Compaction keeps the newest record of each key, so the log is bounded by twice the largest state; a reader takes its
records in the order of the log, and may begin anywhere.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from stream.core.checkpoint import (
    CheckpointError,
    DamagedCheckpointError,
    frame,
    header,
    unframe,
)

SLOTS: Final = 2
# Of a state: with records of 8 MiB, half a gigabyte compressed, which is more than a worker has memory for.
CHUNKS_MAX: Final = 64
HEAD_MAGIC: Final = b"cgHD"
CHUNK_MAGIC: Final = b"cgCK"
_CHUNK: Final = struct.Struct(">IHH")  # checksum of the whole, index, number of chunks
CHUNK_OVERHEAD_BYTES: Final = len(frame(CHUNK_MAGIC, _CHUNK.pack(0, 0, 0)))
_MAGIC_BYTES: Final = 4

LogRecord = tuple[bytes | None, bytes | None]  # key, value


class StateTooLargeError(Exception):
    """A state that does not fit into the chunks of a slot."""


class _Head(msgspec.Struct, array_like=True):
    slot: int
    chunks: int
    size: int
    checksum: int
    applied_offset: int


class Candidate(NamedTuple):
    """A checkpoint that is whole. ``applied_offset``: None where only the state says it (format 1)."""

    slot: int
    applied_offset: int | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """What a part of the log has: usable checkpoints, newest first, and in one line each why others are none."""

    usable: tuple[Candidate, ...] = ()
    refused: tuple[str, ...] = ()
    foreign: bool = False  # among the refused there is a sound one: of a newer program, or of something else
    settled: bool = True  # reading further back in the log would not find a newer one


def split(
    partition: int, slot: int, applied_offset: int, data: bytes, record_bytes_max: int
) -> list[LogRecord]:
    """Return the records that write a sealed state into a slot, to be confirmed one after another; the last one counts.

    Raises StateTooLargeError.
    """
    if len(data) <= record_bytes_max:
        return [(_slot_key(partition, slot), data)]
    room = record_bytes_max - CHUNK_OVERHEAD_BYTES
    count = -(-len(data) // room)
    if count > CHUNKS_MAX:
        raise StateTooLargeError(
            f"the state has {len(data)} bytes, more than {CHUNKS_MAX} chunks of {room}: "
            "spread the calls over more partitions"
        )
    checksum = zlib.crc32(data)
    records: list[LogRecord] = [
        (
            b"%d/%d/%d" % (partition, slot, index),
            frame(CHUNK_MAGIC, _CHUNK.pack(checksum, index, count) + data[index * room : (index + 1) * room]),
        )
        for index in range(count)
    ]
    head = msgspec.msgpack.encode(_Head(slot, count, len(data), checksum, applied_offset))
    return [*records, (_slot_key(partition, slot), frame(HEAD_MAGIC, head))]


def _slot_key(partition: int, slot: int) -> bytes:
    """Name a slot. The first one has the key that format 1 had, so that its programs meet a newer one and stop."""
    return b"%d/%d" % (partition, slot) if slot else b"%d" % partition


def assess(magic: bytes, partition: int, records: Sequence[LogRecord], *, from_the_beginning: bool) -> Found:
    """Look for the newest usable checkpoint among the last records of a log.

    ``from_the_beginning``: these are all records of the log. Otherwise a chunk that is missing may lie further back,
    and ``settled`` says whether that matters.
    """
    slots: dict[bytes | None, int] = {_slot_key(partition, slot): slot for slot in range(SLOTS)}
    chunks = _Chunks(value for key, value in records if key not in slots and value is not None)
    usable: list[Candidate] = []
    refused: list[str] = []
    foreign, awaited = False, [-1]
    for key, value in records:
        if key not in slots or value is None:
            continue
        slot = slots[key]
        try:
            usable.append(_candidate(magic, slot, value, chunks))
        except _MissingChunkError as missing:
            if from_the_beginning:
                refused.append(f"slot {slot}: {missing}")
            awaited.append(missing.applied_offset)
        except CheckpointError as error:
            foreign = foreign or not isinstance(error, DamagedCheckpointError)
            refused.append(f"slot {slot}: {error}")
    usable.sort(key=_rank)
    usable.reverse()
    settled = from_the_beginning or (bool(usable) and _rank(usable[0]) >= max(awaited))
    return Found(tuple(usable), tuple(refused), foreign, settled)


def _rank(candidate: Candidate) -> int:
    """Rank by what a state knows, not by where it lies: a process that has lost the partition may write late."""
    return -1 if candidate.applied_offset is None else candidate.applied_offset


class _MissingChunkError(DamagedCheckpointError):
    def __init__(self, message: str, applied_offset: int) -> None:
        super().__init__(message)
        self.applied_offset = applied_offset


class _Chunks:
    """Chunks by the checkpoint that they belong to. A damaged one is as good as none."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._parts: dict[tuple[int, int, int], bytes] = {}
        for value in values:
            try:
                _, _, rest = unframe(CHUNK_MAGIC, value)
                self._parts[_CHUNK.unpack_from(rest)] = rest[_CHUNK.size :]
            except (CheckpointError, struct.error):
                continue

    def of(self, head: _Head) -> Iterator[bytes]:
        for index in range(head.chunks):
            part = self._parts.get((head.checksum, index, head.chunks))
            if part is None:
                raise _MissingChunkError(
                    f"chunk {index} of {head.chunks} is missing or damaged", head.applied_offset
                )
            yield part


def _candidate(magic: bytes, slot: int, value: bytes, chunks: _Chunks) -> Candidate:
    if value[:_MAGIC_BYTES] != HEAD_MAGIC:
        return Candidate(slot, header(magic, value).applied_offset, value)
    _, _, rest = unframe(HEAD_MAGIC, value)
    try:
        head = msgspec.msgpack.decode(rest, type=_Head)
    except msgspec.MsgspecError as error:
        raise DamagedCheckpointError(f"head cannot be read: {type(error).__name__}") from error
    data = b"".join(chunks.of(head))
    if (len(data), zlib.crc32(data)) != (head.size, head.checksum):
        raise DamagedCheckpointError("chunks do not fit the checksum of their head: torn or corrupt")
    return Candidate(slot, header(magic, data).applied_offset, data)
