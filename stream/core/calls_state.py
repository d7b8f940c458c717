"""The state of stage 1 as it is saved: one record a source partition.

A call is saved as the bytes of its records: folding them again gives its machine, and a newer decoder or a corrected
table of transitions applies to open calls too. Their rules are saved with them, so a call keeps the target that it met.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from stream.core.call import NEVER, Call, Closing, Log, Pinned
from stream.core.cells import Cell, Ledger
from stream.core.checkpoint import CheckpointError
from stream.core.rules import Formula, QueueRule

if TYPE_CHECKING:
    from stream.core.calls import CallsStage

_RuleState = tuple[int, int, str]


class _EventState(msgspec.Struct, array_like=True, gc=False, omit_defaults=True):
    value: bytes  # the record
    rule: int  # index in the state's rules
    ledger: int  # index in the state's ledgers
    closing: int = 0  # for a late event: what it closed ...
    at_ms: int = 0  # ... and when


class _LedgerState(msgspec.Struct, array_like=True, gc=False):
    name: str
    first_at_ms: int
    totals: dict[int, int]
    histograms: list[list[int]]
    cells: list[tuple[int, dict[int, int], dict[int, int]]]  # bucket, counts, waits


class StageState(msgspec.Struct, array_like=True, gc=False):
    """Everything of a stage that is saved."""

    partition: int
    applied_offset: int
    stream_time_ms: int | None
    bucket_ms: int
    bounds_ms: list[int]
    rules: list[_RuleState]
    calls: list[tuple[str, list[_EventState]]]
    ledgers: list[_LedgerState]
    applied: list[int]
    duplicates: int
    anomalies: list[int]
    rejected: dict[str, int]
    late: int

    @classmethod
    def of(cls, stage: "CallsStage") -> "StageState":
        """Describe a stage, everything in a fixed order."""
        book = stage.book
        indexes: dict[_RuleState, int] = {}

        names = sorted(book.ledgers)
        places = {name: index for index, name in enumerate(names)}

        def event_state(kept: bytes | Closing, place: Ledger | Pinned) -> _EventState:
            ledger, rule = (place, place.rule) if isinstance(place, Ledger) else place
            index = indexes.setdefault(_rule_state(rule), len(indexes))
            if isinstance(kept, tuple):
                return _EventState(kept[2], index, places[ledger.name], kept[1], kept[0])
            return _EventState(kept, index, places[ledger.name])

        calls = []
        for key in sorted(stage.calls):
            call_id, log = stage.calls[key].call_id, stage.calls[key].log
            calls.append((call_id, [event_state(*pair) for pair in zip(log[::2], log[1::2], strict=True)]))
        return cls(
            stage.partition,
            stage.applied_offset,
            stage.stream_time_ms,
            stage.rules.bucket_ms,
            list(stage.rules.histogram_bounds_ms),
            list(indexes),
            calls,
            [_ledger_state(book.ledgers[name]) for name in names],
            book.applied,
            book.duplicates,
            book.anomalies,
            dict(sorted(stage.rejected.items())),
            stage.late,
        )

    def into(self, stage: "CallsStage") -> None:
        """Restore a stage that is still empty."""
        if self.bucket_ms != stage.rules.bucket_ms:
            raise CheckpointError(
                f"checkpoint has buckets of {self.bucket_ms} ms, not {stage.rules.bucket_ms}"
            )
        stage.applied_offset = self.applied_offset
        if self.stream_time_ms is not None:
            stage.restore_time(self.stream_time_ms)
        for state in self.ledgers:
            rule, bounds = stage.rules.rule(state.name), len(stage.rules.histogram_bounds_ms)
            stage.book.ledgers[state.name] = Ledger(state.name, rule, bounds, state.first_at_ms)
        self._restore_calls(stage)
        self._restore_book(stage)

    def _restore_calls(self, stage: "CallsStage") -> None:
        """Fold every call again: that gives its machine. What this counts is replaced by ``_restore_book``."""
        rules = [
            QueueRule(target_ms, short_ms, Formula(formula)) for target_ms, short_ms, formula in self.rules
        ]
        ledgers = [stage.book.ledgers[state.name] for state in self.ledgers]
        for call_id, states in self.calls:
            log: Log = []
            for state in states:
                ledger, rule = ledgers[state.ledger], rules[state.rule]
                log.append((state.at_ms, state.closing, state.value) if state.closing else state.value)
                log.append(ledger if rule == ledger.rule else (ledger, rule))
            stage.restore(Call(call_id.encode(), call_id), log)

    def _restore_book(self, stage: "CallsStage") -> None:
        book = stage.book
        book.buckets.clear()
        book.changed.clear()
        for state in self.ledgers:
            ledger = book.ledgers[state.name]
            ledger.totals.clear()
            ledger.totals.update(state.totals)
            ledger.histograms = [
                _rebound(counts, self.bounds_ms, stage.rules.histogram_bounds_ms)
                for counts in state.histograms
            ]
            ledger.cells.clear()
            ledger.changed.clear()
            for bucket, counts, waits in state.cells:
                cell = book.cell(
                    ledger, bucket * self.bucket_ms
                )  # unsent: what was sent last may have been lost
                cell.counts.update(counts)
                cell.settled = dict(counts)
                cell.waits = waits
        book.changed.update(book.ledgers)  # everything is said once more after a restart
        book.applied = self.applied
        book.duplicates = self.duplicates
        book.anomalies = self.anomalies
        stage.rejected = self.rejected
        stage.late = self.late


def _rule_state(rule: QueueRule) -> _RuleState:
    return rule.target_ms, rule.short_abandon_ms, str(rule.formula)


def _ledger_state(ledger: Ledger) -> _LedgerState:
    ledger.settle()
    return _LedgerState(
        ledger.name,
        ledger.first_at_ms,
        {field: count for field, count in sorted(ledger.totals.items()) if count},
        ledger.histograms,
        [(bucket, *_cell_state(ledger.cells[bucket])) for bucket in sorted(ledger.cells)],
    )


def _cell_state(cell: Cell) -> tuple[dict[int, int], dict[int, int]]:
    return (
        {field: count for field, count in sorted(cell.counts.items()) if count},
        {wait_ms: count for wait_ms, count in sorted(cell.waits.items()) if count},
    )


def _rebound(counts: list[int], old_bounds: list[int], new_bounds: Sequence[int]) -> list[int]:
    """Give a histogram other bounds. A count goes to the first new bound that surely holds it: no wait shrinks."""
    if list(new_bounds) == old_bounds:
        return counts
    moved = [0] * (len(new_bounds) + 1)
    for bound, count in zip([*old_bounds, NEVER], counts, strict=True):
        place = next((index for index, new in enumerate(new_bounds) if new >= bound), len(new_bounds))
        moved[place] += count
    return moved
