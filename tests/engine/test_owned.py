"""Deliveries that several wait for."""

import asyncio

import pytest

from stream.engine.owned import all_confirmed


def test_who_gives_up_waiting_cancels_no_delivery_that_others_wait_for():
    """As a checkpoint does when partitions are revoked and Kafka is slow; a cancelled agent would be gone."""

    async def run() -> None:
        delivery = asyncio.get_running_loop().create_future()
        agent = asyncio.ensure_future(all_confirmed([delivery]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(all_confirmed([delivery]), 0.01)
        delivery.set_result(None)
        await agent

    asyncio.run(run())
