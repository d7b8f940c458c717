"""What a record that cannot be handed to the producer does to the process."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.exceptions import ProducerSendError

from stream.engine.engine import Engine
from stream.engine.engine_settings import EngineSettings


async def sent(cause: Exception, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Send a record that is refused for some reason, as Faust tells it."""

    async def send(*_: object) -> None:
        raise ProducerSendError("Error while sending") from cause

    engine = Engine(EngineSettings())
    monkeypatch.setattr(type(engine.app), "producer", SimpleNamespace(send=send))
    work = asyncio.ensure_future(engine.guard(engine._send("topic", b"key", b"value", 0)))
    await asyncio.wait([work], timeout=0.1)
    work.cancel()
    return engine


def test_a_producer_that_gets_nothing_rid_for_too_long_is_a_failure_of_kafka(monkeypatch, caplog):
    """One line, without a traceback: nobody has to look for a bug."""
    engine = asyncio.run(sent(KafkaTimeoutError(), monkeypatch))

    assert isinstance(engine.failure, KafkaTimeoutError)
    assert [(record.getMessage()[:40], record.exc_info) for record in caplog.records] == [
        ("Kafka failed for too long (KafkaTimeoutE", None)
    ]


def test_any_other_reason_is_a_bug(monkeypatch, caplog):
    """Its kind is told, and where it happened."""
    engine = asyncio.run(sent(ValueError("of a call"), monkeypatch))

    assert isinstance(engine.failure, ProducerSendError)
    assert caplog.records[0].exc_info is not None
