"""A real Prometheus for a moment: in a temporary directory, on a free port of this machine, gone at the end."""

import http.client
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from stream.backtest.errors import BacktestError, InputError
from stream.clock import monotonic_s
from stream.kafka.process import ChildProcess
from stream.ready import is_ready

PROGRAM: Final = "prometheus"
START_TIMEOUT_S: Final = 60.0
STOP_GRACE_S: Final = 10.0
ASK_TIMEOUT_S: Final = 900.0  # an expression over days in ranges of days takes minutes on a busy machine
_LOOK_S: Final = 0.05
# Any age: history may be of another century, and records are written after what they are made of.
_ANY_AGE: Final = "200y"
_LISTENING: Final = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:\d+)')
_ERROR: Final = re.compile(r'level=error .*?err="((?:[^"\\]|\\.)*)"')
_RULES_ERROR: Final = re.compile(r'msg="loading groups failed" err="((?:[^"\\]|\\.)*)"')
_HEADERS: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class Prometheus:
    """What a running one answers. Every method raises BacktestError."""

    def __init__(self, address: str) -> None:
        """Know where it listens, `127.0.0.1:PORT`."""
        self.write_url = f"http://{address}/api/v1/write"
        self._connection = http.client.HTTPConnection(address, timeout=ASK_TIMEOUT_S)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rule_groups(self) -> Sequence[Mapping[str, Any]]:
        """Return the groups of rules that it has read."""
        found: Sequence[Mapping[str, Any]] = self._ask("GET", "/api/v1/rules", {})["groups"]
        return found

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Sequence[Mapping[str, Any]]:
        """Return the series of an expression: `metric` (labels) and `values` (time in s, value as text)."""
        asked = {
            "query": query,
            "start": f"{start_ms / 1_000:.3f}",
            "end": f"{end_ms / 1_000:.3f}",
            "step": f"{step_ms / 1_000:.3f}",
        }
        found: Sequence[Mapping[str, Any]] = self._ask("POST", "/api/v1/query_range", asked)["result"]
        return found

    def _ask(self, method: str, path: str, asked: Mapping[str, str]) -> Any:
        try:
            self._connection.request(method, path, urlencode(asked), _HEADERS)
            answer = json.loads(self._connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise BacktestError(f"the Prometheus of this back-test does not answer: {reason}") from error
        if answer["status"] != "success":
            raise BacktestError(str(answer["error"]))
        return answer["data"]


@contextmanager
def running(rules: Path | None = None, evaluation_interval_ms: int = 60_000) -> Iterator[Prometheus]:
    """Run one, empty, with a file of rules or without; groups without an interval get the one given.

    Raises BacktestError when there is no Prometheus here or it does not start, InputError for rules it does not take.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise BacktestError(
            "prometheus is not installed, and a back-test runs a real one; install it "
            "(Debian, Ubuntu: apt-get install prometheus) so that `prometheus --version` works"
        )
    with tempfile.TemporaryDirectory(prefix="callgauge-backtest-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        log = folder / "log"
        process = ChildProcess(_command(program, folder, rules, evaluation_interval_ms), log, folder)
        try:
            prometheus = Prometheus(_wait(process, log, rules))
            try:
                yield prometheus
            finally:
                prometheus.close()
        finally:
            process.stop(STOP_GRACE_S)


def _command(program: str, folder: Path, rules: Path | None, evaluation_interval_ms: int) -> list[str]:
    """Write the configuration; return how to start."""
    files = []
    if rules is not None:
        # a copy: to Prometheus a name with brackets or a star is a pattern
        copy = folder / "rules.yml"
        try:
            copy.write_bytes(rules.read_bytes())
        except OSError as error:
            raise InputError(f"{rules} cannot be read: {(error.strerror or str(error)).lower()}") from error
        files.append(str(copy))
    configuration = folder / "prometheus.yml"
    configuration.write_text(  # JSON is YAML, too
        json.dumps(
            {
                "global": {"evaluation_interval": f"{evaluation_interval_ms}ms"},
                "rule_files": files,
                "storage": {"tsdb": {"out_of_order_time_window": _ANY_AGE}},
            }
        )
    )
    return [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={_ANY_AGE}",
        "--web.enable-remote-write-receiver",
        "--web.listen-address=127.0.0.1:0",
        f"--query.timeout={ASK_TIMEOUT_S:.0f}s",
    ]


def _wait(process: ChildProcess, log: Path, rules: Path | None) -> str:
    """Return where it listens, once it is ready."""
    deadline_s = monotonic_s() + START_TIMEOUT_S
    while monotonic_s() < deadline_s:
        said = log.read_text("utf-8", "replace") if log.exists() else ""
        refused = _RULES_ERROR.search(said)
        if refused is not None and rules is not None:
            raise InputError(_unquoted(refused[1]).replace(f"{log.with_name('rules.yml')}", str(rules)))
        if process.exit_code is not None:
            last = _ERROR.findall(said) or said.splitlines()[-1:] or ["it said nothing"]
            raise BacktestError(f"prometheus did not start: {_unquoted(last[-1])}")
        listening = _LISTENING.search(said)
        if listening is not None and is_ready(listening[1], START_TIMEOUT_S):
            return listening[1]
        time.sleep(_LOOK_S)
    raise BacktestError(
        f"prometheus was not ready within {START_TIMEOUT_S:.0f} s; try again when less else runs"
    )


def _unquoted(text: str) -> str:
    return " ".join(text.replace(r"\n", " ").replace(r"\"", '"').split())
