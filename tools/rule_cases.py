"""Every case of the alert rules: for each alert when it fires, and where it must not."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tools.rule_tests import (
    END_S,
    JOB,
    STEP_S,
    WEEK_STEP_S,
    Case,
    Firing,
    Values,
    clock,
    healthy,
    minutes,
    queue_series,
    rules,
    series,
    worker_series,
)

ON: Final = minutes(10)  # when it begins, unless a case says otherwise
ALL: Final = END_S + STEP_S
STEPS: Final = END_S // STEP_S
CRITICAL, WARNING, INFO = "critical", "warning", "info"


def turns(before: float, after: float | str | None, at_s: float = ON, until_s: float = ALL) -> Values:
    """Return a value that becomes another one, and is the first again from `until_s`."""
    values: list[tuple[float | str | None, float]] = [(before, at_s), (after, until_s)]
    return values if until_s == ALL else [*values, (before, ALL)]


def of(name: str, window: str = "", queue: str = "sales", instance: str = "w1", **labels: str) -> str:
    """Return the selector of a queue's figure."""
    more = {"window": window} if window else {}
    return series(name, queue=queue, instance=instance, **more, **labels)


RATIO_30, RATIO_5 = of("callcenter_service_level_ratio", "30m"), of("callcenter_service_level_ratio", "5m")
BASE, MET = (of(f"callcenter_window_service_level_{part}", "30m") for part in ("base", "met"))
QUEUED = of("callcenter_window_queued", "30m")
OBJECTIVE = of("callcenter_service_level_objective_ratio")
ABANDONMENT, ABANDONED = of("callcenter_abandonment_ratio", "30m"), of("callcenter_window_abandoned", "30m")
WAITING, ANSWERED_5 = of("callcenter_contacts_waiting"), of("callcenter_window_answered", "5m")
OLDEST = of("callcenter_oldest_waiting_timestamp_seconds")
BLOCKED_30, BLOCKED_5 = of("callcenter_blocked_ratio", "30m"), of("callcenter_blocked_ratio", "5m")
BLOCKED, OPEN = of("callcenter_window_blocked", "30m"), of("callcenter_queue_open")
SHARE = series("callgauge_alert_critical_share_ratio")
UP, READY = series("up"), series("callgauge_ready")
DATA = series("callgauge_data_timestamp_seconds")
LAG = series("callgauge_lag_records", partition="0", topic="call-events")
EVENTS, ANSWERS = (series("callgauge_events_total", event=event) for event in ("queued", "answered"))
REJECTED, LATE = (
    series("callgauge_events_rejected_total", reason="not_json"),
    series("callgauge_events_late_total"),
)
CHECKPOINT = series("callgauge_checkpoint_timestamp_seconds", partition="0")


def gone(world: Mapping[str, Values], at_s: float, step_s: int = STEP_S) -> dict[str, Values]:
    """Return the same with every series ending as at a failed scrape. Values that grow end, too."""
    return {name: _until(values, at_s, step_s) for name, values in world.items()}


def _until(values: Values, at_s: float, step_s: int) -> Values:
    count = int(at_s // step_s)
    if isinstance(values, str):
        begin, _, _ = values.partition("x")
        return f"{begin}x{count - 1} stale"
    if isinstance(values, list):
        raise TypeError("only what stays as it is, or runs with the clock")
    return f"{values}x{count - 1} stale"


def appearing(world: Mapping[str, Values], at_s: float, end_s: float = END_S) -> dict[str, Values]:
    """Return the same with every series beginning then; a clock stays right."""
    steps = int(end_s // STEP_S)
    count = int(at_s // STEP_S)
    begun: dict[str, Values] = {}
    for name, values in world.items():
        if isinstance(values, str):
            begin, _, rest = values.partition("+")
            slope, _, _ = rest.partition("x")
            begun[name] = f"_x{count} {int(begin) + int(slope) * count}+{slope}x{steps - count}"
        else:
            begun[name] = f"_x{count} {values}x{steps - count}"
    return begun


def hole(values: Values, at_s: float, until_s: float) -> Values:
    """Return a constant that failed scrapes interrupt."""
    return [(values, at_s), ("stale", until_s), (values, ALL)]  # type: ignore[list-item]


# What is said -----------------------------------------------------------------------------------------------------


def says(severity: str, text: str) -> Callable[..., Firing]:
    """Return what makes a firing alert of a value: `{queue}` and `{instance}` in the text are labels of it, too."""

    def firing(value: object = "", queue: str = "sales", instance: str = "w1") -> Firing:
        labels = {"job": JOB}
        labels |= {"queue": queue} if "{queue}" in text else {}
        labels |= {"instance": instance} if "{instance}" in text else {}
        return severity, labels, text.format(value=value, queue=queue, instance=instance)

    return firing


level_critical: Final = says(
    CRITICAL,
    "Queue {queue} reached {value} in the last 30 minutes and is still below its objective. First see how many "
    "agents are logged in for it and move some over, or open its overflow.",
)
level_warning: Final = says(
    WARNING,
    "Queue {queue} reached {value} in the last 30 minutes, below its objective. First compare the agents who are "
    "logged in for it with the plan of this half-hour.",
)
abandonment: Final = says(
    WARNING,
    "{value} of the contacts of queue {queue} were abandoned in the last 30 minutes. First see on the wall how long "
    "they wait; when waits are short, listen to what callers hear.",
)
longest_wait: Final = says(
    WARNING,
    "In queue {queue} a customer has been waiting for {value}. First see whether agents are free for this queue; "
    "one who is can take the call by hand.",
)
not_draining: Final = says(
    CRITICAL,
    "{value} wait in queue {queue}, and none was answered for ten minutes. First check that agents are logged in "
    "and ready for it; then make a test call.",
)
blocked: Final = says(
    CRITICAL,
    "{value} of the contacts for queue {queue} were refused in the last 30 minutes. First see the reason (busy: "
    "lines, full: waiting places, no_agents: nobody logged in).",
)
silent: Final = says(
    WARNING,
    "No contact has entered queue {queue} for 40 minutes, unlike a week ago. First call its number; if it rings, "
    "check that the switch still writes events for this queue.",
)
missing: Final = says(
    WARNING,
    "Queue {queue} has no numbers over 30 minutes. First see whether all workers are ready, and that "
    'windows.rolling has "5m" and "30m".',
)
stale: Final = says(
    CRITICAL,
    "The numbers of callgauge are {value} old; the wall says so, too. First see whether Kafka can be reached and "
    "whether the lag goes down: then it is only catching up.",
)
one_down: Final = says(
    WARNING,
    "Worker {instance} does not answer Prometheus; the others take its partitions over. First read the last lines "
    "of its log and start it again.",
)
lag: Final = says(
    WARNING,
    "{value} records are not yet read, and it gets more. First start another worker (there may be as many as "
    "partitions).",
)
rejected: Final = says(
    WARNING,
    "{value} of the records of the last 15 minutes are no events and are counted nowhere. First see the reason in "
    "callgauge_events_rejected_total, then the records in the dead-letter topic.",
)
late: Final = says(
    INFO,
    "{value} events of the last 15 minutes were later than the grace. First see in the topic of late events which "
    "producer they come from, and compare its clock.",
)
checkpoint: Final = says(
    WARNING,
    "The oldest checkpoint of callgauge was stored {value} ago; a restart would read that much again. First look in "
    "the worker's log for what keeps it from writing to Kafka.",
)
twice: Final = says(
    WARNING,
    "{value} workers export queue {queue}. First see whether a worker hangs (stopped, no network) and end it; all "
    "must have the same kafka.group_id.",
)
DOWN: Final = says(
    CRITICAL,
    "No worker of callgauge answers Prometheus; nothing is counted, and nothing is lost that Kafka still keeps. "
    "First read the last lines of the worker's log and start it again.",
)()
ABSENT: Final = says(
    CRITICAL,
    "Prometheus has no target in job callgauge. First see whether the workers run and whether their name resolves "
    "(Status, Service discovery).",
)()
NOT_READY: Final = says(
    CRITICAL,
    "No worker of callgauge is ready, so there are no numbers. First ask a worker why, at /readyz; most often Kafka "
    "cannot be reached.",
)()
WATCHDOG: Final[Firing] = (
    "none",
    {},
    "This alert always fires. When it stops, look at Prometheus and Alertmanager first.",
)


# What happens -----------------------------------------------------------------------------------------------------

NO_CALLS: Final[dict[str, Values | None]] = {
    RATIO_30: None,
    RATIO_5: None,
    ABANDONMENT: None,
    BLOCKED_30: None,
    BLOCKED_5: None,
    OLDEST: None,
    **dict.fromkeys([BASE, MET, QUEUED, ABANDONED, WAITING, ANSWERED_5, BLOCKED], 0),
}
DROP: Final[dict[str, Values | None]] = {
    RATIO_30: turns(0.91, 0.5),
    RATIO_5: turns(0.9, 0.3),
    MET: turns(91, 50),
}
LEVEL: Final = "ContactCentreServiceLevelLow"


def quiet(case_name: str, alert: str, changes: Mapping[str, Values | None], **more: Any) -> Case:
    """Return a case in which the alert never speaks."""
    times = more.pop("at", (ON + minutes(2), ON + minutes(12)))
    return Case(case_name, alert, changes, {at: [] for at in times}, **more)


def in_doubt(at_s: int, firing: Firing, until_s: int | None = None) -> dict[int, list[Firing]]:
    """Return: silent one step before, then firing; with `until_s` firing until just before that moment."""
    end: dict[int, list[Firing]] = {} if until_s is None else {until_s - STEP_S: [firing], until_s: []}
    return {at_s - STEP_S: [], at_s: [firing], **end}


SERVICE_LEVEL = [
    Case(
        "a drop is reported after two minutes", LEVEL, DROP, in_doubt(ON + minutes(2), level_critical("50%"))
    ),
    Case(
        "it is critical and low at the same time",
        LEVEL,
        DROP,
        {
            ON + minutes(10) - STEP_S: [level_critical("50%")],
            ON + minutes(10): [level_critical("50%"), level_warning("50%")],
        },
    ),
    Case(
        "exactly at both floors it fires",
        LEVEL,
        DROP | {QUEUED: 20, BASE: turns(12, 10), MET: turns(11, 5)},
        {
            ON + minutes(2): [level_critical("50%")],
            ON + minutes(10): [level_critical("50%"), level_warning("50%")],
        },
    ),
    Case(
        "the low one lasts five minutes longer than its cause",
        LEVEL,
        {RATIO_30: turns(0.91, 0.7, until_s=minutes(25)), MET: 70},
        {
            **in_doubt(ON + minutes(10), level_warning("70%")),
            minutes(30) - STEP_S: [level_warning("70%")],
            minutes(30): [],
        },
    ),
    Case(
        "the critical one lasts fifteen minutes longer, so that a few good minutes do not page anew",
        LEVEL,
        {
            RATIO_30: turns(0.91, 0.5, until_s=minutes(18)),
            RATIO_5: turns(0.9, 0.3, until_s=minutes(18)),
            MET: turns(91, 50, until_s=minutes(18)),
        },
        {
            minutes(33) - STEP_S: [level_critical("50%")],
            minutes(33): [],
        },
    ),
    Case(
        "a queue with an objective of its own is judged by it",
        LEVEL,
        {RATIO_30: 0.91, OBJECTIVE: 0.95, MET: 91},
        {minutes(10) - STEP_S: [], minutes(10): [level_warning("91%")]},
    ),
    quiet("all is well", LEVEL, {}),
    quiet("one contact below the floor of contacts", LEVEL, DROP | {QUEUED: 19}),
    quiet("one miss below the floor of misses", LEVEL, DROP | {BASE: 9, MET: 5}),
    quiet(
        "exactly the critical share of the objective is not critical",
        LEVEL,
        DROP | {RATIO_30: turns(0.91, 0.5625), OBJECTIVE: 0.75},
        at=(ON + minutes(2), ON + minutes(9)),
    ),
    quiet(
        "the short window has just recovered",
        LEVEL,
        DROP | {RATIO_5: 0.8},
        at=(ON + minutes(2), ON + minutes(9)),
    ),
    quiet(
        "the short window has recovered well",
        LEVEL,
        DROP | {RATIO_5: 0.9},
        at=(ON + minutes(2), ON + minutes(9)),
    ),
    quiet("exactly the objective", LEVEL, {RATIO_30: 0.8, RATIO_5: 0.5, MET: 80}),
    quiet("no calls", LEVEL, NO_CALLS),
    quiet("a few calls at night, all missed", LEVEL, {RATIO_30: 0, RATIO_5: 0, QUEUED: 4, BASE: 4, MET: 0}),
    quiet(
        "the numbers end before two minutes are over",
        LEVEL,
        {
            name: [*values[:1], (values[1][0], ON + minutes(0.5)), ("stale", ALL)]
            for name, values in DROP.items()
        },  # type: ignore[index]
    ),
    quiet("without its objective nothing is judged", LEVEL, DROP | {OBJECTIVE: None}),
]

HIGH = "ContactCentreAbandonmentHigh"
GIVING_UP: Final[dict[str, Values | None]] = {ABANDONMENT: turns(0.02, 0.08), ABANDONED: turns(2, 5)}
ABANDONING = [
    Case(
        "more than the limit for ten minutes", HIGH, GIVING_UP, in_doubt(ON + minutes(10), abandonment("8%"))
    ),
    Case("far above the floor", HIGH, GIVING_UP | {ABANDONED: 8}, {ON + minutes(10): [abandonment("8%")]}),
    quiet("all is well", HIGH, {}),
    quiet("one below the floor", HIGH, GIVING_UP | {ABANDONED: 4}),
    quiet("exactly the limit", HIGH, GIVING_UP | {ABANDONMENT: 0.05}),
    quiet("no calls", HIGH, NO_CALLS),
    quiet(
        "it ends before the time is over",
        HIGH,
        GIVING_UP | {ABANDONMENT: turns(0.02, 0.08, until_s=minutes(19))},
    ),
    quiet("the numbers end", HIGH, {ABANDONMENT: [(0.08, minutes(8)), ("stale", ALL)], ABANDONED: 5}),
]

WAIT = "ContactCentreLongestWaitHigh"
# the clock of the data is one second behind: at second t somebody who came at -1 has waited for t
WAITS: Final[dict[str, Values | None]] = {OLDEST: -1, WAITING: 1}
WAITING_LONG = [
    Case(
        "a second more than the limit, for a minute",
        WAIT,
        WAITS,
        {minutes(6): [], minutes(6.5): [longest_wait("6m 30s")]},
    ),
    quiet("all is well", WAIT, {}),
    quiet("just within the limit", WAIT, {OLDEST: clock(301, STEP_S, END_S)}),
    quiet("nobody waits any more", WAIT, {OLDEST: "-1x20 stale", WAITING: turns(1, 0, minutes(5.5))}),
    quiet("nobody waits, though somebody is said to", WAIT, WAITS | {WAITING: 0}),
    quiet("no calls", WAIT, NO_CALLS),
    quiet(
        "while old events are caught up with, waits are as long as they were then",
        WAIT,
        {DATA: "100+0x80", OLDEST: 20},
    ),
    quiet("the numbers end", WAIT, {OLDEST: "-1x10 stale", WAITING: "1x10 stale"}),
]

DRAIN = "ContactCentreQueueNotDraining"
STUCK: Final[dict[str, Values | None]] = {WAITING: turns(2, 1), ANSWERED_5: turns(15, 0)}
DRAINING = [
    Case("one waits, none is answered", DRAIN, STUCK, in_doubt(ON + minutes(5), not_draining(1))),
    quiet("all is well", DRAIN, {}),
    quiet("one was answered", DRAIN, STUCK | {ANSWERED_5: 1}),
    quiet("nobody waits", DRAIN, STUCK | {WAITING: 0}),
    quiet("no calls", DRAIN, NO_CALLS),
    quiet(
        "it moves again before the time is over",
        DRAIN,
        STUCK | {ANSWERED_5: turns(15, 0, until_s=minutes(14.5))},
    ),
    quiet("the numbers end", DRAIN, {WAITING: "1x6 stale", ANSWERED_5: "0x6 stale"}),
]

BLOCK = "ContactCentreContactsBlocked"
REFUSED: Final[dict[str, Values | None]] = {
    BLOCKED_30: turns(0, 0.05),
    BLOCKED_5: turns(0, 0.2),
    BLOCKED: turns(0, 5),
}
BLOCKING = [
    Case(
        "at the floor, above the limit in both windows",
        BLOCK,
        REFUSED,
        in_doubt(ON + minutes(5), blocked("5%")),
    ),
    Case("far above the floor", BLOCK, REFUSED | {BLOCKED: 8}, {ON + minutes(5): [blocked("5%")]}),
    quiet("all is well", BLOCK, {}),
    quiet("below the limit in the long window", BLOCK, REFUSED | {BLOCKED_30: 0.005}),
    quiet("below the limit in the short window", BLOCK, REFUSED | {BLOCKED_5: 0.005}),
    quiet("one below the floor", BLOCK, REFUSED | {BLOCKED: 4}),
    quiet("exactly the limit in the long window", BLOCK, REFUSED | {BLOCKED_30: 0.01}),
    quiet("exactly the limit in the short window", BLOCK, REFUSED | {BLOCKED_5: 0.01}),
    quiet("the queue is closed", BLOCK, REFUSED | {OPEN: 0}),
    quiet("no calls", BLOCK, NO_CALLS),
    quiet("the numbers end", BLOCK, REFUSED | {BLOCKED_5: [(0, ON), (0.2, minutes(13)), ("stale", ALL)]}),
]

SILENT = "ContactCentreQueueSilent"
DAY, WEEK = 86_400, 604_800
HALF_HOUR = minutes(30)


def week(
    last_contact_s: float, then: float = 20, opened: float = 1, step_s: int = WEEK_STEP_S
) -> dict[str, Any]:
    """Return a queue whose contacts end, seen a week after an hour whose half-hours had `then` of them."""
    end_s = WEEK + 3 * HALF_HOUR
    floor = series("callgauge_alert_contacts_min")
    return {
        "changes": {},
        "world": {
            QUEUED: [(0, HALF_HOUR), (then, 3 * HALF_HOUR), (1, last_contact_s), (0, end_s + step_s)],
            OPEN: [(opened, end_s + step_s)],
            floor: [(20, end_s + step_s)],
        },
        "step_s": step_s,
        "end_s": end_s,
    }


FINE_STEP_S: Final = minutes(5)  # half of `for`
SEEN = WEEK + HALF_HOUR
LATER = (SEEN + WEEK_STEP_S,)
SILENCE = [
    Case(
        "busy a week ago, silent now",
        SILENT,
        at={SEEN + FINE_STEP_S: [], SEEN + 2 * FINE_STEP_S: [silent()]},
        **week(WEEK, step_s=FINE_STEP_S),
    ),
    Case("silent for two days, a weekend", SILENT, at={LATER[0]: [silent()]}, **week(WEEK - 2 * DAY)),
    Case("far above the floor a week ago", SILENT, at={LATER[0]: [silent()]}, **week(WEEK, then=25)),
    quiet("silent for four days: renamed", SILENT, at=LATER, **week(WEEK - 4 * DAY)),
    quiet("one contact below the floor a week ago", SILENT, at=LATER, **week(WEEK, then=19)),
    quiet("the queue is closed", SILENT, at=LATER, **week(WEEK, opened=0)),
    quiet("there is one contact", SILENT, at=LATER, **week(WEEK + 3 * HALF_HOUR)),
    quiet("no week to compare with", SILENT, NO_CALLS),
    quiet("all is well", SILENT, {}),
]

MISSING = "ContactCentreQueueMissing"
LONG_S = minutes(90)
MISSED_QUEUE = [
    Case(
        "configured, and without numbers",
        MISSING,
        {QUEUED: turns(100, "stale")},
        # a minute is bridged
        in_doubt(ON + minutes(6), missing()),
    ),
    Case(
        "a queue that vanishes altogether is missed for an hour",
        MISSING,
        {
            QUEUED: [(100, ON), ("stale", LONG_S + STEP_S)],
            OBJECTIVE: [(0.8, ON), ("stale", LONG_S + STEP_S)],
        },
        {
            **in_doubt(ON + minutes(6), missing()),
            ON + minutes(60.5): [missing()],
            ON + minutes(62): [],
        },
        end_s=LONG_S,
    ),
    quiet("all is well", MISSING, {}),
    quiet("no calls", MISSING, NO_CALLS),
    quiet("nothing was ever configured or exported", MISSING, {QUEUED: None, OBJECTIVE: None}),
    quiet("it comes back in time", MISSING, {QUEUED: hole(100, ON, minutes(14.5))}),
]

STALE = "ContactCentreDataStale"
STALENESS = [
    Case(
        "the clock of the data stands",
        STALE,
        {DATA: f"0+30x20 600+0x{STEPS}"},
        {minutes(13): [], minutes(13.5): [stale("3m 30s")]},
    ),
    quiet("all is well", STALE, {}),
    quiet("just within the limit", STALE, {DATA: clock(120, STEP_S, END_S)}),
    quiet("no calls, and the clock goes on", STALE, NO_CALLS),
    quiet("the numbers end", STALE, {DATA: "0x6 stale"}, at=(minutes(5), minutes(20))),
    quiet("it goes on before the time is over", STALE, {DATA: f"0+30x19 600+0x4 750+30x{STEPS - 25}"}),
]

PROCESSOR_DOWN = "ContactCentreProcessorDown"
TWO: Final = healthy() | worker_series("w2")
DOWNS = [
    Case(
        "the only worker is down",
        PROCESSOR_DOWN,
        {UP: turns(1, 0)},
        {ON + minutes(1.5): [], ON + minutes(2): [DOWN, one_down()]},
    ),
    Case(
        "one of two is down",
        PROCESSOR_DOWN,
        {UP: turns(1, 0)},
        {ON + minutes(1.5): [], ON + minutes(2): [one_down()], END_S: [one_down()]},
        world=TWO,
    ),
    quiet("all is well", PROCESSOR_DOWN, {}),
    quiet("it is back in time", PROCESSOR_DOWN, {UP: turns(1, 0, until_s=ON + minutes(2))}),
    quiet("no calls", PROCESSOR_DOWN, NO_CALLS),
    quiet("another job is down", PROCESSOR_DOWN, {}, extra={series("up", job="replay"): 0}),
]

PROCESSOR_ABSENT = "ContactCentreProcessorAbsent"
ABSENCE = [
    Case("no target any more", PROCESSOR_ABSENT, {UP: turns(1, "stale")}, in_doubt(ON + minutes(5), ABSENT)),
    quiet("all is well", PROCESSOR_ABSENT, {}),
    quiet("down is not absent", PROCESSOR_ABSENT, {UP: 0}),
    Case(
        "another job is there",
        PROCESSOR_ABSENT,
        {UP: None},
        {600: [ABSENT]},
        extra={series("up", job="replay"): 1},
    ),
    quiet("it is back in time", PROCESSOR_ABSENT, {UP: hole(1, ON, ON + minutes(5))}),
]

PROCESSOR_NOT_READY = "ContactCentreProcessorNotReady"
READINESS = [
    Case(
        "the only worker is not ready",
        PROCESSOR_NOT_READY,
        {READY: turns(1, 0)},
        in_doubt(ON + 120, NOT_READY),
    ),
    quiet("all is well", PROCESSOR_NOT_READY, {}),
    quiet("another worker is ready", PROCESSOR_NOT_READY, {READY: 0}, world=TWO),
    quiet(
        "another job is not ready",
        PROCESSOR_NOT_READY,
        {},
        extra={series("callgauge_ready", job="replay"): 0},
    ),
    quiet("a restart", PROCESSOR_NOT_READY, {READY: turns(1, 0, until_s=ON + minutes(2))}),
    quiet(
        "it is down",
        PROCESSOR_NOT_READY,
        {READY: "0x20 stale", UP: turns(1, 0)},
        at=(minutes(1), minutes(20)),
    ),
]

LAG_GROWING = "ContactCentreLagGrowing"
LAGGING = [
    Case(
        "above the limit, and more each minute",
        LAG_GROWING,
        {LAG: f"0x19 900+50x{STEPS}"},
        # 1000 is at the limit; 1050 at 11m30
        in_doubt(minutes(16.5), lag("1.55k")),
    ),
    Case(
        "two partitions together are above the limit",
        LAG_GROWING,
        {LAG: f"0+20x{STEPS}"},
        in_doubt(minutes(13), lag("1.04k"))  # 40 a step: 1040 at 13m0
        | {minutes(12.5) + minutes(5): [], minutes(13) + minutes(5): [lag("1.44k")], minutes(13): []},
        extra={series("callgauge_lag_records", partition="1", topic="call-events"): f"0+20x{STEPS}"},
    ),
    Case(
        "it grew a little within five minutes, and stands",
        LAG_GROWING,
        {LAG: "0x19 1100x5 1200x60"},
        {minutes(15): [lag("1.2k")], minutes(17): [lag("1.2k")], minutes(18): []},
    ),
    quiet("all is well", LAG_GROWING, {}),
    quiet("just at the limit", LAG_GROWING, {LAG: f"{1000 - END_S // STEP_S}+1x{STEPS}"}),
    quiet("large, and it stands", LAG_GROWING, {LAG: 5000}),
    quiet("large, and it shrinks", LAG_GROWING, {LAG: f"90000-100x{STEPS}"}),
    quiet("the numbers end", LAG_GROWING, {LAG: "2000+100x8 stale"}),
]

REJECTS = "ContactCentreEventsRejected"
REJECTING = [
    Case(
        "five of a hundred and five",
        REJECTS,
        {REJECTED: turns(1000, 1005), EVENTS: turns(5000, 5100), ANSWERS: 4000},
        {
            **in_doubt(ON + minutes(5), rejected("4.762%")),
            # a quarter of an hour later they are past
            ON + minutes(15) - STEP_S: [rejected("4.762%")],
            ON + minutes(15): [],
        },
    ),
    Case(
        "at once after the first start everything is rejected",
        REJECTS,
        {REJECTED: f"0+10x{STEPS}", EVENTS: 0, ANSWERS: 0},
        {minutes(9.5): [], minutes(10): [rejected("100%")]},
    ),
    quiet("all is well", REJECTS, {}),
    quiet(
        "one below the floor",
        REJECTS,
        {REJECTED: turns(1000, 1004), EVENTS: turns(5000, 5100), ANSWERS: 4000},
    ),
    quiet(
        "exactly the limit", REJECTS, {REJECTED: turns(1000, 1005), EVENTS: turns(5000, 5495), ANSWERS: 4000}
    ),
    quiet(
        "below the limit", REJECTS, {REJECTED: turns(1000, 1005), EVENTS: turns(5000, 5995), ANSWERS: 4000}
    ),
    quiet("no calls", REJECTS, {REJECTED: 1000, EVENTS: 5000, ANSWERS: 4000}),
    quiet("the numbers end", REJECTS, {REJECTED: [(1000, ON), (1050, minutes(13)), ("stale", ALL)]}),
]

LATES = "ContactCentreLateEvents"
BEING_LATE = [
    Case(
        "one is late",
        LATES,
        {LATE: turns(17, 18)},
        {**in_doubt(ON + minutes(5), late(1)), ON + minutes(14.5): [late(1)], ON + minutes(15): []},
    ),
    Case(
        "at once after the first start",
        LATES,
        {LATE: f"0+1x{STEPS}"},
        {minutes(9.5): [], minutes(10): [late(10)]},
    ),
    quiet("all is well", LATES, {}),
    quiet("a worker is gone, and what it counted", LATES, {LATE: turns(17, 3)}),
    quiet("some were late long ago", LATES, {LATE: 17}),
    quiet("the numbers end", LATES, {LATE: [(17, ON), (18, minutes(13)), ("stale", ALL)]}),
]

CHECKPOINTS = "ContactCentreCheckpointOld"
STORING = [
    Case(
        "one partition is not stored any more",
        CHECKPOINTS,
        {},
        # written last at 10m; older than ten minutes from 20m30 on, and that for two minutes
        in_doubt(minutes(22.5), checkpoint("12m 30s")),
        extra={
            series("callgauge_checkpoint_timestamp_seconds", partition="1"): f"0+30x20 600+0x{STEPS}",
        },
    ),
    quiet("all is well", CHECKPOINTS, {}),
    quiet("exactly the limit", CHECKPOINTS, {CHECKPOINT: clock(600, STEP_S, END_S)}),
    quiet("no calls", CHECKPOINTS, NO_CALLS),
    quiet(
        "a partition has moved, and its old worker still shows when it stored it",
        CHECKPOINTS,
        {CHECKPOINT: 0},
        extra={
            series("callgauge_checkpoint_timestamp_seconds", instance="w2", partition="0"): clock(
                2, STEP_S, END_S
            )
        },
    ),
    quiet("the numbers end", CHECKPOINTS, {CHECKPOINT: "0x20 stale"}),
]

TWICE = "ContactCentreExportedTwice"
SECOND = of("callcenter_contacts_waiting", instance="w2")
TWICES = [
    Case(
        "for a minute", TWICE, {}, in_doubt(ON + minutes(1), twice(2)), extra={SECOND: f"_x20 2x{STEPS - 20}"}
    ),
    quiet("all is well", TWICE, {}),
    quiet("for less than a minute, as it moves", TWICE, {}, extra={SECOND: "_x20 2 2 stale"}),
    quiet("no calls", TWICE, NO_CALLS),
    quiet(
        "another job exports it twice",
        TWICE,
        {},
        extra={
            of("callcenter_contacts_waiting", job="replay"): 1,
            of("callcenter_contacts_waiting", job="replay", instance="w2"): 1,
        },
    ),
    quiet("two queues, two workers", TWICE, {}, extra=queue_series("support", "w2")),
]

WATCH = [
    Case("it always fires", "Watchdog", {}, {0: [WATCHDOG], END_S: [WATCHDOG]}),
    Case("also when there is nothing else", "Watchdog", {}, {minutes(5): [WATCHDOG]}, world={}),
]


# What must not confuse any of them --------------------------------------------------------------------------------


def bad(queue: str, instance: str = "w1") -> dict[str, Values]:
    """Return a queue whose service level is critical."""
    return queue_series(queue, instance) | {
        of("callcenter_service_level_ratio", "30m", queue, instance): 0.5,
        of("callcenter_service_level_ratio", "5m", queue, instance): 0.3,
        of("callcenter_window_service_level_met", "30m", queue, instance): 50,
    }


def bridged() -> list[tuple[int, str, float | None]]:
    """Return, for each record of what was scraped: there half a minute after the last sample but one, then gone."""
    scraped = [rule["record"] for rule in rules("record") if "last_over_time" in rule["expr"]]
    return [
        look
        for name in scraped
        for look in ((ON + STEP_S, f"count({name})", 1.0), (ON + 2 * STEP_S, f"count({name})", None))
    ]


HANDED_OVER = gone(queue_series("sales"), ON + minutes(1))
CONFUSING = [
    Case(
        "a queue that appears in the middle of the shift is judged from then on",
        LEVEL,
        {},
        in_doubt(ON + minutes(2), level_critical("50%", queue="support")),
        extra=appearing(bad("support"), ON),
    ),
    Case(
        "a renamed queue is judged under its new name, and under the old one until its alert has lasted",
        LEVEL,
        {},
        {
            minutes(5): [level_critical("50%")],
            ON + minutes(2): [level_critical("50%"), level_critical("50%", queue="support")],
            # a minute is bridged, and then it lasts fifteen
            minutes(25) - STEP_S: [
                level_critical("50%"),
                level_critical("50%", queue="support"),
                level_warning("50%", queue="support"),
            ],
            minutes(25): [level_critical("50%", queue="support"), level_warning("50%", queue="support")],
        },
        world=worker_series() | gone(bad("sales"), minutes(9)),
        extra=appearing(bad("support"), ON),
    ),
    Case(
        "a renamed queue is missed under its old name for an hour, and not under the new one",
        MISSING,
        {},
        {ON + minutes(7): [missing()], ON + minutes(60.5): [missing()], ON + minutes(62): []},
        world=worker_series() | gone(queue_series("sales"), ON),
        extra=appearing(queue_series("support"), ON, LONG_S),
        end_s=LONG_S,
    ),
    Case(
        "a restart that takes a minute does not begin the time anew",
        LEVEL,
        {
            name: f"{value}x1 stale _x1 {value}x{STEPS}"
            for name, value in bad("sales").items()
            if not isinstance(value, str)
        },
        in_doubt(minutes(2), level_critical("50%")),
    ),
    quiet(
        "a restart from a checkpoint looks like no rejected record",
        REJECTS,
        {
            REJECTED: [(1000, ON), ("stale", ON + minutes(1.5)), (1000, ALL)],
            EVENTS: [(5000, ON), ("stale", ON + minutes(1.5)), (5000, ALL)],
            ANSWERS: 0,
        },
    ),
    quiet(
        "partitions that move to another worker take their rejected records along",
        REJECTS,
        {REJECTED: [(1000, ON), ("stale", ALL)], EVENTS: [(5000, ON), ("stale", ALL)], ANSWERS: 0},
        extra={
            series("callgauge_events_rejected_total", instance="w2", reason="not_json"): f"_x20 1000x{STEPS}",
            series("callgauge_events_total", event="queued", instance="w2"): f"_x20 5000x{STEPS}",
        },
        at=(ON + minutes(1), ON + minutes(3), ON + minutes(10), ON + minutes(16), ON + minutes(20)),
    ),
    Case(
        "a queue that moves to another worker keeps its alert",
        LEVEL,
        {},
        {
            minutes(1.5): [],
            minutes(2): [level_critical("50%")],
            ON: [level_critical("50%"), level_warning("50%")],
            ON + minutes(1): [level_critical("50%"), level_warning("50%")],
            END_S: [level_critical("50%"), level_warning("50%")],
        },
        world=worker_series() | gone(bad("sales"), ON + minutes(1)),
        extra=worker_series("w2") | appearing(bad("sales", "w2"), ON + minutes(0.5)),
    ),
    quiet(
        "two workers that show the same few calls are not twice as many",
        LEVEL,
        {},
        world=worker_series() | bad("sales") | {QUEUED: 12, BASE: 3, MET: 0},
        extra=worker_series("w2")
        | bad("sales", "w2")
        | {
            of("callcenter_window_queued", "30m", instance="w2"): 12,
            of("callcenter_window_service_level_base", "30m", instance="w2"): 3,
            of("callcenter_window_service_level_met", "30m", instance="w2"): 0,
        },
    ),
    Case(
        "missed scrapes do not begin the time anew",
        DRAIN,
        {WAITING: "1x3 stale 1x3 stale _x1 1x60", ANSWERED_5: "0x5 stale _x1 0x60"},
        in_doubt(minutes(5), not_draining(1)),
    ),
    Case(
        "a minute of missed scrapes is bridged by everything that is scraped, and no more",
        "",
        {},
        world=gone(healthy(), ON),
        records=bridged(),
    ),
    Case(
        "another job, as replayed history may be, is no part of any record",
        "",
        {},
        world=healthy()
        | {name.replace('job="callgauge"', 'job="replay"'): values for name, values in healthy().items()},
        records=[
            (minutes(6), f'count({rule["record"]}{{job!="callgauge"}})', None) for rule in rules("record")
        ],
    ),
    Case(
        "what is counted is that of a quarter of an hour, and soon after the first start that of five minutes",
        "",
        {},
        records=[
            (minutes(at), f"job:callgauge_events{name}:delta15m", value)
            for at, name, value in (
                (6, "", 900.0),
                (20, "", 2700.0),
                (6, "_rejected", 10.0),
                (20, "_rejected", 30.0),
                (6, "_late", 20.0),
                (20, "_late", 60.0),
            )
        ],
        world=healthy() | {REJECTED: f"0+1x{STEPS}", LATE: f"0+2x{STEPS}"},
    ),
    Case(
        "of several workers the one furthest behind counts",
        "",
        {},
        world=TWO
        | {
            DATA: clock(31, STEP_S, END_S),
            series("callgauge_lag_records", instance="w2", partition="0", topic="call-events"): 7,
            LAG: 5,
        },
        records=[
            (minutes(5), "job:callgauge_data_timestamp_seconds:last", 269.0),
            (minutes(5), "job:callgauge_lag_records:last", 7.0),
        ],
    ),
]

CASES: Final = [
    *SERVICE_LEVEL,
    *ABANDONING,
    *WAITING_LONG,
    *DRAINING,
    *BLOCKING,
    *SILENCE,
    *MISSED_QUEUE,
    *STALENESS,
    *DOWNS,
    *ABSENCE,
    *READINESS,
    *LAGGING,
    *REJECTING,
    *BEING_LATE,
    *STORING,
    *TWICES,
    *WATCH,
    *CONFUSING,
]
