"""Both stages together: what the board shows, after whatever happened on the way, is what the oracle says."""

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stream.core.board import BoardShard, approach, take_snapshot
from stream.core.calls import CallsStage
from stream.core.snapshot import WELL, PipelineView
from tests import oracle
from tests.oracle import Rec
from tests.properties import strategies
from tests.properties.test_fold import many, summed, without_empty

NO_COUNTS = oracle.kpis({})
PLACE = ("queue", "window", "start", "end", "final")


class Bench:
    """Two stages and the shards of a board, with the topic between them and a checkpoint of each stage."""

    def __init__(self, rules, logs):
        self.rules, self.logs = rules, logs
        self.stages = [CallsStage(partition, rules.fold) for partition in range(2)]
        self.read = [0, 0]
        self.checkpoints = [(stage.dump(), 0) for stage in self.stages]
        self.topic = [[] for _ in range(rules.shards)]  # queue-cells, by shard
        self.shards = [BoardShard(shard, rules) for shard in range(rules.shards)]
        self.closed = {}  # the compacted topic queue-intervals

    def fold(self, partition, count):
        """Read the next records of a source partition."""
        start, end = self.read[partition], min(self.read[partition] + count, len(self.logs[partition]))
        self.stages[partition].fold(self.logs[partition][start:end])
        self.read[partition] = end

    def publish(self, partition, as_of_ms, *, caught_up):
        """Send what has changed to every shard."""
        for shard, payload in enumerate(self.stages[partition].publish(as_of_ms, caught_up=caught_up)):
            self.send(shard, payload)

    def send(self, shard, payload):
        """Append to the topic, and let the shard read it."""
        self.topic[shard].append(Rec(len(self.topic[shard]), None, b"", payload))
        self.shards[shard].fold(self.topic[shard][-1:])
        self.take_closed(shard)

    def take_closed(self, shard):
        """Publish closed intervals; one that was final never changes."""
        for key, value in self.shards[shard].take_closed():
            row = json.loads(value)
            assert key == f"{row['queue']}|{row['start']}"
            assert not self.closed.get(key, {}).get("final") or self.closed[key] == row
            self.closed[key] = row

    # What may happen at any moment.

    def tell(self, partition):
        """Publish what has changed so far."""
        self.publish(partition, self.stages[partition].stream_time_ms, caught_up=False)

    def trickle(self, partition, count):
        """Read the next records one by one: a cell is told again with each of its events."""
        for _ in range(count):
            self.fold(partition, 1)
            self.tell(partition)

    def checkpoint(self, partition):
        """Keep the whole state of a stage."""
        self.checkpoints[partition] = (self.stages[partition].dump(), self.read[partition])

    def crash(self, partition):
        """Start again from the checkpoint: what follows it is read again, and published in other portions."""
        data, self.read[partition] = self.checkpoints[partition]
        self.stages[partition] = CallsStage.load(data, partition, self.rules.fold)

    def redeliver(self, shard, start):
        """Read old records again, with their offsets."""
        self.shards[shard].fold(self.topic[shard][start:])

    def resend(self, shard, number):
        """Send an old publication again as a new record: a zombie's, or a retry's."""
        if self.topic[shard]:
            self.send(shard, self.topic[shard][number % len(self.topic[shard])].value)

    def move(self, shard):
        """Let another worker take the shard over from its checkpoint."""
        self.shards[shard] = BoardShard.load(self.shards[shard].dump(), shard, self.rules)

    def finish(self, as_of_ms):
        """Read what is left and publish it."""
        for partition, log in enumerate(self.logs):
            self.fold(partition, len(log))
            self.publish(partition, as_of_ms, caught_up=True)

    def approach(self):
        """Make the first step towards a look at all shards."""
        next(approach(self.shards), None)

    def look(self):
        """Look, for what that leaves behind."""
        self.snapshot()

    def snapshot(self):
        """Look at all shards."""
        return take_snapshot(
            self.shards,
            PipelineView(),
            self.rules,
            status=WELL,
            taken_at_ms=0,
        )


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                "fold",
                "fold",
                "tell",
                "tell",
                "trickle",
                "trickle",
                "checkpoint",
                "crash",
                "redeliver",
                "resend",
                "resend",
                "move",
                "look",
                "approach",
            )
        ),
        st.integers(0, 1),
        st.integers(0, 9),
    ),
    max_size=16,
)


def play(bench, actions):
    """Let it all happen."""
    for action, which, number in actions:
        shard = number % bench.rules.shards
        arguments = {
            "fold": (which, number),
            "tell": (which,),
            "trickle": (which, number),
            "checkpoint": (which,),
            "crash": (which,),
            "redeliver": (shard, number),
            "resend": (shard, number),
            "move": (shard,),
            "look": (),
            "approach": (),
        }
        getattr(bench, action)(*arguments[action])


def end_of(result, past_ms):
    """Return a present some time after everything."""
    times = [one.stream_time for one in result.partitions if one.stream_time is not None]
    return max(times, default=0) + past_ms


PAST_MS = st.sampled_from((0, 4_000, 40_000, 400_000, 4_000_000))


@many
@given(strategies.boards(), ACTIONS, PAST_MS)
def test_closed_intervals_equal_the_oracle(case, actions, past_ms):
    """Whatever was published when, and came how often: each closed interval is right, and final ones stay."""
    rules, logs = case
    result = oracle.recompute(logs, rules.fold)
    bench = Bench(rules, logs)
    play(bench, actions)
    bench.finish(end_of(result, past_ms))
    clock_ms = bench.shards[0].clock_ms()
    final_before_ms = bench.shards[0].final_before_ms()

    expected = {}
    for (queue, start, end), cell in oracle.roll_up(
        result.cells, rules.interval_ms // 60_000, rules.time_zone
    ).items():
        if clock_ms is not None and end <= clock_ms:
            expected[queue, start] = oracle.kpis(cell) | {"final": end <= final_before_ms}
    expected = {
        key: values for key, values in expected.items() if values != NO_COUNTS | {"final": values["final"]}
    }
    actual = {}
    for row in bench.closed.values():
        assert row["window"] == "interval"
        values = {name: value for name, value in row.items() if name not in PLACE}
        if values != NO_COUNTS:
            start_ms = oracle.instant(row["start"])
            assert oracle.interval_of(start_ms, rules.interval_ms // 60_000, rules.time_zone) == (
                start_ms,
                oracle.instant(row["end"]),
            )
            actual[row["queue"], start_ms] = values | {"final": row["final"]}

    assert expected == actual


@many
@given(strategies.boards(), ACTIONS, PAST_MS)
def test_the_board_equals_the_oracle(case, actions, past_ms):
    """Totals, what is going on, histograms, rolling windows, the interval and the day of now."""
    rules, logs = case
    result = oracle.recompute(logs, rules.fold)
    bench = Bench(rules, logs)
    play(bench, actions)
    bench.finish(end_of(result, past_ms))
    snapshot = bench.snapshot()
    clock_ms = snapshot.clock_ms
    if clock_ms is None:
        return
    bucket_end_ms = clock_ms // 5_000 * 5_000 + 5_000
    spans = {name: (bucket_end_ms - length_ms, bucket_end_ms) for name, length_ms in rules.rolling}
    interval = oracle.interval_of(clock_ms, rules.interval_ms // 60_000, rules.time_zone)
    spans["interval"] = (interval[0], bucket_end_ms)
    spans["day"] = (oracle.day_of(clock_ms, rules.time_zone)[0], bucket_end_ms)

    totals = summed(result.totals)
    assert without_empty(totals) == without_empty(
        summed({view.queue: view.totals for view in snapshot.queues})
    )
    for view in snapshot.queues:
        now = result.story.now().get(view.queue, (0, 0, None))
        assert now == (view.waiting, view.in_progress, view.oldest_waiting_at_ms)
        assert oracle.waiting_past_target(result.cells, view.queue, clock_ms) == view.waiting_past_target
        for name, span in spans.items():
            window = view.windows[name]
            assert span == (window.start_ms, window.end_ms), name
            assert oracle.sum_between(result.cells, view.queue, *span) == dict(
                sorted(window.counts.items())
            ), name
        for name, histogram in view.histograms.items():
            observed = result.story.observations.get(view.queue, {}).get(name, [])
            assert oracle.histogram(observed, rules.fold.histogram_bounds_ms) == list(histogram.counts)
            assert sum(observed) == histogram.sum_ms


@many
@given(strategies.boards(), ACTIONS)
def test_the_clock_of_the_board_never_goes_back(case, actions):
    """Nor does what it calls final, whoever publishes what again."""
    rules, logs = case
    bench = Bench(rules, logs)
    before = Counter()
    for action in actions:
        play(bench, [action])
        for shard, board in enumerate(bench.shards):
            now = {("clock", shard): board.clock_ms() or 0, ("final", shard): board.final_before_ms() or 0}
            for key, at_ms in now.items():
                assert before[key] <= at_ms
                before[key] = at_ms
