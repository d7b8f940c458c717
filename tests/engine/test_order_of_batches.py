"""Which of the fetched batches is handed over first: the last ones may find the agent's queue full."""

from types import SimpleNamespace

from faust.types import TP

from stream.engine.batching import Batch, Consumer


def test_cells_come_first_and_then_what_is_oldest():
    """A partition that lags behind is not the one that waits."""
    consumer = SimpleNamespace(app=SimpleNamespace(engine=SimpleNamespace(cells_topic="cells")))
    fetched = {
        TP("events", 0): Batch([SimpleNamespace(timestamp=30), SimpleNamespace(timestamp=1)], 0),
        TP("events", 1): [SimpleNamespace(timestamp=20)],
        TP("events", 2): Batch([SimpleNamespace(timestamp=None)], 0),
        TP("cells", 1): Batch([SimpleNamespace(timestamp=90)], 0),
    }

    order = [tp for tp, _ in Consumer._one_by_one(consumer, fetched)]

    assert order == [TP("cells", 1), TP("events", 2), TP("events", 1), TP("events", 0)]
