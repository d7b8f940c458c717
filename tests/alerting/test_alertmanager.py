"""Who hears which alert, by amtool: every alert of the rules has its way."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.alerting.stack import START_S, start_alertmanager
from tests.machine import program
from tools.rule_tests import rules

CONFIG = Path(__file__).parents[2] / "grafana/alertmanager/alertmanager.yml"
PACE = 30
PAGE, SUPERVISORS, PLATFORM, DEAD_MAN = "page", "supervisors", "platform", "dead-man"
# by hand: who hears what
RECEIVERS = {
    ("supervisors", "critical"): [PAGE, SUPERVISORS],
    ("supervisors", "warning"): [SUPERVISORS],
    ("platform", "critical"): [PAGE, PLATFORM],
    ("platform", "warning"): [PLATFORM],
    ("platform", "info"): [PLATFORM],
    ("platform", "none"): [DEAD_MAN],
}


def amtool(*arguments):
    return subprocess.run([program("amtool"), *arguments], capture_output=True, text=True, check=False)


def config():
    return yaml.safe_load(CONFIG.read_text())


def test_the_configuration_is_valid():
    """As Alertmanager itself reads it."""
    done = amtool("check-config", str(CONFIG))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 inhibit rules" in done.stdout
    assert "4 receivers" in done.stdout


@pytest.mark.parametrize(
    "rule", rules("alert"), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}"
)
def test_every_alert_reaches_who_is_to_act(rule):
    """What is critical goes to the pager as well; what always fires goes to the dead man's switch and nowhere else."""
    labels = rule["labels"] | {"alertname": rule["alert"], "job": "callgauge"}
    expected = RECEIVERS[labels["team"], labels["severity"]]
    done = amtool(
        *("config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={','.join(expected)}"),
        *(f"{name}={value}" for name, value in labels.items()),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == ",".join(expected)


def test_an_alert_of_nobody_reaches_the_supervisors():
    """An alert that a user adds without labels is not lost."""
    done = amtool("config", "routes", "test", f"--config.file={CONFIG}", "alertname=MyOwn")

    assert done.stdout.splitlines()[0] == SUPERVISORS


def test_only_alerts_about_queues_keep_to_the_opening_hours():
    """The processor is reported at any hour."""
    for route in config()["route"]["routes"]:
        about_queues = any('team="supervisors"' in matcher for matcher in route["matchers"])

        assert ("active_time_intervals" in route) == about_queues


def matches(matchers, labels):
    """Say whether Alertmanager would match: amtool does it, in a route made of the matchers."""
    made = {"route": {"receiver": "no", "routes": [{"receiver": "yes", "matchers": matchers}]}}
    made["receivers"] = [{"name": "no"}, {"name": "yes"}]
    return made, [f"{name}={value}" for name, value in labels.items()]


def inhibited(source, target, tmp_path):
    """Say whether the first of two firing rules holds the second back, both in one job and one queue."""
    for inhibit in config()["inhibit_rules"]:
        found = []
        for side, rule in (("source", source), ("target", target)):
            labels = rule["labels"] | {"alertname": rule["alert"]}
            made, pairs = matches(inhibit[f"{side}_matchers"], labels)
            path = tmp_path / "made.yml"
            path.write_text(yaml.safe_dump(made))
            found.append(
                amtool("config", "routes", "test", f"--config.file={path}", *pairs).stdout.split()[0]
            )
        same_name = source["alert"] == target["alert"] or "alertname" not in inhibit["equal"]
        if found == ["yes", "yes"] and same_name:
            return True
    return False


def rule_of(alert, severity):
    (rule,) = [
        rule for rule in rules("alert") if (rule["alert"], rule["labels"]["severity"]) == (alert, severity)
    ]
    return rule


def test_without_a_processor_everything_else_is_held_back(tmp_path):
    """But not the dead man's switch, and not because one of several workers is down."""
    down = rule_of("ContactCentreProcessorDown", "critical")
    one_down = rule_of("ContactCentreProcessorDown", "warning")
    for rule in rules("alert"):
        means_nothing = not rule["alert"].startswith("ContactCentreProcessor") and rule["alert"] != "Watchdog"

        assert inhibited(down, rule, tmp_path) == (means_nothing or rule == one_down), rule["alert"]
    assert not inhibited(one_down, rule_of("ContactCentreQueueNotDraining", "critical"), tmp_path)


def test_old_numbers_hold_back_what_they_would_say_of_queues(tmp_path):
    """What explains why they are old is still reported."""
    stale = rule_of("ContactCentreDataStale", "critical")
    for rule in rules("alert"):
        about_queues = rule["labels"]["team"] == "supervisors" or rule["alert"] == "ContactCentreQueueMissing"

        assert inhibited(stale, rule, tmp_path) == about_queues, rule["alert"]


def test_the_critical_one_of_a_queue_holds_back_its_warning_and_no_other(tmp_path):
    """Equal are name, job and queue: another queue's warning is not held back."""
    critical = rule_of("ContactCentreServiceLevelLow", "critical")

    assert inhibited(critical, rule_of("ContactCentreServiceLevelLow", "warning"), tmp_path)
    assert not inhibited(critical, rule_of("ContactCentreAbandonmentHigh", "warning"), tmp_path)
    assert config()["inhibit_rules"][0]["equal"] == ["alertname", "job", "queue"]
    assert all("job" in inhibit["equal"] for inhibit in config()["inhibit_rules"])


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
def test_outside_the_opening_hours_only_the_platform_is_told(tmp_path, is_open):
    """A real Alertmanager: the second message to the platform proves that there was time for one to the supervisors."""
    stack = start_alertmanager(tmp_path, PACE, is_open=is_open)

    def told(receiver, alert, team):
        where = f"--alertmanager.url={stack.alertmanager}"
        labels = (f"alertname={alert}", f"team={team}", "severity=warning", "job=callgauge")
        assert amtool("alert", "add", where, *labels).returncode == 0
        return lambda: stack.receiver.heard(receiver, alert, "firing")

    try:
        supervisors = told(SUPERVISORS, "Waiting", "supervisors")
        for alert in ("First", "Second"):
            stack.wait_for(f"{alert} is told", told(PLATFORM, alert, "platform"), START_S)
        if is_open:
            stack.wait_for("the supervisors are told", supervisors, START_S)
        else:
            assert supervisors() is None
    finally:
        stack.close()


def test_the_opening_hours_are_those_of_a_zone_with_summer_time():
    """In the local time of the centre, so that they do not move by an hour twice a year."""
    (interval,) = config()["time_intervals"]

    assert interval["name"] == "opening-hours"
    assert {part["location"] for part in interval["time_intervals"]} == {"Europe/Amsterdam"}
