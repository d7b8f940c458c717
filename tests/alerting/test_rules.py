"""The alert rules: valid, complete, fed by what is exported, and doing what their tests say."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from schemas.limits import QUEUE_CHARACTERS_MAX
from stream.export.metrics import METRICS, Kind, scrape
from stream.export.render import render
from stream.settings import Settings
from stream.settings.keys import known_keys, queue_keys
from tests.export.centre import BUILD, many_queues, stopped
from tests.machine import program
from tools.mutate_rules import outcome
from tools.rule_cases import CASES
from tools.rule_tests import RULES, TESTS, files, needed, rules

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "grafana/prometheus/prometheus.yml"
ALERTS = sorted({rule["alert"] for rule in rules("alert")})
# issue 5, by hand
WANTED = {
    "ServiceLevelLow",
    "AbandonmentHigh",
    "LongestWaitHigh",
    "QueueNotDraining",
    "ContactsBlocked",
    "QueueSilent",
    "QueueMissing",
    "DataStale",
    "ProcessorDown",
    "ProcessorAbsent",
    "ProcessorNotReady",
    "LagGrowing",
    "EventsRejected",
    "LateEvents",
    "CheckpointOld",
    "ExportedTwice",
}
# A number that is no threshold: none at all, a switch that is on, more than one of what there should be one of.
NUMBERS = {"0", "1"}


def promtool(*arguments):
    return subprocess.run(
        [program("promtool"), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_alert_that_is_wanted_is_there():
    """Neither more nor fewer; service level has two severities."""
    assert set(ALERTS) == {f"ContactCentre{name}" for name in WANTED} | {"Watchdog"}
    levels = [r["labels"]["severity"] for r in rules("alert") if r["alert"].endswith("ServiceLevelLow")]
    assert levels == ["critical", "warning"]


def test_the_configuration_and_the_rules_are_valid():
    """As Prometheus itself reads them."""
    done = promtool("check", "config", str(CONFIG))

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules('alert')) + len(rules('record'))} rules found" in done.stdout


@pytest.mark.parametrize(
    "rule", rules("alert"), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}"
)
def test_every_alert_says_what_it_is_and_what_to_do_first(rule):
    """A summary without templates, a description, a severity, who is to act, and a runbook that exists."""
    notes, labels = rule["annotations"], rule["labels"]

    assert "{{" not in notes["summary"]
    assert notes["summary"].endswith(".")
    assert re.search(r"\. First \w+|first\.$", notes["description"])
    assert labels["severity"] in {"critical", "warning", "info", "none"}
    assert labels["team"] in {"supervisors", "platform"}
    page = (ROOT / notes["runbook"]).read_text()
    assert page.startswith(f"# {rule['alert']}\n")
    assert "\n## First\n1. " in page
    assert "\n## Thresholds\n" in page


def test_no_runbook_is_left_over():
    """Every page belongs to an alert."""
    assert sorted(path.stem for path in (ROOT / "grafana/runbooks").glob("*.md")) == ALERTS


def test_every_key_that_a_runbook_names_can_be_configured():
    """A renamed key shows here."""
    sections = "|".join(Settings.model_fields)
    known = {key.name for key in known_keys().values()} | {f"queues.NAME.{name}" for name in queue_keys()}
    for path in (*(ROOT / "grafana/runbooks").glob("*.md"), ROOT / "docs/alerting.md"):
        named = set(re.findall(rf"`((?:{sections})\.[\w.]+)`", path.read_text()))
        assert named <= known, path.name


def test_no_threshold_is_in_the_rules():
    """Numbers that one would want to change come from the configuration, by way of /metrics."""
    for rule in rules("alert"):
        assert set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])", rule["expr"])) <= NUMBERS, rule["alert"]


def test_the_rules_use_what_is_exported_and_recorded_and_nothing_else():
    """A metric that is renamed, or recorded and not used, shows here."""
    text = " ".join(rule["expr"] for rule in rules("record") + rules("alert"))
    recorded = {rule["record"] for rule in rules("record")}

    assert set(re.findall(r"\b(?:callcenter|callgauge)_\w+(?=\{)", text)) <= {
        metric.name for metric in METRICS
    }
    assert set(re.findall(r"\b(?:job_queue|job):[\w:]+", text)) == recorded
    windows = set(re.findall(r'window="(\w+)"', text))
    assert windows <= {label for label, _ in Settings().windows.rolling}


def test_a_scrape_of_as_many_queues_as_are_allowed_is_within_the_limits():
    """Prometheus refuses the whole scrape otherwise."""
    job = next(
        job for job in yaml.safe_load(CONFIG.read_text())["scrape_configs"] if job["job_name"] == "callgauge"
    )
    queues_max = Settings().events.queues_max
    text = render(scrape(lambda: many_queues(queues_max), BUILD, stopped), openmetrics=False).decode()
    samples = sum(not line.startswith("#") for line in text.splitlines())
    labels = {len(metric.labels) + (metric.kind is Kind.HISTOGRAM) for metric in METRICS}

    assert queues_max * 100 < samples < job["sample_limit"]
    assert len(text) < int(job["body_size_limit"].removesuffix("MB")) * 1_000_000
    # instance, job and the name of the metric are labels as well
    assert max(labels) + 3 <= job["label_limit"]
    assert job["label_value_length_limit"] > QUEUE_CHARACTERS_MAX * 4


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_case_that_fires_and_two_that_do_not(alert):
    """Watchdog is never silent."""
    cases = [case for case in CASES if case.alert == alert]

    assert any(case.fires for case in cases)
    if alert != "Watchdog":
        assert sum(not case.fires for case in cases) >= 2
        assert any("well" in case.name for case in cases)


def test_the_committed_test_files_are_those_of_the_cases():
    """`make generate` writes them."""
    assert {path.name: path.read_text() for path in TESTS.glob("*.yml")} == files()


def all_rules():
    return yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.yml")), ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(path):
    """Every case, by promtool. An alert is tested with the records that it needs: the others would only take time."""
    program("promtool")
    alert = path.stem.partition(".")[0]
    done = outcome(all_rules() if alert == "records" else needed(all_rules(), alert), path)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_rule_makes_its_tests_fail():
    """One change of many; `make mutate-rules` makes them all."""
    program("promtool")
    alert = "ContactCentreQueueNotDraining"
    changed = needed(all_rules(), alert)
    changed[-1]["expr"] = changed[-1]["expr"].replace("waiting:last > 0", "waiting:last > 1")
    done = outcome(changed, TESTS / f"{alert}.yml")

    assert done.returncode == 1
    assert "one waits, none is answered" in done.stdout + done.stderr
