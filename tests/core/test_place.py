"""Places: where a count belongs, as one integer."""

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.limits import AT_MS_MAX
from stream.core import fields as f
from stream.core.facts import FACTS
from stream.core.place import (
    BUCKET_SHIFT,
    FIELD_BITS,
    FIELD_MASK,
    FIELDS,
    IN_BUCKET,
    LAST,
    QUEUE_MASK,
    QUEUE_NUMBERS,
    beginning,
)
from stream.core.rules import BUCKET_MS

LAST_BUCKET = AT_MS_MAX // BUCKET_MS
PARTS = st.tuples(st.integers(0, LAST_BUCKET), st.integers(0, QUEUE_NUMBERS - 1), st.integers(0, FIELDS - 1))
LARGEST = (LAST_BUCKET, QUEUE_NUMBERS - 1, FIELDS - 1)


def place_of(parts):
    """Put a bucket, the number of a queue and a field together, as whoever counts does."""
    bucket, queue, field = parts
    return (bucket << BUCKET_SHIFT) + (queue << FIELD_BITS) + field


@given(PARTS)
@example(LARGEST)
def test_a_place_gives_its_parts_back(parts):
    """None reaches into another: a count of one queue never becomes that of its neighbour."""
    place = place_of(parts)

    assert (place >> BUCKET_SHIFT, place >> FIELD_BITS & QUEUE_MASK, place & FIELD_MASK) == parts
    assert place & IN_BUCKET == place_of((0, *parts[1:]))


@given(PARTS, PARTS)
def test_places_in_order_are_in_order_of_time(one, other):
    """So what is final is a beginning; within a bucket the queues follow each other, and then their fields."""
    assert (place_of(one) < place_of(other)) == (one < other)


def test_every_moment_that_an_event_can_have_has_a_place():
    """To the end of the year 9999, in the last queue: a column holds 64 bits, one of which is the sign."""
    assert place_of(LARGEST) < 1 << 63


def test_there_is_room_for_every_field_and_every_kind_of_fact():
    """Also for some fields of a release to come, so that a checkpoint's places need not be numbered anew."""
    assert max(f.FIELD_COUNT - 1, *FACTS) < FIELDS == FIELD_MASK + 1


def test_a_bucket_begins_behind_all_before_it_and_one_that_never_comes_at_the_end():
    """What is final for ever is cut there, and a column holds no more than 64 bits."""
    assert place_of((6, QUEUE_NUMBERS - 1, FIELD_MASK)) < beginning(7) <= place_of((7, 0, 0))
    assert beginning(1 << 62) == LAST == (1 << 63) - 1
