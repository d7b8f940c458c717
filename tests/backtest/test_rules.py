"""Which rules and series the alerts that are looked at need, and in which order records are made."""

import pytest

from stream.backtest import InputError, plan, read_groups
from stream.replay import Sampler
from stream.settings import Alerts
from tests.replay.history import logs, replay_of


def group(*rules, interval=30):
    """Return a group as /api/v1/rules gives it."""
    return {"name": "g", "interval": interval, "rules": list(rules)}


def record(name, query):
    return {"type": "recording", "name": name, "query": query}


def alert(name, query, **labels):
    return {
        "type": "alerting",
        "name": name,
        "query": query,
        "duration": 90,
        "keepFiringFor": 5,
        "labels": labels,
    }


def test_spans_are_in_milliseconds():
    """Prometheus gives seconds, with fractions."""
    (rule,) = read_groups([group(alert("A", "up == 0", severity="page"), interval=0.5)])

    assert (rule.interval_ms, rule.for_ms, rule.keep_firing_for_ms) == (500, 90_000, 5_000)
    assert rule.labels == {"severity": "page"}


def test_only_what_the_alerts_ask_for_is_evaluated_and_filled():
    """Through records of records; what is asked for comes first, wherever it stands."""
    rules = read_groups(
        [
            group(record("z:of:y", "sum(y:of:x)"), record("other", "sum(unwanted)")),
            group(record("y:of:x", 'max by (queue) (x{job="a"})')),
            group(alert("A", "z:of:y > on () group_left () limit"), alert("B", "other > 0")),
        ]
    )
    found = plan(rules, [("alertname", "A")])

    assert [rule.name for rule in found.records] == ["y:of:x", "z:of:y"]
    assert [rule.name for rule in found.alerts] == ["A"]
    assert found.names is not None
    assert {"x", "limit", "y:of:x"} <= found.names
    assert "unwanted" not in found.names


def test_two_records_of_one_name_come_both_before_what_asks_for_them():
    """As they often stand: one for each of several cases."""
    rules = read_groups(
        [group(record("late", "a:b"), record("a:b", "x"), record("a:b", "y"), alert("A", "late"))]
    )

    assert [rule.query for rule in plan(rules).records] == ["x", "y", "a:b"]


def test_records_that_ask_for_each_other_come_last_in_their_order():
    """A circle means the evaluation before; it ends here, too."""
    rules = read_groups([group(record("a", "b"), record("b", "a"), record("c", "c"), alert("A", "a + c"))])

    assert [rule.name for rule in plan(rules).records] == ["c", "a", "b"]


@pytest.mark.parametrize(
    "query", ['{job="a"} == 0', 'sum({job="a"})', 'x or {__name__=~"y.*"}', 'a{__name__="b"}']
)
def test_a_selector_without_a_name_wants_every_series(query):
    """Then nothing may be left out."""
    rules = read_groups([group(record("r", "x"), alert("A", query))])
    found = plan(rules)

    assert (found.names, [rule.name for rule in found.records]) == (None, ["r"])


def test_labels_choose_among_rules_of_one_name():
    """All of those given must be there."""
    rules = read_groups(
        [group(alert("A", "x", severity="page"), alert("A", "x", severity="mail"), alert("B", "x"))]
    )

    assert len(plan(rules).alerts) == 3
    assert [rule.labels for rule in plan(rules, [("alertname", "A"), ("severity", "mail")]).alerts] == [
        {"severity": "mail"}
    ]
    with pytest.raises(InputError, match="has no alert with severity=none; its alerts are A, B"):
        plan(rules, [("severity", "none")])
    with pytest.raises(InputError, match="has no alert; "):
        plan(read_groups([group(record("r", "x"))]))


def test_what_is_left_out_of_the_samples_is_only_what_nobody_asks_for():
    """Of a histogram all series or none; the others are what they are without a choice."""
    names = {"callcenter_contacts_waiting", "callcenter_answer_wait_seconds_bucket", "up"}
    replay = replay_of(logs(1, calls=30), step_ms=60_000)
    every, chosen = Sampler("j", "i", Alerts()), Sampler("j", "i", Alerts(), names)
    for _ in replay.moments():
        kept = [(series.text, value) for series, value in chosen.take(replay.snapshot())]
        parts = ("callcenter_contacts_waiting{", "callcenter_answer_wait_seconds_", "up{")
        everything = [(series.text, value) for series, value in every.take(replay.snapshot())]

        assert kept == [(text, value) for text, value in everything if text.startswith(parts)]
    assert {text.partition("{")[0] for text, _ in kept} == names | {
        "callcenter_answer_wait_seconds_count",
        "callcenter_answer_wait_seconds_sum",
    }
