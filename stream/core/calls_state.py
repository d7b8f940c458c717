"""The state of stage 1 as it is saved: one record a source partition.

A call is saved as the bytes of its records: folding them again gives its machine, and a newer decoder or a corrected
table of transitions applies to open calls too. Their rules are saved with them, so a call keeps the target that it met.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from stream.core.call import NEVER, Call, Log
from stream.core.checkpoint import CheckpointError
from stream.core.columns import Columns, Ints, Packed, pack, unpack, unpack_columns
from stream.core.counted import HISTOGRAMS, PackedWaits
from stream.core.place import FIELDS
from stream.core.rules import FoldRules, Formula, QueueRule

if TYPE_CHECKING:
    from stream.core.calls import CallsStage


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
    ledgers: list[tuple[str, int]]  # name, when it was first heard of; by number
    cells: Packed
    waits: PackedWaits
    totals: Packed
    histograms: bytes
    applied: list[int]
    duplicates: int
    anomalies: list[int]
    rejected: dict[str, int]
    late: int
    cut_off: list[tuple[str, int]] = []  # call_id, until when it is refused
    held_from: int | None = None  # a bucket: all cells from there on are held; None: all that are not final
    open_ms: int | None = None  # how far behind the stream's time a cell could change; None: nobody noted it

    @classmethod
    def of(cls, stage: "CallsStage") -> "StageState":
        """Describe a stage, everything in a fixed order."""
        book, counted = stage.book, stage.book.settle()
        queues = len(book.numbered)
        totals = counted.totals[: queues * FIELDS]
        held = totals.nonzero()[0]
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
            [(ledger.name, ledger.first_at_ms) for ledger in book.numbered],
            counted.cells.pack(),
            counted.waits.pack(),
            Columns(held, totals[held]).pack(),
            pack(counted.histograms[: queues * HISTOGRAMS * (counted.bounds + 1)]),
            book.applied,
            book.duplicates,
            book.anomalies,
            dict(sorted(stage.rejected.items())),
            stage.late,
            [(key.decode(), until_ms) for key, until_ms in sorted(stage.cut_off.items())],
            stage.held_from,
            stage.open_ms(),
        )

    def into(self, stage: "CallsStage") -> None:
        """Restore a stage that is still empty."""
        if self.bucket_ms != stage.rules.bucket_ms:
            raise CheckpointError(
                f"checkpoint has buckets of {self.bucket_ms} ms, not {stage.rules.bucket_ms}"
            )
        stage.applied_offset = self.applied_offset
        stage.cut_off.update((call_id.encode(), until_ms) for call_id, until_ms in self.cut_off)
        if self.stream_time_ms is not None:
            stage.restore_time(self.stream_time_ms, self.late_before_ms, self.final_before_ms)
        stage.held_from = self.final_before_ms // self.bucket_ms if self.held_from is None else self.held_from
        stage.open_before_ms = self._open_ms()
        for name, first_at_ms in self.ledgers:
            stage.book.open(name, stage.rules.rule(name), first_at_ms)
        self._restore_calls(stage)
        self._restore_book(stage)

    def _open_ms(self) -> int:
        """Return what was noted, or what it was if the grace had not changed."""
        if self.open_ms is not None or self.stream_time_ms is None:
            return self.open_ms or 0
        return 2 * (self.stream_time_ms - self.late_before_ms)

    def _restore_calls(self, stage: "CallsStage") -> None:
        """Fold every call again: that gives its machine. What this counts is replaced by ``_restore_book``."""
        for name, target_ms, short_abandon_ms, formula in self.places:
            rule = QueueRule(target_ms, short_abandon_ms, Formula(formula))
            stage.add_place(stage.book.ledgers[name], rule)
        ages = [_ages(stage.rules, state) for state in self.ages]
        for call_id, number, log in self.calls:
            stage.restore(call_id, ages[number], log)

    def _restore_book(self, stage: "CallsStage") -> None:
        book, counted = stage.book, stage.book.counted
        book.forget_written()
        counted.settle(len(self.ledgers), [], [])  # room for all queues
        counted.cells = Columns(*unpack_columns(self.cells))
        counted.waits.put(self.waits)
        places, values = unpack_columns(self.totals)
        counted.totals[places] = values
        histograms = _rebound(unpack(self.histograms), self.bounds_ms, stage.rules.histogram_bounds_ms)
        counted.histograms[: len(histograms)] = histograms
        # Everything is said once more after a restart: what was sent last may have been lost.
        stage.again.update(counted.say_all())
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


def _rebound(histograms: Ints, old_bounds: list[int], new_bounds: Sequence[int]) -> Ints:
    """Give histograms other bounds. A count goes to the first new bound that surely holds it: no wait shrinks."""
    if list(new_bounds) == old_bounds:
        return histograms
    old = histograms.reshape(-1, len(old_bounds) + 1)
    new = np.zeros((len(old), len(new_bounds) + 1), np.int64)
    for place, bound in enumerate([*old_bounds, NEVER]):
        moved = next((index for index, known in enumerate(new_bounds) if known >= bound), len(new_bounds))
        new[:, moved] += old[:, place]
    return new.ravel()
