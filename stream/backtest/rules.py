"""The rules as Prometheus has read them: what each asks, and which are needed for the alerts that are looked at.

No YAML and no PromQL is read here. Prometheus' API gives every expression in one canonical spelling, and all that is
asked of it is which names occur in it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stream.backtest.errors import InputError

ALERTNAME: Final = "alertname"
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
# A selector without a metric's name in front, or with a pattern for it: it may want any series.
_ANY_SERIES: Final = re.compile(r"(?:^|[^a-zA-Z0-9_:])\{|__name__")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of either kind; spans in ms."""

    name: str
    query: str
    labels: Mapping[str, str]
    interval_ms: int
    alert: bool
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)

    def is_meant(self, only: Iterable[tuple[str, str]]) -> bool:
        """Say whether an alert has all these labels, its name among them."""
        own = {**self.labels, ALERTNAME: self.name}
        return all(own.get(label) == value for label, value in only)


def read_groups(groups: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Return all rules from the `groups` of /api/v1/rules, in the order of the file within each group."""
    return [
        Rule(
            name=str(rule["name"]),
            query=str(rule["query"]),
            labels=dict(rule.get("labels") or {}),
            interval_ms=round(float(group["interval"]) * 1_000),
            alert=rule["type"] == "alerting",
            for_ms=round(float(rule.get("duration", 0)) * 1_000),
            keep_firing_for_ms=round(float(rule.get("keepFiringFor", 0)) * 1_000),
            annotations=dict(rule.get("annotations") or {}),
        )
        for group in groups
        for rule in group["rules"]
    ]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is evaluated: records in an order in which each finds what it asks for, then alerts."""

    records: tuple[Rule, ...]
    alerts: tuple[Rule, ...]
    names: frozenset[str] | None  # the series they may ask for; None: any


def plan(rules: Sequence[Rule], only: Sequence[tuple[str, str]] = ()) -> Plan:
    """Return what the alerts with these labels need. Raises InputError when there is none."""
    alerts = tuple(rule for rule in rules if rule.alert and rule.is_meant(only))
    if not alerts:
        known = ", ".join(dict.fromkeys(rule.name for rule in rules if rule.alert))
        if not known:
            raise InputError("has no alert; a back-test needs at least one")
        wanted = " ".join(f"{label}={value}" for label, value in only)
        raise InputError(f"has no alert with {wanted}; its alerts are {known}")
    records = [rule for rule in rules if not rule.alert]
    names = _names(alerts)
    if names is None:
        return Plan(_in_order(records), alerts, None)
    needed: list[Rule] = []
    while found := [record for record in records if record.name in names and record not in needed]:
        needed += found
        more = _names(found)
        if more is None:
            return Plan(_in_order(records), alerts, None)
        names |= more
    return Plan(_in_order([record for record in records if record in needed]), alerts, frozenset(names))


def _names(rules: Iterable[Rule]) -> set[str] | None:
    """Return all names in the expressions; None when a selector may want any series."""
    found: set[str] = set()
    for rule in rules:
        if _ANY_SERIES.search(rule.query):
            return None
        found.update(_NAME.findall(rule.query))
    return found


def _in_order(records: Sequence[Rule]) -> tuple[Rule, ...]:
    """Put each record behind those that it asks for, else as they are; a circle is cut at its first one."""
    left = list(records)
    asked = {id(record): set(_NAME.findall(record.query)) - {record.name} for record in records}
    ordered: list[Rule] = []
    while left:
        open_names = {record.name for record in left}
        ready = next((record for record in left if not asked[id(record)] & open_names), left[0])
        left.remove(ready)
        ordered.append(ready)
    return tuple(ordered)
