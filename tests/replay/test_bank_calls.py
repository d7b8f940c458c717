"""Fourteen days of a real call centre through the command `replay`: every count exactly, every ratio to 1e-6."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bank import COUNTS, RATIO_TOLERANCE, ROOT, SHORT_ABANDON, convert, expected, needs_bank_calls

pytestmark = needs_bank_calls()

FORMULAS = {
    "answered_only": "service_level_answered_only",
    "abandoned_negative": "service_level_negative",
    "abandoned_ignored": "service_level_ignore",
    "abandoned_positive": "service_level_positive",
}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert the table once."""
    return convert(tmp_path_factory.mktemp("bank") / "bank-calls.jsonl")


def days(events: Path, formula: str, short_abandon: str) -> list[Row]:
    """Replay the events by arrival, in a process of its own, and return the rows of whole days."""
    command = [sys.executable, "-m", "stream", "replay", str(events), "--to", "json", "--by", "arrival"]
    settings = (f"queue_defaults.formula={formula}", f"queue_defaults.short_abandon={short_abandon}")
    done = subprocess.run(
        [*command, *(part for setting in settings for part in ("--set", setting))],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows.pop()["summary"]["late"] == 0
    return [row for row in rows if row["window"] == "day"]


def groups(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Sort rows into those of everything, of each day and of each type of call."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for group in (("all", ""), ("by_day", row["start"][:10]), ("by_type", row["queue"])):
            found.setdefault(group, []).append(row)
    return found


def expected_groups() -> dict[tuple[str, str], Row]:
    """Return the expected results under the names of ``groups``."""
    results = expected()
    named = {(kind, name): row for kind in ("by_day", "by_type") for name, row in results[kind].items()}
    return {("all", ""): results["all"], **named}


def total(rows: list[Row], name: str) -> int:
    """Add up a count."""
    return sum(row[name] for row in rows)


def mean(rows: list[Row], name: str, weight: str) -> float | None:
    """Return the mean of means, by the counts behind them."""
    known = [(row[name], row[weight]) for row in rows if row[name] is not None]
    return sum(value * count for value, count in known) / sum(count for _, count in known) if known else None


def test_every_count_is_that_of_the_table(events: Path) -> None:
    """Fourteen days, six types: 21 groups with six counts each."""
    found = groups(days(events, "abandoned_ignored", SHORT_ABANDON))
    counts = {
        group: {name: total(rows, "queued" if name == "offered" else name) for name in COUNTS}
        for group, rows in found.items()
    }

    assert counts == {group: {name: row[name] for name in COUNTS} for group, row in expected_groups().items()}


def test_every_time_is_that_of_the_table(events: Path) -> None:
    """Speed of answer, time to abandon, longest wait, talk time and abandonment, for all groups."""
    found = groups(days(events, "abandoned_ignored", "0s"))
    for group, row in expected_groups().items():
        rows = found[group]
        for name, weight, theirs in (
            ("answer_speed_s", "answered", "asa_s"),
            ("abandon_time_s", "abandoned", "abandon_time_s"),
            ("talk_s", "answered", "talk_s"),
        ):
            assert mean(rows, name, weight) == pytest.approx(row[theirs], abs=RATIO_TOLERANCE), (group, name)
        assert (
            max(entry["longest_wait_s"] for entry in rows if entry["longest_wait_s"] is not None)
            == row["wait_max_s"]
        )
        ended = total(rows, "answered") + total(rows, "abandoned") + total(rows, "left")
        assert total(rows, "abandoned") / ended == pytest.approx(row["abandonment"], abs=RATIO_TOLERANCE)


@pytest.mark.parametrize(("formula", "theirs"), FORMULAS.items())
def test_the_service_level_is_that_of_the_table_by_every_formula(
    events: Path, formula: str, theirs: str
) -> None:
    """A day of one queue gives the ratio itself; of several, the weighted sum of ratios."""
    found = groups(days(events, formula, "0s"))
    for group, row in expected_groups().items():
        parts = [(entry["service_level"], base(entry, formula)) for entry in found[group]]
        assert all((level is None) == (weight == 0) for level, weight in parts)
        met = sum(level * weight for level, weight in parts if level is not None)
        level = met / sum(weight for _, weight in parts)
        assert level == pytest.approx(row[theirs], abs=RATIO_TOLERANCE), group


def base(row: Row, formula: str) -> int:
    """Return the denominator of a formula where every visit has ended and none left otherwise."""
    if formula == "answered_only":
        return int(row["answered"])
    if formula == "abandoned_ignored":
        return int(row["queued"] - row["abandoned_within_target"])
    return int(row["queued"])
