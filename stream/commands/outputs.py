"""Files that commands write: whole or not at all, and one line where the disk refuses."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from stream.commands.common import RunError


@contextmanager
def disk(where: str) -> Iterator[None]:
    """Say in one line where nothing more could be written."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(
            f"{where} cannot be written: {reason}; make room, or choose another place with --out"
        ) from error


@contextmanager
def whole_file(out: str | None) -> Iterator[BinaryIO]:
    """Give standard output, or a file that appears only when it is whole."""
    if out is None:
        yield sys.stdout.buffer
        return
    path = Path(out)
    part = path.with_name(path.name + ".part")
    try:
        with disk(out):
            with part.open("wb") as stream:
                yield stream
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
