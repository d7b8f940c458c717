"""`callgauge backtest`: what alert rules would have done over history."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stream.commands.common import (
    ConfigFile,
    Json,
    RunError,
    Sets,
    UsageError,
    configuration,
    failing,
    note,
    progress,
    say,
    say_json,
)
from stream.commands.history import (
    SOURCE_HELP,
    STDIN,
    History,
    check_source,
    moment_text,
    parse_step,
    tell_silences,
)
from stream.commands.outputs import whole_file
from stream.settings import Settings, board_rules, parse_set
from stream.settings.spans import parse_span

if TYPE_CHECKING:
    from stream.backtest import Activity, Incident, Outcome, Plan, Prometheus

STEP: Final = "30s"
SWEEP_VALUES_MAX: Final = 50  # each may be a replay of the whole history
ALERTS_SHOWN_MAX: Final = 200  # rows in a terminal
PIPE_WIDTH: Final = 250
_OF_EVERY_SAMPLE: Final = frozenset({"job", "instance"})
_FOR: Final = ".for"


def backtest(
    rules: Annotated[Path, typer.Argument(metavar="RULES", help="Prometheus file of alerting rules.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="LABEL=VALUE",
            help="Look only at alerts of rules with this label; alertname=NAME for one by name. May be repeated.",
            show_default="all alerts",
        ),
    ] = None,
    step: Annotated[
        str,
        typer.Option(
            "--step",
            metavar="SPAN",
            help="Event time between two samples, as between two scrapes; also the interval of groups without one.",
        ),
    ] = STEP,
    job: Annotated[str, typer.Option("--job", help="Label of every sample.")] = "callgauge",
    instance: Annotated[str, typer.Option("--instance", help="Label of every sample.")] = "replay",
    incidents: Annotated[
        Path | None,
        typer.Option(
            "--incidents",
            metavar="FILE",
            help="What should have been heard of: JSON lines, or CSV with a header; start, end (times with their "
            "zone), queue and name if known. Gives precision, recall and delay to detection.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            metavar="KEY=V1,V2,...",
            help="One line for each value of a configuration key, like alerts.contacts_min=10,20,40, "
            "or of ALERTNAME.for.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the timeline.")
    ] = None,
    config_file: ConfigFile = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Say what alert rules would have done over history: which alert, from when to when, with which values.

    History goes through the same core as in the worker, into a Prometheus of its own that ends with this command;
    rules are evaluated by it. Needs the program `prometheus`. Recording rules of the file are evaluated first.
    Thresholds that the worker exports come from the configuration in force.
    """
    from stream.backtest import BacktestError  # noqa: PLC0415 - start fast
    from stream.replay import ReplayError  # noqa: PLC0415

    settings = configuration(config_file, sets).settings
    task = Task(rules, source, parse_step(step), job, instance, tuple(_label(text) for text in only or ()))
    task.check(html, sweep)
    values = _sweep_values(sweep)
    with failing(BacktestError, ReplayError), _ending_in_order():
        plan, marked = task.plan(), _incidents(incidents)
        if values is None:
            found = _Run(task, plan, marked).outcome(settings)
            _show(found, as_json=as_json)
            if html is not None:
                _write_page(html, found, task)
            return 0
        key, texts = values
        rows = _swept(
            task, plan, marked, key, texts, lambda more: configuration(config_file, sets, more).settings
        )
    _show_sweep(key, rows, as_json=as_json)
    return 0


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Take SIGTERM like Ctrl-C: what is temporary goes, too."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be tested, over what."""

    rules: Path
    source: str
    step_ms: int
    job: str
    instance: str
    only: tuple[tuple[str, str], ...]

    def check(self, html: Path | None, sweep: str | None) -> None:
        """Refuse what cannot work. Raises UsageError."""
        if not self.rules.is_file():
            what = "is a directory" if self.rules.is_dir() else "does not exist"
            raise UsageError(f"{self.rules} {what}; name a file of Prometheus rules")
        check_source(self.source)
        if html is not None and sweep is not None:
            raise UsageError("--html shows one back-test; leave out --sweep, or --html")
        if html is not None and not html.absolute().parent.is_dir():
            raise UsageError(f"--html {html}: there is no directory {html.parent}; make it first")

    def plan(self) -> "Plan":
        """Let Prometheus read the rules; return what is to be evaluated. Raises UsageError, BacktestError."""
        from stream.backtest import InputError, plan, read_groups, running  # noqa: PLC0415 - start fast

        try:
            with running(self.rules, self.step_ms) as prometheus:
                groups = prometheus.rule_groups()
        except InputError as error:
            raise UsageError(str(error)) from error
        try:
            return plan(read_groups(groups), self.only)
        except InputError as error:
            raise UsageError(f"{self.rules} {error}") from error


@dataclass(slots=True)
class _Run:
    """A back-test of one configuration."""

    task: Task
    plan: "Plan"
    marked: "list[Incident] | None"
    ranges: dict[int, tuple[int, int]] | None = None

    def outcome(self, settings: Settings) -> "Outcome":
        """Replay, evaluate, compare."""
        from stream.backtest import outcome  # noqa: PLC0415 - start fast

        spans, activities = self.evaluate(settings)
        return outcome(spans, self.plan.alerts, activities, self.known(spans))

    def known(self, spans: Sequence[tuple[int, int]]) -> "list[Incident] | None":
        """Return the incidents within the history; say how many are not."""
        from stream.backtest import within  # noqa: PLC0415 - start fast

        if self.marked is None:
            return None
        found = within(self.marked, spans)
        if len(found) < len(self.marked):
            note(f"{len(self.marked) - len(found)} incidents are outside of the history and are not counted")
        return found

    def evaluate(self, settings: Settings) -> "tuple[list[tuple[int, int]], list[Activity]]":
        """Fill a Prometheus and evaluate all rules in it."""
        from stream.backtest import activity, record, running  # noqa: PLC0415 - start fast
        from stream.replay import RemoteWrite, posting  # noqa: PLC0415

        with running() as prometheus, posting(prometheus.write_url) as post:

            def new_sink() -> RemoteWrite:
                return RemoteWrite(post, time.sleep, prometheus.write_url)

            spans = self._fill(settings, new_sink())
            with progress("rules evaluated", len(self.plan.records) + len(self.plan.alerts)) as update:
                for number, rule in enumerate(self.plan.records):
                    update(number, rule.name)
                    record(prometheus, rule, spans, new_sink)
                return spans, self._activities(prometheus, spans, activity, update)

    def _activities(
        self,
        prometheus: "Prometheus",
        spans: list[tuple[int, int]],
        activity: Callable[..., "list[Activity]"],
        update: Callable[..., None],
    ) -> "list[Activity]":
        found: list[Activity] = []
        for number, rule in enumerate(self.plan.alerts, len(self.plan.records)):
            update(number, rule.name)
            found += activity(prometheus, rule, spans)
        return found

    def _fill(self, settings: Settings, sink: Any) -> list[tuple[int, int]]:
        """Replay into a Prometheus what the rules ask for; return the spans that have samples."""
        from stream.backtest import spans_of  # noqa: PLC0415 - start fast
        from stream.replay import Replay, Sampler  # noqa: PLC0415

        history = History(self.task.source, settings, self.ranges or {})
        sampler = Sampler(self.task.job, self.task.instance, settings.alerts, self.plan.names)
        first_ms = None
        with ExitStack() as stack:
            show, feeds = history.open(stack)
            self.ranges = history.ranges
            replay = Replay(feeds, board_rules(settings), step_ms=self.task.step_ms)
            for moment in replay.moments():
                first_ms = moment.at_ms if first_ms is None else first_ms
                sink.write(moment.at_ms, sampler.take(replay.snapshot()))
                show(replay)
            sink.finish()
        if first_ms is None or replay.at_ms is None:
            raise RunError(f"{self.task.source}: has no event that can be replayed; nothing was tested")
        tell_silences(replay, "not tested")
        return spans_of(first_ms, replay.at_ms, replay.skipped)


# --- the sweep ---------------------------------------------------------------------------------------------------


def _sweep_values(text: str | None) -> tuple[str, list[str]] | None:
    if text is None:
        return None
    key, equals, values = text.partition("=")
    found = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not key.strip() or not found:
        raise UsageError(
            f"--sweep {text!r} is no list of values; write KEY=V1,V2, like alerts.contacts_min=10,20"
        )
    if len(found) > SWEEP_VALUES_MAX:
        raise UsageError(f"--sweep has {len(found)} values; at most {SWEEP_VALUES_MAX} are tested at once")
    return key.strip(), found


def _swept(
    task: Task,
    plan: "Plan",
    marked: "list[Incident] | None",
    key: str,
    texts: Sequence[str],
    settings_with: Callable[[dict[str, tuple[str, Any]]], Settings],
) -> "list[tuple[str, Outcome]]":
    """Return the outcome for each value of a configuration key, or of an alert's `for`."""
    from stream.backtest import outcome  # noqa: PLC0415 - start fast

    run = _Run(task, plan, marked)
    alert = key.removesuffix(_FOR)
    if key.endswith(_FOR) and any(rule.name == alert for rule in plan.alerts):
        spans_ms = [_for_ms(key, text) for text in texts]
        spans, activities = run.evaluate(settings_with({}))
        known = run.known(spans)
        return [
            (text, outcome(spans, plan.alerts, activities, known, {alert: for_ms}))
            for text, for_ms in zip(texts, spans_ms, strict=True)
        ]
    if key.endswith(_FOR):
        names = ", ".join(dict.fromkeys(rule.name for rule in plan.alerts))
        raise UsageError(f"--sweep {key}: there is no alert {alert} among those looked at, {names}")
    if task.source == STDIN:
        raise UsageError("--sweep of a configuration key reads its source several times; name a file, not -")
    each = [settings_with(_option(key, text)) for text in texts]  # all are checked before the first is tested
    return [(text, run.outcome(settings)) for text, settings in zip(texts, each, strict=True)]


def _option(key: str, text: str) -> dict[str, tuple[str, Any]]:
    option = parse_set(f"{key}={text}")
    return {option.key: ("--sweep", option.value)}


def _for_ms(key: str, text: str) -> int:
    try:
        return parse_span(text)
    except ValueError as error:
        raise UsageError(f"--sweep {key} {text!r} {error}") from error


# --- what is said ------------------------------------------------------------------------------------------------


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--only {text!r} is no label; write LABEL=VALUE, like severity=critical")
    return name, value


def _incidents(path: Path | None) -> "list[Incident] | None":
    from stream.backtest import InputError, read_incidents  # noqa: PLC0415 - start fast

    try:
        return None if path is None else read_incidents(path)
    except InputError as error:
        raise UsageError(str(error)) from error


def _show(found: "Outcome", *, as_json: bool) -> None:
    from stream.backtest import as_json as json_of  # noqa: PLC0415 - start fast

    if as_json:
        say_json(json_of(found))
        return
    console = _console()
    for start_ms, end_ms in found.spans:
        console.print(f"{moment_text(start_ms)} to {moment_text(end_ms)}", highlight=False)
    console.print(_rules_table(found))
    if found.alerts:
        console.print(_alerts_table(found))
    if len(found.alerts) > ALERTS_SHOWN_MAX:
        say(f"{len(found.alerts) - ALERTS_SHOWN_MAX} more are not shown; --json has them")
    if found.score is not None:
        score = found.score
        say(
            f"{score.detected} of {score.incidents} incidents detected, recall {_text(score.recall)}, precision "
            f"{_text(score.precision)}; delay {_text(score.delay_median_s)} s in the median, "
            f"{_text(score.delay_max_s)} s at most"
        )


def _rules_table(found: "Outcome") -> Any:
    table = _table("alert", "labels", "pages", "a week")
    for rule in found.rules:
        labels = " ".join(f"{name}={value}" for name, value in rule.labels.items())
        table.add_row(*_plain(rule.name, labels, str(found.pages(rule)), _text(found.pages_per_week(rule))))
    table.add_row("all", "", str(found.pages()), _text(found.pages_per_week()))
    return table


def _alerts_table(found: "Outcome") -> Any:
    table = _table(
        "alert", "severity", "labels", "pending", "firing", "resolved", "value", "lowest", "highest"
    )
    for alert in found.alerts[:ALERTS_SHOWN_MAX]:
        episode = alert.episode
        labels = (f"{name}={value}" for name, value in alert.told if name not in _OF_EVERY_SAMPLE)
        table.add_row(
            *_plain(
                alert.rule.name,
                alert.rule.labels.get("severity", ""),
                " ".join(labels),
                moment_text(episode.pending_ms),
                moment_text(episode.firing_ms) or "-",
                moment_text(episode.end_ms) or "still there",
                *(_text(value) for value in (episode.value, episode.value_min, episode.value_max)),
            )
        )
    return table


def _table(*columns: str) -> Any:
    from rich.table import Table  # noqa: PLC0415 - only here

    return Table(*columns, box=None, pad_edge=False)


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415 - only here

    # in a pipe nothing is wrapped
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _plain(*texts: str) -> list[Any]:
    """Return cells in which brackets are brackets, whatever somebody has put into a label."""
    from rich.text import Text  # noqa: PLC0415 - only here

    return [Text(text) for text in texts]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _show_sweep(key: str, rows: "Sequence[tuple[str, Outcome]]", *, as_json: bool) -> None:
    if as_json:
        say_json(
            [
                {
                    key: value,
                    "pages": found.pages(),
                    "pages_per_week": found.pages_per_week(),
                    "incidents": None if found.score is None else asdict(found.score),
                }
                for value, found in rows
            ]
        )
        return
    table = _table(key, "pages", "a week", "precision", "recall", "delay s (median)")
    for value, found in rows:
        score = found.score
        compared = (None,) * 3 if score is None else (score.precision, score.recall, score.delay_median_s)
        counts = (str(found.pages()), _text(found.pages_per_week()))
        table.add_row(*_plain(value, *counts, *(_text(number) for number in compared)))
    _console().print(table)


def _write_page(path: Path, found: "Outcome", task: Task) -> None:
    from stream.backtest import page  # noqa: PLC0415 - start fast

    text = page(found, task.rules.name, task.source)
    with whole_file(str(path), "--html") as stream:
        stream.write(text.encode())
