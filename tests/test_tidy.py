"""Code about code: what no linter here looks for."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FUNCTION_LINES_MAX = 70  # a function is short enough to see whole
# The loop that every record passes is written out in one piece: a call in it costs as much as what it does.
LONGER = {"stream/core/calls.py": {"fold"}}
PURE = ("schemas", "stream/core")
UNFINISHED = re.compile(r"\b(FIXME|TODO|XXX)\b")
# Locks carry versions and hashes, never where something was downloaded from.
DOWNLOADS = re.compile(r"https?://[^\s\"']*(pypi|pythonhosted|maven|npmjs|golang)", re.IGNORECASE)
LOCKS = ("requirements.lock", "requirements-dev.lock")
# Nothing to test apart from what uses it.
NO_TWIN = {"__init__", "snapshot"}


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the project, as git knows them."""
    done = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [path for path in (ROOT / name for name in done.stdout.splitlines()) if path.exists()]


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function of a file."""
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("package", ["schemas", "stream", "bench", "tools", "examples"])
def test_no_function_is_too_long_to_see_whole(package):
    """Seventy lines at most below the signature, the exceptions by name."""
    long = {
        (str(path.relative_to(ROOT)), node.name)
        for path in tracked(f"{package}/*.py")
        for node in functions(path)
        if (node.end_lineno or 0) - node.body[0].lineno >= FUNCTION_LINES_MAX
    }

    assert {(name, function) for name, function in long if function not in LONGER.get(name, set())} == set()


def test_nothing_unfinished_is_committed():
    """No reminders in the code: what is to be done stands in the issues."""
    here = Path(__file__)
    found = [path for path in tracked("*.py") if path != here and UNFINISHED.search(path.read_text())]

    assert found == []


def test_no_file_names_where_something_is_downloaded_from():
    """The registries are the machine's business; locks hold hashes."""
    found = [
        path
        for path in tracked("*.py", "*.toml", "*.lock", "*.md", "*.json", "Makefile", ".ci/*")
        if path != Path(__file__) and DOWNLOADS.search(path.read_text())
    ]

    assert found == []
    assert all("--hash=sha256:" in (ROOT / lock).read_text() for lock in LOCKS)


@pytest.mark.parametrize("package", PURE)
def test_every_module_of_the_core_has_its_twin(package):
    """A module without tests of its own is found here, not by a user."""
    tests = {
        path.stem.removeprefix("test_") for path in (ROOT / "tests" / Path(package).name).glob("test_*.py")
    }
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - NO_TWIN

    assert modules - tests == set()


def test_the_changelog_has_the_form_that_readers_know():
    """Headings of Keep a Changelog, and an entry under the unreleased ones."""
    text = (ROOT / "CHANGELOG.md").read_text()

    assert text.startswith("# Changelog\n")
    assert "\n## [Unreleased]\n" in text
    kinds = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
