"""The board as server-sent events: /board.stream.

Theory of operation. While somebody listens, one task takes the newest board, makes one message of it (plain, and
as a compressed block) and wakes all listeners; each then writes those same bytes to its own connection. A write
ends when the connection has taken it, so a listener that is slow waits in its own handler, and finds the newest
message when it comes back: what it missed is dropped, since a board replaces the one before it. What waits for
it in this process is one message and what the transport buffers (some 64 KiB). One that takes nothing for
``TAKEN_WITHIN_S`` is cut off. Nothing here is ever waited for by the fold.

The compressed blocks are parts of a gzip stream that never ends. Each is made alone and refers to nothing before
it, so every listener can be given the same bytes, whenever it came.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client.exposition import gzip_accepted

from stream.export.texts import GZIP_LEVEL

SEND_EVERY_S: Final = 0.5  # the worker publishes as often: a change is on the page within a second of it
# A send costs some 60 us: at most a fortieth of a core. Beyond 200 listeners messages come less often.
SENDS_PER_S_MAX: Final = 400
# Then messages are a second apart, within the page's patience. A centre has a wall and some dozens of desks.
LISTENERS_MAX: Final = 400
TAKEN_WITHIN_S: Final = 10.0  # TCP sends again for longer, but a page polls after two seconds of silence
RETRY_MS: Final = 2_000
PACKED_AT_ONCE_BYTES_MAX: Final = 65_536  # some 20 queues, and a millisecond

_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, no time, any system
_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Vary": "Accept-Encoding",
    "X-Accel-Buffering": "no",  # nginx would collect messages
}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Message:
    board: bytes
    plain: bytes
    block: bytes


class BoardStream:
    """Everybody who listens; ``latest`` gives the newest board, made at most some moments ago."""

    def __init__(self, latest: Callable[[], Awaitable[bytes]]) -> None:
        self._latest = latest
        self._listeners = 0
        self._message: _Message | None = None
        self._changed = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """Answer with every board from now on, until either side ends it; 503 when too many listen already."""
        if self._listeners >= LISTENERS_MAX or self._closed:
            raise web.HTTPServiceUnavailable
        compressed = gzip_accepted(request.headers.get("Accept-Encoding", ""))
        response = web.StreamResponse(headers=_HEADERS)
        if compressed:
            response.headers["Content-Encoding"] = "gzip"
        self._listeners += 1
        try:
            await response.prepare(request)
            if request.method != "HEAD":
                await self._write_all(response, compressed=compressed)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # it went away
        finally:
            self._listeners -= 1
        return response

    async def close(self, _: web.Application | None = None) -> None:
        """End every stream."""
        self._closed = True
        if self._sending is not None:
            self._sending.cancel()
        self._wake()

    async def _write_all(self, response: web.StreamResponse, *, compressed: bool) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        first = f"retry: {RETRY_MS}\n\n".encode()
        await response.write(_GZIP_HEAD + _block(first) if compressed else first)
        seen: _Message | None = None
        while True:
            if self._message is seen and not self._closed:
                await self._changed.wait()
            message = self._message
            if message is None or message is seen:
                return  # nobody makes any more
            async with asyncio.timeout(TAKEN_WITHIN_S):
                await response.write(message.block if compressed else message.plain)
            seen = message

    async def _send(self) -> None:
        """Make and announce messages while somebody listens."""
        try:
            while self._listeners:
                board = await self._latest()
                if self._message is None or board is not self._message.board:
                    # Where the loop is busy, each turn of it that is waited for costs more than packing a small board.
                    large = len(board) > PACKED_AT_ONCE_BYTES_MAX
                    self._message = await asyncio.to_thread(_message, board) if large else _message(board)
                    self._wake()
                await asyncio.sleep(max(SEND_EVERY_S, self._listeners / SENDS_PER_S_MAX))
        except Exception:
            _logger.exception("could not make the board of /board.stream")
        finally:
            self._message = None
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _message(board: bytes) -> _Message:
    plain = b"data: " + board + b"\n\n"
    return _Message(board, plain, _block(plain))


def _block(data: bytes) -> bytes:
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)
