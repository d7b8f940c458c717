"""The tests of the alert rules, for `promtool test rules`: a healthy centre, and what differs from it in each case.

`python -m tools.rule_tests` writes them to grafana/prometheus/tests; a test fails when those differ. A case names the
alert it is about; what the alert should say is taken from the rules, but for the description, which stands here.
"""

import functools
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
RULES: Final = ROOT / "grafana/prometheus/rules/callgauge.yml"
TESTS: Final = ROOT / "grafana/prometheus/tests"
JOB: Final = "callgauge"
STEP_S: Final = 30  # half of the shortest span in the rules: both sides of it can be seen
END_S: Final = 40 * 60
WEEK_STEP_S: Final = 1_800  # a week at the other step is 20,000 evaluations of every rule
_HEADER: Final = "# Made by `make generate` from tools/rule_tests.py; run it with promtool test rules FILE.\n"

Values = str | float | list[tuple[float | str | None, float]]
Firing = tuple[str, Mapping[str, str], str]  # severity, labels beyond the rule's own, description


def minutes(count: float) -> int:
    """Return seconds."""
    return round(count * 60)


def series(name: str, **labels: str) -> str:
    """Write a series of this job as a selector; from the worker w1 unless another is named."""
    labels = {"job": JOB, "instance": "w1"} | labels
    text = ", ".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{text}}}"


def notation(values: Values, step_s: int, end_s: int) -> str:
    """Write values as promtool reads them: one for all, promtool's own text, or (value, until second) pairs.

    None is a missing sample; "stale" ends the series as a failed scrape does.
    """
    if isinstance(values, str):
        return values
    if not isinstance(values, list):
        values = [(values, end_s + step_s)]
    parts, at = [], 0
    for value, until_s in values:
        count = int(until_s // step_s) - at
        at += count
        if value is None:
            parts.append(f"_x{count}")
        elif value == "stale":
            parts.append(f"stale _x{count - 1}" if count > 1 else "stale")
        else:
            parts.append(f"{value}x{count - 1}")
    return " ".join(parts)


def clock(behind_s: float, step_s: int, end_s: int) -> str:
    """Return a time stamp that runs with the clock, so far behind it."""
    return f"{-behind_s}+{step_s}x{end_s // step_s}"


def queue_series(queue: str = "sales", instance: str = "w1") -> dict[str, Values]:
    """Return a queue in good order, as one worker exports it. Both windows have every figure, each another value."""
    rows: dict[tuple[str, str], Values] = {
        ("callcenter_service_level_ratio", "5m"): 0.9,
        ("callcenter_service_level_ratio", "30m"): 0.91,
        ("callcenter_window_service_level_base", "5m"): 17,
        ("callcenter_window_service_level_base", "30m"): 100,
        ("callcenter_window_service_level_met", "5m"): 16,
        ("callcenter_window_service_level_met", "30m"): 91,
        ("callcenter_window_queued", "5m"): 18,
        ("callcenter_window_queued", "30m"): 100,
        ("callcenter_window_answered", "5m"): 15,
        ("callcenter_window_answered", "30m"): 90,
        ("callcenter_window_abandoned", "5m"): 1,
        ("callcenter_window_abandoned", "30m"): 2,
        ("callcenter_abandonment_ratio", "5m"): 0.03,
        ("callcenter_abandonment_ratio", "30m"): 0.02,
        ("callcenter_blocked_ratio", "5m"): 0,
        ("callcenter_blocked_ratio", "30m"): 0,
        ("callcenter_window_blocked", "5m"): 0,
        ("callcenter_window_blocked", "30m"): 0,
        ("callcenter_contacts_waiting", ""): 2,
        ("callcenter_oldest_waiting_timestamp_seconds", ""): clock(10, STEP_S, END_S),
        ("callcenter_service_level_objective_ratio", ""): 0.8,
        ("callcenter_abandonment_limit_ratio", ""): 0.05,
        ("callcenter_wait_limit_seconds", ""): 300,
        ("callcenter_queue_open", ""): 1,
    }
    # a longer window with figures that no rule may take for those of a shorter one
    decoys: dict[tuple[str, str], Values] = {
        (name, "day"): 0.99 if name.endswith("ratio") else 9000 - 100 * name.endswith("met")
        for name, window in rows
        if window == "30m"
    }
    labels = {"queue": queue, "instance": instance}
    return {
        series(name, **labels, **({"window": window} if window else {})): values
        for (name, window), values in (rows | decoys).items()
    }


def worker_series(instance: str = "w1") -> dict[str, Values]:
    """Return a worker in good order."""
    rows: dict[tuple[str, tuple[tuple[str, str], ...]], Values] = {
        ("up", ()): 1,
        ("callgauge_ready", ()): 1,
        ("callgauge_alert_critical_share_ratio", ()): 0.75,
        ("callgauge_alert_contacts_min", ()): 20,
        ("callgauge_alert_failures_min", ()): 5,
        ("callgauge_alert_blocked_limit_ratio", ()): 0.01,
        ("callgauge_alert_stale_limit_seconds", ()): 120,
        ("callgauge_alert_lag_limit_records", ()): 1000,
        ("callgauge_alert_rejected_limit_ratio", ()): 0.01,
        ("callgauge_alert_checkpoint_age_limit_seconds", ()): 600,
        ("callgauge_data_timestamp_seconds", ()): clock(1, STEP_S, END_S),
        ("callgauge_last_event_timestamp_seconds", ()): clock(1, STEP_S, END_S),
        ("callgauge_checkpoint_timestamp_seconds", (("partition", "0"),)): clock(2, STEP_S, END_S),
        ("callgauge_lag_records", (("partition", "0"), ("topic", "call-events"))): 0,
        ("callgauge_events_total", (("event", "queued"),)): "100+50x80",
        ("callgauge_events_total", (("event", "answered"),)): "90+40x80",
        ("callgauge_events_rejected_total", (("reason", "not_json"),)): 0,
        ("callgauge_events_late_total", ()): 0,
    }
    return {
        series(name, instance=instance, **dict(labels)): values for (name, labels), values in rows.items()
    }


def healthy() -> dict[str, Values]:
    """Return a centre of one queue and one worker, all well."""
    return worker_series() | queue_series()


@dataclass
class Case:
    """One course of events, and what an alert says at some moments of it (seconds: what fires then)."""

    name: str
    alert: str
    changes: Mapping[str, Values | None]  # over the healthy centre; None takes a series out
    at: Mapping[int, list[Firing]] = field(default_factory=dict)
    extra: Mapping[str, Values] = field(default_factory=dict)  # beside the healthy centre
    world: Mapping[str, Values] = field(default_factory=healthy)
    step_s: int = STEP_S
    end_s: int = END_S
    records: Iterable[tuple[int, str, float | None]] = ()  # (second, expression, value; None: nothing)

    @property
    def fires(self) -> bool:
        """Say whether the alert fires at any moment."""
        return any(self.at.values())


def rendered(case: Case, alerts: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the case as promtool has it."""
    if misspelt := set(case.changes) - set(case.world):
        raise KeyError(f"{case.name}: the healthy centre has no {misspelt}")
    used = " ".join(rule["expr"] for rule in needed([*rules("record"), *rules("alert")], case.alert))
    world = {
        name: values
        for name, values in {**case.world, **case.changes, **case.extra}.items()
        if values is not None and re.search(rf"\b{name.partition('{')[0]}\b", used)
    }
    group: dict[str, Any] = {
        "name": f"{case.alert}: {case.name}" if case.alert else case.name,
        "interval": f"{case.step_s}s",
        "input_series": [
            {"series": name, "values": notation(values, case.step_s, case.end_s)}
            for name, values in world.items()
        ],
    }
    if case.alert:
        group["alert_rule_test"] = [
            {
                "eval_time": f"{at_s}s",
                "alertname": case.alert,
                "exp_alerts": [_expected(alerts[case.alert, firing[0]], firing) for firing in firings],
            }
            for at_s, firings in case.at.items()
        ]
    if case.records:
        group["promql_expr_test"] = [
            {
                "expr": expression,
                "eval_time": f"{at_s}s",
                "exp_samples": [] if value is None else [{"labels": _labels(expression), "value": value}],
            }
            for at_s, expression, value in case.records
        ]
    return group


def _labels(expression: str) -> str:
    return f'{expression}{{job="{JOB}"}}' if expression.startswith("job:") else "{}"


def _expected(rule: Mapping[str, Any], firing: Firing) -> dict[str, Any]:
    _, labels, description = firing
    annotations = rule["annotations"] | {"description": description}
    return {"exp_labels": rule["labels"] | dict(labels), "exp_annotations": annotations}


@functools.cache
def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules that are an "alert" or a "record"."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for rule in group["rules"] if kind in rule]


def needed(rules: list[dict[str, Any]], alert: str) -> list[dict[str, Any]]:
    """Return an alert's rules and the records they use, in their order; all rules for no alert."""
    if not alert:
        return rules
    wanted = {alert}
    for rule in reversed(rules):  # a record stands before whatever uses it
        if (rule.get("record") or rule["alert"]) in wanted:
            wanted |= set(re.findall(r"\b(?:job_queue|job):[\w:]+", rule["expr"]))
    return [rule for rule in rules if (rule.get("record") or rule["alert"]) in wanted]


def files() -> dict[str, str]:
    """Return the test files by name: one an alert, one for what holds for all of them."""
    from tools.rule_cases import CASES  # noqa: PLC0415 - it needs the names above

    alerts = {(rule["alert"], rule["labels"]["severity"]): rule for rule in rules("alert")}
    by_file: dict[tuple[str, int], list[Case]] = {}
    for case in CASES:
        by_file.setdefault((case.alert or "records", case.step_s), []).append(case)
    made = {}
    for (name, step_s), cases in by_file.items():
        content = {
            "rule_files": [f"../rules/{RULES.name}"],
            "evaluation_interval": f"{step_s}s",
            "tests": [rendered(case, alerts) for case in cases],
        }
        text = yaml.safe_dump(content, sort_keys=False, width=200, allow_unicode=True)
        made[f"{name}{'' if step_s == STEP_S else f'.{step_s}s'}.yml"] = _HEADER + text
    return made


def main() -> int:
    """Write the files, and remove those that are no more."""
    TESTS.mkdir(exist_ok=True)
    made = files()
    for path in TESTS.glob("*.yml"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (TESTS / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
