"""The committed dashboards as tests see them, and what Grafana would send to Prometheus for them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "grafana" / "dashboards"
NAMES = ("wall", "queues", "shift", "processor", "replay")
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
# Of Grafana itself: a span of at least four scrapes.
BUILT_IN = {"__rate_interval"}


@dataclass(frozen=True)
class Target:
    """One query of one panel of one dashboard."""

    board: str
    panel: dict[str, Any]
    query: dict[str, Any]

    @property
    def expr(self) -> str:
        """The query as it is written, with variables."""
        return str(self.query["expr"])

    def __str__(self) -> str:
        return f"{self.board}: {self.panel['title']} {self.query['refId']}"


def load(name: str) -> dict[str, Any]:
    """Return a committed dashboard."""
    made: dict[str, Any] = json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    return made


def panels(name: str) -> list[dict[str, Any]]:
    """Return the panels of a dashboard."""
    return list(load(name)["panels"])


def panel(name: str, title: str) -> dict[str, Any]:
    """Return the panel whose title begins like that."""
    (found,) = (one for one in panels(name) if one["title"].split(" · ")[0] == title)
    return found


def targets() -> list[Target]:
    """Return every query of every dashboard."""
    return [
        Target(name, panel, query) for name in NAMES for panel in panels(name) for query in panel["targets"]
    ]


def variables(name: str) -> dict[str, dict[str, Any]]:
    """Return the variables of a dashboard, by name."""
    return {one["name"]: one for one in load(name)["templating"]["list"]}


def filled(expr: str, values: Mapping[str, str]) -> str:
    """Return a query with its variables filled in; one without a value is an error."""
    return VARIABLE.sub(lambda found: values[found.group(1)], expr)


def as_grafana(queue: str, *, many: bool) -> str:
    """Return a queue's name as Grafana's Prometheus data source writes it into a query.

    For a variable of several values it escapes what means something in a pattern, otherwise only what would end the
    string. That it escapes double quotes too is its feature prometheusSpecialCharsInLabelValues.
    """
    if not many:
        return queue.replace("\\", r"\\").replace('"', r"\"")
    escaped = queue.replace("\\", r"\\\\").replace('"', r"\\\"")
    return re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", escaped)


PROBE = {"queue": "sales", "window": "30m", "interval": "30m", "__rate_interval": "1m", "datasource": "x"}


def parsed(expr: str) -> Any:
    """Return the syntax tree of a query."""
    return promql_parser.parse(filled(expr, PROBE))


def nodes(tree: Any) -> list[Any]:
    """Return every part of a query."""
    found: list[Any] = []
    promql_parser.walk(tree, found.append)
    return found


def selectors(expr: str) -> list[Any]:
    """Return the vector selectors of a query."""
    return [node for node in nodes(parsed(expr)) if isinstance(node, promql_parser.VectorSelector)]
