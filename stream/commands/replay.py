"""`callgauge replay`: history through the same core."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from stream.commands.common import (
    ConfigFile,
    Json,
    RunError,
    Sets,
    UsageError,
    configuration,
    existing,
    failing,
    progress,
    say,
    say_json,
)
from stream.settings import Settings, board_rules

SHOW_EVERY_BYTES = 1_048_576


class Kind(StrEnum):
    """What the history becomes."""

    JSON = "json"


class By(StrEnum):
    """Which interval a count belongs to."""

    EVENT = "event"
    ARRIVAL = "arrival"


def replay(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="JSON lines (.gz too), or - for standard input."),
    ],
    *,
    to: Annotated[Kind, typer.Option("--to", help="What to write.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", dir_okay=False, help="Where to write.", show_default="standard output"
        ),
    ] = None,
    by: Annotated[
        By,
        typer.Option(
            "--by",
            help="Put each count into the interval of its own event, or everything of a visit into that of "
            "its arrival in the queue.",
        ),
    ] = By.EVENT,
    config_file: ConfigFile = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Put history through the same core as the worker: intervals, days, and what became of every record.

    Needs no Kafka. The rules are those of the configuration in force. The last line is the summary; with
    --out it is printed too.
    """
    file = existing(source)
    if as_json and out is None:
        raise UsageError(
            "--json needs --out FILE: without it standard output has the summary as its last line"
        )
    settings = configuration(config_file, sets).settings
    from stream.replay import ReplayError  # noqa: PLC0415 - start fast

    with failing(ReplayError):
        job = Job("-" if file is None else str(file), to, out, by_arrival=by is By.ARRIVAL)
        summary = _replay(job, settings)
    if as_json:
        say_json(summary)
    elif out is not None:
        counts = ", ".join(f"{summary[name]} {name}" for name in ("applied", "duplicate", "late", "rejected"))
        say(f"{summary['read']} records: {counts}; intervals and days are in {out}")
    return 0


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be replayed, and into what."""

    source: str
    to: Kind
    out: Path | None
    by_arrival: bool

    @property
    def total_bytes(self) -> int | None:
        """Return how much there is to read, where that can be known."""
        if self.source == "-" or self.source.endswith(".gz"):
            return None
        return Path(self.source).stat().st_size


def _replay(job: Job, settings: Settings) -> dict[str, Any]:
    from stream.replay import read_lines, replay, write_json  # noqa: PLC0415 - start fast

    writers = {Kind.JSON: write_json}
    seen = 0

    def on_bytes(count: int) -> None:
        nonlocal seen
        before, seen = seen, seen + count
        if before // SHOW_EVERY_BYTES != seen // SHOW_EVERY_BYTES:
            show(seen)

    with _target(job.out) as stream:
        with progress("bytes read", job.total_bytes) as show:
            rules = board_rules(settings, by_arrival=job.by_arrival)
            records = read_lines(job.source, on_bytes)
            board, summary = replay(records, rules, by_arrival=job.by_arrival)
        writers[job.to](board, summary, stream.write)
        stream.flush()
    return summary.counts()


@contextmanager
def _target(out: Path | None) -> Iterator[BinaryIO]:
    """Give standard output, or a file that appears only when it is whole."""
    if out is None:
        yield sys.stdout.buffer
        return
    part = out.with_name(out.name + ".part")
    try:
        with part.open("wb") as stream:
            yield stream
        part.replace(out)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(f"{out} cannot be written: {reason}; choose another file with --out") from error
    finally:
        with suppress(OSError):
            part.unlink()
