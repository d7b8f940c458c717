"""Where a count belongs, as one integer: the *place* of a field in the cell of a queue.

    bucket (36 bits) | number of the queue (21) | field, or kind of fact (6; see ``stream.core.facts``)

The bucket comes first, so that places in order are in order of time: what is final is a beginning, and any range of
buckets is one slice. Queues are numbered by whoever holds the counts, in the order in which it hears of them. The same
without the bucket is the place of a field in a queue's sums.
"""

import zlib
from typing import Final

FIELD_BITS: Final = 6
FIELDS: Final = 1 << FIELD_BITS  # more than there are, facts included
FIELD_MASK: Final = FIELDS - 1
# More queues than the memory of a machine holds: ten thousand (queues_max) are half a gigabyte.
QUEUE_NUMBERS: Final = 1 << 21
BUCKET_SHIFT: Final = 27
IN_BUCKET: Final = (1 << BUCKET_SHIFT) - 1  # the queue and the field of a place
QUEUE_MASK: Final = QUEUE_NUMBERS - 1
LAST: Final = (1 << 63) - 1


def beginning(bucket: int) -> int:
    """Return the first place of a bucket; of one that never comes, the last place that there is."""
    return min(bucket << BUCKET_SHIFT, LAST)


def shard_of(queue: str, shards: int) -> int:
    """Return the shard of a queue: stable over processes, releases and machines."""
    return zlib.crc32(queue.encode("utf-8", "surrogatepass")) % shards
