"""The shell of stage 2: when it publishes closed intervals."""

import json
from typing import Any, cast

from stream.core import fields as f
from stream.core.board import MAGIC, BoardShard
from stream.engine.board_agent import BoardShell
from stream.engine.checkpoints import CheckpointTable
from stream.engine.engine_settings import EngineSettings
from stream.engine.owned import Owned
from stream.engine.tp import Place
from tests.core.publications import NOON_MS, Reader, board_rules, said, update

NOTHING = cast("Any", None)


def test_a_shard_that_has_not_caught_up_publishes_no_interval_and_does_not_forget_that_it_must():
    """Whoever owned it before may have published a newer row."""
    shell = BoardShell(EngineSettings(), CheckpointTable("board", MAGIC, NOTHING), NOTHING, NOTHING)
    reader = Reader().hear(said(update("a", {NOON_MS - 1: {f.QUEUED: 2}}), final_ms=NOON_MS))
    owned = Owned(Place("cells", 0), reader.board, end_at_start=2)

    assert shell.outgoing(owned) == []
    owned.stage = BoardShard.load(owned.stage.dump(), 0, board_rules())
    owned.live = True
    rows = [json.loads(record.value) for record in shell.outgoing(owned)]
    assert [(row["queue"], row["queued"], row["final"]) for row in rows] == [("a", 2, True)]
    assert shell.outgoing(owned) == []
