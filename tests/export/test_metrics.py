"""The exposition: complete, parseable, absent where there is nothing, and the same by both ways."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from stream.core import fields as f
from stream.core.labels import LABEL_CHARACTERS_MAX
from stream.core.snapshot import HistogramView, PipelineView, WindowView
from stream.export.collector import SnapshotCollector, registry_of
from stream.export.metrics import METRICS, Kind, scrape
from stream.export.render import render
from stream.settings import Alerts
from tests.export.centre import (
    BOUNDS_MS,
    BUILD,
    NOW_MS,
    busy_afternoon,
    counts,
    many_queues,
    queue,
    snapshot,
    stopped,
)
from tests.machine import program

GOLDEN = Path(__file__).parent / "golden"
WRITE_GOLDEN = os.environ.get("WRITE_GOLDEN") == "1"

# Section 5 of the contract, by hand: name, labels.
CONTRACT = {
    "callcenter_contacts_offered_total": {"queue"},
    "callcenter_contacts_queued_total": {"queue"},
    "callcenter_contacts_answered_total": {"queue"},
    "callcenter_contacts_answered_within_target_total": {"queue"},
    "callcenter_contacts_abandoned_total": {"queue"},
    "callcenter_contacts_abandoned_within_target_total": {"queue"},
    "callcenter_contacts_abandoned_short_total": {"queue"},
    "callcenter_contacts_left_total": {"queue", "reason"},
    "callcenter_contacts_blocked_total": {"queue", "reason"},
    "callcenter_contacts_expired_total": {"queue"},
    "callcenter_answer_wait_seconds": {"queue"},
    "callcenter_abandon_wait_seconds": {"queue"},
    "callcenter_talk_seconds": {"queue"},
    "callcenter_wrap_up_seconds": {"queue"},
    "callcenter_handle_seconds": {"queue"},
    "callcenter_contacts_waiting": {"queue"},
    "callcenter_contacts_waiting_past_target": {"queue"},
    "callcenter_contacts_in_progress": {"queue"},
    "callcenter_oldest_waiting_timestamp_seconds": {"queue"},
    "callcenter_window_queued": {"queue", "window"},
    "callcenter_window_answered": {"queue", "window"},
    "callcenter_window_answered_within_target": {"queue", "window"},
    "callcenter_window_abandoned": {"queue", "window"},
    "callcenter_window_left": {"queue", "window"},
    "callcenter_window_blocked": {"queue", "window"},
    "callcenter_window_service_level_met": {"queue", "window"},
    "callcenter_window_service_level_base": {"queue", "window"},
    "callcenter_service_level_ratio": {"queue", "window"},
    "callcenter_abandonment_ratio": {"queue", "window"},
    "callcenter_blocked_ratio": {"queue", "window"},
    "callcenter_answer_speed_seconds": {"queue", "window"},
    "callcenter_longest_wait_seconds": {"queue", "window"},
    "callcenter_service_level_objective_ratio": {"queue"},
    "callcenter_service_level_target_seconds": {"queue"},
    "callcenter_abandonment_limit_ratio": {"queue"},
    "callcenter_wait_limit_seconds": {"queue"},
    "callcenter_queue_open": {"queue"},
    "callgauge_events_total": {"event"},
    "callgauge_events_rejected_total": {"reason"},
    "callgauge_events_late_total": set(),
    "callgauge_events_duplicate_total": set(),
    "callgauge_events_anomalous_total": {"kind"},
    "callgauge_lag_records": {"topic", "partition"},
    "callgauge_data_timestamp_seconds": set(),
    "callgauge_last_event_timestamp_seconds": set(),
    "callgauge_ready": set(),
    "callgauge_checkpoint_timestamp_seconds": {"partition"},
    "callgauge_queues_over_limit_total": set(),
    "callgauge_collect_duration_seconds": set(),
    "callgauge_build_info": {"version", "python"},
}
BEYOND_THE_CONTRACT = {
    "callgauge_position_holes_total": set(),
    "callgauge_log_gaps_total": set(),
    "callgauge_retention_gaps_total": set(),
    "callgauge_checkpoints_refused_total": set(),
    "callgauge_alert_critical_share_ratio": set(),
    "callgauge_alert_contacts_min": set(),
    "callgauge_alert_failures_min": set(),
    "callgauge_alert_blocked_limit_ratio": set(),
    "callgauge_alert_stale_limit_seconds": set(),
    "callgauge_alert_lag_limit_records": set(),
    "callgauge_alert_rejected_limit_ratio": set(),
    "callgauge_alert_checkpoint_age_limit_seconds": set(),
}


def text_of(view, *, openmetrics=False):
    return render(scrape(lambda: view, BUILD, stopped), openmetrics=openmetrics).decode()


def series_of(view, *, openmetrics=False):
    parse = parse_openmetrics if openmetrics else parse_text
    found = {}
    for family in parse(text_of(view, openmetrics=openmetrics)):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found, f"{key} appears twice"
            assert sample.timestamp is None
            found[key] = sample.value
    return found


def family_names(view):
    return set(re.findall(r"^# TYPE (\S+)", text_of(view), re.MULTILINE))


@pytest.mark.parametrize(("name", "openmetrics"), [("metrics.txt", False), ("metrics.openmetrics", True)])
def test_the_exposition_of_a_known_snapshot_is_the_golden_file(name, openmetrics):
    """Any change of /metrics shows in a diff; WRITE_GOLDEN=1 writes the files again."""
    text = text_of(busy_afternoon(), openmetrics=openmetrics)
    if WRITE_GOLDEN:
        (GOLDEN / name).write_text(text, encoding="utf-8")

    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_every_metric_of_the_contract_is_there_with_its_labels():
    """Neither more nor fewer metrics than promised, under the promised labels."""
    wanted = CONTRACT | BEYOND_THE_CONTRACT

    assert {metric.name: set(metric.labels) for metric in METRICS} == wanted
    assert family_names(busy_afternoon()) == set(wanted)


def test_every_series_has_exactly_the_labels_of_its_metric():
    """No sample carries a label that the contract does not name; le belongs to buckets alone."""
    for family in parse_text(text_of(busy_afternoon())):
        for sample in family.samples:
            name = (
                re.sub(r"_(bucket|count|sum)$", "", sample.name)
                if family.type == "histogram"
                else sample.name
            )
            extra = {"le"} if sample.name.endswith("_bucket") else set()
            assert set(sample.labels) == (CONTRACT | BEYOND_THE_CONTRACT)[name] | extra


@pytest.mark.parametrize(
    "view",
    [busy_afternoon(), snapshot(), snapshot(queue("a")), many_queues(3)],
    ids=["busy", "none", "silent", "many"],
)
def test_the_renderer_writes_the_same_bytes_as_prometheus_client(view):
    """The fast way and the library's agree byte by byte, in both formats."""
    registry = registry_of(lambda: scrape(lambda: view, BUILD, stopped))

    assert text_of(view) == generate_latest(registry).decode()
    assert text_of(view, openmetrics=True) == generate_openmetrics(registry).decode()


def test_both_formats_hold_the_same_series():
    """What a scraper gets does not depend on the format that it negotiates."""
    view = busy_afternoon()

    assert series_of(view) == series_of(view, openmetrics=True)


def test_a_ratio_without_a_base_is_absent():
    """No call means no ratio: neither 0, nor 1, nor NaN."""
    view = snapshot(queue("quiet"))
    names = {name for name, *_ in series_of(view)}

    assert "NaN" not in text_of(view)
    assert not names & {
        "callcenter_service_level_ratio",
        "callcenter_abandonment_ratio",
        "callcenter_blocked_ratio",
        "callcenter_answer_speed_seconds",
        "callcenter_longest_wait_seconds",
        "callcenter_oldest_waiting_timestamp_seconds",
    }


def test_the_counts_of_a_silent_queue_are_there_as_zeros():
    """A configured queue exists from the start, with every reason, so that increase() loses no first call."""
    series = series_of(snapshot(queue("quiet")))
    left = {key for key in series if key[0] == "callcenter_contacts_left_total"}
    blocked = {key for key in series if key[0] == "callcenter_contacts_blocked_total"}

    assert {dict(key[1:])["reason"] for key in left} == {
        "overflow",
        "timeout",
        "key",
        "empty",
        "callback",
        "other",
    }
    assert {dict(key[1:])["reason"] for key in blocked} == {"busy", "full", "closed", "no_agents", "other"}
    assert {series[key] for key in left | blocked} == {0}
    assert series["callcenter_window_answered", ("queue", "quiet"), ("window", "30m")] == 0


def test_ratios_are_those_of_the_window():
    """Numerators, denominators and quotients of one window belong together."""
    view = snapshot(queue("sales", counts(80, 60, abandoned=20, blocked=25)))
    series = series_of(view)
    window = (("queue", "sales"), ("window", "30m"))

    assert series["callcenter_window_service_level_met", *window] == 60
    assert series["callcenter_window_service_level_base", *window] == 94
    assert series["callcenter_service_level_ratio", *window] == 60 / 94
    assert series["callcenter_abandonment_ratio", *window] == 20 / 100
    assert series["callcenter_blocked_ratio", *window] == 25 / 125
    assert series["callcenter_answer_speed_seconds", *window] == 12


def test_expired_adds_both_ways_to_expire():
    """Whoever expired waiting and whoever expired talking are one counter."""
    view = snapshot(replace(queue("a"), totals={f.EXPIRED_WAITING: 3, f.EXPIRED_TALKING: 4}))

    assert series_of(view)["callcenter_contacts_expired_total", ("queue", "a")] == 7


def test_histograms_are_cumulative_in_seconds():
    """Buckets add up to +Inf, which is the count; the sum is in seconds."""
    waits = HistogramView(BOUNDS_MS, (1, 2, *(0,) * 10, 4), 1_234_567)
    view = snapshot(replace(queue("a"), histograms={"talk": waits}))
    series = series_of(view)
    buckets = {
        dict(labels)["le"]: value
        for (name, *labels), value in series.items()
        if name == "callcenter_talk_seconds_bucket"
    }

    assert (buckets["5.0"], buckets["10.0"], buckets["600.0"], buckets["+Inf"]) == (1, 3, 3, 7)
    assert list(buckets) == [
        "5.0",
        "10.0",
        "15.0",
        "20.0",
        "30.0",
        "45.0",
        "60.0",
        "90.0",
        "120.0",
        "180.0",
        "300.0",
        "600.0",
        "+Inf",
    ]
    assert series["callcenter_talk_seconds_count", ("queue", "a")] == 7
    assert series["callcenter_talk_seconds_sum", ("queue", "a")] == 1_234.567


def test_everything_known_of_the_pipeline_starts_at_zero():
    """All ten event types, every reason of rejection and every anomaly are there before the first event."""
    series = series_of(snapshot())
    by_name = {}
    for (name, *labels), value in series.items():
        by_name.setdefault(name, {})[tuple(dict(labels).values())] = value

    assert set(by_name["callgauge_events_total"]) == {
        ("offered",),
        ("queued",),
        ("answered",),
        ("abandoned",),
        ("left",),
        ("blocked",),
        ("hold",),
        ("resumed",),
        ("ended",),
        ("wrap_up",),
    }
    assert {("future",), ("not_json",), ("unknown_type",)} <= set(by_name["callgauge_events_rejected_total"])
    assert len(by_name["callgauge_events_anomalous_total"]) == len(f.ANOMALIES)
    assert {value for name in by_name if "events" in name for value in by_name[name].values()} == {0}


def test_a_reason_that_the_table_does_not_know_is_exported_all_the_same():
    """A newer engine's reason is not swallowed by an older table."""
    view = snapshot(pipeline=PipelineView(rejected={"brand_new": 2}))

    assert series_of(view)["callgauge_events_rejected_total", ("reason", "brand_new")] == 2


def test_a_clock_that_is_not_known_is_absent_and_readiness_is_a_number():
    """Before every partition was heard there is no data timestamp, and ready is 0."""
    starting = series_of(snapshot(clock_ms=None, ready=False))
    running = series_of(snapshot())

    assert ("callgauge_data_timestamp_seconds",) not in starting
    assert ("callgauge_last_event_timestamp_seconds",) not in starting
    assert starting["callgauge_ready",] == 0
    assert running["callgauge_ready",] == 1
    assert running["callgauge_data_timestamp_seconds",] == NOW_MS / 1_000


def test_the_duration_covers_snapshot_and_collection():
    """The clock starts before the snapshot is taken, and is read when the last row is."""
    times = iter([10.0, 10.25])
    begun = scrape(snapshot, BUILD, lambda: next(times))

    assert "\ncallgauge_collect_duration_seconds 0.25\n" in render(begun, openmetrics=False).decode()
    assert METRICS[-1].name == "callgauge_collect_duration_seconds"


def test_numbers_beyond_a_million_are_written_as_prometheus_writes_them():
    """At the step from plain to exponent, both ways still agree."""
    for number in (999_999, 1_000_000, 1_000_001, -5, 2**53):
        view = snapshot(replace(queue("a"), waiting=number))
        registry = registry_of(lambda view=view: scrape(lambda: view, BUILD, stopped))

        assert text_of(view) == generate_latest(registry).decode()


HOSTILE = [
    'a"} 1\nup{job="x',
    "back\\slash\\",
    "line\nbreak\r\n",
    "\u2028\u2029",
    "\u202eevitcefed",
    "עברית العربية",
    "nul\x00 bell\x07",
    "lone \ud800 surrogate",
    "# HELP x y",
    "{}=,",
    "100 % %d %s %% %(queue)s",
    r"\0 \n \\ \" {queue} {{}} {0}",
    " ",
    "",
    "<script>alert(1)</script>",
    "x" * 10_000,
    "y" * 10_000,
    "🦊" * 5_000,
]


def test_hostile_labels_are_written_as_prometheus_client_writes_them():
    """Of queues and of windows, even such as no name from outside becomes; in histograms of any size."""
    labels = [name for name in HOSTILE if len(name) <= LABEL_CHARACTERS_MAX and "\ud800" not in name]
    window = WindowView(0, 1, counts(80, 60, abandoned=20, blocked=25))
    histograms = {
        "talk": HistogramView(BOUNDS_MS, (7,) * 13, 1_234_567),
        "handle": HistogramView(BOUNDS_MS, (1_000_000,) * 13, 10**12),
    }
    view = queue("a", histograms=histograms, windows=dict.fromkeys(labels, window))
    taken = replace(scrape(snapshot, BUILD, stopped), queues=tuple((label, view) for label in labels))
    registry = registry_of(lambda: taken)

    assert {"line\nbreak\r\n", "nul\x00 bell\x07"} < set(labels)
    assert render(taken, openmetrics=False) == generate_latest(registry)
    assert render(taken, openmetrics=True) == generate_openmetrics(registry)


def test_queues_may_differ_in_their_windows_and_bounds():
    """What the lines of all queues have in common is theirs by what they have, not by who came first."""
    busy = counts(80, 60)
    view = snapshot(
        queue("a", busy, histograms={"talk": HistogramView((1_000, 2_500), (1, 2, 3), 4_000)}),
        queue("b", busy, histograms={"talk": HistogramView((1_000, 9_000), (10**6, 2, 3), 4_000)}),
        queue("c", busy, histograms={"talk": HistogramView((1_000, 9_000), (4, 5, 6), 4_000)}),
        queue("d", windows=dict(reversed(queue("d", busy).windows.items()))),
        queue("e", windows={"2h": WindowView(0, 1, busy)}),
    )
    registry = registry_of(lambda: scrape(lambda: view, BUILD, stopped))

    assert text_of(view) == generate_latest(registry).decode()


def queue_labels(view, *, openmetrics):
    return {dict(labels).get("queue") for _, *labels in series_of(view, openmetrics=openmetrics)} - {None}


@pytest.mark.parametrize("openmetrics", [False, True])
def test_hostile_names_survive_both_parsers(openmetrics):
    """Every queue is there, once, under a label that came through unchanged, whatever it is called."""
    view = snapshot(*(queue(name) for name in HOSTILE))
    labels = queue_labels(view, openmetrics=openmetrics)

    assert len(labels) == len(HOSTILE)
    assert labels == {label for label, _ in scrape(lambda: view, BUILD, stopped).queues}
    assert {"back\\slash\\", "עברית العربية", "{}=,", "<script>alert(1)</script>"} <= labels
    assert max(map(len, labels)) <= LABEL_CHARACTERS_MAX


@given(st.lists(st.text(alphabet=st.characters(), max_size=200), max_size=4, unique=True))
def test_any_names_survive_both_parsers(names):
    """No name breaks the exposition, hides another queue, or changes on the way."""
    view = snapshot(*(queue(name, histograms={}, windows={}) for name in names))
    wanted = {label for label, _ in scrape(lambda: view, BUILD, stopped).queues}

    assert len(wanted) == len(names)
    assert queue_labels(view, openmetrics=False) == wanted
    assert queue_labels(view, openmetrics=True) == wanted


def test_no_created_series_and_no_timestamps_are_exposed():
    """They would double the series, and hide that a target is gone."""
    text = text_of(busy_afternoon(), openmetrics=True)

    assert "_created" not in text
    assert all(len(re.sub(r"\{.*\}", "", line).split()) == 2 for line in text.splitlines() if line[0] != "#")


def test_the_collector_names_its_metrics_without_taking_a_snapshot():
    """Registering costs nothing and two exporters cannot share a registry unnoticed."""
    collector = SnapshotCollector(lambda: pytest.fail("describe() took a snapshot"))

    assert len(list(collector.describe())) == len(METRICS)


def test_a_histogram_that_is_no_histogram_is_an_error():
    """A row of the wrong kind is a mistake in the table, not a gap in the exposition."""
    view = snapshot(replace(queue("a"), histograms={"talk": 5}))

    with pytest.raises(TypeError, match="callcenter_talk_seconds"):
        list(SnapshotCollector(lambda: scrape(lambda: view, BUILD, stopped)).collect())


def test_every_row_of_the_table_is_well_formed():
    """Labels stand in the order of the exposition, only counters end in _total, help is a sentence."""
    for metric in METRICS:
        assert list(metric.labels) == sorted(metric.labels)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.help.endswith(".")


@pytest.mark.parametrize("view", [busy_afternoon(), snapshot()], ids=["busy", "none"])
def test_promtool_finds_nothing_to_say(view):
    """Prometheus' own linter accepts the exposition; without promtool this is skipped, except in CI."""
    result = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=text_of(view).encode(),
        capture_output=True,
        check=False,
    )

    assert result.stderr.decode() == ""
    assert result.returncode == 0


def test_the_thresholds_of_the_alert_rules_are_those_of_the_configuration():
    """The rules read them here, so that one changes them in one place: spans in seconds, shares as ratios."""
    alerts = Alerts.model_validate(
        {
            "critical_share": 0.5,
            "contacts_min": 7,
            "failures_min": 3,
            "blocked_limit": 0.02,
            "stale_limit": "90s",
            "lag_limit": 12,
            "rejected_limit": 0.04,
            "checkpoint_age_limit": "1m",
        }
    )
    text = render(scrape(snapshot, BUILD, stopped, alerts), openmetrics=False).decode()

    assert {
        sample.name.removeprefix("callgauge_alert_"): sample.value
        for family in parse_text(text)
        for sample in family.samples
        if sample.name.startswith("callgauge_alert_")
    } == {
        "critical_share_ratio": 0.5,
        "contacts_min": 7,
        "failures_min": 3,
        "blocked_limit_ratio": 0.02,
        "stale_limit_seconds": 90,
        "lag_limit_records": 12,
        "rejected_limit_ratio": 0.04,
        "checkpoint_age_limit_seconds": 60,
    }
