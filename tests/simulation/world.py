"""The world: time, processes, what befalls them, and the order in which everything happens.

Theory of operation, after FoundationDB and TigerBeetle. One thread runs several workers, each with the real engine
(``stream.engine.engine.Engine``: shells, stages, hole check, checkpoints, saver, ticker, watchdog), and a Kafka that
consists of lists. Everything that is not determined is drawn from one seeded generator, so a seed is a history. First
comes the storm, in which processes are killed at chosen steps, stand still, are thrown out of the group, and so on.
Then everything is healed, and the board must become what the oracle says of the logs.

*Crash points* are the steps at which a process can die with different things on the disk: before and after each
record that it sends, once it is in the log, once it is confirmed, before and after a commit, and so on (``STEPS``);
what it does between two of them leaves no trace.
"""

import contextlib
import hashlib
import heapq
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaError

import stream.clock
import stream.engine.engine
from stream.engine.calls_agent import SILENT_AFTER_SESSIONS
from stream.engine.engine import Engine
from stream.engine.engine_settings import EngineSettings
from stream.engine.last_resort import unheard
from stream.engine.topics import BOARD_TABLE, CALLS_TABLE, changelog_name
from tests.earlier import EarlierRelease
from tests.simulation import traffic, verdict, weather
from tests.simulation.faust_part import App, Stream, be_a_member, commit_for_ever, tail_reader, writer_of
from tests.simulation.group import SESSION_TIMEOUT_S, Group
from tests.simulation.loop import KilledError, ProcessLoop, running
from tests.simulation.topics import Broker

LIVES = 24  # calls, and as many events that make no sense
PUBLISH_INTERVAL_S = 0.25
CHECKPOINT_INTERVAL_S = 0.6
CHUNKED_ABOVE_BYTES = 700  # in half of the worlds: most states are larger, and then written as chunks
LIVE_WITHIN_S = 60.0  # of virtual time after healing, everything must be counted
# That long it must stay so: some more publications and checkpoints, and all is said again once others are silent.
QUIET_S = SILENT_AFTER_SESSIONS * SESSION_TIMEOUT_S + 1.0
LOOK_INTERVAL_S = 0.7  # between two checks of the invariants
STEPS_MAX = 3_000_000  # a world that does not end
ARMED = 8  # steps that a process dies at when it passes there next
ARMED_FOR_S = 2.0
WALL_RATE = 4  # the centre's time runs faster than the workers', or most of a history would be waiting
COUNTED_AGAIN = 0.3  # of the changes: whoever makes them has the log counted from its beginning
FOLD = "batch: in the fold"
ANYWHERE = "anywhere"
SENT_IN = ("publication", "checkpoint of calls", "checkpoint of board", "record set aside", "closed interval")
STEPS = (
    ANYWHERE,
    "batch: handed over",
    FOLD,
    "batch: folded",
    *(
        f"{what}: {when}"
        for what in SENT_IN
        for when in ("before it is sent", "sent", "in the log", "confirmed")
    ),
    "commit: before",
    "commit: done",
    "revoked: before the handlers",
    "revoked: all given away",
    "recovery: before",
    "recovery: checkpoints read",
    "recovery: states made",
    "seek: before",
    "seek: done",
    "stop: before",
    "stop: saved",
)
STOPPING = ("stop: before", "stop: saved")
FAULTS = (
    "agent slow",
    "batch delivered twice",
    "batch skipped",
    "batches dropped at a rebalance",
    "checkpoint corrupted",
    "checkpoint lost",
    "checkpoints of calls deleted with a change",
    "clock jumped",
    "commit lost",
    "commit of a zombie let through",
    "delivery delayed",
    "delivery failed",
    "delivery lost with the crash",
    "delivery repeated",
    "delivery written, and not confirmed",
    "event after one that happened later",
    "event duplicate",
    "event late",
    "event rejected",
    "gap in a log read over",
    "heartbeat lost",
    "process paused",
    "process stood still for a moment",
    "producer's buffer full",
    "rebalance",
    "records delivered again",
    "rules changed",
    "thrown out of the group while alive",
    "topic compacted",
    "worker of an earlier release replaced",
    "worker of an earlier release spoke late",
    "worker joined",
    "worker left",
    "write of a former owner refused",
    "zombie woke up",
)


class Process:
    """One worker process: a loop, an engine, and whether it exists."""

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.number = world, number
        self.loop = ProcessLoop(lambda: world.now_s, lambda when_s, handle: world.wake(self, when_s, handle))
        self.alive = True
        self.paused = False
        self.stopping = False
        self.wall_offset_ms = 0
        self.earlier = world.traffic.upgraded and not world.changed
        self.app: App
        with world.acting(self), running(self.loop):
            self.engine = Engine(world.settings_later if world.changed else world.settings)
            if self.earlier:
                self._speak_as_before()
            self.engine.phase = ""  # the topics are there
            self.app = self.engine.app  # type: ignore[assignment]
            self.loop.set_exception_handler(unheard(self.loop, self.engine.fail))
            for topic, agent in self.app.readers:
                stream = self.app.consumer.streams[topic] = Stream(self)
                actor = SimpleNamespace(actor_task=self.spawn(agent(stream)))
                self.app.agents[topic] = SimpleNamespace(_actors=[actor])
            self.spawn(self._main())
            self.spawn(self.app.consumer.fetch_for_ever())
            self.spawn(commit_for_ever(self.app))
            for task in (self.engine.watch, self.engine.ask_for_ends):
                self.spawn(self.engine.guard(task()))

    def _speak_as_before(self) -> None:
        """Say what that release said, whose states are of no interest here."""
        calls, lives = self.engine.calls, dict[Any, EarlierRelease]()
        outgoing = calls.outgoing

        def said(owned: Any) -> Any:
            if self.world.changed:
                self.world.note("worker of an earlier release spoke late")
            life = lives.setdefault(owned, EarlierRelease())
            return [one._replace(value=life.said(one.partition, one.value)) for one in outgoing(owned)]

        calls.outgoing = said  # type: ignore[method-assign]

    def spawn(self, work: Any) -> Any:
        """Run a coroutine besides; return its task."""
        return self.loop.create_task(work)

    def stop(self) -> None:
        """Stop cleanly, as after SIGTERM."""
        self.stopping = True
        self.spawn(self._stop())

    async def _main(self) -> None:
        self.spawn(be_a_member(self, self.app))
        await self.engine.failed.wait()
        self.world.ended(self, self.engine.failure)

    async def _stop(self) -> None:
        world, engine = self.world, self.engine
        world.passes(self, "stop: before")
        engine.stopping = True
        await self.app.on_before_shutdown.send()
        world.passes(self, "stop: saved")
        if engine.failure is None:
            await self.app.consumer.commit()
            world.group.leave(self.number)
            world.ended(self, None)


class World:
    """One history."""

    def __init__(
        self,
        seed: str,
        *,
        lives: int = LIVES,
        storm: weather.Weather | None = None,
        dies_at: int | None = None,
    ) -> None:
        self.random = Random(seed)
        self.now_s = 0.0
        self.counts: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self.weather = storm or weather.draw(self.random)
        self.partitions, self.shards = self.random.randint(1, 3), self.random.randint(1, 2)
        self.traffic = traffic.draw(self.random, self.partitions, self.shards, lives)
        self.settings = EngineSettings(
            partitions=self.partitions,
            shards=self.shards,
            publish_interval_s=PUBLISH_INTERVAL_S,
            checkpoint_interval_s=CHECKPOINT_INTERVAL_S,
            session_timeout_s=SESSION_TIMEOUT_S,
            checkpoint_record_bytes=self.random.choice((None, CHUNKED_ABOVE_BYTES)),
            fold=self.traffic.rules.fold,
            board=self.traffic.rules,
        )
        self.settings_later = replace(self.settings, fold=self.traffic.later.fold, board=self.traffic.later)
        self.changed = False  # whoever starts now has the later settings, and is of today's release
        names = self.settings.topics
        self.changelogs = {
            changelog_name(self.settings.app_id, CALLS_TABLE): self.partitions,
            changelog_name(self.settings.app_id, BOARD_TABLE): self.shards,
        }
        self._steps_of = {
            names.cells: SENT_IN[0],
            **dict(zip(self.changelogs, SENT_IN[1:3], strict=True)),
            names.dead: SENT_IN[3],
            names.late: SENT_IN[3],
            names.intervals: SENT_IN[4],
        }
        self.broker = Broker(
            self,
            {
                names.events: self.partitions,
                names.dead: self.partitions,
                names.late: self.partitions,
                names.cells: self.shards,
                names.intervals: 1,
                **self.changelogs,
            },
        )
        self.group = Group(self, self.partitions, self.shards)
        self.processes: list[Process] = []
        self.target = self.random.randint(1, 3)
        self.said: list[str] = []  # what the workers logged
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Any]] = []
        self._sequence = itertools.count()
        self._acting: Process | None = None
        self._hash = hashlib.blake2b(digest_size=16)
        self._armed: dict[str, int] = {}  # step -> how many more times it is passed
        self._dies_at = dies_at  # the one passage of a crash point, counted from 1, at which somebody dies
        self.passages = 0
        self._stormy = True
        self._end_s = 0.0
        self._wrong: AssertionError | None = None
        self.auditor = verdict.Auditor(self)

    # --- time and order -------------------------------------------------------------------------------------

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        """Do something at a moment."""
        heapq.heappush(self._timers, (when_s, next(self._sequence), action))

    def wake(self, process: Process, when_s: float, handle: Any) -> None:
        """Run a step of a process at a moment; of one that stands still, once it goes on."""

        def run() -> None:
            if process.alive and not handle.cancelled():
                process.loop.ready.append(handle)

        self.at(when_s, run)

    def wall_ms(self) -> int:
        """Return the wall clock of whoever acts."""
        offset_ms = 0 if self._acting is None else self._acting.wall_offset_ms
        return self.traffic.from_ms + int(self.now_s * WALL_RATE * 1_000) + offset_ms

    @contextlib.contextmanager
    def acting(self, process: Process) -> Iterator[None]:
        """Say whose step it is."""
        self._acting = process
        try:
            yield
        finally:
            self._acting = None

    def step(self) -> None:
        """Let one thing happen: what is due first, else a step of any process, else time goes by."""
        timers = self._timers
        if timers and timers[0][0] <= self.now_s:
            heapq.heappop(timers)[2]()
            return
        ready = [process for process in self.processes if process.loop.ready and not process.paused]
        if not ready:
            self.now_s = timers[0][0]
            return
        process = ready[0] if len(ready) == 1 else ready[int(self.random.random() * len(ready))]
        self._acting = process
        process.loop.run_one()
        self._acting = None
        if self._wrong is not None:
            raise self._wrong
        if self.weather.slow_step and self.random.random() < self.weather.slow_step:
            self.note("process stood still for a moment")
            self.now_s += self.random.uniform(0.0, 0.3)

    def run_until(self, when_s: float) -> None:
        """Run on until a moment."""
        for _ in range(STEPS_MAX):
            if self.now_s >= when_s:
                return
            self.step()
        raise AssertionError(f"the world stands still at {self.now_s:.3f} s")

    # --- what is counted and traced -------------------------------------------------------------------------

    def note(self, fault: str) -> None:
        """Count a fault that really happened."""
        self.counts[fault] += 1
        self.trace(fault)

    def happens(self, probability: float, fault: str, possible: bool = True) -> bool:
        """Draw whether a fault happens, and count it."""
        if not probability or not possible or self.random.random() >= probability:
            return False
        self.note(fault)
        return True

    def trace(self, *what: object) -> None:
        """Add to the history that two runs of a seed have in common."""
        self._hash.update(repr((self.now_s, *what)).encode())

    @property
    def trace_hash(self) -> str:
        """Return the hash of everything that happened."""
        return self._hash.hexdigest()

    def step_of(self, topic: str) -> str:
        """Name what a record for a topic is a part of."""
        return self._steps_of[topic]

    def wrote(self, topic: str, partition: int) -> None:
        """Hear that a record is in a log."""
        self.auditor.wrote(topic, partition)

    def committed(self, offsets: dict[Any, int]) -> None:
        """Hear of a commit that the coordinator took."""
        self.trace("commit", sorted(offsets.items()))
        try:
            self.auditor.committed(offsets)
        except AssertionError as error:
            self._wrong = error  # raised here it would be the worker's own, which does with it what it likes

    # --- crashes --------------------------------------------------------------------------------------------

    def passes(self, process: Process, step: str, *, outside: bool = False) -> None:
        """Pass a crash point: the process may die here. ``outside``: in a step that is none of its own."""
        if not process.alive:
            raise KilledError
        self.passages += 1
        if self.passages != self._dies_at:
            if step not in self._armed:
                return
            self._armed[step] -= 1
        if not self._armed.get(step):
            self._kill(process, step)
            if not outside:
                raise KilledError

    def will_die_in_the_fold(self, process: Process) -> bool:
        """Say whether the batch that is being handed over is to be the last of its process."""
        return process.alive and self._armed.pop(FOLD, None) is not None

    def dies_in_the_fold(self, process: Process) -> None:
        """Die while a record is decoded."""
        self._kill(process, FOLD)
        raise KilledError

    def _arm(self) -> None:
        """Choose a step to die at, rather one that nobody has died at yet."""
        if not self._stormy:
            return
        if len(self._armed) < ARMED:
            step = min(self.random.sample(STEPS, 3), key=lambda step: self.crashes[step])
            self._armed.setdefault(step, self.random.randint(1, 3))
            self.at(self.now_s + ARMED_FOR_S, lambda: self._armed.pop(step, None))
            if step in STOPPING:
                self._leave()
            if step == ANYWHERE:
                self._kill_anybody()
        self.at(self.now_s + self.random.expovariate(self.weather.crashes_per_s), self._arm)

    def _kill_anybody(self) -> None:
        self._armed.pop(ANYWHERE, None)
        if self.processes:
            self._kill(self.random.choice(self.processes), ANYWHERE)

    def _kill(self, process: Process, step: str) -> None:
        if process.alive:
            self._armed.pop(step, None)
            self.crashes[step] += 1
            self.trace("crash", process.number, step)
            self._remove(process)

    def _remove(self, process: Process) -> None:
        process.alive = False
        self.processes.remove(process)
        self.broker.crashed(process.number)
        self.at(self.now_s, process.loop.kill)  # not while one of its steps is on the stack
        number = process.number
        self.at(self.now_s + self.random.uniform(0.01, 0.3), lambda: self.group.expire(number))
        self.at(self.now_s + self.random.uniform(0.01, 0.2), self._start_missing)

    def ended(self, process: Process, failure: BaseException | None) -> None:
        """Hear that a process has ended by itself; only what was done to it may be the reason."""
        if not process.alive:
            return
        self.trace("ended", process.number, type(failure).__name__)
        if failure is not None and not isinstance(failure, KafkaError):
            self._wrong = AssertionError("a worker ended by itself")
            self._wrong.__cause__ = failure
        self._remove(process)
        raise KilledError

    # --- other rules, another release -----------------------------------------------------------------------

    def _change(self) -> None:
        """Let all workers be replaced, one after the other; who stands still comes back after that."""
        self.changed = True
        if self.traffic.rules_change:
            self.note("rules changed")
        if self.random.random() < COUNTED_AGAIN:
            self.note("checkpoints of calls deleted with a change")
            for log in self.broker.logs[next(iter(self.changelogs))]:
                log.records.clear()
        for process in self.processes:
            self.at(
                self.now_s + self.random.uniform(0.0, 1.0), lambda process=process: self._replace(process)
            )

    def _replace(self, process: Process) -> None:
        """Let a worker stop, or end at once; whoever stands still, before long."""
        if process.paused:
            self.at(self.now_s + 0.5, lambda: self._replace(process))
        elif process.alive and not process.stopping:
            self.random.choice((process.stop, lambda: self.supersede(process)))()

    def supersede(self, process: Process) -> None:
        """Let a worker end at once, so that another one begins."""
        self.trace("superseded", process.number)
        if process.earlier:
            self.note("worker of an earlier release replaced")
        self._remove(process)

    # --- other faults ---------------------------------------------------------------------------------------

    def _start_missing(self) -> None:
        while len(self.processes) < self.target:
            self.processes.append(Process(self, next(self._numbers)))
            self.note("worker joined")

    def _leave(self) -> None:
        staying = [process for process in self.processes if not process.stopping and not process.paused]
        if staying:
            self.note("worker left")
            self.random.choice(staying).stop()

    def _resize(self) -> None:
        self.target = self.random.randint(1, 3)
        self._start_missing()
        if len(self.processes) > self.target or self.random.random() < 0.5:
            self._leave()

    def _pause(self) -> None:
        going = [process for process in self.processes if not process.paused]
        if not going:
            return
        process = self.random.choice(going)
        process.paused = True
        self.note("process paused")
        generation, owned = self.group.generation, process.app.consumer_generation_id == self.group.generation

        def wake() -> None:
            if process.alive:
                if owned and self.group.generation != generation:
                    self.note("zombie woke up")
                process.paused = False

        self.at(self.now_s + self.random.choice((0.3, 1.0, 2.0, 5.0)), wake)

    def _expel(self) -> None:
        members = self.group.members()
        if members:
            self.note("thrown out of the group while alive")
            self.group.expire(self.random.choice(members))

    def _jump(self) -> None:
        if self.processes:
            self.note("clock jumped")
            self.random.choice(self.processes).wall_offset_ms += self.random.choice(
                (-30_000, -1_000, 500, 20_000)
            )

    def _compact(self) -> None:
        for topic in (*self.changelogs, self.settings.topics.intervals):
            if sum(log.compact() for log in self.broker.logs[topic]):
                self.note("topic compacted")

    def _lose_checkpoint(self) -> None:
        topic = self.random.choice(sorted(self.changelogs))
        log = self.random.choice(self.broker.logs[topic])
        if log.records:
            self.note("checkpoint lost")
            del log.records[-self.random.choice((1, 1, len(log.records))) :]

    def _corrupt_checkpoint(self) -> None:
        topic = self.random.choice(sorted(self.changelogs))
        log = self.random.choice(self.broker.logs[topic])
        if log.records and log.records[-1].value:
            self.note("checkpoint corrupted")
            record = log.records[-1]
            place = self.random.randrange(len(record.value or b""))
            spoiled = bytearray(record.value or b"")
            spoiled[place] ^= 1 << self.random.randrange(8)
            log.records[-1] = record._replace(value=bytes(spoiled[: self.random.choice((place + 1, None))]))

    def _repeat(self, per_s: float, action: Callable[[], None]) -> None:
        if not per_s:
            return

        def go() -> None:
            if self._stormy:
                action()
                self.at(self.now_s + self.random.expovariate(per_s), go)

        self.at(self.now_s + self.random.expovariate(per_s), go)

    # --- the history ----------------------------------------------------------------------------------------

    def run(self) -> "World":
        """Live through it: the storm, then the healing, then the verdict. Raises AssertionError."""
        with self._simulated():
            try:
                self._prepare()
                self.run_until(self._end_s + 1.0)
                self._heal()
                self._drain()
                verdict.at_the_end(self)
            finally:
                self._end()
        return self

    def _prepare(self) -> None:
        logs, greatest = self.broker.logs[self.settings.topics.events], [0] * self.partitions
        for arrival in self.traffic.arrivals:

            def arrive(arrival: traffic.Arrival = arrival) -> None:
                logs[arrival.partition].append(arrival.timestamp, arrival.key, arrival.value)

            self.at(arrival.at_ms / 1_000 / WALL_RATE, arrive)
            if arrival.timestamp is not None and arrival.timestamp < greatest[arrival.partition]:
                self.counts["event after one that happened later"] += 1
            greatest[arrival.partition] = max(greatest[arrival.partition], arrival.timestamp or 0)
        for at_ms, partition, count in self.traffic.gaps:
            self.at(at_ms / 1_000 / WALL_RATE, lambda log=logs[partition], count=count: log.skip(count))
        self._end_s = max([arrival.at_ms for arrival in self.traffic.arrivals], default=0) / 1_000 / WALL_RATE
        self._start_missing()
        if self.traffic.upgraded or self.traffic.rules_change:
            self.at(self.traffic.changes_at_ms / 1_000 / WALL_RATE, self._change)
        bad = self.weather
        if bad.crashes_per_s:
            self.at(self.random.uniform(0, 2), self._arm)
        for per_s, action in (
            (bad.pauses_per_s, self._pause),
            (bad.expulsions_per_s, self._expel),
            (bad.leaves_per_s, self._resize),
            (bad.clock_jumps_per_s, self._jump),
            (bad.compactions_per_s, self._compact),
            (bad.lost_checkpoints_per_s, self._lose_checkpoint),
            (bad.corrupt_checkpoints_per_s, self._corrupt_checkpoint),
        ):
            self._repeat(per_s, action)
        self.at(0.3, self._look_at_the_group)
        self.at(LOOK_INTERVAL_S, self._look)

    def _look_at_the_group(self) -> None:
        self.group.look()
        self.at(self.now_s + 0.3, self._look_at_the_group)

    def _look(self) -> None:
        for process in self.processes:
            if not process.paused:
                with self.acting(process):
                    self.auditor.look(process)
        self.at(self.now_s + LOOK_INTERVAL_S, self._look)

    def _heal(self) -> None:
        self._stormy = False
        self._armed.clear()
        self.weather = weather.CALM
        for process in self.processes:
            process.paused = False
            process.wall_offset_ms = 0
        self.target = 2
        self._start_missing()
        # The centre goes on. A batch that was skipped at the end of a log is only missed when something follows.
        for log in self.broker.logs[self.settings.topics.events]:
            log.append(None, None, b"after the storm")

    def _drain(self) -> None:
        """Wait until everything is counted; safety without liveness is worth nothing."""
        healed_at_s = self.now_s
        quiet_since_s = self.now_s
        while self.now_s < quiet_since_s + QUIET_S:
            self.run_until(self.now_s + 0.25)
            if self.broker.owes(healed_at_s) or not verdict.all_counted(self):
                quiet_since_s = self.now_s
            assert self.now_s < healed_at_s + LIVE_WITHIN_S, (
                f"I8: not all is counted {LIVE_WITHIN_S:.0f} s after healing: {verdict.behind(self)}"
            )

    def _end(self) -> None:
        for process in list(self.processes):
            process.alive = False
            process.loop.kill()

    @contextlib.contextmanager
    def _simulated(self) -> Iterator[None]:
        """Put our clock and our Faust in their places."""
        engine, clock = stream.engine.engine, stream.clock
        real = engine.make_app, engine.tail_reader, engine.writer_of, clock.time
        fake = SimpleNamespace(time_ns=lambda: self.wall_ms() * 1_000_000, monotonic=lambda: self.now_s)
        handler = _Listener(self.said)
        log = logging.getLogger("callgauge")
        level, propagate = log.level, log.propagate
        engine.make_app, clock.time = self._make_app, fake  # type: ignore[assignment]
        engine.tail_reader = lambda _: tail_reader(self._acting)  # type: ignore[assignment, arg-type]
        engine.writer_of = lambda _: writer_of(self._acting)  # type: ignore[assignment, arg-type]
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
        log.propagate = False
        try:
            yield
        finally:
            engine.make_app, engine.tail_reader, engine.writer_of, clock.time = real
            log.removeHandler(handler)
            log.setLevel(level)
            log.propagate = propagate

    def _make_app(self, _: EngineSettings, engine: Any) -> Any:
        assert self._acting is not None
        return App(self._acting, engine)


class _Listener(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(self.format(record))
