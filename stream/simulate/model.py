"""What a call centre is, as numbers: queues, agents, callers' patience, opening hours.

Everything here is a frozen value; nothing moves. `run.py` turns it into events.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from schemas.limits import QUEUE_CHARACTERS_MAX, QUEUE_CHARACTERS_MIN
from stream.simulate.local_time import DAY_MS, HALF_HOUR_MS, SLOTS_A_DAY, WEEKDAYS, LocalClock, shift_to

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
SLOT_MINUTES = 30


class Shape(Enum):
    """The family a random duration is drawn from."""

    EXPONENTIAL = "exponential"  # what the Erlang laws assume
    LOG_NORMAL = "log_normal"  # what measured handling times look like
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Duration:
    """A random span of time with a given mean; `variation` (sd / mean) is for log-normal only."""

    mean_ms: int
    shape: Shape = Shape.EXPONENTIAL
    variation: float = 1.0

    def __post_init__(self) -> None:
        if self.mean_ms < 1:
            raise ValueError(f"mean_ms is {self.mean_ms}: a duration lasts at least 1 ms")
        if not self.variation > 0:
            raise ValueError(f"variation is {self.variation}: it must be above 0")

    def sampler(self, source: random.Random) -> Callable[[], int]:
        """Return a function that draws whole milliseconds, never below 1.

        At least 1, so that the end of anything is later than its begin and the order of a call's
        events never hangs on how a reader breaks ties.
        """
        mean_ms = float(self.mean_ms)
        if self.shape is Shape.CONSTANT:
            return lambda: self.mean_ms
        if self.shape is Shape.EXPONENTIAL:
            rate = 1.0 / mean_ms
            exponential = source.expovariate
            return lambda: round(exponential(rate)) or 1
        spread = math.log(1.0 + self.variation**2)
        location, sigma = math.log(mean_ms) - spread / 2.0, math.sqrt(spread)
        normal = source.normalvariate
        return lambda: round(math.exp(normal(location, sigma))) or 1


def seconds(mean_s: float, shape: Shape = Shape.EXPONENTIAL, variation: float = 1.0) -> Duration:
    """Return a duration with its mean in seconds."""
    return Duration(round(mean_s * SECOND_MS), shape, variation)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueModel:
    """One queue, the agents who serve it and the customers who call it.

    `arrivals` (contacts per half hour) and `agents` hold either one value for the whole day or 48,
    the first for 00:00-00:30 local time. What is None or 0 does not happen.
    """

    name: str
    arrivals: tuple[float, ...]
    agents: tuple[int, ...]
    talk: Duration
    wrap_up: Duration | None = None
    patience: Duration | None = None  # None: nobody ever gives up
    menu: Duration | None = None  # voice menu, between `offered` and `queued`
    menu_hang_up: float = 0.0  # share of contacts that hang up in the menu
    week: tuple[float, ...] = (1.0,) * WEEKDAYS  # factor on arrivals, Monday first
    opening: tuple[int, int] | None = None  # minutes of the day, half hours only; None: always open
    open_days: tuple[int, ...] = tuple(range(WEEKDAYS))  # Monday is 0
    capacity: int | None = None  # places to wait; 0: answered at once or refused
    join_empty: bool = True  # False: refuse `no_agents`, and send the waiting away `empty`
    hold_probability: float = 0.0
    hold: Duration = field(default_factory=lambda: seconds(40))
    transfer_probability: float = 0.0
    transfer_to: tuple[str, ...] = ()
    transfer_delay: Duration = field(default_factory=lambda: seconds(2, Shape.CONSTANT))
    callback_after_ms: int | None = None  # a call-back is offered after this wait
    callback_probability: float = 0.0  # share of customers who would take it
    callback_delay: Duration = field(default_factory=lambda: seconds(1200))
    timeout_after_ms: int | None = None
    overflow_after_ms: int | None = None
    overflow_to: str | None = None

    def __post_init__(self) -> None:
        if not QUEUE_CHARACTERS_MIN <= len(self.name) <= QUEUE_CHARACTERS_MAX:
            raise ValueError(f"queue {self.name!r}: a name has 1 to {QUEUE_CHARACTERS_MAX} characters")
        _check_day(self.name, "arrivals", self.arrivals)
        _check_day(self.name, "agents", self.agents)
        if len(self.week) != WEEKDAYS or min(self.week) < 0:
            raise ValueError(f"queue {self.name}: week needs {WEEKDAYS} factors of at least 0")
        for label in ("menu_hang_up", "hold_probability", "transfer_probability", "callback_probability"):
            if not 0.0 <= getattr(self, label) <= 1.0:
                raise ValueError(f"queue {self.name}: {label} is {getattr(self, label)}, not within 0..1")
        if self.opening is not None:
            _check_opening(self.name, *self.opening)
        if (self.overflow_after_ms is None) != (self.overflow_to is None):
            raise ValueError(f"queue {self.name}: overflow_after_ms and overflow_to belong together")
        if self.transfer_probability and not self.transfer_to:
            raise ValueError(f"queue {self.name}: transfer_probability without transfer_to")

    def arrivals_in(self, slot: int) -> float:
        """Return the contacts expected in that half hour of the day."""
        return self.arrivals[slot % len(self.arrivals)]

    def agents_in(self, slot: int) -> int:
        """Return the agents planned for that half hour of the day."""
        return self.agents[slot % len(self.agents)]

    def open_in(self, weekday: int, slot: int) -> bool:
        """Return whether the queue takes contacts in that half hour."""
        if weekday not in self.open_days:
            return False
        if self.opening is None:
            return True
        return self.opening[0] <= slot * SLOT_MINUTES < self.opening[1]


def _check_day(queue: str, label: str, values: tuple[float, ...]) -> None:
    if len(values) not in (1, SLOTS_A_DAY):
        raise ValueError(f"queue {queue}: {label} has {len(values)} values, not 1 or {SLOTS_A_DAY}")
    if min(values) < 0:
        raise ValueError(f"queue {queue}: {label} has a value below 0")


def _check_opening(queue: str, opens: int, closes: int) -> None:
    if not 0 <= opens < closes <= SLOTS_A_DAY * SLOT_MINUTES:
        raise ValueError(f"queue {queue}: opening {opens}..{closes} is not a span of minutes of one day")
    if opens % SLOT_MINUTES or closes % SLOT_MINUTES:
        raise ValueError(f"queue {queue}: opening {opens}..{closes} is not on half hours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """A call centre: its queues, the trunks that they share, and its local time."""

    queues: tuple[QueueModel, ...]
    trunks: int | None = None  # contacts in the centre at once; one more is `blocked{busy}`
    time_zone: str = "UTC"
    calendar_shift_ms: int = 0  # added to local time before looking at curves and opening hours

    def __post_init__(self) -> None:
        names = [queue.name for queue in self.queues]
        if not names:
            raise ValueError("a centre needs at least one queue")
        if len(set(names)) != len(names):
            raise ValueError(f"two queues of the same name: {', '.join(sorted(names))}")
        for queue in self.queues:
            for target in (*queue.transfer_to, queue.overflow_to):
                if target is not None and (target not in names or target == queue.name):
                    raise ValueError(f"queue {queue.name}: cannot send calls to {target!r}")

    def scaled(self, factor: float) -> Centre:
        """Return the same centre with `factor` times the calls, agents, trunks and places to wait."""

        def grown(queue: QueueModel) -> QueueModel:
            return replace(
                queue,
                arrivals=tuple(rate * factor for rate in queue.arrivals),
                agents=tuple(round(count * factor) for count in queue.agents),
                capacity=None if queue.capacity is None else round(queue.capacity * factor),
            )

        trunks = None if self.trunks is None else round(self.trunks * factor)
        return replace(self, queues=tuple(map(grown, self.queues)), trunks=trunks)

    def at_working_hour(self, at_ms: int, *, weekday: int = 1, minute: int = 14 * 60) -> Centre:
        """Return the same centre with its calendar moved: at that instant it is Tuesday 14:00 there.

        So that a demonstration shows a busy afternoon at any hour of the day.
        """
        plain = LocalClock(self.time_zone)
        return replace(self, calendar_shift_ms=shift_to(plain, at_ms, weekday * DAY_MS + minute * MINUTE_MS))


# Share of the busiest half hour, from 00:00: a quiet night, a peak before noon, a lunch dip, a
# second and lower peak. The shape that workforce-management texts print; the figures are ours.
DAY_CURVE: tuple[float, ...] = (
    *(0.08, 0.07, 0.06, 0.05, 0.05, 0.04, 0.04, 0.04, 0.04, 0.05, 0.06, 0.08),
    *(0.11, 0.15, 0.22, 0.32, 0.48, 0.64, 0.78, 0.88, 0.95, 1.00, 1.00, 0.96),
    *(0.86, 0.80, 0.82, 0.88, 0.92, 0.94, 0.92, 0.88, 0.82, 0.76, 0.68, 0.60),
    *(0.52, 0.46, 0.40, 0.36, 0.32, 0.28, 0.24, 0.20, 0.17, 0.14, 0.12, 0.10),
)
WEEK_CURVE: tuple[float, ...] = (1.12, 1.0, 0.97, 0.96, 0.98, 0.62, 0.40)
MONDAY_TO_SATURDAY = (0, 1, 2, 3, 4, 5)


def staffing(arrivals: tuple[float, ...], handle_ms: int, comfort: float) -> tuple[int, ...]:
    """Return agents per half hour by the square-root rule: load + comfort * sqrt(load), at least 1."""
    loads = (rate * handle_ms / HALF_HOUR_MS for rate in arrivals)
    return tuple(max(1, math.ceil(load + comfort * math.sqrt(load))) for load in loads)


def believable_queue(
    name: str, peak: float, talk_s: float, wrap_up_s: float, comfort: float, **more: object
) -> QueueModel:
    """Return a queue with the default day: `peak` contacts in the busiest half hour.

    `more` replaces any field of `QueueModel`.
    """
    arrivals = tuple(peak * share for share in DAY_CURVE)
    queue = QueueModel(
        name=name,
        arrivals=arrivals,
        agents=staffing(arrivals, round((talk_s + wrap_up_s) * SECOND_MS), comfort),
        talk=seconds(talk_s, Shape.LOG_NORMAL, 0.9),
        wrap_up=seconds(wrap_up_s, Shape.LOG_NORMAL, 0.7),
        patience=seconds(150),
        menu=seconds(18, Shape.LOG_NORMAL, 0.5),
        menu_hang_up=0.02,
        week=WEEK_CURVE,
        hold_probability=0.12,
    )
    return replace(queue, **more)  # type: ignore[arg-type]  # replace checks the names, __post_init__ the values


def default_centre(time_zone: str = "UTC") -> Centre:
    """Return a believable centre of six queues: some well staffed, some not, some closed at night."""
    return Centre(queues=_DEFAULT_QUEUES, trunks=130, time_zone=time_zone)


_DEFAULT_QUEUES = (
    believable_queue(
        "sales",
        *(60, 290, 40, 0.9),
        opening=(8 * 60, 20 * 60),
        open_days=MONDAY_TO_SATURDAY,
        callback_after_ms=90 * SECOND_MS,
        callback_probability=0.35,
    ),
    believable_queue(
        "support",
        *(120, 230, 35, 0.5),
        transfer_probability=0.10,
        transfer_to=("technical", "billing"),
        overflow_after_ms=240 * SECOND_MS,
        overflow_to="technical",
    ),
    believable_queue(
        "billing",
        *(70, 200, 45, 0.3),
        opening=(7 * 60, 22 * 60),
        transfer_probability=0.05,
        transfer_to=("retention",),
        capacity=25,
    ),
    believable_queue(
        "technical",
        *(46, 470, 70, 0.1),
        hold_probability=0.30,
        patience=seconds(260),
        timeout_after_ms=900 * SECOND_MS,
        capacity=40,
    ),
    believable_queue(
        "retention",
        *(18, 420, 90, 1.2),
        opening=(8 * 60, 20 * 60),
        open_days=MONDAY_TO_SATURDAY,
        join_empty=False,
    ),
    believable_queue("priority", *(10, 260, 30, 2.0), patience=seconds(240), menu=None, menu_hang_up=0.0),
)
