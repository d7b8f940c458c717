"""The dashboard Replay over real history, written by `callgauge replay` into a Prometheus as compose starts it."""

import json
from datetime import datetime
from operator import itemgetter

import pytest

from stream.cli import main
from stream.core.labels import safe_label
from tests.compose.stack import ROOT
from tests.dashboards.boards import filled, targets
from tests.replay.history import START_MS, logs
from tests.replay.prometheus import running

DAYS = 2
DAY_MS = 86_400_000
VALUES = {"queue": ".+", "__rate_interval": "4m"}


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Give JSON lines of some hours on each of two days."""
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    events = []
    for day in range(DAYS):
        for record in (record for log in logs(day, calls=60) for record in log if record.value != b"{"):
            event = json.loads(record.value)
            events.append(event | {"call_id": f"{day}-{event['call_id']}", "at": event["at"] + day * DAY_MS})
    events.sort(key=itemgetter("at"))
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


@pytest.fixture(scope="module")
def prometheus(history, tmp_path_factory):
    """Lend one with the shipped configuration, filled by the documented command; the later day first."""
    folder = tmp_path_factory.mktemp("prometheus")
    lines = history.read_bytes().splitlines(keepends=True)
    later = folder / "later.jsonl"
    later.write_bytes(b"".join(line for line in lines if b'"1-call' in line))
    config = (ROOT / "grafana/prometheus/prometheus-replay.yml").read_text()
    with running(folder, config) as server:
        for source, job in ((later, "another"), (history, "callgauge")):
            state = folder / f"{job}.json"
            written = ["replay", str(source), "--to", "remote-write", "--out", server.write_url]
            assert main([*written, "--job", job, "--state", str(state)]) == 0
        yield server


@pytest.fixture(scope="module")
def rows(history, tmp_path_factory):
    """Return the days of the same history, by day and queue."""
    out = tmp_path_factory.mktemp("rows") / "rows.json"
    assert main(["replay", str(history), "--to", "json", "--out", str(out)]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    return {(row["end"], row["queue"]): row for row in found if row.get("window") == "day"}


def shown(prometheus, title, legend, at_ms):
    """Return what the queries of a panel give at a moment, by queue."""
    (target,) = (
        one
        for one in targets()
        if (one.board, one.panel["title"], one.query.get("legendFormat")) == ("replay", title, legend)
    )
    found = prometheus.get("query", query=filled(target.expr, VALUES), time=at_ms / 1_000)["result"]
    return {one["metric"].get("queue"): float(one["value"][1]) for one in found}


def test_every_query_of_the_board_has_a_result_over_history(prometheus):
    """At the end of the first day, or in its middle for what is told by rates."""
    asked = [one for one in targets() if one.board == "replay"]
    assert len(asked) >= 13

    for target in asked:
        at_ms = START_MS + 3_600_000 if "rate" in str(target.expr) or "up{" in target.expr else midnight(0)
        found = prometheus.get("query", query=filled(target.expr, VALUES), time=at_ms / 1_000)["result"]
        assert found or "rejected" in target.expr, str(target)


def midnight(day):
    """Return the end of a day of the history."""
    return (START_MS // DAY_MS + 1 + day) * DAY_MS


def test_the_figures_of_a_day_are_those_of_its_row(prometheus, rows):
    """Counts, service level and abandonment of each queue; in a store that had later samples before."""
    assert len(rows) == DAYS * 3
    for (end, queue), row in rows.items():
        at_ms = int(datetime.fromisoformat(end).timestamp() * 1_000)
        level = shown(prometheus, "Service level of each day, by queue", "{{queue}}", at_ms)
        gone = shown(prometheus, "Abandonment of each day, by queue", "{{queue}}", at_ms)
        assert level[safe_label(queue)] == pytest.approx(row["service_level"])
        assert gone[safe_label(queue)] == pytest.approx(row["abandonment"])
    for end in {end for end, _ in rows}:
        at_ms = int(datetime.fromisoformat(end).timestamp() * 1_000)
        for name in ("answered", "abandoned"):
            total = sum(row[name] for (other, _), row in rows.items() if other == end)
            assert shown(prometheus, "Contacts of each day", name, at_ms) == {None: total}
