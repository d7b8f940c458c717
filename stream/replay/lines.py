"""Events from JSON lines: a file, a gzip file, or standard input."""

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from schemas import Rejected, decode
from schemas.limits import EVENT_BYTES_MAX
from stream.replay.errors import ReplayError

STDIN: Final = "-"
_GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Line:
    """One line as a record: its number from 1 is the offset. A line has no timestamp, and its key is its call_id."""

    offset: int
    value: bytes
    key: bytes | None
    timestamp: int | None = None


def read_lines(source: str, on_bytes: Callable[[int], None] = lambda _: None) -> Iterator[Line]:
    """Read records from a path (``.gz`` by content, not by name) or ``-``. Blank lines are passed over.

    ``on_bytes`` is told the length of every line read. Raises ReplayError.
    """
    number = 0
    try:
        with _open(source) as stream:
            while line := stream.readline(EVENT_BYTES_MAX + 2):
                number += 1
                value = line.rstrip(b"\r\n")
                if not line.endswith(b"\n"):
                    _skip_rest(stream)
                on_bytes(len(line))
                if value.strip():
                    yield Line(number, value, _key(value))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ReplayError(
            f"{source}: line {number + 1}: the gzip data is cut off or damaged; fetch the file again"
        ) from error
    except OSError as error:
        raise ReplayError(
            f"{source}: {error.strerror or error}; name a .jsonl or .jsonl.gz file, or - for standard input"
        ) from error


def _key(value: bytes) -> bytes | None:
    event = decode(value)
    return b"" if isinstance(event, Rejected) else event.call_id.encode()


@contextmanager
def _open(source: str) -> Iterator[BinaryIO]:
    raw = sys.stdin.buffer if source == STDIN else Path(source).open("rb")  # noqa: SIM115 - closed below, stdin is not
    try:
        yield _unzipped(raw)
    finally:
        if source != STDIN:
            raw.close()


def _unzipped(raw: BinaryIO) -> BinaryIO:
    """Unpack what begins like gzip; a file's name is only a name."""
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
    packed = buffered.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    return cast("BinaryIO", gzip.GzipFile(fileobj=buffered)) if packed else buffered


def _skip_rest(stream: BinaryIO) -> None:
    """Pass over what remains of a line longer than any event may be."""
    while (rest := stream.readline(EVENT_BYTES_MAX)) and not rest.endswith(b"\n"):
        continue
