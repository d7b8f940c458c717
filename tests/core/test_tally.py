"""What became of the records of several partitions, added up."""

from types import SimpleNamespace

from schemas import Queued, encode
from stream.core.calls import CallsStage
from stream.core.rules import FoldRules
from stream.core.tally import add_up


def stage(partition, *values):
    made = CallsStage(partition, FoldRules())
    made.fold(
        [SimpleNamespace(offset=n, timestamp=None, key=b"k", value=value) for n, value in enumerate(values)]
    )
    return made


def queued(at_ms):
    return encode(Queued(call_id="k", at=at_ms, queue="a"))


def test_tallies_of_partitions_add_up():
    """Names are kept also where nothing was counted."""
    stages = [stage(0, b"{", queued(5_000)), stage(1, b"{")]
    total = add_up(one.tally() for one in stages)

    assert sum(total.rejected.values()) == 2
    assert total.events == stages[0].tally().events
    assert total.known


def test_the_last_event_is_the_newest_of_all():
    """A partition without any event has none; nobody has one before the first."""
    assert add_up(
        stage(n, *values).tally() for n, values in enumerate([[], [queued(7_000)], [queued(5_000)]])
    ) == add_up([stage(1, queued(7_000)).tally(), stage(2, queued(5_000)).tally()])
    assert (
        add_up([stage(0, queued(7_000)).tally(), stage(1, queued(5_000)).tally()]).last_event_at_ms == 7_000
    )
    assert add_up([stage(0).tally()]).last_event_at_ms is None


def test_without_any_partition_nothing_is_known():
    """Counters are then absent, not 0."""
    assert not add_up([]).known
