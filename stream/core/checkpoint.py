"""State to bytes and back: a version, a checksum and a layout around compressed MessagePack.

    magic (4) | format version (1) | fields' layout version (1) | CRC-32 of the rest (4) | zstd(MessagePack)

A checkpoint that is torn, corrupt or newer than this program is refused by name; nothing of it is used.
"""

import struct
import zlib
from typing import Final, TypeVar

import cramjam
import msgspec

from stream.core.fields import LAYOUT_VERSION

FORMAT_VERSION: Final = 1
COMPRESSION_LEVEL: Final = (
    1  # the state is rewritten every few seconds: speed counts, not the last tenth of the size
)
_HEADER: Final = struct.Struct(">4sBBI")

T = TypeVar("T")


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message says why in one line."""


def seal(magic: bytes, state: object) -> bytes:
    """Encode a state. ``magic``: four bytes that name what it is the state of."""
    body = bytes(cramjam.zstd.compress(msgspec.msgpack.encode(state), COMPRESSION_LEVEL))
    return (
        _HEADER.pack(magic, FORMAT_VERSION, LAYOUT_VERSION, _checksum(FORMAT_VERSION, LAYOUT_VERSION, body))
        + body
    )


def _checksum(version: int, layout: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(bytes((version, layout))))


def unseal(magic: bytes, data: bytes, state_type: type[T]) -> T:
    """Decode a state. Raises CheckpointError."""
    if len(data) < _HEADER.size:
        raise CheckpointError(f"checkpoint of {len(data)} bytes is torn: the header alone has {_HEADER.size}")
    found, version, layout, checksum = _HEADER.unpack_from(data)
    if found != magic:
        raise CheckpointError(f"checkpoint is marked {found!r}, not {magic!r}: it belongs to something else")
    if (version, layout) > (FORMAT_VERSION, LAYOUT_VERSION):
        raise CheckpointError(
            f"checkpoint has format {version}.{layout}, newer than {FORMAT_VERSION}.{LAYOUT_VERSION}: "
            "run the newer callgauge that wrote it"
        )
    body = data[_HEADER.size :]
    if _checksum(version, layout, body) != checksum:
        raise CheckpointError("checkpoint does not fit its checksum: it is torn or corrupt")
    try:
        return msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(body)), type=state_type)
    except (msgspec.MsgspecError, cramjam.DecompressionError) as error:
        raise CheckpointError(f"checkpoint cannot be read: {type(error).__name__}") from error
