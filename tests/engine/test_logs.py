"""One line for what is known, a traceback for what is not."""

import logging
import sys

from aiokafka.errors import KafkaConnectionError

from stream.engine.logs import SAME_LINE_EVERY_S, LineFormatter, Once


def record(name: str, message: str, error: Exception | None = None) -> logging.LogRecord:
    info = None
    if error is not None:
        try:
            raise error
        except type(error):
            info = sys.exc_info()
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, (), info)


def test_a_lost_connection_is_one_line():
    """The layers it went through help nobody."""
    line = LineFormatter().format(record("aiokafka.conn", "lost\n  it", KafkaConnectionError("gone")))

    assert "\n" not in line
    assert line.endswith("error aiokafka: lost it")


def test_a_bug_keeps_its_traceback():
    """Whoever has to mend it needs it."""
    line = LineFormatter().format(record("callgauge", "oh", ZeroDivisionError("x")))

    assert "Traceback" in line
    assert "ZeroDivisionError" in line


def test_a_bug_is_told_without_what_its_exception_says():
    """A KeyError would name a call; kinds and places are enough, also of what caused it and of groups."""
    try:
        try:
            {}["canary-1"]
        except KeyError as cause:
            raise ExceptionGroup("canary-2", [ValueError("canary-3")]) from cause
    except ExceptionGroup as error:
        group = error
    own = LineFormatter().format(record("callgauge", "oh", group))
    library = logging.LogRecord(
        "asyncio", logging.ERROR, __file__, 1, "never retrieved: %r", (group,), (type(group), group, None)
    )
    text = own + LineFormatter().format(library)

    assert "canary" not in text.replace('{}["canary-1"]', "").replace(
        '"canary-2", [ValueError("canary-3")]', ""
    )
    assert all(kind in own for kind in ("KeyError", "ExceptionGroup", "ValueError", "which led to:"))
    assert "never retrieved" in text


def test_a_library_says_the_same_thing_once_in_a_while():
    """Our own lines always pass; a library's line passes again after the span."""
    now = [0.0]
    once = Once(lambda: now[0])

    assert once.filter(record("aiokafka", "cannot connect"))
    assert not once.filter(record("aiokafka", "cannot connect"))
    assert once.filter(record("aiokafka", "something else"))
    assert once.filter(record("callgauge", "mine"))
    assert once.filter(record("callgauge", "mine"))
    now[0] = SAME_LINE_EVERY_S
    assert once.filter(record("aiokafka", "cannot connect"))
