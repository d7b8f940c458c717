"""The simulated feed, counted by the oracle of docs/counting.md: two programs that share no code agree."""

from collections import Counter

import pytest

from schemas import encode
from stream.core import fields
from stream.core.rules import FoldRules
from stream.simulate import Disorder, default_centre, simulate
from tests.oracle import Rec, recompute_partition

TUESDAY_9_MS = 1_772_528_400_000  # 2026-03-03T09:00:00Z
CALLS = 4_000
COUNTED = {
    "offered": fields.OFFERED,
    "queued": fields.QUEUED,
    "answered": fields.ANSWERED,
    "abandoned": fields.ABANDONED,
}


def feed(seed, **disorder):
    return list(
        simulate(
            default_centre(),
            seed=seed,
            start_ms=TUESDAY_9_MS,
            calls=CALLS,
            disorder=Disorder(**disorder) if disorder else None,
        )
    )


def counted(emissions):
    """Let the oracle count the feed as one partition."""
    log = [
        Rec(offset, emission.emit_at_ms, emission.event.call_id.encode(), encode(emission.event))
        for offset, emission in enumerate(emissions)
    ]
    return recompute_partition(log, FoldRules())


@pytest.mark.parametrize("seed", [1, 2])
def test_the_oracle_finds_nothing_odd_in_a_feed_and_counts_what_was_simulated(seed):
    """No anomaly, nobody expired or still waiting; per queue the counts are those of the events."""
    emissions = feed(seed)
    result = counted(emissions)
    expected = Counter((event.queue, event.type) for _, event in emissions if event.type in COUNTED)
    found = Counter()
    for (queue, _), cell in result.story.cells.items():
        for kind, number in COUNTED.items():
            found[queue, kind] += cell.get(number, 0)

    assert found == expected
    assert not result.story.anomalies
    assert not result.story.waiting
    assert set(result.outcomes) == {"applied"}


@pytest.mark.parametrize("seed", [1, 2])
def test_disorder_within_the_grace_changes_no_count_and_duplicates_are_found(seed):
    """The same cells as the orderly feed; as many duplicates as copies were sent; nothing late."""
    disordered = feed(seed, delay_ms_max=240_000, duplicate_probability=0.05)
    result, orderly = counted(disordered), counted(feed(seed))
    copies = len(disordered) - len({(event.call_id, event.event_id) for _, event in disordered})

    assert result.story.cells == orderly.story.cells
    assert result.duplicate == copies > 0
    assert result.late == 0
    assert not result.story.anomalies
