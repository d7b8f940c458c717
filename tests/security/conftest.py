"""One real broker that asks for passwords and speaks TLS, with an authority made for the run.

Every listener is a port of the same broker: `TLS` is in order, `EXPIRED` and `OTHERHOST` have a certificate
that no client may accept, `MUTUAL` asks the client for one, `SASLTLS` and `SASLPLAIN` ask for a password;
`MISLED` is in order itself and sends its clients to `OTHERHOST`.
"""

import datetime as dt
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from stream.kafka import EmbeddedKafka, ExtraMissingError, JarFetchError, JavaMissingError, JavaTooOldError
from tests.conftest import IN_CI

DEADLINE_S = 120.0  # generous: a machine that is busy is slow, not wrong
ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
USER = "wall"
PASSWORD = "canary-password-7319"  # noqa: S105 - of a broker that lives for a minute
_MECHANISMS = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
_PROTOCOLS = {
    "TLS": "SSL",
    "EXPIRED": "SSL",
    "OTHERHOST": "SSL",
    "MUTUAL": "SSL",
    "MISLED": "SSL",
    "SASLTLS": "SASL_SSL",
    "SASLPLAIN": "SASL_PLAINTEXT",
}


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def write_key(certificate: trustme.LeafCert, file: Path) -> None:
    """Write the key as Kafka wants it, and the chain behind it."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem + b"".join(blob.bytes() for blob in certificate.cert_chain_pems))


@dataclass
class Secured:
    """The broker, its ports by listener, and files for clients."""

    broker: EmbeddedKafka
    ports: dict[str, int]
    folder: Path

    def servers(self, listener: str) -> str:
        """Return where a listener is."""
        return f"{HOST}:{self.ports[listener]}"

    def options(self, listener: str, **more: Any) -> dict[str, Any]:
        """Return the `[kafka]` settings that are right for a listener, and changes to them."""
        protocol = _PROTOCOLS[listener]
        right: dict[str, Any] = {"bootstrap_servers": self.servers(listener), "security_protocol": protocol}
        if protocol.endswith("SSL"):
            right["ssl_cafile"] = str(self.folder / "authority.pem")
        if protocol.startswith("SASL"):
            right |= {"sasl_username": USER, "sasl_password": PASSWORD}
        if listener == "MUTUAL":
            right["ssl_certfile"] = str(self.folder / "client.pem")
        return {name: text for name, text in (right | more).items() if text != ""}


def _listeners(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    authority, other = trustme.CA(), trustme.CA()
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)  # noqa: TID251 - a certificate's end
    certificates = {
        "TLS": authority.issue_cert(HOST),
        "EXPIRED": authority.issue_cert(HOST, not_after=past, not_before=past - dt.timedelta(days=1)),
        "OTHERHOST": authority.issue_cert("elsewhere.example"),
    }
    authority.cert_pem.write_to_path(folder / "authority.pem")
    other.cert_pem.write_to_path(folder / "other-authority.pem")
    write_key(authority.issue_cert("client.example"), folder / "client.pem")
    write_key(other.issue_cert("client.example"), folder / "unknown-client.pem")
    names = ("ssl.keystore.type", "ssl.keystore.location", "ssl.truststore.type", "ssl.truststore.location")
    advertised = ports | {"MISLED": ports["OTHERHOST"]}
    config = {
        "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items()),
        "advertised.listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in advertised.items()),
        "listener.security.protocol.map": ",".join(f"{name}:{_PROTOCOLS[name]}" for name in ports),
        "listener.name.mutual.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": _MECHANISMS,
    }
    for name, protocol in _PROTOCOLS.items():
        if protocol.endswith("SSL"):
            keys = folder / f"{name}.pem"
            write_key(certificates.get(name, certificates["TLS"]), keys)
            stores = ("PEM", str(keys), "PEM", str(folder / "authority.pem"))
            prefix = f"listener.name.{name.lower()}."
            config |= {prefix + key: value for key, value in zip(names, stores, strict=True)}
        if protocol.startswith("SASL"):
            prefix = f"listener.name.{name.lower()}."
            config[f"{prefix}sasl.enabled.mechanisms"] = _MECHANISMS
            config[f"{prefix}plain.sasl.jaas.config"] = (
                f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            )
            for bits in ("256", "512"):
                config[f"{prefix}scram-sha-{bits}.sasl.jaas.config"] = (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
    return config


def set_password(servers: str, password: str) -> None:
    """Give the user a SCRAM password, through the listener that asks for none."""
    from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion  # noqa: PLC0415

    admin = KafkaAdminClient(bootstrap_servers=servers)
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
        # one at a time: Kafka takes one change of a user a request
        change = UserScramCredentialUpsertion(USER, mechanism, password.encode(), iterations=4096)
        assert admin.alter_user_scram_credentials([change]) == {USER: None}
    admin.close()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Lend the broker to all tests of security."""
    folder = tmp_path_factory.mktemp("secured")
    ports = dict(zip(_PROTOCOLS, free_ports(len(_PROTOCOLS)), strict=True))
    broker = EmbeddedKafka(config=_listeners(folder, ports))
    try:
        broker.start()
    except (ExtraMissingError, JarFetchError, JavaMissingError, JavaTooOldError) as error:
        if IN_CI:
            pytest.fail(f"no embedded Kafka, and CI=true: {error}")
        pytest.skip(f"NO EMBEDDED KAFKA, TESTS WITH A BROKER ARE NOT RUN: {error}")
    set_password(broker.bootstrap_servers, PASSWORD)
    yield Secured(broker, ports, folder)
    broker.stop()


@dataclass
class Command:
    """The command line with one configuration."""

    config: Path
    program: list[str] = field(default_factory=lambda: [sys.executable, "-m", "stream"])

    def line(self, *arguments: str) -> list[str]:
        """Return a command line."""
        return [*self.program, *arguments, "--config", str(self.config)]

    def run(self, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        return subprocess.run(
            self.line(*arguments), input=data, capture_output=True, cwd=ROOT, check=False, timeout=120
        )


@pytest.fixture
def command(tmp_path: Path, unique_name: str):
    """Make a command line with `[kafka]` settings and topics of its own."""

    def make(kafka: dict[str, str], extra: str = "") -> Command:
        topics = {
            f"topic_{name}": f"{unique_name}-{name}"
            for name in ("events", "cells", "intervals", "dead", "late")
        }
        settings = {"group_id": unique_name} | topics | kafka
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        config = tmp_path / "callgauge.toml"
        config.write_text("\n".join(["[kafka]", "partitions = 2", "shards = 1", *lines, extra]) + "\n")
        return Command(config)

    return make


@dataclass
class Worker:
    """A running worker, and the files with what it said."""

    process: subprocess.Popen[str]
    folder: Path
    address: str = ""

    def said(self) -> str:
        """Return everything it has written."""
        return (self.folder / "out.txt").read_text() + (self.folder / "errors.txt").read_text()

    def wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        """Look until it holds."""
        deadline_s = time.monotonic() + DEADLINE_S  # noqa: TID251 - a test's own patience
        while not condition():
            assert self.process.poll() is None, f"the worker ended: {self.said()}"
            assert time.monotonic() < deadline_s, f"waited in vain until {what}: {self.said()}"  # noqa: TID251
            time.sleep(0.1)

    def get(self, path: str, accept: str = "*/*") -> str:
        """Ask for a page, whatever its status."""
        request = urllib.request.Request(self.address + path, headers={"Accept": accept})  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def count(self, name: str) -> float:
        """Add up the samples of a metric."""
        lines = [
            line for line in self.get("metrics").splitlines() if line.startswith((name + "{", name + " "))
        ]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def stop(self) -> int:
        """Ask it to stop; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Command], Worker]]:
    """Start workers; they are gone afterwards."""
    started: list[Worker] = []

    def make(command: Command) -> Worker:
        with (tmp_path / "out.txt").open("w") as out, (tmp_path / "errors.txt").open("w") as errors:
            process = subprocess.Popen(
                command.line("worker", "--port", "0"), stdout=out, stderr=errors, text=True, cwd=ROOT
            )
        worker = Worker(process, tmp_path)
        started.append(worker)
        worker.wait_until("it listens", lambda: "http://" in worker.said())
        worker.address = "http://" + worker.said().split("http://")[1].split()[0]
        return worker

    yield make
    for worker in started:
        worker.process.kill()
        worker.process.wait()
