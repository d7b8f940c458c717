"""The arithmetic and the table of the benchmark, on canned numbers: no broker, no clock."""

import json

import pytest

from bench.figures import Sample, Throughput, late_by_early, percentile, throughput, value_at
from bench.load import Load, emissions
from bench.report import BARE, FAUST, FULL_10, FULL_1000, Bound, Number, Results


def test_a_run_is_measured_from_its_first_events_to_its_last():
    """What happens before the first event, and the CPU spent there, does not count."""
    progress = [Sample(0, 0), Sample(1_000, 100), Sample(3_000, 900)]
    cpu = [Sample(0, 5.0), Sample(1_000, 6.0), Sample(3_000, 8.0)]

    run = throughput(progress, cpu)

    assert (run.events, run.seconds, run.cpu_s) == (800, 2.0, 2.0)
    assert run.rate == 400
    assert run.cpu_us == 2_500


def test_a_warm_up_is_left_out():
    """Samples within the warm-up after the first event are skipped."""
    progress = [Sample(0, 10), Sample(1_000, 20), Sample(2_000, 120)]

    run = throughput(progress, [Sample(0, 0.0), Sample(2_000, 2.0)], skip_ms=500)

    assert (run.events, run.seconds, run.cpu_s) == (100, 1.0, 1.0)


def test_a_run_of_one_sample_is_refused():
    """A rate needs two moments."""
    with pytest.raises(ValueError, match="too short"):
        throughput([Sample(0, 0), Sample(1, 5)], [Sample(0, 0.0)])


def test_totals_between_samples_lie_on_a_straight_line():
    """Outside of the samples the nearest one holds."""
    series = [Sample(0, 0), Sample(10, 100)]

    assert [value_at(series, at_ms) for at_ms in (-5, 0, 5, 10, 15)] == [0, 0, 50, 100, 100]


def test_growth_within_a_run_compares_its_last_third_with_its_first():
    """An event of the last third costs twice as much here."""
    progress = [Sample(at_ms, at_ms + 1) for at_ms in range(0, 3_001, 100)]
    cpu = [Sample(0, 0.0), Sample(2_000, 2.0), Sample(3_000, 4.0)]

    assert late_by_early(progress, cpu) == pytest.approx(2)


def test_percentiles_are_values_that_occurred():
    """The smallest value that the share does not exceed."""
    values = [5.0, 1.0, 3.0, 2.0, 4.0]

    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 3, 5, 5]


def _results() -> Results:
    results = Results({"date": "2026-01-01", "commit": "abc"}, "python -m bench", {"events": 1})
    for seconds in (1.0, 2.0, 4.0):
        results.add(BARE, Throughput(200_000, seconds, 1.0))
        results.add(FULL_10, Throughput(150_000, seconds, 1.5))
        results.add(FULL_1000, Throughput(150_000, seconds, 2.25))
    results.add(FAUST, Throughput(10_000, 1.0, 1.0))
    results.add(FAUST, Throughput(5_000, 1.0, 1.0))
    return results


def test_ratios_are_taken_pair_by_pair():
    """Noise that both runs of a round meet cancels out; the shorter list is spread over the rounds."""
    ratios = {comparison.what: ratio for comparison, ratio in _results().ratios()}

    assert ratios["full job / bare loop, rate"].pairs == (0.75, 0.75, 0.75)
    assert ratios["full job / bare loop, events for the same CPU"].median == pytest.approx(0.5)
    assert ratios["CPU of an event, 1,000 / 10 queues"].median == pytest.approx(1.5)
    assert ratios["full job / Faust, rate"].pairs == (15, 7.5, 7.5)


def test_the_table_says_what_does_not_hold():
    """Each bound of the design is judged by the median; what was not measured has no row."""
    results = _results()
    results.numbers.append(Number("event to /metrics, p50", 0.3, "s", Bound(at_most=0.5)))

    lines = results.as_markdown().splitlines()

    def cells(start: str) -> list[str]:
        found = next(line for line in lines if line.startswith(f"| {start}"))
        return [cell.strip() for cell in found.strip("|").split("|")]

    assert cells("full job / bare loop, rate")[1:] == ["0.75", "0.75 0.75 0.75", ">= 0.6", "yes"]
    assert cells("full job / Faust, rate")[1:] == ["7.50", "15.0 7.50 7.50", ">= 20", "NO"]
    assert cells("event to /metrics, p50")[1:4] == ["0.30 s", "<= 0.5", "yes"]
    assert not any("scraped" in line for line in lines)


def test_the_json_holds_what_the_table_shows():
    """It can be written, and has every run."""
    written = json.loads(json.dumps(_results().as_json()))

    assert len(written["runs"][FULL_10]) == 3
    assert {row["what"]: row["holds"] for row in written["ratios"]}["full job / Faust, rate"] is False


def test_two_loads_differ_in_queue_names_alone():
    """So the topics with 10 and with 1,000 queues hold the same calls, in order of time."""
    few, many = (
        [emission.event for emission in emissions(Load(queues=queues, start_ms=0, events=3_000))]
        for queues in (10, 1_000)
    )

    assert [(event.type, event.call_id, event.at) for event in few] == [
        (event.type, event.call_id, event.at) for event in many
    ]
    assert [event.at for event in few] == sorted(event.at for event in few)
    assert len({event.queue for event in few} - {None}) == 10
    assert len({event.queue for event in many} - {None}) > 300
