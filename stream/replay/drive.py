"""Drive both stages over history: one stage 1 for each source partition, one board, no clock but the events' own.

Theory of operation. Time goes on in steps. At a step, each partition has folded its log up to the first record that
would move its stream time beyond the step, whichever partition was read first and however much at once. So what is seen
at a step is a function of the logs alone. A partition is read only as far as its next record beyond the step: memory
holds one batch of each.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from types import SimpleNamespace
from typing import Final

from schemas import Rejected, decode
from stream.core.board import BoardShard, take_snapshot
from stream.core.calls import CallsStage, Record
from stream.core.counts import Counts
from stream.core.rules import QUARTER_MS, BoardRules, Clock
from stream.core.snapshot import WELL, PipelineView, Snapshot
from stream.core.tally import add_up
from stream.replay.feeds import Feed

# Between two looks when only closed intervals are asked for: any step gives the same ones.
INTERVALS_STEP_MS: Final = 3_600_000
# A silence that is longer is passed over. Longer than a week: a weekend, or a holiday, is a part of history.
SILENCE_MAX_MS: Final = 8 * 24 * 3_600_000
# A series without a sample for five minutes is gone for Prometheus.
STEP_MS_MAX: Final = 240_000
STEP_MS_MIN: Final = 1_000
BEFORE_ALL_MS: Final = -1  # no event is as old
_offset = attrgetter("offset")


@dataclass(frozen=True, slots=True)
class Moment:
    """What a step shows."""

    at_ms: int
    closed: list[tuple[int, str, Counts]]  # intervals that have become final: start, queue, counts


class _Partition:
    """One source partition: its feed, what was read ahead, and its stage."""

    def __init__(self, feed: Feed, rules: BoardRules) -> None:
        self.stage = CallsStage(feed.partition, rules.fold)
        self.read = 0
        self.at_end = False
        self.next_ms = BEFORE_ALL_MS  # the time of the event at which the last advance stopped
        self._feed = feed
        self._ahead: Sequence[Record] = ()

    def advance(self, until_ms: int) -> None:
        """Fold up to the first record beyond a moment."""
        while not self.at_end and self.next_ms <= until_ms:
            if not self._ahead:
                self._ahead = self._feed.read()
                self.at_end = not self._ahead
            self.stage.fold(self._ahead, until_ms)
            folded = bisect_right(self._ahead, self.stage.applied_offset, key=_offset)
            self.read += folded
            self._ahead = self._ahead[folded:]
            if self._ahead:
                self.next_ms = _time_ms(self._ahead[0])


def _time_ms(record: Record) -> int:
    """Return the time of an event: only one can stop the fold."""
    event = decode(record.value)
    if isinstance(event, Rejected):
        raise TypeError("a record that was rejected stopped the fold")
    return int(event.at)


class Replay:
    """A replay under way. ``rules`` are the worker's; the number of feeds is that of the source partitions."""

    def __init__(
        self, feeds: Sequence[Feed], rules: BoardRules, *, step_ms: int | None, by_arrival: bool = False
    ) -> None:
        """Prepare a replay that is looked at every ``step_ms`` of event time; None: closed intervals alone.

        ``by_arrival`` counts everything of a visit in the interval of its ``queued``.
        """
        fold = replace(rules.fold, shards=1, by_arrival=by_arrival)
        if step_ms is None:
            fold = replace(fold, bucket_ms=QUARTER_MS)  # nobody looks at less
        self.rules = replace(rules, fold=fold, shards=1, source_partitions=len(feeds), clock=Clock.WALL)
        self.step_ms = INTERVALS_STEP_MS if step_ms is None else step_ms
        self._sampling = step_ms is not None
        self.at_ms: int | None = None  # the last step taken
        self.skipped: list[tuple[int, int]] = []  # silences that were passed over
        self._partitions = [_Partition(feed, self.rules) for feed in feeds]
        self._board = BoardShard(0, self.rules)
        self._publications = 0

    @property
    def read(self) -> int:
        """How many records were folded so far."""
        return sum(partition.read for partition in self._partitions)

    def moments(self) -> Iterator[Moment]:
        """Take step after step until every feed is at its end; the last one closes everything."""
        for partition in self._partitions:
            partition.advance(BEFORE_ALL_MS)
        at_ms = self._next_ms(None)
        while at_ms is not None:
            for partition in self._partitions:
                partition.advance(at_ms)
            self._publish(at_ms)
            self.at_ms = at_ms
            yield Moment(at_ms, self._board.take_final())
            at_ms = self._next_ms(at_ms)

    def _next_ms(self, at_ms: int | None) -> int | None:
        """Return the next step, on the grid of all replays; None after the last record."""
        times = [partition.next_ms for partition in self._partitions if not partition.at_end]
        if not times:
            return None
        on_grid_ms = -(-min(times) // self.step_ms) * self.step_ms
        if at_ms is None or not self._sampling:
            return on_grid_ms
        if on_grid_ms - at_ms > SILENCE_MAX_MS:
            self.skipped.append((at_ms, on_grid_ms))
            return on_grid_ms
        return at_ms + self.step_ms

    def _publish(self, at_ms: int) -> None:
        for partition in self._partitions:
            for payload in partition.stage.publish(at_ms, caught_up=False, at_end=partition.at_end):
                record = SimpleNamespace(offset=self._publications, timestamp=None, key=None, value=payload)
                self._board.fold([record])
                self._publications += 1

    def tally(self) -> PipelineView:
        """Return what became of the records so far."""
        return add_up(partition.stage.tally() for partition in self._partitions)

    def snapshot(self) -> Snapshot:
        """Return what a worker would have shown at the last step."""
        return take_snapshot(
            [self._board],
            self.tally(),
            self.rules,
            status=WELL,
            taken_at_ms=self.at_ms or 0,
        )
