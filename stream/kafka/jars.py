"""Kafka's jars: pinned by version and SHA-256 in `jars.lock`, fetched once, kept per user.

A jar counts as present only with the locked size and the modification time `VERIFIED_AT_S`. That time
is set after the checksum was compared and before the file is moved into place, so a broken download or a
half-filled cache never looks complete, and any later write to a jar makes it count as absent. The check
costs a `stat` a jar; `verify` compares every byte again.
The fixed time has a second use: Java's class-data archives remember the time of each jar.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from stream.kafka.cache import cache_root, exclusive
from stream.kafka.errors import ExtraMissingError, JarChecksumError, JarFetchError
from stream.kafka.java import INSTALL_HINT

# Any constant will do; this one is 2001-09-09T01:46:40Z, easy to recognise in a listing.
VERIFIED_AT_S = 1_000_000_000
# Four at a time keep a usual connection busy; more would only annoy the server.
FETCH_THREADS = 4
# A second try mends a dropped connection; more hide that there is no network.
FETCH_ATTEMPTS = 2
FETCH_TIMEOUT_S = 30

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file."""

    group: str
    artifact: str
    version: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name that repositories give it."""
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class JarSet:
    """All jars of the lock, in one directory of the cache."""

    directory: Path
    jars: tuple[Jar, ...]

    @property
    def classpath(self) -> str:
        """The jars in the lock's order; class-data archives need the same order every time."""
        return os.pathsep.join(str(self.directory / jar.file_name) for jar in self.jars)


@cache
def locked_jars() -> tuple[Jar, ...]:
    """Return what the lock file pins."""
    jars = []
    for line in _lock_text().splitlines():
        if not line.startswith("#"):
            coordinate, size_bytes, sha256 = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, int(size_bytes), sha256))
    return tuple(jars)


@cache
def lock_digest() -> str:
    """Return a short name for this very set of jars."""
    pinned = repr(locked_jars()).encode()
    return hashlib.sha256(pinned).hexdigest()[:12]


def kafka_version() -> str:
    """Return the version of Kafka in the lock."""
    return next(jar.version for jar in locked_jars() if jar.artifact == "kafka-clients")


def kafka_cache() -> Path:
    """Return the cache directory of this set of jars; another lock has another directory."""
    return cache_root() / f"kafka-{kafka_version()}-{lock_digest()}"


def ensure_jars(progress: Progress | None = None, *, verify: bool = False) -> JarSet:
    """Return the jars, fetching those that are absent. `verify` compares the checksums of all of them.

    Any number of processes may call this at once. Needs no network when the cache is complete.
    """
    jar_set = JarSet(kafka_cache() / "jars", locked_jars())
    sound = _matches_checksum if verify else _looks_verified
    missing = [jar for jar in jar_set.jars if not sound(jar_set.directory, jar)]
    if missing:
        with exclusive(kafka_cache() / "jars.lock"):
            # another process may have fetched them while this one waited
            missing = [jar for jar in missing if not sound(jar_set.directory, jar)]
            _fetch(missing, jar_set.directory, progress or _silent)
    return jar_set


def _silent(_message: str) -> None:
    """Show nothing."""


def _lock_text() -> str:
    return resources.files("stream.kafka").joinpath("jars.lock").read_text()


def _looks_verified(directory: Path, jar: Jar) -> bool:
    try:
        status = (directory / jar.file_name).stat()
    except OSError:
        return False
    return status.st_size == jar.size_bytes and status.st_mtime_ns == VERIFIED_AT_S * 1_000_000_000


def _matches_checksum(directory: Path, jar: Jar) -> bool:
    return _looks_verified(directory, jar) and _sha256(directory / jar.file_name) == jar.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _fetch(missing: Sequence[Jar], directory: Path, progress: Progress) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    megabytes = sum(jar.size_bytes for jar in missing) / 1e6
    progress(f"fetching {len(missing)} jars of Kafka {kafka_version()}, {megabytes:.1f} MB")

    def fetch(jar: Jar) -> None:
        _fetch_one(jar, directory)
        progress(f"fetched {jar.file_name}")

    with ThreadPoolExecutor(FETCH_THREADS) as pool:
        # list() raises the first failure; leaving the pool waits for the others
        list(pool.map(fetch, missing))


def _fetch_one(jar: Jar, directory: Path) -> None:
    failure: Exception | None = None
    for attempt in range(FETCH_ATTEMPTS):
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix="fetching-") as staging:
            try:
                # the user's own Maven repository may have it, but only once: it may be the broken one
                fetched = _resolve(jar, Path(staging), look_local=attempt == 0)
            except ExtraMissingError:
                raise
            except Exception as error:  # noqa: BLE001 - jgo raises whatever its HTTP library raises
                failure = error
                continue
            if fetched.stat().st_size == jar.size_bytes and _sha256(fetched) == jar.sha256:
                _move_into_place(fetched, Path(staging) / "verified.jar", directory / jar.file_name)
                return
            failure = JarChecksumError(
                f"{jar.file_name} was fetched with another checksum than stream/kafka/jars.lock names;"
                " something on the way changes downloads: try another network"
            )
    if isinstance(failure, JarChecksumError):
        raise failure
    raise JarFetchError(
        f"cannot fetch {jar.file_name} ({type(failure).__name__}); the first start of the embedded Kafka"
        f" needs the network: check it and run `callgauge kafka --prepare` again"
    ) from failure


def _move_into_place(fetched: Path, staged: Path, target: Path) -> None:
    shutil.copyfile(fetched, staged)
    os.utime(staged, (VERIFIED_AT_S, VERIFIED_AT_S))
    staged.replace(target)


def _resolve(jar: Jar, staging: Path, *, look_local: bool) -> Path:
    """Let jgo find one jar: in the user's Maven repository, else from the network."""
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - only in the kafka extra
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext  # noqa: PLC0415
    except ImportError as error:
        raise ExtraMissingError(
            f"Kafka's jars are not cached yet and the kafka extra is not installed; run: {INSTALL_HINT}"
        ) from error
    settings = GlobalSettings.load()
    context = MavenContext(
        repo_cache=staging,
        local_repos=[settings.repo_cache] if look_local else [],
        # repositories of the user's jgo settings come first: they are the mirrors of a closed network
        remote_repos={**settings.repositories, "central": MAVEN_CENTRAL_URL},
        timeout=FETCH_TIMEOUT_S,
    )
    return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())
