"""What is done once per machine."""

import pytest

from stream.kafka import EmbeddedKafka, prepare
from stream.kafka.jars import ensure_jars, kafka_cache
from stream.kafka.java import find_java
from stream.kafka.runtime import Runtime, format_storage, is_formatted

pytestmark = pytest.mark.broker


def test_prepare_does_its_work_once(kafka: EmbeddedKafka) -> None:
    """A second run changes nothing in the cache and says in one line that all is ready."""
    prepare(lambda _line: None)
    before = {path: path.stat().st_mtime_ns for path in kafka_cache().rglob("*.*") if path.is_file()}
    said: list[str] = []
    prepare(said.append)
    after = {path: path.stat().st_mtime_ns for path in kafka_cache().rglob("*.*") if path.is_file()}

    assert (len(said), after) == (1, before)
    assert said[0].startswith("the embedded Kafka is ready to start, with Java")


def test_a_prepared_start_uses_the_archive(kafka: EmbeddedKafka) -> None:
    """The command line names the archive that prepare made."""
    prepare(lambda _line: None)
    runtime = Runtime(find_java(), ensure_jars())

    assert [part for part in runtime.command("server.properties") if part.endswith(str(runtime.archive))]


def test_every_cluster_has_its_own_identity(kafka: EmbeddedKafka, tmp_path) -> None:
    """The template gives features; cluster and directory identifiers are fresh."""
    runtime = Runtime(find_java(), ensure_jars())
    identities = set()
    for name in ("one", "two"):
        assert not is_formatted(tmp_path / name)
        format_storage(runtime, tmp_path / name)
        assert is_formatted(tmp_path / name)
        identities |= set((tmp_path / name / "meta.properties").read_text().splitlines())

    # two times cluster.id and directory.id, and one each of node.id and version
    assert len(identities) == 6
    assert (tmp_path / "one" / "bootstrap.checkpoint").read_bytes().count(b"group.version") == 1
