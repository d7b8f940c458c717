"""The broker's `server.properties`, and the two ports that it remembers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
# First line of the file; a directory without it is not one of ours.
MARKER = "# callgauge embedded Kafka"
# Topics may ask for records up to 8 MiB; the broker's own bound leaves room for the batch around one.
RECORD_BYTES_MAX = 9 * 1024 * 1024
# What is given for these is added to ours: tests open listeners with TLS and passwords beside the plain one.
ADDED = ("listeners", "advertised.listeners", "listener.security.protocol.map")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where clients and the controller are reached; both on the loopback interface only."""

    broker: int
    controller: int


def render(ports: Ports, log_dir: Path, overrides: Mapping[str, str]) -> str:
    """Return the whole file."""
    lines = [
        MARKER,
        *(f"{key}={_escape(value)}" for key, value in _settings(ports, log_dir, overrides).items()),
    ]
    return "\n".join(lines) + "\n"


def read_ports(text: str) -> Ports | None:
    """Return the ports in a file that `render` made, or None when it did not make it."""
    if not text.startswith(MARKER):
        return None
    broker = re.search(
        r"^listeners=PLAINTEXT://[^:]+:(\d+),CONTROLLER://[^:]+:(\d+)(,.*)?$", text, re.MULTILINE
    )
    return Ports(int(broker[1]), int(broker[2])) if broker else None


def _escape(value: str) -> str:
    # a backslash starts an escape in Java's properties; control characters cannot be in a sane path
    return value.replace("\\", "\\\\")


def _settings(ports: Ports, log_dir: Path, overrides: Mapping[str, str]) -> dict[str, str]:
    listeners = f"PLAINTEXT://{HOST}:{ports.broker},CONTROLLER://{HOST}:{ports.controller}"
    ours = {
        "process.roles": "broker,controller",
        "node.id": "1",
        # a static quorum keeps the ports out of the metadata log
        "controller.quorum.voters": f"1@{HOST}:{ports.controller}",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://{HOST}:{ports.broker}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(log_dir),
        "auto.create.topics.enable": "false",
        "num.partitions": "4",
        # one broker: everything has one copy, and small internal topics start faster
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # a consumer group starts and fails over within a test's patience
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "message.max.bytes": str(RECORD_BYTES_MAX),
        "replica.fetch.max.bytes": str(RECORD_BYTES_MAX),
        "socket.request.max.bytes": str(100 * 1024 * 1024),
        # events carry their own time, which may lie years back: never delete by age, keep them all
        "log.retention.ms": "-1",
        "log.retention.bytes": "-1",
        "offsets.retention.minutes": "525600",
        # a start with a 512 MB heap on two cores
        "log.cleaner.dedupe.buffer.size": str(2 * 1024 * 1024),
        "log.cleaner.threads": "1",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "1",
        "group.coordinator.threads": "1",
        "share.coordinator.threads": "1",
        # after a crash the controller refuses the broker until its old session has run out: by default 9 s
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }
    added = {name: f"{ours[name]},{overrides[name]}" for name in ADDED if name in overrides}
    return ours | dict(overrides) | added
