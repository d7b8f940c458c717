"""Where and with what it was measured."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench.child import ROOT
from stream import clock, compiled
from stream.kafka.java import find_java

_JARS = ROOT / "stream" / "kafka" / "jars.lock"
_KAFKA = "org.apache.kafka:kafka_2.13:"


def machine() -> dict[str, str]:
    """Return the facts that a figure means nothing without."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = bool(_git("status", "--porcelain", "--", "stream", "schemas"))
    return {
        "date": datetime.fromtimestamp(clock.wall_ms() / 1_000, UTC).isoformat(timespec="seconds"),
        "commit": commit + (" and uncommitted changes" if changed else ""),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{_memory_bytes() / 2**30:.0f} GiB",
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "core": "compiled" if compiled.in_use() else "plain Python",
        "faust-streaming": metadata.version("faust-streaming"),
        "aiokafka": metadata.version("aiokafka"),
        "msgspec": metadata.version("msgspec"),
        "kafka": _kafka(),
        "java": find_java().version,
    }


def load_average() -> float:
    """Return the machine's load over the last minute: what else was running."""
    return os.getloadavg()[0]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("" if done.returncode == 0 else "unknown")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _kafka() -> str:
    lines = _JARS.read_text().splitlines()
    return next(
        (line.split()[0].removeprefix(_KAFKA) for line in lines if line.startswith(_KAFKA)), "unknown"
    )
