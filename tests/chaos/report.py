"""The figures, as docs/reliability.md has them."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.faults import (
    CLOCK,
    CRASH,
    CUT,
    DISK,
    FREEZE,
    HALF_OPEN,
    KILL,
    SCALE,
    SLOW,
    STOP,
    TWIN,
    ZOMBIE,
)
from tests.chaos.run import Account

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- chaos: figures -->", "<!-- end -->"
ORDER = (KILL, ZOMBIE, SCALE, TWIN, CLOCK, STOP, CRASH, FREEZE, DISK, CUT, HALF_OPEN, SLOW)
RECORDS = {
    "duplicate": "records sent twice",
    "late": "events later than the grace",
    "rejected": "poison records",
    "future": "of these: dated 2099, or in nanoseconds",
}


def percentile(spans: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile."""
    return sorted(spans)[max(0, math.ceil(share * len(spans)) - 1)]


def table(account: Account) -> list[str]:
    """Return the lines of the table of faults, and the sentence above it."""
    drained = "not measured" if account.drained_s is None else f"{account.drained_s:.1f} s"
    above = (
        f"Seed {account.seed}, {account.seconds // 60} min {account.seconds % 60} s: {account.records:,} records in the"
        f" topic, {account.windows:,} windows and {account.values:,} values compared,"
        f" **{len(account.differences)} differing**; {len(account.violations)} other failures;"
        f" {len(account.ended)} workers ended by themselves and were started again;"
        f" {drained} from the last record until all had caught up."
    )
    lines = [
        above,
        "",
        "| fault | times | recovery p50 | p99 |",
        "|---|---|---|---|",
    ]
    for kind in (kind for kind in ORDER if kind in account.happened):
        spans = account.recovery_s.get(kind, [])
        times = [f"{percentile(spans, share):.1f} s" if spans else "" for share in (0.5, 0.99)]
        lines.append(f"| {kind} | {account.happened[kind]} | {times[0]} | {times[1]} |")
    lines += [f"| {text} | {account.outcomes.get(name, 0):,} | | |" for name, text in RECORDS.items()]
    return lines


def naive_table(counted: Mapping[str, Any]) -> list[str]:
    """Return the lines about the ordinary table."""
    lines = [
        "| an ordinary Faust table under `kill -9` | kills | events in the topic | counted | off by |",
        "|---|---|---|---|---|",
    ]
    for one in counted["runs"]:
        off = (one["counted"] - one["sent"]) / one["sent"]
        lines.append(
            f"| seed {one['seed']} | {one['kills']} | {one['sent']:,} | {one['counted']:,} | **{off:+.1%}** |"
        )
    return lines


def write(accounts: Sequence[Account], counted: Mapping[str, Any]) -> None:
    """Put the figures between their marks on the page."""
    text = PAGE.read_text()
    if BEGIN not in text:
        sys.exit(f"{PAGE} has no line {BEGIN}")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = [*(table(account) for account in accounts), naive_table(counted)]
    figures = "\n\n".join("\n".join(lines) for lines in tables)
    PAGE.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}")
