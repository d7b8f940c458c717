"""The simulated centre against queueing theory.

The figures are those of the domain reference (section 14): 100 calls per half hour, 180 s each. Every
tolerance is three standard errors, estimated by batch means: a run is cut into batches of 4000 calls (20
hours; the queue forgets its past within 15 minutes, so batches are as good as independent). A test also
fails when its standard error is too large to tell anything.
"""

import math
from statistics import fmean, stdev

import pytest

from stream.simulate import Centre, Duration, QueueModel, seconds, simulate

SEED = 20_260_302
BATCH_CALLS = 4_000
WARM_UP_CALLS = 1_000
STANDARD_ERRORS = 3.0
TARGET_MS = 20_000
PATIENCE_S = 120.0


def contacts(
    *, agents: int, batches: int, patience: Duration | None = None, trunks: int | None = None
) -> list[tuple[str, int]]:
    """Return (outcome, wait in ms) of every contact after the warm-up, in order of their end."""
    queue = QueueModel(name="q", arrivals=(100.0,), agents=(agents,), talk=seconds(180), patience=patience)
    calls = batches * BATCH_CALLS + WARM_UP_CALLS
    queued_at: dict[str, int] = {}
    outcomes = []
    for _, event in simulate(Centre(queues=(queue,), trunks=trunks), seed=SEED, start_ms=0, calls=calls):
        if event.type == "queued":
            queued_at[event.call_id] = event.at
        elif event.type in ("answered", "abandoned"):
            outcomes.append((event.type, event.at - queued_at.pop(event.call_id)))
        elif event.type == "blocked":
            outcomes.append((event.type, 0))
    assert len(outcomes) == calls
    return outcomes[WARM_UP_CALLS:]


def assert_law(expected, values, *, relative_error_max):
    """Compare the mean of values with the law, by the standard error of their batch means."""
    batches = [fmean(values[i : i + BATCH_CALLS]) for i in range(0, len(values), BATCH_CALLS)]
    error = stdev(batches) / math.sqrt(len(batches))

    print(f"law {expected}: measured {fmean(batches):.4f}, standard error {error:.4f}")
    assert error < relative_error_max * (expected or 1.0), f"standard error {error} tells nothing"
    assert abs(fmean(batches) - expected) < STANDARD_ERRORS * error, (fmean(batches), error)


def test_without_abandonment_waits_follow_erlang_c():
    """M/M/13 with 10 Erlang: P(wait), service level at 20 s and mean wait as computed."""
    waits = [wait for _, wait in contacts(agents=13, batches=100)]

    assert_law(0.2853, [wait > 0 for wait in waits], relative_error_max=0.03)
    assert_law(0.7956, [wait <= TARGET_MS for wait in waits], relative_error_max=0.01)
    assert_law(17.12, [wait / 1000 for wait in waits], relative_error_max=0.04)


def test_one_agent_more_raises_the_service_level_as_erlang_c_says():
    """M/M/14 with 10 Erlang: 88.84 % within 20 s, where 13 agents give 79.56 %."""
    waits = [wait for _, wait in contacts(agents=14, batches=50)]

    assert_law(0.8884, [wait <= TARGET_MS for wait in waits], relative_error_max=0.01)


def test_with_impatient_customers_abandonment_follows_erlang_a():
    """M/M/10+M with 10 Erlang: share abandoned, mean wait, and the exact relation of the two."""
    outcomes = contacts(agents=10, batches=50, patience=seconds(PATIENCE_S))
    abandoned = [outcome == "abandoned" for outcome, _ in outcomes]
    waits_s = [wait / 1000 for _, wait in outcomes]

    assert_law(0.1375, abandoned, relative_error_max=0.02)
    assert_law(16.50, waits_s, relative_error_max=0.02)
    differences = [lost - wait / PATIENCE_S for lost, wait in zip(abandoned, waits_s, strict=True)]
    assert_law(0.0, differences, relative_error_max=0.005)


def test_with_as_many_trunks_as_agents_blocking_follows_erlang_b():
    """M/M/10/10 with 10 Erlang: 21.46 % find all trunks busy, and nobody ever waits."""
    outcomes = contacts(agents=10, batches=50, trunks=10)

    assert_law(0.2146, [outcome == "blocked" for outcome, _ in outcomes], relative_error_max=0.02)
    assert max(wait for _, wait in outcomes) == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_arrivals_follow_the_day_curve(seed):
    """Four weeks of arrivals by half hour: chi-square within four of its standard deviations, both ways.

    Too small a value would mean arrivals more regular than Poisson.
    """
    days, curve = 28, tuple(5.0 + 45.0 * math.sin(math.pi * slot / 48) ** 2 for slot in range(48))
    queue = QueueModel(name="q", arrivals=curve, agents=(0,), talk=seconds(1), capacity=0)
    counts = [0] * 48
    centre = Centre(queues=(queue,))
    for _, event in simulate(centre, seed=seed, start_ms=0, duration_ms=days * 86_400_000):
        if event.type == "offered":
            counts[event.at % 86_400_000 // 1_800_000] += 1

    chi_square = sum(
        (count - days * rate) ** 2 / (days * rate) for count, rate in zip(counts, curve, strict=True)
    )
    assert abs(chi_square - 48) < 4 * math.sqrt(2 * 48)
