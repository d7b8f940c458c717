"""Whoever is not trusted is not spoken to: one line, exit code 2, and a handful of connections."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from stream.access import KafkaRefusedError, access_of
from stream.access.reach import reach
from stream.settings import load
from tests.security.conftest import HOST, Secured

pytestmark = pytest.mark.broker

# listener, settings that are wrong there, what the line must say
WRONG = {
    "expired": ("EXPIRED", {}, "its certificate has expired; the broker needs a new one"),
    "authority": (
        "TLS",
        {"ssl_cafile": "{folder}/other-authority.pem"},
        "is from none of the authorities in",
    ),
    "system authorities": ("TLS", {"ssl_cafile": ""}, "is from none of the authorities of this system"),
    "host name": ("OTHERHOST", {}, "its certificate is for another host name"),
    "tls to plaintext": (
        "TLS",
        {"bootstrap_servers": "{plain}"},
        'it does not speak TLS here; name its TLS port, or set kafka.security_protocol = "PLAINTEXT"',
    ),
    "sasl tls to plaintext": ("SASLTLS", {"bootstrap_servers": "{plain}"}, "it does not speak TLS here"),
    "plaintext to tls": (
        "TLS",
        {"security_protocol": "PLAINTEXT", "ssl_cafile": ""},
        'it speaks TLS here; set kafka.security_protocol = "SSL"',
    ),
    "sasl plaintext to tls": (
        "SASLTLS",
        {"security_protocol": "SASL_PLAINTEXT", "ssl_cafile": ""},
        'it speaks TLS here; set kafka.security_protocol = "SASL_SSL"',
    ),
    "no certificate of ours": ("MUTUAL", {"ssl_certfile": ""}, "it asks for a certificate that it trusts"),
    "untrusted certificate of ours": (
        "MUTUAL",
        {"ssl_certfile": "{folder}/unknown-client.pem"},
        "it asks for a certificate that it trusts",
    ),
    "no password": (
        "SASLTLS",
        {"security_protocol": "SSL", "sasl_username": "", "sasl_password": ""},
        'it asks for a password here; set kafka.security_protocol = "SASL_SSL"',
    ),
    "no password, plaintext": (
        "SASLPLAIN",
        {"security_protocol": "PLAINTEXT", "sasl_username": "", "sasl_password": ""},
        'it asks for a password here; set kafka.security_protocol = "SASL_PLAINTEXT"',
    ),
    "password where none is asked for": (
        "SASLTLS",
        {"bootstrap_servers": "{tls}"},
        'it asks for no password here; set kafka.security_protocol = "SSL"',
    ),
    "password": ("SASLTLS", {"sasl_password": "wrong-canary"}, "the user wall or its password is wrong"),
    "password, PLAIN": (
        "SASLTLS",
        {"sasl_password": "wrong-canary", "sasl_mechanism": "PLAIN"},
        "the user wall or its password is wrong for PLAIN",
    ),
    "password, unencrypted": (
        "SASLPLAIN",
        {"sasl_password": "wrong-canary"},
        "the user wall or its password is wrong",
    ),
    "user": ("SASLTLS", {"sasl_username": "nobody"}, "the user nobody or its password is wrong"),
}
CONNECTIONS_MAX = 5  # one look, and what it takes to say what the port speaks instead


class Counter:
    """Passes connections on to a port, and counts them."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"
        self.count = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.count += 1
                self._threads.append(threading.Thread(target=self._serve, args=(near,)))
                self._threads[-1].start()

    def _serve(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._target) as far:
            back = threading.Thread(target=_pass, args=(far, near))
            back.start()
            _pass(near, far)
            back.join()

    def close(self) -> None:
        """Stop listening, and wait until every connection has ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def counted() -> Iterator[Callable[[str], Counter]]:
    """Make counters in front of a port."""
    made: list[Counter] = []

    def make(target: str) -> Counter:
        made.append(Counter(target))
        return made[-1]

    yield make
    for counter in made:
        counter.close()


def settings_of(secured: Secured, case: str) -> dict[str, str]:
    """Return the `[kafka]` settings of a case."""
    listener, changes, _ = WRONG[case]
    known = {
        "folder": str(secured.folder),
        "plain": secured.broker.bootstrap_servers,
        "tls": secured.servers("TLS"),
    }
    return secured.options(listener, **{key: text.format(**known) for key, text in changes.items()})


@pytest.mark.parametrize("case", WRONG)
def test_whoever_is_not_trusted_is_told_in_one_line_after_a_handful_of_connections(
    secured, counted, monkeypatch, tmp_path, case
):
    """The line says what does not fit and what to set; nothing is tried again."""
    monkeypatch.chdir(tmp_path)
    kafka = settings_of(secured, case)
    variables = {f"CALLGAUGE_KAFKA__{key.upper()}": text for key, text in kafka.items()}
    counter = counted(kafka["bootstrap_servers"])

    with pytest.raises(KafkaRefusedError) as caught:
        asyncio.run(reach([counter.address], access_of(load(environ=variables).settings)))

    line = str(caught.value)
    assert line.startswith(f"no connection to Kafka at {counter.address}: ")
    assert WRONG[case][2] in line
    assert "\n" not in line
    assert "canary" not in line
    assert counter.count <= CONNECTIONS_MAX


@pytest.mark.parametrize(
    ("case", "arguments"),
    [
        ("expired", ("worker", "--port", "0")),
        ("password", ("worker", "--port", "0")),
        ("password", ("topics",)),
        ("password", ("simulate", "--calls", "1")),
        ("password", ("send", "-")),
        ("password", ("dead-letters", "list")),
        ("password", ("dead-letters", "resend", "--all")),
    ],
)
def test_every_command_ends_with_that_line_and_code_2(secured, command, counted, case, arguments):
    """No command has a way to Kafka of its own, and none waits for what will not come."""
    kafka = settings_of(secured, case)
    counter = counted(kafka["bootstrap_servers"])

    done = command(kafka | {"bootstrap_servers": counter.address}).run(*arguments)

    errors = done.stderr.decode()
    assert done.returncode == 2, errors
    lines = [line for line in errors.splitlines() if "no connection to Kafka at" in line]
    assert lines == errors.splitlines()
    assert len(lines) == 1
    assert WRONG[case][2] in lines[0]
    assert "canary" not in errors + done.stdout.decode()
    assert counter.count <= CONNECTIONS_MAX


def test_a_broker_that_the_first_one_names_and_that_cannot_be_trusted_is_named(secured, command):
    """The bootstrap server may be right and what it advertises wrong: the first record would find out."""
    done = command(secured.options("MISLED")).run("topics")

    assert done.returncode == 2
    assert done.stderr.decode().startswith(
        f"callgauge: no connection to Kafka at {secured.servers('OTHERHOST')}: its certificate is for another host"
    )
