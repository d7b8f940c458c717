"""State to bytes and back: versions, a checksum and the offset in front of compressed MessagePack.

    magic (4) | format version (1) | fields' layout version (1) | CRC-32 (4) | applied offset (8) | zstd(MessagePack)

The first ten bytes, and that the checksum covers them (but itself) and everything behind, hold for every format to
come: so what a newer program wrote is told from what is damaged, and the one is never taken for the other. Nothing is
used of a checkpoint that is torn, corrupt or newer than this program.

Format 1 had no offset in front, and its checksum left out the magic; it is read, and the next checkpoint is of the
present format.
"""

import struct
import zlib
from typing import Final, NamedTuple, TypeVar

import cramjam
import msgspec

from stream.core.fields import LAYOUT_VERSION

FORMAT_VERSION: Final = 2
COMPRESSION_LEVEL: Final = (
    1  # the state is rewritten every few seconds: speed counts, not the last tenth of the size
)
_FRAME: Final = struct.Struct(">4sBBI")
_OFFSET: Final = struct.Struct(">q")
_FORMAT_1: Final = 1

T = TypeVar("T")


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message says why in one line. If not of the kind below, it is sound."""


class DamagedCheckpointError(CheckpointError):
    """The bytes are not what was written, or never were a checkpoint: an older one is as true."""


class Encoded(NamedTuple):
    """A state as of one moment. ``seal`` may follow at leisure, in another thread."""

    magic: bytes
    applied_offset: int
    body: bytes

    def seal(self) -> bytes:
        """Compress; releases the interpreter's lock for nearly all of it."""
        body = bytes(cramjam.zstd.compress(self.body, COMPRESSION_LEVEL))
        return frame(self.magic, _OFFSET.pack(self.applied_offset) + body)


class Header(NamedTuple):
    """What the first bytes of a checkpoint say. ``applied_offset``: None in format 1, which has it in the state."""

    version: int
    layout: int
    applied_offset: int | None


def encode(magic: bytes, applied_offset: int, state: object) -> Encoded:
    """Encode a state. ``magic``: four bytes that name what it is the state of."""
    return Encoded(magic, applied_offset, msgspec.msgpack.encode(state))


def seal(magic: bytes, applied_offset: int, state: object) -> bytes:
    """Encode and compress a state."""
    return encode(magic, applied_offset, state).seal()


def header(magic: bytes, data: bytes) -> Header:
    """Check a checkpoint and read its header, without decoding the state. Raises CheckpointError."""
    return _open(magic, data)[0]


def unseal(magic: bytes, data: bytes, state_type: type[T]) -> T:
    """Decode a state. Raises CheckpointError."""
    _, body = _open(magic, data)
    try:
        return msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(body)), type=state_type)
    except (msgspec.MsgspecError, cramjam.DecompressionError) as error:
        raise DamagedCheckpointError(f"checkpoint cannot be read: {type(error).__name__}") from error


def _open(magic: bytes, data: bytes) -> tuple[Header, bytes]:
    version, layout, rest = unframe(magic, data)
    if version == _FORMAT_1:
        return Header(version, layout, None), rest
    if len(rest) < _OFFSET.size:
        raise DamagedCheckpointError("checkpoint cannot be read: it has no offset")
    return Header(version, layout, *_OFFSET.unpack_from(rest)), rest[_OFFSET.size :]


# --- what all formats have in common ----------------------------------------------------------------------------------


def frame(magic: bytes, rest: bytes) -> bytes:
    """Put magic, versions and checksum in front."""
    checksum = _checksum(magic, FORMAT_VERSION, LAYOUT_VERSION, rest)
    return _FRAME.pack(magic, FORMAT_VERSION, LAYOUT_VERSION, checksum) + rest


def unframe(magic: bytes, data: bytes) -> tuple[int, int, bytes]:
    """Return format, layout and what ``frame`` was given. Raises CheckpointError."""
    if len(data) < _FRAME.size:
        raise DamagedCheckpointError(
            f"checkpoint of {len(data)} bytes is torn: the header alone has {_FRAME.size}"
        )
    found, version, layout, checksum = _FRAME.unpack_from(data)
    rest = data[_FRAME.size :]
    if _checksum(found, version, layout, rest) != checksum:
        raise DamagedCheckpointError("checkpoint does not fit its checksum: it is torn or corrupt")
    if found != magic:
        raise CheckpointError(f"checkpoint is marked {found!r}, not {magic!r}: it belongs to something else")
    if version > FORMAT_VERSION or layout > LAYOUT_VERSION:
        raise CheckpointError(
            f"checkpoint has format {version}.{layout}, newer than {FORMAT_VERSION}.{LAYOUT_VERSION}: "
            "run the newer callgauge that wrote it"
        )
    return version, layout, rest


def _checksum(magic: bytes, version: int, layout: int, rest: bytes) -> int:
    covered = bytes((version, layout)) if version == _FORMAT_1 else magic + bytes((version, layout))
    return zlib.crc32(rest, zlib.crc32(covered))
