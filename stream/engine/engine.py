"""The engine: Faust's events tied to the two stages, and the one view that the exporter reads.

Life of an assignment. Revoked: save what can be saved in time, commit, drop every state. Assigned: Faust
reads the checkpoints; ``_restore`` makes states of them; ``seek_to_states`` sets the positions; batches flow.
Three tasks run besides: the ticker publishes, the saver writes checkpoints one partition after another, the
watcher looks for what is stuck.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from aiokafka.errors import KafkaError as ClientError
from faust.exceptions import ProducerSendError
from faust.types import TP

from stream.clock import monotonic_s, wall_ms
from stream.core.board import MAGIC as BOARD_MAGIC
from stream.core.board import BoardShard, approach, clock_of_all, take_snapshot
from stream.core.calls import MAGIC as CALLS_MAGIC
from stream.core.checkpoint import CheckpointError
from stream.core.rules import Clock
from stream.core.slots import Found, StateTooLargeError
from stream.core.snapshot import PipelineView, Snapshot, Status, is_behind
from stream.core.tally import add_up
from stream.engine.app import App, make_app
from stream.engine.batching import Consumer, PartEndedError, RawSchema, what_ended
from stream.engine.board_agent import BoardShell
from stream.engine.calls_agent import CallsShell
from stream.engine.checkpoints import RECORD_BYTES_MAX, CheckpointTable
from stream.engine.engine_settings import EngineSettings
from stream.engine.fenced import NoTransactionsError, writer_of
from stream.engine.holes import NOT_SOUGHT
from stream.engine.in_turn import InTurn
from stream.engine.owned import Owned
from stream.engine.restore import LogBounds, OtherLogError, RestoreError
from stream.engine.shell import Shell
from stream.engine.signs import ENDS_SHARE, Moment, signs_of
from stream.engine.tails import tail_reader
from stream.engine.topics import BOARD_TABLE, CALLS_TABLE, changelog_name
from stream.engine.watchdog import Watchdog

log = logging.getLogger("callgauge")

WATCH_INTERVAL_S: Final = 0.5
SAVER_STEP_S: Final = 0.1
# Of the time, at most, for encoding and sealing. Sending the state and what that does to the processor's caches cost as
# much again, and all of it together must stay below a tenth of the throughput.
SAVING_SHARE: Final = 0.04
# A broker that has just come back may not know yet how far its log is confirmed: a log that ends before its state is
# asked again for some seconds before that is believed.
SHORT_END_LOOKS: Final = 5
SHORT_END_PAUSE_S: Final = 2.0


class EngineError(Exception):
    """The engine cannot go on; the message is the line for the operator."""


TOLD: Final = (
    CheckpointError,
    EngineError,
    NoTransactionsError,
    PartEndedError,
    RestoreError,
    StateTooLargeError,
)  # by their own line


def _line_of(error: BaseException) -> str:
    if isinstance(error, ClientError):
        return f"Kafka failed for too long ({type(error).__name__}); the next start continues from the last checkpoint"
    if isinstance(error, TOLD):
        return str(error)
    return f"a bug ended the process: {type(error).__name__}"  # its words may name a call


class Engine:
    """One worker. Everything runs on one event loop, except Faust's fetching thread."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.cells_topic = settings.topics.cells
        self.batched_topics = frozenset((settings.topics.events, settings.topics.cells))
        self.phase = "starting"
        self.failure: BaseException | None = None
        self.stopping = False
        self.failed = asyncio.Event()
        self._assigned = False  # at least once, and restored
        self._assigning = True
        self._assignments = 0  # completed
        self._unhealthy = ""
        self._watchdog = Watchdog()
        self._replaced_told = 0
        self._reader_turns = 0
        self._short_ends: set[TP] = set()  # that ended before what was counted, the last time
        self._ends: dict[TP, int] = {}  # of the logs, as of the last time that somebody asked the broker
        self._handed_over: set[asyncio.Task[None]] = set()
        self.app: App = make_app(settings, self)
        self._send = InTurn(self._to_producer)
        self.calls = CallsShell(settings, self._checkpoints(CALLS_TABLE, CALLS_MAGIC), self._send)
        self.board = BoardShell(
            settings, self._checkpoints(BOARD_TABLE, BOARD_MAGIC), self._send, writer_of(settings)
        )
        self._shells: tuple[Shell[Any], ...] = (self.calls, self.board)
        self._connect()

    @property
    def consumer(self) -> Consumer:
        """The app's consumer, which is always ours."""
        return cast("Consumer", self.app.consumer)

    # --- wiring ---------------------------------------------------------------------------------------------

    def _checkpoints(self, name: str, magic: bytes) -> CheckpointTable:
        return CheckpointTable(
            changelog_name(self.app.conf.id, name),
            magic,
            tail_reader(self.settings),
            self.settings.checkpoint_record_bytes or RECORD_BYTES_MAX,
        )

    def _connect(self) -> None:
        app = self.app
        for shell in self._shells:
            app.agent(
                app.topic(shell.topic, schema=RawSchema()), name=f"callgauge-{shell.topic}", concurrency=1
            )(self._agent(shell))
        for task in (self._ticker, self._saver):
            app.task(self._guarded(task))
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        app.on_rebalance_complete.connect(self._on_rebalance_complete, weak=False)
        app.on_before_shutdown.connect(self._on_before_shutdown, weak=False)
        for shell, name, count in (
            (self.calls, CALLS_TABLE, self.settings.partitions),
            (self.board, BOARD_TABLE, self.settings.shards),
        ):
            # Empty for ever: it keeps the partitions of source and checkpoints together, and calls when to restore.
            app.Table(name, key_type=bytes, value_type=bytes, partitions=count).on_recover(
                self._recoverer(shell)
            )

    def _agent(self, shell: Shell[Any]) -> Callable[[Any], Coroutine[Any, Any, None]]:
        async def agent(stream: Any) -> None:
            # Not stream.take(): after an exception in it the worker stays alive and deaf. Not the acks of the
            # stream: they would skip the event that raised.
            async for event in stream.noack().events():
                await self.guard(shell.on_batch(event, self.consumer))
                await asyncio.sleep(0)  # a turn for the HTTP server between two batches
            if not self.stopping:
                self.fail(EngineError(f"the agent of {shell.topic} ended"))

        agent.__name__ = f"agent_{shell.topic}"
        return agent

    def _guarded(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def task() -> None:
            await self.guard(work())

        task.__name__ = work.__name__
        return task

    def _recoverer(self, shell: Shell[Any]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def recover() -> None:
            # Faust swallows what is raised here, and would go on without a state
            await self.guard(self._restore_unless_stopping(shell))

        return recover

    async def _restore_unless_stopping(self, shell: Shell[Any]) -> None:
        """Restore; on the way down, where the clients are closed beside this, a state is not needed any more."""
        try:
            await self._restore(shell)
        except Exception as error:
            if not self.stopping:
                raise
            log.debug("stopped while states were read: %s", type(error).__name__)

    async def guard(self, work: Awaitable[None]) -> None:
        """Run; end the process on an exception, and let whoever called wait for that end."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - this is the one place that may end everything
            self.fail(error)
            await asyncio.Event().wait()

    def fail(self, error: BaseException) -> None:
        """End the process with one line; nothing is saved or committed any more."""
        if isinstance(error, PartEndedError) and self.app.crash_reason is not None:
            error = self.app.crash_reason  # why it has ended
        if self.failure is None:
            told = isinstance(error, (*TOLD, ClientError))
            log.critical("%s", _line_of(error), exc_info=None if told else error)
        self.end_with(error)

    def end_with(self, error: BaseException) -> None:
        """End the process because of an error that somebody else tells."""
        if self.failure is None:
            self.failure = error
            self.failed.set()

    def _hand_over(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self.guard(work))
        self._handed_over.add(task)
        task.add_done_callback(self._handed_over.discard)

    async def _to_producer(self, *record: Any) -> Any:
        try:
            return await self.app.producer.send(*record)
        except ProducerSendError as error:
            if isinstance(error.__cause__, ClientError):
                raise error.__cause__ from None  # Kafka's failure, and no bug
            raise

    # --- assignments ----------------------------------------------------------------------------------------

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self._assigning = True
        if self._may_save() and any(shell.owned for shell in self._shells):
            try:
                await asyncio.wait_for(self._save_all(), self.settings.revoke_timeout_s)
                await asyncio.wait_for(self.consumer.commit(), self.settings.revoke_timeout_s)
            except Exception as error:  # noqa: BLE001 - whoever takes over reads it again
                log.warning("no checkpoint before giving partitions away: %s", type(error).__name__)
        for shell in self._shells:
            shell.drop_all()

    def _may_save(self) -> bool:
        """Say whether the partitions are still ours. What one writes that has lost them is corrected before long.

        One that was thrown out alive may have read on, further than the new owner; that one says everything once more
        when this one is certainly silent (see ``CallsStage.publish``).
        """
        return self.failure is None and not self.stopping and self._certain()

    async def _on_rebalance_complete(self, *_: Any, **__: Any) -> None:
        """Stop the flow again: Faust seeks while it flows and then clears the queues, losing batches."""
        self.consumer.stop_flow()
        if not self.consumer.assignment():
            self._settle()  # Faust does not seek where there is nothing to read

    async def _restore(self, shell: Shell[Any]) -> None:
        consumer, generation = self.consumer, self.app.consumer_generation_id
        tps = sorted(tp for tp in consumer.assignment() if tp.topic == shell.topic)
        await shell.look_around(consumer)
        found = await shell.table.read([tp.partition for tp in tps])
        bounds = await consumer.bounds(tps)  # after the states: what they have counted is in the logs by then
        restored: dict[int, Owned[Any]] = {}
        for tp in tps:
            restored[tp.partition] = await self._restore_one(shell, tp, found.pop(tp.partition), bounds[tp])
            restored[tp.partition].holes.rewound(NOT_SOUGHT)
            await asyncio.sleep(0)  # heartbeats and HTTP between two large states
        if self.app.consumer_generation_id != generation:
            return  # assigned anew in the meantime; the next recovery calls again
        shell.take(restored)
        self._hand_over(shell.prepare())
        self._spread(shell)

    async def _restore_one(self, shell: Shell[Any], tp: TP, found: Found, bounds: LogBounds) -> Owned[Any]:
        """Restore a partition; a log that ends before its state is asked a few times more before that is believed."""
        for _ in range(SHORT_END_LOOKS):
            try:
                return shell.restore(tp.partition, found, bounds)
            except OtherLogError as error:
                log.warning("%s; asking again", error)
            await asyncio.sleep(SHORT_END_PAUSE_S)
            bounds = (await self.consumer.bounds([tp]))[tp]
        return shell.restore(tp.partition, found, bounds)

    def _spread(self, shell: Shell[Any]) -> None:
        """Give every partition its own moment, so that the loop is never blocked for long."""
        interval_s, count = self.settings.checkpoint_interval_s, len(shell.owned)
        for index, owned in enumerate(shell.owned.values()):
            owned.due_at_s = monotonic_s() + interval_s * (index + 1) / count

    async def seek_to_states(self) -> None:
        """Set every position to what the restored state needs next."""
        owned = [(shell, found) for shell in self._shells for found in shell.owned.values()]
        positions = {TP(*found.place): found.stage.applied_offset + 1 for _, found in owned}
        epochs = await self.consumer.seek_all(positions)
        for _, found in owned:
            found.holes.rewound(epochs[TP(*found.place)])
        self._settle()
        log.info(
            "assigned: source partitions %s, shards %s",
            *(sorted(shell.owned) or "none" for shell in self._shells),
        )

    def _settle(self) -> None:
        self._assigned, self._assigning = True, False
        self._assignments += 1

    async def _on_before_shutdown(self, *_: Any, **__: Any) -> None:
        """Save on a clean stop: consumer and producer are alive here, and the consumer commits afterwards.

        Not after a crash: the producer may be dead and its deliveries never end, and half a batch must not be
        saved.
        """
        if self.failure is None and not self.app.crashed:
            try:
                await self._save_all()
            except Exception as error:  # noqa: BLE001 - the exit code says it
                self.fail(error)

    async def _save_all(self) -> None:
        await asyncio.gather(
            *[shell.checkpoint(owned) for shell in self._shells for owned in shell.owned.values()]
        )

    async def close(self) -> None:
        """Give up what is held besides Faust's own connections; called when Faust has stopped."""
        for shell in self._shells:
            await shell.close()

    # --- the tasks ------------------------------------------------------------------------------------------

    async def _ticker(self) -> None:
        while True:
            await asyncio.sleep(self.settings.publish_interval_s)
            if self.app.rebalancing or not self._may_save():
                continue
            self._look_at_positions()
            now_s, behind = monotonic_s(), self._behind()
            for shell in self._shells:
                for owned in shell.owned.values():
                    if owned.may_publish(now_s, behind=behind):
                        self._hand_over(shell.publish(owned))

    async def _saver(self) -> None:
        while True:
            await asyncio.sleep(min(SAVER_STEP_S, self.settings.checkpoint_interval_s / 10))
            if self.app.rebalancing or not self._may_save():
                continue
            now_s = monotonic_s()
            due = [
                (shell, owned)
                for shell in self._shells
                for owned in shell.owned.values()
                if owned.due_at_s <= now_s
            ]
            for shell, owned in due:
                owned.due_at_s = now_s + self._saving_pause_s()
                if not owned.saving:
                    owned.saving = True
                    self._hand_over(self._save(shell, owned))
                    await asyncio.sleep(0)

    async def _save(self, shell: Shell[Any], owned: Owned[Any]) -> None:
        """Save once; it may have to wait for the publication under way."""
        try:
            await shell.checkpoint(owned)
        finally:
            owned.saving = False

    def _saving_pause_s(self) -> float:
        """Return the time between two checkpoints of a partition: longer where saving takes too much.

        Very large states (a backlog read at once) would otherwise be saved more than counted; all that a
        longer pause costs is that a crash reads more again.
        """
        dumps_s = sum(owned.dump_s for shell in self._shells for owned in shell.owned.values())
        return max(self.settings.checkpoint_interval_s, dumps_s / SAVING_SHARE)

    async def watch(self) -> None:
        """Look for what ended without a word, or does not go on, as long as the process runs."""
        while self.failure is None:
            await asyncio.sleep(WATCH_INTERVAL_S)
            self._look_for_the_dead()
            self._look_at_the_membership()
            self._look_for_the_stuck(monotonic_s())

    def _look_for_the_dead(self) -> None:
        """End the process for a crash that Faust or its client only notes for whoever asks."""
        if self.app.crashed:
            self.fail(self.app.crash_reason or EngineError("Faust crashed and does not say why"))
        error = self.consumer.what_ended() or what_ended(self.app)
        if error is not None:
            self.fail(error)

    def _look_at_the_membership(self) -> None:
        membership = self.consumer.membership
        if membership.must_go:
            self.fail(
                EngineError(
                    f"another running worker uses the instance id {self.settings.instance_id!r}, and this one came "
                    "later: give each worker an instance id of its own"
                )
            )
        elif membership.replaced > self._replaced_told:
            self._replaced_told = membership.replaced
            log.warning(
                "another worker came with the instance id %r; it should end by itself, and this one stays",
                self.settings.instance_id,
            )

    def _look_for_the_stuck(self, now_s: float) -> None:
        moment = Moment(
            calls=self.calls.owned,
            board=self.board.owned,
            waiting=self._waiting,
            saving_pause_s=self._saving_pause_s(),
            reader_turns=self._reader_turns,
            assignments=self._assignments,
            assigning=self._assigning,
            unclaimed=self._unclaimed(),
        )
        trouble = self._watchdog.look(signs_of(moment, self.settings), now_s)
        self._unhealthy = trouble.text if trouble is not None else ""
        if trouble is not None and trouble.fatal:
            self.fail(EngineError(f"{trouble.text}: ending, so that a new start may help"))

    def _unclaimed(self) -> int:
        if self._assigning:
            return 0  # the client may not even be there yet
        owned = {TP(*found.place) for shell in self._shells for found in shell.owned.values()}
        assigned = {tp for tp in self.consumer.assignment() if tp.topic in self.batched_topics}
        return len(assigned - owned)

    async def ask_for_ends(self) -> None:
        """Ask for the ends of the logs again and again, past the fetcher: it may be what does not go on."""
        while True:
            await asyncio.sleep(self.settings.stall_timeout_s / ENDS_SHARE)
            await self.consumer.answers()
            self._reader_turns += 1
            # noted before asking: records may overtake the answer about their log
            counted = {
                TP(*owned.place): owned.stage.applied_offset + 1
                for shell in self._shells
                for owned in shell.owned.values()
            }
            # only what is answered now says anything: an end of before, too, lies before what was counted since
            ends = await self.consumer.ends(list(counted)) if counted else {}
            self._ends.update(ends)
            for tp, end in ends.items():
                self._refuse_an_end_before_us(tp, end, counted[tp])

    def _refuse_an_end_before_us(self, tp: TP, end: int, next_offset: int) -> None:
        """End when a log ends before what was counted when it was asked, twice in a row.

        Once is no proof: a broker that has just come back may not know yet how far its log is confirmed.
        """
        if end >= next_offset:
            self._short_ends.discard(tp)
        elif tp not in self._short_ends:
            self._short_ends.add(tp)
        else:
            raise EngineError(
                f"{tp.topic}[{tp.partition}] ends at offset {end}, but is counted up to {next_offset}: it was "
                "deleted and made again, or lost records. What is in it now has offsets that are counted already; to "
                "count it from its beginning, delete the checkpoint topics too"
            )

    # --- where the partitions stand -------------------------------------------------------------------------

    def _end(self, owned: Owned[Any]) -> int:
        tp = TP(*owned.place)
        end: int | None = self.consumer.end_offset(tp)
        return max(int(owned.end_at_start if end is None else end), self._ends.get(tp, 0))

    def _waiting(self, owned: Owned[Any]) -> int:
        reached = max(owned.reached_offset, int(owned.stage.applied_offset) + 1)
        return max(0, self._end(owned) - reached)

    def _behind(self) -> bool:
        return is_behind(map(self._waiting, self.calls.owned.values()))

    def _look_at_positions(self) -> None:
        consumer = self.consumer
        for shell in self._shells:
            for owned in shell.owned.values():
                tp, applied_offset = TP(*owned.place), owned.stage.applied_offset
                position = consumer.fetch_position(tp)
                # A log may end in records that nobody gets (markers, what retention removed): then only the
                # fetch position arrives at the end. It is ahead of what is on its way to us, so it must have
                # rested.
                resting = (
                    position == owned.position_seen and consumer.handed_out.get(tp, -1) <= applied_offset
                )
                reached = max(applied_offset + 1, position if resting and position is not None else 0)
                owned.position_seen, owned.reached_offset = position, reached
                owned.caught_up = reached >= self._end(owned)
                owned.live = owned.live or reached >= owned.end_at_start

    # --- what others see ------------------------------------------------------------------------------------

    def approach(self) -> Iterator[None]:
        """Do most of a snapshot's work beforehand, in steps. An error in it ends the process."""
        try:
            yield from approach(self._exported())
        except Exception as error:
            self.fail(error)
            raise

    def snapshot(self) -> Snapshot:
        """Return everything that may be exported at this moment. An error in it ends the process."""
        try:
            return take_snapshot(
                self._exported(),
                self._pipeline(exported=self._certain()),
                self.settings.board,
                status=self.status(),
                taken_at_ms=wall_ms(),
            )
        except Exception as error:
            self.fail(error)
            raise

    def status(self) -> Status:
        """Return whether this process can be asked, and whether it is well."""
        sick, reason, shards = self._sick(), self._not_ready(), self._exported()
        silent = bool(shards) and clock_of_all(shards) is None and self.settings.board.clock is Clock.WALL
        if silent and not reason:
            reason = "waiting for the first word of every source partition"
        return Status(
            ready=not reason,
            not_ready_reason=reason,
            healthy=not sick,
            unhealthy_reason=sick,
            behind=self._behind(),
        )

    def _exported(self) -> list[BoardShard]:
        return self.board.live_shards() if self._certain() else []

    def _sick(self) -> str:
        return f"stopping: {self.failure}" if self.failure is not None else self._unhealthy

    def _certain(self) -> bool:
        """Say whether what is owned cannot be another one's already.

        A worker that was stopped or cut off does not know that its partitions have gone to another one, so it
        stops exporting by itself after the time within which they cannot have gone.
        """
        return not self._assigned or self.consumer.membership.certain(monotonic_s())

    def _not_ready(self) -> str:
        silent_s = self.consumer.membership.silent_s(monotonic_s())
        reasons = (
            (self.failure is not None or self.stopping, "stopping"),
            (bool(self.phase), self.phase),
            (
                self._assigned and (self.app.rebalancing or self._assigning),
                "recovering: partitions are being assigned",
            ),
            (not self._assigned, "waiting for the group to assign partitions"),
            (
                not any(shell.owned for shell in self._shells),
                "no partitions assigned: there are more workers than partitions",
            ),
            (not self._certain(), f"the group has not answered for {silent_s:.0f} s"),
            (
                not all(owned.live for owned in self.board.owned.values()),
                f"catching up with {self.cells_topic}",
            ),
        )
        return next((reason for holds, reason in reasons if holds), "")

    def _pipeline(self, *, exported: bool) -> PipelineView:
        holes, gaps = (
            sum(counts) for counts in zip(*(shell.hole_counts() for shell in self._shells), strict=True)
        )
        if not exported:
            return replace(add_up([]), holes=holes, gaps=gaps)
        owned = list(self.calls.owned.values())
        lag: Mapping[tuple[str, int], int] = {
            found.place: self._waiting(found) for shell in self._shells for found in shell.owned.values()
        }
        return replace(
            add_up([found.tally for found in owned if found.tally is not None]),
            holes=holes,
            gaps=gaps,
            retention_gaps=sum(shell.retention_gaps for shell in self._shells),
            checkpoints_refused=sum(shell.refused for shell in self._shells),
            lag_records=lag,
            last_event_at_ms=max(
                (at_ms for found in owned if (at_ms := found.stage.stream_time_ms) is not None), default=None
            ),
            checkpoint_at_ms={
                found.place.partition: found.checkpoint_at_ms
                for found in owned
                if found.checkpoint_at_ms is not None
            },
        )
