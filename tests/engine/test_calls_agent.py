"""Stage 1's shell: what it finds out before a partition is counted from its beginning."""

import asyncio
from typing import Any, cast

import pytest
from faust.types import TP

from stream.core.calls import MAGIC
from stream.core.wire import decode_publication
from stream.engine.calls_agent import CallsShell
from stream.engine.checkpoints import CheckpointTable
from stream.engine.engine_settings import EngineSettings

SETTINGS = EngineSettings()


class Source:
    """The ends of the logs, by shard."""

    def __init__(self, *ends: int) -> None:
        self._ends = {TP(SETTINGS.topics.cells, shard): end for shard, end in enumerate(ends)}

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        """Return where logs end."""
        return {tp: self._ends[tp] for tp in tps}


def told(*ends: int) -> list[bool]:
    """Begin from nothing where the publications end there; say of each publication whether it says all anew."""
    table = CheckpointTable("checkpoints", MAGIC, cast("Any", None))
    shell = CallsShell(SETTINGS, table, cast("Any", None))
    asyncio.run(shell.look_around(cast("Any", Source(*ends))))
    stage = shell.fresh(0)
    assert stage.since_ms > 0
    return [
        decode_publication(stage.publish(None, caught_up=caught_up)[0]).anew_from is not None
        for caught_up in (False, True, True)
    ]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [((0, 0, 0, 0), [False, False, False]), ((0, 0, 0, 3), [True, True, False])],
    ids=["nobody has published", "somebody has"],
)
def test_who_counts_a_log_from_its_beginning_corrects_those_who_did_before(ends, expected):
    """A worker that died before its first checkpoint left publications, and nothing else."""
    assert told(*ends) == expected
