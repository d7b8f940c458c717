"""The states of alerts: for any pattern of activity what promtool, Prometheus' own test runner, says."""

import json
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.backtest.states import Span, episodes
from tests.machine import program

MINUTE_MS = 60_000
STEPS = 24
RULES = [(hold, keep) for hold in (0, 1, 5) for keep in (0, 5)]  # minutes
Pattern = list[bool]
# Long runs of the same, which single coins seldom give.
PATTERNS = st.lists(st.tuples(st.booleans(), st.integers(1, 7)), min_size=1, max_size=STEPS).map(
    lambda runs: [on for on, length in runs for _ in range(length)][:STEPS]
)


def states(pattern: Pattern, hold: int, keep: int, interval_ms: int) -> list[str]:
    """Return the state at every evaluation, as our machine has it."""
    span = Span(0, (len(pattern) - 1) * interval_ms, interval_ms)
    points = [(step * interval_ms, 1.0) for step, on in enumerate(pattern) if on]
    shown = ["inactive"] * len(pattern)
    for episode in episodes(span, points, hold * MINUTE_MS, keep * MINUTE_MS):
        for step in range(len(pattern)):
            at_ms = step * interval_ms
            if episode.pending_ms <= at_ms and (episode.end_ms is None or at_ms < episode.end_ms):
                fires = episode.firing_ms is not None and at_ms >= episode.firing_ms
                shown[step] = "firing" if fires else "pending"
    return shown


def judged(patterns: list[Pattern], interval_minutes: int) -> "subprocess.CompletedProcess[str]":
    """Let promtool compare its states at every evaluation with ours."""
    interval_ms = interval_minutes * MINUTE_MS
    rules = [
        {
            "alert": f"For{hold}Keep{keep}",
            "expr": "active > 0",
            "for": f"{hold}m",
            "keep_firing_for": f"{keep}m",
        }
        for hold, keep in RULES
    ]
    series = [
        {"series": f'active{{n="{number}"}}', "values": " ".join(str(int(on)) for on in pattern)}
        for number, pattern in enumerate(patterns)
    ]
    expected: dict[int, list[dict[str, object]]] = {step: [] for step in range(STEPS)}
    for number, pattern in enumerate(patterns):
        for hold, keep in RULES:
            for step, state in enumerate(states(pattern, hold, keep, interval_ms)):
                if state != "inactive":
                    labels = f'alertname="For{hold}Keep{keep}", alertstate="{state}", n="{number}"'
                    expected[step].append({"labels": f"ALERTS{{{labels}}}", "value": 1})
    tests = [
        {"expr": "ALERTS", "eval_time": f"{step * interval_minutes}m", "exp_samples": samples}
        for step, samples in expected.items()
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
        interval = f"{interval_minutes}m"
        group = {"interval": interval, "input_series": series, "promql_expr_test": tests}
        judge = {"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": [group]}
        (folder / "test.yml").write_text(json.dumps(judge))
        return subprocess.run(
            [program("promtool"), "test", "rules", "test.yml"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )


def padded(pattern: Pattern) -> Pattern:
    """Return the pattern with as many evaluations as all have."""
    return (pattern + [False] * STEPS)[:STEPS]


@settings(max_examples=25, deadline=None)
@given(st.lists(PATTERNS, min_size=1, max_size=6), st.sampled_from([1, 2]))
@example(
    [
        [True] * STEPS,
        [True, False] * 12,
        [True] * 6 + [False] * 5 + [True],
        [True] * 6 + [False] * 6 + [True],
    ],
    1,
)
@example([[True] * 4 + [False] * 2 + [True], [True] * 4 + [False] * 3 + [True], [True] * 4 + [False] * 4], 2)
def test_an_alert_has_the_state_that_prometheus_gives_it(
    patterns: list[Pattern], interval_minutes: int
) -> None:
    """For every `for` and `keep_firing_for`, whole multiples of the interval or not."""
    verdict = judged([padded(pattern) for pattern in patterns], interval_minutes)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_promtool_would_notice_a_state_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its verdicts would mean nothing."""
    monkeypatch.setitem(states.__globals__, "episodes", lambda *_: iter(()))

    assert judged([[True] * STEPS], 1).returncode != 0


def test_an_episode_has_its_first_lowest_and_highest_value() -> None:
    """Also when one of them is no number."""
    span = Span(0, 10, 1)
    points = [(1, 0.5), (2, float("nan")), (3, 0.25), (6, 2.0)]
    (first, second) = episodes(span, points, 2, 0)

    assert (first.pending_ms, first.firing_ms, first.end_ms) == (1, 3, 4)
    assert (first.value, first.value_min, first.value_max) == (0.5, 0.25, 0.5)
    assert (second.pending_ms, second.firing_ms, second.end_ms) == (6, None, 7)


def test_what_is_there_at_the_last_evaluation_has_no_end() -> None:
    """Nor has what is kept firing beyond it."""
    (there,) = episodes(Span(0, 10, 2), [(10, 1.0)], 0, 0)
    (kept,) = episodes(Span(0, 10, 2), [(6, 1.0)], 0, 4)
    (gone,) = episodes(Span(0, 10, 2), [(6, 1.0)], 0, 2)

    assert (there.end_ms, kept.end_ms, gone.end_ms) == (None, None, 10)
