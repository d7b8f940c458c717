"""What the broker says of the ends of logs, and what was applied meanwhile."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest

from stream.engine.engine import Engine, EngineError
from stream.engine.tp import Place

PLACE = Place("events", 0)


class Answers(list):
    """A consumer whose broker answers each question with the next of these; applies records meanwhile."""

    def __init__(self, owned, *answers):
        super().__init__(answers)
        self.owned = owned

    async def answers(self):
        """Have a turn."""

    async def ends(self, tps):
        """Answer, late."""
        end, applied_then = self.pop(0)
        self.owned.stage.applied_offset = applied_then
        return {} if end is None else dict.fromkeys(tps, end)


def ask(*answers):
    """Let an engine that has applied up to offset 9 ask until the answers are over."""
    owned = SimpleNamespace(place=PLACE, stage=SimpleNamespace(applied_offset=9))
    engine = SimpleNamespace(
        settings=SimpleNamespace(stall_timeout_s=0),
        consumer=Answers(owned, *answers),
        _shells=[SimpleNamespace(owned={0: owned})],
        _ends={},
        _short_ends=set(),
        _reader_turns=0,
    )
    engine._refuse_an_end_before_us = partial(Engine._refuse_an_end_before_us, engine)
    asyncio.run(Engine.ask_for_ends(engine))


def test_an_end_that_was_told_before_kafka_went_away_accuses_nobody():
    """What is fetched after the last answer lies behind that end; while no new answer comes, nothing is known."""
    with pytest.raises(IndexError):
        ask((10, 9), (None, 25), (None, 30), (None, 35))


def test_what_is_applied_while_an_answer_is_on_its_way_accuses_nobody():
    """On a slow line the records may overtake the answer about their log."""
    with pytest.raises(IndexError):
        ask((10, 25), (26, 40))


def test_a_log_that_ends_before_what_was_applied_before_the_question_is_another_one():
    """It was deleted and made again; said twice, for a broker that has just come back may err once."""
    with pytest.raises(IndexError):
        ask((3, 9), (10, 9), (3, 9))
    with pytest.raises(EngineError, match=r"^events\[0\] ends at offset 3, but is counted up to 10"):
        ask((3, 9), (3, 9))
