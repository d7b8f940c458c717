"""Simulated workers and a simulated Kafka: some thousand crashes here, a hundred thousand in `make simulate-faults`.

``SIMULATION_SEED=... pytest tests/simulation`` runs the same worlds again, ``SIMULATION_SEED=17/4`` one of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.run import SEED, every_passage, live_through, seed_from_environment, simulate

ROOT = Path(__file__).parents[2]
CRASH_POINTS = int(os.environ.get("SIMULATION_CRASH_POINTS") or 2_000)
PASSAGES_SKIPPED = 150  # crash points of a quiet world between two at which somebody dies; 1 in the full run

pytestmark = pytest.mark.timeout(1_200)


@pytest.fixture(scope="module")
def seed():
    return seed_from_environment()


def test_the_board_equals_the_oracle_through_thousands_of_crashes(seed, capsys):
    """Whatever dies, stands still, is delivered twice or not at all: every record is counted once, and in its place."""
    with capsys.disabled():
        print(f"\n{SEED}={seed}", flush=True)
        account = simulate(seed, CRASH_POINTS)
        print("\n".join(account.lines()))

    assert "/" in seed or account.crash_points >= CRASH_POINTS


def test_a_crash_at_any_step_of_a_quiet_day_changes_nothing(seed):
    """One worker dies once, at one crash point in 150; in the full run, at each of them."""
    crashes = sum(told.crashes.total() for told in every_passage(seed, PASSAGES_SKIPPED))

    assert crashes > 3  # 10 to 30, as long as the seed's day is


def test_a_seed_is_a_history(seed):
    """Two runs of one seed agree in everything that happened and when; another seed is another history."""
    code = f"from tests.simulation.run import live_through as go; print(go({seed + '/0'!r}).trace_hash)"
    elsewhere = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    here = live_through(seed + "/0")

    assert here == live_through(seed + "/0")
    assert here.trace_hash == elsewhere
    assert here.trace_hash != live_through(seed + "/1").trace_hash
