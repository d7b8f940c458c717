"""Logging: short lines on stderr, and nothing of what is in a record.

Faust, mode and the Kafka clients report a lost connection with the traceback of every layer it went through.
Here a known error of the connection is one line; a traceback stays for what nobody expected, without the words
of the exception: a KeyError of a bug would name a call, and logs go further than the records may. Its kind and
its places in the code are what mends it.
"""

import asyncio
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Final

from aiokafka.errors import KafkaError as ClientError
from kafka.errors import KafkaError as AdminError

from stream.clock import monotonic_s

LIBRARIES: Final = (
    "faust",
    "mode",
    "aiokafka",
    "kafka",
    "asyncio",
    "stream",
)  # the last: what is derived from Faust
_CONNECTION_ERRORS: Final = (ClientError, AdminError, OSError, asyncio.TimeoutError, asyncio.CancelledError)
_LINE_CHARACTERS_MAX: Final = 400
_NAME: Final = "callgauge"
SAME_LINE_EVERY_S: Final = 30.0
_LINES_KNOWN_MAX: Final = 1_000  # templates, not texts: far more than there are


class LineFormatter(logging.Formatter):
    """One line a message, and a traceback only for what is not an error of the connection."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Shorten what libraries say; keep tracebacks of bugs."""
        own = record.name.startswith(_NAME)
        error = record.exc_info[1] if record.exc_info else None
        text = record.getMessage()
        if not own:
            if error is not None and not isinstance(error, _CONNECTION_ERRORS):
                text = str(record.msg)  # with its arguments it may hold the exception's words
            text = " ".join(text.split())[:_LINE_CHARACTERS_MAX]
        line = f"{self.formatTime(record)} {record.levelname.lower()} {record.name.partition('.')[0]}: {text}"
        if error is None or isinstance(error, _CONNECTION_ERRORS):
            return line
        return f"{line}\n{wordless(error)}"


def wordless(error: BaseException) -> str:
    """Return the traceback of an exception and of what caused it, without what they say."""
    return "\n".join(_parts(error, set())).rstrip("\n")


def _parts(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _parts(before, seen)
        yield "which led to:"
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _parts(part, seen)


class Once(logging.Filter):
    """Lets a library say the same thing once in a while: without Kafka its client says it 300 times a second."""

    def __init__(self, now_s: Callable[[], float] = monotonic_s) -> None:
        super().__init__()
        self._now_s = now_s
        self._said_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Let pass what is our own, and what was not said within the last while."""
        if record.name.startswith(_NAME):
            return True
        key, now_s = (record.name, str(record.msg)), self._now_s()
        last_s = self._said_s.get(key)
        if last_s is not None and now_s - last_s < SAME_LINE_EVERY_S:
            return False
        if len(self._said_s) >= _LINES_KNOWN_MAX:
            self._said_s.clear()
        self._said_s[key] = now_s
        return True


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to stderr unless the program has its own handlers; libraries from WARNING on.

    The root logger must never be at DEBUG: that alone costs a sixth of the throughput of Faust.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LineFormatter())
        handler.addFilter(Once())
        root.addHandler(handler)
    root.setLevel(max(level, logging.INFO))
    logging.getLogger(_NAME).setLevel(level)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # its retries are told by our own line
    # A rebalance, or a loop that is busy for a moment, is nothing to warn of.
    for name in ("mode", "aiokafka.consumer.group_coordinator"):
        logging.getLogger(name).setLevel(logging.ERROR)
