"""The rules of dashboard-linter 0.2.0 that concern Prometheus, under their own names.

The linter itself needs a newer Go than there is here. Where we break a rule, grafana/dashboards/.lint says why.
"""

import promql_parser
import pytest
import yaml

from stream.export.metrics import METRICS, Kind
from tests.dashboards.boards import (
    DIRECTORY,
    NAMES,
    filled,
    load,
    nodes,
    panels,
    parsed,
    selectors,
    targets,
    variables,
)
from tools.dashboards.queries import JOB

COUNTERS = {metric.name for metric in METRICS if metric.kind is Kind.COUNTER} | {
    f"{metric.name}_{part}"
    for metric in METRICS
    if metric.kind is Kind.HISTOGRAM
    for part in ("sum", "count", "bucket")
}
EXCLUDED = {"template-job-rule", "template-instance-rule", "target-job-rule", "target-instance-rule"}
RATES = {"rate", "irate", "increase", "delta", "deriv"}
every_board = pytest.mark.parametrize("name", NAMES)
every_target = pytest.mark.parametrize("target", targets(), ids=str)


def test_exclusions_are_the_known_ones_and_have_a_reason():
    """A rule is not switched off in passing."""
    exclusions = yaml.safe_load((DIRECTORY / ".lint").read_text())["exclusions"]

    assert set(exclusions) == EXCLUDED
    assert all(len(rule["reason"]) > 10 for rule in exclusions.values())


@every_board
def test_template_datasource_rule(name):
    """One data source variable, called datasource."""
    found = [one for one in variables(name).values() if one["type"] == "datasource"]

    assert [(one["name"], one["query"], one["label"]) for one in found] == [
        ("datasource", "prometheus", "Data source")
    ]


@every_board
def test_template_label_promql_rule_and_on_time_change_reload_rule(name):
    """Variables made of labels ask valid PromQL, and again when the time range changes, so that new queues appear."""
    for one in variables(name).values():
        if one["type"] == "query":
            selector, label = (
                one["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            )
            parsed(selector)
            assert label == one["name"]
            assert one["datasource"]["uid"] == "${datasource}"
            assert one["refresh"] == 2


@every_board
def test_uneditable_dashboard(name):
    """What a file provides, nobody changes by hand."""
    assert load(name)["editable"] is False


@every_board
def test_panel_datasource_title_description_units_and_no_targets_rules(name):
    """Every panel has all of them."""
    for panel in panels(name):
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert all(query["datasource"]["uid"] == "${datasource}" for query in panel["targets"])


@every_board
def test_titles_and_numbers_are_used_once(name):
    """Two panels with one number, and Grafana shows one of them."""
    numbers, titles = ([panel[key] for panel in panels(name)] for key in ("id", "title"))

    assert len(set(numbers)) == len(numbers)
    assert len(set(titles)) == len(titles)


@every_board
def test_panels_lie_beside_each_other_and_not_upon_each_other(name):
    """No cell of the grid is taken twice, and none lies outside."""
    taken = [
        (place["x"] + column, place["y"] + row)
        for place in (panel["gridPos"] for panel in panels(name))
        for column in range(place["w"])
        for row in range(place["h"])
    ]

    assert len(taken) == len(set(taken))
    assert all(column < 24 for column, _ in taken)


@every_target
def test_target_promql_rule(target):
    """Every query parses."""
    parsed(target.expr)


@every_target
def test_target_rate_interval_rule(target):
    """Rates span what Grafana says spans enough scrapes."""
    marked = filled(target.expr, {"queue": "q", "window": "w", "interval": "30m", "__rate_interval": "7919s"})
    for node in nodes(promql_parser.parse(marked)):
        if isinstance(node, promql_parser.Call) and node.func.name in RATES:
            assert node.args[0].range.total_seconds() == 7919


@every_target
def test_target_counter_agg_rule(target):
    """A counter is read through a rate only, and an increase or rate is of a counter only."""
    rated = {
        id_of(argument.vector_selector)
        for node in nodes(parsed(target.expr))
        if isinstance(node, promql_parser.Call) and node.func.name in RATES
        for argument in node.args
    }
    for selector in selectors(target.expr):
        assert (selector.name in COUNTERS) == (id_of(selector) in rated)


def id_of(selector):
    """Tell selectors apart by what they say."""
    return selector.prettify()


@every_target
def test_every_selector_names_the_job(target):
    """In place of target-job-rule: other jobs, like that of a replay, never mix in."""
    for selector in selectors(target.expr):
        matchers = {one.name: (one.op, one.value) for one in selector.matchers.matchers}
        assert matchers["job"] == (promql_parser.MatchOp.Equal, JOB)
