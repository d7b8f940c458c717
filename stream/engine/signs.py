"""The signs of life: everything of a worker that must go on for ever, and how one sees that it does.

- Of a partition: the position moves while the end of its log is ahead (the end is asked for past the fetcher, which may
  be what hangs); publications and checkpoints are confirmed.
- Of a shard: every source partition is heard, whoever counts it. A worker that ends silently is replaced after its
  session, so only silence beyond that is a fault.
- Of the worker: the thread that reads has turns; an assignment ends with partitions restored, all that were assigned.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from stream.engine.engine_settings import EngineSettings
from stream.engine.owned import Owned
from stream.engine.tp import source_key
from stream.engine.watchdog import Sign

ENDS_SHARE: Final = 20  # looks for the ends of the logs within a stall's limit


class Moment(NamedTuple):
    """What the engine knows of itself at one moment."""

    calls: Mapping[int, Owned[Any]]
    board: Mapping[int, Owned[Any]]
    waiting: Callable[[Owned[Any]], int]  # records before the end of the log
    saving_pause_s: float
    reader_turns: int
    assignments: int  # completed
    assigning: bool
    unclaimed: int  # partitions that the group has given to this worker, and that it has no state of


def signs_of(moment: Moment, settings: EngineSettings) -> dict[Hashable, Sign]:
    """Return every sign of life of this moment, by a name of its own."""
    signs: dict[Hashable, Sign] = {
        "reader": Sign(
            moment.reader_turns,
            True,
            settings.stall_timeout_s,
            "the thread that reads Kafka has not answered",
        ),
        "assignment": Sign(
            moment.assignments,
            moment.assigning,
            settings.recovery_timeout_s,
            "partitions have been assigned and restored without an end",
        ),
        "claims": Sign(
            moment.assignments,
            moment.unclaimed > 0,
            settings.recovery_timeout_s,
            f"{moment.unclaimed} assigned partitions have not been restored",
        ),
    }
    if not moment.assigning:
        for owned in (*moment.calls.values(), *moment.board.values()):
            signs.update(_of_partition(owned, moment, settings))
        for owned in moment.board.values():
            signs.update(_of_shard(owned, settings))
    return signs


def _of_partition(
    owned: Owned[Any], moment: Moment, settings: EngineSettings
) -> Iterator[tuple[Hashable, Sign]]:
    place, limit_s, waiting = owned.place, settings.stall_timeout_s, moment.waiting(owned)
    yield (
        ("position", place),
        Sign(
            (owned.stage.applied_offset, owned.reached_offset),
            waiting > 0,
            limit_s,
            f"{place} has not moved, with {waiting} records waiting,",
        ),
    )
    yield (
        ("published", place),
        Sign(owned.published, True, limit_s, f"no publication or checkpoint of {place} was confirmed"),
    )
    yield (
        ("saved", place),
        Sign(
            owned.checkpoint_at_ms,
            True,
            limit_s + moment.saving_pause_s,
            f"no checkpoint of {place} was written",
        ),
    )


def _of_shard(owned: Owned[Any], settings: EngineSettings) -> Iterator[tuple[Hashable, Sign]]:
    limit_s = settings.stall_timeout_s + settings.session_timeout_s
    for source in range(settings.partitions):
        yield (
            ("heard", owned.place, source),
            Sign(
                owned.heard[source_key(source)],
                True,
                limit_s,
                f"{owned.place} has heard nothing of {settings.topics.events}[{source}]",
            ),
        )
