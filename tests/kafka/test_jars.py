"""Kafka's jars: pinned, verified, fetched once."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.kafka import ExtraMissingError, JarChecksumError, JarFetchError, jars

CONTENT = {"one": b"first jar", "two": b"second jar"}


class Server:
    """Stands in for jgo: serves what it is told and counts."""

    def __init__(self) -> None:
        self.content = dict(CONTENT)
        self.fetched: list[str] = []
        self.fails = 0
        self.looked_local: list[bool] = []

    def resolve(self, jar: jars.Jar, staging: Path, *, look_local: bool) -> Path:
        """Fetch one jar, or fail as often as told."""
        self.looked_local.append(look_local)
        if self.fails:
            self.fails -= 1
            raise ConnectionError
        self.fetched.append(jar.artifact)
        path = staging / jar.file_name
        path.write_bytes(self.content[jar.artifact])
        return path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Give a lock of two small jars, an empty cache and a server that has both."""
    lines = [
        f"org.example:{name}:1.0 {len(data)} {hashlib.sha256(data).hexdigest()}"
        for name, data in CONTENT.items()
    ]
    # the version of Kafka is read from its client's jar
    empty = hashlib.sha256(b"").hexdigest()
    text = "\n".join(["# a comment", *lines, f"org.apache.kafka:kafka-clients:9.9 0 {empty}"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(jars, "_lock_text", lambda: text)
    server = Server()
    server.content["kafka-clients"] = b""
    monkeypatch.setattr(jars, "_resolve", server.resolve)
    jars.locked_jars.cache_clear()
    jars.lock_digest.cache_clear()
    yield server
    jars.locked_jars.cache_clear()
    jars.lock_digest.cache_clear()


def test_jars_are_fetched_once(server: Server) -> None:
    """A complete cache needs no network."""
    jars.ensure_jars()
    jar_set = jars.ensure_jars(verify=True)

    assert sorted(server.fetched) == ["kafka-clients", "one", "two"]
    assert [Path(path).name for path in jar_set.classpath.split(":")] == [
        "one-1.0.jar",
        "two-1.0.jar",
        "kafka-clients-9.9.jar",
    ]


def test_a_changed_jar_is_fetched_again(server: Server) -> None:
    """A write to a jar in the cache is noticed at the next start, without reading every jar."""
    damaged = jars.ensure_jars().directory / "two-1.0.jar"
    server.fetched.clear()
    damaged.write_bytes(b"second jaR")
    jars.ensure_jars()

    assert (server.fetched, damaged.read_bytes()) == (["two"], b"second jar")


def test_silent_corruption_is_found_by_verification(server: Server) -> None:
    """A jar with the right size and time but other bytes is fetched again by prepare."""
    damaged = jars.ensure_jars().directory / "two-1.0.jar"
    server.fetched.clear()
    damaged.write_bytes(b"second jaR")
    os.utime(damaged, (jars.VERIFIED_AT_S, jars.VERIFIED_AT_S))
    jars.ensure_jars(verify=True)

    assert (server.fetched, damaged.read_bytes()) == (["two"], b"second jar")


def test_a_half_filled_cache_is_not_complete(server: Server) -> None:
    """What a killed process left is filled up."""
    directory = jars.ensure_jars().directory
    (directory / "one-1.0.jar").unlink()
    server.fetched.clear()
    jars.ensure_jars()

    assert server.fetched == ["one"]


def test_a_wrong_download_never_reaches_the_cache(server: Server) -> None:
    """A jar with another checksum is refused, twice, by name."""
    server.content["two"] = b"an evil one"
    with pytest.raises(JarChecksumError, match=r"two-1\.0\.jar was fetched with another checksum"):
        jars.ensure_jars()

    assert not (jars.kafka_cache() / "jars" / "two-1.0.jar").exists()
    assert not list(jars.kafka_cache().glob("fetching-*"))
    # the second try does not ask the user's own repository, which may hold the wrong one
    assert server.looked_local.count(False) == 1


def test_one_failed_download_is_tried_again(server: Server) -> None:
    """A dropped connection is not the end."""
    server.fails = 1
    jars.ensure_jars()

    assert len(server.fetched) == 3


def test_without_network_the_error_says_so(server: Server) -> None:
    """The message names the jar, the kind of failure and the command to repeat."""
    server.fails = 99
    with pytest.raises(JarFetchError, match=r"cannot fetch .*\(ConnectionError\).*callgauge kafka --prepare"):
        jars.ensure_jars()


def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, server: Server, tmp_path: Path
) -> None:
    """The absence of jgo, a part of the extra, matters only while jars are absent."""
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "jgo.config", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'callgauge\[kafka\]'"):
        jars._resolve(jars.Jar("g", "a", "1", 0, ""), tmp_path, look_local=True)


def test_the_lock_names_versions_and_checksums_only() -> None:
    """Every line is a coordinate, a size and a SHA-256; none is an address."""
    lines = [line for line in jars._lock_text().splitlines() if not line.startswith("#")]
    shape = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+ \d+ [0-9a-f]{64}")

    assert [line for line in lines if not shape.fullmatch(line)] == []
    assert len(lines) == len({line.split()[0] for line in lines})
    assert "//" not in jars._lock_text()
