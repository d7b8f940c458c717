"""State to bytes and back, and everything that can be wrong with the bytes."""

import struct
import zlib

import cramjam
import msgspec
import pytest

from stream.core.checkpoint import FORMAT_VERSION, CheckpointError, seal, unseal
from stream.core.fields import LAYOUT_VERSION

MAGIC = b"test"
HEADER = struct.Struct(">4sBBI")


class Thing(msgspec.Struct, array_like=True):
    """Something to save."""

    name: str
    counts: dict[int, int]


THING = Thing("sales", {1: 2, 34: 5_000})
SEALED = seal(MAGIC, THING)


def sealed(body, version=FORMAT_VERSION, layout=LAYOUT_VERSION, magic=MAGIC):
    """Put a right header around any body."""
    return HEADER.pack(magic, version, layout, zlib.crc32(body, zlib.crc32(bytes((version, layout))))) + body


def packed(raw):
    return bytes(cramjam.zstd.compress(raw, 1))


def test_what_was_sealed_is_unsealed():
    """Values and types come back as they were."""
    assert unseal(MAGIC, SEALED, Thing) == THING


def test_equal_states_give_equal_bytes():
    """So a checkpoint can be compared, and one that has not changed need not be sent."""
    assert seal(MAGIC, Thing("sales", {1: 2, 34: 5_000})) == SEALED


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_a_checkpoint_torn_at_any_byte_is_refused(length):
    """From nothing at all to all but the last byte."""
    with pytest.raises(CheckpointError, match="torn"):
        unseal(MAGIC, SEALED[:length], Thing)


def test_a_checkpoint_with_something_behind_it_is_refused():
    """The checksum is that of the whole rest."""
    with pytest.raises(CheckpointError, match="torn or corrupt"):
        unseal(MAGIC, SEALED + b"\x00", Thing)


@pytest.mark.parametrize("place", [place for place in range(len(SEALED)) if place not in {4, 5}])
@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_noticed(place, bit):
    """Of the magic, of the checksum and of the body; the versions have tests of their own."""
    damaged = bytearray(SEALED)
    damaged[place] ^= 1 << bit

    with pytest.raises(CheckpointError, match=r"belongs to something else|torn or corrupt"):
        unseal(MAGIC, bytes(damaged), Thing)


def test_the_state_of_something_else_is_refused_by_name():
    """A file in the wrong place is no state of ours, however sound it is."""
    with pytest.raises(CheckpointError, match="marked b'cgS2', not b'test': it belongs to something else"):
        unseal(MAGIC, seal(b"cgS2", THING), Thing)


@pytest.mark.parametrize(
    ("version", "layout", "shown"),
    [
        (FORMAT_VERSION + 1, LAYOUT_VERSION, f"{FORMAT_VERSION + 1}.{LAYOUT_VERSION}"),
        (FORMAT_VERSION, LAYOUT_VERSION + 1, f"{FORMAT_VERSION}.{LAYOUT_VERSION + 1}"),
        (255, 255, "255.255"),
    ],
)
def test_a_newer_checkpoint_is_refused_and_says_what_to_do(version, layout, shown):
    """A format or a layout of fields that this program does not know, by its number."""
    with pytest.raises(CheckpointError, match=f"format {shown}, newer than .*: run the newer callgauge"):
        unseal(MAGIC, sealed(packed(msgspec.msgpack.encode(THING)), version, layout), Thing)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not compressed",
        packed(b""),
        packed(b"\xc1"),
        packed(msgspec.msgpack.encode([1, 2])),
        packed(msgspec.msgpack.encode(["sales"])),
    ],
    ids=["nothing", "no zstd", "nothing packed", "no MessagePack", "wrong types", "too short"],
)
def test_a_sound_checksum_around_something_unreadable_is_refused(body):
    """Written by a program gone wrong: still a CheckpointError, never another one."""
    with pytest.raises(CheckpointError, match="cannot be read"):
        unseal(MAGIC, sealed(body), Thing)
