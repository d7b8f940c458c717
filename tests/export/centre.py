"""Snapshots of an imaginary contact centre on Monday 3 August 2026, 14:25 in Amsterdam."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from stream.core import fields as f
from stream.core.rules import HISTOGRAM_BOUNDS_S
from stream.core.snapshot import HistogramView, PipelineView, QueueView, Snapshot, WindowView
from stream.export.metrics import Build

NOW_MS: Final = 1_785_759_900_000  # 2026-08-03T12:25:00Z
MINUTE_MS: Final = 60_000
BUILD: Final = Build("0.1.0", "3.11.2")
BOUNDS_MS: Final = tuple(bound * 1_000 for bound in HISTOGRAM_BOUNDS_S)
SPANS_MS: Final = {"5m": 5 * MINUTE_MS, "30m": 30 * MINUTE_MS, "1h": 60 * MINUTE_MS}


def stopped() -> float:
    """Stand still, as a monotonic clock."""
    return 0.0


def counts(
    answered: int, in_time: int, abandoned: int = 0, blocked: int = 0, left: int = 0, *, speed_s: float = 12.0
) -> dict[int, int]:
    """Fields that agree with each other, as a window or the totals hold them."""
    quick = abandoned // 3
    queued = answered + abandoned + left
    values = {
        f.OFFERED: queued + blocked,
        f.QUEUED: queued,
        f.ANSWERED: answered,
        f.ANSWERED_WITHIN_TARGET: in_time,
        f.ABANDONED: abandoned,
        f.ABANDONED_WITHIN_TARGET: quick,
        f.LEFT_OVERFLOW: left,
        f.BLOCKED_BUSY: blocked,
        f.SERVICE_LEVEL_MET: in_time,
        f.SERVICE_LEVEL_BASE: answered + abandoned - quick,
        f.ANSWER_WAITS: answered,
        f.ANSWER_WAIT_MS: int(answered * speed_s * 1_000),
        f.TALKS: answered,
        f.TALK_MS: answered * 243_000,
        f.CONVERSATIONS_ENDED: answered,
    }
    if queued:
        values[f.LONGEST_WAIT_MS] = int(speed_s * 7_100)
    return {field: value for field, value in values.items() if value}


def scaled(values: Mapping[int, int], part: float) -> dict[int, int]:
    """Return the same mix, more or less of it; the longest wait stays what it is."""
    longest = {f.LONGEST_WAIT_MS: values[f.LONGEST_WAIT_MS]} if f.LONGEST_WAIT_MS in values else {}
    return {field: int(value * part) for field, value in values.items()} | longest


def windows(half_hour: Mapping[int, int]) -> dict[str, WindowView]:
    """Every window of a queue, from what its last 30 minutes hold."""
    views = {
        label: WindowView(NOW_MS - span_ms, NOW_MS, scaled(half_hour, span_ms / SPANS_MS["30m"]))
        for label, span_ms in SPANS_MS.items()
    }
    views["interval"] = WindowView(NOW_MS - 25 * MINUTE_MS, NOW_MS + 5 * MINUTE_MS, scaled(half_hour, 0.8))
    views["day"] = WindowView(NOW_MS - 865 * MINUTE_MS, NOW_MS + 575 * MINUTE_MS, scaled(half_hour, 14))
    return views


def queue(name: str, half_hour: Mapping[int, int] | None = None, **changes: object) -> QueueView:
    """One queue; nothing ever happened in it unless told."""
    half_hour = half_hour or {}
    view = QueueView(
        queue=name,
        totals=scaled(half_hour, 100),
        histograms={
            key: HistogramView(BOUNDS_MS, (0,) * (len(BOUNDS_MS) + 1), 0) for key in f.HISTOGRAM_NAMES
        },
        waiting=0,
        waiting_past_target=0,
        in_progress=0,
        oldest_waiting_at_ms=None,
        windows=windows(half_hour),
        trend=tuple(
            WindowView(start_ms, start_ms + 30 * MINUTE_MS, scaled(half_hour, 0.8))
            for start_ms in range(NOW_MS - 205 * MINUTE_MS, NOW_MS, 30 * MINUTE_MS)
        ),
        target_ms=20_000,
        objective=0.80,
        abandonment_limit=0.05,
        wait_limit_ms=300_000,
        open=True,
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def snapshot(*queues: QueueView, **changes: object) -> Snapshot:
    """Return a snapshot that is ready and healthy unless told."""
    view = Snapshot(
        clock_ms=NOW_MS,
        queues=tuple(sorted(queues, key=lambda view: view.queue)),
        over_limit=0,
        pipeline=PipelineView(),
        ready=True,
        not_ready_reason="",
        healthy=True,
        unhealthy_reason="",
        taken_at_ms=NOW_MS + 400,
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def busy_afternoon() -> Snapshot:
    """Six queues: some well, some not, one silent, one closed."""
    waits = HistogramView(BOUNDS_MS, (60, 31, 22, 40, 9, 6, 4, 3, 2, 1, 1, 0, 0), 2_262_500)
    return snapshot(
        queue(
            "billing",
            counts(64, 51, 5, 0, 2, speed_s=14.6),
            waiting=3,
            waiting_past_target=1,
            in_progress=11,
            oldest_waiting_at_ms=NOW_MS - 41_000,
        ),
        queue(
            "complaints",
            counts(17, 9, 3, 0, 0, speed_s=41.0),
            waiting=2,
            waiting_past_target=2,
            in_progress=4,
            oldest_waiting_at_ms=NOW_MS - 331_000,
        ),
        queue("night line", open=False),
        queue(
            "sales",
            counts(179, 162, 6, 2, 0, speed_s=9.4),
            histograms=dict.fromkeys(f.HISTOGRAM_NAMES, waits),
            waiting=2,
            in_progress=23,
            oldest_waiting_at_ms=NOW_MS - 7_000,
            target_ms=30_000,
        ),
        queue(
            "technical support",
            counts(92, 74, 4, 0, 6, speed_s=16.2),
            waiting=4,
            in_progress=19,
            oldest_waiting_at_ms=NOW_MS - 18_000,
        ),
        queue("vip"),
        pipeline=PipelineView(
            events={"offered": 40_212, "queued": 39_901, "answered": 36_544},
            rejected={"not_json": 3},
            late=17,
            duplicate=204,
            anomalous={"hold_on_hold": 1},
            holes=2,
            gaps=1,
            retention_gaps=3,
            checkpoints_refused=4,
            lag_records={("call-events", 1): 12, ("call-events", 0): 0},
            last_event_at_ms=NOW_MS + 250,
            checkpoint_at_ms={0: NOW_MS - 3_000, 1: NOW_MS - 4_500},
        ),
    )


def many_queues(number: int) -> Snapshot:
    """As many busy queues as asked for."""
    waits = HistogramView(
        BOUNDS_MS, (6_000, 3_100, 2_200, 4_000, 900, 600, 400, 300, 200, 100, 100, 7, 1), 2_262_500
    )
    return snapshot(
        *(
            queue(
                f"queue {index:04d}",
                counts(64 + index % 50, 51, 5, 1, 2, speed_s=14.6),
                histograms=dict.fromkeys(f.HISTOGRAM_NAMES, waits),
                waiting=index % 7,
                oldest_waiting_at_ms=NOW_MS - index,
            )
            for index in range(number)
        )
    )
