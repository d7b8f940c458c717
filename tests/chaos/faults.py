"""What goes wrong, in an order that the seed decides; each fault tells whether it really happened."""

import contextlib
import http.client
import random
import resource
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.centre import SESSION_S, Centre, ChaosError, state_of, wait_until

KILL = "worker: kill -9"
ZOMBIE = "worker: SIGSTOP past the session, SIGCONT"
SCALE = "workers: one more or one less (1-3)"
TWIN = "worker: a second one with its instance id"
CLOCK = "worker: wall clock jumps"
STOP = "broker: stopped and started"
CRASH = "broker: kill -9"
FREEZE = "broker: SIGSTOP, SIGCONT"
DISK = "broker: no more room for its files"
CUT = "network: connections cut, new ones refused"
HALF_OPEN = "network: half-open"
SLOW = "network: +100 ms, 3,000 kbit/s"

FULL: Mapping[str, int] = {
    KILL: 50,
    ZOMBIE: 5,
    SCALE: 8,
    TWIN: 2,
    CLOCK: 4,
    STOP: 2,
    CRASH: 3,
    FREEZE: 4,
    DISK: 1,
    CUT: 4,
    HALF_OPEN: 4,
    SLOW: 4,
}
SMALL: Mapping[str, int] = {KILL: 4, ZOMBIE: 1, FREEZE: 1, CUT: 1}
CLOCK_JUMPS_S = (600, 120, -3_600, -86_400)
LONGEST_S = 60.0
SMALL_LONGEST_S = 4.0
TWIN_ENDS_WITHIN_S = 90.0
WORKERS_MAX = 3
FILE_BYTES = 16_384  # less than any segment that is written to


@dataclass(frozen=True)
class Fault:
    """One of the schedule. ``which`` picks a victim among the workers there are then."""

    kind: str
    which: int
    pause_s: float  # before it
    for_s: float
    recovers: bool  # whether the next one waits until all is well again
    jump_s: int = 0


def schedule(seed: int, counts: Mapping[str, int], longest_s: float = LONGEST_S) -> list[Fault]:
    """Return the faults of a run; a function of the seed."""
    source = random.Random(f"{seed}/faults")
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    source.shuffle(kinds)
    return [
        Fault(
            kind,
            which=source.randrange(1_000),
            pause_s=source.uniform(0, 3),
            for_s=longest_s ** source.random(),  # from 1 s, as many below the middle of the scale as above
            recovers=kind != KILL or source.random() < 0.5,
            jump_s=source.choice(CLOCK_JUMPS_S),
        )
        for kind in kinds
    ]


@dataclass
class Injector:
    """Lets faults happen to a centre; counts those that did, and what must never be seen but was."""

    centre: Centre
    happened: Counter[str] = field(default_factory=Counter)
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    violations: list[str] = field(default_factory=list)

    def inject(self, fault: Fault) -> None:
        """Let one happen, heal it, and wait until all is well if that is wanted."""
        self.centre.supervise()
        time.sleep(fault.pause_s)
        actions = {
            KILL: self._kill,
            ZOMBIE: self._zombie,
            SCALE: self._scale,
            TWIN: self._twin,
            CLOCK: self._clock,
            STOP: self._stop,
            CRASH: self._crash,
            FREEZE: self._freeze,
            DISK: self._disk,
            CUT: self._cut,
            HALF_OPEN: self._half_open,
            SLOW: self._slow,
        }
        self.happened[fault.kind] += actions[fault.kind](fault)
        if fault.recovers:
            self.recovery_s[fault.kind].append(self.centre.recover())

    def _slot(self, fault: Fault) -> int:
        slots = sorted(self.centre.workers)
        return slots[fault.which % len(slots)]

    def _kill(self, fault: Fault) -> bool:
        slot = self._slot(fault)
        process = self.centre.workers[slot].process
        process.kill()
        killed = process.wait() == -signal.SIGKILL
        self.centre.start(slot)
        return killed

    def _zombie(self, fault: Fault) -> bool:
        """Freeze it until the others have its partitions; the first that it answers must be that it has nothing."""
        if len(self.centre.workers) == 1:
            self.centre.start(max(self.centre.workers) + 1)
        self.centre.recover()
        slot = self._slot(fault)
        worker = self.centre.workers[slot]
        self.centre.signal(slot, signal.SIGSTOP)
        time.sleep(SESSION_S + 1 + min(fault.for_s, SESSION_S))
        frozen = state_of(worker.process.pid) == "T"
        question = worker.connect()
        if question is not None:
            with contextlib.suppress(OSError):
                question.request("GET", "/metrics")  # the kernel takes it
        self.centre.signal(slot, signal.SIGCONT)
        if question is not None:
            with contextlib.closing(question), contextlib.suppress(OSError, http.client.HTTPException):
                shown = question.getresponse().read().decode()
                if "callcenter_contacts_queued_total{" in shown:
                    self.violations.append(f"the zombie of slot {slot} exported queues when it woke up")
        return frozen and question is not None

    def _scale(self, fault: Fault) -> bool:
        """Start one more, or stop one in order; never below one or above three."""
        slots = sorted(self.centre.workers)
        if len(slots) == 1 or (len(slots) < WORKERS_MAX and fault.which % 2):
            self.centre.start(next(slot for slot in range(WORKERS_MAX) if slot not in slots))
            return True
        worker = self.centre.workers.pop(self._slot(fault))
        worker.process.send_signal(signal.SIGTERM)
        code = worker.process.wait(TWIN_ENDS_WITHIN_S)
        if code != 0:
            self.centre.ended.append(f"an orderly stop with {code}: {worker.logged.read_text()[-300:]}")
        return True

    def _twin(self, _: Fault) -> bool:
        """Start a second process with the id of the first; one of the two must end by itself."""
        if 0 not in self.centre.workers:
            self.centre.start(0)
        self.centre.recover()
        first, twin = self.centre.workers[0], self.centre.launch(0)
        try:
            wait_until(
                "one of two with the same instance id ends",
                lambda: not (first.running and twin.running),
                TWIN_ENDS_WITHIN_S,
            )
        except ChaosError as error:
            self.violations.append(str(error))
        if twin.running and not first.running:
            self.centre.workers[0] = twin
        elif twin.running:
            twin.process.kill()
            twin.process.wait()
        return True

    def _clock(self, fault: Fault) -> bool:
        """Replace a worker by one whose wall clock jumps while it works; it ends at the next kill or stop."""
        slot = self._slot(fault)
        worker = self.centre.workers[slot]
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(TWIN_ENDS_WITHIN_S)
        self.centre.start(slot, jump=f"{min(fault.for_s, 10)}:{fault.jump_s}")
        self.centre.recover()
        time.sleep(min(fault.for_s, 10))
        return self.centre.workers[slot].running

    def _stop(self, fault: Fault) -> bool:
        self.centre.broker.stop()
        time.sleep(fault.for_s)
        self.centre.broker.start()
        return True

    def _crash(self, fault: Fault) -> bool:
        self.centre.broker.kill()
        killed = self.centre.broker.exit_code == -signal.SIGKILL
        time.sleep(fault.for_s)
        self.centre.broker.restart()
        return killed

    def _freeze(self, fault: Fault) -> bool:
        process = self.centre.broker._process
        assert process is not None
        process.send(signal.SIGSTOP)
        time.sleep(fault.for_s)
        frozen = state_of(process.pid) == "T"
        process.send(signal.SIGCONT)
        return frozen

    def _disk(self, _: Fault) -> bool:
        """Let the broker's files not grow any more (EFBIG, where a full disk says ENOSPC): it must end by itself.

        Its own log cannot grow either, so the exit code is all that it can say.
        """
        pid = self.centre.broker.pid
        assert pid is not None
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_BYTES, resource.RLIM_INFINITY))
        ended = self.centre.broker.wait(LONGEST_S) and self.centre.broker.exit_code == 1
        self.centre.broker.restart()
        return ended

    def _cut(self, fault: Fault) -> bool:
        wait_until("a worker is connected", lambda: self.centre.proxy.links)  # all may just be starting
        before = self.centre.proxy.cut_links
        self.centre.proxy.cut()
        time.sleep(fault.for_s)
        self.centre.proxy.heal()
        return self.centre.proxy.cut_links > before

    def _half_open(self, fault: Fault) -> bool:
        before = self.centre.proxy.swallowed_bytes
        self.centre.proxy.half_open()
        time.sleep(fault.for_s)
        self.centre.proxy.heal()
        return self.centre.proxy.swallowed_bytes > before

    def _slow(self, fault: Fault) -> bool:
        before = self.centre.proxy.slow_bytes
        self.centre.proxy.slow()
        time.sleep(fault.for_s)
        self.centre.proxy.heal()
        return self.centre.proxy.slow_bytes > before
