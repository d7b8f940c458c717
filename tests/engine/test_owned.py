"""Deliveries that several wait for, and when to publish."""

import asyncio

import pytest

from stream.engine.owned import BACKLOG_PUBLISH_INTERVAL_S, Owned, all_confirmed
from stream.engine.tp import Place


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


def test_a_backlog_is_published_less_often_and_its_end_at_once():
    """The first word comes at once, and live nothing waits."""
    owned = Owned(Place("call-events", 0), None, 0)
    ticks = [
        (0.0, True),
        (0.5, True),
        (BACKLOG_PUBLISH_INTERVAL_S, True),
        (BACKLOG_PUBLISH_INTERVAL_S + 0.5, False),
        (BACKLOG_PUBLISH_INTERVAL_S + 1.0, False),
        (BACKLOG_PUBLISH_INTERVAL_S + 1.5, True),
    ]

    assert [owned.may_publish(now_s, behind=behind) for now_s, behind in ticks] == [
        True,
        False,
        True,
        True,
        True,
        False,
    ]
