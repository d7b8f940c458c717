"""Events as JSON lines."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from schemas import encode
from stream.simulate.emission import Emission

# Lines written at once: large enough that writing is not what takes time, small enough to be seen live.
_LINES_AT_ONCE = 512


def write_file(
    emissions: Iterable[Emission],
    target: Path | BinaryIO,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write one event a line to a path (`.gz`: compressed) or an open binary stream; return the count.

    The same events give the same file, also compressed. An open stream is flushed and left open.
    `on_progress` gets the count so far, now and then.
    """
    rest = iter(emissions)
    written = 0
    with ExitStack() as stack:
        stream = _opened(target, stack) if isinstance(target, Path) else target
        while lines := [encode(emission.event) for emission in islice(rest, _LINES_AT_ONCE)]:
            stream.write(b"\n".join(lines) + b"\n")
            written += len(lines)
            if on_progress is not None:
                on_progress(written)
        stream.flush()
    return written


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    stream: BinaryIO = stack.enter_context(path.open("wb"))
    if path.suffix != ".gz":
        return stream
    # Neither name nor time go into the header: they would differ between equal runs.
    packed = gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0)
    return cast("BinaryIO", stack.enter_context(packed))
