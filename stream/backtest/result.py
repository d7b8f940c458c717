"""What came out of a back-test: every alert, and the numbers by which rules are compared."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from stream.backtest.evaluate import Activity, Labels
from stream.backtest.incidents import Incident, Page, Score, score
from stream.backtest.rules import ALERTNAME, Rule
from stream.backtest.states import Episode

WEEK_MS: Final = 7 * 86_400_000
QUEUE: Final = "queue"


@dataclass(frozen=True, slots=True)
class Alert:
    """One time that an alert was pending, and perhaps fired."""

    rule: Rule
    labels: Labels  # with the name of the alert
    episode: Episode
    until_ms: int  # its end; the last evaluation when it was there still

    @property
    def queue(self) -> str | None:
        """Return the queue it is about, if it is about one."""
        return dict(self.labels).get(QUEUE)

    @property
    def told(self) -> Labels:
        """Return its labels without those of its rule: which of the alerts of the rule it is."""
        return tuple(
            (name, value) for name, value in self.labels if name not in {ALERTNAME, *self.rule.labels}
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """A back-test that is done."""

    spans: tuple[tuple[int, int], ...]  # first and last step of each part of the history
    rules: tuple[Rule, ...]
    alerts: tuple[Alert, ...]  # by time
    incidents: tuple[Incident, ...] | None  # those within the history
    score: Score | None

    @property
    def weeks(self) -> float:
        """Return how much history it was."""
        return sum(end_ms - start_ms for start_ms, end_ms in self.spans) / WEEK_MS

    def pages(self, rule: Rule | None = None) -> int:
        """Count the alerts that fired."""
        return sum(
            alert.episode.firing_ms is not None for alert in self.alerts if rule is None or alert.rule is rule
        )

    def pages_per_week(self, rule: Rule | None = None) -> float | None:
        """Return the rate; None when the history is one step."""
        return self.pages(rule) / self.weeks if self.weeks else None


def outcome(
    spans: Sequence[tuple[int, int]],
    rules: Sequence[Rule],
    activities: Iterable[Activity],
    incidents: Sequence[Incident] | None = None,
    for_ms: Mapping[str, int] | None = None,
) -> Outcome:
    """Put it together. ``for_ms`` is another `for`, by name of the alert."""
    alerts = []
    for activity in activities:
        for episode in activity.episodes((for_ms or {}).get(activity.rule.name)):
            until_ms = activity.span.last_ms if episode.end_ms is None else episode.end_ms
            alerts.append(Alert(activity.rule, activity.labels, episode, until_ms))
    alerts.sort(key=lambda alert: (alert.episode.pending_ms, alert.labels))
    pages = [
        Page(alert.episode.firing_ms, max(alert.until_ms, alert.episode.firing_ms + 1), alert.queue)
        for alert in alerts
        if alert.episode.firing_ms is not None
    ]
    return Outcome(
        tuple(spans),
        tuple(rules),
        tuple(alerts),
        None if incidents is None else tuple(incidents),
        None if incidents is None else score(incidents, pages),
    )


def as_json(found: Outcome) -> dict[str, Any]:
    """Return it for programs: times in RFC 3339, spans in s; a value that is no finite number is null."""
    return {
        "spans": [{"start": time_text(start), "end": time_text(end)} for start, end in found.spans],
        "pages": found.pages(),
        "pages_per_week": _number(found.pages_per_week()),
        "incidents": None if found.score is None else asdict(found.score),
        "rules": [
            {
                "alert": rule.name,
                "labels": dict(rule.labels),
                "for_s": rule.for_ms / 1_000,
                "keep_firing_for_s": rule.keep_firing_for_ms / 1_000,
                "pages": found.pages(rule),
                "pages_per_week": _number(found.pages_per_week(rule)),
            }
            for rule in found.rules
        ],
        "alerts": [_alert(alert, found.incidents) for alert in found.alerts],
    }


def _alert(alert: Alert, incidents: Sequence[Incident] | None) -> dict[str, Any]:
    episode = alert.episode
    shown: dict[str, Any] = {
        "alert": alert.rule.name,
        "labels": {name: value for name, value in alert.labels if name != ALERTNAME},
        "pending": time_text(episode.pending_ms),
        "firing": None if episode.firing_ms is None else time_text(episode.firing_ms),
        "resolved": None if episode.end_ms is None else time_text(episode.end_ms),
        "value": _number(episode.value),
        "value_min": _number(episode.value_min),
        "value_max": _number(episode.value_max),
    }
    if incidents is not None:
        shown["incidents"] = [incident.name for incident in met_by(alert, incidents)]
    return shown


def met_by(alert: Alert, incidents: Iterable[Incident]) -> list[Incident]:
    """Return the incidents that a page tells of; an alert that does not fire tells nobody."""
    firing_ms = alert.episode.firing_ms
    if firing_ms is None:
        return []
    until_ms = max(alert.until_ms, firing_ms + 1)
    return [incident for incident in incidents if incident.is_met_by(alert.queue, firing_ms, until_ms)]


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def time_text(at_ms: int) -> str:
    """Write a moment as RFC 3339, in UTC."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
