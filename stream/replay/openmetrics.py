"""Samples as OpenMetrics files, one for each UTC day, for `promtool tsdb create-blocks-from openmetrics`.

promtool drops what is out of order within a series, and what has the time of a sample that it has, without a word. So
every series is checked here: strictly ascending, once a step. The manifest comes last and counts series and samples of
every file, so that a file without a manifest is never taken for a whole one.
"""

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from stream.export.metrics import Kind
from stream.replay.errors import ReplayError
from stream.replay.samples import Samples, Series, families

MANIFEST: Final = "manifest.json"
# One file is one block: promtool reads a file once for each block that it makes of it.
COMMAND: Final = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=24h")
_DAY_MS: Final = 86_400_000
_PART: Final = ".part"
_END: Final = b"# EOF\n"


def saved_replay(directory: Path) -> dict[str, Any]:
    """Return what the replay in a directory is a replay of. Raises ReplayError when it cannot go on."""
    found: dict[str, Any] = _manifest(directory)["replay"]
    return found


def _manifest(directory: Path) -> dict[str, Any]:
    if (directory / MANIFEST).exists():
        raise ReplayError(f"{directory}: is complete already; there is nothing to resume")
    try:
        found: dict[str, Any] = json.loads((directory / (MANIFEST + _PART)).read_bytes())
    except (OSError, ValueError):
        raise ReplayError(
            f"{directory}: has no whole day yet, so nothing can go on; begin again in an empty directory"
        ) from None
    return found


class OpenMetricsFiles:
    """Writes day files into a directory; ``complete_ms`` is the time up to which they were whole before."""

    def __init__(self, directory: Path, described: dict[str, Any], *, resume: bool) -> None:
        """Begin, or go on (``resume``): then ``described`` must be what the manifest says of the replay before."""
        self._directory = directory
        self._described = described
        self._days: list[dict[str, Any]] = []
        self._file: _DayFile | None = None
        directory.mkdir(parents=True, exist_ok=True)
        if resume:
            self._days = self._whole_days()
        elif any(directory.iterdir()):
            raise ReplayError(f"{directory}: is not empty; name an empty directory, or go on with --resume")
        self.complete_ms = max((day["end_ms"] for day in self._days), default=0)

    def _whole_days(self) -> list[dict[str, Any]]:
        found = _manifest(self._directory)
        if found["replay"] != self._described:
            raise ReplayError(
                f"{self._directory}: was made by another replay (source, step, labels or configuration differ); "
                "begin again in an empty directory"
            )
        for path in self._directory.glob(f"*.om{_PART}"):
            path.unlink()  # of a process that was killed
        days: list[dict[str, Any]] = found["files"]
        for day in days:
            path = self._directory / day["file"]
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != day["sha256"]:
                raise ReplayError(f"{path}: is not what the manifest says; begin again in an empty directory")
        return days

    def write(self, at_ms: int, samples: Samples) -> None:
        """Write the samples of one step."""
        if at_ms < self.complete_ms:
            return
        day_ms = at_ms // _DAY_MS * _DAY_MS
        if self._file is None or self._file.day_ms != day_ms:
            self._close_day()
            self._file = _DayFile(self._directory, day_ms)
        self._file.write(at_ms, samples)

    def _close_day(self) -> None:
        if self._file is not None:
            self._days.append(self._file.close())
            self._file = None
            self._write_manifest(MANIFEST + _PART)

    def _write_manifest(self, name: str) -> None:
        text = json.dumps(
            {
                "replay": self._described,
                "series": max((day["series"] for day in self._days), default=0),
                "samples": sum(day["samples"] for day in self._days),
                "import": [[*COMMAND, day["file"], "DATA_DIRECTORY"] for day in self._days],
                "files": self._days,
            },
            indent=2,
        )
        part = self._directory / (name + ".new")
        part.write_text(text + "\n")
        part.replace(self._directory / name)

    def finish(self) -> str:
        """Close the last day and write the manifest; return how much was written."""
        self._close_day()
        self._write_manifest(MANIFEST)
        with suppress(FileNotFoundError):
            (self._directory / (MANIFEST + _PART)).unlink()
        return f"{sum(day['samples'] for day in self._days)} samples in {len(self._days)} files of a day"

    def abandon(self) -> str:
        """Drop the day that is not whole; return what is."""
        if self._file is not None:
            self._file.drop()
        return f"{len(self._days)} whole days are in {self._directory}"


class _DayFile:
    """The file of one UTC day, under a name of its own until it is whole."""

    def __init__(self, directory: Path, day_ms: int) -> None:
        self.day_ms = day_ms
        self._name = f"callgauge-{datetime.fromtimestamp(day_ms / 1_000, UTC):%Y-%m-%d}.om"
        self._path = directory / self._name
        self._part = directory / (self._name + _PART)
        self._stream: BinaryIO = self._part.open("wb")
        self._digest = hashlib.sha256()
        self._last_ms: dict[Series, int] = {}
        self._samples = 0
        self._first_at_ms = self._at_ms = -1
        for name, kind in families():
            self._put(f"# TYPE {_family_name(name, kind)} {kind}\n".encode())

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._stream.write(data)

    def write(self, at_ms: int, samples: Samples) -> None:
        """Write the samples of one step. Raises ReplayError for one that promtool would drop."""
        time_text = f"{at_ms // 1_000}.{at_ms % 1_000:03d}" if at_ms % 1_000 else str(at_ms // 1_000)
        last_ms = self._last_ms
        lines = []
        for series, value in samples:
            if last_ms.get(series, -1) >= at_ms:
                raise ReplayError(
                    f"{self._path}: two samples of {series.text} at {time_text}: please report this"
                )
            last_ms[series] = at_ms
            lines.append(f"{series.text} {value!r} {time_text}\n")
        self._put("".join(lines).encode())
        self._samples += len(samples)
        self._first_at_ms = at_ms if self._first_at_ms < 0 else self._first_at_ms
        self._at_ms = at_ms

    def close(self) -> dict[str, Any]:
        """End the file, give it its name, and describe it."""
        self._put(_END)
        self._stream.close()
        self._part.replace(self._path)
        return {
            "file": self._name,
            "series": len(self._last_ms),
            "samples": self._samples,
            "first_ms": self._first_at_ms,
            "last_ms": self._at_ms,
            "end_ms": self.day_ms + _DAY_MS,
            "sha256": self._digest.hexdigest(),
        }

    def drop(self) -> None:
        """Remove what is not whole."""
        self._stream.close()
        with suppress(OSError):
            self._part.unlink()


def _family_name(name: str, kind: Kind) -> str:
    return name.removesuffix("_total") if kind is Kind.COUNTER else name
