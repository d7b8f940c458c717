"""Stage 2: cells of all source partitions become the board of one shard, closed intervals, and the view for readers.

Theory of operation. Every source partition sends, twice a second, what has changed and three times: ``stream_time``,
``as_of`` and ``final_before``. The board's clock is the earliest ``as_of``; it never goes back. An interval is *closed*
when the clock is past its end, and *final* when every partition's ``final_before`` is: nothing can change it any more.
A partition without events holds back the mark ``final``, never a value. Nothing here reads a clock of its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

import msgspec
import numpy as np

from stream.core import fields as f
from stream.core import kpi, older
from stream.core.calls import Record
from stream.core.checkpoint import CheckpointError, Encoded, encode, header, unseal
from stream.core.columns import Ints, column, grown, pack, runs, unpack
from stream.core.counted import HISTOGRAMS
from stream.core.counts import Counts, total_of
from stream.core.place import FIELDS, shard_of
from stream.core.rules import QUARTER_MS, BoardRules, Clock
from stream.core.snapshot import HistogramView, PipelineView, QueueView, Snapshot, Status, WindowView
from stream.core.tables import NEVER, Heard, Rows, Tables, cells_a_minute, counts_of
from stream.core.tables_state import TablesState
from stream.core.window import day_start_ms, interval_start_ms, minute_of_week, rfc3339
from stream.core.wire import (
    PUBLICATION_VERSION,
    Publication,
    Update,
    decode_publication,
    opened,
    version_of,
)

MAGIC: Final = b"cgS2"
INTERVAL: Final = "interval"
DAY: Final = "day"
TREND_INTERVALS: Final = 12  # six hours of half-hours: a shift so far, at a glance
# The window `day` reaches back 25 h at most (a day on which the clock goes back); twice that leaves room for the trend.
QUARTERS_KEPT_MS: Final = 50 * 3_600_000
# A partition without events holds back the mark `final`. After a long weekend that is given up: the interval keeps its
# values, and the mark false, in `queue-intervals`.
UNFINAL_KEPT_MS: Final = 8 * 24 * 3_600_000


_PUBLISHED, _CHANGED = 1, 2
_INTERVAL_SPAN: Final = -2  # of the windows: the interval comes last but one, the day last


class Source(msgspec.Struct, array_like=True, gc=False):
    """Where one source partition stands."""

    applied_offset: int
    stream_time_ms: int | None
    final_before_ms: int
    as_of_ms: int | None
    caught_up: bool
    version: int = 0  # of the publication
    since_ms: int = 0  # when whoever said it began

    def knows_better(self, publication: Publication) -> bool:
        """Say whether a publication counts for nothing: its worker does not know yet that it was replaced."""
        return publication.applied_offset < self.applied_offset

    def has_heard(self, publication: Publication) -> bool:
        """Say whether of a publication no more counts than that somebody lives.

        Somebody else has said already what there is to say at its offset, and it does not say everything anew as one
        who came later does; or it is of an earlier release than the last, and counts otherwise.
        """
        another = publication.applied_offset == self.applied_offset and publication.since_ms != self.since_ms
        follows = publication.anew_from is not None and publication.since_ms > self.since_ms
        return publication.version < self.version or (another and not follows)

    def at(self, publication: Publication) -> "Source":
        """Return what becomes of this by a publication of which no more counts: only time goes on."""
        if (publication.as_of_ms or 0) < (self.as_of_ms or 0):
            return self
        return msgspec.structs.replace(self, as_of_ms=publication.as_of_ms, caught_up=publication.caught_up)


class _Histograms:
    """The histograms of each queue since the beginning; one that is the same is the same object."""

    def __init__(self, bounds_ms: tuple[int, ...]) -> None:
        self._bounds_ms = bounds_ms
        self._rows = np.zeros((0, HISTOGRAMS * (len(bounds_ms) + 1)), np.int64)
        self._shown: dict[int, dict[str, HistogramView]] = {}

    def show(self, rows: Ints) -> None:
        """Show other counts, a row for each queue."""
        self._rows = rows

    def of(self, queue: int, totals: Counts) -> Mapping[str, HistogramView]:
        """Return the histograms of a queue with these totals."""
        shown = self._shown.get(queue, {})
        counts = self._rows[queue].tolist()
        width = len(self._bounds_ms) + 1
        changed = {}
        for index, (name, (_, sum_field)) in enumerate(f.HISTOGRAMS.items()):
            view, sum_ms = shown.get(name), totals.get(sum_field, 0)
            of_name = tuple(counts[index * width : (index + 1) * width])
            if view is None or view.sum_ms != sum_ms or view.counts != of_name:
                changed[name] = HistogramView(self._bounds_ms, of_name, sum_ms)
        if changed:
            shown = self._shown[queue] = shown | changed
        return shown


class _Look(NamedTuple):
    """What a shard shows at one moment; lists have an entry for each queue, by number."""

    version: int
    bucket: int  # of now
    minute_of_week: tuple[int, int]
    spans: list[tuple[str, int, int]]  # windows as (label, first bucket, last + 1)
    past: list[tuple[int, Rows]]  # intervals before the current one: start in ms, counts
    overdue_later: list[int]
    oldest_waiting_at_ms: list[int | None]


class BoardShard:
    """The queues of one shard."""

    def __init__(self, shard: int, rules: BoardRules) -> None:
        self.shard = shard
        self.applied_offset = -1
        self.unreadable = 0  # records that are no publication
        self._rules = rules
        self._bucket_ms = rules.fold.bucket_ms
        self._sources: dict[int, Source] = {}
        self._tables = Tables(self._bucket_ms, len(rules.fold.histogram_bounds_ms))
        # interval start -> for each queue 0, or whether it was published as it is (_PUBLISHED) or not (_CHANGED)
        self._open: dict[int, Ints] = {}
        self._interval_of: dict[int, int] = {}  # quarter -> interval start
        self._clock_ms: int | None = None
        self._pruned_at = 0
        self._version = 0  # grows with every change
        self._look: _Look | None = None
        self._windows = [Rows() for _ in range(len(rules.rolling) + 2)]
        self._past: dict[int, Rows] = {}  # by start
        self._totals = Rows()
        self._histograms = _Histograms(rules.fold.histogram_bounds_ms)
        self._views: dict[int, tuple[object, QueueView]] = {}
        for name in sorted(rules.fold.queues):
            if shard_of(name, rules.shards) == shard:
                self._tables.number(name, 0)

    # --- taking in -----------------------------------------------------------------------------------------------

    def fold(self, records: Sequence[Record]) -> None:
        """Take records of ``queue-cells``; those at or below ``applied_offset`` are skipped.

        Raises CheckpointError for a publication of a newer callgauge; what is no publication at all is counted.
        """
        for record in records:
            if record.offset <= self.applied_offset:
                continue
            self.applied_offset = record.offset
            try:
                publication, update = self._read(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
                self.unreadable += 1
                continue
            self._absorb(publication, update)
        self._prune()

    def _read(self, data: bytes) -> tuple[Publication, Update]:
        """Decode a publication of any release so far. Raises CheckpointError for one of a newer release."""
        version = version_of(data)
        if older.VERSION < version <= PUBLICATION_VERSION:
            publication = decode_publication(data)
            return publication, opened(publication)
        if version > PUBLICATION_VERSION:
            raise CheckpointError(
                f"queue-cells has a publication of version {version}, newer than "
                f"{PUBLICATION_VERSION}: run the newer callgauge everywhere"
            )
        old = older.decode_publication(data)
        return older.said(
            old, self._tables.per_minute, self._tables.held(old.partition), self._tables.numbers
        )

    def _absorb(self, publication: Publication, update: Update) -> None:
        partition, source = publication.partition, self._sources.get(publication.partition)
        if source is not None and source.knows_better(publication):
            return
        if source is not None and source.has_heard(publication):
            self._sources[partition] = source.at(publication)
            return
        final_before_ms = 0 if source is None else source.final_before_ms
        if publication.queues or publication.anew_from is not None:
            self._version += 1
            self._take(publication, update, final_before_ms // self._bucket_ms)
        # What was final stays final, even after a restart with a longer grace: its cells are let go of.
        final_before_ms = max(publication.final_before_ms, final_before_ms)
        self._sources[partition] = Source(
            publication.applied_offset,
            publication.stream_time_ms,
            final_before_ms,
            publication.as_of_ms,
            publication.caught_up,
            publication.version,
            publication.since_ms,
        )
        self._tables.settle(partition, final_before_ms // self._bucket_ms)

    def _take(self, publication: Publication, update: Update, final_before: int) -> None:
        buckets, queues = self._tables.absorb(
            publication.partition,
            Heard(publication.queues, publication.first_at_ms, publication.oldest_waiting_at_ms),
            update,
            final_before,
        )
        quarters = buckets // max(1, QUARTER_MS // self._bucket_ms)
        for begin, end in runs(quarters):
            self._mark(int(quarters[begin]) * QUARTER_MS, queues[begin:end])

    def _mark(self, at_ms: int, queues: Ints) -> None:
        """Note that the interval that holds a moment is to be published, for some queues."""
        start_ms = self._interval(at_ms)
        if self._clock_ms is not None and start_ms < self._clock_ms - UNFINAL_KEPT_MS:
            return  # given up: what came before is not held any more, so nothing whole could be published
        marks = self._open.get(start_ms)
        marks = self._open[start_ms] = grown(column(()) if marks is None else marks, len(self._tables.names))
        marks[queues] = _CHANGED

    def _interval(self, at_ms: int) -> int:
        """Return when the interval that holds a moment starts."""
        quarter = at_ms // QUARTER_MS
        start_ms = self._interval_of.get(quarter)
        if start_ms is None:
            start_ms = interval_start_ms(quarter * QUARTER_MS, self._rules.interval_ms, self._rules.time_zone)
            self._interval_of[quarter] = start_ms
        return start_ms

    def _restore_open(self, intervals: dict[int, bytes], interval_ms: int) -> None:
        """Take the intervals that are to be published; with another length, all that they covered."""
        for start_ms, packed in intervals.items():
            marks = unpack(packed)
            if interval_ms == self._rules.interval_ms:
                self._open[start_ms] = marks
                continue
            for at_ms in range(start_ms, start_ms + interval_ms, QUARTER_MS):
                self._mark(at_ms, marks.nonzero()[0])

    def _prune(self) -> None:
        """Drop what no window can show any more, once every quarter hour of the clock."""
        clock_ms = self.clock_ms()
        if clock_ms is None or clock_ms // QUARTER_MS == self._pruned_at:
            return
        self._pruned_at = clock_ms // QUARTER_MS
        longest_window_ms = max((length_ms for _, length_ms in self._rules.rolling), default=0)
        bucket = (clock_ms - longest_window_ms - 2 * QUARTER_MS) // self._bucket_ms
        for start_ms in [old for old in self._open if old < clock_ms - UNFINAL_KEPT_MS]:
            if not (self._open[start_ms] == _CHANGED).any():
                del self._open[start_ms]
        keep = {
            quarter
            for start_ms in self._open
            for quarter in range(start_ms // QUARTER_MS, (start_ms + self._rules.interval_ms) // QUARTER_MS)
        }
        quarter = (clock_ms - QUARTERS_KEPT_MS) // QUARTER_MS
        self._tables.forget_before(bucket, quarter, keep)
        for old in [known for known in self._interval_of if known < quarter]:
            del self._interval_of[old]

    # --- time ----------------------------------------------------------------------------------------------------

    def clock_ms(self) -> int | None:
        """Return the board's clock: None until every source partition was heard; never goes back."""
        if len(self._sources) >= self._rules.source_partitions:
            now_ms = self._stream_clock_ms() if self._rules.clock is Clock.STREAM else self._wall_clock_ms()
            if now_ms is not None and (self._clock_ms is None or now_ms > self._clock_ms):
                self._clock_ms = now_ms
        return self._clock_ms

    def _wall_clock_ms(self) -> int | None:
        times = [source.as_of_ms for source in self._sources.values()]
        known = [time_ms for time_ms in times if time_ms is not None]
        return min(known) if len(known) == len(times) else None

    def _stream_clock_ms(self) -> int | None:
        """Take the slowest partition that still has records to read; at the end of all logs, the newest event.

        A partition that has nothing to read does not hold the clock back: its silence is no slowness.
        """
        newest_ms = max(
            (s.stream_time_ms for s in self._sources.values() if s.stream_time_ms is not None), default=None
        )
        behind = [source.stream_time_ms for source in self._sources.values() if not source.caught_up]
        known = [time_ms for time_ms in behind if time_ms is not None]
        if len(known) < len(behind):
            return None
        return min(known, default=newest_ms)

    def final_before_ms(self) -> int:
        """Return the time before which nothing can change on any source partition."""
        if len(self._sources) < self._rules.source_partitions:
            return 0
        return min(source.final_before_ms for source in self._sources.values())

    # --- closed intervals ----------------------------------------------------------------------------------------

    def take_closed(self) -> list[tuple[str, bytes]]:
        """Return the closed intervals that changed, or became final, since the last call: (key, JSON)."""
        clock_ms, final_before_ms = self.clock_ms(), self.final_before_ms()
        if clock_ms is None:
            return []
        taken = []
        for start_ms in sorted(self._open):
            end_ms = start_ms + self._rules.interval_ms
            if end_ms > clock_ms:
                break
            final = end_ms <= final_before_ms
            marks = self._open[start_ms]
            wanted = (marks != 0 if final else marks == _CHANGED).nonzero()[0].tolist()
            for name, counts in self._counts_of(wanted, start_ms, end_ms):
                row = interval_row(name, INTERVAL, start_ms, end_ms, counts, self._rules.time_zone)
                taken.append((f"{name}|{row['start']}", msgspec.json.encode(row | {"final": final})))
            marks[wanted] = _PUBLISHED
            if final:
                del self._open[start_ms]
        return taken

    def take_final(self) -> list[tuple[int, str, Counts]]:
        """Return the intervals that have become final since the last call: (start in ms, queue, counts), in this order.

        For a replay; the counts have the longest wait among them, and those without any are left out.
        """
        final_before_ms = self.final_before_ms()
        taken = []
        for start_ms in sorted(self._open):
            end_ms = start_ms + self._rules.interval_ms
            if end_ms > final_before_ms:
                break
            wanted = self._open.pop(start_ms).nonzero()[0].tolist()
            taken += [
                (start_ms, name, counts)
                for name, counts in self._counts_of(wanted, start_ms, end_ms)
                if counts
            ]
        return taken

    def _counts_of(self, numbers: list[int], start_ms: int, end_ms: int) -> list[tuple[str, Counts]]:
        """Return the counts of some queues in a span, by name and in its order."""
        if not numbers:
            return []
        rows = self._tables.sum(*self._buckets(start_ms, end_ms)).reshape(-1, FIELDS)
        names = self._tables.names
        return sorted((names[number], counts_of(rows[number])) for number in numbers)

    def _buckets(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        return start_ms // self._bucket_ms, -(-end_ms // self._bucket_ms)

    # --- what readers see ----------------------------------------------------------------------------------------

    def views(self, clock_ms: int) -> list[QueueView]:
        """Return every queue as of a clock."""
        look = self.look(clock_ms)
        versions = self._tables.versions.tolist()
        return [
            self._view(number, (versions[number], look.bucket), look)
            for number in range(len(self._tables.names))
        ]

    def firsts(self) -> list[tuple[str, int]]:
        """Return when each queue was first heard of."""
        return list(zip(self._tables.names, self._tables.first_at_ms, strict=True))

    def look(self, clock_ms: int) -> _Look:
        """Add up what is shown at a clock."""
        bucket, tables, last = clock_ms // self._bucket_ms, self._tables, self._look
        week = minute_of_week(clock_ms, self._rules.time_zone)
        if last is not None and (last.version, last.bucket, last.minute_of_week) == (
            self._version,
            bucket,
            week,
        ):
            return last
        spans = self._spans(clock_ms)
        for rows, (_, first, end) in zip(self._windows, spans, strict=True):
            rows.show(tables.sum(first, end))
        self._totals.show(tables.totals())
        self._histograms.show(tables.histograms())
        self._look = _Look(
            self._version,
            bucket,
            week,
            spans,
            self._look_back(self._past_starts(spans[_INTERVAL_SPAN][1] * self._bucket_ms)),
            tables.overdue_after(bucket),
            tables.oldest_waiting_at_ms(),
        )
        return self._look

    def _look_back(self, starts: range) -> list[tuple[int, Rows]]:
        """Add up past intervals, by their starts in ms; each ends where the next starts."""
        tables = self._tables
        known, self._past = self._past, {}
        for start_ms in starts:
            first, end = self._buckets(start_ms, start_ms + starts.step)
            rows = known.get(start_ms)
            if rows is None or end > tables.changed_from or rows.queues() < len(tables.names):
                rows = rows or Rows()
                rows.show(tables.sum(first, end))
            self._past[start_ms] = rows
        tables.changed_from = NEVER
        return list(self._past.items())

    def _spans(self, clock_ms: int) -> list[tuple[str, int, int]]:
        """Return the windows as (label, first bucket, last + 1); all end with the bucket of now."""
        end = clock_ms // self._bucket_ms + 1
        spans = [(label, end - length_ms // self._bucket_ms, end) for label, length_ms in self._rules.rolling]
        zone = self._rules.time_zone
        for label, start_ms in (
            (INTERVAL, interval_start_ms(clock_ms, self._rules.interval_ms, zone)),
            (DAY, day_start_ms(clock_ms, zone)),
        ):
            spans.append((label, start_ms // self._bucket_ms, end))
        return spans

    def _view(self, number: int, moment: tuple[int, int], look: _Look) -> QueueView:
        name = self._tables.names[number]
        policy = self._rules.policy(name)
        is_open = policy.opening is None or policy.opening.is_open(*look.minute_of_week)
        known = self._views.get(number)
        if known is not None and known[0] == (moment, is_open):
            return known[1]
        totals = self._totals.of(number)
        waiting = max(0, kpi.WAITING.of(totals))
        overdue = totals.get(f.OVERDUE, 0) - look.overdue_later[number]
        windows = {
            label: WindowView(first * self._bucket_ms, end * self._bucket_ms, rows.of(number))
            for rows, (label, first, end) in zip(self._windows, look.spans, strict=True)
        }
        length_ms = self._rules.interval_ms
        view = QueueView(
            queue=name,
            totals=totals,
            histograms=self._histograms.of(number, totals),
            waiting=waiting,
            waiting_past_target=min(waiting, max(0, overdue)),
            in_progress=max(0, kpi.IN_PROGRESS.of(totals)),
            oldest_waiting_at_ms=look.oldest_waiting_at_ms[number],
            windows=windows,
            trend=(
                *(
                    WindowView(start_ms, start_ms + length_ms, rows.of(number))
                    for start_ms, rows in look.past
                ),
                windows[INTERVAL],
            ),
            target_ms=self._rules.fold.rule(name).target_ms,
            objective=policy.objective,
            abandonment_limit=policy.abandonment_limit,
            wait_limit_ms=policy.wait_limit_ms,
            open=is_open,
        )
        self._views[number] = (moment, is_open), view
        return view

    def _past_starts(self, current_ms: int) -> range:
        """Return the starts of the intervals before the current one that the trend shows."""
        length_ms = self._rules.interval_ms
        return range(current_ms - (TREND_INTERVALS - 1) * length_ms, current_ms, length_ms)

    # --- state to bytes ------------------------------------------------------------------------------------------

    def encode(self) -> Encoded:
        """Return the whole state as of now, still to be sealed."""
        return encode(
            MAGIC,
            self.applied_offset,
            _State(
                self.shard,
                self.applied_offset,
                self._bucket_ms,
                self._clock_ms,
                self.unreadable,
                list(self._rules.fold.histogram_bounds_ms),
                self._sources,
                TablesState.of(self._tables),
                {start_ms: pack(marks) for start_ms, marks in sorted(self._open.items())},
                self._rules.interval_ms,
            ),
        )

    def dump(self) -> bytes:
        """Return the whole state, sealed."""
        return self.encode().seal()

    @classmethod
    def load(cls, data: bytes, shard: int, rules: BoardRules) -> "BoardShard":
        """Make a shard from ``dump``'s bytes. Raises CheckpointError."""
        board = cls(shard, rules)
        layout = header(MAGIC, data).layout
        state = (
            _upgraded(unseal(MAGIC, data, older.OldShard), layout)
            if layout <= older.LAYOUT
            else unseal(MAGIC, data, _State)
        )
        if (state.shard, state.bucket_ms) != (shard, rules.fold.bucket_ms):
            raise CheckpointError(
                f"checkpoint is of shard {state.shard} with buckets of {state.bucket_ms} ms, "
                f"not of {shard} with {rules.fold.bucket_ms}"
            )
        board.applied_offset = state.applied_offset
        board.unreadable = state.unreadable
        board._clock_ms = state.clock_ms
        board._sources = state.sources
        state.tables.into(board._tables, same_bounds=state.bounds_ms == list(rules.fold.histogram_bounds_ms))
        board._restore_open(state.open_intervals, state.interval_ms)
        return board


class _State(msgspec.Struct, array_like=True, gc=False):
    shard: int
    applied_offset: int
    bucket_ms: int
    clock_ms: int | None
    unreadable: int
    bounds_ms: list[int]
    sources: dict[int, Source]
    tables: TablesState
    open_intervals: dict[int, bytes]
    interval_ms: int


def _upgraded(old: older.OldShard, layout: int) -> _State:
    return _State(
        old.shard,
        old.applied_offset,
        old.bucket_ms,
        old.clock_ms,
        old.unreadable,
        old.bounds_ms,
        msgspec.convert(old.sources, dict[int, Source]),
        older.tables_state(old, layout, cells_a_minute(old.bucket_ms)),
        {start_ms: pack(marks) for start_ms, marks in older.marks(old, _PUBLISHED, _CHANGED).items()},
        old.interval_ms,
    )


def interval_row(
    name: str, window: str, start_ms: int, end_ms: int, counts: Mapping[int, int], zone: tzinfo
) -> dict[str, object]:
    """Return an interval or a day as others read it (contract, section 6)."""
    return {
        "queue": name,
        "window": window,
        "start": rfc3339(start_ms, zone),
        "end": rfc3339(end_ms, zone),
        **kpi.interval_values(counts),
    }


# --- one view of several shards ---------------------------------------------------------------------------------------


def clock_of_all(shards: Iterable[BoardShard]) -> int | None:
    """Return the earliest clock of some shards; None while one of them has none yet."""
    clocks = [board.clock_ms() for board in shards]
    known = [clock for clock in clocks if clock is not None]
    return min(known) if known and len(known) == len(clocks) else None


def approach(shards: Iterable[BoardShard]) -> Iterator[None]:
    """Bring what a snapshot will show nearly up to date, a shard in each step.

    Who looks first after minutes of a backlog has everything since then added up, and nothing else goes on meanwhile.
    """
    boards = list(shards)
    for board in boards:
        clock_ms = clock_of_all(boards)  # it goes on between the steps
        if clock_ms is not None:
            board.look(clock_ms)
        yield


def take_snapshot(
    shards: Iterable[BoardShard],
    pipeline: PipelineView,
    rules: BoardRules,
    *,
    status: Status,
    taken_at_ms: int,
) -> Snapshot:
    """Look at all shards of this process at one moment, by the clock of all."""
    boards = list(shards)
    clock_ms = clock_of_all(boards)
    views: list[QueueView] = []
    if clock_ms is not None:
        firsts = {name: first_at_ms for board in boards for name, first_at_ms in board.firsts()}
        views = cap([view for board in boards for view in board.views(clock_ms)], firsts, rules)
    return Snapshot(
        clock_ms=clock_ms,
        queues=tuple(sorted(views, key=lambda view: view.queue)),
        over_limit=sum(_contacts(view) for view in views if view.queue == f.OTHER),
        pipeline=pipeline,
        ready=status.ready,
        not_ready_reason=status.not_ready_reason,
        healthy=status.healthy,
        unhealthy_reason=status.unhealthy_reason,
        behind=status.behind,
        taken_at_ms=taken_at_ms,
    )


def _contacts(view: QueueView) -> int:
    return sum(count.of(view.totals) for count in (kpi.OFFERED, kpi.QUEUED, kpi.BLOCKED))


def cap(views: list[QueueView], firsts: dict[str, int], rules: BoardRules) -> list[QueueView]:
    """Keep the configured queues and the first others up to ``queues_max``; add up the rest as one.

    First is by the time of a queue's first event, so that a restart keeps the same ones.
    """
    own = [
        view
        for view in views
        if view.queue != f.OTHER and (view.queue in rules.fold.queues or view.queue == f.UNROUTED)
    ]
    others = [
        view
        for view in views
        if view.queue not in rules.fold.queues and view.queue not in (f.UNROUTED, f.OTHER)
    ]
    room = max(0, rules.queues_max - sum(view.queue != f.UNROUTED for view in own))
    over = [view for view in views if view.queue == f.OTHER]
    if len(others) > room:
        others.sort(key=lambda view: (firsts[view.queue], view.queue))
        over += others[room:]
        others = others[:room]
    return [*own, *others, *([merge_views(f.OTHER, over)] if over else [])]


def merge_views(name: str, views: Sequence[QueueView]) -> QueueView:
    """Add up several queues: counts by sums, the longest wait by maximum, the oldest by minimum."""
    first = views[0]
    oldest = [view.oldest_waiting_at_ms for view in views if view.oldest_waiting_at_ms is not None]
    return QueueView(
        queue=name,
        totals=merge_counts([view.totals for view in views]),
        histograms={
            key: _merge_histograms([view.histograms[key] for view in views]) for key in first.histograms
        },
        waiting=sum(view.waiting for view in views),
        waiting_past_target=sum(view.waiting_past_target for view in views),
        in_progress=sum(view.in_progress for view in views),
        oldest_waiting_at_ms=min(oldest, default=None),
        windows={label: _merge_windows([view.windows[label] for view in views]) for label in first.windows},
        trend=tuple(_merge_windows(windows) for windows in zip(*(view.trend for view in views), strict=True)),
        target_ms=first.target_ms,
        objective=first.objective,
        abandonment_limit=first.abandonment_limit,
        wait_limit_ms=first.wait_limit_ms,
        open=any(view.open for view in views),
    )


def merge_counts(all_counts: Sequence[Mapping[int, int]]) -> Counts:
    """Add up counts; the longest wait is the longest of all."""
    total = total_of(map(dict, all_counts))
    longest = [counts[f.LONGEST_WAIT_MS] for counts in all_counts if f.LONGEST_WAIT_MS in counts]
    if longest:
        total[f.LONGEST_WAIT_MS] = max(longest)
    return total


def _merge_windows(windows: Sequence[WindowView]) -> WindowView:
    return WindowView(
        windows[0].start_ms, windows[0].end_ms, merge_counts([window.counts for window in windows])
    )


def _merge_histograms(histograms: Sequence[HistogramView]) -> HistogramView:
    return HistogramView(
        histograms[0].bounds_ms,
        tuple(map(sum, zip(*(histogram.counts for histogram in histograms), strict=True))),
        sum(histogram.sum_ms for histogram in histograms),
    )
