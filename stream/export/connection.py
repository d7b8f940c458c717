"""One client at the port, and how much of it is put up with.

aiohttp bounds what a request holds, and closes a connection that says nothing. It waits without end for the
rest of half a request, and for a client that does not read its answer; it takes as many connections as come;
and it logs a traceback, with what the client sent, for each request that is no HTTP. Here each of these has
a bound, and a client's mistake is the client's own: it is answered in a line and not logged.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from aiohttp import web

# Longer request lines and header fields are answered with 400; Apache and nginx allow 8 KiB, and nothing here
# takes arguments. A request with a body is answered with 413.
REQUEST_LINE_BYTES_MAX: Final = 2_048
HEADER_FIELD_BYTES_MAX: Final = 8_190
HEADERS_MAX: Final = 64
KEEPALIVE_S: Final = 75.0  # nginx's default; Prometheus comes back within it
CLOSE_WITHIN_S: Final = 1.0
# Every listener of /board.stream (400), and room for scrapers, probes and pages that ask. More are told to come
# back: what they are sent lies in memory until they have read it.
CONNECTIONS_MAX: Final = 512
# From the first byte of a request, or from the connection, to the end of the request. Apache gives 20 s, and
# what is asked for here fits one packet.
REQUEST_WITHIN_S: Final = 10.0
# For a whole answer. Prometheus gives up after 10 s; nginx waits a minute between two reads.
ANSWER_READ_WITHIN_S: Final = 30.0
_BAD: Final = 400
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Length: 26\r\n\r\n503: too many connections\n"
)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is put up with; tests have less of it."""

    connections: int = CONNECTIONS_MAX
    request_s: float = REQUEST_WITHIN_S
    answer_s: float = ANSWER_READ_WITHIN_S


class Door:
    """Makes a connection of each client that comes, for an event loop's ``create_server``."""

    def __init__(self, server: web.Server, headers: Mapping[str, str], patience: Patience) -> None:
        self.server = server
        self.headers = headers
        self.patience = patience
        self.open: set[Connection] = set()

    def __call__(self) -> "Connection":
        """Make the next one."""
        return Connection(self)


class Connection(web.RequestHandler):
    """A connection from its first byte to its last."""

    def __init__(self, door: Door) -> None:
        super().__init__(
            door.server,
            loop=asyncio.get_running_loop(),
            access_log=cast("Any", None),
            logger=cast("Any", _logger),
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=CLOSE_WITHIN_S,
            max_line_size=REQUEST_LINE_BYTES_MAX,
            max_field_size=HEADER_FIELD_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )
        self._door = door
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the client in, unless too many are in already."""
        super().connection_made(transport)
        if len(self._door.open) >= self._door.patience.connections:
            cast("asyncio.Transport", transport).write(_FULL)
            self.force_close()
            return
        self._door.open.add(self)
        self._expect_request()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the client."""
        self._door.open.discard(self)
        self.request_is_complete()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Give what has begun a time to end."""
        self._expect_request()
        super().data_received(data)

    def _expect_request(self) -> None:
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._door.patience.request_s, self.force_close)

    def request_is_complete(self) -> None:
        """Stop the clock: the head of the request is here, and nobody waits for more."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; cut the connection of a client that does not read it."""
        try:
            async with asyncio.timeout(self._door.patience.answer_s):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()
            return resp, True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats what the client sent
    ) -> web.StreamResponse:
        """Answer what never reached the application, in one line."""
        self.request_is_complete()
        if status != _BAD:
            _logger.error("could not answer a request", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer was sent already")
        text = "400: Bad Request\n" if status == _BAD else "500: could not be made, see the log\n"
        response = web.Response(status=status, text=text, headers=self._door.headers)
        response.force_close()
        return response
