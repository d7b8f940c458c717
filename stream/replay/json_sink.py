"""Closed intervals and days as JSON lines (contract, section 6)."""

from collections.abc import Callable

import msgspec

from stream.core.board import BoardShard
from stream.replay.fold import Summary


def write_json(board: BoardShard, summary: Summary, write: Callable[[bytes], object]) -> None:
    """Write an object a line for every interval and day and queue, sorted by window, start, queue; then the summary."""
    rows = sorted(board.rows(), key=lambda row: (row[2], row[0], row[1]))
    for _, _, _, values in rows:
        write(msgspec.json.encode(values) + b"\n")
    write(msgspec.json.encode({"summary": summary.counts()}) + b"\n")
