"""Change the alert rules in one place at a time, and see whether their tests notice: `make mutate-rules`.

What is changed: every number (one more, one less), comparison (to each other one), span of time (double, half; ranges,
offsets, `for`, `keep_firing_for`), name of a metric or a record, label that selects, and every clause after an `and`
(left out): so also every threshold and every floor. Prints what survives and "caught K of K"; exit code 1 when a change
survives that ALLOWED does not excuse. `--rule TEXT` takes only rules whose name has it.
"""

import argparse
import copy
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tools.rule_tests import RULES, TESTS, needed

AT_ONCE: Final = 2  # promtool takes a core each
_COMPARISONS: Final = (">", ">=", "<", "<=", "==", "!=")
_TOKEN: Final = re.compile(
    r"""\[(?P<range>\w+)\]|offset\ (?P<offset>\w+)
    |(?P<label>\w+="[^"]*")
    |(?P<name>\b(?:job_queue|job):[\w:]+|\b(?:callcenter|callgauge)_\w+|\bup\b)
    |(?P<comparison>>=|<=|==|!=|<|>)
    |(?<![\w:.])(?P<number>\d+)(?![\w:.])""",
    re.VERBOSE,
)
_CLAUSE: Final = re.compile(r"^(?:and|unless) .*\n?", re.MULTILINE)
_SPAN: Final = re.compile(r"(\d+)([smhdw])\Z")
_SMALLER: Final = {"s": ("ms", 1000), "m": ("s", 60), "h": ("m", 60), "d": ("h", 24), "w": ("d", 7)}

_NOT_NEGATIVE: Final = "counts are never negative"
_SWITCH: Final = "it is 0 or 1"
# (rule, changed line): why no test can notice. Anything else that survives is a missing test.
ALLOWED: Final[dict[tuple[str, str], str]] = {
    (f"ContactCentre{rule}", line): reason
    for rule, line, reason in (
        ("LongestWaitHigh warning", "and job_queue:callcenter_contacts_waiting:last != 0", _NOT_NEGATIVE),
        ("QueueNotDraining critical", "job_queue:callcenter_contacts_waiting:last != 0", _NOT_NEGATIVE),
        ("QueueNotDraining critical", "and job_queue:callcenter_window_answered:last5m <= 0", _NOT_NEGATIVE),
        ("ContactsBlocked critical", "and job_queue:callcenter_queue_open:last >= 1", _SWITCH),
        ("QueueSilent warning", "job_queue:callcenter_window_queued:last30m <= 0", _NOT_NEGATIVE),
        ("QueueSilent warning", "and job_queue:callcenter_queue_open:last >= 1", _SWITCH),
        (
            "QueueSilent warning",
            "and max_over_time(job_queue:callcenter_window_queued:last30m[3d]) != 0",
            _NOT_NEGATIVE,
        ),
        ("ProcessorDown critical", 'max by (job) (up{job="callgauge"}) <= 0', _SWITCH),
        ("ProcessorDown warning", 'up{job="callgauge"} <= 0', _SWITCH),
        ("ProcessorNotReady critical", 'max by (job) (callgauge_ready{job="callgauge"}) <= 0', _SWITCH),
        (
            "ExportedTwice warning",
            'count by (job, queue) (callcenter_contacts_waiting{job="callgauge"}) != 1',
            "what is counted is there at least once",
        ),
    )
} | {
    ("Watchdog none", f"vector({number})"): "an alert fires whatever the value is" for number in ("2", "(0)")
}


@dataclass(frozen=True)
class Mutant:
    """One change of one rule."""

    index: int  # of the rule in its group
    rule: str
    change: str  # the changed line
    mutated: dict[str, Any]


def mutants(rules: list[dict[str, Any]]) -> Iterator[Mutant]:
    """Yield every change of every rule."""
    for index, rule in enumerate(rules):
        name = rule.get("record") or f"{rule['alert']} {rule['labels']['severity']}"
        for change, expr in _expressions(rule["expr"]):
            yield Mutant(index, name, change, {**rule, "expr": expr})
        for key in ("for", "keep_firing_for"):
            for span in _spans(rule.get(key, "")):
                yield Mutant(index, name, f"{key}: {rule[key]} -> {span}", {**rule, key: span})


def _expressions(expr: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(expr):
        kind = found.lastgroup or ""
        token = found[kind]
        begin, end = found.span(kind)
        for other in _others(kind, token):
            changed = expr[:begin] + other + expr[end:]
            yield _line(changed, begin), changed
    for found in _CLAUSE.finditer(expr):
        yield f"without: {found[0].strip()}", expr[: found.start()] + expr[found.end() :]


def _line(text: str, at: int) -> str:
    """Return the line at a place, without its indentation."""
    return text[text.rfind("\n", 0, at) + 1 :].partition("\n")[0].strip()


def _others(kind: str, token: str) -> list[str]:
    if kind in {"range", "offset"}:
        return _spans(token)
    if kind == "label":
        label, value = token.split("=")
        return [f'{label}={value[:-1]}0"', f'{label}!=""']
    if kind == "name":
        return [f"{token}_x"]
    if kind == "comparison":
        return [other for other in _COMPARISONS if other != token]
    return [str(int(token) + 1), f"({int(token) - 1})"]


def _spans(span: str) -> list[str]:
    found = _SPAN.match(span)
    if found is None:
        return []
    count, unit = int(found[1]), found[2]
    smaller, times = _SMALLER[unit]
    return [f"{2 * count}{unit}", f"{count * times // 2}{smaller}"]


def caught(mutant: Mutant, rules: list[dict[str, Any]]) -> bool:
    """Say whether a test fails under the change."""
    changed = copy.deepcopy(rules)
    changed[mutant.index] = mutant.mutated
    if "alert" in mutant.mutated:
        alerts = [mutant.mutated["alert"]]
    else:
        if _fails(changed, "records*.yml"):
            return True
        name = mutant.mutated["record"]
        users = [rule["alert"] for rule in rules if "alert" in rule]
        alerts = sorted(
            {alert for alert in users if any(rule.get("record") == name for rule in needed(rules, alert))}
        )
    return any(_fails(needed(changed, alert), f"{alert}*.yml") for alert in alerts)


def _fails(rules: list[dict[str, Any]], pattern: str) -> bool:
    paths = sorted(TESTS.glob(pattern), key=lambda path: path.stat().st_size)
    return any(outcome(rules, path).returncode for path in paths)


def outcome(rules: list[dict[str, Any]], tests: Path) -> subprocess.CompletedProcess[str]:
    """Put rules to a file of tests; ValueError when Prometheus would not take them for rules."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "rules").mkdir()
        (root / "tests").mkdir()
        text = yaml.safe_dump({"groups": [{"name": "callgauge", "rules": rules}]}, sort_keys=False)
        (root / "rules" / RULES.name).write_text(text)
        shutil.copy(tests, root / "tests")
        done = _promtool("test", "rules", str(root / "tests" / tests.name))
        if done.returncode:
            checked = _promtool("check", "rules", str(root / "rules" / RULES.name))
            if checked.returncode:
                raise ValueError(f"this is no rule any more: {checked.stderr}")
        return done


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def main() -> int:
    """Try every change; print what survives and how many were caught."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rule", default="", help="only rules whose name contains this")
    only = parser.parse_args().rule
    if shutil.which("promtool") is None:
        print("mutate_rules: promtool is missing; install Debian's package prometheus", file=sys.stderr)
        return 2
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    rules = group["rules"]
    tried = [mutant for mutant in mutants(rules) if only in mutant.rule]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda mutant: caught(mutant, rules), tried))
    survivors = [mutant for mutant, noticed in zip(tried, results, strict=True) if not noticed]
    excused = {(m.rule, m.change) for m in survivors if (m.rule, m.change) in ALLOWED}
    for mutant in survivors:
        reason = ALLOWED.get((mutant.rule, mutant.change), "")
        print(
            f"{'allowed ' if reason else 'SURVIVED'} {mutant.rule}: {mutant.change}",
            f"({reason})" * bool(reason),
        )
    stale = {} if only else ALLOWED.keys() - excused
    for rule, change in stale:
        print(f"CAUGHT, so need not be allowed  {rule}: {change}")
    missed = len(survivors) - len(excused)
    count = len(tried) - len(excused)
    print(
        f"caught {count - missed} of {count} changes of {len(rules)} rules; {len(excused)} cannot be noticed"
    )
    return int(bool(missed or stale))


if __name__ == "__main__":
    sys.exit(main())
