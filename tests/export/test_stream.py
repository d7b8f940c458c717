"""/board.stream by real sockets: what listeners get, and what they cannot do to anybody else."""

import contextlib
import json
import socket
import time
import zlib
from datetime import datetime

import pytest

import stream.export.stream as module
from stream.clock import monotonic_s
from stream.export import http
from tests.export.centre import NOW_MS, counts, many_queues, queue, snapshot
from tests.export.served import Server

DEADLINE_S = 60.0
pytestmark = pytest.mark.alone


def numbered(asked):
    """Say by its blocked contacts the how-many-th snapshot it is."""
    return snapshot(queue("a", counts(10, 9, blocked=asked)), taken_at_ms=NOW_MS + asked)


class Listener:
    """A client that reads one stream by hand."""

    def __init__(self, server, headers="", method="GET"):
        self.socket = socket.create_connection(server.served.address, timeout=DEADLINE_S)
        self.socket.sendall(f"{method} /board.stream HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.head = b"".join(iter(self.file.readline, b"\r\n")).decode()
        self.unpack = zlib.decompressobj(31).decompress if "gzip" in self.head else bytes
        self.text = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Go away."""
        self.file.close()
        self.socket.close()

    def message(self):
        """Return the next board; None at the end of the stream."""
        while b"data: " not in self.text or not self.text.endswith(b"\n\n"):
            size = int(self.file.readline() or b"0", 16)
            if size == 0:
                return None
            self.text += self.unpack(self.file.read(size))
            self.file.readline()
        found, self.text = self.text.rpartition(b"data: ")[2], b""
        return json.loads(found)


def wait_until(what, condition):
    """Look until it holds."""
    end_s = monotonic_s() + DEADLINE_S
    while not condition():
        assert monotonic_s() < end_s, f"waited in vain until {what}"
        time.sleep(0.02)


def stream_of(server):
    """Return the server's own view of who listens."""
    route = next(
        r for r in server.served.runner.app.router.routes() if r.resource.canonical == "/board.stream"
    )
    return route.handler.__self__


@pytest.mark.parametrize("headers", ["", "Accept-Encoding: gzip\r\n"], ids=["plain", "compressed"])
def test_a_listener_gets_the_board_and_then_every_new_one(headers):
    """The same JSON as /board.json, again and again, on one connection."""
    with Server(numbered, monotonic_s=monotonic_s) as running, Listener(running, headers) as listener:
        first, second = listener.message(), listener.message()

    assert "Content-Type: text/event-stream" in listener.head
    assert ("Content-Encoding: gzip" in listener.head) is bool(headers)
    assert first.keys() == json.loads(json.dumps(second)).keys() >= {"total", "queues", "clock"}
    assert (
        0 < first["queues"][0]["windows"]["30m"]["blocked"] < second["queues"][0]["windows"]["30m"]["blocked"]
    )


def test_a_message_is_what_the_board_says():
    """Byte for byte the answer of /board.json."""
    with Server() as running, Listener(running) as listener:
        assert listener.message() == json.loads(running.ask("/board.json")[2])


def test_a_snapshot_is_taken_once_for_all_who_listen():
    """Fifty listeners cost one board."""
    with Server(numbered) as running, contextlib.ExitStack() as open_:
        listeners = [open_.enter_context(Listener(running)) for _ in range(50)]
        boards = [listener.message() for listener in listeners]

        assert boards == [boards[0]] * 50
        assert running.source.asked == 1


def test_nobody_asks_for_snapshots_when_nobody_listens():
    """The last one to leave ends the making."""
    with Server(numbered, monotonic_s=monotonic_s) as running:
        with Listener(running) as listener:
            assert listener.message()
        stream = stream_of(running)
        wait_until("the making has ended", stream._sending.done)
        asked = running.source.asked
        time.sleep(3 * module.SEND_EVERY_S)

        assert running.source.asked == asked
        assert stream._listeners == 0
        with Listener(running) as listener:
            assert listener.message()


def test_a_listener_that_does_not_read_holds_up_nobody_and_is_cut_off(monkeypatch):
    """Others get every message meanwhile; what waits for the silent one is bounded; then its connection ends."""
    monkeypatch.setattr(module, "TAKEN_WITHIN_S", 1.0)
    monkeypatch.setattr(module, "SEND_EVERY_S", 0.05)
    monkeypatch.setattr(http, "BOARD_REST", 0)
    big = many_queues(100)
    with (
        Server(lambda asked: snapshot(*big.queues, taken_at_ms=asked), monotonic_s=ticking()) as running,
        Listener(running) as silent,
        Listener(running) as reader,
    ):
        assert silent.head
        stream = stream_of(running)
        wait_until("both listen", lambda: stream._listeners == 2)
        seen, end_s = [], monotonic_s() + DEADLINE_S
        while stream._listeners == 2:
            assert monotonic_s() < end_s, "the silent one was never cut off"
            seen.append(number(reader.message()))
        seen.append(number(reader.message()))

        assert seen == sorted(set(seen))
        with contextlib.suppress(ConnectionResetError):
            while silent.file.read(1_000_000):  # raises TimeoutError if it never ends
                pass


def test_a_listener_that_was_slow_goes_on_with_the_newest_board(monkeypatch):
    """What it missed is dropped: the numbers of its messages have a gap, and grow."""
    monkeypatch.setattr(module, "SEND_EVERY_S", 0.02)
    monkeypatch.setattr(http, "BOARD_REST", 0)
    big = many_queues(100)  # 300 kB: some ten messages fill the system's buffers
    with (
        Server(lambda asked: snapshot(*big.queues, taken_at_ms=asked), monotonic_s=ticking()) as running,
        Listener(running) as slow,
    ):
        numbers = [number(slow.message())]
        wait_until("many more were made", lambda: running.source.asked > 60)
        while len(numbers) < 2 or numbers[-1] == numbers[-2] + 1:
            numbers.append(number(slow.message()))
            assert numbers[-1] > numbers[-2]

    assert len(numbers) < 60


def number(board):
    """Return the how-many-th snapshot it was made of."""
    return round(datetime.fromisoformat(board["taken_at"]).timestamp() * 1_000)


def ticking():
    """Return a clock by which every board is old when it is asked for again."""
    now = iter(range(10**9))
    return lambda: float(next(now))


def test_who_comes_beyond_the_limit_is_told_to_poll(monkeypatch):
    """503; and a place that was left is free again."""
    monkeypatch.setattr(module, "LISTENERS_MAX", 2)
    with Server(numbered, monotonic_s=monotonic_s) as running:
        with Listener(running) as one, Listener(running) as other:
            assert one.message()
            assert other.message()
            assert running.ask("/board.stream")[::2] == (503, b"503: Service Unavailable\n")
        wait_until("both have left", lambda: stream_of(running)._listeners == 0)
        with Listener(running) as third:
            assert third.message()


def test_a_source_that_fails_ends_the_stream_and_the_next_one_tries_again():
    """Who listens learns of it by the end of the stream."""
    views = iter([RuntimeError("once"), numbered(1)])

    def view(_):
        found = next(views)
        if isinstance(found, Exception):
            raise found
        return found

    with Server(view) as running:
        with Listener(running) as listener:
            assert listener.message() is None
        with Listener(running) as listener:
            assert listener.message()


def test_a_server_that_stops_ends_its_streams():
    """It does not wait until the listeners have gone."""
    with Server(numbered, monotonic_s=monotonic_s) as running:
        listener = Listener(running)
        assert listener.message()
    with listener:
        while listener.message():
            pass


def test_head_does_not_wait():
    """The headers, and an end."""
    status, headers, body = 0, {}, b""
    with Server() as running:
        status, headers, body = running.ask("/board.stream", "HEAD")

    assert (status, body) == (200, b"")
    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-store"
