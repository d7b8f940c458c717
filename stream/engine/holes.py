"""The hole check: a batch must begin where the state ends.

A batch that begins after ``applied + 1`` means that records in between were not seen: lost on the way inside
this process (a seek while a fetch was under way), or absent from the log itself (retention, compaction,
markers of transactions). It is dropped and read again from ``applied + 1`` once. Only when the log then
answers with the same first offset again is it a gap of the log: accepted, unless it was retention that took
what nobody had counted yet, which the shell decides.

Batches that were fetched before the rewind still arrive after it. They carry an older *epoch* (counted up by
each seek, in the thread that fetches), and are dropped without a second look.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

# Later than any epoch: of a state that was made, and for which nobody has sought yet. What arrives then was fetched for
# the state before it, and a state that has applied nothing would take any of it for the beginning of the log.
NOT_SOUGHT: Final = 1 << 62


class Verdict(Enum):
    """What to do with a batch."""

    FOLD = "fold"
    DROP = "drop"  # fetched before the last rewind
    REWIND = "rewind"  # drop it, and read again from applied + 1
    GAP = "gap"  # the log itself has nothing in between


@dataclass(slots=True)
class HoleCheck:
    """Judges the batches of one partition, in the order of their arrival."""

    holes: int = 0
    gaps: int = 0
    epoch: int = 0
    suspected_offset: int | None = None

    def judge(self, first_offset: int, applied_offset: int, epoch: int) -> Verdict:
        """Say what to do with a batch that begins at ``first_offset``.

        A state that has applied nothing yet accepts any beginning: the log of an old topic starts anywhere.
        """
        if epoch < self.epoch:
            return Verdict.DROP
        if first_offset <= applied_offset + 1 or applied_offset < 0:
            self.suspected_offset = None
            return Verdict.FOLD
        if first_offset == self.suspected_offset:
            self.suspected_offset = None
            self.gaps += 1
            return Verdict.GAP
        self.suspected_offset = first_offset
        self.holes += 1
        return Verdict.REWIND

    def rewound(self, epoch: int) -> None:
        """Expect nothing older than ``epoch`` from now on."""
        self.epoch = epoch
