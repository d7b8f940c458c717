"""The embedded broker as its users see it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from stream.kafka import (
    BrokerDiedError,
    DataInUseError,
    DiskFullError,
    EmbeddedKafka,
    EmbeddedKafkaError,
    NotKafkaDataError,
    PortTakenError,
    StartTimeoutError,
)
from stream.kafka import broker as broker_module

pytestmark = pytest.mark.broker


def create_topic(broker: EmbeddedKafka, topic: str, **config: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1, topic_configs=config)])
    admin.close()


def produce(broker: EmbeddedKafka, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all")
    for value in values:
        producer.send(topic, value)
    producer.flush()
    producer.close()


def consume(broker: EmbeddedKafka, topic: str, count: int, **options: object) -> list[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
        **options,
    )
    values = [record.value for _, record in zip(range(count), consumer, strict=False)]
    consumer.close()
    return values


def temporary_directories() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"{broker_module.TEMPORARY_PREFIX}*"))


def wait_until_gone(pid: int) -> None:
    try:
        psutil.Process(pid).wait(timeout=10)
    except psutil.NoSuchProcess:
        return


def test_what_is_produced_is_consumed(kafka: EmbeddedKafka, unique_name: str) -> None:
    """Records pass through the broker unchanged and in order."""
    create_topic(kafka, unique_name)
    produce(kafka, unique_name, [b"one", b"two", b"three"])

    assert consume(kafka, unique_name, 3, group_id=unique_name) == [b"one", b"two", b"three"]


def test_a_topic_may_allow_records_of_eight_mebibytes(kafka: EmbeddedKafka, unique_name: str) -> None:
    """The broker's own bounds do not stand in the way of a topic's."""
    create_topic(kafka, unique_name, **{"max.message.bytes": str(8 * 2**20 + 1024)})
    value = os.urandom(8 * 2**20 - 1024)

    async def pass_through() -> bytes:
        # aiokafka has its checksum in C; kafka-python's takes seconds for so long a record
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_request_size=9 * 2**20)
        async with producer:
            await producer.send_and_wait(unique_name, value)
        consumer = AIOKafkaConsumer(
            unique_name, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
        )
        async with consumer:
            return (await asyncio.wait_for(consumer.getone(), 20)).value

    assert asyncio.run(pass_through()) == value


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_the_broker_knows_every_codec(kafka: EmbeddedKafka, unique_name: str, codec: str) -> None:
    """The broker compresses by itself, so the jars that were left out are not those of a codec."""
    create_topic(kafka, unique_name, **{"compression.type": codec})
    produce(kafka, unique_name, [b"x" * 1000] * 10)

    async def read() -> list[bytes]:
        consumer = AIOKafkaConsumer(
            unique_name, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
        )
        async with consumer:
            return [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(10)]

    assert asyncio.run(read()) == [b"x" * 1000] * 10


def test_a_transaction_is_committed(kafka: EmbeddedKafka, unique_name: str) -> None:
    """Records of a transaction are seen once it is committed."""
    create_topic(kafka, unique_name)

    async def write() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers, transactional_id=unique_name, request_timeout_ms=10_000
        )
        async with producer, producer.transaction():
            await producer.send_and_wait(unique_name, b"paid")

    asyncio.run(write())

    assert consume(kafka, unique_name, 1, isolation_level="read_committed") == [b"paid"]


def test_a_topic_is_not_created_by_mistyping_its_name(kafka: EmbeddedKafka, unique_name: str) -> None:
    """Asking for an unknown topic does not create it."""
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    consumer.partitions_for_topic(unique_name)
    topics = admin.list_topics()
    consumer.close()
    admin.close()

    assert unique_name not in topics


def test_it_listens_on_the_loopback_interface_only(kafka: EmbeddedKafka) -> None:
    """Nobody else can reach the broker or its controller."""
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(kafka.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }

    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_ports_and_data_survive_stop_kill_and_restart(tmp_path: Path) -> None:
    """An orderly stop, a crash, a restart and a new object on the same directory: nothing is lost."""
    first = EmbeddedKafka(data_dir=tmp_path / "data")
    with first:
        address = first.bootstrap_servers
        create_topic(first, "calls")
        produce(first, "calls", [b"before the crash"])
        first.kill()
        assert not first.running
        first.restart()
        assert first.bootstrap_servers == address
        produce(first, "calls", [b"after the crash"])
    with EmbeddedKafka(data_dir=tmp_path / "data") as second:
        assert second.bootstrap_servers == address

        assert consume(second, "calls", 2) == [b"before the crash", b"after the crash"]


def test_stop_leaves_neither_process_nor_directory() -> None:
    """After a stop it is as if nothing had been; a second stop does no harm."""
    broker = EmbeddedKafka().start()
    pid, directory = broker.pid, broker.data_dir
    assert directory in temporary_directories()
    broker.stop()
    broker.stop()

    assert (psutil.pid_exists(pid), directory.exists(), broker.pid) == (False, False, None)


def test_two_brokers_start_at_once() -> None:
    """Concurrent starts get different ports and directories."""
    brokers = [EmbeddedKafka(), EmbeddedKafka()]
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(EmbeddedKafka.start, brokers))

        # the threads that started them are gone: the brokers must not have died with them
        assert [broker.wait(0.5) for broker in brokers] == [False, False]
        assert len({broker.bootstrap_servers for broker in brokers}) == 2
    finally:
        for broker in brokers:
            broker.stop()


def test_java_dies_when_python_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the parent leaves no orphan, and the data can be used at once."""
    program = (
        "import sys, time, pathlib\n"
        "from stream.kafka import EmbeddedKafka\n"
        "broker = EmbeddedKafka(data_dir=pathlib.Path(sys.argv[1])).start()\n"
        "print(broker.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        java_pid = int(parent.stdout.readline())
        assert "java" in psutil.Process(java_pid).name()
        parent.kill()
    wait_until_gone(java_pid)

    assert not psutil.pid_exists(java_pid)


def test_a_forgotten_broker_is_stopped_at_exit() -> None:
    """A program that ends without calling stop leaves neither process nor directory."""
    program = (
        "import json, os, sys\n"
        "from stream.kafka import EmbeddedKafka\n"
        "broker = EmbeddedKafka().start()\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "assert broker.running, 'a forked child stopped the broker'\n"
        "print(json.dumps([broker.pid, str(broker.data_dir)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    pid, directory = json.loads(done.stdout)

    assert (psutil.pid_exists(pid), Path(directory).exists()) == (False, False)


def test_a_taken_port_is_named() -> None:
    """The error names the port and leaves no directory behind."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        broker = EmbeddedKafka(port=port)
        with pytest.raises(PortTakenError, match=f"port {port} on 127.0.0.1 is taken"):
            broker.start()

    assert (broker.pid, broker.running) == (None, False)


def test_a_data_directory_serves_one_broker(tmp_path: Path) -> None:
    """A second broker on the same directory is refused."""
    with EmbeddedKafka(data_dir=tmp_path), pytest.raises(DataInUseError, match="another Kafka works in"):
        EmbeddedKafka(data_dir=tmp_path).start()


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """A directory with something else in it is refused and not touched."""
    letter = tmp_path / "letter.txt"
    letter.write_text("dear aunt")
    with pytest.raises(NotKafkaDataError, match="not an embedded Kafka's data"):
        EmbeddedKafka(data_dir=tmp_path).start()

    assert list(tmp_path.iterdir()) == [letter]


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    """A file in the directory's place is refused."""
    (tmp_path / "data").write_text("")
    with pytest.raises(NotKafkaDataError, match="is a file"):
        EmbeddedKafka(data_dir=tmp_path / "data").start()


def test_too_little_space_is_refused_before_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk with less than the minimum is not filled up further."""
    monkeypatch.setattr(broker_module, "FREE_BYTES_MIN", 2**60)
    with pytest.raises(DiskFullError, match="MB are free for Kafka's data in"):
        EmbeddedKafka(data_dir=tmp_path).start()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ERROR Disk error java.io.IOException: No space left on device", DiskFullError),
        ("Caused by: java.net.BindException: Address already in use", PortTakenError),
        ("KafkaException: Failed to acquire lock on file .lock in /d", DataInUseError),
        ("INFO well\nERROR Exiting Kafka due to fatal exception\nINFO bye", BrokerDiedError),
        ("", BrokerDiedError),
    ],
)
def test_the_log_tells_why_a_broker_died(tmp_path: Path, said: str, kind: type[EmbeddedKafkaError]) -> None:
    """Each cause in the log has its own error, in one line."""
    error = broker_module._diagnose(said, tmp_path / "kafka.log", None)

    assert (type(error), "\n" in str(error)) == (kind, False)


def test_a_broker_that_dies_at_start_says_why() -> None:
    """The line that matters is in the message, and the log that it names is kept."""
    broker = EmbeddedKafka(config={"log.segment.bytes": "not a number"})
    with pytest.raises(BrokerDiedError, match=r"not a number.*see .*kafka\.log") as caught:
        broker.start()

    log = Path(str(caught.value).rpartition("see ")[2])
    assert "not a number" in log.read_text()
    log.unlink()
    (log.parent / "in-use").unlink()
    (log.parent / "server.properties").unlink()
    log.parent.rmdir()


def test_an_interrupted_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while Java starts ends the process and removes the directory."""
    seen: list[object] = []

    def interrupt(broker: EmbeddedKafka, _log: Path) -> None:
        seen.extend([broker.pid, broker.data_dir])
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddedKafka, "_await_ready", interrupt)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedKafka().start()
    pid, directory = seen

    assert (psutil.pid_exists(pid), directory.exists()) == (False, False)


def test_a_broker_that_is_too_slow_is_not_left_running(tmp_path: Path) -> None:
    """The time limit of a start ends the process too."""
    broker = EmbeddedKafka(data_dir=tmp_path, start_timeout_s=0.05)
    with pytest.raises(StartTimeoutError, match="was not ready after"):
        broker.start()

    assert not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in str(process.info["cmdline"])
    ]


def test_properties_before_the_first_start_say_so() -> None:
    """There is no address before a start."""
    broker = EmbeddedKafka()
    with pytest.raises(EmbeddedKafkaError, match="call start"):
        _ = broker.bootstrap_servers
    with pytest.raises(EmbeddedKafkaError, match="call start"):
        _ = broker.log_path
    broker.stop()


def test_directories_of_killed_programs_are_swept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Old temporary data that nobody holds go; young ones and foreign ones stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young, other = (tmp_path / name for name in ("callgauge-kafka-a", "callgauge-kafka-b", "letters"))
    for directory in (old, young, other):
        directory.mkdir()
    os.utime(old, (1, 1))
    os.utime(other, (1, 1))
    broker_module._sweep_stale()

    assert {path.name for path in tmp_path.iterdir()} == {"callgauge-kafka-b", "letters"}


FOREGROUND = (
    "import pathlib, sys\n"
    "from stream.kafka import run_foreground\n"
    "sys.exit(run_foreground(None, None, lambda line: print(line, flush=True)))\n"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_foreground_command_ends_in_order(number: signal.Signals) -> None:
    """It prints the address once ready; Ctrl-C or a service manager's stop is a success."""
    with subprocess.Popen([sys.executable, "-c", FOREGROUND], stdout=subprocess.PIPE, text=True) as command:
        host, port = command.stdout.readline().strip().split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
        children = psutil.Process(command.pid).children()
        command.send_signal(number)
        command.wait(30)

    assert (command.returncode, [child for child in children if child.is_running()]) == (0, [])


def test_the_foreground_command_fails_when_kafka_dies() -> None:
    """The broker's death is a failure with a line that says so."""
    with subprocess.Popen([sys.executable, "-c", FOREGROUND], stdout=subprocess.PIPE, text=True) as command:
        command.stdout.readline()
        for child in psutil.Process(command.pid).children():
            child.kill()
        said = command.stdout.read()
        command.wait(30)

    assert (command.returncode, said.startswith("Kafka died")) == (1, True)
