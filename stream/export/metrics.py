"""The one table of metrics: name, help, kind, labels, and how to read it from a snapshot.

Collector and renderer both walk this table, so a metric exists in both or in neither. Nothing is divided
here: ratios come from ``stream.core.kpi`` and are absent where it says None.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

from prometheus_client.utils import floatToGoString

from schemas import EVENT_TYPES, RejectReason
from stream.core import fields as f
from stream.core import kpi
from stream.core.labels import safe_label, unique_labels
from stream.core.snapshot import HistogramView, PipelineView, QueueView, Snapshot
from stream.settings import Alerts

Value: TypeAlias = int | float | HistogramView
Series: TypeAlias = tuple[tuple[str, ...], Value]  # label values, in the order of the metric's labels
Counts: TypeAlias = Mapping[int, int]
DEFAULT_ALERTS: Final = Alerts()


def number_text(value: float) -> str:
    """Return a number as Prometheus writes it."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


class Kind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Build:
    """Which program this is."""

    version: str
    python: str


@dataclass(frozen=True, slots=True)
class Scrape:
    """One collection: a snapshot, its queues under labels of which no two are alike, and its duration."""

    snapshot: Snapshot
    queues: tuple[tuple[str, QueueView], ...]
    build: Build
    alerts: Alerts
    elapsed_s: Callable[[], float]


def scrape(
    take: Callable[[], Snapshot],
    build: Build,
    monotonic_s: Callable[[], float],
    alerts: Alerts = DEFAULT_ALERTS,
) -> Scrape:
    """Begin a collection: start the clock and take the snapshot."""
    started_s = monotonic_s()
    snapshot = take()
    labels = unique_labels(view.queue for view in snapshot.queues)
    queues = tuple(zip(labels, snapshot.queues, strict=True))
    return Scrape(snapshot, queues, build, alerts, lambda: monotonic_s() - started_s)


Counted = TypeVar("Counted", int, Mapping[str, int])


@dataclass(frozen=True, slots=True)
class OfQueue:
    """How to read a metric of one queue.

    ``part`` is what it reads, for many metrics the same: while that is equal, so is what the metric says. ``read``
    gives the series without the label ``queue``, which is the first of a metric's labels.
    """

    part: Callable[[QueueView], object]
    read: Callable[[QueueView], Iterable[Series]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the table. ``labels`` are in alphabetical order, as the exposition has them."""

    name: str
    help: str
    kind: Kind
    labels: tuple[str, ...]
    read: Callable[[Scrape], Iterable[Series]]
    of_queue: OfQueue | None = None  # None: of the process


def _of_process(name: str, text: str, kind: Kind, value: Callable[[Snapshot], int | float | None]) -> Metric:
    def read(scrape: Scrape) -> Iterator[Series]:
        found = value(scrape.snapshot)
        if found is not None:
            yield (), found

    return Metric(name, text, kind, (), read)


def _of_process_by(
    name: str,
    text: str,
    label: str,
    known: Iterable[str],
    values: Callable[[Snapshot], Mapping[str, int] | None],
) -> Metric:
    zeros = dict.fromkeys(known, 0)

    def read(scrape: Scrape) -> Iterator[Series]:
        found = values(scrape.snapshot)
        for key, value in (zeros | dict(found)).items() if found is not None else ():
            yield (key,), value

    return Metric(name, text, Kind.COUNTER, (label,), read)


def _counted(value: Callable[[PipelineView], Counted]) -> Callable[[Snapshot], Counted | None]:
    """Leave out what is counted over restarts until it is restored: a 0 in between would look like a reset."""
    return lambda snapshot: value(snapshot.pipeline) if snapshot.pipeline.known else None


def _totals(view: QueueView) -> Counts:
    return view.totals


def _window_counts(view: QueueView) -> list[tuple[str, Counts]]:
    return [(label, window.counts) for label, window in view.windows.items()]


def _now(view: QueueView) -> tuple[object, ...]:
    return (
        view.waiting,
        view.waiting_past_target,
        view.in_progress,
        view.oldest_waiting_at_ms,
        view.target_ms,
        view.objective,
        view.abandonment_limit,
        view.wait_limit_ms,
        view.open,
    )


def _by_queue(
    name: str,
    text: str,
    kind: Kind,
    more_labels: tuple[str, ...],
    part: Callable[[QueueView], object],
    read_one: Callable[[QueueView], Iterable[Series]],
) -> Metric:
    def read(scrape: Scrape) -> Iterator[Series]:
        for label, view in scrape.queues:
            for labels, value in read_one(view):
                yield (label, *labels), value

    return Metric(name, text, kind, ("queue", *more_labels), read, OfQueue(part, read_one))


def _of_queue(
    name: str,
    text: str,
    kind: Kind,
    value: Callable[[QueueView], Value | None],
    part: Callable[[QueueView], object] = _now,
) -> Metric:
    def read(view: QueueView) -> tuple[Series, ...]:
        found = value(view)
        return () if found is None else (((), found),)

    return _by_queue(name, text, kind, (), part, read)


def _total(count: kpi.Count, text: str) -> Metric:
    name, read = f"callcenter_contacts_{count.name}_total", count.of
    return _of_queue(name, text, Kind.COUNTER, lambda view: read(view.totals), _totals)


def _total_by_reason(name: str, text: str, reasons: Mapping[str, int]) -> Metric:
    fields = [((reason,), field) for reason, field in reasons.items()]

    def read(view: QueueView) -> list[Series]:
        return [(labels, view.totals.get(field, 0)) for labels, field in fields]

    return _by_queue(name, text, Kind.COUNTER, ("reason",), _totals, read)


def _histogram(key: str, text: str) -> Metric:
    def read(view: QueueView) -> HistogramView | None:
        return view.histograms.get(key)

    return _of_queue(f"callcenter_{key}_seconds", text, Kind.HISTOGRAM, read, part=read)


def _windowed(name: str, text: str, value: Callable[[Counts], int | float | None]) -> Metric:
    def read(view: QueueView) -> list[Series]:
        return [
            ((window,), found)
            for window, sums in view.windows.items()
            if (found := value(sums.counts)) is not None
        ]

    return _by_queue(name, text, Kind.GAUGE, ("window",), _window_counts, read)


def _window_count(count: kpi.Count, text: str) -> Metric:
    return _windowed(f"callcenter_window_{count.name}", text, count.of)


def _seconds(at_ms: int | None) -> float | None:
    return None if at_ms is None else at_ms / kpi.MS_PER_S


def _alert(name: str, text: str, value: Callable[[Alerts], int | float]) -> Metric:
    def read(scrape: Scrape) -> Iterator[Series]:
        yield (), value(scrape.alerts)

    return Metric(f"callgauge_alert_{name}", text, Kind.GAUGE, (), read)


def _lag(scrape: Scrape) -> Iterator[Series]:
    for (topic, partition), records in sorted(scrape.snapshot.pipeline.lag_records.items()):
        yield (str(partition), safe_label(topic)), records


def _checkpoints(scrape: Scrape) -> Iterator[Series]:
    for partition, at_ms in sorted(scrape.snapshot.pipeline.checkpoint_at_ms.items()):
        yield (str(partition),), at_ms / kpi.MS_PER_S


def _build_info(scrape: Scrape) -> Iterator[Series]:
    yield (scrape.build.python, scrape.build.version), 1


def _collect_duration(scrape: Scrape) -> Iterator[Series]:
    yield (), scrape.elapsed_s()


_COUNTERS = (
    _total(kpi.OFFERED, "Contacts that reached the centre, before any queue."),
    _total(kpi.QUEUED, "Visits begun: contacts that entered the queue."),
    _total(kpi.ANSWERED, "Visits that an agent answered."),
    _total(kpi.ANSWERED_WITHIN_TARGET, "Visits answered after a wait of at most the target."),
    _total(kpi.ABANDONED, "Visits in which the customer left while waiting, short ones included."),
    _total(kpi.ABANDONED_WITHIN_TARGET, "Visits abandoned after a wait of at most the target."),
    _total(kpi.ABANDONED_SHORT, "Visits abandoned too soon to count in abandonment and service level."),
    _total_by_reason(
        "callcenter_contacts_left_total",
        "Visits that ended without an answer or an abandon, by reason.",
        f.LEFT,
    ),
    _total_by_reason(
        "callcenter_contacts_blocked_total", "Contacts refused before they could wait, by reason.", f.BLOCKED
    ),
    _total(kpi.EXPIRED, "Visits and conversations closed because no end arrived within call_age_max."),
)

_HISTOGRAMS = (
    _histogram("answer_wait", "Time from queued to answered."),
    _histogram("abandon_wait", "Time from queued to abandoned."),
    _histogram("talk", "Time from answered to the end of the conversation, holds excluded."),
    _histogram("wrap_up", "Time of after-call work."),
    _histogram("handle", "Time of talk, holds and after-call work together."),
)

_NOW = (
    _of_queue("callcenter_contacts_waiting", "Contacts waiting now.", Kind.GAUGE, lambda view: view.waiting),
    _of_queue(
        "callcenter_contacts_waiting_past_target",
        "Contacts waiting now that have waited longer than the target.",
        Kind.GAUGE,
        lambda view: view.waiting_past_target,
    ),
    _of_queue(
        "callcenter_contacts_in_progress",
        "Conversations going on now.",
        Kind.GAUGE,
        lambda view: view.in_progress,
    ),
    _of_queue(
        "callcenter_oldest_waiting_timestamp_seconds",
        "When the contact that waits longest was queued; absent while nobody waits.",
        Kind.GAUGE,
        lambda view: _seconds(view.oldest_waiting_at_ms),
    ),
)

_WINDOW_COUNTS = (
    _window_count(kpi.QUEUED, "Visits begun in the window."),
    _window_count(kpi.ANSWERED, "Visits answered in the window."),
    _window_count(
        kpi.ANSWERED_WITHIN_TARGET, "Visits answered in the window after a wait of at most the target."
    ),
    _window_count(kpi.ABANDONED, "Visits abandoned in the window, short ones included."),
    _window_count(kpi.LEFT, "Visits that ended in the window without an answer or an abandon."),
    _window_count(kpi.BLOCKED, "Contacts refused in the window before they could wait."),
    _window_count(kpi.SERVICE_LEVEL_MET, "Numerator of the service level by the queue's own formula."),
    _window_count(kpi.SERVICE_LEVEL_BASE, "Denominator of the service level by the queue's own formula."),
)

_WINDOW_RATIOS = (
    _windowed(
        "callcenter_service_level_ratio",
        "Service level of the window by the queue's own formula; absent when nothing was due.",
        kpi.SERVICE_LEVEL.of,
    ),
    _windowed(
        "callcenter_abandonment_ratio",
        "Share of the visits ended in the window that were abandoned, short ones out; absent without any.",
        kpi.ABANDONMENT.of,
    ),
    _windowed(
        "callcenter_blocked_ratio",
        "Share of the contacts that were refused in the window; absent when none came.",
        kpi.BLOCKED_RATIO.of,
    ),
    _windowed(
        "callcenter_answer_speed_seconds",
        "Mean wait of the visits answered in the window; absent when none was.",
        kpi.ANSWER_SPEED_S.of,
    ),
    _windowed(
        "callcenter_longest_wait_seconds",
        "Longest wait that ended in the window; absent when none did.",
        kpi.longest_wait_s,
    ),
)

_CONFIGURATION = (
    _of_queue(
        "callcenter_service_level_objective_ratio",
        "Service level that the queue should reach.",
        Kind.GAUGE,
        lambda view: view.objective,
    ),
    _of_queue(
        "callcenter_service_level_target_seconds",
        "Wait within which a visit should be answered.",
        Kind.GAUGE,
        lambda view: _seconds(view.target_ms),
    ),
    _of_queue(
        "callcenter_abandonment_limit_ratio",
        "Abandonment that the queue should stay below.",
        Kind.GAUGE,
        lambda view: view.abandonment_limit,
    ),
    _of_queue(
        "callcenter_wait_limit_seconds",
        "Wait that nobody should exceed.",
        Kind.GAUGE,
        lambda view: _seconds(view.wait_limit_ms),
    ),
    _of_queue(
        "callcenter_queue_open",
        "1 within the queue's opening hours, else 0.",
        Kind.GAUGE,
        lambda view: int(view.open),
    ),
)

_ALERTS = (
    _alert(
        "critical_share_ratio",
        "Share of its objective below which a queue's service level is critical.",
        lambda alerts: alerts.critical_share,
    ),
    _alert(
        "contacts_min",
        "Contacts in 30 minutes below which a service level raises no alert.",
        lambda alerts: alerts.contacts_min,
    ),
    _alert(
        "failures_min",
        "Missed, abandoned, blocked or rejected ones below which their share raises no alert.",
        lambda alerts: alerts.failures_min,
    ),
    _alert(
        "blocked_limit_ratio",
        "Share of blocked contacts above which an alert is raised.",
        lambda alerts: alerts.blocked_limit,
    ),
    _alert(
        "stale_limit_seconds",
        "Age of the numbers above which they are called stale.",
        lambda alerts: alerts.stale_limit_ms / kpi.MS_PER_S,
    ),
    _alert(
        "lag_limit_records",
        "Records not yet read above which a growing lag is reported.",
        lambda alerts: alerts.lag_limit,
    ),
    _alert(
        "rejected_limit_ratio",
        "Share of rejected records above which an alert is raised.",
        lambda alerts: alerts.rejected_limit,
    ),
    _alert(
        "checkpoint_age_limit_seconds",
        "Age of a checkpoint above which it is called old.",
        lambda alerts: alerts.checkpoint_age_limit_ms / kpi.MS_PER_S,
    ),
)

_PIPELINE = (
    _of_process_by(
        "callgauge_events_total",
        "Events applied, by type.",
        "event",
        EVENT_TYPES,
        _counted(lambda pipeline: pipeline.events),
    ),
    _of_process_by(
        "callgauge_events_rejected_total",
        "Records that are no events, by reason; they are in the dead-letter topic.",
        "reason",
        (str(reason) for reason in RejectReason),
        _counted(lambda pipeline: pipeline.rejected),
    ),
    _of_process(
        "callgauge_events_late_total",
        "Events later than the grace; they are in the topic of late ones.",
        Kind.COUNTER,
        _counted(lambda pipeline: pipeline.late),
    ),
    _of_process(
        "callgauge_events_duplicate_total",
        "Events that repeat one already counted.",
        Kind.COUNTER,
        _counted(lambda pipeline: pipeline.duplicate),
    ),
    _of_process_by(
        "callgauge_events_anomalous_total",
        "Applied events that make no sense for their call, by kind.",
        "kind",
        f.ANOMALIES,
        _counted(lambda pipeline: pipeline.anomalous),
    ),
    _of_process(
        "callgauge_position_holes_total",
        "Batches put back because records before them had not been seen.",
        Kind.COUNTER,
        lambda s: s.pipeline.holes,
    ),
    _of_process(
        "callgauge_log_gaps_total",
        "Holes that are in the log itself, as compaction and transactions leave them.",
        Kind.COUNTER,
        lambda s: s.pipeline.gaps,
    ),
    _of_process(
        "callgauge_retention_gaps_total",
        "Times that Kafka had deleted records before they were counted.",
        Kind.COUNTER,
        lambda s: s.pipeline.retention_gaps,
    ),
    _of_process(
        "callgauge_checkpoints_refused_total",
        "Checkpoints that could not be used: damaged, or of a newer program.",
        Kind.COUNTER,
        lambda s: s.pipeline.checkpoints_refused,
    ),
    Metric("callgauge_lag_records", "Records not yet read.", Kind.GAUGE, ("partition", "topic"), _lag),
    _of_process(
        "callgauge_data_timestamp_seconds",
        "The board's clock, at which rolling windows end; absent until every partition was heard.",
        Kind.GAUGE,
        lambda s: _seconds(s.clock_ms),
    ),
    _of_process(
        "callgauge_last_event_timestamp_seconds",
        "Time of the newest event; absent before the first.",
        Kind.GAUGE,
        lambda s: _seconds(s.pipeline.last_event_at_ms),
    ),
    _of_process(
        "callgauge_ready", "1 once recovered and assigned, else 0.", Kind.GAUGE, lambda s: int(s.ready)
    ),
    Metric(
        "callgauge_checkpoint_timestamp_seconds",
        "When the last checkpoint of a partition was stored.",
        Kind.GAUGE,
        ("partition",),
        _checkpoints,
    ),
    _of_process(
        "callgauge_queues_over_limit_total",
        'Contacts counted under queue="__other__", since queues_max was reached.',
        Kind.COUNTER,
        lambda s: s.over_limit,
    ),
    Metric(
        "callgauge_build_info",
        "Which callgauge this is; the value is always 1.",
        Kind.GAUGE,
        ("python", "version"),
        _build_info,
    ),
    # the last row, so that it covers the others
    Metric(
        "callgauge_collect_duration_seconds",
        "Time that this collection took.",
        Kind.GAUGE,
        (),
        _collect_duration,
    ),
)

METRICS: Final[tuple[Metric, ...]] = (
    *_COUNTERS,
    *_HISTOGRAMS,
    *_NOW,
    *_WINDOW_COUNTS,
    *_WINDOW_RATIOS,
    *_CONFIGURATION,
    *_ALERTS,
    *_PIPELINE,
)
