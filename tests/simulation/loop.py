"""An event loop without a clock and without a machine: the world says what time it is and who runs next.

Each simulated process has a loop of its own, so that a process can be stopped between any two of its steps (SIGKILL)
or left standing (SIGSTOP) while the others go on. Inside a process the order of the steps is asyncio's.
"""

import asyncio
import contextlib
import inspect
import weakref
from asyncio.events import (
    _set_running_loop,  # for loops that are none of asyncio's own, there is no other way
)
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any


class KilledError(BaseException):
    """The process does not exist any more. No ``except Exception`` holds it up."""


class ProcessLoop(asyncio.AbstractEventLoop):
    """The event loop of one simulated process."""

    def __init__(self, now: Callable[[], float], at: Callable[[float, asyncio.Handle], None]) -> None:
        self.ready: deque[asyncio.Handle] = deque()
        self.dead = False
        self._now, self._at = now, at
        self._handler: Any = None
        self._tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    def run_one(self) -> None:
        """Run the next step."""
        handle = self.ready.popleft()
        if not handle.cancelled():
            _set_running_loop(self)
            try:
                handle._run()
            finally:
                _set_running_loop(None)

    def kill(self) -> None:
        """End everything at once; nothing of this process runs again."""
        self.dead = True
        for task in list(self._tasks):
            if not task.done():
                task._log_destroy_pending = False
                with contextlib.suppress(BaseException), running(self):
                    _close(task.get_coro())
        self.ready.clear()

    # --- what asyncio asks of a loop ------------------------------------------------------------------------

    def time(self) -> float:
        """Return the world's time."""
        return self._now()

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        """Run at the next opportunity."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self.dead:
            self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Run at a moment of the world's time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.dead:
            self._at(when, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Run after some time."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task of this loop."""
        task = asyncio.Task(coro, loop=self, **options)
        self._tasks.add(task)
        return task

    def run_in_executor(self, _: Any, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Do the work of another thread at once; others may run before its result is heard of."""
        future, result = self.create_future(), function(*args)
        self.call_soon(lambda: None if future.done() else future.set_result(result))
        return future

    def get_debug(self) -> bool:
        """No."""
        return False

    def is_running(self) -> bool:
        """Yes, until it is killed."""
        return not self.dead

    def is_closed(self) -> bool:
        """Say whether it was killed."""
        return self.dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hand on what nobody looked at, unless it is the kill itself."""
        if (
            not self.dead
            and self._handler is not None
            and not isinstance(context.get("exception"), KilledError)
        ):
            self._handler(self, context)

    def set_exception_handler(self, handler: Any) -> None:
        """Call this for what nobody looked at."""
        self._handler = handler

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: a cancelled handle is passed over when its time comes."""


def _close(work: Any) -> None:
    """End a coroutine at once, not whenever the garbage is collected, and one that it was given and never began."""
    frame = work.cr_frame
    given = [value for value in frame.f_locals.values() if inspect.iscoroutine(value)] if frame else []
    work.close()
    for other in given:
        if inspect.getcoroutinestate(other) == inspect.CORO_CREATED:
            other.close()


@contextlib.contextmanager
def running(loop: ProcessLoop) -> Iterator[None]:
    """Make it the loop that asyncio's functions find."""
    _set_running_loop(loop)
    try:
        yield
    finally:
        _set_running_loop(None)
