"""What the commands share: options, settings, what is said where, and errors that are one line."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.settings import Configuration, Option, load, parse_set

DEBUG_VARIABLE = "CALLGAUGE_DEBUG"

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="CALLGAUGE_CONFIG",
        metavar="FILE",
        help="Configuration file.",
        show_default="callgauge.toml in the current directory, if there is one",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any configuration key, over file and environment; may be repeated. "
        "Like --set windows.clock=stream.",
        show_default="nothing",
    ),
]
Servers = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="Kafka to connect to; several with commas between. "
        "Environment: CALLGAUGE_KAFKA__BOOTSTRAP_SERVERS.",
        show_default="kafka.bootstrap_servers, 127.0.0.1:9092",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]


def existing(source: Path) -> Path | None:
    """Return the file to read, None for standard input (`-`); UsageError when there is none."""
    if str(source) == "-":
        return None
    if not source.is_file() and not source.is_fifo():
        what = "is a directory" if source.is_dir() else "does not exist"
        raise UsageError(f"{source} {what}; name a file of JSON lines, or - for standard input")
    return source


class RunError(Exception):
    """The run failed for a reason outside this program: one line that says what happened and what to do."""


class UsageError(Exception):
    """The command was called in a way that cannot work: one line that says why."""


def configuration(
    file: Path | None, sets: list[str] | None, options: Mapping[str, tuple[str, Any]] | None = None
) -> Configuration:
    """Return the settings in force. `options` are `{key: (option, value)}`; None is an option not given."""
    written = [parse_set(text) for text in sets or ()]
    written += [
        Option(key, value, name) for key, (name, value) in (options or {}).items() if value is not None
    ]
    return load(file, os.environ, written)


def kafka_options(servers: str | None) -> dict[str, tuple[str, Any]]:
    """Return what `--bootstrap-servers` sets."""
    return {"kafka.bootstrap_servers": ("--bootstrap-servers", servers)}


def say(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """Print a result for programs."""
    import json  # noqa: PLC0415 - few commands need it

    say(json.dumps(value, ensure_ascii=False, indent=2))


def note(text: str) -> None:
    """Tell the person at the terminal something that is no result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def on_terminal() -> bool:
    """Say whether a person watches: then there is progress to show."""
    return sys.stderr.isatty()


def debugging() -> bool:
    """Say whether tracebacks are wanted."""
    return os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}


def quiet_libraries() -> None:
    """Keep the clients from writing to stderr what the one line says already."""
    if not debugging():
        for name in ("aiokafka", "kafka", "asyncio"):
            logging.getLogger(name).addHandler(logging.NullHandler())


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show how far a long run is, on a terminal only. Call the result with the count so far, and a word on it."""
    if not on_terminal():
        yield lambda _count, _word="": None
        return
    from rich.console import Console  # noqa: PLC0415 - nothing to draw in a pipe
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        *([BarColumn()] if total else []),
        TextColumn("{task.completed:,.0f}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[word]}"),
        TimeElapsedColumn(),
        *([TextColumn("left"), TimeRemainingColumn()] if total else []),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate="", word="")

        def update(count: int, word: str = "") -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=count, word=word, rate=f"{speed:,.0f}/s" if speed else "")

        yield update


@contextmanager
def reaching() -> Iterator[None]:
    """Turn what keeps Kafka from us into RunError (nobody there) or UsageError (TLS or password wrong)."""
    from stream.access import KafkaRefusedError, KafkaUnreachableError  # noqa: PLC0415 - start fast

    try:
        yield
    except KafkaRefusedError as error:
        raise UsageError(str(error)) from error
    except KafkaUnreachableError as error:
        raise RunError(f"{error}; `callgauge kafka` starts one") from error


@contextmanager
def failing(*kinds: type[Exception], advice: str = "") -> Iterator[None]:
    """Turn errors whose text is made for people into RunError."""
    try:
        yield
    except kinds as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"{text}{advice}") from error
