"""What a start needs beside the jars: the Java command line, a class-data archive, formatted storage.

A JVM spends most of a broker's start with loading, checking and linking some 6,000 classes. An archive
made from one training run holds them ready. Java 25 and newer write an AOT cache, which also holds linked
classes and method profiles; older ones write a class-data archive (AppCDS). Both are checked by the JVM
against its own version and the jars, and ignored when they do not fit: a stale archive costs time, never
correctness. Measured: see docs/embedded-kafka.md.
"""

import hashlib
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from stream.kafka.cache import exclusive
from stream.kafka.errors import BrokerDiedError
from stream.kafka.jars import JarSet, kafka_cache
from stream.kafka.java import Java

# The broker of a demo or a test holds little; 512 MB also carries a benchmark's page of 1 M records.
HEAP_MB_MAX = 512
# First Java whose AOT cache is made by a single training run (JEP 514).
AOT_CACHE_MAJOR_MIN = 25
FORMAT_TIMEOUT_S = 60
BOOTSTRAP_FILE = "bootstrap.checkpoint"
# The formatter only wants a syntactically valid one; every broker gets its own identifier.
_TEMPLATE_CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAA"


@dataclass(frozen=True, slots=True)
class Runtime:
    """A Java and the jars to run on it."""

    java: Java
    jar_set: JarSet

    @property
    def archive(self) -> Path:
        """Where the archive of this Java, these jars and these options is, or would be."""
        identity = repr((self.java, self.jar_set.classpath, self._options()))
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        suffix = "aot" if self._has_aot_cache() else "jsa"
        return kafka_cache() / "archives" / f"java{self.java.major}-{name}.{suffix}"

    def command(self, *arguments: str, main: str = "kafka.Kafka") -> list[str]:
        """Return the fastest command line there is at the moment."""
        archive = []
        if self.archive.is_file():
            option = "-XX:AOTCache" if self._has_aot_cache() else "-XX:SharedArchiveFile"
            archive = [f"{option}={self.archive}"]
        return self._command(archive, main, arguments)

    def training_command(self, archive: Path, *arguments: str) -> list[str]:
        """Return a command line that runs the broker and writes the archive when it stops."""
        option = "-XX:AOTCacheOutput" if self._has_aot_cache() else "-XX:ArchiveClassesAtExit"
        return self._command([f"{option}={archive}"], "kafka.Kafka", arguments)

    def _command(self, archive: list[str], main: str, arguments: tuple[str, ...]) -> list[str]:
        java = str(self.java.path)
        return [java, *self._options(), *archive, "-cp", self.jar_set.classpath, main, *arguments]

    def _has_aot_cache(self) -> bool:
        return self.java.major >= AOT_CACHE_MAJOR_MIN

    def _options(self) -> list[str]:
        return [
            f"-Xmx{HEAP_MB_MAX}m",
            "-XX:+UseSerialGC",
            # the first compiler only: a start costs two thirds of the processor time, and a producer of a
            # million records finds no difference (docs/embedded-kafka.md)
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            # a broker without memory should die where it can be seen rather than limp
            "-XX:+ExitOnOutOfMemoryError",
            # the JVM's own remarks, such as an archive that does not fit; Kafka's log is not concerned
            "-Xlog:disable",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
            # a thousand lines of effective configuration hide what happened
            "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
            "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
            # log4j's interface is on the class path without log4j itself; without this it complains
            "-Dlog4j2.loggerContextFactory=org.apache.logging.log4j.simple.SimpleLoggerContextFactory",
        ]


def storage_template(runtime: Runtime) -> Path:
    """Return a file `bootstrap.checkpoint` written by Kafka's own storage tool, made on first use.

    It holds the feature levels that a new cluster starts with and nothing about the cluster's name or
    ports, because the quorum is static. So one file serves every new broker and saves it a JVM start.
    """
    template = kafka_cache() / BOOTSTRAP_FILE
    if template.is_file():
        return template
    with exclusive(kafka_cache() / "template.lock"):
        if not template.is_file():
            _format_template(runtime, template)
    return template


def format_storage(runtime: Runtime, log_dir: Path) -> None:
    """Make `log_dir` the storage of a new cluster, with what `StorageTool format` would write."""
    template = storage_template(runtime)
    log_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, log_dir / BOOTSTRAP_FILE)
    staged = log_dir / "meta.properties.tmp"
    staged.write_text(f"cluster.id={_kafka_uuid()}\ndirectory.id={_kafka_uuid()}\nnode.id=1\nversion=1\n")
    # last and atomic: its presence is what says that the directory is formatted
    staged.replace(log_dir / "meta.properties")


def is_formatted(log_dir: Path) -> bool:
    """Tell whether the directory is a cluster's storage."""
    return (log_dir / "meta.properties").is_file()


def _kafka_uuid() -> str:
    while True:
        text = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # Kafka refuses a leading dash, because its tools would take it for an option
        if not text.startswith("-"):
            return text


def _format_template(runtime: Runtime, template: Path) -> None:
    with tempfile.TemporaryDirectory(dir=kafka_cache(), prefix="formatting-") as scratch:
        properties = Path(scratch) / "server.properties"
        log_dir = Path(scratch) / "data"
        properties.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
            "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\n"
            "controller.listener.names=CONTROLLER\n"
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n"
            f"log.dirs={log_dir}\n"
        )
        command = runtime.command(
            "format", "-t", _TEMPLATE_CLUSTER_ID, "-c", str(properties), main="kafka.tools.StorageTool"
        )
        done = subprocess.run(  # noqa: S603 - our own command line
            command, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_S, check=False
        )
        written = log_dir / BOOTSTRAP_FILE
        if done.returncode != 0 or not written.is_file():
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise BrokerDiedError(f"Kafka's storage tool failed with {runtime.java.path}: {reason[0]}")
        written.replace(template)
