"""`callgauge replay`: history through the same core."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stream.commands.common import ConfigFile, RunError, Sets, configuration, existing


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
) -> int:
    """Put history through the same core as the worker: intervals, days, and what became of every record.

    Needs no Kafka. The rules are those of the configuration in force.
    """
    existing(source)
    configuration(config_file, sets)
    raise RunError(f"replay of {source} to {to} {out or ''} by {by} is not part of this build")
