"""Checkpoints: the state of a partition in its two slots of a compacted topic, and what becomes of it at a restore.

Faust's own recovery reads none of it (see ``Consumer.earliest_offsets``): it reads a record at a time into a table of
its own, and what it does with a failed write is to log it and go on. Here the end of the topic is read directly,
further back only when the newest state is not whole there, and writing goes straight to the producer.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from stream.core.slots import Found, LogRecord, assess, split
from stream.engine.dead_letters import Send
from stream.engine.topics import MESSAGE_BYTES_MAX

_ROOM_FOR_HEADERS: Final = 64 * 1024
RECORD_BYTES_MAX: Final = MESSAGE_BYTES_MAX - _ROOM_FOR_HEADERS
TAIL_RECORDS: Final = 2  # read at first: both slots, while a state is one record
TAIL_GROWTH: Final = 4  # times as many, when the newest state lies further back


class Tail(NamedTuple):
    """The last records of a partition of a checkpoint topic."""

    records: Sequence[LogRecord]
    from_the_beginning: bool  # there are no others


ReadTails = Callable[[str, Mapping[int, int]], Awaitable[Mapping[int, Tail]]]
"""``(topic, {partition: number of records}) -> {partition: tail}``; a compacted log may have fewer than asked for."""


class CheckpointTable:
    """The checkpoints of one stage."""

    def __init__(
        self, topic: str, magic: bytes, read_tails: ReadTails, record_bytes_max: int = RECORD_BYTES_MAX
    ) -> None:
        self.topic = topic
        self._magic = magic
        self._read_tails = read_tails
        self._record_bytes_max = record_bytes_max
        self._slots: dict[
            int, int
        ] = {}  # the one in use, by partition: the next checkpoint goes to the other

    async def read(self, partitions: Iterable[int]) -> dict[int, Found]:
        """Look for the newest usable checkpoint of each partition, as far back as necessary."""
        found: dict[int, Found] = {}
        wanted = dict.fromkeys(partitions, TAIL_RECORDS)
        while wanted:
            tails = await self._read_tails(self.topic, wanted)
            for partition, (records, from_the_beginning) in tails.items():
                seen = assess(self._magic, partition, records, from_the_beginning=from_the_beginning)
                if seen.settled:
                    found[partition] = seen
                    del wanted[partition]
                else:
                    wanted[partition] *= TAIL_GROWTH
        return found

    def restored(self, partition: int, slot: int | None) -> None:
        """Hear which slot the state came from: it stays untouched until the other one is whole. None: from neither."""
        self._slots[partition] = 1 if slot is None else slot

    async def save(self, partition: int, applied_offset: int, data: bytes, send: Send) -> None:
        """Write a sealed state into the slot not in use; returns when it is confirmed.

        Each record is confirmed before the next one is sent: the head comes last, and one chunk at a time waits in the
        producer. Raises StateTooLargeError.
        """
        slot = 1 - self._slots.get(partition, 1)
        for key, value in split(partition, slot, applied_offset, data, self._record_bytes_max):
            await (await send(self.topic, key, value, partition))
        self._slots[partition] = slot
