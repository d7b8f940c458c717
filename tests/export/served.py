"""A served application to ask over a real socket."""

import asyncio
import http.client
import socket
import threading

from stream.export import serve
from tests.export.centre import busy_afternoon, stopped


class Fake:
    """A source that gives what it is told to, and counts how often it is asked."""

    def __init__(self, view):
        self.view = view
        self.asked = 0

    def snapshot(self):
        """Give the view, or fail with it."""
        self.asked += 1
        if isinstance(self.view, Exception):
            raise self.view
        return self.view(self.asked) if callable(self.view) else self.view

    status = snapshot  # every snapshot is one

    def approach(self):
        """Have nothing to do beforehand."""
        return iter(())


class Server:
    """A served application in a thread of its own, and a client that speaks plain HTTP."""

    def __init__(self, view=None, monotonic_s=stopped, port=0, **options):
        self.source = Fake(busy_afternoon() if view is None else view)
        self._port = port
        self._options = options | {"monotonic_s": monotonic_s, "version": "0.1.0"}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        start = serve(self.source, "127.0.0.1", self._port, **self._options)
        self.served = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.served.close(), self._loop).result(10)
        asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def ask(self, path, method="GET", body=None, **headers):
        """Return status, headers and body of a request; `_` in a header's name stands for `-`."""
        connection = http.client.HTTPConnection(*self.served.address, timeout=10)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=named)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def ask_raw(self, request):
        """Return everything that is answered to some bytes."""
        with socket.create_connection(self.served.address, timeout=10) as connection:
            connection.sendall(request)
            return connection.makefile("rb").read()
