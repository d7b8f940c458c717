"""What is saved of a queue keeps its layout: a checkpoint of an earlier release is read by place, not by name."""

import msgspec

from stream.core.queue_state import Part, QueueState


def test_a_saved_queue_has_its_values_in_the_order_of_the_format():
    """Append, never reorder: the names are not in the bytes."""
    part = Part(7, 100, {1: 2}, [[0, 1]], {5: (7, {1: 2})})
    state = QueueState("sales", 9, {3: part}, {5: {65: 2}}, {5: 40}, {4: 30}, {0: {1: 2}}, {0: 40}, {0: 30})

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state)) == [
        "sales",
        9,
        {3: [7, 100, {1: 2}, [[0, 1]], {5: [7, {1: 2}]}]},
        {5: {65: 2}},
        {5: 40},
        {4: 30},
        {0: {1: 2}},
        {0: 40},
        {0: 30},
    ]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=QueueState) == state


def test_a_queue_of_which_nothing_was_said_shares_nothing_with_another_one():
    """Every default is its own."""
    one, other = QueueState("one", 0), QueueState("other", 0)
    one.parts[0] = Part()
    one.sums[1] = {2: 3}

    assert (other.parts, other.sums) == ({}, {})
