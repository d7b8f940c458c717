"""The state of stage 1 as it is saved: one record a source partition.

A call is saved as the bytes of its records: folding them again gives its machine, and a newer decoder or a corrected
table of transitions applies to open calls too. Their rules are saved with them, so a call keeps the target that it met.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, cast

import msgspec

from stream.core.call import NEVER, Call, Log
from stream.core.cells import Ledger, PackedMinute, Pairs
from stream.core.checkpoint import CheckpointError
from stream.core.fields import CELLS_LAYOUT
from stream.core.minute import PLACES_A_CELL
from stream.core.rules import FoldRules, Formula, QueueRule

if TYPE_CHECKING:
    from stream.core.calls import CallsStage


class _LedgerState(msgspec.Struct, array_like=True, gc=False):
    name: str
    first_at_ms: int
    totals: dict[int, int]
    histograms: list[list[int]]
    minutes: list[PackedMinute]


class StageState(msgspec.Struct, array_like=True, gc=False):
    """Everything of a stage that is saved."""

    partition: int
    applied_offset: int
    stream_time_ms: int | None
    bucket_ms: int
    bounds_ms: list[int]
    late_before_ms: int
    final_before_ms: int
    places: list[tuple[str, int, int, str]]  # queue, target, short abandon, formula
    ages: list[tuple[int, int, int]]  # grace, call_age_max, wrap_up_wait
    calls: list[tuple[str, int, Log]]  # call_id, number of its ages, log
    ledgers: list[_LedgerState]
    applied: list[int]
    duplicates: int
    anomalies: list[int]
    rejected: dict[str, int]
    late: int
    cut_off: list[tuple[str, int]] = []  # call_id, until when it is refused

    @classmethod
    def of(cls, stage: "CallsStage") -> "StageState":
        """Describe a stage, everything in a fixed order."""
        book = stage.book
        names = sorted(book.ledgers)
        places = [
            (ledger.name, rule.target_ms, rule.short_abandon_ms, str(rule.formula))
            for _, ledger, rule in stage.numbered
        ]
        calls = [stage.calls[key] for key in sorted(stage.calls)]
        ages, numbers = _numbered_ages(calls)
        return cls(
            stage.partition,
            stage.applied_offset,
            stage.stream_time_ms,
            stage.rules.bucket_ms,
            list(stage.rules.histogram_bounds_ms),
            max(stage.late_before_ms, stage.now_ms - stage.rules.grace_ms),
            stage.final_before_ms(),
            places,
            ages,
            [(call.call_id, number, call.log) for call, number in zip(calls, numbers, strict=False)],
            [_ledger_state(book.ledgers[name]) for name in names],
            book.applied,
            book.duplicates,
            book.anomalies,
            dict(sorted(stage.rejected.items())),
            stage.late,
            [(key.decode(), until_ms) for key, until_ms in sorted(stage.cut_off.items())],
        )

    def into(self, stage: "CallsStage", layout: int) -> None:
        """Restore a stage that is still empty, from a state of this layout of fields."""
        if self.bucket_ms != stage.rules.bucket_ms:
            raise CheckpointError(
                f"checkpoint has buckets of {self.bucket_ms} ms, not {stage.rules.bucket_ms}"
            )
        stage.applied_offset = self.applied_offset
        stage.cut_off.update((call_id.encode(), until_ms) for call_id, until_ms in self.cut_off)
        if self.stream_time_ms is not None:
            stage.restore_time(self.stream_time_ms, self.late_before_ms, self.final_before_ms)
        per_minute, bounds = stage.book.per_minute, len(stage.rules.histogram_bounds_ms)
        for state in self.ledgers:
            rule = stage.rules.rule(state.name)
            ledger = Ledger(state.name, rule, bounds, state.first_at_ms, per_minute)
            stage.book.ledgers[state.name] = ledger
            if layout <= CELLS_LAYOUT:
                state.minutes = _minutes(state.minutes, per_minute)
        self._restore_calls(stage)
        self._restore_book(stage)

    def _restore_calls(self, stage: "CallsStage") -> None:
        """Fold every call again: that gives its machine. What this counts is replaced by ``_restore_book``."""
        for name, target_ms, short_abandon_ms, formula in self.places:
            rule = QueueRule(target_ms, short_abandon_ms, Formula(formula))
            stage.add_place(stage.book.ledgers[name], rule)
        ages = [_ages(stage.rules, state) for state in self.ages]
        for call_id, number, log in self.calls:
            stage.restore(call_id, ages[number], log)

    def _restore_book(self, stage: "CallsStage") -> None:
        book = stage.book
        book.minutes.clear()
        book.changed.clear()
        for state in self.ledgers:
            ledger = book.ledgers[state.name]
            ledger.totals.clear()
            ledger.totals.update(state.totals)
            ledger.histograms = [
                _rebound(counts, self.bounds_ms, stage.rules.histogram_bounds_ms)
                for counts in state.histograms
            ]
            ledger.minutes.clear()
            ledger.packed.clear()
            ledger.waits.clear()
            ledger.changed.clear()
            for number, counts, waits in state.minutes:
                # Unsent: what was sent last may have been lost.
                book.open(ledger, number * book.per_minute)
                ledger.put(number, counts, waits)
        # everything is said once more after a restart
        book.changed.update(
            {name: ledger for name, ledger in book.ledgers.items() if ledger.totals or ledger.minutes}
        )
        book.applied = self.applied
        book.duplicates = self.duplicates
        book.anomalies = self.anomalies
        stage.rejected = self.rejected
        stage.late = self.late


def _ages_state(rules: FoldRules) -> tuple[int, int, int]:
    return rules.grace_ms, rules.call_age_max_ms, rules.wrap_up_wait_ms


def _numbered_ages(calls: list[Call]) -> tuple[list[tuple[int, int, int]], Iterable[int]]:
    """Return the different spans of calls, and for each call the number of its own; nearly always all have the same."""
    kinds = {id(call.ages): call.ages for call in calls}
    if len(kinds) <= 1:
        return [_ages_state(ages) for ages in kinds.values()], repeat(0)
    states: dict[tuple[int, int, int], int] = {}
    numbers = [states.setdefault(_ages_state(call.ages), len(states)) for call in calls]
    return list(states), numbers


def _ages(rules: FoldRules, state: tuple[int, int, int]) -> FoldRules:
    """Return the configured rules, or where their spans have changed, ones with the spans that were saved."""
    if _ages_state(rules) == state:
        return rules
    grace_ms, call_age_max_ms, wrap_up_wait_ms = state
    return replace(rules, grace_ms=grace_ms, call_age_max_ms=call_age_max_ms, wrap_up_wait_ms=wrap_up_wait_ms)


def _ledger_state(ledger: Ledger) -> _LedgerState:
    minutes = ledger.pack()  # which brings the totals up to date too
    return _LedgerState(
        ledger.name,
        ledger.first_at_ms,
        dict(sorted(ledger.totals.items())),
        ledger.histograms,
        cast("list[PackedMinute]", minutes),  # to whoever reads what is written, that is what they are
    )


def _minutes(cells: list[PackedMinute], per_minute: int) -> list[PackedMinute]:
    """Put cells together, which are (bucket, counts by field, waits by length) up to CELLS_LAYOUT."""
    minutes: dict[int, tuple[Pairs, Pairs]] = {}
    for bucket, counts, waits in cells:
        number, cell = divmod(bucket, per_minute)
        into_counts, into_waits = minutes.setdefault(number, ([], []))
        into_counts += [(cell * PLACES_A_CELL + field, count) for field, count in counts]
        into_waits += [(wait_ms * per_minute + cell, count) for wait_ms, count in waits]
    return [(number, counts, waits) for number, (counts, waits) in minutes.items()]


def _rebound(counts: list[int], old_bounds: list[int], new_bounds: Sequence[int]) -> list[int]:
    """Give a histogram other bounds. A count goes to the first new bound that surely holds it: no wait shrinks."""
    if list(new_bounds) == old_bounds:
        return counts
    moved = [0] * (len(new_bounds) + 1)
    for bound, count in zip([*old_bounds, NEVER], counts, strict=True):
        place = next((index for index, new in enumerate(new_bounds) if new >= bound), len(new_bounds))
        moved[place] += count
    return moved
