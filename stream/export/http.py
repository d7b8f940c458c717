"""The one port: page, board, metrics and probes.

A handler takes the snapshot on the event loop, where nothing changes it meanwhile; /metrics is then written in
small steps between which the processing goes on, and the board in a thread. One text is made at a time; all pages
that poll within ``BOARD_MADE_FOR_S`` get the same board, and all scrapes for a while the same metrics, so the cost
does not grow with the number of screens and scrapers.
"""

import asyncio
import errno
import ipaddress
import logging
import os
import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Final

from aiohttp import web, web_response
from prometheus_client.exposition import choose_encoder, gzip_accepted

from stream.export.board import STALE_AFTER_MS, board_json
from stream.export.connection import CLOSE_WITHIN_S, Connection, Door, Patience
from stream.export.metrics import DEFAULT_ALERTS, Build
from stream.export.page import Page, load_page
from stream.export.source import Source
from stream.export.steps import in_steps
from stream.export.stream import BoardStream
from stream.export.texts import MetricsTexts, compressed
from stream.settings import Alerts

BOARD_MADE_FOR_S: Final = 0.5  # half of the page's interval
BOARD_BEHIND_FOR_S: Final = 1.0  # the page's interval: while a backlog is read, the fold comes first
BOARD_REST: Final = 4  # and at least four times as long as it took to make: a fifth of a core at most
LOOPBACK_NAME: Final = "localhost"

_HEADERS: Final = {
    "Server": "callgauge",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"

DEFAULT_PATIENCE: Final = Patience()
_logger = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BindError(Exception):
    """The address cannot be listened on; the text is one line that says what to do."""


class RemoteBindError(BindError):
    """The address is not a loopback one and nobody allowed that."""


class PortTakenError(BindError):
    """Another program listens there."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where it listens, and how to stop it."""

    address: tuple[str, int]
    listening: asyncio.Server
    runner: web.AppRunner

    async def close(self) -> None:
        """Stop listening, and end what is open."""
        self.listening.close()
        await self.runner.cleanup()


async def serve(
    source: Source,
    host: str,
    port: int,
    *,
    monotonic_s: Callable[[], float],
    allow_remote: bool = False,
    version: str | None = None,
    stale_after_ms: int = STALE_AFTER_MS,
    alerts: Alerts = DEFAULT_ALERTS,
    patience: Patience = DEFAULT_PATIENCE,
) -> Served:
    """Listen on ``host:port`` (port 0: any free one) until closed; ``alerts`` is exported. Raises BindError."""
    host = _checked_host(host, allow_remote=allow_remote)
    build = Build(version or metadata.version("callgauge"), platform.python_version())
    app = make_app(source, build, monotonic_s=monotonic_s, stale_after_ms=stale_after_ms, alerts=alerts)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_WITHIN_S)
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - set up
    door = Door(runner.server, _HEADERS | {"Content-Security-Policy": _DATA_POLICY}, patience)
    try:
        listening = await asyncio.get_running_loop().create_server(door, host, port)
    except OSError as error:
        await runner.cleanup()
        raise _bind_error(host, port, error) from error
    bound = listening.sockets[0].getsockname()
    return Served((bound[0], bound[1]), listening, runner)


def make_app(
    source: Source,
    build: Build,
    *,
    monotonic_s: Callable[[], float],
    stale_after_ms: int = STALE_AFTER_MS,
    alerts: Alerts = DEFAULT_ALERTS,
) -> web.Application:
    """Return the application, to be served here or within another one."""
    # aiohttp answers malformed requests itself, past every hook, with its version and Python's in the Server
    # header.
    web_response.SERVER_SOFTWARE = _HEADERS["Server"]  # type: ignore[attr-defined]
    site = _Site(source, build, monotonic_s, stale_after_ms, alerts)
    app = web.Application(middlewares=[_plain], client_max_size=0)
    app.on_response_prepare.append(_secure)
    app.router.add_get("/", site.page)
    app.router.add_get("/board.json", site.board)
    app.router.add_get("/board.stream", site.stream.listen)
    app.on_shutdown.append(site.stream.close)
    app.router.add_get("/metrics", site.metrics)
    app.router.add_get("/healthz", site.health)
    app.router.add_get("/readyz", site.readiness)
    return app


class _Site:
    def __init__(
        self,
        source: Source,
        build: Build,
        monotonic_s: Callable[[], float],
        stale_after_ms: int,
        alerts: Alerts,
    ) -> None:
        self._source = source
        self._build = build
        self._monotonic_s = monotonic_s
        self._stale_after_ms = stale_after_ms
        self._page: Page = load_page()
        self._making = asyncio.Lock()
        self._metrics = MetricsTexts(source, build, monotonic_s, alerts)
        self._board: bytes = b""
        self._board_until_s = float("-inf")
        self.stream = BoardStream(self._latest_board)

    async def page(self, _: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._page.policy}
        return web.Response(body=self._page.body, content_type="text/html", charset="utf-8", headers=headers)

    async def board(self, request: web.Request) -> web.Response:
        body, zipped = await self._latest_board(), gzip_accepted(request.headers.get("Accept-Encoding", ""))
        body = await compressed(body) if zipped else body
        return _data(body, "application/json", zipped=zipped, vary="Accept-Encoding")

    async def _latest_board(self) -> bytes:
        async with self._making:
            if self._monotonic_s() >= self._board_until_s:
                started_s = self._monotonic_s()
                started_s += await in_steps(self._source.approach(), self._monotonic_s)
                snapshot = self._source.snapshot()
                make = partial(
                    board_json, snapshot, version=self._build.version, stale_after_ms=self._stale_after_ms
                )
                self._board = await asyncio.to_thread(make)
                made_s = self._monotonic_s()
                holds_s = BOARD_BEHIND_FOR_S if snapshot.behind else BOARD_MADE_FOR_S
                self._board_until_s = made_s + max(holds_s, BOARD_REST * (made_s - started_s))
            return self._board

    async def metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(",".join(request.headers.getall("Accept", [])))
        zipped = gzip_accepted(request.headers.get("Accept-Encoding", ""))
        async with self._making:
            body = await self._metrics.get(encoder, content_type, zipped=zipped)
        return _data(body, content_type, zipped=zipped, vary="Accept, Accept-Encoding")

    async def health(self, _: web.Request) -> web.Response:
        status = self._source.status()
        return _probe("healthy", status.unhealthy_reason, good=status.healthy)

    async def readiness(self, _: web.Request) -> web.Response:
        status = self._source.status()
        return _probe("ready", status.not_ready_reason, good=status.ready)


def _data(body: bytes, content_type: str, *, zipped: bool, vary: str) -> web.Response:
    headers = {"Content-Type": content_type, "Vary": vary}
    return web.Response(body=body, headers=headers | ({"Content-Encoding": "gzip"} if zipped else {}))


def _probe(good_text: str, reason: str, *, good: bool) -> web.Response:
    return _line(200, good_text) if good else _line(503, reason or f"not {good_text}")


def _line(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=" ".join(text.split()) + "\n")


@web.middleware
async def _plain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with one line of text that tells nothing about the inside."""
    if isinstance(request.protocol, Connection):
        request.protocol.request_is_complete()
    if request.body_exists:
        response = _line(413, "413: requests have no body here")
        response.force_close()
        return response
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = _line(error.status, f"{error.status}: {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        _logger.exception("could not answer %s", request.path)
        return _line(500, "500: could not be made, see the log")


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.headers.setdefault("Content-Security-Policy", _DATA_POLICY)


def _checked_host(host: str, *, allow_remote: bool) -> str:
    """Return the address to bind: ``localhost`` is 127.0.0.1, whatever the resolver says of it."""
    if host == LOOPBACK_NAME:
        return "127.0.0.1"
    if allow_remote or _is_loopback(host):
        return host
    raise RemoteBindError(
        f"{host or 'every address'} can be reached from other machines and the pages have no password: "
        "to listen there, add --allow-remote (http.allow_remote = true); otherwise use 127.0.0.1"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind_error(host: str, port: int, error: OSError) -> BindError:
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(
            f"port {port} of {host} is in use: stop the program there, or choose another port"
        )
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return BindError(f"cannot listen on {host}:{port}: {reason}")
