"""The port, by real requests over a real socket."""

import asyncio
import gzip
import json
import logging
import socket
from contextlib import asynccontextmanager

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from stream.export import BindError, PortTakenError, RemoteBindError, serve
from stream.export.connection import HEADER_FIELD_BYTES_MAX, REQUEST_LINE_BYTES_MAX
from tests.export.centre import queue, snapshot, stopped
from tests.export.served import Fake, Server

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


class Steps:
    """A monotonic clock that is moved by hand."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        """Return what the hand says."""
        return self.now_s


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


def test_metrics_are_text_unless_openmetrics_is_asked_for(server):
    """Without an Accept header the format is 0.0.4; Prometheus gets OpenMetrics."""
    status, headers, body = server.ask("/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert not body.endswith(b"# EOF\n")

    _, headers, body = server.ask("/metrics", Accept=PROMETHEUS_2_42)
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert body.endswith(b"# EOF\n")
    assert {family.name for family in parse_openmetrics(body.decode())} >= {
        "callcenter_contacts_queued",
        "callgauge_ready",
    }
    assert headers["Vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("scheme", ["underscores", "allow-utf-8", "dots", "values"])
def test_every_escaping_scheme_is_answered_in_kind(server, scheme):
    """Where a scheme changes names, prometheus_client renders; the content type says which one it is."""
    _, headers, body = server.ask("/metrics", Accept=f"{OPENMETRICS}; escaping={scheme}")

    assert headers["Content-Type"].endswith(f"escaping={scheme}")
    assert (b"callcenter__contacts__waiting" in body) is (scheme in ("dots", "values"))


def test_metrics_are_compressed_if_asked(server):
    """Gzip for who takes it, plain for who does not."""
    _, headers, body = server.ask("/metrics", Accept_Encoding="gzip")

    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == server.ask("/metrics")[2]
    assert "Content-Encoding" not in server.ask("/metrics")[1]


def test_the_board_is_json(server):
    """The page's data, for other programs too."""
    status, headers, body = server.ask("/board.json")

    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert [row["queue"] for row in json.loads(body)["queues"]] == [
        "billing",
        "complaints",
        "night line",
        "sales",
        "technical support",
        "vip",
    ]


@pytest.mark.parametrize(("behind", "made_for_s"), [(False, 0.5), (True, 1.0)])
def test_screens_that_poll_at_the_same_time_share_one_board(behind, made_for_s):
    """Ten screens cost what one does; half a second later it is a new one, with a backlog to read a second later."""
    clock = Steps()
    view = snapshot(queue("sales"), behind=behind)
    with Server(view, monotonic_s=clock) as running:
        for _ in range(10):
            running.ask("/board.json")
        clock.now_s += made_for_s - 0.1
        running.ask("/board.json")
        assert running.source.asked == 1

        clock.now_s += 0.2
        running.ask("/board.json")

    assert running.source.asked == 2


def test_the_page_runs_nothing_but_its_own_script(server):
    """The policy names the hashes of the page's script and style, and forbids everything else."""
    status, headers, body = server.ask("/")
    policy = headers["Content-Security-Policy"]

    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in body
    assert b"innerHTML" not in body


@pytest.mark.parametrize("path", ["/", "/board.json", "/metrics", "/healthz", "/readyz", "/nowhere"])
def test_every_answer_is_guarded_and_tells_no_versions(server, path):
    """Security headers are on pages, data, probes and errors alike."""
    _, headers, _ = server.ask(path)

    assert headers["Server"] == "callgauge"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_the_probes_say_yes_in_one_line(server):
    """200 and one word."""
    assert server.ask("/healthz")[::2] == (200, b"healthy\n")
    assert server.ask("/readyz")[::2] == (200, b"ready\n")


def test_the_probes_say_no_with_the_reason():
    """503 and the reason as one line, whatever it contains."""
    view = snapshot(
        ready=False, not_ready_reason="3 of 12\npartitions", healthy=False, unhealthy_reason="no progress"
    )
    with Server(view) as running:
        assert running.ask("/readyz")[::2] == (503, b"3 of 12 partitions\n")
        assert running.ask("/healthz")[::2] == (503, b"no progress\n")
        assert running.ask("/metrics")[0] == 200


def test_a_missing_reason_is_replaced_by_a_plain_one():
    """Never an empty answer."""
    with Server(snapshot(ready=False)) as running:
        assert running.ask("/readyz")[::2] == (503, b"not ready\n")


def test_what_is_not_there_is_answered_in_one_line(server):
    """404 without a page about it."""
    status, headers, body = server.ask("/<script>")

    assert (status, body) == (404, b"404: Not Found\n")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_get_and_head_are_allowed(server, method):
    """Nothing can be changed through this port."""
    status, headers, body = server.ask("/metrics", method)

    assert status == 405
    assert headers["Allow"] == "GET,HEAD"
    assert body == b"405: Method Not Allowed\n"


@pytest.mark.parametrize("path", ["/", "/board.json", "/metrics", "/healthz", "/readyz"])
def test_head_is_get_without_the_body(server, path):
    """The same headers, no body."""
    status, headers, body = server.ask(path, "HEAD")

    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == len(server.ask(path)[2])


def test_a_request_with_a_body_is_refused(server):
    """No handler reads one, so nobody may make the process hold one."""
    status, headers, _ = server.ask("/metrics", body=b"x" * 100)

    assert status == 413
    assert headers["Connection"] == "close"


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /" + b"x" * REQUEST_LINE_BYTES_MAX + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (HEADER_FIELD_BYTES_MAX + 1) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n",
        b"\x16\x03\x01 not http\r\n\r\n",
    ],
    ids=["line", "field", "fields", "malformed", "tls"],
)
def test_what_is_too_long_or_no_http_is_refused_without_telling_versions(server, request_text):
    """Such requests are answered below the application, and still tell nothing about it."""
    answer = server.ask_raw(request_text)

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"aiohttp" not in answer
    assert b"Python" not in answer
    assert server.ask("/healthz")[0] == 200


def test_the_longest_header_field_is_served(server):
    """The bound itself is allowed."""
    assert server.ask("/healthz", X="x" * HEADER_FIELD_BYTES_MAX)[0] == 200


def test_a_source_that_fails_is_one_line_and_a_log_entry(caplog):
    """The reader learns that it failed, the log learns why."""
    with caplog.at_level(logging.ERROR), Server(RuntimeError("inside knowledge")) as running:
        for path in ("/metrics", "/board.json", "/readyz"):
            assert running.ask(path)[::2] == (500, b"500: could not be made, see the log\n")

    assert "inside knowledge" in caplog.text


@asynccontextmanager
async def served(host, port, **options):
    handle = await serve(Fake(snapshot(queue("a"))), host, port, monotonic_s=stopped, **options)
    try:
        yield handle
    finally:
        await handle.close()


def address_of(host, port=0, **options):
    async def bind():
        async with served(host, port, **options) as handle:
            return handle.address

    return asyncio.run(bind())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "wall.example"])  # noqa: S104 - refused
def test_an_address_that_others_can_reach_is_refused(host):
    """The pages have no password, so somebody must say so; the message says how."""
    with pytest.raises(RemoteBindError, match="--allow-remote") as error:
        address_of(host)

    assert "\n" not in str(error.value)


def test_an_address_that_others_can_reach_is_bound_when_allowed():
    """allow_remote is all it takes."""
    assert address_of("0.0.0.0", allow_remote=True)[0] == "0.0.0.0"  # noqa: S104 - that is the point


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_loopback_addresses_need_no_permission(host):
    """All of 127/8, and localhost without asking a resolver."""
    assert address_of(host)[0].startswith("127.0.0.")


def test_a_port_that_is_taken_is_named():
    """One line that names the port and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} of 127.0.0.1 is in use") as error:
            address_of("127.0.0.1", port)

    assert "\n" not in str(error.value)


def test_an_address_of_another_machine_is_a_bind_error():
    """What cannot be bound for another reason says which."""
    with pytest.raises(BindError, match=r"cannot listen on 192\.0\.2\.1"):
        address_of("192.0.2.1", allow_remote=True)


def test_a_closed_server_gives_its_port_back():
    """close() ends everything; the same port can be bound again at once."""
    address = address_of("127.0.0.1")

    assert address_of(*address) == address
