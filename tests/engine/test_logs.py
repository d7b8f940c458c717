"""One line for what is known, a traceback for what is not."""

import logging
import sys

from aiokafka.errors import KafkaConnectionError

from stream.engine.logs import LineFormatter


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
