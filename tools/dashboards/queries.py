"""The PromQL of the dashboards, put together from exported metrics only.

One row a queue comes first, by ``max by (queue)``: while a queue moves between two workers both may export it for
one scrape, and a sum would count it twice. Totals are sums of those rows, and a ratio of totals is a sum over a
sum. What has no base is absent, never NaN.
"""

from typing import Final

from stream.export.metrics import METRICS, Kind

# The job of the scrape; replayed history has a job, or a data source, of its own.
JOB: Final = "callgauge"
# Added to every target by Prometheus itself.
OF_PROMETHEUS: Final = frozenset({"up", "scrape_duration_seconds"})
# Figures older than this share of what alerts.stale_limit allows are called behind, before they are called stale.
BEHIND_SHARE: Final = 0.25
# Products and sums of shares are not exact in binary: 0.75 of 0.8 is a hair above 0.6.
HAIR: Final = "1e-9"
ONE_QUEUE: Final = 'queue="$queue"'
QUEUES: Final = 'queue=~"$queue"'
WINDOW: Final = 'window="$window"'
# What Grafana fills in so that a rate always spans some scrapes.
RATE: Final = "[$__rate_interval]"


def _series_names() -> dict[str, frozenset[str]]:
    """Return every name that may stand in a query, with its labels."""
    names = {name: frozenset[str]() for name in OF_PROMETHEUS}
    for metric in METRICS:
        labels = frozenset(metric.labels)
        if metric.kind is Kind.HISTOGRAM:
            names |= {f"{metric.name}_sum": labels, f"{metric.name}_count": labels}
            names[f"{metric.name}_bucket"] = labels | {"le"}
        else:
            names[metric.name] = labels
    return names


EXPORTED: Final = _series_names()


def series(name: str, *matchers: str) -> str:
    """Return a selector. Only of what is exported: a query of anything else is empty for ever."""
    if name not in EXPORTED:
        raise ValueError(f"{name} is not exported, see stream/export/metrics.py")
    selected = ", ".join((f'job="{JOB}"', *matchers))
    return f"{name}{{{selected}}}"


def rate(name: str, *matchers: str, by: str = "") -> str:
    """Return how much a counter grows a second, added up."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({series(name, *matchers)}{RATE}))"


def limit(name: str) -> str:
    """Return a threshold of the configuration, the same one that the alert rules use."""
    return f"max({series(f'callgauge_alert_{name}')})"


class Figures:
    """The figures of some queues: of those that the variable ``$queue`` selects.

    ``rows_*`` have one element a queue, without other labels; the rest have one element without labels.
    """

    def __init__(self, queues: str = QUEUES) -> None:
        """``queues`` is the matcher that selects them."""
        self.queues = queues

    def rows(self, name: str, *matchers: str) -> str:
        """Return one element a queue, whichever worker exports it."""
        return f"max by (queue) ({series(name, self.queues, *matchers)})"

    def windowed(self, name: str) -> str:
        """Return one element a queue of a windowed metric, over ``$window``."""
        return self.rows(name, WINDOW)

    def total(self, name: str, *matchers: str) -> str:
        """Return the sum over the queues."""
        return f"sum({self.rows(name, *matchers)})"

    def rate(self, name: str, *matchers: str, by: str = "") -> str:
        """Return how much a counter grows a second, over the queues."""
        return rate(name, self.queues, *matchers, by=by)

    # service level

    @property
    def met(self) -> str:
        """The numerator, summed."""
        return self.total("callcenter_window_service_level_met", WINDOW)

    @property
    def base(self) -> str:
        """The denominator, summed."""
        return self.total("callcenter_window_service_level_base", WINDOW)

    @property
    def service_level(self) -> str:
        """Sum over sum; absent when nothing was due."""
        return f"{self.met} / ({self.base} > 0)"

    @property
    def objective(self) -> str:
        """What the total has to reach: exactly met when each queue exactly meets its own."""
        objectives = self.rows("callcenter_service_level_objective_ratio")
        return (
            f"sum({objectives} * {self.windowed('callcenter_window_service_level_base')}) / ({self.base} > 0)"
        )

    @property
    def _rows_critical(self) -> str:
        """What a queue is far below its objective under."""
        objective = self.rows("callcenter_service_level_objective_ratio")
        return f"{objective} * on () group_left () {limit('critical_share_ratio')}"

    def service_level_states(self) -> tuple[str, str, str, str]:
        """Return four queries of which one has a result: at the objective, below it, far below it, no calls (-1)."""
        shown = floored(self.service_level)
        reached, objective = f"{self.service_level} + {HAIR}", self.objective
        far = f"{reached} < {limit('critical_share_ratio')} * ({objective})"
        return (
            f"{shown} and {reached} >= {objective}",
            f"({shown} and {reached} < {objective}) unless {far}",
            f"{shown} and {far}",
            f"({self.base} == 0) - 1",
        )

    def rows_service_level_states(self) -> tuple[str, str, str, str]:
        """Return the same four queries for each queue by itself."""
        ratio = self.windowed("callcenter_service_level_ratio")
        objective = self.rows("callcenter_service_level_objective_ratio")
        far = f"{ratio} + {HAIR} < {self._rows_critical}"
        return (
            f"{floored(ratio)} and {ratio} >= {objective}",
            f"({floored(ratio)} and {ratio} < {objective}) unless {far}",
            f"{floored(ratio)} and {far}",
            f"({self.windowed('callcenter_window_service_level_base')} == 0) - 1",
        )

    @property
    def rows_state(self) -> str:
        """One number a queue: 0 at its objective, 1 below, 2 far below, -1 no calls, -2 closed and no calls."""
        ratio = self.windowed("callcenter_service_level_ratio")
        objective = self.rows("callcenter_service_level_objective_ratio")
        idle = f"{self.windowed('callcenter_window_service_level_base')} == 0"
        closed = f"{self.rows('callcenter_queue_open')} == 0"
        return (
            f"({ratio} < bool {objective}) + ({ratio} + {HAIR} < bool {self._rows_critical})"
            f" or ({closed} and {idle}) - 2 or ({idle}) - 1"
        )

    # waiting

    @property
    def waiting(self) -> str:
        """How many wait now."""
        return self.total("callcenter_contacts_waiting")

    @property
    def waiting_past_target(self) -> str:
        """How many of them have waited past their target."""
        return self.total("callcenter_contacts_waiting_past_target")

    @property
    def rows_longest_wait(self) -> str:
        """How long who waits longest has waited, by the clock of the worker that says so; absent: nobody waits."""
        clock = series("callgauge_data_timestamp_seconds")
        oldest = series("callcenter_oldest_waiting_timestamp_seconds", self.queues)
        return f"clamp_min(max by (queue) ({clock} - on (job, instance) group_right () {oldest}), 0)"

    def waiting_states(self) -> tuple[str, str]:
        """Return two queries of which one has a result: nobody past the target, somebody past it."""
        return (
            f"{self.waiting} unless {self.waiting_past_target} > 0",
            f"{self.waiting} and {self.waiting_past_target} > 0",
        )

    def longest_wait_states(self) -> tuple[str, str, str, str]:
        """Return four queries of which one has a result: in time, past target, past limit, nobody waits (-1)."""
        longest = f"max({self.rows_longest_wait})"
        past_limit = f"count({self.rows_longest_wait} > {self.rows('callcenter_wait_limit_seconds')}) > 0"
        past_target = f"{self.waiting_past_target} > 0"
        return (
            f"({longest} unless {past_target}) unless {past_limit}",
            f"({longest} and {past_target}) unless {past_limit}",
            f"{longest} and {past_limit}",
            f"({self.waiting} == 0) - 1",
        )

    # abandonment

    def abandoned_states(self) -> tuple[str, str]:
        """Return two queries of which one has a result: every queue within its limit, one above it."""
        abandoned = self.total("callcenter_window_abandoned", WINDOW)
        ratio = self.windowed("callcenter_abandonment_ratio")
        above = f"count({ratio} > {self.rows('callcenter_abandonment_limit_ratio')}) > 0"
        return f"{abandoned} unless {above}", f"{abandoned} and {above}"


def floored(ratio: str) -> str:
    """Cut a ratio to whole tenths of a percent: 79.96 % must not read as the 80.0 % that it misses."""
    return f"floor(1000 * {ratio}) / 1000"


def age(name: str) -> str:
    """Return how old the oldest timestamp of a metric is, by the clock of Prometheus."""
    return f"clamp_min(max(time() - {series(name)}), 0)"


def freshness_states() -> tuple[str, str, str]:
    """Return three queries of which one has a result: live, behind, stale. Without any there is no data at all."""
    behind = age("callgauge_data_timestamp_seconds")
    stale = limit("stale_limit_seconds")
    return (
        f"{behind} < {BEHIND_SHARE} * {stale}",
        f"{behind} >= {BEHIND_SHARE} * {stale} < {stale}",
        f"{behind} >= {stale}",
    )
