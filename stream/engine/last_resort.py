"""What ends the process when nothing else would: a loop that is blocked, an error that nobody waits for.

Python only prints the error of a thread that nobody joins and of a callback or a task that nobody awaits, and the
program goes on without it. And a loop that does not turn cannot look at itself.
"""

import asyncio
import contextlib
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

from aiokafka.errors import KafkaError as ClientError
from aiokafka.errors import ProducerFenced

log = logging.getLogger("callgauge")

EXIT_FAILED: Final = 1
TICK_S: Final = 1.0
# Lost connections; whoever used them hears of it too, and tries again or ends the process.
HARMLESS: Final = (ClientError, OSError, asyncio.TimeoutError, asyncio.CancelledError)


class LoopGuard:
    """A thread that ends the process when the event loop has not turned for too long.

    It counts its own ticks and not a clock: after SIGCONT the clock has moved on, but the loop had no turn to miss.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
        self._loop = loop
        self._limit_ticks = max(2, round(limit_s / TICK_S))
        self._ended = threading.Event()
        self._turned = True
        self._thread = threading.Thread(target=self._watch, name="loop-guard", daemon=True)

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Watch no longer."""
        self._ended.set()

    def _turn(self) -> None:
        self._turned = True

    def _watch(self) -> None:
        missed = 0
        while not self._ended.wait(TICK_S):
            missed = 0 if self._turned else missed + 1
            if missed >= self._limit_ticks:
                self._end(missed * TICK_S)
            if self._turned:
                self._turned = False
                with contextlib.suppress(RuntimeError):  # closed in the meantime
                    self._loop.call_soon_threadsafe(self._turn)

    def _end(self, blocked_s: float) -> None:
        log.critical("the event loop has been blocked for %.0f s, by:", blocked_s)
        faulthandler.dump_traceback(sys.stderr)  # files and lines of every thread, no values
        os._exit(EXIT_FAILED)


def leave_within(limit_s: float, line: str = "") -> None:
    """End the process with code 1, and with a line if there is one, unless it has ended by itself by then.

    A thread that hangs keeps an interpreter alive that only wants to end, and so does a task that waits for it.
    """

    def leave() -> None:
        if line:
            log.critical("%s", line)
        os._exit(EXIT_FAILED)

    timer = threading.Timer(limit_s, leave)
    timer.daemon = True
    timer.start()


@contextlib.contextmanager
def nothing_unheard(loop: asyncio.AbstractEventLoop, fail: Callable[[BaseException], None]) -> Iterator[None]:
    """Call ``fail`` for errors that Python would only print: of threads, callbacks and tasks nobody awaits."""

    def of_thread(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value or RuntimeError("a thread ended without saying why")
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending already
            loop.call_soon_threadsafe(fail, error)

    before, threading.excepthook = threading.excepthook, of_thread
    loop.set_exception_handler(unheard(loop, fail))
    try:
        yield
    finally:
        threading.excepthook = before
        loop.set_exception_handler(None)


def unheard(
    main: asyncio.AbstractEventLoop, fail: Callable[[BaseException], None]
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Return an exception handler for a loop of any thread; ``fail`` is called on the main loop.

    asyncio's own prints what the callback or the task was about, with its arguments: records, for what we know.
    """

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ProducerFenced):
            return  # aiokafka keeps it in places that nobody asks; who writes gets it too, and says so
        if error is None or isinstance(error, HARMLESS):
            what = f" ({type(error).__name__})" if error is not None else ""
            log.warning("asyncio: %s%s", context.get("message", "an error without a message"), what)
            return
        with contextlib.suppress(RuntimeError):
            main.call_soon_threadsafe(fail, error)

    return handle
