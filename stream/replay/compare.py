"""What another configuration changes: two outputs of `replay --to json`, by queue and day."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stream.core.board import DAY
from stream.replay.errors import ReplayError

_KEY: Final = ("start", "queue")
_ROW: Final = frozenset({"queue", "window", "start", "end"})


@dataclass(frozen=True, slots=True)
class Change:
    """One number that differs; None where one side has no base for it, or no such day."""

    day: str
    queue: str
    name: str
    before: float | None
    after: float | None


def compare(before: Path, after: Path) -> list[Change]:
    """Return every number of a day that differs, in order of day, queue and name. Raises ReplayError."""
    olds, news = _days(before), _days(after)
    changes: list[Change] = []
    for day, queue in sorted(olds.keys() | news.keys()):
        old, new = olds.get((day, queue), {}), news.get((day, queue), {})
        changes.extend(
            Change(day, queue, name, old.get(name), new.get(name))
            for name in sorted((old.keys() | new.keys()) - _ROW)
            if old.get(name) != new.get(name)
        )
    return changes


def _days(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["start"][:10], row["queue"]): row for row in _rows(path) if row.get("window") == DAY}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ReplayError(f"{path}: {reason}; name an output of replay --to json") from error
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is None:
            raise ReplayError(f"{path}: line {number}: is no row of replay --to json; make the file again")
        if "summary" in row:
            return
        yield row
    raise ReplayError(f"{path}: has no summary at its end, so it is not whole; make the file again")


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(line)
        whole = "summary" in row or row.keys() >= _ROW
    except (ValueError, AttributeError, TypeError):
        return None
    return row if whole else None
