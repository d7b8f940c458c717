"""Where downloaded and generated files live, and how they get there atomically."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """Return the per-user cache of callgauge: `$XDG_CACHE_HOME/callgauge`, or `~/.cache/callgauge`."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG rules say that a relative path is invalid and must be ignored
    base = Path(configured) if Path(configured).is_absolute() else Path.home() / ".cache"
    return base / "callgauge"


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold the file's lock against other processes; the system frees it even when this one is killed."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
