"""The bounds of a source partition's state, in one place; each comment says why the number is what it is.

What a queue may be called and how large an event may be is bounded in ``schemas.limits``; how many queues there may
be, how long a call may last and how late an event may be are settings, bounded in ``stream.settings.limits``.
"""

from typing import Final

# A call that is passed on ten times, put on hold each time, with its wrap-ups, has some seventy events. An event out of
# order folds its call again from the first one, which takes 2 ms with a thousand.
CALL_EVENTS_MAX: Final = 1_000
# Of one source partition, closed ones that are still remembered included: 280 new calls a second, of four events each,
# or a centre that keeps 250,000 people waiting on each of its partitions. Some 2 KB each, so about half a gigabyte.
CALLS_MAX: Final = 250_000
