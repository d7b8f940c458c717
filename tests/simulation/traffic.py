"""What happens in the simulated centre: rules, those of later, and events, drawn from the seed.

The events are those of the property tests (plausible lives, soups, copies, delays within the grace and beyond, records
that are none), spread over more calls and partitions.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from stream.core.rules import BoardRules, Clock, FoldRules, Formula, QueueRule
from tests.properties import strategies

CALLER = "caller-canary-"  # in every call_id: what must never stand in a log of ours
CALLS = 12
HAPPENS_BY_MS, ARRIVES_BY_MS = 90_000, 100_000
RULES_CHANGE, UPGRADED = 0.25, 0.25  # of the worlds
TICKS_MS = (1_000, 9_999, 30_000, 60_001, 75_000)


@dataclass(frozen=True)
class Arrival:
    """A record that reaches a source partition at a moment, ms since the world began."""

    at_ms: int
    partition: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Traffic:
    """A world's rules, its epoch, and everything that arrives.

    ``later``: the rules after the one change that there is, in a world without any the same. ``upgraded``: those who
    worked before the change are of an earlier release.
    """

    rules: BoardRules
    later: BoardRules
    upgraded: bool
    changes_at_ms: int
    from_ms: int
    arrivals: list[Arrival]
    gaps: list[tuple[int, int, int]]  # (at_ms, partition, offsets that are used up)

    @property
    def rules_change(self) -> bool:
        """Say whether there are other rules on the way."""
        return self.later is not self.rules


def draw(random: Random, partitions: int, shards: int, lives: int) -> Traffic:
    """Draw a world's traffic."""
    fold = _fold_rules(random, shards)
    zone, from_ms = random.choice(strategies.CALENDAR)
    board = BoardRules(
        time_zone=zone,
        source_partitions=partitions,
        rolling=(("30s", 30_000), ("5m", 300_000)),
        interval_ms=random.choice((900_000, 1_800_000)),
        clock=random.choice((Clock.STREAM, Clock.WALL)),
        shards=shards,
        fold=fold,
    )
    found = strategies.drafts(_happenings(random, lives), fold, late=True)
    arrivals = []
    for number, draft in enumerate(draft for draft in found if draft.at <= HAPPENS_BY_MS):
        fields = draft.fields | {"call_id": CALLER + draft.fields["call_id"]}
        moved = strategies.shifted(strategies.Draft(fields, draft.delay_ms, draft.form), from_ms)
        record = strategies.record(moved, number, fold.future_skew_ms)
        arrivals.append(_arrival(draft.at + draft.delay_ms, partitions, record))
    for _ in range(random.choice((0, 2, 6))):
        key, value = f"{CALLER}k0".encode(), random.choice(strategies.BROKEN)
        arrivals.append(_arrival(random.randrange(70_000), partitions, strategies.Rec(0, None, key, value)))
        wrong = random.choice(((None, None), (None, b"another"), (0, key)))
        far = strategies.FAR.replace(b"k0", key).replace(b"99000000", str(from_ms + 99_000_000).encode())
        arrivals.append(_arrival(random.randrange(70_000), partitions, strategies.Rec(0, *wrong, far)))
    gaps = [
        (random.randrange(70_000), random.randrange(partitions), random.choice((1, 2, 30)))
        for _ in range(random.choice((0, 1, 4)))
    ]
    later = board
    if random.random() < RULES_CHANGE:
        rules = {"default": _queue_rule(random), "queues": {"b": _queue_rule(random)}}
        later = replace(board, fold=replace(fold, **rules))
    upgraded, changes_at_ms = random.random() < UPGRADED, random.randrange(10_000, 80_000)
    arrivals.sort(key=lambda arrival: arrival.at_ms)
    return Traffic(board, later, upgraded, changes_at_ms, from_ms, arrivals, gaps)


def _arrival(at_ms: int, partitions: int, record: Any) -> Arrival:
    partition = sum(record.key or b"\7") % partitions
    return Arrival(min(at_ms, ARRIVES_BY_MS), partition, record.timestamp, record.key, record.value)


def _happenings(random: Random, lives: int) -> tuple[Any, ...]:
    def at() -> int:
        return random.choice((random.randrange(71) * 1_000, random.randrange(70_000)))

    soup = [
        (
            random.randrange(CALLS),
            random.choice(strategies.KINDS),
            at(),
            random.choice(strategies.QUEUES),
            random.choice(strategies.AGENTS),
            random.randrange(15),
            random.randrange(9),
            random.randrange(10),
        )
        for _ in range(lives)
    ]
    plausible = []
    for _ in range(lives):
        life = random.choice(strategies.LIVES)
        steps = [
            (
                random.choice(strategies.SPANS_MS),
                random.choice(strategies.QUEUES),
                random.randrange(15),
                random.randrange(9),
            )
            for _ in life
        ]
        plausible.append((life, random.randrange(CALLS), at(), steps))
    copies = [(random.randrange(1_000), random.randrange(9)) for _ in range(lives // 4)]
    return soup, plausible, random.sample(TICKS_MS, 2), copies


def _fold_rules(random: Random, shards: int) -> FoldRules:
    return FoldRules(
        grace_ms=random.choice((0, 2_000, 5_000, 7_001, 12_000, 60_000)),
        future_skew_ms=random.choice((0, 2_000)),
        call_age_max_ms=random.choice((5_000, 20_000, 41_000, 1_000_000)),
        wrap_up_wait_ms=random.choice((0, 5_000, 12_000)),
        shards=shards,
        default=_queue_rule(random),
        queues={"b": _queue_rule(random)},
        histogram_bounds_ms=(3_000, 5_000, 12_000),
    )


def _queue_rule(random: Random) -> QueueRule:
    target_ms = random.choice((0, 3_000, 5_000, 7_500, 20_000, 300_000))
    return QueueRule(
        target_ms, min(target_ms, random.choice((0, 2_000, 3_000))), random.choice(list(Formula))
    )
