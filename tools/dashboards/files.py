"""The dashboards as files."""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards import processor, queues, replay, shift, wall

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / "grafana" / "dashboards"
BOARDS = {"wall": wall, "queues": queues, "shift": shift, "processor": processor, "replay": replay}


def _filled(value: Any) -> Any:
    """Write out what Grafana takes for "the lowest" in thresholds: null, which the SDK leaves out."""
    if isinstance(value, list):
        return [_filled(item) for item in value]
    if not isinstance(value, dict):
        return value
    filled = {key: _filled(item) for key, item in value.items()}
    if isinstance(steps := filled.get("steps"), list) and filled.get("mode") in {"absolute", "percentage"}:
        filled["steps"] = [{"value": None, **step} for step in steps]
    return filled


def document(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it from a file."""
    text = json.dumps(BOARDS[name].build().build(), cls=JSONEncoder)
    made: dict[str, Any] = _filled(json.loads(text))
    return made


def outputs() -> dict[Path, str]:
    """Return every file with the text it ought to have."""
    return {
        DIRECTORY / f"{name}.json": json.dumps(document(name), indent=2, ensure_ascii=False) + "\n"
        for name in BOARDS
    }


def stale() -> list[Path]:
    """Return the files that are missing or differ from what the generator writes."""
    return [
        path
        for path, text in outputs().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
