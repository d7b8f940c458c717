"""`callgauge backtest` from end to end: a real Prometheus, and what Python makes of the same made-up samples."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from schemas import Rejected, decode
from stream.backtest import evaluate, prometheus
from stream.backtest.states import Span, episodes
from stream.cli import main
from stream.commands.backtest import SWEEP_VALUES_MAX
from stream.replay import RecordFeed, Replay, Sampler, read_lines
from stream.settings import board_rules, load
from tests.machine import program
from tests.replay.history import logs

STEP_MS = 30_000
ROOT = Path(__file__).parents[2]
RULES = """
groups:
  - name: a group that asks for what comes later
    rules:
      - alert: Waiting
        expr: queue:waiting:max > 0
        for: 1m
        keep_firing_for: 2m
        labels: {severity: warning, of: "{{ $labels.queue }}"}
  - name: z
    interval: 1m
    rules:
      - alert: Busy
        expr: callcenter_window_queued{window="30m"} >= on () group_left () callgauge_alert_contacts_min
        labels: {severity: critical}
  - name: records
    rules:
      - record: queue:waiting:max
        expr: max by (queue) (callcenter_contacts_waiting{job="callgauge"} > 0)
"""


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """Work in a directory with rules and three hours of history; without a Prometheus skip, in CI fail."""
    program("prometheus")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CALLGAUGE_")]:
        monkeypatch.delenv(name)
    values = [record.value for log in logs(5, calls=120) for record in log]
    Path("e.jsonl").write_bytes(b"\n".join(sorted(values, key=time_of)) + b"\n")
    Path("rules.yml").write_text(RULES)
    return tmp_path


def time_of(value):
    """Return when an event happened; what is no event comes first."""
    event = decode(value)
    return 0 if isinstance(event, Rejected) else event.at


def run(capsys, *options, code=0):
    """Run the command in this process; return what it printed, and the lines on stderr."""
    assert main(["backtest", "rules.yml", "e.jsonl", *options]) == code, capsys.readouterr().err
    out, err = capsys.readouterr()
    return (json.loads(out) if "--json" in options else out), err


def expected(metric, is_true, interval_ms, hold_ms, keep_ms):
    """Return (queue, pending, firing, resolved) by Python alone, from the samples of a replay."""
    settings = load(None, {}).settings
    feed = RecordFeed(read_lines("e.jsonl"))
    replay = Replay([feed], board_rules(settings), step_ms=STEP_MS)
    sampler, steps, points = Sampler("callgauge", "replay", settings.alerts), [], {}
    for moment in replay.moments():
        steps.append(moment.at_ms)
        if (moment.at_ms - steps[0]) % interval_ms:
            continue
        for series, value in sampler.take(replay.snapshot()):
            labels = dict(series.labels)
            if series.name == metric and labels.get("window", "30m") == "30m" and is_true(value):
                points.setdefault(labels["queue"], []).append((moment.at_ms, value))
    span = Span(steps[0], steps[-1], interval_ms)
    return sorted(
        (queue, found.pending_ms, found.firing_ms, found.end_ms, found.value, found.value_max)
        for queue, each in points.items()
        for found in episodes(span, each, hold_ms, keep_ms)
    )


def found_of(result, name):
    """Return the same from what the command printed."""
    return sorted(
        (
            alert["labels"]["queue"],
            *(ms(alert[moment]) for moment in ("pending", "firing", "resolved")),
            alert["value"],
            alert["value_max"],
        )
        for alert in result["alerts"]
        if alert["alert"] == name
    )


def ms(text):
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1_000)


def test_every_alert_is_that_of_the_samples(capsys, monkeypatch):
    """Through recording rules in any order, in many chunks, with hostile names of queues."""
    monkeypatch.setattr(evaluate, "POINTS_MAX", 50)
    result, err = run(capsys, "--json", "--html", "page.html", "--set", "alerts.contacts_min=8")
    waiting = expected("callcenter_contacts_waiting", lambda value: value > 0, STEP_MS, 60_000, 120_000)
    busy = expected("callcenter_window_queued", lambda value: value >= 8, 60_000, 0, 0)

    assert found_of(result, "Waiting") == waiting
    assert found_of(result, "Busy") == busy
    assert sum(firing is not None for _, _, firing, *_ in waiting) > 1
    assert sum(firing is None for _, _, firing, *_ in waiting) > 1
    assert len(busy) > 1
    assert all(
        alert["labels"]["of"] == alert["labels"]["queue"]
        for alert in result["alerts"]
        if "of" in alert["labels"]
    )
    assert (
        result["pages"]
        == sum(rule["pages"] for rule in result["rules"])
        == sum(alert["firing"] is not None for alert in result["alerts"])
    )
    assert (err, Path("page.html").read_text(encoding="utf-8").count("odd &quot;queue&quot;") > 1) == (
        "",
        True,
    )
    assert not Path("page.html.part").exists()


def test_incidents_give_precision_recall_and_delay(capsys):
    """Marked by the alerts themselves: one that is met, one in another queue, one after the history."""
    result, _ = run(capsys, "--json", "--only", "alertname=Waiting")
    page = next(alert for alert in result["alerts"] if alert["firing"] is not None)
    queue = page["labels"]["queue"]
    incidents = [
        {"start": page["pending"], "end": page["resolved"], "queue": queue, "name": "met"},
        {"start": page["pending"], "end": page["resolved"], "queue": "nobody's", "name": "missed"},
        {"start": "2030-01-01T00:00:00Z", "end": "2030-01-01T01:00:00Z", "name": "later"},
    ]
    Path("incidents.jsonl").write_text("".join(json.dumps(incident) + "\n" for incident in incidents))
    compared, err = run(capsys, "--json", "--only", "alertname=Waiting", "--incidents", "incidents.jsonl")

    assert err == "1 incidents are outside of the history and are not counted\n"
    assert compared["incidents"]["incidents"] == 2
    assert (compared["incidents"]["detected"], compared["incidents"]["recall"]) == (1, 0.5)
    assert compared["incidents"]["delay_max_s"] == (ms(page["firing"]) - ms(page["pending"])) / 1_000 >= 60
    assert (
        compared["incidents"]["true_pages"]
        == sum("met" in alert["incidents"] for alert in compared["alerts"])
        == 1
    )
    assert compared["incidents"]["precision"] == pytest.approx(1 / compared["pages"])


def test_a_sweep_has_a_line_for_every_value(capsys):
    """Of a threshold that is exported, and of `for`; each is what a run of its own gives."""
    swept, _ = run(capsys, "--json", "--sweep", "alerts.contacts_min=8,10000", "--only", "alertname=Busy")
    alone, _ = run(capsys, "--json", "--set", "alerts.contacts_min=8", "--only", "alertname=Busy")
    assert [line["alerts.contacts_min"] for line in swept] == ["8", "10000"]
    assert [line["pages"] for line in swept] == [alone["pages"], 0]
    assert alone["pages"] > 1

    held, _ = run(capsys, "--json", "--sweep", "Waiting.for=0s,1m,1h", "--only", "alertname=Waiting")
    as_is, _ = run(capsys, "--json", "--only", "alertname=Waiting")
    pages = [line["pages"] for line in held]
    assert (pages[1], pages[2]) == (as_is["pages"], 0)
    assert pages[0] == len(
        expected("callcenter_contacts_waiting", lambda value: value > 0, STEP_MS, 0, 120_000)
    )


def test_tables_are_for_people(capsys):
    """The numbers, every alert, and brackets that are brackets."""
    out, _ = run(capsys)
    assert "severity=warning" in out
    assert "of={{ $labels.queue }}" in out
    assert 'queue=odd "queue"\\' in out
    out, _ = run(capsys, "--sweep", "Busy.for=0s,1h")
    assert out.splitlines()[0].split()[:3] == ["Busy.for", "pages", "a"]
    assert len(out.splitlines()) == 3


def test_a_machine_without_prometheus_is_told_what_to_install(capsys, monkeypatch):
    """One line, exit code 1."""
    monkeypatch.setattr(prometheus, "PROGRAM", "prometheus-that-is-not-there")
    _, err = run(capsys, code=1)

    assert err.startswith("callgauge: prometheus is not installed")
    assert "apt-get install prometheus" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            "groups:\n- name: a\n  rules:\n  - alert: X\n    expr: up ==\n",
            'rules.yml: 5:11: group "a", rule 1, "X": could',
        ),
        (
            "groups:\n- name: a\n  rules:\n  - alert: X\n    expr: up\n    xpr: 3\n",
            "rules.yml: yaml: unmarshal errors: line 6",
        ),
        ("groups: [\n", "rules.yml: yaml: line"),
        ("groups: []\n", "rules.yml has no alert; "),
    ],
)
def test_bad_rules_are_named_as_prometheus_names_them(capsys, rules, said):
    """One line with file and line, exit code 2; nothing is replayed."""
    Path("rules.yml").write_text(rules)
    _, err = run(capsys, code=2)

    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--only", "severity"], 2, "--only 'severity' is no label"),
        (
            ["--only", "alertname=Nope"],
            2,
            "rules.yml has no alert with alertname=Nope; its alerts are Waiting, Busy",
        ),
        (["--step", "1h"], 2, "--step 1h is out of bounds"),
        (["--sweep", "x"], 2, "--sweep 'x' is no list of values"),
        (["--sweep", "Wating.for=1m"], 2, "there is no alert Wating among those looked at, Waiting, Busy"),
        (["--sweep", "Waiting.for=1"], 2, "--sweep Waiting.for '1' needs a unit"),
        (
            ["--sweep", "alerts.contacts_mn=1"],
            2,
            "--sweep alerts.contacts_mn is no known key; the nearest is",
        ),
        (["--sweep", "alerts.contacts_min=1", "--html", "p"], 2, "--html shows one back-test"),
        (["--html", "none/p"], 2, "--html none/p: there is no directory none"),
        (["--incidents", "none"], 2, "none cannot be read: no such file"),
    ],
)
def test_wrong_usage_is_one_line(capsys, options, code, said):
    """And what to write instead; exit code 2."""
    _, err = run(capsys, *options, code=code)

    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_values_of_a_sweep_are_bounded(capsys, over):
    """Each may be a replay of everything."""
    values = ",".join(f"{number}m" for number in range(SWEEP_VALUES_MAX + over))
    _, err = run(
        capsys, "--sweep", f"Waiting.for={values}", "--only", "alertname=Waiting", code=0 if over <= 0 else 2
    )

    assert ("at most 50 are tested at once" in err) == (over > 0)


def test_history_that_cannot_be_tested_is_said(capsys):
    """Nothing in it, or cut off in the middle."""
    Path("e.jsonl").write_bytes(b"no event\n")
    assert "e.jsonl: has no event that can be replayed" in run(capsys, code=1)[1]
    Path("e.jsonl").write_bytes(b"\x1f\x8b\x08\x00cut off")
    assert "e.jsonl: line 1: the gzip data is cut off or damaged" in run(capsys, code=1)[1]


def test_what_prometheus_cannot_evaluate_names_the_rule(capsys):
    """Prometheus would log it at every evaluation and never fire."""
    Path("rules.yml").write_text(
        "groups:\n- name: a\n  rules:\n  - alert: Many\n"
        "    expr: callcenter_window_queued > on () callcenter_window_queued\n"
    )
    _, err = run(capsys, code=1)
    assert "Many cannot be evaluated over this history: " in err
    assert "many-to-many" in err or "duplicate series" in err

    Path("rules.yml").write_text(
        "groups:\n- name: a\n  rules:\n  - alert: Same\n"
        "    expr: callcenter_window_queued > -1\n    labels: {queue: x, window: y}\n"
    )
    assert "Same: two series are one alert" in run(capsys, code=1)[1]


def test_nothing_is_left_of_the_prometheus(capsys, tmp_path, monkeypatch):
    """No directory, whether it went well or not; the process ended with it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    run(capsys, "--only", "alertname=Busy")
    Path("e.jsonl").write_bytes(b"")
    run(capsys, code=1)

    assert list(temporary.iterdir()) == []


def test_one_that_is_ended_leaves_nothing(tmp_path):
    """By SIGTERM, while it waits for events and its Prometheus runs: one line, exit code 1, no directory."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "stream", "backtest", "rules.yml", "-"]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        # the first one reads the rules; the second one is there for the history
        seen = set()
        while len(seen) < 2 and process.poll() is None:
            seen |= set(temporary.iterdir())
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)

    assert (process.returncode, err) == (1, b"callgauge: interrupted\n")
    assert list(temporary.iterdir()) == []
