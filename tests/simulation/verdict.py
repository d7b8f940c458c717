"""What must hold: the invariants of faults.md along the way, and the oracle's numbers at the end."""

import json
import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from stream.core import fields as f
from stream.core.board import MAGIC as BOARD_MAGIC
from stream.core.calls import MAGIC as CALLS_MAGIC
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELD_MASK, QUEUE_MASK, shard_of
from stream.core.slots import LogRecord, assess
from stream.engine.board_agent import BoardShell
from stream.engine.calls_agent import CallsShell
from stream.engine.checkpoints import CheckpointTable
from tests import oracle
from tests.core.named import in_fields
from tests.oracle import Rec
from tests.properties.test_board import NO_COUNTS, PLACE
from tests.properties.test_fold import LEFT, expected, shown, summed, without_empty
from tests.simulation.traffic import CALLER

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

# What depends on the rules. Where these change, it also depends on which checkpoint somebody went on from.
RULED = {
    f.ANSWERED_WITHIN_TARGET,
    f.ABANDONED_WITHIN_TARGET,
    f.ABANDONED_SHORT,
    f.SERVICE_LEVEL_MET,
    f.SERVICE_LEVEL_BASE,
    f.OVERDUE,
}
RULED_VALUES = {
    "answered_within_target",
    "abandoned_within_target",
    "abandoned_short",
    "service_level",
    "abandonment",
}
LOOKED_AT = 100  # records at the end of a checkpoint topic: several checkpoints in chunks
SET_ASIDE = {oracle.BAD, oracle.NO_KEY, oracle.KEY_MISMATCH, oracle.FUTURE}


class Auditor:
    """Watches the invariants while the world runs; each is told by its number in faults.md."""

    def __init__(self, world: "World") -> None:
        self._world = world
        settings, send, read = world.settings, cast("Any", None), cast("Any", None)
        calls, board = world.changelogs
        self._shells: dict[str, Any] = {
            calls: CallsShell(settings, CheckpointTable(calls, CALLS_MAGIC, read), send),
            board: BoardShell(settings, CheckpointTable(board, BOARD_MAGIC, read), send, cast("Any", None)),
        }
        self._magics = {calls: CALLS_MAGIC, board: BOARD_MAGIC}
        self._written: dict[tuple[str, int], deque[LogRecord]] = defaultdict(lambda: deque(maxlen=LOOKED_AT))
        self._durable: dict[tuple[str, int], int] = defaultdict(lambda: -1)
        self._seen: dict[tuple[int, int, str], tuple[Any, ...]] = {}
        self.closed: list[dict[str, Any]] = []

    # --- I4: what is committed is saved ---------------------------------------------------------------------

    def wrote(self, topic: str, partition: int) -> None:
        """Note how far a process gets that starts from what was written, while the disk keeps it.

        What the disk spoils afterwards, be it between a chunk and its head, no worker can know when it commits.
        """
        if topic == self._world.settings.topics.intervals:
            self._closed()
        shell = self._shells.get(topic)
        if shell is None:
            return
        written = self._written[topic, partition]
        record = self._world.broker.logs[topic][partition].records[-1]
        written.append((record.key, record.value))
        found = assess(self._magics[topic], partition, list(written), from_the_beginning=True)
        if not found.usable:
            return
        applied = shell.load(found.usable[0].data, partition).applied_offset
        place = (shell.topic, partition)
        self._durable[place] = max(self._durable[place], applied)

    def _closed(self) -> None:
        """Keep a closed interval: compaction will not."""
        world = self._world
        self.closed.append(
            json.loads(world.broker.logs[world.settings.topics.intervals][0].records[-1].value or b"")
        )

    def committed(self, offsets: dict[Any, int]) -> None:
        """Refuse a commit of what no checkpoint in the log covers."""
        for tp, offset in offsets.items():
            assert offset <= self._durable[tp] + 1, (
                f"I4: {offset} was committed for {tuple(tp)}, and the checkpoint only covers {self._durable[tp]}"
            )

    # --- all others, now and then ---------------------------------------------------------------------------

    def look(self, process: "Process") -> None:
        """Look at a process between two of its steps."""
        engine, world = process.engine, self._world
        for shell in (engine.calls, engine.board):
            for partition, owned in shell.owned.items():
                self._never_back(process.number, id(owned), owned)
                if shell is engine.calls:
                    self._accounted(partition, owned.stage)
                    _conserved(owned.stage)
        snapshot = engine.snapshot()
        for view in snapshot.queues:
            _sane(view)
        silent_s = world.now_s - process.app.consumer.membership.last_contact_s
        if silent_s > world.settings.session_timeout_s:
            assert not snapshot.ready, "I7: a worker that is out of contact calls itself ready"
            assert not snapshot.queues, "I7: a worker that is out of contact exports queues"

    def _never_back(self, number: int, identity: int, owned: Any) -> None:
        stage = owned.stage
        if hasattr(stage, "stream_time_ms"):
            now = (stage.applied_offset, _known(stage.stream_time_ms), stage.final_before_ms())
        else:
            now = (stage.applied_offset, _known(stage.clock_ms()), stage.final_before_ms())
        key = (number, identity, str(owned.place))
        before = self._seen.get(key, (owned, -2, -math.inf, 0))
        if before[0] is owned:
            assert all(old <= new for old, new in zip(before[1:], now, strict=True)), (
                f"I4: {owned.place} went back from {before[1:]} to {now}"
            )
        self._seen[key] = (owned, *now)

    def _accounted(self, partition: int, stage: Any) -> None:
        log = self._world.broker.logs[self._world.settings.topics.events][partition]
        tally = stage.tally()
        found = sum(tally.events.values()) + tally.duplicate + tally.late + sum(tally.rejected.values())
        read = log.count_through(stage.applied_offset)
        assert found == read, f"I1: {found} records are accounted for, of {read} in partition {partition}"


def _known(at_ms: int | None) -> float:
    return -math.inf if at_ms is None else at_ms


def _conserved(stage: Any) -> None:
    now = stage.now()
    for queue, cell in stage.totals().items():
        of = Counter(cell)
        waiting, in_progress, _ = now.get(queue, (0, 0, None))
        ended = of[f.ANSWERED] + of[f.ABANDONED] + sum(of[number] for number in LEFT)
        assert of[f.QUEUED] == ended + of[f.EXPIRED_WAITING] + waiting, f"I3: visits of {queue}"
        assert of[f.ANSWERED] == of[f.CONVERSATIONS_ENDED] + in_progress, f"I3: conversations of {queue}"


def _sane(view: Any) -> None:
    for window in view.windows.values():
        of = Counter(window.counts)
        assert of[f.SERVICE_LEVEL_MET] <= of[f.SERVICE_LEVEL_BASE], f"I5: service level of {view.queue}"
        for name, value in oracle.kpis(dict(window.counts)).items():
            if name in {"service_level", "abandonment"} and value is not None:
                assert math.isfinite(value), f"I5: {name} of {view.queue} is {value}"
                assert 0 <= value <= 1, f"I5: {name} of {view.queue} is {value}"
    assert min(view.waiting, view.waiting_past_target, view.in_progress) >= 0, f"I5: {view.queue}"


# --- has everything arrived? ----------------------------------------------------------------------------------


def behind(world: "World") -> dict[str, tuple[int, int]]:
    """Return the source partitions whose records are not all counted, and saved: (applied, records)."""
    names = world.settings.topics
    found = {}
    owners: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for process in world.processes:
        for shell in (process.engine.calls, process.engine.board):
            for partition, owned in shell.owned.items():
                owners[shell.topic, partition].append(owned)
    for topic in (names.events, names.cells):
        for partition, log in enumerate(world.broker.logs[topic]):
            owned = owners[topic, partition]
            last = log.records[-1].offset if log.records else -1
            # Heartbeats go on for ever, so the cells are never read to the end.
            reach = last if topic == names.events else last - 20
            if len(owned) != 1:
                found[f"{topic}[{partition}] has {len(owned)} owners"] = (-1, last)
            elif owned[0].stage.applied_offset < reach or not owned[0].live:
                found[f"{topic}[{partition}]"] = (owned[0].stage.applied_offset, last)
    return found


def all_counted(world: "World") -> bool:
    """Say whether everything is owned, read and exported, and nobody is about to change that."""
    return (
        not world.group.rebalancing
        and not behind(world)
        and all(process.engine.snapshot().ready for process in owning(world))
    )


def owning(world: "World") -> list["Process"]:
    """Return the processes that own anything; there may be more of them than partitions."""
    return [
        process for process in world.processes if process.engine.calls.owned or process.engine.board.owned
    ]


# --- the end --------------------------------------------------------------------------------------------------


def at_the_end(world: "World") -> None:
    """Compare everything with the oracle."""
    names, rules = world.settings.topics, world.traffic.rules
    logs = [[Rec(*record[:4]) for record in log.records] for log in world.broker.logs[names.events]]
    result = oracle.recompute(logs, rules.fold)
    _count_outcomes(world, result)
    _stages(world, result)
    _set_aside(world, logs, result)
    _board(world, result)
    _intervals(world, result)
    for line in world.said:
        assert CALLER not in line, "I9: a call_id stands in the log"


def _count_outcomes(world: "World", result: oracle.Result) -> None:
    for one in result.partitions:
        world.counts["event late"] += one.late
        world.counts["event duplicate"] += one.duplicate
        world.counts["event rejected"] += sum(one.rejected.values())


def _stages(world: "World", result: oracle.Result) -> None:
    for process in world.processes:
        for partition, owned in process.engine.calls.owned.items():
            wanted, found = expected(result.partitions[partition]), shown(owned.stage)
            for numbers in (wanted, found):
                numbers.pop("cells")  # final ones have left stage 1; the board is asked for them below
                numbers["totals"] = _by_queue(world, numbers["totals"])
            assert wanted == found, f"I2: partition {partition}"


def _counts(world: "World", counts: Mapping[int, int]) -> dict[int, int]:
    """Return, in order, the counts that do not depend on who counted."""
    ruled = RULED if world.traffic.rules_change else set()
    return {number: count for number, count in sorted(counts.items()) if number not in ruled}


def _by_queue(world: "World", cells: Mapping[Any, Mapping[int, int]]) -> dict[Any, dict[int, int]]:
    return without_empty({key: _counts(world, counts) for key, counts in cells.items()})


def _values(world: "World", values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an interval that do not depend on who counted."""
    ruled = RULED_VALUES if world.traffic.rules_change else set()
    return {name: value for name, value in values.items() if name not in ruled}


def _set_aside(world: "World", logs: list[list[Rec]], result: oracle.Result) -> None:
    names = world.settings.topics
    for partition, (log, one) in enumerate(zip(logs, result.partitions, strict=True)):
        for topic, kinds in ((names.dead, SET_ASIDE), (names.late, {oracle.LATE})):
            wanted = {
                (record.offset, record.key, record.value)
                for record, outcome in zip(log, one.outcomes, strict=True)
                if outcome in kinds
            }
            kept = {
                (int(dict(record.headers)["offset"]), record.key, record.value)
                for record in world.broker.logs[topic][partition].records
            }
            assert wanted == kept, (
                f"I1: {topic}[{partition}] lacks {len(wanted - kept)}, has {len(kept - wanted)} more"
            )


def _board(world: "World", result: oracle.Result) -> None:
    rules = world.traffic.rules
    totals, story = _by_queue(world, summed(result.totals)), result.story
    exported: set[str] = set()
    for process in owning(world):
        snapshot = process.engine.snapshot()
        assert snapshot.ready, snapshot.not_ready_reason
        assert snapshot.healthy, snapshot.unhealthy_reason
        clock_ms = snapshot.clock_ms
        if clock_ms is None:
            assert not process.engine.board.owned or all(one.stream_time is None for one in result.partitions)
            continue
        end_ms = clock_ms // 5_000 * 5_000 + 5_000
        spans = {name: (end_ms - length_ms, end_ms) for name, length_ms in rules.rolling}
        spans["interval"] = (
            oracle.interval_of(clock_ms, rules.interval_ms // 60_000, rules.time_zone)[0],  # type: ignore[arg-type]
            end_ms,
        )
        spans["day"] = (oracle.day_of(clock_ms, rules.time_zone)[0], end_ms)  # type: ignore[arg-type]
        for view in snapshot.queues:
            queue = view.queue
            assert queue not in exported, f"I2: {queue} is exported twice"
            exported.add(queue)
            found = _counts(world, summed({queue: dict(view.totals)})[queue])
            assert totals.get(queue, {}) == found, f"I2: totals of {queue}"
            now = (view.waiting, view.in_progress, view.oldest_waiting_at_ms)
            assert story.now().get(queue, (0, 0, None)) == now, f"I2: what goes on in {queue}"
            if not world.traffic.rules_change:
                overdue = oracle.waiting_past_target(result.cells, queue, clock_ms)
                assert overdue == view.waiting_past_target, f"I2: waiting past target in {queue}"
            for name, span in spans.items():
                expects = _counts(world, oracle.sum_between(result.cells, queue, *span))
                assert expects == _counts(world, view.windows[name].counts), f"I2: window {name} of {queue}"
            for name, histogram in view.histograms.items():
                observed = story.observations.get(queue, {}).get(name, [])
                counts = oracle.histogram(observed, rules.fold.histogram_bounds_ms)
                assert counts == list(histogram.counts), f"I2: histogram {name} of {queue}"
        _sums(world, process, result)
    assert exported >= set(totals), f"I2: queues {set(totals) - exported} are not exported"


def _sums(world: "World", process: "Process", result: oracle.Result) -> None:
    """Compare every bucket that a shard still holds."""
    for owned in process.engine.board.owned.values():
        tables = owned.stage._tables
        kept: dict[tuple[str, int], dict[int, int]] = {}
        for minute in tables.minutes.values():
            sums = minute.cells()
            for place, value in zip(sums.places.tolist(), sums.values.tolist(), strict=True):
                key = (tables.names[place >> FIELD_BITS & QUEUE_MASK], (place >> BUCKET_SHIFT) * 5_000)
                kept.setdefault(key, {})[place & FIELD_MASK] = value
        wanted = {
            key: without_longest(cell)
            for key, cell in result.cells.items()
            if key[0] in tables.numbers and key[1] >= tables.kept_from * 5_000
        }
        shown = {key: oracle.without_zeros(in_fields(counts)) for key, counts in kept.items()}
        assert _by_queue(world, wanted) == _by_queue(world, shown), "I2: cells"


def without_longest(cell: Any) -> dict[int, int]:
    """Leave out the one field that is no sum."""
    return {number: value for number, value in sorted(cell.items()) if value and number != f.LONGEST_WAIT_MS}


def _intervals(world: "World", result: oracle.Result) -> None:
    """Compare the closed intervals: every row that says final, and the last row of each."""
    rules = world.traffic.rules
    shards = {
        shard: owned.stage
        for process in world.processes
        for shard, owned in process.engine.board.owned.items()
    }
    wanted = {}
    sums = oracle.roll_up(result.cells, rules.interval_ms // 60_000, rules.time_zone)  # type: ignore[arg-type]
    for (queue, start_ms, end_ms), cell in sums.items():
        stage = shards[shard_of(queue, world.shards)]
        clock_ms = stage.clock_ms()
        if clock_ms is not None and end_ms <= clock_ms:
            final = end_ms <= stage.final_before_ms()
            wanted[queue, start_ms] = _values(world, oracle.kpis(cell)) | {"final": final}
    last: dict[tuple[str, int], dict[str, Any]] = {}
    for row in world.auditor.closed:
        key = (row["queue"], oracle.instant(row["start"]))
        values = _values(world, {name: value for name, value in row.items() if name not in PLACE})
        values["final"] = row["final"]
        if row["final"]:
            nothing = _values(world, NO_COUNTS) | {"final": True}
            assert values == wanted.get(key, nothing), f"I2: a final interval of {key}"
        last[key] = values
    wanted, last = _with_counts(world, wanted), _with_counts(world, last)
    differing = sorted(key for key in {*wanted, *last} if wanted.get(key) != last.get(key))
    assert not differing, f"I2: closed intervals {differing}"


def _with_counts(
    world: "World", rows: dict[tuple[str, int], dict[str, Any]]
) -> dict[tuple[str, int], dict[str, Any]]:
    nothing = _values(world, NO_COUNTS)
    return {key: row for key, row in rows.items() if row != nothing | {"final": row["final"]}}
