"""How far a remote-write replay is, in a file, so that an interrupted one goes on."""

import json
from pathlib import Path
from typing import Any

from stream.replay.errors import ReplayError


def load_state(path: Path) -> dict[str, Any]:
    """Return what was saved: `replay` (what it was a replay of) and `complete_ms`. Raises ReplayError."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        found["replay"], found["complete_ms"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ReplayError(f"{path}: holds no replay that could go on; begin without --resume") from None
    return found


def save_state(path: Path, described: dict[str, Any], complete_ms: int) -> None:
    """Write it whole or not at all."""
    part = path.with_name(path.name + ".new")
    part.write_text(json.dumps({"replay": described, "complete_ms": complete_ms}, indent=2) + "\n")
    part.replace(path)


def resumable(path: Path, described: dict[str, Any]) -> int:
    """Return the step up to which this very replay is complete. Raises ReplayError for another one."""
    found = load_state(path)
    if found["replay"] != described:
        raise ReplayError(
            f"{path}: is of another replay (source, step, labels or configuration differ); begin without --resume"
        )
    complete_ms: int = found["complete_ms"]
    return complete_ms
