"""`callgauge replay`: history through the same core."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from stream.commands.common import (
    ConfigFile,
    Json,
    Sets,
    UsageError,
    configuration,
    failing,
    note,
    say,
    say_json,
)
from stream.commands.history import (
    KAFKA,
    SOURCE_HELP,
    History,
    check_source,
    outcome_text,
    parse_step,
    tell_silences,
)
from stream.commands.outputs import disk, whole_file
from stream.settings import Settings, board_rules

if TYPE_CHECKING:
    from stream.replay import OpenMetricsFiles, RemoteWrite, Replay

STEP = "60s"
STATE_FILE = "callgauge-replay.state.json"
_SHOWN_DIGITS = 4


class Kind(StrEnum):
    """What the history becomes."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    OPENMETRICS = "openmetrics"
    REMOTE_WRITE = "remote-write"

    @property
    def sampled(self) -> bool:
        """Say whether it is samples of live series; else rows of closed intervals and days."""
        return self in (Kind.OPENMETRICS, Kind.REMOTE_WRITE)


class By(StrEnum):
    """Which interval a count belongs to."""

    EVENT = "event"
    ARRIVAL = "arrival"


def replay(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help=SOURCE_HELP,
        ),
    ] = None,
    *,
    to: Annotated[Kind | None, typer.Option("--to", help="What to write.")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="WHERE",
            help="Where to write: a file; for openmetrics a directory, for remote-write a URL.",
            show_default="standard output",
        ),
    ] = None,
    by: Annotated[
        By,
        typer.Option(
            "--by",
            help="Put each count into the interval of its own event, or everything of a visit into that of "
            "its arrival in the queue (intervals and days only).",
        ),
    ] = By.EVENT,
    step: Annotated[
        str, typer.Option("--step", metavar="SPAN", help="Event time between two samples of a series.")
    ] = STEP,
    job: Annotated[str, typer.Option("--job", help="Label of every sample.")] = "callgauge-replay",
    instance: Annotated[str, typer.Option("--instance", help="Label of every sample.")] = "replay",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted replay (openmetrics, remote-write).")
    ] = False,
    state: Annotated[
        Path, typer.Option("--state", metavar="FILE", help="Where a remote-write replay notes how far it is.")
    ] = Path(STATE_FILE),
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            metavar="A.json B.json",
            help="Replay nothing: print what differs between two outputs of --to json, by day and queue.",
        ),
    ] = None,
    config_file: ConfigFile = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Put history through the same core as the worker, and write what it would have shown.

    Intervals and days (json, csv, parquet), or the samples of every live series at steps of event time
    (openmetrics, remote-write). Joins no group, commits nothing, writes to no topic. The rules are those of the
    configuration in force: another --config shows what another target or formula would have meant.
    """
    from stream.replay import ReplayError  # noqa: PLC0415 - start fast

    with failing(ReplayError):
        if compare is not None:
            return _compare(*compare, as_json=as_json)
        if source is None or to is None:
            raise UsageError("replay needs SOURCE and --to KIND, or --compare A.json B.json")
        settings = configuration(config_file, sets).settings
        task = Job(source, to, out, by is By.ARRIVAL, parse_step(step), job, instance, resume, state)
        task.check(as_json=as_json)
        history = History(source, settings, task.saved_ranges())
        counts, written = _Run(task, settings, history).run()
    if as_json:
        say_json(counts)
    elif out is not None:
        say(f"{outcome_text(counts)}; {written} are in {out}")
    return 0


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be replayed, and into what."""

    source: str
    to: Kind
    out: str | None
    by_arrival: bool
    step_ms: int
    job: str
    instance: str
    resume: bool
    state: Path

    def check(self, *, as_json: bool) -> None:
        """Refuse what cannot work. Raises UsageError."""
        if self.to.sampled and self.out is None:
            what = "a directory" if self.to is Kind.OPENMETRICS else "the URL of the receiver"
            raise UsageError(f"--to {self.to} needs --out: {what}")
        if self.to is Kind.PARQUET and self.out is None:
            raise UsageError("--to parquet needs --out FILE")
        if self.to.sampled and self.by_arrival:
            raise UsageError(f"--by arrival gives intervals and days; --to {self.to} has none")
        if self.resume and not self.to.sampled:
            raise UsageError(f"--to {self.to} is written in one go; run it again without --resume")
        if as_json and self.out is None:
            raise UsageError(
                "--json needs --out FILE: without it standard output has the summary as its last line"
            )
        check_source(self.source)

    def saved_ranges(self) -> dict[int, tuple[int, int]]:
        """Return the offsets of the replay that goes on; none for a new one, or one of lines."""
        from stream.replay import load_state, saved_replay  # noqa: PLC0415 - start fast

        if not self.resume or self.out is None or not self.source.startswith(KAFKA):
            return {}
        of_files = self.to is Kind.OPENMETRICS
        found = saved_replay(Path(self.out)) if of_files else load_state(self.state)["replay"]
        return {int(partition): (first, end) for partition, (first, end) in found["offsets"].items()}

    def described(self, settings: Settings, history: History) -> dict[str, Any]:
        """Return what makes this replay this one: another one may not go on where it stopped."""
        rules = board_rules(settings, by_arrival=self.by_arrival)
        return {
            "source": self.source,
            "bytes": history.size_bytes,
            "offsets": {str(partition): list(span) for partition, span in history.ranges.items()},
            "step_ms": self.step_ms,
            "job": self.job,
            "instance": self.instance,
            "rules": hashlib.sha256(repr((rules, settings.alerts)).encode()).hexdigest(),
        }


@dataclass(slots=True)
class _Run:
    """One replay: its feeds, its sink, and what is shown meanwhile."""

    job: Job
    settings: Settings
    history: History

    def run(self) -> tuple[dict[str, Any], str]:
        """Replay everything; return the summary, and what was written."""
        from stream.replay import Replay, summary  # noqa: PLC0415 - start fast

        with ExitStack() as stack:
            show, feeds = self.history.open(stack)
            replay = Replay(
                feeds,
                board_rules(self.settings, by_arrival=self.job.by_arrival),
                step_ms=self.job.step_ms if self.job.to.sampled else None,
                by_arrival=self.job.by_arrival,
            )
            write = self._samples if self.job.to.sampled else self._rows
            written = write(replay, lambda: show(replay))
            tell_silences(replay, "not sampled")
            return summary(replay.read, replay.tally()), written

    # --- intervals and days --------------------------------------------------------------------------------------

    def _rows(self, replay: "Replay", show: Callable[[], None]) -> str:
        from stream.replay import Rows  # noqa: PLC0415 - start fast

        with Rows(replay.rules) as rows:
            with disk("the temporary directory"):
                for moment in replay.moments():
                    rows.add(moment.closed)
                    show()
            with whole_file(self.job.out) as stream:
                self._write_rows(rows, replay, stream)
        return "intervals and days"

    def _write_rows(self, rows: Any, replay: "Replay", stream: BinaryIO) -> None:
        import json  # noqa: PLC0415 - only here

        from stream.replay import summary, write_csv, write_parquet  # noqa: PLC0415 - start fast

        if self.job.to is Kind.CSV:
            write_csv(rows, stream)
        elif self.job.to is Kind.PARQUET:
            write_parquet(rows, stream)
        else:
            stream.writelines(rows.lines())
            last = json.dumps({"summary": summary(replay.read, replay.tally())}, separators=(",", ":"))
            stream.write(last.encode() + b"\n")
        stream.flush()

    # --- samples -------------------------------------------------------------------------------------------------

    def _samples(self, replay: "Replay", show: Callable[[], None]) -> str:
        from stream.replay import Sampler  # noqa: PLC0415 - start fast

        sampler = Sampler(self.job.job, self.job.instance, self.settings.alerts)
        described = self.job.described(self.settings, self.history)
        with self._sink(described) as sink, disk(self.job.out or ""):
            for moment in replay.moments():
                sink.write(moment.at_ms, sampler.take(replay.snapshot()))
                show()
            written = sink.finish()
            if self.job.to is Kind.REMOTE_WRITE:
                self.job.state.unlink(missing_ok=True)  # nothing is left to go on with
            return written

    @contextmanager
    def _sink(self, described: dict[str, Any]) -> "Iterator[OpenMetricsFiles | RemoteWrite]":
        """Give the sink; when it is not finished, say what is complete."""
        with ExitStack() as stack:
            sink = self._new_sink(described, stack)
            try:
                yield sink
            except BaseException:
                note(f"not finished: {sink.abandon()}; --resume goes on")
                raise

    def _new_sink(self, described: dict[str, Any], stack: ExitStack) -> "OpenMetricsFiles | RemoteWrite":
        from stream.replay import (  # noqa: PLC0415 - start fast
            OpenMetricsFiles,
            RemoteWrite,
            posting,
            resumable,
            save_state,
        )

        out, path = self.job.out or "", self.job.state
        if self.job.to is Kind.OPENMETRICS:
            return OpenMetricsFiles(Path(out), described, resume=self.job.resume)
        return RemoteWrite(
            stack.enter_context(posting(out)),
            time.sleep,
            out,
            after_ms=resumable(path, described) if self.job.resume else -1,
            on_complete=lambda complete_ms: save_state(path, described, complete_ms),
        )


def _compare(before: Path, after: Path, *, as_json: bool) -> int:
    from dataclasses import asdict  # noqa: PLC0415 - start fast

    from stream.replay import compare  # noqa: PLC0415

    changes = compare(before, after)
    if as_json:
        say_json([asdict(change) for change in changes])
        return 0
    from rich.console import Console  # noqa: PLC0415 - only here
    from rich.table import Table  # noqa: PLC0415

    table = Table("day", "queue", "number", before.name, after.name, "change", box=None)
    for change in changes:
        table.add_row(change.day, change.queue, change.name, *_shown(change.before, change.after))
    Console().print(table if changes else "no day differs")
    return 0


def _shown(before: float | None, after: float | None) -> tuple[str, str, str]:
    def text(value: float | None) -> str:
        return "-" if value is None else str(round(value, _SHOWN_DIGITS))

    change = "" if before is None or after is None else f"{after - before:+.4g}"
    return text(before), text(after), change
