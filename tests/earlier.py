"""What a worker of an earlier release said: publications of version 3, which have a number for each field."""

from collections import defaultdict

from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELD_MASK, QUEUE_MASK
from stream.core.wire import decode_publication, encode_publication, opened
from tests.core.named import in_fields
from tests.core.publications import columns

VERSION = 3


class EarlierRelease:
    """One worker's life: it knows what it said before, for a field is said as the sum of all that counts there."""

    def __init__(self):
        self._cells = defaultdict(dict)

    def said(self, shard, payload):
        """Return what that release would have said in place of a publication of today."""
        publication = decode_publication(payload)
        update = opened(publication)
        said = {}
        for place, count in zip(update.places.tolist(), update.values.tolist(), strict=True):
            queue = place >> FIELD_BITS & QUEUE_MASK
            cell = self._cells[shard, publication.queues[queue], place >> BUCKET_SHIFT]
            cell[place & FIELD_MASK] = count
            said[place & ~FIELD_MASK] = cell
        publication.version, publication.anew_from, publication.since_ms = VERSION, None, 0
        publication.cells = columns(
            {
                place + field: count
                for place, cell in sorted(said.items())
                for field, count in sorted(in_fields(cell).items())
            }
        )
        publication.totals = columns(
            in_fields(dict(zip(update.totals.places.tolist(), update.totals.values.tolist(), strict=True)))
        )
        return encode_publication(publication)
