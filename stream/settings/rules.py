"""From settings to the plain values of the core."""

from zoneinfo import ZoneInfo

from stream.core.opening import parse_opening
from stream.core.rules import HISTOGRAM_BOUNDS_S, BoardRules, FoldRules, QueuePolicy, QueueRule
from stream.settings.model import Queue, Settings


def fold_rules(settings: Settings, *, by_arrival: bool = False) -> FoldRules:
    """Return the rules of stage 1. The histograms get a bound at every target that is configured."""
    queues = settings.queues
    targets = {settings.queue_defaults.target_ms} | {queue.target_ms for queue in queues.values()}
    bounds = targets | {bound * 1_000 for bound in HISTOGRAM_BOUNDS_S}
    return FoldRules(
        grace_ms=settings.events.grace_ms,
        future_skew_ms=settings.events.future_skew_ms,
        call_age_max_ms=settings.events.call_age_max_ms,
        wrap_up_wait_ms=settings.events.wrap_up_wait_ms,
        queues_max=settings.events.queues_max,
        shards=settings.kafka.shards,
        by_arrival=by_arrival,
        default=_rule(settings.queue_defaults),
        queues={name: _rule(queue) for name, queue in queues.items()},
        histogram_bounds_ms=tuple(sorted(bounds)),
    )


def board_rules(settings: Settings, *, by_arrival: bool = False) -> BoardRules:
    """Return the rules of stage 2."""
    return BoardRules(
        time_zone=ZoneInfo(settings.time_zone),
        source_partitions=settings.kafka.partitions,
        rolling=settings.windows.rolling,
        interval_ms=settings.windows.interval_ms,
        clock=settings.windows.clock,
        queues_max=settings.events.queues_max,
        shards=settings.kafka.shards,
        fold=fold_rules(settings, by_arrival=by_arrival),
        default=_policy(settings.queue_defaults),
        queues={name: _policy(queue) for name, queue in settings.queues.items()},
    )


def _rule(queue: Queue) -> QueueRule:
    return QueueRule(
        target_ms=queue.target_ms, short_abandon_ms=queue.short_abandon_ms, formula=queue.formula
    )


def _policy(queue: Queue) -> QueuePolicy:
    return QueuePolicy(
        objective=queue.objective,
        abandonment_limit=queue.abandonment_limit,
        wait_limit_ms=queue.wait_limit_ms,
        opening=parse_opening(queue.opening) if queue.opening else None,
    )
