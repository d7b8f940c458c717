"""Queries name only what is exported and the variables of their dashboard; tiles ask for the present only."""

import re

import promql_parser
import pytest

from stream.export.metrics import METRICS, Kind
from tests.dashboards.boards import BUILT_IN, NAMES, VARIABLE, load, panels, selectors, targets, variables

OF_PROMETHEUS = {"up": set(), "scrape_duration_seconds": set()}
OF_EVERY_TARGET = {"job", "instance"}
PARTS = ("_bucket", "_sum", "_count")
every_target = pytest.mark.parametrize("target", targets(), ids=str)


def exported():
    """Return name -> labels, from the table of metrics."""
    found = dict(OF_PROMETHEUS)
    for metric in METRICS:
        names = [metric.name + part for part in PARTS] if metric.kind is Kind.HISTOGRAM else [metric.name]
        for name in names:
            found[name] = set(metric.labels) | ({"le"} if name.endswith("_bucket") else set())
    return found


@every_target
def test_a_query_names_only_exported_metrics_and_their_labels(target):
    """From stream/export/metrics.py, not from the generator."""
    known = exported()
    for selector in selectors(target.expr):
        assert selector.name in known
        labels = {one.name for one in selector.matchers.matchers}
        assert labels <= known[selector.name] | OF_EVERY_TARGET


@every_target
def test_a_legend_names_only_labels_that_the_query_leaves(target):
    """A legend of a label that was summed away is empty."""
    tree = promql_parser.parse(VARIABLE.sub("1m", target.expr))
    left = set()
    for selector in selectors(target.expr):
        left |= exported()[selector.name] | OF_EVERY_TARGET
    if isinstance(tree, promql_parser.AggregateExpr):
        left = set(tree.modifier.labels) if tree.modifier else set()

    assert set(re.findall(r"{{(\w+)}}", target.query.get("legendFormat", ""))) <= left


@pytest.mark.parametrize("name", NAMES)
def test_only_variables_of_the_dashboard_are_used_and_all_of_them(name):
    """An unknown variable stays in the query as text; an unused one is a control without effect."""
    known = set(variables(name))
    text = str(load(name)["panels"])
    used = set(VARIABLE.findall(text))

    assert used - BUILT_IN == known


@pytest.mark.parametrize("name", NAMES)
def test_a_queue_is_selected_by_pattern_only_where_several_may_be(name):
    """Grafana escapes a name for a pattern only when the variable takes several values."""
    if "queue" not in variables(name):
        return
    several = variables(name)["queue"]["multi"]
    for panel in panels(name):
        for query in panel["targets"]:
            for matcher in re.findall(r'queue(=~?)"\$queue"', query["expr"]):
                assert matcher == ("=~" if several else "=")


@pytest.mark.parametrize("name", NAMES)
def test_numbers_and_tables_ask_for_the_present_only(name):
    """A range query would keep a dead exporter's last number on the wall for the whole range."""
    for panel in panels(name):
        for query in panel["targets"]:
            instant = panel["type"] in {"stat", "table"}
            assert (query["instant"], query["range"]) == (instant, not instant)
        if panel["type"] == "stat":
            assert panel["options"]["reduceOptions"]["calcs"] == ["last"]


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_never_draws_over_a_gap(name):
    """What was not measured is not drawn."""
    for panel in panels(name):
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False


def test_every_exported_figure_is_on_a_dashboard_or_deliberately_not():
    """A new metric is shown, or listed here with the reason."""
    left_out = {
        "callcenter_contacts_answered_within_target_total",  # the service level says it, by the queue's formula
        "callcenter_contacts_abandoned_within_target_total",  # likewise
        "callcenter_contacts_abandoned_short_total",  # abandonment says it
        "callcenter_contacts_expired_total",  # a fault of the feed: alerts and ad-hoc queries
        "callcenter_window_answered_within_target",  # the service level says it
        "callcenter_blocked_ratio",  # shown as counts
        "callgauge_build_info",  # on the page / and in the log
        "callgauge_alert_contacts_min",  # of the alert rules only
        "callgauge_alert_failures_min",
        "callgauge_alert_blocked_limit_ratio",
        "callgauge_alert_rejected_limit_ratio",
    }
    shown = {selector.name for target in targets() for selector in selectors(target.expr)}
    names = {metric.name for metric in METRICS}
    whole = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in names else name for name in shown}

    assert names - whole == left_out
