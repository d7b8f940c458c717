"""The port and clients that are broken, slow, greedy or hostile: answered in a line, never logged, never in the way."""

import contextlib
import logging
import re
import socket
import string
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.export.connection import CONNECTIONS_MAX, HEADERS_MAX, REQUEST_LINE_BYTES_MAX, Patience
from tests.export.served import Server

DEADLINE_S = 60.0  # generous: a machine that is busy is slow, not wrong
STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
EXPECTED = {b"100", b"200", b"400", b"404", b"405", b"413", b"417"}
# What one client may make the process hold: one answer on its way and what the system takes at once.
HELD_BYTES_MAX = 1_048_576


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


@pytest.fixture
def impatient():
    """Lend a server that waits a moment only."""
    with Server(patience=Patience(connections=8, request_s=0.3, answer_s=0.3)) as running:
        yield running


def connect(server, receive_bytes=None):
    """Open a connection; small buffers make a client that does not read felt at once."""
    client = socket.socket()
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(DEADLINE_S)
    client.connect(server.served.address)
    return client


def connections(server):
    """Return the server's open connections."""
    return server.served.runner.server.connections


def wait_until(condition):
    """Look until it holds."""
    deadline_s = time.monotonic() + DEADLINE_S  # noqa: TID251 - a test's own patience
    while not condition():
        assert time.monotonic() < deadline_s  # noqa: TID251
        time.sleep(0.01)


def answers(server, request):
    """Send bytes, say that no more will come, and return the status of every answer."""
    with connect(server) as client:
        with contextlib.suppress(ConnectionError):  # refused before the end
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := client.recv(65_536):
                received += data
    return received, STATUS.findall(received)


METHODS = st.sampled_from(["GET", "HEAD", "POST", "TRACE", "CONNECT", "PRI", "get", "G" * 50, "BREW", ""])
PATHS = st.one_of(
    st.sampled_from(
        [
            "/",
            "/metrics",
            "/board.json",
            "/table/",
            "/router/",
            "/graph",
            "/stats",
            "*",
            "//",
            "/../../etc/passwd",
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=100).map(lambda text: "/" + text),
    st.integers(REQUEST_LINE_BYTES_MAX - 20, REQUEST_LINE_BYTES_MAX + 20).map(
        lambda length: "/" + "a" * length
    ),
    st.sampled_from(["/%00", "/%ff%fe", "/%2e%2e/", "http://elsewhere.example/", "/?" + "q=1&" * 300]),
)
VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "HTTP/1.1 x", ""])
NAMES = st.one_of(
    st.sampled_from(
        [
            "Host",
            "Accept",
            "Accept-Encoding",
            "Connection",
            "Content-Length",
            "Transfer-Encoding",
            "Expect",
            "Upgrade",
        ]
    ),
    st.text(string.printable, max_size=20),
)
VALUES = st.one_of(
    st.sampled_from(
        ["chunked", "-1", "9" * 30, "100-continue", "websocket", "Upgrade", "close", "keep-alive", "gzip"]
    ),
    st.sampled_from(
        ["application/openmetrics-text; version=1.0.0; escaping=" + "x" * 200, "," * 1_000, ";q=" * 500]
    ),
    st.text(max_size=200),
)
HEADERS = st.one_of(
    st.lists(st.tuples(NAMES, VALUES), max_size=8),
    st.integers(HEADERS_MAX - 2, HEADERS_MAX + 2).map(lambda count: [("X", "y")] * count),
)


@st.composite
def requests(draw):
    """Make a request that may be right, and is wrong in all ways at once more often."""
    line = f"{draw(METHODS)} {draw(PATHS)} {draw(VERSIONS)}"
    fields = "".join(f"\r\n{name}: {value}" for name, value in draw(HEADERS))
    body = draw(st.binary(max_size=300))
    text = f"{line}{fields}\r\n\r\n".encode("utf-8", "surrogateescape") + body
    return text[: draw(st.integers(1, len(text)))] if draw(st.booleans()) else text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=st.one_of(requests(), st.binary(max_size=500)))
def test_whatever_is_sent_is_answered_in_a_line_or_cut_and_never_logged(server, caplog, request):
    """No bytes of a client bring a traceback, a line in the log, or an answer that tells of the inside."""
    with caplog.at_level(logging.INFO):
        received, statuses = answers(server, request)

    assert set(statuses) <= EXPECTED
    assert b"Traceback" not in received
    assert b"aiohttp" not in received
    assert caplog.records == []
    assert server.ask("/healthz")[0] == 200


@pytest.mark.parametrize(
    "sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n", b"GET /metrics HTTP/1.1\r\nX:"]
)
def test_half_a_request_is_cut_when_its_time_is_over(impatient, sent):
    """A client that does not go on holds nothing for ever."""
    with connect(impatient) as client:
        client.sendall(sent)

        assert client.recv(1) == b""
    wait_until(lambda: not connections(impatient))


def test_a_request_that_drips_is_cut_too(impatient):
    """Every byte in time is not enough: the whole must come in time."""

    def drip():
        client.sendall(b"X")
        time.sleep(0.01)
        return False

    with connect(impatient) as client, pytest.raises(ConnectionError):
        wait_until(drip)


def test_one_whose_request_was_answered_may_stay_and_ask_again():
    """Keep-alive has its own, longer time."""
    with Server(patience=Patience(request_s=2.0)) as running, connect(running) as client:
        for pause_s in (2.5, 0.0):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
            time.sleep(pause_s)  # longer than a request may take


def test_a_client_that_reads_nothing_is_cut_and_makes_the_process_hold_little():
    """It asks for the page five hundred times in one go: one answer waits for it at a time."""
    held = []

    def is_cut():
        held.extend(one.transport.get_write_buffer_size() for one in connections(running) if one.transport)
        return not connections(running)

    patience = Patience(request_s=1_000, answer_s=0.3)
    with Server(patience=patience) as running, connect(running, receive_bytes=4_096) as client:
        client.settimeout(1.0)
        with contextlib.suppress(TimeoutError, ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        wait_until(is_cut)
        assert running.ask("/healthz")[0] == 200

    assert max(held, default=0) < HELD_BYTES_MAX


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_as_many_connections_are_served_as_are_allowed_and_no_more(more):
    """Limit - 1 and the limit are served; one more is told so, and let in once there is room."""
    limit = 8
    with Server(patience=Patience(connections=limit)) as running, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(running)) for _ in range(limit + more)]
        wait_until(lambda: len(connections(running)) >= min(limit, limit + more))
        last = clients[-1]
        with contextlib.suppress(ConnectionError):
            last.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        first_line = last.recv(65_536).partition(b"\r\n")[0]

        assert first_line == (b"HTTP/1.1 503 Service Unavailable" if more > 0 else b"HTTP/1.1 200 OK")
        for client in clients:
            client.close()
        wait_until(lambda: not connections(running))
        assert running.ask("/healthz")[0] == 200


def test_slow_clients_do_not_keep_others_waiting(server):
    """Halves of requests and answers that nobody reads fill what is allowed but a few; scrapes go on between them."""
    with contextlib.ExitStack() as stack:
        for number in range(CONNECTIONS_MAX - 20):
            client = stack.enter_context(connect(server, receive_bytes=4_096))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n" + b"\r\n" * (number % 2))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: server.ask("/metrics")[0], range(40)))

    assert found == [200] * 40
    wait_until(lambda: not connections(server))
