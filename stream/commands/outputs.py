"""Files that commands write: whole or not at all, and one line where the disk refuses."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from stream.commands.common import RunError


@contextmanager
def disk(where: str, option: str = "--out") -> Iterator[None]:
    """Say in one line where nothing more could be written, and which option names another place."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(
            f"{where} cannot be written: {reason}; make room, or choose another place with {option}"
        ) from error


@contextmanager
def whole_file(out: str | None, option: str = "--out") -> Iterator[BinaryIO]:
    """Give standard output, or a file that appears only when it is whole."""
    if out is None:
        yield sys.stdout.buffer
        return
    path = Path(out)
    part = path.with_name(path.name + ".part")
    try:
        with disk(out, option):
            with part.open("wb") as stream:
                yield stream
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
