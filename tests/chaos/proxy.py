"""A TCP proxy between the workers and the broker, whose connections can be cut, frozen and slowed down."""

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field

HOST = "127.0.0.1"
PIECE_BYTES = 65_536
SLOW_DELAY_S = 0.1
SLOW_BYTES_PER_S = 375_000  # 3,000 kbit/s, as Kafka's own fault injector has it


@dataclass(eq=False)
class Link:
    """One connection: both of its ends, and whether it is a black hole now."""

    ends: list[asyncio.StreamWriter] = field(default_factory=list)
    dead: bool = False

    def abort(self) -> None:
        """Drop both ends without a farewell."""
        for end in self.ends:
            end.transport.abort()


class Proxy:
    """Forwards a port to another one, in a thread of its own, until ``close``.

    ``cut`` ends every connection and refuses new ones until ``heal``. ``half_open`` lets every connection stay, and new
    ones come, without a byte getting through; ``heal`` then drops them, as a router does that has lost its table.
    ``slow`` delays each piece and bounds the rate until ``heal``.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self.port, self._target_port = port, target_port
        self.cut_links = self.frozen_links = self.swallowed_bytes = self.slow_bytes = 0
        self._links: set[Link] = set()
        self._refusing = self._black_hole = self._slow = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, HOST, port), self._loop
        ).result()

    @property
    def links(self) -> int:
        """How many connections there are now."""
        return len(self._links)

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        self._in_loop(self._cut)

    def half_open(self) -> None:
        """Let no byte through any more, and tell nobody."""
        self._in_loop(self._freeze)

    def slow(self) -> None:
        """Be a bad line."""
        self._slow = True

    def heal(self) -> None:
        """Be a good line again; what was frozen is dropped."""
        self._in_loop(self._heal)

    def close(self) -> None:
        """End everything."""
        self._in_loop(self._server.close)
        self._in_loop(self._cut)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _in_loop(self, function: object) -> None:
        done = threading.Event()

        def call() -> None:
            function()  # type: ignore[operator]
            done.set()

        self._loop.call_soon_threadsafe(call)
        done.wait()

    def _cut(self) -> None:
        self._refusing = True
        self.cut_links += len(self._links)
        for link in self._links:
            link.abort()

    def _freeze(self) -> None:
        self._black_hole = True
        self.frozen_links += len(self._links)
        for link in self._links:
            link.dead = True

    def _heal(self) -> None:
        self._refusing = self._black_hole = self._slow = False
        for link in self._links:
            if link.dead:
                link.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link([writer], dead=self._black_hole)
        if self._refusing:
            link.abort()
            return
        self._links.add(link)
        try:
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection(HOST, self._target_port)
                link.ends.append(back)
                await asyncio.gather(self._pump(link, reader, back), self._pump(link, there, writer))
        finally:
            self._links.discard(link)
            link.abort()

    async def _pump(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(PIECE_BYTES):
                if link.dead:
                    self.swallowed_bytes += len(data)
                    continue
                if self._slow:
                    self.slow_bytes += len(data)
                    await asyncio.sleep(SLOW_DELAY_S + len(data) / SLOW_BYTES_PER_S)
                sink.write(data)
                await sink.drain()
        link.abort()
