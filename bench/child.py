"""A measured process: started, watched from outside, ended.

The protocol of every competitor: a process that appends a line `[wall clock in ms, events so far]` to a file
now and then. CPU time is read from outside, so a competitor may be written in any language.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from bench.figures import Sample
from stream import clock

ROOT = Path(__file__).parent.parent
LOOK_S = 0.1
STOP_S = 30.0


class BenchError(Exception):
    """The measurement did not measure what it should; one line."""


class Child:
    """A process with its output in files, and its CPU seconds over time."""

    def __init__(self, command: list[str], folder: Path, name: str) -> None:
        self.name = name
        self.output, self.errors = folder / f"{name}.out", folder / f"{name}.err"
        self.cpu: list[Sample] = []
        self.threads: list[tuple[float, Mapping[int, float]]] = []  # at, CPU seconds by thread
        self.rss_bytes = 0
        self.started_ms = clock.wall_ms()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CALLGAUGE_")}
        with self.output.open("w") as output, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=errors, env=environment, start_new_session=True
            )
        self._seen = psutil.Process(self.process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def look(self) -> None:
        """Note CPU time and memory now."""
        try:
            with self._seen.oneshot():
                times = self._seen.cpu_times()
                self.rss_bytes = self._seen.memory_info().rss
                threads = {
                    thread.id: thread.user_time + thread.system_time for thread in self._seen.threads()
                }
        except psutil.Error:
            return
        at_ms = clock.wall_ms()
        self.cpu.append(Sample(at_ms, times.user + times.system))
        self.threads.append((at_ms, threads))

    def watch(self, until: Callable[[], bool], timeout_s: float, every_s: float = LOOK_S) -> None:
        """Note CPU time again and again until something holds. The process must live that long."""
        deadline_s = clock.monotonic_s() + timeout_s
        while True:
            self.look()
            if until():
                return
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended with {self.process.returncode}: {self.said()}")
            if clock.monotonic_s() > deadline_s:
                raise BenchError(f"{self.name} is not done after {timeout_s:.0f} s: {self.said()}")
            time.sleep(every_s)

    def finish(self, timeout_s: float) -> None:
        """Wait for a process that ends by itself."""
        self.watch(lambda: self.process.poll() is not None, timeout_s)
        if self.process.returncode:
            raise BenchError(f"{self.name} ended with {self.process.returncode}: {self.said()}")

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it without notice."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """Return the last lines it wrote to stderr."""
        lines = self.errors.read_text(errors="replace").splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"


def read_progress(file: Path) -> list[Sample]:
    """Return what a competitor has written so far; a line that is not complete yet is left out."""
    if not file.exists():
        return []
    lines = file.read_text().split("\n")[:-1]
    return [Sample(*json.loads(line)) for line in lines]


class ProgressWriter:
    """The competitor's side of the protocol."""

    def __init__(self, file: str, every_ms: int = 250) -> None:
        self._handle = Path(file).open("w", buffering=1)  # noqa: SIM115 - open as long as the process lives
        self._every_ms = every_ms
        self._next_ms = 0

    def note(self, events: int, *, now: bool = False) -> None:
        """Write a line, unless the last one is fresh."""
        at_ms = clock.wall_ms()
        if now or at_ms >= self._next_ms:
            self._next_ms = at_ms + self._every_ms
            self._handle.write(f"[{at_ms}, {events}]\n")


def python(module: str, *arguments: object) -> list[str]:
    """Return the command of a module of this package as a process."""
    return [sys.executable, "-m", module, *map(str, arguments)]
