"""What a recovery that fails does to the process."""

import asyncio

import pytest

from stream.engine.engine import Engine
from stream.engine.engine_settings import EngineSettings


@pytest.mark.parametrize("stopping", [False, True])
def test_a_recovery_that_fails_ends_the_process_unless_it_is_stopping_anyway(stopping):
    """A stop closes the thread that reads, whose loop then takes no more calls: that is no bug."""

    async def run() -> None:
        engine = Engine(EngineSettings())
        engine.stopping = stopping

        async def restore(_) -> None:
            raise RuntimeError("Event loop is closed")

        engine._restore = restore
        recovering = asyncio.ensure_future(engine._recoverer(engine.calls)())
        await asyncio.wait([recovering], timeout=0.1)

        assert recovering.done() is stopping
        assert (engine.failure is None) is stopping
        recovering.cancel()

    asyncio.run(run())
