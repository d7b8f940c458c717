"""What alert rules would have done over history, by a real Prometheus."""

from stream.backtest.errors import BacktestError, InputError
from stream.backtest.evaluate import Activity, activity, record, spans_of
from stream.backtest.incidents import Incident, Score, read_incidents, within
from stream.backtest.page import page
from stream.backtest.prometheus import Prometheus, running
from stream.backtest.result import Alert, Outcome, as_json, outcome
from stream.backtest.rules import Plan, Rule, plan, read_groups

__all__ = [
    "Activity",
    "Alert",
    "BacktestError",
    "Incident",
    "InputError",
    "Outcome",
    "Plan",
    "Prometheus",
    "Rule",
    "Score",
    "activity",
    "as_json",
    "outcome",
    "page",
    "plan",
    "read_groups",
    "read_incidents",
    "record",
    "running",
    "spans_of",
    "within",
]
