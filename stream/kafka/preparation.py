"""Everything that is done once per machine, so that each start after it is quick and needs no network."""

import contextlib
import tempfile
from pathlib import Path

from stream.kafka.broker import STOP_GRACE_S, EmbeddedKafka
from stream.kafka.cache import exclusive
from stream.kafka.jars import Progress, ensure_jars, kafka_cache
from stream.kafka.java import find_java
from stream.kafka.runtime import Runtime, storage_template

# Writing the archive happens while Java stops and takes 3 to 10 s on two cores.
ARCHIVE_GRACE_S = 120.0 + STOP_GRACE_S


def prepare(progress: Progress) -> None:
    """Fetch and verify the jars, format a template of the storage, build the class-data archive.

    Idempotent, and quick when nothing is left to do. Safe to run in several processes at once.
    """
    runtime = Runtime(find_java(), ensure_jars(progress, verify=True))
    prepare_runtime(runtime, progress)
    progress(f"the embedded Kafka is ready to start, with Java {runtime.java.version} ({runtime.java.path})")


def prepare_runtime(runtime: Runtime, progress: Progress) -> None:
    """Do what depends on the Java: the template and the archive."""
    storage_template(runtime)
    if not runtime.archive.is_file():
        with exclusive(kafka_cache() / "archive.lock"):
            if not runtime.archive.is_file():
                progress(f"building the class-data archive for Java {runtime.java.version}")
                _train(runtime)


class _TrainingBroker(EmbeddedKafka):
    """A broker that writes the archive when it stops."""

    def __init__(self, runtime: Runtime, archive: Path) -> None:
        super().__init__(stop_grace_s=ARCHIVE_GRACE_S)
        self._given = runtime
        self._archive = archive

    def _runtime(self) -> Runtime:
        return self._given

    def _command(self, runtime: Runtime, properties: Path) -> list[str]:
        return runtime.training_command(self._archive, str(properties))


def _train(runtime: Runtime) -> None:
    runtime.archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runtime.archive.parent, prefix="training-") as scratch:
        archive = Path(scratch) / runtime.archive.name
        with _TrainingBroker(runtime, archive) as broker:
            _exercise(broker.bootstrap_servers)
        # a Java without the means to write one leaves nothing: starts are slower then, and that is all
        with contextlib.suppress(FileNotFoundError):
            archive.replace(runtime.archive)


def _exercise(bootstrap_servers: str) -> None:
    """Use what a worker uses, so that the classes for it are in the archive too."""
    from kafka import KafkaConsumer, KafkaProducer  # noqa: PLC0415 - 0.2 s to import
    from kafka.admin import KafkaAdminClient, NewTopic  # noqa: PLC0415

    topic = "training"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, compression_type="gzip")
    for number in range(200):
        producer.send(topic, key=b"%d" % (number % 10), value=b"x" * 100)
    producer.flush()
    producer.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id="training",
        auto_offset_reset="earliest",
        consumer_timeout_ms=5_000,
    )
    for _ in zip(range(200), consumer, strict=False):
        pass
    consumer.commit()
    consumer.close()
    admin.close()
