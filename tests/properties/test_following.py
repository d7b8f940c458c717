"""Who follows another worker, which counted by other rules or was of an earlier release, is believed, and nobody else.

What the follower would have shown alone is what must be shown: of everything that was not final when it came.
"""

from dataclasses import dataclass, replace
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from stream.core.board import BoardShard
from stream.core.calls import CallsStage
from stream.core.place import FIELDS
from stream.core.rules import BoardRules, FoldRules
from stream.core.tables import counts_of
from tests.earlier import EarlierRelease
from tests.oracle import Rec
from tests.properties import strategies
from tests.properties.test_fold import PARTITION, many

BUCKETS = 60  # more than any log here reaches


@dataclass
class Life:
    """What one worker does: it goes on from the newest checkpoint or from nothing, reads, and is gone."""

    rules: FoldRules
    earlier: bool
    from_nothing: bool
    reads_to: int
    end: int  # of the log by then


class Shards:
    """The shards of a board, and the publications that they read."""

    def __init__(self, rules):
        board = BoardRules(time_zone=UTC, source_partitions=1, shards=rules.shards, fold=rules)
        self.shards = [BoardShard(shard, board) for shard in range(rules.shards)]

    def hear(self, payloads):
        """Read a publication in each shard."""
        for board, payload in zip(self.shards, payloads, strict=True):
            board.fold([Rec(board.applied_offset + 1, None, b"", payload)])

    def final(self):
        """Return the first bucket that is not final, shard by shard."""
        return [board.final_before_ms() // 5_000 for board in self.shards]

    def shown(self, shard):
        """Return what a shard adds up to: each bucket, everything since the beginning, and what goes on."""
        tables = self.shards[shard]._tables
        oldest = dict(zip(tables.names, tables.oldest_waiting_at_ms(), strict=True))
        rest = {
            "totals": by_name(tables, tables.totals()),
            "histograms": {
                name: row
                for name, row in zip(tables.names, tables.histograms().tolist(), strict=True)
                if any(row)
            },
            "oldest": {name: at_ms for name, at_ms in oldest.items() if at_ms is not None},
        }
        return [by_name(tables, tables.sum(bucket, bucket + 1)) for bucket in range(BUCKETS)], rest


def by_name(tables, sums):
    shown = {name: counts_of(row) for name, row in zip(tables.names, sums.reshape(-1, FIELDS), strict=True)}
    return {name: counts for name, counts in shown.items() if counts}


@st.composite
def lives(draw):
    """Draw a log, and two or three workers that read it one after the other; the last one reads all of it."""
    case = draw(strategies.cases())
    found = []
    count = draw(st.integers(2, 3))
    for number in range(count):
        last = number == count - 1
        from_nothing = not number or draw(st.sampled_from((False, False, True)))
        rules = case.rules
        if number:
            other = draw(strategies.FOLD_RULES)
            grace_ms = draw(st.sampled_from((rules.grace_ms, 0, 2_000, 60_000)))
            rules = replace(rules, grace_ms=grace_ms, default=other.default, queues=other.queues)
        whole = st.just(len(case.log))
        # The end of the log, as it knows it: one that was thrown out alive may have read on beyond that.
        end = draw(whole if last else st.one_of(whole, st.integers(0, len(case.log))))
        reads_to = end if last else draw(st.one_of(st.just(end), st.integers(0, end)))
        # An earlier release that follows a later one, from a checkpoint before that, is not heard at all.
        earlier = not last and all(life.earlier for life in found) and draw(st.booleans())
        found.append(Life(rules, earlier, from_nothing, reads_to, end))
    return case.log, found


@many
@given(lives(), st.data())
def test_a_follower_is_believed_in_all_that_was_not_final(drawn, data):
    """Whoever spoke before, and whatever of it arrives late."""
    log, workers = drawn
    board, alone = Shards(workers[0].rules), Shards(workers[0].rules)
    checkpoint, before, longest_grace_ms = (None, 0, 0), [], 0
    for number, life in enumerate(workers):
        payloads, speaks = [], EarlierRelease() if life.earlier else None
        alone, final = Shards(life.rules), board.final()
        stood = [board.shown(shard)[0] for shard in range(life.rules.shards)]
        data_of, begins, known_grace_ms = (None, 0, 0) if life.from_nothing else checkpoint
        rules, longest_grace_ms = life.rules, max(longest_grace_ms, life.rules.grace_ms)
        if longest_grace_ms > known_grace_ms:
            # what it goes on from does not tell how long the grace of those before was: it must not be shorter
            rules = replace(rules, grace_ms=longest_grace_ms)
        if data_of is None:
            stage = CallsStage(PARTITION, rules, since_ms=number + 1, follows=number > 0)
        else:
            stage = CallsStage.load(data_of, PARTITION, rules, since_ms=number + 1)
        for batch in data.draw(strategies.cuts(log[begins : max(begins, life.reads_to)])):
            stage.fold(batch)
            begins += len(batch)
            # it is at the end of the log as soon as it has read all of it
            payloads.append(stage.publish(0, caught_up=begins == life.end))
            if speaks is not None:
                payloads[-1] = [speaks.said(shard, one) for shard, one in enumerate(payloads[-1])]
            board.hear(payloads[-1])
            alone.hear(payloads[-1])
            if data.draw(st.booleans()):
                checkpoint = stage.dump(), begins, longest_grace_ms
            if before and data.draw(st.booleans()):
                board.hear(before[-1])  # the last words of the one before come late, or once more
        if life is not workers[-1]:
            before = payloads or before

    last_word = stage.publish(0, caught_up=True, alone=True)  # by then nobody else speaks any more
    for heard in (board, alone):
        heard.hear(last_word)
    if before and data.draw(st.booleans()):
        board.hear(before[-1])
    for shard in range(workers[0].rules.shards):
        buckets, rest = board.shown(shard)
        own, own_rest = alone.shown(shard)
        assert own_rest == rest
        assert own[final[shard] :] == buckets[final[shard] :]
        assert stood[shard][: final[shard]] == buckets[: final[shard]]
