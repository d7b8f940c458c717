"""A real single-node Kafka on this machine, for the demo, for tests and for trying things out.

Layout of a data directory:

    server.properties   written at every start; the ports in it are kept
    data/               Kafka's own storage
    kafka.log           everything that Kafka said since the last start
    in-use              locked while a broker works here

Guarantees: `start` returns only when a client can describe the cluster; a failed start leaves no process;
`stop` leaves no process and no temporary directory; the broker dies with this Python process.
It listens on 127.0.0.1 only, without a password: it is for one machine and one user.
"""

import atexit
import contextlib
import errno
import fcntl
import os
import random
import re
import shutil
import socket
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stream import clock
from stream.kafka.errors import (
    BrokerDiedError,
    DataInUseError,
    DiskFullError,
    EmbeddedKafkaError,
    NotKafkaDataError,
    PortTakenError,
    StartTimeoutError,
)
from stream.kafka.jars import ensure_jars
from stream.kafka.java import find_java
from stream.kafka.process import ChildProcess
from stream.kafka.properties import HOST, Ports, read_ports, render
from stream.kafka.runtime import Runtime, format_storage, is_formatted

# A cold start takes about 5 s on two cores; a loaded build machine may take ten times that.
START_TIMEOUT_S = 90.0
# An orderly stop takes about 0.5 s; one that hangs is killed, and Kafka recovers at the next start.
STOP_GRACE_S = 15.0
# Kafka preallocates little but fails badly on a full disk; a demo's shift takes some 100 MB.
FREE_BYTES_MIN = 256 * 1024 * 1024
# Below the range that systems hand out to outgoing connections (Linux: from 32768), so that a stopped
# broker's port is still free at its restart.
FREE_PORTS = range(15_000, 30_000)
PORT_ATTEMPTS = 100
# A port that was chosen freely may be taken by another program before Java binds it.
START_ATTEMPTS = 3
POLL_S = 0.01
CLIENT_TIMEOUT_MS = 2_000
LOG_TAIL_BYTES = 65_536
# Temporary directories of killed processes are removed once they are an hour old.
STALE_AFTER_MS = 3_600_000
TEMPORARY_PREFIX = "callgauge-kafka-"

_STARTED = b"] Kafka Server started"
_running: weakref.WeakSet["EmbeddedKafka"] = weakref.WeakSet()
# a forked child inherits the list but not the brokers; it must not wait for them at its end
os.register_at_fork(after_in_child=_running.clear)


class EmbeddedKafka:
    """One broker. `port=None` takes a free one; `data_dir=None` keeps nothing after `stop`."""

    def __init__(
        self,
        port: int | None = None,
        data_dir: Path | None = None,
        config: Mapping[str, str] | None = None,
        *,
        start_timeout_s: float = START_TIMEOUT_S,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self._wanted_port = port
        self._kept_dir = data_dir
        self._config = dict(config or {})
        self._start_timeout_s = start_timeout_s
        self._stop_grace_s = stop_grace_s
        self._directory: Path | None = None
        self._ports: Ports | None = None
        self._lock: IO[str] | None = None
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to. Known once started, and the same after a restart."""
        if self._ports is None:
            raise EmbeddedKafkaError("the embedded Kafka has no address before its first start; call start()")
        return f"{HOST}:{self._ports.broker}"

    @property
    def pid(self) -> int | None:
        """The process id of Java, or None while nothing runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process is not None and self._process.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """How Java ended; None while it runs or before the first start."""
        return self._process.exit_code if self._process is not None else None

    @property
    def log_path(self) -> Path:
        """What Kafka said since its last start."""
        return self._require_directory() / "kafka.log"

    @property
    def data_dir(self) -> Path:
        """Where the broker keeps its data."""
        return self._require_directory()

    def start(self) -> Self:
        """Start the broker and wait until a client can use it. Does nothing when it runs."""
        if self.running:
            return self
        runtime = self._runtime()
        try:
            self._claim_directory()
            self._launch_until_ready(runtime)
        except BaseException as error:
            self._abandon(keep_log=isinstance(error, EmbeddedKafkaError))
            raise
        _running.add(self)
        return self

    def stop(self) -> None:
        """Stop in order, kill when that takes too long, and remove temporary data. Idempotent."""
        self._end_process()
        self._release_directory(remove=self._kept_dir is None)
        _running.discard(self)

    def kill(self) -> None:
        """SIGKILL, as a crash would be. The data stay for `restart` or `start`."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> Self:
        """Stop in order, unless it is dead already, and start again on the same ports and data."""
        self._end_process()
        return self.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the broker's process to end by itself; tell whether it did."""
        return self._process is None or self._process.wait(timeout_s)

    def failure(self) -> EmbeddedKafkaError:
        """Return why the broker died, from its log."""
        return _diagnose(_tail(self.log_path), self.log_path, self._ports)

    def _require_directory(self) -> Path:
        if self._directory is None:
            raise EmbeddedKafkaError("the embedded Kafka has no data directory while stopped; call start()")
        return self._directory

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.stop(self._stop_grace_s)
            self._process = None

    def _claim_directory(self) -> None:
        if self._directory is not None:
            return
        if self._kept_dir is None:
            _sweep_stale()
            directory = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
        else:
            directory = _checked(self._kept_dir)
        self._lock = _lock_directory(directory)
        self._directory = directory

    def _release_directory(self, *, remove: bool) -> None:
        directory, self._directory = self._directory, None
        if directory is not None and remove:
            shutil.rmtree(directory, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _abandon(self, *, keep_log: bool) -> None:
        """Clean up after a failed start; a log that an error message names stays."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        temporary = self._kept_dir is None
        if temporary and keep_log and self._directory is not None and self.log_path.is_file():
            shutil.rmtree(self._directory / "data", ignore_errors=True)
            temporary = False
        self._release_directory(remove=temporary)

    def _launch_until_ready(self, runtime: Runtime) -> None:
        directory = self._require_directory()
        _check_space(directory)
        log_dir = directory / "data"
        remembered = self._remembered_ports(directory)
        if not is_formatted(log_dir):
            self._format(runtime, log_dir)
        free_choice = self._wanted_port is None and remembered is None
        for attempt in range(START_ATTEMPTS):
            self._ports = self._choose_ports(remembered)
            try:
                self._launch(runtime, directory, log_dir)
            except PortTakenError:
                if not free_choice or attempt + 1 == START_ATTEMPTS:
                    raise
            else:
                return

    def _remembered_ports(self, directory: Path) -> Ports | None:
        properties = directory / "server.properties"
        return read_ports(properties.read_text()) if properties.is_file() else None

    def _choose_ports(self, remembered: Ports | None) -> Ports:
        broker = self._wanted_port or (remembered.broker if remembered else _free_port())
        _check_port(broker, "choose another one with the port option, or stop that program")
        controller = remembered.controller if remembered else _free_port()
        if controller == broker or not _is_free(controller):
            controller = _free_port(besides=broker)
        return Ports(broker, controller)

    def _launch(self, runtime: Runtime, directory: Path, log_dir: Path) -> None:
        assert self._ports is not None  # noqa: S101 - chosen by the caller
        properties = directory / "server.properties"
        properties.write_text(render(self._ports, log_dir, self._config))
        log = directory / "kafka.log"
        log.unlink(missing_ok=True)
        self._process = ChildProcess(self._command(runtime, properties), log, directory)
        self._await_ready(log)

    def _runtime(self) -> Runtime:
        return Runtime(find_java(), ensure_jars())

    def _format(self, runtime: Runtime, log_dir: Path) -> None:
        format_storage(runtime, log_dir)

    def _command(self, runtime: Runtime, properties: Path) -> list[str]:
        return runtime.command(str(properties))

    def _await_ready(self, log: Path) -> None:
        assert self._process is not None  # noqa: S101 - started by the caller
        deadline_s = clock.monotonic_s() + self._start_timeout_s
        seen_bytes = 0
        while clock.monotonic_s() < deadline_s:
            if self._process.wait(POLL_S):
                raise self.failure()
            seen_bytes, started = _started_since(log, seen_bytes)
            if started and _answers(self.bootstrap_servers):
                return
        raise StartTimeoutError(
            f"Kafka on {self.bootstrap_servers} was not ready after {self._start_timeout_s:.0f} s;"
            f" last it said: {_last_line(_tail(log))}; see {log}"
        )


def _started_since(log: Path, offset: int) -> tuple[int, bool]:
    """Look for the line that ends a start, reading each byte about once."""
    try:
        with log.open("rb") as handle:
            handle.seek(offset)
            text = handle.read()
    except FileNotFoundError:
        return offset, False
    if _STARTED in text:
        return offset, True
    # the line may be cut in two by this read
    return offset + max(0, len(text) - len(_STARTED)), False


def _answers(bootstrap_servers: str) -> bool:
    """Tell whether a real client can describe the cluster."""
    from kafka.admin import KafkaAdminClient  # noqa: PLC0415 - 0.2 s, spent while Java starts
    from kafka.errors import KafkaError  # noqa: PLC0415

    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap_servers,
            request_timeout_ms=CLIENT_TIMEOUT_MS,
            bootstrap_timeout_ms=CLIENT_TIMEOUT_MS,
        )
    except KafkaError:
        return False
    try:
        return bool(client.describe_cluster()["brokers"])
    except KafkaError:
        return False
    finally:
        client.close()


def _checked(data_dir: Path) -> Path:
    """Return the directory, made if absent; refuse one that holds something else."""
    directory = data_dir.absolute()
    if directory.is_dir():
        properties = directory / "server.properties"
        ours = properties.is_file() and read_ports(properties.read_text()) is not None
        if not ours and any(entry.name not in {"in-use", "kafka.log"} for entry in directory.iterdir()):
            raise NotKafkaDataError(
                f"{directory} is not empty and not an embedded Kafka's data; name an empty or a new directory"
            )
    elif directory.exists():
        raise NotKafkaDataError(f"{directory} is a file; name an empty or a new directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from error
    return directory


def _unwritable(directory: Path, error: OSError) -> EmbeddedKafkaError:
    if error.errno == errno.ENOSPC:
        return DiskFullError(
            f"no space left for Kafka's data in {directory}; free some or name another directory"
        )
    return NotKafkaDataError(f"cannot write to {directory} ({error.strerror}); name another directory")


def _lock_directory(directory: Path) -> IO[str]:
    try:
        handle = (directory / "in-use").open("a")
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise _in_use(directory) from error
    return handle


def _in_use(directory: Path) -> DataInUseError:
    return DataInUseError(f"another Kafka works in {directory}; stop it or name another directory")


def _sweep_stale() -> None:
    """Remove temporary data of processes that were killed and could not."""
    for directory in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError, DataInUseError):
            old = clock.wall_ms() - directory.stat().st_mtime_ns // 1_000_000 > STALE_AFTER_MS
            if old and directory.stat().st_uid == os.getuid():
                with _lock_directory(directory):
                    shutil.rmtree(directory, ignore_errors=True)


def _check_space(directory: Path) -> None:
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < FREE_BYTES_MIN:
        raise DiskFullError(
            f"only {free_bytes // 2**20} MB are free for Kafka's data in {directory}, which needs"
            f" {FREE_BYTES_MIN // 2**20} MB; free some or name another directory"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as Java does: connections of a stopped broker that linger in TIME_WAIT do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port(besides: int | None = None) -> int:
    for _ in range(PORT_ATTEMPTS):
        port = random.SystemRandom().choice(FREE_PORTS)
        if port != besides and _is_free(port):
            return port
    raise PortTakenError(f"found no free port on {HOST} from {FREE_PORTS.start} to {FREE_PORTS.stop - 1}")


def _check_port(port: int, advice: str) -> None:
    if not _is_free(port):
        raise PortTakenError(f"port {port} on {HOST} is taken by another program; {advice}")


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            return handle.read().decode(errors="replace")
    except OSError:
        return ""


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing"


def _diagnose(text: str, log: Path, ports: Ports | None) -> EmbeddedKafkaError:
    """Name the cause of a death by what Kafka said last."""
    if "No space left on device" in text:
        return DiskFullError(
            f"no space left for Kafka's data in {log.parent}; free some or name another directory"
        )
    if "Address already in use" in text or "BindException" in text:
        taken = f"{ports.broker} or {ports.controller}" if ports else "of the broker"
        return PortTakenError(
            f"port {taken} on {HOST} was taken by another program while Kafka started; start again"
        )
    if "Failed to acquire lock" in text:
        return _in_use(log.parent)
    telling = [line for line in text.splitlines() if re.search(r"\b(?:ERROR|FATAL)\b|Exception|Error:", line)]
    said = telling[-1].strip() if telling else _last_line(text)
    return BrokerDiedError(f"Kafka died: {said}; see {log}")


@atexit.register
def _stop_all() -> None:
    """Stop what an ending program forgot; without this the brokers would be killed."""
    for broker in list(_running):
        broker.stop()
