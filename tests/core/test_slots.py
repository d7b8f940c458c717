"""Checkpoints as records of a compacted log: whatever is there of it, the newest whole one is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.checkpoint import FORMAT_VERSION, frame, header, seal
from stream.core.slots import (
    CHUNK_OVERHEAD_BYTES,
    CHUNKS_MAX,
    HEAD_MAGIC,
    StateTooLargeError,
    assess,
    split,
)
from tests.core.test_checkpoint import in_format_1, sealed

MAGIC = b"test"
LIMIT = 60  # of a record: what is sealed below takes several


def state(offset, size=200):
    """Seal a state that compression cannot make smaller."""
    return seal(MAGIC, offset, bytes((offset * 7 + place * place * 31) % 251 for place in range(size)))


def log_of(*writes, limit=LIMIT):
    """Write states into slots in turn: (offset, size) each."""
    records = []
    for turn, (offset, size) in enumerate(writes):
        records += split(3, turn % 2, offset, state(offset, size), limit)
    return records


def compacted(records):
    """Keep the newest record of each key, in the order of the log."""
    last = {key: place for place, (key, _) in enumerate(records)}
    return [record for place, record in enumerate(records) if last[record[0]] == place]


def found(records, *, whole=True):
    return assess(MAGIC, 3, records, from_the_beginning=whole)


def offsets(records, *, whole=True):
    return [candidate.applied_offset for candidate in found(records, whole=whole).usable]


def test_a_state_that_fits_is_one_record():
    """Exactly the limit still fits; one byte more is chunks and a head."""
    data = state(5)

    assert [value for _, value in split(3, 0, 5, data, len(data))] == [data]
    assert len(split(3, 0, 5, data, len(data) - 1)) == 3


@pytest.mark.parametrize(("spare", "fits"), [(1, True), (0, True), (-1, False)])
def test_a_state_has_at_most_so_many_chunks(spare, fits):
    """At the limit and around it."""
    data = bytes(10 * CHUNKS_MAX - spare)
    if fits:
        assert len(split(3, 0, 5, data, 10 + CHUNK_OVERHEAD_BYTES)) == CHUNKS_MAX + 1
    else:
        with pytest.raises(StateTooLargeError, match=f"641 bytes, more than {CHUNKS_MAX} chunks of 10"):
            split(3, 0, 5, data, 10 + CHUNK_OVERHEAD_BYTES)


@given(data=st.binary(max_size=600), limit=st.integers(CHUNK_OVERHEAD_BYTES + 10, 700))
def test_chunks_make_the_whole_again(data, limit):
    """Whatever the bytes and the limit; no record is larger than the limit but a small head."""
    whole = sealed(b"\x00" * 8 + data, magic=MAGIC)
    records = split(3, 1, 0, whole, limit)
    (candidate,) = found(records).usable

    assert (candidate.slot, candidate.data) == (1, whole)
    assert all(len(value) <= limit for _, value in records[:-1])


def test_nothing_is_found_in_an_empty_log():
    """Neither usable nor refused."""
    assert found([]).usable == ()
    assert found([]).refused == ()
    assert found([]).settled


@pytest.mark.parametrize("second", [20, 200])
@pytest.mark.parametrize("first", [20, 200])
def test_a_crash_between_any_two_records_leaves_the_other_slot(first, second):
    """Small and large in every order, compacted or not, after each record of the third checkpoint."""
    before = log_of((10, first), (20, second))
    after = log_of((10, first), (20, second), (30, 200))
    for length in range(len(before), len(after)):
        for records in (after[:length], compacted(after[:length])):
            assert offsets(records)[0] == 20, length
    assert offsets(after)[0] == offsets(compacted(after))[0] == 30


@pytest.mark.parametrize("sizes", [(20, 20), (200, 200), (200, 20), (20, 200)])
def test_compaction_keeps_both_slots(sizes):
    """However many checkpoints there were: the newest one and the one before."""
    writes = [(10 * turn, sizes[turn % 2]) for turn in range(9)]
    records = compacted(log_of(*writes))

    assert offsets(records) == [80, 70]
    assert len(records) <= 2 * max(len(split(3, 0, 0, state(0, size), LIMIT)) for size in sizes)


@given(damage=st.data())
def test_a_damaged_record_of_the_newest_leaves_the_one_before(damage):
    """Any bit of any of its records flipped, or any of them cut: refused by name, and the other slot is used."""
    size = damage.draw(st.sampled_from([20, 200]))
    records = log_of((10, size), (20, size))
    newest = len(records) // 2
    place = damage.draw(st.integers(newest, len(records) - 1))
    key, value = records[place]
    at = damage.draw(st.integers(0, len(value) - 1))
    cut = value[:at] if damage.draw(st.booleans()) else _flipped(value, at, damage.draw(st.integers(0, 7)))
    records[place] = (key, cut)

    assert offsets(records) == [10]
    assert len(found(records).refused) == 1
    assert found(records).refused[0].startswith("slot 1: ")
    assert not found(records).foreign


def _flipped(value, place, bit):
    damaged = bytearray(value)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def test_both_slots_damaged_leave_nothing_usable():
    """The caller hears of each; the retained log is all that is left."""
    records = [(key, value[:-1]) for key, value in log_of((10, 20), (20, 20))]

    assert found(records).usable == ()
    assert [line[:7] for line in found(records).refused] == ["slot 0:", "slot 1:"]
    assert found(records).settled


@given(st.lists(st.sampled_from([20, 200]), min_size=1, max_size=6), st.data())
def test_what_is_settled_at_the_end_of_the_log_is_what_the_whole_log_says(sizes, draw):
    """Begun anywhere, and ending anywhere: either more is asked for, or it is the newest there is."""
    records = log_of(*[(10 * turn, size) for turn, size in enumerate(sizes)])
    records = records[: draw.draw(st.integers(0, len(records)))]
    tail = records[draw.draw(st.integers(0, len(records))) :]
    seen = found(tail, whole=False)

    if seen.settled:
        assert seen.usable[0] == found(records).usable[0]


def test_chunks_that_lie_further_back_are_asked_for_not_refused():
    """Half a checkpoint at the beginning of what was read says nothing about damage."""
    records = log_of((10, 200), (20, 200))
    seen = found(records[-2:], whole=False)

    assert (seen.usable, seen.refused, seen.settled) == ((), (), False)


def test_an_older_state_written_late_loses():
    """By a process that had lost the partition: the larger offset wins, whatever came last."""
    records = log_of((10, 20), (20, 20)) + split(3, 0, 5, state(5, 20), LIMIT)

    assert offsets(records)[0] == 20


def test_chunks_of_a_late_writer_do_not_mix_with_others():
    """It overwrites chunks of the newest, the log is compacted: that one is refused, the other is used."""
    records = log_of((10, 200), (20, 200))
    late = split(3, 1, 15, state(15), LIMIT)[:2]
    everything = compacted(records + late)

    assert offsets(everything) == [10]
    assert "chunk 0 of" in found(everything).refused[0]


def test_records_of_others_and_deleted_ones_are_passed_over():
    """Keys that are no slot of this partition, and tombstones."""
    records = [
        (None, b"x"),
        (b"4", state(99)),
        (b"3/2", state(99)),
        (b"3", None),
        (b"3/0/0", b"no chunk"),
        (b"3/0/1", frame(b"cgCK", b"short")),
        *log_of((10, 20)),
    ]

    assert offsets(records) == [10]
    assert found(records).refused == ()


def test_a_checkpoint_of_the_old_format_is_in_the_first_slot_and_the_oldest():
    """The next one goes to the other slot, so the old one stays until the new one is whole."""
    old = (b"3", in_format_1(b"\x01"))
    (candidate,) = found([old]).usable

    assert (candidate.slot, candidate.applied_offset) == (0, None)
    assert found([old], whole=False).settled
    assert offsets([*split(3, 1, 0, state(0, 20), LIMIT), old]) == [0, None]


@pytest.mark.parametrize("magic", [MAGIC, HEAD_MAGIC])
def test_a_newer_checkpoint_is_told_from_a_damaged_one(magic):
    """State or head: with nothing else the log must not simply be read again, that is for the newer program."""
    newer = sealed(b"?", FORMAT_VERSION + 1, magic=magic)
    alone = found([(b"3", newer)])
    assert (alone.usable, alone.foreign) == ((), True)
    assert "newer than" in alone.refused[0]

    beside = found([(b"3", newer), *split(3, 1, 10, state(10, 20), LIMIT)])
    assert (len(beside.usable), beside.foreign) == (1, True)


def test_a_head_that_is_none_is_refused():
    """A right frame around something else."""
    assert "head cannot be read" in found([(b"3", frame(HEAD_MAGIC, b"\xc1"))]).refused[0]


def test_a_whole_that_does_not_fit_its_head_is_refused():
    """Chunks that are sound each, and fit each other, but are not what the head is about."""
    short = split(3, 0, 10, state(10), LIMIT)
    key, value = short[0]
    # The same place and checksum of the whole, one byte less inside, and a frame of its own around it.
    short[0] = (key, frame(b"cgCK", value[10:-1]))

    assert "do not fit the checksum of their head" in found(short).refused[0]


def test_the_offset_of_a_large_state_is_in_its_header_too():
    """The head has it, and so has the state itself."""
    (candidate,) = found(log_of((10, 200))).usable

    assert header(MAGIC, candidate.data).applied_offset == candidate.applied_offset == 10
