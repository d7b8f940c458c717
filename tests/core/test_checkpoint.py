"""State to bytes and back, and everything that can be wrong with the bytes."""

import base64
import struct
import zlib

import cramjam
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.checkpoint import (
    FORMAT_VERSION,
    CheckpointError,
    DamagedCheckpointError,
    Header,
    encode,
    header,
    seal,
    unseal,
)
from stream.core.fields import LAYOUT_VERSION

MAGIC = b"test"
FRAME = struct.Struct(">4sBBI")
OFFSET = struct.pack(">q", 41)


class Thing(msgspec.Struct, array_like=True):
    """Something to save."""

    name: str
    counts: dict[int, int]


THING = Thing("sales", {1: 2, 34: 5_000})
SEALED = seal(MAGIC, 41, THING)


def sealed(rest, version=FORMAT_VERSION, layout=LAYOUT_VERSION, magic=MAGIC):
    """Put a right frame around anything."""
    checksum = zlib.crc32(magic + bytes((version, layout)) + rest)
    return FRAME.pack(magic, version, layout, checksum) + rest


def in_format_1(raw, layout=LAYOUT_VERSION):
    """Write what the first format was: no offset, and the magic not in the checksum."""
    body = packed(raw)
    return FRAME.pack(MAGIC, 1, layout, zlib.crc32(bytes((1, layout)) + body)) + body


def packed(raw):
    return bytes(cramjam.zstd.compress(raw, 1))


def flipped(data, place, bit):
    damaged = bytearray(data)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def test_what_was_sealed_is_unsealed():
    """Values and types come back as they were."""
    assert unseal(MAGIC, SEALED, Thing) == THING


@given(
    name=st.text("a€\x00", max_size=20),
    counts=st.dictionaries(st.integers(0, 99), st.integers(0, 2**63 - 1)),
    offset=st.integers(-1, 2**63 - 1),
)
def test_any_state_comes_back_with_its_offset(name, counts, offset):
    """From before the first record to the last that Kafka can number."""
    data = seal(MAGIC, offset, Thing(name, counts))

    assert unseal(MAGIC, data, Thing) == Thing(name, counts)
    assert header(MAGIC, data) == Header(FORMAT_VERSION, LAYOUT_VERSION, offset)


def test_the_offset_is_read_without_the_state():
    """What is behind it need not even be a state."""
    assert header(MAGIC, sealed(OFFSET + b"no zstd")).applied_offset == 41


def test_equal_states_give_equal_bytes():
    """So a checkpoint can be compared."""
    assert seal(MAGIC, 41, Thing("sales", {1: 2, 34: 5_000})) == SEALED


def test_a_state_is_encoded_as_of_one_moment():
    """What happens to it until it is sealed does not matter."""
    thing = Thing("sales", {1: 2, 34: 5_000})
    encoded = encode(MAGIC, 41, thing)
    thing.counts[1] = 3

    assert encoded.seal() == SEALED


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_a_checkpoint_torn_at_any_byte_is_refused(length):
    """From nothing at all to all but the last byte."""
    with pytest.raises(DamagedCheckpointError, match="torn"):
        unseal(MAGIC, SEALED[:length], Thing)


def test_a_checkpoint_with_something_behind_it_is_refused():
    """The checksum is that of the whole rest."""
    with pytest.raises(DamagedCheckpointError, match="torn or corrupt"):
        unseal(MAGIC, SEALED + b"\x00", Thing)


@pytest.mark.parametrize("place", range(len(SEALED)))
@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_damage_wherever_it_is(place, bit):
    """Of the magic, the versions, the checksum, the offset and the state; it never looks like a newer program's."""
    with pytest.raises(DamagedCheckpointError, match="torn or corrupt"):
        unseal(MAGIC, flipped(SEALED, place, bit), Thing)


def test_the_state_of_something_else_is_refused_by_name():
    """A record in the wrong place is no state of ours, however sound it is, and nothing that we may overwrite."""
    with pytest.raises(
        CheckpointError, match="marked b'cgS2', not b'test': it belongs to something else"
    ) as told:
        unseal(MAGIC, seal(b"cgS2", 41, THING), Thing)

    assert not isinstance(told.value, DamagedCheckpointError)


@pytest.mark.parametrize(
    ("version", "layout", "shown"),
    [
        (FORMAT_VERSION + 1, LAYOUT_VERSION, f"{FORMAT_VERSION + 1}.{LAYOUT_VERSION}"),
        (FORMAT_VERSION, LAYOUT_VERSION + 1, f"{FORMAT_VERSION}.{LAYOUT_VERSION + 1}"),
        (FORMAT_VERSION + 1, 0, f"{FORMAT_VERSION + 1}.0"),
        (255, 255, "255.255"),
    ],
)
def test_a_newer_checkpoint_is_refused_and_says_what_to_do(version, layout, shown):
    """A format or a layout of fields that this program does not know, by its number; it is not called damaged."""
    with pytest.raises(
        CheckpointError, match=f"format {shown}, newer than .*: run the newer callgauge"
    ) as told:
        unseal(MAGIC, sealed(b"anything at all", version, layout), Thing)

    assert not isinstance(told.value, DamagedCheckpointError)


def test_an_old_format_with_a_newer_layout_is_newer_too():
    """Either number can be the one that this program does not know."""
    with pytest.raises(CheckpointError, match=f"format 1.{LAYOUT_VERSION + 1}, newer"):
        unseal(MAGIC, in_format_1(msgspec.msgpack.encode(THING), LAYOUT_VERSION + 1), Thing)


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        OFFSET[:7],
        OFFSET,
        OFFSET + b"not compressed",
        OFFSET + packed(b""),
        OFFSET + packed(b"\xc1"),
        OFFSET + packed(msgspec.msgpack.encode([1, 2])),
        OFFSET + packed(msgspec.msgpack.encode(["sales"])),
    ],
    ids=[
        "nothing",
        "half an offset",
        "no state",
        "no zstd",
        "nothing packed",
        "no MessagePack",
        "types",
        "too short",
    ],
)
def test_a_sound_checksum_around_something_unreadable_is_refused(rest):
    """Written by a program gone wrong: still a DamagedCheckpointError, never another one."""
    with pytest.raises(DamagedCheckpointError, match="cannot be read"):
        unseal(MAGIC, sealed(rest), Thing)


# --- format 1 ---------------------------------------------------------------------------------------------------------

# Written by the program as of commit bd3cd7a, from the lines and the publication below.
STAGE_1 = base64.b64decode(
    "Y2dTMQEBFsshyii1L/1g9wI9DgCmWFpAMG2bDkATHacVsQMkpCzSsQKGjJQ0u3t7hZbeE4PUsHnrYE1j3P3ffQkCDgxLvDNbaXS4"
    "7fCqaPgKU5U1ZneSAU0ASwBDAJWqOp+p8qDRQrR+OlMHJ0Pr1KHT1MwQDDd6aqHLXdQkFwHMlVwAzMERjzmSEmfuypw5ByeaBIiW"
    "VcONHpGacmkRiuYgQtElBTpiCpsIVwGdKoHtWVJKBBJApimlNLBgYyvOqlYRIsRIKEVqRoiJmwilSDkZD4+5iRATaf1UDo5OhFKs"
    "nhAqTpC2Ed5o98qqO1g4c5RLXxANE/tnf3u2I3xDnHHG54wzfoZdw2PpjGN0UV/ccotXecUnf+9nDDw17LIVZ2WwWa7afVacJmqq"
    "HTMBbbDdipoDNMRUC/wHG2p+gHA+MiEVwocKrIH5b/INF0ZBxAAsA1/Qf6GLWqNh1y3sK9YGuNdvQe9e17AeS2fYY9j7+y5qC+qi"
    "vrC32FfsK+wDJyDAAgnG6jZI+9ImJuwGpIZtV+RNHWyAEg1aydC8ZGau5c0tA45FjVpAhhvH7NtFN6msKSFmCvFY+61gKuNNEPMw"
    "rGEOcAnwFeTNBwtMAYBuHfDWDFfkxjWNAg=="
)
BOARD_1 = base64.b64decode(
    "Y2dTMgEBTsOIKCi1L/1g+ABFBwByzCsucGvSAfw9M3l1WCWrV5i2/oVl0wskGTJezdZ9OwAEeCFLxHcPEPt2qzxCHEI7pQsRk74q"
    "M1WYadPUVCBszU5QGDUvfGaSmpoL33zsNFSOIY5ssD12YmMS2HzhK7ZdCmzl1NXVdXW1ixx5kNzAEx8wiAkMcOELLDFjdiuKmaRW"
    "WZe3g3CMmpRFoK9zEdBH2WB9FIf7LBrc59BxS+MJEKcwXFL4gOXQ4xm1Locex2IEFQA8QC4vgB0T8hDuFxAFJbutsV3ARHqBprmc"
    "KUFQbbdVv+YgzhqOAzgMOAYbARwHZ16hbJoB"
)
LINES = (
    "0 offered a",
    "1 queued a",
    "2 queued b call=d",
    "3 answered",
    "4 answered call=d agent=ann",
    "9 ended",
    "12 queued a call=e",
    "13 hold key=q",
)


def test_what_an_older_program_wrote_is_read_as_before():
    """Its header has no offset; the offset is in the state."""
    old = in_format_1(msgspec.msgpack.encode(THING))

    assert header(MAGIC, old) == Header(1, LAYOUT_VERSION, None)
    assert unseal(MAGIC, old, Thing) == THING


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("place", range(len(in_format_1(msgspec.msgpack.encode(THING)))))
def test_a_flipped_bit_is_noticed_in_the_old_format_too(place, bit):
    """Its checksum left out the magic, which is looked at by itself."""
    damaged = flipped(in_format_1(msgspec.msgpack.encode(THING)), place, bit)

    with pytest.raises(CheckpointError, match=r"belongs to something else|torn or corrupt"):
        unseal(MAGIC, damaged, Thing)
