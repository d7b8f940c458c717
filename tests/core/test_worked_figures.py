"""Figures that vendors print in their manuals, and laws that any call centre obeys, through the core.

The sources are in the notes on the domain: Cisco ICM guide (p. 117), Genesys Stat Server guide, UCCX, Wazo.
"""

from collections import Counter
from dataclasses import replace

import pytest

from stream.core import fields as f
from stream.core import kpi
from stream.core.calls import CallsStage
from stream.core.rules import FoldRules, Formula, QueueRule
from tests.oracle import log_of

TARGET_MS = 20_000
WITHIN_S, LATE_S = 12, 31
HOUR_S = 3_600


def rules(formula=Formula.ABANDONED_IGNORED, short_s=0, target_ms=TARGET_MS):
    return FoldRules(default=QueueRule(target_ms, short_s * 1_000, formula))


def sums(*lines, under=None):
    """Add up all cells of the queue ``q``."""
    stage = CallsStage(0, under or rules())
    assert not stage.fold(log_of(*lines))
    return added(stage)


def added(stage):
    total = {}
    for (queue, _), cell in stage.cells().items():
        if queue == "q":
            for number, value in cell.items():
                longest = number == f.LONGEST_WAIT_MS
                total[number] = max(total.get(number, 0), value) if longest else total.get(number, 0) + value
    return total


def calls(*kinds):
    """Write (how many, what ends the wait, after how many seconds) as a log; None waits on."""
    lines = []
    number = 0
    for count, end, wait_s in kinds:
        for _ in range(count):
            number += 1
            lines.append(f"0 queued q call={number}")
            if end is not None:
                lines.append(f"{wait_s} {end} call={number}")
    return sorted(lines, key=lambda line: float(line.split()[0]))


@pytest.mark.parametrize("past_target", [("answered", LATE_S), ("abandoned", LATE_S), (None, None)])
@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (Formula.ABANDONED_IGNORED, 70 / 90),
        (Formula.ABANDONED_NEGATIVE, 0.70),
        (Formula.ABANDONED_POSITIVE, 0.80),
    ],
)
def test_cisco_seventy_ten_twenty(formula, expected, past_target):
    """70 answered and 10 abandoned within the threshold, 20 past it, however those end or go on."""
    log = calls((70, "answered", WITHIN_S), (10, "abandoned", WITHIN_S), (20, *past_target))

    assert kpi.SERVICE_LEVEL.of(sums(*log, under=rules(formula))) == pytest.approx(expected)


def test_cisco_fifty_within_and_eighty_late():
    """50 / 130 = 38 %, abandons ignored."""
    log = calls((50, "answered", WITHIN_S), (80, "answered", LATE_S), (40, "abandoned", WITHIN_S))

    assert round(kpi.SERVICE_LEVEL.of(sums(*log)) * 100) == 38


def test_stat_server_service_factor():
    """300 answered, 200 of them in 20 s; 100 abandoned, 50 of them under 10 s: 200 / 350 = 57.14 %."""
    log = calls(
        (200, "answered", WITHIN_S),
        (100, "answered", LATE_S),
        (50, "abandoned", 9),
        (50, "abandoned", 10),
    )
    counted = sums(*log, under=rules(Formula.ABANDONED_NEGATIVE, short_s=10))

    assert round(kpi.SERVICE_LEVEL.of(counted) * 100, 2) == 57.14


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (Formula.ANSWERED_ONLY, 60 / 80),  # only handled
        (Formula.ABANDONED_IGNORED, 60 / 90),  # without abandon
        (Formula.ABANDONED_POSITIVE, 70 / 100),
        (Formula.ABANDONED_NEGATIVE, 60 / 100),
    ],
)
def test_uccx_prints_four_columns(formula, expected):
    """Presented 100: 60 answered within, 20 late; 10 abandoned within, 10 late."""
    log = calls(
        (60, "answered", WITHIN_S),
        (20, "answered", LATE_S),
        (10, "abandoned", WITHIN_S),
        (10, "abandoned", LATE_S),
    )

    assert kpi.SERVICE_LEVEL.of(sums(*log, under=rules(formula))) == pytest.approx(expected)


@pytest.mark.parametrize(("wait", "within"), [("19.999", 1), ("20", 1), ("20.001", 0)])
def test_a_wait_of_exactly_the_target_is_within_it(wait, within):
    """As in Asterisk, Wazo, BCMS and Sinch: at most the target."""
    counted = Counter(sums(*calls((1, "answered", wait))))

    assert counted[f.ANSWERED_WITHIN_TARGET] == counted[f.SERVICE_LEVEL_MET] == within
    assert counted[f.SERVICE_LEVEL_BASE] == 1


def test_a_stuck_queue_is_not_a_hundred_percent():
    """Three wait and nobody answers: 0 %, where systems that count only ended calls show 100 %."""
    log = [
        *calls((5, "answered", WITHIN_S)),
        "25 queued q call=x",
        "26 queued q call=y",
        "27 queued q call=z",
    ]

    assert kpi.SERVICE_LEVEL.of(sums(*calls((3, None, None)))) == 0.0
    assert kpi.SERVICE_LEVEL.of(sums(*log)) == 5 / 8
    assert kpi.SERVICE_LEVEL.of(sums(*log, under=rules(Formula.ANSWERED_ONLY))) == 1.0


@pytest.mark.parametrize(
    "ratio",
    [
        kpi.SERVICE_LEVEL,
        kpi.ABANDONMENT,
        kpi.BLOCKED_RATIO,
        kpi.ANSWER_SPEED_S,
        kpi.ABANDON_TIME_S,
        kpi.TALK_S,
        kpi.WRAP_UP_S,
        kpi.HANDLE_S,
    ],
)
def test_no_calls_give_no_ratio(ratio):
    """Neither 0 nor 100 %: absent."""
    assert ratio.of({}) is None
    assert ratio.of(sums("0 offered q")) is None
    assert kpi.longest_wait_s({}) is None


def test_only_ignored_abandons_give_no_service_level():
    """All that there was is ignored: the base is 0 and the ratio absent."""
    counted = sums(*calls((4, "abandoned", WITHIN_S)))

    assert kpi.SERVICE_LEVEL.of(counted) is None
    assert kpi.ABANDONMENT.of(counted) == 1.0


def test_short_abandons_leave_the_abandonment_ratio():
    """10 answered, 10 abandoned of which 5 short, 5 left: 5 / 20."""
    log = calls(
        (10, "answered", WITHIN_S),
        (5, "abandoned", 2),
        (5, "abandoned", LATE_S),
        (5, "left reason=timeout", LATE_S),
    )
    counted = sums(*log, under=rules(short_s=5))

    assert kpi.ABANDONMENT.of(counted) == 5 / 20
    assert counted[f.ABANDONED] == 10
    assert counted[f.ABANDONED_SHORT] == 5


def test_means_and_the_longest_wait():
    """ASA is the mean wait of the answered alone; the longest wait that of any end but expiry."""
    log = calls((2, "answered", 10), (1, "answered", 40), (1, "abandoned", 50), (1, "left reason=key", 60))
    counted = sums(*log)

    assert kpi.ANSWER_SPEED_S.of(counted) == 20.0
    assert kpi.ABANDON_TIME_S.of(counted) == 50.0
    assert kpi.longest_wait_s(counted) == 60.0


def test_blocked_over_all_attempts():
    """3 blocked and 9 queued: a quarter."""
    log = [
        "0 blocked q reason=busy call=b1",
        "0 blocked q reason=full call=b2",
        "0 blocked q reason=closed call=b3",
    ]

    assert kpi.BLOCKED_RATIO.of(sums(*log, *calls((9, "answered", WITHIN_S)))) == 3 / 12


def test_hanging_up_after_the_answer_is_never_an_abandon():
    """However short the talk was."""
    counted = Counter(sums("0 queued q", "5 answered", "5.1 ended", "5.2 abandoned q"))

    assert kpi.TALK_S.of(sums("0 queued q", "5 answered", "5.1 ended")) == 0.1
    assert kpi.ABANDONMENT.of(sums("0 queued q", "5 answered", "5.1 ended")) == 0.0
    assert counted[f.ABANDON_WAITS] == 0  # an anomaly, with no wait


def test_a_transfer_counts_once_in_each_queue():
    """The visit is the unit: one call answered in two queues, as in Wazo."""
    stage = CallsStage(0, rules())
    stage.fold(log_of("0 queued q", "5 answered", "90 queued r", "99 answered", "200 ended"))
    totals = stage.totals()

    assert (totals["q"][f.ANSWERED], totals["r"][f.ANSWERED]) == (1, 1)
    assert (totals["q"][f.TALK_MS], totals["r"][f.TALK_MS]) == (85_000, 101_000)


def test_a_callback_is_neither_abandoned_nor_in_service_level():
    """It left within the target, for a reason."""
    counted = Counter(sums(*calls((1, "left reason=callback", WITHIN_S))))

    assert counted[f.LEFT_CALLBACK] == 1
    assert counted[f.ABANDONED] == counted[f.SERVICE_LEVEL_BASE] == 0


def test_handle_time_is_talk_and_holds_and_wrap_up():
    """100 s from answer to end, 30 s of it on hold, 45 s of wrap-up."""
    counted = sums(
        "0 queued q", "10 answered", "50 hold", "80 resumed", "110 ended", "155 wrap_up took=45000"
    )

    assert kpi.TALK_S.of(counted) == 70.0
    assert kpi.WRAP_UP_S.of(counted) == 45.0
    assert kpi.HANDLE_S.of(counted) == 145.0


def test_every_visit_is_somewhere():
    """Queued is answered + abandoned + left + expired + waiting; answered is ended + in progress."""
    log = [
        *calls((7, "answered", 5), (6, "abandoned", 5), (5, "left reason=empty", 5), (4, None, None)),
        "9 ended call=1",
        f"{5 * HOUR_S} queued q call=new",
    ]
    stage = CallsStage(0, rules())
    stage.fold(log_of(*log))
    total = stage.totals()["q"]

    assert total[f.QUEUED] == 23
    assert (total[f.ANSWERED], total[f.ABANDONED], total[f.LEFT_EMPTY], total[f.EXPIRED_WAITING]) == (
        7,
        6,
        5,
        4,
    )
    assert (total[f.CONVERSATIONS_ENDED], total[f.EXPIRED_TALKING]) == (7, 6)
    assert stage.now()["q"] == (1, 0, 5 * HOUR_S * 1_000)


def test_a_visit_keeps_the_target_and_the_formula_that_it_was_queued_with():
    """A changed setting applies to the visits that are queued after it."""
    before = rules(Formula.ABANDONED_NEGATIVE)
    after = rules(Formula.ABANDONED_IGNORED, target_ms=60_000)
    log = log_of(
        "0 queued q call=a",
        "0 queued q call=b",
        "1 queued q call=c",
        "2 queued q call=d",
        "2 queued q call=e",
    )
    later = log_of(
        *["0 hold"] * 5,
        "2 queued q call=f",
        "15 abandoned call=a",
        "30 answered call=b",
        "40 answered call=f",
        "41 queued q call=g",
        "50 abandoned call=g",
    )[5:]
    stage = CallsStage(0, before)
    stage.fold(log)
    stage = CallsStage.load(stage.dump(), 0, after)
    stage.fold(later)
    total = Counter(added(stage))

    assert total[f.ANSWERED_WITHIN_TARGET] == 1  # f: 38 s of 60 s; b: 30 s of 20 s
    assert total[f.SERVICE_LEVEL_MET] == 1
    assert total[f.SERVICE_LEVEL_BASE] == 6  # a as negative; b, c, d, e past 20 s; f. g is ignored


def test_a_shorter_age_does_not_lose_who_waits():
    """A call keeps the age that it began with, as a visit keeps its target; nobody is lost or counted twice."""
    stage = CallsStage(0, rules())
    stage.fold(log_of("0 queued q", "1 queued q call=d", "2 answered call=d"))
    stage = CallsStage.load(stage.dump(), 0, replace(rules(), call_age_max_ms=60_000))
    stage.fold(log_of("0 hold", "0 hold", "0 hold", "100 hold call=x")[3:])
    waiting, talking, _ = stage.now()["q"]
    stage.fold(
        log_of("0 hold", "0 hold", "0 hold", "0 hold", f"{rules().call_age_max_ms // 1_000 + 3} hold call=x")[
            4:
        ]
    )
    total = stage.totals()["q"]

    assert (waiting, talking) == (1, 1)
    assert (total[f.EXPIRED_WAITING], total[f.EXPIRED_TALKING]) == (1, 1)
    assert stage.now()["q"] == (0, 0, None)
