"""One run: open a centre, let the faults of a schedule happen, heal, drain, judge."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from stream.clock import monotonic_s, wall_ms
from tests.chaos.centre import Centre
from tests.chaos.faults import LONGEST_S, Fault, Injector, schedule
from tests.chaos.feed import Feed
from tests.chaos.verdict import Outlook, Topics, Verdict, judge, read_topics, recompute

SETTLES_WITHIN_S = 120.0
BETWEEN_VERDICTS_S = 3.0
MS_PER_S = 1000
# what the feed must have put into the topic, or nothing was shown of it
OUTCOMES = ("applied", "duplicate", "late", "rejected", "future")


@dataclass
class Account:
    """What a run did and found; the figures of docs/reliability.md."""

    seed: int
    seconds: int
    happened: dict[str, int]
    recovery_s: dict[str, list[float]]
    records: int
    outcomes: dict[str, int]
    windows: int
    values: int
    differences: list[str]
    violations: list[str]
    ended: list[str]
    drained_s: float | None  # None: not measured

    def save(self, path: Path) -> None:
        """Keep it for the page."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @property
    def failures(self) -> list[str]:
        """Everything that is not as promised."""
        return [*self.violations, *self.differences]


class Run(NamedTuple):
    """What a run leaves behind."""

    account: Account
    centre: Centre
    topics: Topics
    outlooks: list[Outlook]


def run(
    folder: Path,
    seed: int,
    counts: Mapping[str, int],
    *,
    minutes: float,
    speed: float,
    longest_s: float = LONGEST_S,
    say: Callable[[str], None] = print,
) -> Run:
    """Let the scheduled faults happen once, and again with other ones until the minutes are over; then judge.

    The centre is closed afterwards. Raises ChaosError when all was not well again in time; what else is
    wrong stands in the account, a fault that did not happen, too.
    """
    centre = Centre(folder, seed)
    begin_s = monotonic_s()
    try:
        centre.open()
        begin_ms = wall_ms() - int(max(minutes, 1) * 60 * MS_PER_S * (speed - 1))
        feed = Feed(centre.broker.bootstrap_servers, centre.settings.topics.events, seed, begin_ms, speed)
        for slot in range(2):
            centre.start(slot)
        feed.start()
        centre.recover()
        injector = Injector(centre)
        planned = _let_it_happen(injector, seed, counts, minutes, longest_s, say)
        feed.finish()
        drained_s = centre.recover()
        verdict, topics, outlooks = settle(centre)
    finally:
        centre.close()
    account = _account(injector, verdict, seed, round(monotonic_s() - begin_s), drained_s)
    account.violations.extend(what_did_not_happen(planned, account))
    return Run(account, centre, topics, outlooks)


def _let_it_happen(
    injector: Injector,
    seed: int,
    counts: Mapping[str, int],
    minutes: float,
    longest_s: float,
    say: Callable[[str], None],
) -> Counter[str]:
    end_s = monotonic_s() + minutes * 60
    planned: Counter[str] = Counter()
    round_number = 0
    while round_number == 0 or monotonic_s() < end_s:
        faults = schedule(seed + round_number, counts, longest_s)
        for number, fault in enumerate(faults, 1):
            if round_number and monotonic_s() > end_s:
                break
            say(_told(number, len(faults), fault))
            planned[fault.kind] += 1
            injector.inject(fault)
        round_number += 1
    return planned


def _told(number: int, of: int, fault: Fault) -> str:
    return f"{number}/{of} {fault.kind} ({fault.for_s:.1f} s)"


def settle(centre: Centre) -> tuple[Verdict, Topics, list[Outlook]]:
    """Judge until nothing differs or the time is over: what is under way may arrive, what is wrong stays."""
    topics = read_topics(centre)
    result = recompute(topics, centre)
    deadline_s = monotonic_s() + SETTLES_WITHIN_S
    bounds_ms: Sequence[int] = centre.settings.fold.histogram_bounds_ms
    while True:
        outlooks = centre.boards()
        verdict = judge(topics, result, outlooks, bounds_ms)
        if not verdict.differences or monotonic_s() > deadline_s:
            return verdict, topics, outlooks
        time.sleep(BETWEEN_VERDICTS_S)
        topics.intervals, topics.aside = (fresh := read_topics(centre)).intervals, fresh.aside


def _account(injector: Injector, verdict: Verdict, seed: int, seconds: int, drained_s: float) -> Account:
    return Account(
        seed=seed,
        seconds=seconds,
        happened=dict(injector.happened),
        recovery_s={kind: [round(one, 1) for one in spans] for kind, spans in injector.recovery_s.items()},
        records=verdict.records,
        outcomes=dict(verdict.outcomes),
        windows=verdict.windows,
        values=verdict.values,
        differences=verdict.differences,
        violations=injector.violations,
        ended=injector.centre.ended,
        drained_s=round(drained_s, 1),
    )


def what_did_not_happen(planned: Counter[str], account: Account) -> list[str]:
    """Return the faults of the schedule, and the records of the feed, that were not there: nothing is shown of them."""
    missing = [
        f"{kind}: happened {account.happened.get(kind, 0)} times of {count}"
        for kind, count in planned.items()
        if account.happened.get(kind, 0) < count
    ]
    return missing + [f"no record was {outcome}" for outcome in OUTCOMES if not account.outcomes.get(outcome)]
