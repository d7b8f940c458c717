"""What stage 1 says to stage 2: one publication a source partition and shard, with absolute values.

It says the present value of every place (``stream.core.place``) that has changed since the publication before, 0
included, and everything since the beginning of every queue that has such a place. It is a heartbeat and a watermark
too, so it is sent also when nothing has changed. Sending one again, or an older one later, is harmless: the receiver
keeps, for each source partition, what was said at the largest offset.

That holds while all who speak for a partition count alike. Another release may have counted the same facts at other
places (up to version 3: by field, as ``stream.core.facts`` says), and a worker with other rules counts other facts. So
who follows another one says everything at first, and *anew*: what is not said then is nothing, from the first bucket on
of which the speaker holds all. Of what those before say at the same offset, and of what an earlier release says at any,
only that they live is heard from then on.
"""

from typing import Final, NamedTuple

import msgspec
import numpy as np

from schemas.limits import AT_MS_MAX
from stream.core.cells import Book
from stream.core.columns import Columns, Ints, Packed, column, pack, pack_columns, unpack, unpack_columns
from stream.core.counted import HISTOGRAMS
from stream.core.place import FIELD_BITS, FIELDS, QUEUE_MASK

PUBLICATION_VERSION: Final = 4


class Publication(msgspec.Struct, array_like=True, gc=False):
    """What one source partition knows at one offset, for the queues of one shard.

    Places are numbered by the queues' order here.
    """

    version: int
    partition: int
    applied_offset: int
    stream_time_ms: int | None
    final_before_ms: int  # cells of buckets that end at or before this can change no more
    as_of_ms: int | None
    caught_up: bool
    queues: list[str] = []
    first_at_ms: list[int] = []  # of each queue, as are the following
    oldest_waiting_at_ms: list[int | None] = []
    totals: Packed = (0, b"", b"")
    histograms: bytes = b""  # histogram by histogram
    cells: Packed = (0, b"", b"")  # a longest wait is one more than it is
    anew_from: int | None = None  # a bucket: from there on, cells that are not said are nothing
    since_ms: int = 0  # when whoever says this began: another one is somebody else


class Update(NamedTuple):
    """A publication's columns; ``queue`` numbers are indexes into ``Publication.queues``."""

    totals: Columns
    histograms: Ints
    places: Ints  # in order
    values: Ints
    anew_from: int | None = None


class _Version(msgspec.Struct, array_like=True):
    """What every publication of every release begins with."""

    version: int


encode_publication = msgspec.msgpack.Encoder().encode
decode_publication = msgspec.msgpack.Decoder(Publication).decode
_decode_version: Final = msgspec.msgpack.Decoder(_Version).decode


def version_of(data: bytes) -> int:
    """Return the version of a publication of any release. Raises msgspec.MsgspecError where it is none."""
    return _decode_version(data).version


def opened(publication: Publication) -> Update:
    """Return the columns of a publication. Raises ValueError where they do not fit its queues."""
    queues = len(publication.queues)
    totals, cells = unpack_columns(publication.totals), unpack_columns(publication.cells)
    histograms = unpack(publication.histograms) if queues else column(())
    if len(set(publication.queues)) != queues:
        raise ValueError("a queue twice")
    for places, of_queues in (
        (totals[0], totals[0] >> FIELD_BITS),
        (cells[0], cells[0] >> FIELD_BITS & QUEUE_MASK),
    ):
        if (np.diff(places) <= 0).any():
            raise ValueError("places that are not in order")
        if (of_queues >= queues).any():
            raise ValueError("a place of no queue")
    if {len(publication.first_at_ms), len(publication.oldest_waiting_at_ms)} != {queues}:
        raise ValueError("queues without times, or times without queues")
    if any(at_ms is not None and not 0 <= at_ms <= AT_MS_MAX for at_ms in publication.oldest_waiting_at_ms):
        raise ValueError("a time beyond all times")
    if len(histograms) % (queues * HISTOGRAMS or 1):
        raise ValueError("histograms of no queue")
    return Update(Columns(*totals), histograms, *cells, publication.anew_from)


class Sayings:
    """What is said to each shard: the queues that have changed, and where."""

    def __init__(self, book: Book, shards: int, again: set[int]) -> None:
        """Take what has changed. ``again``: numbers of queues that are said whether they have changed or not."""
        self._book, self._counted = book, book.settle()
        self._places, self._values = self._counted.take()
        self._queues = self._places >> FIELD_BITS & QUEUE_MASK
        told = np.zeros(len(book.numbered), bool)
        told[self._queues] = True
        told[list(again)] = True
        self._waiting = book.waiting_by_queue() if told.any() else []
        of_shard = book.shards(shards)
        self._numbers = [(told & (of_shard == shard)).nonzero()[0] for shard in range(shards)]
        self._index = np.zeros(len(told), np.int64)  # of each queue among those of its shard
        for numbers in self._numbers:
            self._index[numbers] = np.arange(len(numbers))
        # The places of each shard, one shard behind the other.
        shards_of = of_shard[self._queues]
        self._mine = np.split(
            shards_of.argsort(kind="stable"), np.bincount(shards_of, minlength=shards).cumsum()[:-1]
        )

    def to(self, shard: int, head: Publication) -> bytes:
        """Return the publication of a shard, which begins like ``head``."""
        told = self._numbers[shard]
        if not len(told):
            return encode_publication(head)
        numbers = told.tolist()
        ledgers = [self._book.numbered[number] for number in numbers]
        mine = self._mine[shard]
        cells = (self._places[mine] & ~(QUEUE_MASK << FIELD_BITS)) | self._index[
            self._queues[mine]
        ] << FIELD_BITS
        totals = self._counted.totals.reshape(-1, FIELDS)[told].ravel()
        held = totals.nonzero()[0]
        head = msgspec.structs.replace(
            head,
            queues=[ledger.name for ledger in ledgers],
            first_at_ms=[ledger.first_at_ms for ledger in ledgers],
            oldest_waiting_at_ms=[self._waiting[number][1] for number in numbers],
            totals=pack_columns(held, totals[held]),
            histograms=pack(
                self._counted.histograms.reshape(-1, HISTOGRAMS * (self._counted.bounds + 1))[told].ravel()
            ),
            cells=pack_columns(cells, self._values[mine]),
        )
        return encode_publication(head)
