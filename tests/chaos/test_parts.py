"""The instruments of the chaos: a proxy that really disturbs, faults that are counted, figures that are written."""

import contextlib
import socket
import threading
from collections import Counter

import pytest

from tests.chaos import report
from tests.chaos.centre import wait_until
from tests.chaos.faults import KILL, ZOMBIE
from tests.chaos.proxy import HOST, Proxy
from tests.chaos.run import OUTCOMES, Account, what_did_not_happen
from tests.machine import free_port

SHORT_S = 0.5
PATIENCE_S = 60


def account(**more):
    """Return the figures of a run in which nothing was wrong."""
    figures = {
        "seed": 1,
        "seconds": 61,
        "happened": {KILL: 2},
        "recovery_s": {KILL: [1.0, 3.0]},
        "records": 1_000,
        "outcomes": dict.fromkeys(OUTCOMES, 5),
        "windows": 30,
        "values": 300,
        "differences": [],
        "violations": [],
        "ended": [],
        "drained_s": 0.5,
    }
    return Account(**figures | more)


@pytest.fixture
def line():
    """Lend a proxy before a server that sends back what it gets, and a way to connect."""
    server = socket.create_server((HOST, 0))

    def echo(connection):
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(1_000):
                connection.sendall(data)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    proxy = Proxy(free_port(), server.getsockname()[1])
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        stack.callback(proxy.close)
        yield (
            proxy,
            lambda: stack.enter_context(socket.create_connection((HOST, proxy.port), timeout=PATIENCE_S)),
        )


def said(connection, word=b"word"):
    """Send a word, and return what comes back; nothing when the connection was dropped."""
    try:
        connection.sendall(word)
        return connection.recv(1_000)
    except ConnectionError:
        return b""


def test_a_cut_ends_what_is_there_and_refuses_what_comes(line):
    """Until it is healed."""
    proxy, connect = line
    there = connect()
    assert said(there) == b"word"
    proxy.cut()
    assert said(there) == b""
    assert said(connect()) == b""
    assert proxy.cut_links == 1
    proxy.heal()
    assert said(connect()) == b"word"


def test_a_half_open_connection_stays_and_says_nothing_and_is_dropped_when_healed(line):
    """A client notices only by its own timeouts."""
    proxy, connect = line
    there = connect()
    assert said(there) == b"word"
    proxy.half_open()
    there.settimeout(SHORT_S)
    with pytest.raises(TimeoutError):
        said(there)
    wait_until("the word was swallowed", lambda: proxy.swallowed_bytes == len(b"word"), PATIENCE_S)
    proxy.heal()
    there.settimeout(PATIENCE_S)
    assert said(there) == b""
    assert said(connect()) == b"word"


def test_a_slow_line_still_carries_everything(line):
    """What went through it is counted."""
    proxy, connect = line
    proxy.slow()
    assert said(connect()) == b"word"
    assert proxy.slow_bytes == 2 * len(b"word")


def test_a_fault_that_did_not_happen_fails_the_run():
    """By its name; and so does a feed without late events, duplicates and poison."""
    assert what_did_not_happen(Counter({KILL: 2}), account()) == []
    assert what_did_not_happen(Counter({KILL: 2, ZOMBIE: 1}), account()) == [
        f"{ZOMBIE}: happened 0 times of 1"
    ]
    without = dict.fromkeys(OUTCOMES, 5) | {"late": 0}
    assert what_did_not_happen(Counter(), account(outcomes=without)) == ["no record was late"]


def test_the_figures_are_written_between_their_marks(tmp_path, monkeypatch):
    """And written again in their place."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{report.BEGIN}\n{report.END}\n\nafter\n")
    monkeypatch.setattr(report, "PAGE", page)
    counted = {"runs": [{"seed": 1, "kills": 4, "sent": 1_000, "counted": 1_400}]}
    report.write([account()], counted)
    first = page.read_text()
    report.write([account()], counted)

    assert page.read_text() == first
    assert "**0 differing**" in first
    assert f"| {KILL} | 2 | 1.0 s | 3.0 s |" in first
    assert "| 1,000 | 1,400 | **+40.0%** |" in first
    assert first.startswith("before\n")
    assert first.endswith("after\n")
