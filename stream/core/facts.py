"""What can be counted of a call, and in which fields each counts: one row a kind of fact.

The life of a call (``stream.core.call``) writes down facts: a kind, a place and a span of time. A fact whose kind is
the number of a field counts 1 there and nothing else; those that count in several fields at once, or measure a span,
have a row of their own here.
"""

from dataclasses import dataclass
from typing import Final

from stream.core import fields as f
from stream.core.place import FIELDS


@dataclass(frozen=True, slots=True)
class Fact:
    """What a fact counts: 1 in each of some fields, its span in ms in another, and the span in a histogram."""

    fields: tuple[int, ...]
    span: int | None = None  # the field of the sum of spans
    histogram: str | None = None
    ends_wait: bool = False  # the span is a wait, of which the longest is kept


# Behind the fields; never saved or sent, so these may be numbered anew.
(
    DUE,
    ANSWERED_IN_TIME,
    ANSWERED_LATE,
    ABANDONED,
    WAIT_ENDED,
    TALKED,
    WRAPPED_UP,
    HANDLED,
) = range(f.FIELD_COUNT, f.FIELD_COUNT + 8)

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
