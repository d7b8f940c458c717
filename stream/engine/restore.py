"""What a partition goes on from: its newest usable checkpoint, or its log from the beginning; never a silent jump.

- A damaged checkpoint is refused by name. An older one is a state of the same log, so it is used, and only more is read
  again; with none, the log is counted again from its beginning.
- A sound one that this program cannot read (a newer program's) is not damage. An older one that it can read is as true
  as ever; with none the process ends, and the newer checkpoint stays what it is.
- Records that are gone before they were counted are a *gap of retention*: the process ends, or goes on without them
  where the configuration says so.
- A state that knows more than its log holds is of another log: the process ends.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from stream.core.checkpoint import CheckpointError, DamagedCheckpointError
from stream.core.slots import Found
from stream.engine.tp import Place

log = logging.getLogger("callgauge")

StageT = TypeVar("StageT")


class RestoreError(Exception):
    """A state or its log is not what it must be; the message is the line for the operator."""


class UnreadableStateError(RestoreError):
    """A sound checkpoint exists that this program cannot use, and no other one."""


class RetentionGapError(RestoreError):
    """Records were deleted before they were counted."""


class OtherLogError(RestoreError):
    """The log ends before the state does."""


class LogBounds(NamedTuple):
    """First offset of a log, the one after its last, and what the group has committed (None: nothing)."""

    start: int
    end: int
    committed: int | None = None


def newest(
    found: Found, load: Callable[[bytes], StageT], where: Place
) -> tuple[StageT | None, int | None, int]:
    """Load the newest usable checkpoint; return it with its slot, and how many were refused. Says each by name.

    ``where``: partition of the checkpoint topic. Raises UnreadableStateError.
    """
    refused, foreign = list(found.refused), found.foreign
    for candidate in found.usable:
        try:
            stage = load(candidate.data)
        except CheckpointError as error:
            foreign = foreign or not isinstance(error, DamagedCheckpointError)
            refused.append(f"slot {candidate.slot}: {error}")
            continue
        _tell(where, refused)
        return stage, candidate.slot, len(refused)
    if foreign:
        raise UnreadableStateError(
            f"{where}: no checkpoint can be used ({'; '.join(refused)}); to count again from the beginning of the log "
            f"instead, delete the topic {where.topic}"
        )
    _tell(where, refused)
    return None, None, len(refused)


def _tell(where: Place, refused: list[str]) -> None:
    for line in refused:
        log.error("%s: %s", where, line)


def check_end(place: Place, applied_offset: int, bounds: LogBounds, table_topic: str) -> None:
    """Make sure that a state is one of this log. Raises OtherLogError."""
    if applied_offset >= bounds.end:
        raise OtherLogError(
            f"{place} ends at offset {bounds.end}, but its checkpoint has counted up to {applied_offset}: it was "
            "deleted and made again, or lost records; to count it from its beginning, delete the topic "
            f"{table_topic}, and see docs/reliability.md"
        )


def gap_line(place: Place, needed: int, start: int) -> str:
    """Say which records are gone."""
    return f"{place}: the records from offset {needed} to {start - 1} were deleted before they were counted"


def gap_error(place: Place, needed: int, start: int) -> RetentionGapError:
    """Say it, and what to do."""
    return RetentionGapError(
        f'{gap_line(place, needed, start)}; set kafka.on_retention_gap = "continue" to go on without them'
    )
