"""One Java process that cannot outlive this Python process.

Linux kills a child when the thread that started it ends, if the child asked for that (PR_SET_PDEATHSIG).
So one thread starts the process and stays until it ends; when Python dies, even by SIGKILL, the thread is
gone and so is Java. The child asks for it through a small interpreter that then becomes Java, because
running Python code between fork and exec is not safe in a process with threads. Where there is no prctl
(macOS), an orderly exit of Python still stops the broker.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

# Argument 1 is the process id that must still be the parent: it may have died before the request was made.
_TRAMPOLINE = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ChildProcess:
    """A running command whose output goes to a file."""

    def __init__(self, command: Sequence[str], log_path: Path, cwd: Path) -> None:
        self._command = [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(os.getpid()), *command]
        self._log_path = log_path
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._started = threading.Event()
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="kafka-keeper", daemon=True)
        self._keeper.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def pid(self) -> int:
        """The process id; the interpreter that becomes Java keeps it."""
        assert self._process is not None  # noqa: S101 - set before the constructor returns
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.returncode if self._process is not None and self._ended.is_set() else None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; tell whether it came."""
        return self._ended.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self._process is not None:
            # Popen checks under its own lock that the process id is still ours
            self._process.send_signal(number)

    def stop(self, grace_s: float) -> None:
        """Ask it to end, and kill it when it has not ended in time. Returns once it is gone."""
        self.send(signal.SIGTERM)
        if not self.wait(grace_s):
            self.kill()

    def kill(self) -> None:
        """Kill it at once. Returns once it is gone."""
        self.send(signal.SIGKILL)
        self._ended.wait()

    def _keep(self) -> None:
        try:
            with self._log_path.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own command line
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._cwd,
                    # Ctrl-C in the terminal is for Python, which then stops the broker in order
                    start_new_session=True,
                )
        except OSError as error:
            self._failure = error
            self._started.set()
            return
        self._started.set()
        self._process.wait()
        self._ended.set()
