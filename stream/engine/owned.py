"""A partition that this process owns, of either stage: its state, and what is under way on its behalf."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from stream.clock import monotonic_s
from stream.core.checkpoint import Encoded
from stream.core.snapshot import PipelineView
from stream.engine.holes import HoleCheck
from stream.engine.tp import Place


class Stage(Protocol):
    """What both pure stages can do."""

    applied_offset: int

    def encode(self) -> Encoded:
        """Return the whole state as of now, still to be sealed."""
        ...


StageT = TypeVar("StageT", bound=Stage)

# While a backlog is read (stream.core.snapshot.is_behind) nobody sees the present anyway, and what changes within three
# seconds is said once in place of six times: with many queues a publication of all of them has a price of its own.
BACKLOG_PUBLISH_INTERVAL_S: Final = 3.0


@dataclass(slots=True, eq=False)
class Owned(Generic[StageT]):
    """One owned partition.

    ``lock`` is held by whoever publishes or saves, from taking the values until their delivery is confirmed.
    So there is at most one publication of a partition under way, and a checkpoint never overtakes one.
    """

    place: Place
    stage: StageT
    end_at_start: int  # end of the log when the partition was taken over
    holes: HoleCheck = field(default_factory=HoleCheck)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    deliveries: set[asyncio.Task[None]] = field(default_factory=set)  # records set aside, not confirmed yet
    newest_event: Any = None  # Faust's event of the newest batch folded; its ack lets the offset be committed
    tally: PipelineView | None = None  # as of the last confirmed checkpoint: a restart cannot take it back
    checkpoint_at_ms: int | None = None
    saved_offset: int = -2  # applied offset of the last confirmed checkpoint; -2: none yet
    due_at_s: float = 0.0
    taken_at_s: float = field(default_factory=monotonic_s)
    # What the state takes for published or set aside may not have been delivered: whoever waited for it gave up, or it
    # failed. The state is neither published nor saved any more; the process ends, or gives the partition away.
    unsound: bool = False
    saving: bool = False  # a checkpoint is under way, or waits for a publication to end
    quiet_until_s: float = 0.0  # nothing is published before this while a backlog is read
    published: int = 0  # times that all of a publication was confirmed
    heard: Counter[bytes] = field(default_factory=Counter)  # shards: publications by source partition
    dump_s: float = 0.0  # how long the last dump took: encoding, and sealing in a thread
    caught_up: bool = False
    live: bool = False  # has read what there was when it was taken over: its counters cannot go back any more
    position_seen: int | None = None
    reached_offset: int = 0  # everything before it was applied, or is nothing that we could get

    def may_publish(self, now_s: float, *, behind: bool) -> bool:
        """Say whether it is time to publish, at every tick; while a backlog is read (``behind``) less often."""
        if behind and now_s < self.quiet_until_s:
            return False
        self.publishes(now_s)
        return True

    def publishes(self, now_s: float) -> None:
        """Note that it is published now."""
        self.quiet_until_s = now_s + BACKLOG_PUBLISH_INTERVAL_S

    def deliver(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Start a delivery that the next checkpoint waits for; no await between the fold and this."""
        task = asyncio.ensure_future(_run(work))
        self.deliveries.add(task)
        task.add_done_callback(self._delivered)
        return task

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self.deliveries.discard(task)
        if task.cancelled() or task.exception() is not None:
            self.unsound = True

    @contextlib.contextmanager
    def sound_if_done(self) -> Iterator[None]:
        """Deliver what was taken out of the state; when that is given up, or fails, the state is not sound any more."""
        try:
            yield
        except BaseException:
            self.unsound = True
            raise


async def _run(work: Awaitable[None]) -> None:
    await work


async def all_confirmed(deliveries: Iterable[Awaitable[Any]]) -> None:
    """Wait for every delivery; raise the first failure after all have ended.

    Several may wait for the same delivery (the agent and a checkpoint), so one that gives up waiting must not cancel
    it for the others: an agent that is cancelled ends without a word.
    """
    results = await asyncio.gather(*map(asyncio.shield, deliveries), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
