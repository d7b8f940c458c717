"""What the tests of the core have in common: small rules, and numbers shown under the names of their fields."""

from collections import Counter
from collections.abc import Iterable, Mapping

from stream.core import fields as f
from stream.core.calls import CallsStage
from stream.core.facts import FACTS, fact
from stream.core.place import FIELD_MASK
from stream.core.rules import FoldRules, QueueRule
from tests.oracle import log_of

# Small numbers, so that a few lines of a log cross every limit. The target is 20 s.
RULES = FoldRules(
    grace_ms=10_000,
    future_skew_ms=5_000,
    call_age_max_ms=100_000,
    wrap_up_wait_ms=30_000,
    default=QueueRule(20_000),
    shards=1,
)
NAMES = {
    value: name
    for name, value in vars(f).items()
    if name.isupper() and type(value) is int and name not in {"LAYOUT_VERSION", "FIELD_COUNT"}
}


BEHIND = {kind + 1: one.span for kind, one in FACTS.items() if one.span is not None}


def in_fields(counts: Mapping[int, int]) -> dict[int, int]:
    """Spread counts by kind of fact, or by place, over the fields in which they count."""
    spread: dict[int, int] = {}
    for place, count in counts.items():
        number = place & FIELD_MASK
        for field in [BEHIND[number]] if number in BEHIND else fact(number).fields:
            key = place - number + field
            spread[key] = spread[key] + count if key in spread else count
    return spread


def folded(*lines: str, rules: FoldRules = RULES, follows: bool = False) -> CallsStage:
    """Fold a log in words into a new stage."""
    stage = CallsStage(0, rules, follows=follows)
    stage.fold(log_of(*lines))
    return stage


def named(counts: Mapping[int, int], only: Iterable[int] | None = None) -> dict[str, int]:
    """Show counts by the names of their fields; ``only`` some fields."""
    wanted = None if only is None else set(only)
    return {
        NAMES[number]: value for number, value in sorted(counts.items()) if wanted is None or number in wanted
    }


def cells(stage: CallsStage, only: Iterable[int] | None = None) -> dict[tuple[str, int], dict[str, int]]:
    """Show the cells of a stage as {(queue, first second of the bucket): {name: count}}."""
    wanted = None if only is None else set(only)
    shown = {
        (queue, start_ms // 1_000): named(counts, wanted)
        for (queue, start_ms), counts in stage.cells().items()
    }
    return {key: counts for key, counts in sorted(shown.items()) if counts}


def totals(stage: CallsStage, queue: str, only: Iterable[int] | None = None) -> dict[str, int]:
    """Show the sums of one queue."""
    return named(stage.totals().get(queue, {}), only)


def anomalies(stage: CallsStage) -> dict[str, int]:
    """Show the anomalies that there were."""
    return dict(+Counter(stage.tally().anomalous))


def outcomes(stage: CallsStage) -> dict[str, int]:
    """Show what became of the records."""
    tally = stage.tally()
    counted = Counter(applied=sum(tally.events.values()), duplicate=tally.duplicate, late=tally.late)
    return dict(+counted) | dict(tally.rejected)
