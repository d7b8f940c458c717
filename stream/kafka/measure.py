"""How long a start takes, the plain way and this way: `python -m stream.kafka.measure [ROUNDS]`.

"plain" is what Kafka's own scripts do: format the storage in one JVM, start the broker in another, default
options. "prepared" is `EmbeddedKafka` after `prepare`. Both end when a client can describe the cluster.
Processor time is printed beside elapsed time, because it hardly depends on what else the machine does.
"""

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stream import clock
from stream.kafka.broker import EmbeddedKafka
from stream.kafka.jars import ensure_jars
from stream.kafka.java import Java, find_java, packaged_java
from stream.kafka.preparation import prepare_runtime
from stream.kafka.properties import Ports, render
from stream.kafka.runtime import HEAP_MB_MAX, Runtime

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Start:
    """What one start took."""

    elapsed_s: float
    processor_s: float


class _Prepared(EmbeddedKafka):
    """The broker as it is, on a given Java."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._given = runtime

    def _runtime(self) -> Runtime:
        return self._given


class _Plain(_Prepared):
    """The broker as Kafka's scripts start it."""

    def _format(self, runtime: Runtime, log_dir: Path) -> None:
        properties = log_dir.with_name("format.properties")
        properties.write_text(render(Ports(2, 1), log_dir, {}))
        tool = ["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", str(properties)]
        subprocess.run([*self._java(runtime), *tool], check=True, capture_output=True)  # noqa: S603

    def _command(self, runtime: Runtime, properties: Path) -> list[str]:
        return [*self._java(runtime), "kafka.Kafka", str(properties)]

    def _java(self, runtime: Runtime) -> list[str]:
        return [str(runtime.java.path), f"-Xmx{HEAP_MB_MAX}m", "-cp", runtime.jar_set.classpath]


def measure(broker: EmbeddedKafka) -> Start:
    """Start and stop a broker once."""
    children_before_s = _children_processor_s()
    started_at_s = clock.monotonic_s()
    broker.start()
    elapsed_s = clock.monotonic_s() - started_at_s
    # a tool that ran before the broker has been waited for, the broker itself has not
    processor_s = _processor_s(broker.pid) + _children_processor_s() - children_before_s
    broker.stop()
    return Start(elapsed_s, processor_s)


def _children_processor_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _processor_s(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _javas() -> list[Java]:
    found = [find_java(), packaged_java()]
    return list({java.path: java for java in found if java is not None}.values())


def _median(starts: list[Start]) -> Start:
    return Start(
        statistics.median(start.elapsed_s for start in starts),
        statistics.median(start.processor_s for start in starts),
    )


def main() -> None:
    """Print one line for each Java on this machine."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for java in _javas():
        runtime = Runtime(java, ensure_jars())
        prepare_runtime(runtime, print)
        plain, prepared = [], []
        for _ in range(rounds):
            # in turns, so that both see the same load
            plain.append(measure(_Plain(runtime)))
            prepared.append(measure(_Prepared(runtime)))
        before, after = _median(plain), _median(prepared)
        print(  # noqa: T201 - this is a command
            f"Java {java.version}: plain {before.elapsed_s:.2f} s ({before.processor_s:.2f} s of processor),"
            f" prepared {after.elapsed_s:.2f} s ({after.processor_s:.2f} s);"
            f" {before.elapsed_s / after.elapsed_s:.1f} times faster"
            f" with 1/{before.processor_s / after.processor_s:.1f} of the work; median of {rounds}"
        )


if __name__ == "__main__":
    main()
