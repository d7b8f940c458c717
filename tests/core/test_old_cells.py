"""What the release before wrote, single cells in place of minutes, is read: publications, and states of both stages."""

import struct

import cramjam
import msgspec

from stream.core import fields as f
from stream.core.board import MAGIC as BOARD_MAGIC
from stream.core.board import BoardShard
from stream.core.calls import MAGIC as CALLS_MAGIC
from stream.core.calls import CallsStage
from stream.core.calls_state import StageState
from stream.core.fields import CELLS_LAYOUT
from stream.core.minute import PLACES_A_CELL, cells_of
from stream.core.wire import CELLS_VERSION, QueueUpdate
from tests.core.named import RULES, folded
from tests.core.publications import NOON_MS, PER_MINUTE, Reader, said, update
from tests.core.test_board import HOUR_MS, closed, queued
from tests.core.test_calls_state import LIFE, WAITING_AND_MORE, more
from tests.core.test_checkpoint import sealed

HEADER_BYTES = 18  # frame and offset


def of_cells(name, cells):
    """Say single cells, {moment: counts}, as publications of version 1 did."""
    return QueueUpdate(
        name, NOON_MS, None, {}, [], [(at_ms // 5_000, counts) for at_ms, counts in cells.items()]
    )


def opened(encoded):
    """Return a state as nested lists and maps."""
    body = cramjam.zstd.decompress(encoded.seal()[HEADER_BYTES:])
    return msgspec.msgpack.decode(bytes(body), strict=False)


def written(magic, offset, state):
    """Return a checkpoint of the release before."""
    body = bytes(cramjam.zstd.compress(msgspec.msgpack.encode(state)))
    return sealed(struct.pack(">q", offset) + body, layout=CELLS_LAYOUT, magic=magic)


def apart(minutes):
    """Take {number: minute} apart, as {bucket: counts}."""
    return {
        bucket: counts
        for number, minute in minutes.items()
        for bucket, counts in cells_of(number, minute, PER_MINUTE).items()
    }


def test_publications_of_single_cells_are_understood():
    """Each cell by itself replaces what was said of it, and leaves the rest of its minute."""
    reader = Reader().hear(
        said(of_cells("a", {NOON_MS: queued(1), NOON_MS + 5_000: queued(10)}), version=CELLS_VERSION),
        said(of_cells("a", {NOON_MS + 5_000: queued(20)}), version=CELLS_VERSION, offset=1),
        said(of_cells("a", {NOON_MS + 60_000: queued(100)}), version=CELLS_VERSION, offset=2),
    )
    reader.hear(said(offset=3, as_of_ms=NOON_MS + 60_000))
    assert reader.view("a").windows["interval"].counts == queued(121)

    # The worker is replaced by one of this release, which says all that can still change once more.
    whole = {NOON_MS: queued(1), NOON_MS + 5_000: queued(20), NOON_MS + 60_000: queued(200)}
    reader.hear(said(update("a", whole), offset=4, as_of_ms=NOON_MS + 60_000))
    assert reader.view("a").windows["interval"].counts == queued(221)


def test_a_minute_of_which_the_release_before_kept_a_part_loses_nothing():
    """It let go of final cells one by one; now the rest of their minute is said without them."""
    final_ms = NOON_MS + 10_000
    cells = {NOON_MS: queued(1), NOON_MS + 5_000: queued(10), NOON_MS + 10_000: queued(100)}
    reader = Reader().hear(said(of_cells("a", cells), version=CELLS_VERSION, final_ms=final_ms))
    rest = {NOON_MS + 10_000: queued(300)}
    reader.hear(said(update("a", rest), offset=1, as_of_ms=NOON_MS + 60_000, final_ms=final_ms))

    assert reader.view("a").windows["interval"].counts == queued(311)


def old_board(board):
    """Return a board's checkpoint as the release before wrote it."""
    state = opened(board.encode())
    for queue in state[7]:
        for part in queue[2].values():
            offsets = {number: offset for number, (offset, _) in part[4].items()}
            cells = apart({number: minute for number, (_, minute) in part[4].items()})
            part[4] = {bucket: [offsets[bucket // PER_MINUTE], counts] for bucket, counts in cells.items()}
        queue[3] = apart(queue[3])
    return written(BOARD_MAGIC, board.applied_offset, state)


def test_a_board_of_single_cells_is_read():
    """What it shows is the same, and what is said next goes on from it."""
    cells = {
        NOON_MS: queued(1) | {f.LONGEST_WAIT_MS: 7_000},
        NOON_MS + 5_000: queued(10),
        NOON_MS + 60_000: queued(100),
    }
    reader = Reader().hear(said(update("a", cells)), said(update("a", {NOON_MS: queued(5)}), partition=1))
    reader.hear(said(partition=1, offset=1, as_of_ms=NOON_MS + HOUR_MS))
    before = reader.view("a")
    reader.board = BoardShard.load(old_board(reader.board), 0, reader.rules)
    assert reader.view("a") == before

    changed = cells | {NOON_MS + 5_000: queued(20)}
    reader.hear(said(update("a", changed), offset=1, as_of_ms=NOON_MS + 60_000))
    assert reader.view("a").windows["interval"].counts == queued(126) | {f.LONGEST_WAIT_MS: 7_000}
    assert reader.view("a").windows == reader.move().view("a").windows
    (row,) = closed(reader.hear(said(offset=2, as_of_ms=NOON_MS + HOUR_MS))).values()
    assert (row["queued"], row["longest_wait_s"]) == (126, 7.0)


def old_stage(stage):
    """Return a stage's checkpoint as the release before wrote it."""
    state = opened(stage.encode())
    ledgers = StageState.__struct_fields__.index("ledgers")
    for ledger in state[ledgers]:
        cells = {}
        for number, counts, waits in ledger[4]:
            for bucket, of_cell in apart({number: dict(map(tuple, counts))}).items():
                cells[bucket] = [bucket, [list(item) for item in of_cell.items()], []]
            for wait, count in waits:
                bucket = number * PER_MINUTE + wait % PER_MINUTE
                cells[bucket][2].append([wait // PER_MINUTE, count])
        ledger[4] = [cells[bucket] for bucket in sorted(cells)]
    return written(CALLS_MAGIC, stage.applied_offset, state)


def test_a_stage_of_single_cells_is_read():
    """Its next checkpoint is the one that the stage itself would have written, now and after more events."""
    for lines in (
        LIFE,
        WAITING_AND_MORE,
        ("0 queued a", "58 answered", "59 queued a call=d", "62 answered call=d"),
    ):
        stage = folded(*lines)
        data = old_stage(stage)
        assert data != stage.dump()
        loaded = CallsStage.load(data, 0, RULES)
        assert loaded.dump() == stage.dump()
        assert loaded.cells() == stage.cells()

        later = ("70 queued a call=e", "71 answered call=e")
        assert more(loaded, *later).dump() == more(stage, *later).dump()


def test_places_of_a_minute_hold_the_fields_of_the_release_before():
    """Cell 0 of a minute looks like a cell of that release: only its number differs."""
    assert cells_of(0, {f.QUEUED: 3, PLACES_A_CELL + f.QUEUED: 4}, PER_MINUTE) == {0: queued(3), 1: queued(4)}
