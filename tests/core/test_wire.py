"""What stage 1 says to stage 2."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.wire import Publication, QueueUpdate, decode_publication, encode_publication, shard_of

COUNTS = st.dictionaries(st.integers(0, 800), st.integers(-(2**40), 2**60), max_size=3)
TIMES = st.one_of(st.none(), st.integers(0, 2**53))
UPDATES = st.builds(
    QueueUpdate,
    st.text(min_size=1, max_size=20),
    st.integers(0, 2**53),
    TIMES,
    COUNTS,
    st.lists(st.lists(st.integers(0, 2**53), max_size=3), max_size=2),
    st.lists(st.tuples(st.integers(0, 2**40), COUNTS), max_size=3),
)
PUBLICATIONS = st.builds(
    Publication,
    st.just(1),
    st.integers(0, 1_000),
    st.integers(-1, 2**62),
    TIMES,
    st.integers(0, 2**53),
    TIMES,
    st.booleans(),
    st.lists(UPDATES, max_size=3),
)


@given(PUBLICATIONS)
def test_a_publication_is_read_as_it_was_written(publication):
    """Whatever is in it."""
    assert publication == decode_publication(encode_publication(publication))


def test_no_part_of_a_publication_is_one():
    """A torn record is refused, wherever it ends."""
    data = encode_publication(
        Publication(1, 2, 3, 4, 5, 6, True, [QueueUpdate("a", 1, None, {1: 2}, [[3]], [(4, {5: 6})])])
    )
    for length in range(len(data)):
        with pytest.raises(msgspec.DecodeError):
            decode_publication(data[:length])


def test_the_shard_of_a_queue_is_the_same_for_ever():
    """Where a queue's state lies was decided by the release before; these numbers may never change."""
    assert shard_of("123456789", 1 << 32) == 0xCBF43926  # the check value that every CRC-32 is published with
    assert tuple(shard_of(name, 4) for name in ("sales", "support", "unrouted", "__other__")) == (0, 1, 2, 1)


@given(st.text(alphabet=st.characters()), st.integers(1, 64))
def test_every_queue_has_a_shard(name, shards):
    """Any name, lone surrogates too."""
    assert 0 <= shard_of(name, shards) < shards


def test_queues_are_spread_over_the_shards():
    """A thousand queues in four shards: none is empty, none has the half."""
    counts = [sum(shard_of(f"queue {number}", 4) == shard for number in range(1_000)) for shard in range(4)]

    assert min(counts) > 150
    assert max(counts) < 350
