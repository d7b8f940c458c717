"""What the wall-board page shows, as JSON: /board.json.

Names are the contract's; times are RFC 3339 in UTC, spans in seconds, ratios null where they have no base.

    version                 of callgauge; a page that sees another one than before loads itself again
    taken_at                when this view was taken, by the wall clock
    clock                   the board's clock, where rolling windows end; null until every partition was heard
    stale_after_s           a clock that stood still for so long belongs to a board that is stale
    ready, not_ready_reason
    healthy, unhealthy_reason
    total                   like a queue, without `queue`, `open` and the limits
    queues                  sorted by name, each with
      queue, open           the name as the metrics' label has it
      target_s, objective, abandonment_limit, wait_limit_s
      now                   waiting, waiting_past_target, in_progress, oldest_waiting_at (null: nobody)
      windows               by label; start, end, the counts and KPIs of an interval (`replay --to json`), and
                            service_level_met, service_level_base, blocked_ratio
      trend                 the last intervals, oldest first, the current one last: start, end, queued,
                            answered, abandoned, service_level, abandonment

The total adds the fields of all queues and divides then, so that a ratio of it is never a mean of ratios; its
longest wait and its oldest waiting contact are those of all queues. In it, `target_s` and `objective` are
null where queues differ; a window whose bounds they do not share is left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from stream.core import fields as f
from stream.core import kpi
from stream.core.labels import unique_labels
from stream.core.snapshot import QueueView, Snapshot, WindowView

# Three buckets go by within it, and a page that polls every second misses a few answers without crying out.
STALE_AFTER_MS: Final = 15_000

Json: TypeAlias = dict[str, Any]
T = TypeVar("T")

# All queues share the bounds of their windows and intervals, which are some dozens.
_TIMES_KEPT: Final = 256

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TREND_COUNTS: Final = (kpi.QUEUED, kpi.ANSWERED, kpi.ABANDONED)
_TREND_RATIOS: Final = (kpi.SERVICE_LEVEL, kpi.ABANDONMENT)


def board_json(snapshot: Snapshot, *, version: str, stale_after_ms: int = STALE_AFTER_MS) -> bytes:
    """Return the board of a snapshot, encoded."""
    return msgspec.json.encode(board(snapshot, version=version, stale_after_ms=stale_after_ms))


def board(snapshot: Snapshot, *, version: str, stale_after_ms: int = STALE_AFTER_MS) -> Json:
    """Return the board of a snapshot."""
    views = snapshot.queues
    return {
        "version": version,
        "taken_at": _time(snapshot.taken_at_ms),
        "clock": _time(snapshot.clock_ms),
        "stale_after_s": stale_after_ms / kpi.MS_PER_S,
        "ready": snapshot.ready,
        "not_ready_reason": snapshot.not_ready_reason,
        "healthy": snapshot.healthy,
        "unhealthy_reason": snapshot.unhealthy_reason,
        "total": _total(views),
        "queues": [
            _queue(label, view)
            for label, view in zip(unique_labels(view.queue for view in views), views, strict=True)
        ],
    }


def _queue(label: str, view: QueueView) -> Json:
    return {
        "queue": label,
        "open": view.open,
        "target_s": view.target_ms / kpi.MS_PER_S,
        "objective": view.objective,
        "abandonment_limit": view.abandonment_limit,
        "wait_limit_s": view.wait_limit_ms / kpi.MS_PER_S,
        "now": _now([view]),
        "windows": {window: _window(sums) for window, sums in view.windows.items()},
        "trend": [_trend(sums) for sums in view.trend],
    }


def _total(views: Sequence[QueueView]) -> Json:
    target_ms = _common(view.target_ms for view in views)
    windows = {window: None for view in views for window in view.windows}
    return {
        "target_s": None if target_ms is None else target_ms / kpi.MS_PER_S,
        "objective": _common(view.objective for view in views),
        "now": _now(views),
        "windows": {
            window: _window(sums)
            for window in windows
            if (sums := _merged([view.windows[window] for view in views if window in view.windows]))
            is not None
        },
        "trend": [_trend(sums) for sums in _merged_trend(views)],
    }


def _now(views: Iterable[QueueView]) -> Json:
    views = list(views)
    oldest = (view.oldest_waiting_at_ms for view in views if view.oldest_waiting_at_ms is not None)
    return {
        "waiting": sum(view.waiting for view in views),
        "waiting_past_target": sum(view.waiting_past_target for view in views),
        "in_progress": sum(view.in_progress for view in views),
        "oldest_waiting_at": _time(min(oldest, default=None)),
    }


def _window(sums: WindowView) -> Json:
    return {
        "start": _time(sums.start_ms),
        "end": _time(sums.end_ms),
        **kpi.interval_values(sums.counts),
        kpi.SERVICE_LEVEL_MET.name: kpi.SERVICE_LEVEL_MET.of(sums.counts),
        kpi.SERVICE_LEVEL_BASE.name: kpi.SERVICE_LEVEL_BASE.of(sums.counts),
        kpi.BLOCKED_RATIO.name: kpi.BLOCKED_RATIO.of(sums.counts),
    }


def _trend(sums: WindowView) -> Json:
    values: Json = {"start": _time(sums.start_ms), "end": _time(sums.end_ms)}
    values.update((count.name, count.of(sums.counts)) for count in _TREND_COUNTS)
    values.update((ratio.name, ratio.of(sums.counts)) for ratio in _TREND_RATIOS)
    return values


def _merged(windows: Sequence[WindowView]) -> WindowView | None:
    """Add windows of the same bounds; None when the bounds differ."""
    start_ms = _common(sums.start_ms for sums in windows)
    end_ms = _common(sums.end_ms for sums in windows)
    if start_ms is None or end_ms is None:
        return None
    return WindowView(start_ms, end_ms, _added(sums.counts for sums in windows))


def _merged_trend(views: Iterable[QueueView]) -> list[WindowView]:
    by_bounds: dict[tuple[int, int], list[WindowView]] = {}
    for view in views:
        for sums in view.trend:
            by_bounds.setdefault((sums.start_ms, sums.end_ms), []).append(sums)
    return [
        WindowView(start_ms, end_ms, _added(sums.counts for sums in found))
        for (start_ms, end_ms), found in sorted(by_bounds.items())
    ]


def _added(cells: Iterable[Mapping[int, int]]) -> dict[int, int]:
    added: dict[int, int] = {}
    for counts in cells:
        for field, value in counts.items():
            if field == f.LONGEST_WAIT_MS:
                added[field] = max(value, added.get(field, value))
            else:
                added[field] = added.get(field, 0) + value
    return added


def _common(values: Iterable[T]) -> T | None:
    """Return the value that all share; None when they differ or there is none."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


@lru_cache(maxsize=_TIMES_KEPT)
def _time(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
