"""What the core is told: plain values, already checked. ``stream.settings`` makes them from the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from typing import Final

from stream.core.limits import CALL_EVENTS_MAX, CALLS_MAX
from stream.core.opening import Opening

BUCKET_MS: Final = 5_000  # the contract's bucket; every window is made of whole ones
QUARTER_MS: Final = 900_000  # every time zone's half-hours and midnights are sums of quarter hours
HISTOGRAM_BOUNDS_S: Final = (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)


class Formula(StrEnum):
    """The service level of a queue (contract, section 3)."""

    ABANDONED_IGNORED = "abandoned_ignored"
    ABANDONED_NEGATIVE = "abandoned_negative"
    ABANDONED_POSITIVE = "abandoned_positive"
    ANSWERED_ONLY = "answered_only"


class Clock(StrEnum):
    """What the board calls now: the wall clock once caught up, or always the stream's own time."""

    WALL = "wall"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class QueueRule:
    """What decides how a visit is counted; a visit keeps the rule that it met when it was queued."""

    target_ms: int = 20_000
    short_abandon_ms: int = 0
    formula: Formula = Formula.ABANDONED_IGNORED


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What is only shown beside the numbers of a queue."""

    objective: float = 0.80
    abandonment_limit: float = 0.05
    wait_limit_ms: int = 300_000
    opening: Opening | None = None  # None: always open


@dataclass(frozen=True, slots=True)
class FoldRules:
    """Stage 1: how records become cells. Spans in ms."""

    grace_ms: int = 300_000
    future_skew_ms: int = 60_000
    call_age_max_ms: int = 14_400_000
    wrap_up_wait_ms: int = 900_000
    queues_max: int = 1_000
    call_events_max: int = CALL_EVENTS_MAX
    calls_max: int = CALLS_MAX
    shards: int = 4
    bucket_ms: int = BUCKET_MS
    by_arrival: bool = False  # replay only: everything of a visit in the bucket of its queued
    default: QueueRule = field(default_factory=QueueRule)
    queues: Mapping[str, QueueRule] = field(default_factory=dict)
    histogram_bounds_ms: tuple[int, ...] = tuple(bound * 1_000 for bound in HISTOGRAM_BOUNDS_S)

    def rule(self, queue: str) -> QueueRule:
        """Return the rule of a queue; the default for one that is not configured."""
        return self.queues.get(queue, self.default)


@dataclass(frozen=True, slots=True)
class BoardRules:
    """Stage 2: how cells become windows. Spans in ms."""

    time_zone: tzinfo
    source_partitions: int
    rolling: tuple[tuple[str, int], ...] = (("5m", 300_000), ("30m", 1_800_000), ("1h", 3_600_000))
    interval_ms: int = 1_800_000
    clock: Clock = Clock.WALL
    queues_max: int = 1_000
    shards: int = 4
    fold: FoldRules = field(default_factory=FoldRules)
    default: QueuePolicy = field(default_factory=QueuePolicy)
    queues: Mapping[str, QueuePolicy] = field(default_factory=dict)

    def policy(self, queue: str) -> QueuePolicy:
        """Return what is shown beside a queue; the default for one that is not configured."""
        return self.queues.get(queue, self.default)
