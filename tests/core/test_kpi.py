"""The table of KPIs, divided by hand."""

import re
from pathlib import Path

import pytest

from stream.core import fields as f
from stream.core import kpi

CONTRACT_KEYS = [
    "offered",
    "queued",
    "answered",
    "answered_within_target",
    "abandoned",
    "abandoned_within_target",
    "abandoned_short",
    "left",
    "blocked",
    "service_level",
    "abandonment",
    "answer_speed_s",
    "abandon_time_s",
    "longest_wait_s",
    "talk_s",
]
RATIOS = (
    kpi.SERVICE_LEVEL,
    kpi.ABANDONMENT,
    kpi.BLOCKED_RATIO,
    kpi.ANSWER_SPEED_S,
    kpi.ABANDON_TIME_S,
    kpi.TALK_S,
    kpi.WRAP_UP_S,
    kpi.HANDLE_S,
)
# Every field has another value, so that no sum can be right by mistake.
ALL = {number: 1_000 + 2**number for number in range(f.FIELD_COUNT)}


@pytest.mark.parametrize("ratio", RATIOS, ids=lambda ratio: ratio.name)
def test_a_ratio_of_nothing_is_absent(ratio):
    """Neither 0 nor 1 nor NaN, also when there is something above the line."""
    parts = dict.fromkeys(set(ratio.part.plus) - set(ratio.base.plus), 7)

    assert (ratio.of({}), ratio.of(parts)) == (None, None)


@pytest.mark.parametrize("ratio", RATIOS, ids=lambda ratio: ratio.name)
def test_a_ratio_with_a_base_is_there_even_if_it_is_zero(ratio):
    """Nobody answered in time is 0, not absent."""
    only_base = {next(number for number in ratio.base.plus if number not in ratio.part.plus): 4}

    assert ratio.of(only_base) == 0


def test_abandonment_leaves_short_ones_out_above_and_below():
    """10 abandoned, 4 of them short, 12 answered, 2 left: 6 / 20."""
    counts = {f.ABANDONED: 10, f.ABANDONED_SHORT: 4, f.ANSWERED: 12, f.LEFT_KEY: 1, f.LEFT_OVERFLOW: 1}

    assert kpi.ABANDONMENT.of(counts) == 6 / 20
    assert kpi.ABANDONMENT.of({f.ABANDONED: 4, f.ABANDONED_SHORT: 4}) is None


def test_blocked_is_a_part_of_blocked_and_queued():
    """3 refused for whatever reason, 9 queued: a quarter."""
    assert kpi.BLOCKED_RATIO.of({f.BLOCKED_BUSY: 1, f.BLOCKED_OTHER: 2, f.QUEUED: 9, f.OFFERED: 99}) == 0.25


def test_the_service_level_is_what_the_formula_counted():
    """Met over base; what made them is decided when a visit is counted."""
    assert kpi.SERVICE_LEVEL.of({f.SERVICE_LEVEL_MET: 3, f.SERVICE_LEVEL_BASE: 4, f.ANSWERED: 100}) == 0.75


def test_means_are_seconds_and_only_of_what_is_known():
    """Two of five answers had a known wait, 3 s together: 1.5 s."""
    assert kpi.ANSWER_SPEED_S.of({f.ANSWERED: 5, f.ANSWER_WAITS: 2, f.ANSWER_WAIT_MS: 3_000}) == 1.5
    assert kpi.ABANDON_TIME_S.of({f.ABANDON_WAITS: 1, f.ABANDON_WAIT_MS: 1}) == 0.001
    assert kpi.TALK_S.of({f.TALKS: 2, f.TALK_MS: 4_000}) == 2.0
    assert kpi.WRAP_UP_S.of({f.WRAP_UPS: 2, f.WRAP_UP_MS: 60_000}) == 30.0
    assert kpi.HANDLE_S.of({f.HANDLES: 2, f.HANDLE_MS: 180_000}) == 90.0


@pytest.mark.parametrize(
    ("counts", "expected"), [({}, None), ({f.LONGEST_WAIT_MS: 0}, 0.0), ({f.LONGEST_WAIT_MS: 1_500}, 1.5)]
)
def test_the_longest_wait_is_absent_only_when_nobody_waited(counts, expected):
    """A wait of 0 ms is a wait."""
    assert expected == kpi.longest_wait_s(counts)


def test_waiting_is_what_was_queued_and_has_not_ended():
    """Each end of a wait takes one away: answered, abandoned, each left, expired while waiting."""
    ends = (f.ANSWERED, f.ABANDONED, *f.LEFT.values(), f.EXPIRED_WAITING)

    assert ALL[f.QUEUED] - sum(ALL[end] for end in ends) == kpi.WAITING.of(ALL)
    assert ALL[f.ANSWERED] - ALL[f.CONVERSATIONS_ENDED] == kpi.IN_PROGRESS.of(ALL)
    assert ALL[f.EXPIRED_WAITING] + ALL[f.EXPIRED_TALKING] == kpi.EXPIRED.of(ALL)


def test_an_interval_shows_what_the_contract_lists_in_its_order():
    """The keys are part of the format of `queue-intervals` and of `replay --to json`."""
    assert list(kpi.interval_values({})) == CONTRACT_KEYS


def test_the_contract_itself_lists_these_keys():
    """Where the contract lies beside this tree, its sentence is read rather than our copy."""
    path = Path(__file__).parents[3] / "shared" / "docs" / "contract.md"
    if not path.exists():
        pytest.skip("the contract is not beside this tree")
    sentence = re.search(r"`end` \(RFC 3339\),(.*?)\(null where", path.read_text(encoding="utf-8"), re.DOTALL)

    assert sentence is not None
    assert re.findall(r"`(\w+)`", sentence[1]) == CONTRACT_KEYS


def test_an_empty_interval_has_zeros_for_counts_and_nothing_for_ratios():
    """Counts are 0, ratios are null."""
    values = kpi.interval_values({})

    assert {name: None if number > 8 else 0 for number, name in enumerate(CONTRACT_KEYS)} == values


def test_every_value_of_an_interval_is_its_own():
    """Every field differs, so a value under a wrong name would show."""
    left, blocked = sum(ALL[n] for n in f.LEFT.values()), sum(ALL[n] for n in f.BLOCKED.values())
    not_short = ALL[f.ABANDONED] - ALL[f.ABANDONED_SHORT]

    assert {
        "offered": ALL[f.OFFERED],
        "queued": ALL[f.QUEUED],
        "answered": ALL[f.ANSWERED],
        "answered_within_target": ALL[f.ANSWERED_WITHIN_TARGET],
        "abandoned": ALL[f.ABANDONED],
        "abandoned_within_target": ALL[f.ABANDONED_WITHIN_TARGET],
        "abandoned_short": ALL[f.ABANDONED_SHORT],
        "left": left,
        "blocked": blocked,
        "service_level": ALL[f.SERVICE_LEVEL_MET] / ALL[f.SERVICE_LEVEL_BASE],
        "abandonment": not_short / (ALL[f.ANSWERED] + not_short + left),
        "answer_speed_s": ALL[f.ANSWER_WAIT_MS] / (1_000 * ALL[f.ANSWER_WAITS]),
        "abandon_time_s": ALL[f.ABANDON_WAIT_MS] / (1_000 * ALL[f.ABANDON_WAITS]),
        "longest_wait_s": ALL[f.LONGEST_WAIT_MS] / 1_000,
        "talk_s": ALL[f.TALK_MS] / (1_000 * ALL[f.TALKS]),
    } == kpi.interval_values(ALL)
