"""What can be counted of a call, and in which fields each counts: one row a kind of fact.

The life of a call (``stream.core.call``) writes down facts: a kind, a place and a span of time. A fact whose kind is
the number of a field counts 1 there and nothing else; those that count in several fields at once, or measure a span,
have a row of their own here. Such a fact is counted, sent and saved as what it is, and its span behind it: an answer is
two numbers, not six. Only who shows something adds that up by fields (``by_field``).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.core import fields as f
from stream.core.columns import Ints, column
from stream.core.place import FIELDS


@dataclass(frozen=True, slots=True)
class Fact:
    """What a fact counts: 1 in each of some fields, its span in ms in another, and the span in a histogram."""

    fields: tuple[int, ...]
    span: int | None = None  # the field of the sum of spans; the next number is that of the spans themselves
    histogram: str | None = None
    ends_wait: bool = False  # the span is a wait, of which the longest is kept


# Saved and sent as the fields are: append, never renumber.
DUE: Final = 48
WAIT_ENDED: Final = 49
ANSWERED_IN_TIME: Final = 50
ANSWERED_LATE: Final = 52
ABANDONED: Final = 54
TALKED: Final = 56
WRAPPED_UP: Final = 58
HANDLED: Final = 60

_ANSWERED: Final = (f.ANSWERED, f.ANSWER_WAITS)
FACTS: Final[dict[int, Fact]] = {
    # passes its target without an answer, which fails the service level
    DUE: Fact((f.OVERDUE, f.SERVICE_LEVEL_BASE)),
    ANSWERED_IN_TIME: Fact(
        (*_ANSWERED, f.ANSWERED_WITHIN_TARGET, f.SERVICE_LEVEL_MET, f.SERVICE_LEVEL_BASE),
        f.ANSWER_WAIT_MS,
        "answer_wait",
        ends_wait=True,
    ),
    ANSWERED_LATE: Fact(_ANSWERED, f.ANSWER_WAIT_MS, "answer_wait", ends_wait=True),
    ABANDONED: Fact((f.ABANDONED, f.ABANDON_WAITS), f.ABANDON_WAIT_MS, "abandon_wait", ends_wait=True),
    WAIT_ENDED: Fact((), ends_wait=True),  # otherwise
    TALKED: Fact((f.CONVERSATIONS_ENDED, f.TALKS), f.TALK_MS, "talk"),
    WRAPPED_UP: Fact((f.WRAP_UPS,), f.WRAP_UP_MS, "wrap_up"),
    HANDLED: Fact((f.HANDLES,), f.HANDLE_MS, "handle"),
}


def fact(kind: int) -> Fact:
    """Return what a kind of fact counts."""
    return FACTS.get(kind) or Fact((kind,) if kind < f.FIELD_COUNT else ())


KINDS: Final = range(FIELDS)


def _adds_to() -> list[tuple[int, int]]:
    """Return which numbers add up to which fields: (field, number), by field."""
    pairs = []
    for kind in KINDS:
        one = fact(kind)
        pairs += [(field, kind) for field in one.fields]
        if one.span is not None:
            pairs.append((one.span, kind + 1))
    return sorted(pairs)


_ADDS_TO: Final = _adds_to()
_NUMBERS: Final = column(number for _, number in _ADDS_TO)
_BEGINS: Final = column(
    index for index, (field, _) in enumerate(_ADDS_TO) if not index or _ADDS_TO[index - 1][0] != field
)
_FIELDS: Final = column(_ADDS_TO[index][0] for index in _BEGINS.tolist())
COUNTS_OVERDUE: Final = np.array([f.OVERDUE in fact(kind).fields for kind in KINDS])


def by_field(sums: Ints) -> Ints:
    """Return sums of facts as sums by field; both with FIELDS numbers for each queue."""
    rows, shown = sums.reshape(-1, FIELDS), np.zeros_like(sums)
    shown.reshape(-1, FIELDS)[:, _FIELDS] = np.add.reduceat(rows[:, _NUMBERS], _BEGINS, axis=1)
    return shown
