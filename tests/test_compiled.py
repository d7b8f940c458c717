"""The compiled core is the one that runs, it does what the sources say, and never what earlier sources said."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stream import compiled
from tests.conftest import IN_CI

ROOT = Path(__file__).parents[1]
# Which files the hot modules came from, and the state of a stage that has folded a simulated hour, disorder and all.
STATE = """
import sys, zlib
if "plain" in sys.argv:
    from stream import compiled
    compiled.avoid()
from schemas import encode
from stream.core import calls
from stream.core.rules import FoldRules
from bench.load import Load, emissions
from tests.oracle import Rec
events = [emission.event for emission in emissions(Load(queues=7, start_ms=1_790_000_000_000, events=20_000))]
for place in range(0, len(events) - 40, 40):  # some come late, by seconds
    events.insert(place + 30, events.pop(place))
stage = calls.CallsStage(0, FoldRules())
print("compiled" if calls.__file__.endswith(".so") else "plain")
for start in range(0, len(events), 500):
    part = events[start:start + 500]
    stage.fold([Rec(start + n, e.at, e.call_id.encode(), encode(e)) for n, e in enumerate(part)])
    print(zlib.crc32(b"".join(stage.publish(None, caught_up=False))))
print(zlib.crc32(stage.dump()), stage.tally())
"""


@pytest.fixture(autouse=True)
def _built():
    if not compiled.folder().is_dir():
        assert not IN_CI, f"the core was not compiled: {sys.executable} hatch_build.py says why"
        pytest.skip("THE CORE WAS NOT COMPILED: `python hatch_build.py` SAYS WHY")


def run(*command, cwd=ROOT, **environment):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def tree(tmp_path):
    """Copy the sources, with what was compiled of them."""
    for part in ("stream", "schemas", "hatch_build.py"):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / part)
    return tmp_path


def origin_of_the_fold(tree):
    return run("-c", "from stream.core import calls; print(calls.__file__)", cwd=tree).stdout.strip()


def test_every_hot_module_runs_compiled():
    """None of them has fallen out of the list, or out of the group."""
    code = "import importlib; print([importlib.import_module(name).__file__ for name in {}])"
    files = run("-c", code.format(compiled.MODULES)).stdout

    assert files.count("_compiled") == len(compiled.MODULES)


def test_it_does_to_the_byte_what_the_sources_say():
    """Publications and state, event after event."""
    fast, plain = (run("-c", STATE, way).stdout.splitlines() for way in ("compiled", "plain"))

    assert (fast[0], plain[0]) == ("compiled", "plain")
    assert fast[1:] == plain[1:]


@pytest.mark.parametrize("source", ["stream/core/call.py", "stream/core/kpi.py", "schemas/limits.py"])
def test_code_of_earlier_sources_is_never_run(tree, source):
    """Whoever pulls a newer version and compiles nothing has the newer version; also of what is not compiled itself."""
    assert "_compiled" in origin_of_the_fold(tree)

    with (tree / source).open("a") as file:
        file.write("# changed\n")

    assert origin_of_the_fold(tree) == str(tree / "stream" / "core" / "calls.py")


@pytest.mark.parametrize("compiler", ["/nonexistent/cc", "false"])
def test_without_a_compiler_that_works_it_stays_python_and_says_so(tree, compiler):
    """A machine with nothing but Python is enough."""
    shutil.rmtree(tree / "stream" / "_compiled")
    done = run("hatch_build.py", cwd=tree, CC=compiler)

    assert "the core stays plain Python" in done.stderr
    assert origin_of_the_fold(tree) == str(tree / "stream" / "core" / "calls.py")
