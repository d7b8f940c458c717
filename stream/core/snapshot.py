"""What a reader gets: one immutable, consistent view of everything this process may export.

The exporter, the page and the terminal table read these values and nothing else. Times are integer milliseconds since
the epoch, spans integer milliseconds; ratios are left to ``stream.core.kpi``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class WindowView:
    """Sums over one window of one queue: ``{field: value}`` (see ``stream.core.fields``), [start, end)."""

    start_ms: int
    end_ms: int
    counts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class HistogramView:
    """Observations by upper bound, not cumulated; ``counts`` has one more entry than ``bounds_ms``, for +Inf."""

    bounds_ms: tuple[int, ...]
    counts: tuple[int, ...]
    sum_ms: int


@dataclass(frozen=True, slots=True)
class QueueView:
    """One queue: totals since the beginning, now, and its windows by label (`5m`, ..., `interval`, `day`)."""

    queue: str
    totals: Mapping[int, int]
    histograms: Mapping[str, HistogramView]
    waiting: int
    waiting_past_target: int
    in_progress: int
    oldest_waiting_at_ms: int | None
    windows: Mapping[str, WindowView]
    trend: tuple[WindowView, ...]  # the last intervals, oldest first, the current one last
    target_ms: int
    objective: float
    abandonment_limit: float
    wait_limit_ms: int
    open: bool


@dataclass(frozen=True, slots=True)
class PipelineView:
    """What became of the records that were read, and where the process stands."""

    known: bool = True  # False until partitions are ours and restored: then the counts are not 0 but unknown
    events: Mapping[str, int] = field(default_factory=dict)  # applied, by event type
    rejected: Mapping[str, int] = field(default_factory=dict)  # by reason
    late: int = 0
    duplicate: int = 0
    anomalous: Mapping[str, int] = field(default_factory=dict)  # by kind
    holes: int = 0  # batches dropped because records before them were missing
    gaps: int = 0  # holes that turned out to be in the log itself
    retention_gaps: int = 0  # records were deleted before they were counted
    checkpoints_refused: int = 0  # damaged, or not for this program to read
    lag_records: Mapping[tuple[str, int], int] = field(default_factory=dict)  # (topic, partition)
    last_event_at_ms: int | None = None
    checkpoint_at_ms: Mapping[int, int] = field(default_factory=dict)  # wall clock, by source partition


@dataclass(frozen=True, slots=True)
class Status:
    """Whether the process can be asked, and whether it is well: what the probes want to know."""

    ready: bool
    not_ready_reason: str  # one line; empty when ready
    healthy: bool
    unhealthy_reason: str
    # a backlog is being read: then whoever looks must not slow it down
    behind: bool = field(default=False, kw_only=True, compare=False)


# More than a live feed has under way.
BEHIND_RECORDS: Final = 10_000


def is_behind(lags: Iterable[int]) -> bool:
    """Say whether the records that wait, by partition, are a backlog."""
    return sum(lags) > BEHIND_RECORDS


WELL: Final = Status(ready=True, not_ready_reason="", healthy=True, unhealthy_reason="")


@dataclass(frozen=True, slots=True)
class Snapshot(Status):
    """Everything at one moment. ``clock_ms`` is the board's clock, None until every source partition was heard."""

    clock_ms: int | None
    queues: tuple[QueueView, ...]  # sorted by name
    over_limit: int  # contacts counted under ``__other__``
    pipeline: PipelineView
    taken_at_ms: int  # wall clock
