"""Figures to a table, to Markdown and to JSON: pure, tested on canned numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bench.figures import Ratio, Throughput, ratio_of_cpu, ratio_of_rates

BARE, FAUST = "bare aiokafka loop", "Faust, one event at a time"
FULL_10, FULL_1000 = "full job, 10 queues", "full job, 1,000 queues"
NOTHING_10 = f"{FULL_10}, counting nothing"
SPARSE_10 = f"{FULL_10}, 1 event/s a queue"
REPLAY = "replay"
SCRAPED_10, SCRAPED_1000 = f"{FULL_10}, scraped", f"{FULL_1000}, scraped"
SAVED_10 = f"{FULL_10}, checkpoints"
WATCHED_10 = f"{FULL_10}, 200 pages open"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure has to hold (design, "Numbers to hold"); None: it is only told."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Say whether a figure is within."""
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    @property
    def text(self) -> str:
        """The bound in words."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of the table of ratios: `of` against `to`."""

    what: str
    of: str
    to: str
    by_cpu: bool
    bound: Bound


def undisturbed(variant: str) -> str:
    """Name the turns of a variant in which nothing disturbed it."""
    return f"{variant}: turns without"


def disturbed_turns(variant: str) -> str:
    """Name the other ones."""
    return f"{variant}: turns with"


def _in_turns(what: str, queues: int, variant: str, at_most: float = 1.05) -> tuple[Comparison, Comparison]:
    quiet, disturbed = undisturbed(variant), disturbed_turns(variant)
    what, bound = f"of an event, {what} / none, {queues:,} queues", Bound(at_most=at_most)
    return (
        Comparison(f"time {what}", quiet, disturbed, False, bound),
        Comparison(f"CPU {what}", quiet, disturbed, True, bound),
    )


COMPARISONS = (
    Comparison("full job / Faust, rate", FULL_10, FAUST, False, Bound(at_least=20)),
    Comparison("full job / Faust, events for the same CPU", FULL_10, FAUST, True, Bound()),
    Comparison("full job / bare loop, rate", FULL_10, BARE, False, Bound(at_least=0.6)),
    Comparison("full job / bare loop, events for the same CPU", FULL_10, BARE, True, Bound()),
    Comparison("counting nothing / bare loop, rate", NOTHING_10, BARE, False, Bound()),
    Comparison("counting nothing / bare loop, events for the same CPU", NOTHING_10, BARE, True, Bound()),
    Comparison("replay / full job, rate", REPLAY, FULL_10, False, Bound(at_least=1.0)),
    Comparison("CPU of an event, 1,000 / 10 queues", FULL_10, FULL_1000, True, Bound(at_most=1.3)),
    Comparison(
        "CPU of an event, 1,000 / 10 queues, each with 1 event/s",
        SPARSE_10,
        FULL_1000,
        True,
        Bound(at_most=1.3),
    ),
    Comparison("time of an event, 1,000 / 10 queues", FULL_10, FULL_1000, False, Bound(at_most=1.3)),
    *_in_turns("checkpoints", 10, SAVED_10, 1.1),
    *_in_turns("8 scrapers", 10, SCRAPED_10),
    *_in_turns("8 scrapers", 1_000, SCRAPED_1000),
    *_in_turns("200 pages open", 10, WATCHED_10),
)


@dataclass(frozen=True, slots=True)
class Number:
    """A figure that is no throughput."""

    what: str
    value: float
    unit: str
    bound: Bound = field(default_factory=Bound)
    detail: str = ""


@dataclass(slots=True)
class Results:
    """Everything that was measured in one run."""

    machine: Mapping[str, str]
    command: str
    sizes: Mapping[str, Any]
    load_average: list[float] = field(default_factory=list)
    runs: dict[str, list[Throughput]] = field(default_factory=dict)
    numbers: list[Number] = field(default_factory=list)

    def add(self, variant: str, run: Throughput) -> None:
        """Note a run of a variant."""
        self.runs.setdefault(variant, []).append(run)

    def ratios(self) -> list[tuple[Comparison, Ratio]]:
        """Return every comparison of which both sides were measured."""
        return [
            (comparison, _ratio(comparison, self.runs[comparison.of], self.runs[comparison.to]))
            for comparison in COMPARISONS
            if comparison.of in self.runs and comparison.to in self.runs
        ]

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "machine": dict(self.machine),
            "command": self.command,
            "sizes": dict(self.sizes),
            "load_average": self.load_average,
            "runs": {
                variant: [asdict(run) | {"rate": run.rate, "cpu_us": run.cpu_us} for run in runs]
                for variant, runs in self.runs.items()
            },
            "ratios": [
                {
                    "what": comparison.what,
                    "median": ratio.median,
                    "pairs": list(ratio.pairs),
                    "bound": comparison.bound.text,
                    "holds": comparison.bound.holds(ratio.median),
                }
                for comparison, ratio in self.ratios()
            ],
            "numbers": [
                asdict(number) | {"bound": number.bound.text, "holds": number.bound.holds(number.value)}
                for number in self.numbers
            ],
        }

    def as_markdown(self) -> str:
        """Return it for people; aligned, so that it reads well in a terminal too."""
        parts = [f"# Benchmark of {self.machine.get('date', '')}", f"    {self.command}"]
        if self.runs:
            parts.append(
                _table(("variant", "k events/s", "runs", "CPU us/event", "runs"), self._throughputs())
            )
        if ratios := self.ratios():
            rows = [
                (
                    comparison.what,
                    _digits(ratio.median),
                    " ".join(map(_digits, ratio.pairs)),
                    *_verdict(comparison.bound, ratio.median),
                )
                for comparison, ratio in ratios
            ]
            parts.append(_table(("ratio", "median", "pair by pair", "bound", "holds"), rows))
        if self.numbers:
            numbers = [
                (
                    number.what,
                    f"{_digits(number.value)} {number.unit}",
                    *_verdict(number.bound, number.value),
                    number.detail,
                )
                for number in self.numbers
            ]
            parts.append(_table(("figure", "value", "bound", "holds", ""), numbers))
        facts = dict(self.machine) | {"load average": " ".join(f"{load:.1f}" for load in self.load_average)}
        parts.append(_table(("machine", ""), list(facts.items())))
        return "\n\n".join(parts) + "\n"

    def _throughputs(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for variant, runs in self.runs.items():
            rates, costs = [run.rate / 1_000 for run in runs], [run.cpu_us for run in runs]
            rows.append(
                (
                    variant,
                    _digits(median(rates)),
                    " ".join(map(_digits, rates)),
                    _digits(median(costs)),
                    " ".join(map(_digits, costs)),
                )
            )
        return rows


def _ratio(comparison: Comparison, of: Sequence[Throughput], to: Sequence[Throughput]) -> Ratio:
    return ratio_of_cpu(of, to) if comparison.by_cpu else ratio_of_rates(of, to)


def _verdict(bound: Bound, value: float) -> tuple[str, str]:
    return bound.text, ("" if not bound.text else "yes" if bound.holds(value) else "NO")


def _digits(value: float) -> str:
    """Return three significant digits, and never an exponent."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[index]) for row in (heads, *rows)) for index in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(heads), line(["-" * width for width in widths]), *map(line, rows)])
