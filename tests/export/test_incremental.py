"""A board that is looked at all the time, saved and moved shows what one shows that is looked at once."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from stream.core import fields as f
from stream.core.board import BoardShard, take_snapshot
from stream.core.rules import BoardRules, FoldRules
from stream.core.snapshot import WELL, HistogramView, PipelineView
from stream.export.collector import registry_of
from stream.export.metrics import scrape
from stream.export.render import Renderer, render
from tests.core.publications import said, update
from tests.export.centre import BOUNDS_MS, BUILD, queue, snapshot, stopped
from tests.oracle import Rec

START_MS = 1_785_759_900_000 // 900_000 * 900_000
RULES = BoardRules(
    UTC,
    2,
    rolling=(("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000)),
    shards=1,
    fold=FoldRules(shards=1, histogram_bounds_ms=(5_000, 20_000)),
)

COUNTS = st.dictionaries(
    st.sampled_from((f.QUEUED, f.ANSWERED, f.OVERDUE, f.SERVICE_LEVEL_BASE, f.LONGEST_WAIT_MS)),
    st.integers(1, 9),
    max_size=4,
)
TELL = st.tuples(
    st.integers(0, 1),  # partition
    st.sampled_from(("a", "b")),
    st.dictionaries(st.integers(-400, 40), COUNTS, max_size=3),  # cells, by their distance to now in buckets
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=5, max_size=5),
    st.sampled_from((0, 0, 5_000, 15_000, 70_000, 900_000, 5_400_000)),  # how far time goes on
)
STEPS = st.lists(st.tuples(TELL, st.sampled_from(("", "look", "look", "save", "move"))), max_size=25)


def publication(told, offset, now_ms):
    """Encode what a source partition tells; totals stand for themselves."""
    partition, name, cells, histograms, _ = told
    totals = {f.QUEUED: offset, f.ANSWER_WAITS: offset // 2, f.TALK_MS: offset * 1_000}
    found = {now_ms + distance * 5_000: counts for distance, counts in cells.items()}
    return said(
        update(name, found, totals=totals, first_at_ms=START_MS, histograms=histograms),
        offset=offset,
        partition=partition,
        as_of_ms=now_ms,
        stream_ms=now_ms,
    )


def look(board):
    """Look at the board."""
    return take_snapshot(
        [board],
        PipelineView(),
        RULES,
        status=WELL,
        taken_at_ms=0,
    )


@given(STEPS)
def test_looking_changes_nothing(steps):
    """Every look equals the first look of a board that has read the same and was never looked at before."""
    busy, log, now_ms = BoardShard(0, RULES), [], START_MS
    for offset, (told, action) in enumerate(steps):
        now_ms += told[-1]
        log.append(Rec(offset, None, b"", publication(told, offset, now_ms)))
        busy.fold(log[-1:])
        if action == "look":
            fresh = BoardShard(0, RULES)
            for record in log:
                fresh.fold([record])

            assert look(busy) == look(fresh)
        elif action == "save":
            busy.dump()
        elif action == "move":
            busy = BoardShard.load(busy.dump(), 0, RULES)


@given(STEPS)
def test_a_text_from_known_parts_is_the_text_made_anew(steps):
    """What the renderer keeps of unchanged queues never shows an old number."""
    board, now_ms, renderer = BoardShard(0, RULES), START_MS, Renderer()
    for offset, (told, _) in enumerate(steps):
        now_ms += told[-1]
        board.fold([Rec(offset, None, b"", publication(told, offset, now_ms))])
        taken = scrape(lambda: look(board), BUILD, stopped)
        fresh = BoardShard.load(board.dump(), 0, RULES)
        same = scrape(lambda fresh=fresh: look(fresh), BUILD, stopped)

        assert renderer.render(taken, openmetrics=False) == render(same, openmetrics=False)


def test_a_queue_that_is_gone_leaves_the_text_and_may_come_back():
    """A shard moves to another worker, and returns."""
    renderer = Renderer()
    both, one = snapshot(queue("a"), queue("b")), snapshot(queue("b"))
    texts = []
    for view in (both, one, both):
        taken = scrape(lambda view=view: view, BUILD, stopped)
        texts.append(renderer.render(taken, openmetrics=False))

        assert texts[-1] == render(taken, openmetrics=False)
    assert texts[0] == texts[2] != texts[1]


def test_a_scrape_that_was_broken_off_does_not_show_in_the_next():
    """The client went away after the first queues."""
    renderer = Renderer()
    before, after = (
        snapshot(*(queue(f"q{number}", waiting=waiting) for number in range(60))) for waiting in (1, 2)
    )
    renderer.render(scrape(lambda: before, BUILD, stopped), openmetrics=False)
    taken = scrape(lambda: after, BUILD, stopped)
    next(renderer.prepare(taken))

    assert renderer.render(taken, openmetrics=False) == render(taken, openmetrics=False)


@pytest.mark.parametrize("count", [0, 1, 999_999, 1_000_000, 12_345_678, -1])
def test_histograms_of_any_size_are_written_as_prometheus_client_writes_them(count):
    """Also under a name that looks like a format."""
    waits = HistogramView(BOUNDS_MS, (count, *(0,) * len(BOUNDS_MS)), count * 7_001)
    view = snapshot(queue("100 %d %s", histograms={"talk": waits}))
    taken = scrape(lambda: view, BUILD, stopped)

    assert render(taken, openmetrics=False) == generate_latest(registry_of(lambda: taken))
