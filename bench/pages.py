"""Two hundred open wall pages, as the worker sees them: listeners of /board.stream that read what they get.

Run as a process of its own (`python -m bench.pages PORT COUNT`): it must not be slowed by what it measures, nor be
counted with it.
The last listener takes plain text, and notes how long after its snapshot each message was read.
"""

import re
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from bench.child import BenchError, Child, python
from bench.live import live
from bench.setting import Setting
from bench.worker import Worker
from stream import clock

PAGES = 200
WATCHED_S = 20.0
OPEN_WITHIN_S = 60.0
_BYTES = 1 << 20
_TAKEN_AT = re.compile(rb'"taken_at":"([^"]+)"')


@contextmanager
def open_pages(setting: Setting, worker: Worker, ages_s: list[float] | None = None) -> Iterator[None]:
    """Let 200 pages listen to a worker meanwhile; then note the ages of the messages that one of them got."""
    name = setting.fresh("pages")
    with Child(python("bench.pages", str(worker.port), str(PAGES)), setting.folder, name) as pages:
        pages.watch(lambda: bool(pages.output.read_text()), OPEN_WITHIN_S)
        yield
        if pages.process.poll() is not None:
            raise BenchError(f"{name} ended: {pages.said()}")
        pages.stop()
        if ages_s is not None:
            ages_s += [float(line) for line in pages.output.read_text().split()]


def run(setting: Setting) -> list[float]:
    """Return the ages of the messages of a worker that keeps up with 1,000 events/s."""
    ages_s: list[float] = []
    with live(setting, 10) as (_, worker), open_pages(setting, worker, ages_s):
        time.sleep(WATCHED_S)
    return ages_s


def main(port: int, count: int) -> None:
    """Open the pages, and read until told to stop."""
    selector = selectors.DefaultSelector()
    noted = count - 1  # the first one has messages to read before all are open
    for number in range(count):
        page = socket.create_connection(("127.0.0.1", port))
        encoding = "" if number == noted else "Accept-Encoding: gzip\r\n"
        page.sendall(f"GET /board.stream HTTP/1.1\r\nHost: a\r\n{encoding}\r\n".encode())
        page.setblocking(False)
        selector.register(page, selectors.EVENT_READ, number)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - only these were registered
            data = key.fileobj.recv(_BYTES)
            if not data:
                sys.exit("the worker ended a stream")
            if key.data == noted and (found := _TAKEN_AT.search(data)):
                taken_ms = datetime.fromisoformat(found[1].decode()).timestamp() * 1_000
                print((clock.wall_ms() - taken_ms) / 1_000, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main(int(sys.argv[1]), int(sys.argv[2]))
