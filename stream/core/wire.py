"""What stage 1 says to stage 2: one publication a source partition and shard, with absolute values.

A queue's values are its totals and whole minutes (``stream.core.minute``) of which a cell has changed.
A publication is a heartbeat and a watermark too, so it is sent also when nothing has changed. Sending one again, or an
older one later, is harmless: the receiver keeps, for each minute, the value of the larger offset.
"""

import zlib
from typing import Final

import msgspec

PUBLICATION_VERSION: Final = 2
CELLS_VERSION: Final = 1  # and before: single cells in place of minutes


class QueueUpdate(msgspec.Struct, array_like=True, gc=False):
    """The values of one queue that have changed."""

    name: str
    first_at_ms: int
    oldest_waiting_at_ms: int | None
    totals: dict[int, int]
    histograms: list[list[int]]
    minutes: list[
        tuple[int, dict[int, int]]
    ]  # (number, counts by place); up to CELLS_VERSION (bucket, counts)


class Publication(msgspec.Struct, array_like=True, gc=False):
    """What one source partition knows at one offset, for the queues of one shard."""

    version: int
    partition: int
    applied_offset: int
    stream_time_ms: int | None
    final_before_ms: int  # cells of buckets that end at or before this can change no more
    as_of_ms: int | None
    caught_up: bool
    queues: list[QueueUpdate]


encode_publication = msgspec.msgpack.Encoder().encode
decode_publication = msgspec.msgpack.Decoder(Publication).decode


def shard_of(queue: str, shards: int) -> int:
    """Return the shard of a queue: stable over processes, releases and machines."""
    return zlib.crc32(queue.encode("utf-8", "surrogatepass")) % shards
