"""Where values come from: the file with its lines, the environment, the command line. No value is checked.

Theory of operation. Each source gives values by path, as TOML would hold them, each with the place where it
was written. Python's TOML parser tells no lines, so the text is cut into statements first: a statement is the
shortest run of lines that parses on its own, which is what TOML's grammar makes of a header or a
`key = value`, also over several lines.
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Any, Final

from stream.settings import limits
from stream.settings.checks import nearest, quoted
from stream.settings.keys import (
    ENVIRONMENT_PREFIX,
    Key,
    Path,
    environment_name,
    environment_part,
    key_at,
    known_keys,
    queue_keys,
)
from stream.settings.model import QUEUES, Kind

DEFAULT_FILE: Final = "callgauge.toml"
# These steer the command itself; they are no keys.
OWN_VARIABLES: Final = frozenset({"CALLGAUGE_CONFIG", "CALLGAUGE_DEBUG"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?\Z")
_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "on": True} | {
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


class ConfigError(Exception):
    """The user's configuration is wrong: one line that says where, what, and what would be right."""


class Origin(StrEnum):
    """Kinds of places, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value was written."""

    origin: Origin = Origin.DEFAULT
    name: str = "default"
    line: int | None = None

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Given:
    """A value and its source."""

    value: Any
    source: Source


@dataclass(frozen=True, slots=True)
class Option:
    """A value from the command line: the dotted key, its text or value, and the option it came by."""

    key: str
    value: Any
    name: str = "--set"


def read_file(file: FilePath) -> dict[Path, Given]:
    """Read a configuration file. An empty table of a queue is given as the path of the queue with None."""
    text = _text(file)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_bad_toml(file, text, str(error))) from None
    lines = lines_of(text)
    return {
        path: Given(value, Source(Origin.FILE, str(file), _line(lines, path)))
        for path, value in _leaves(document)
    }


def _text(file: FilePath) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(limits.CONFIG_BYTES_MAX + 1)
    except OSError as error:
        reason = (error.strerror or "it cannot be opened").lower()
        raise ConfigError(f"{file} cannot be read: {reason}; name a readable file with --config") from None
    if len(content) > limits.CONFIG_BYTES_MAX:
        raise ConfigError(f"{file} is too large; a configuration has at most {limits.CONFIG_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line} is not UTF-8; save the file as UTF-8") from None


def _bad_toml(file: FilePath, text: str, message: str) -> str:
    found = _TOML_PLACE.search(message)
    what = _lower(message[: found.start()] if found else message)
    if found is not None and found[1]:
        return f"{file}:{found[1]} is no TOML: column {found[2]}: {what}"
    return f"{file}:{_first_bad_line(text)} is no TOML: {what}"


def _first_bad_line(text: str) -> int:
    """Return the line of the statement that does not fit to what is before it (a key given twice)."""
    lines = text.split("\n")
    starts = [number for number, _ in _statements(text)]

    def is_bad(index: int) -> bool:
        end = starts[index + 1] - 1 if index + 1 < len(starts) else len(lines)
        try:
            tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            return True
        return False

    index = bisect_left(range(len(starts)), 1, key=is_bad)
    return starts[index] if index < len(starts) else len(lines)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def lines_of(text: str) -> dict[Path, int]:
    """Return the line of every table and key of a text that is valid TOML."""
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, statement in _statements(text):
        tree = tomllib.loads(statement)
        paths = list(_paths(tree))
        if statement.lstrip().startswith("["):
            table = paths[-1] if paths else ()
            for path in paths:
                lines.setdefault(path, number)
        else:
            for path in paths:
                lines.setdefault(table + path, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number of the first line, text) of each statement, empty lines and comments included."""
    start, pending = 1, ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not pending:
            start = number
        pending += line + "\n"
        try:
            tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            if number - start + 1 >= limits.STATEMENT_LINES_MAX:
                return
        else:
            yield start, pending
            pending = ""


def _paths(tree: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(tree, list) and tree and isinstance(tree[-1], dict):
        tree = tree[-1]
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield (*path, name)
            yield from _paths(value, (*path, name))


def _line(lines: Mapping[Path, int], path: Path) -> int | None:
    """Return the line of the longest known beginning of the path."""
    known = (lines.get(path[:length]) for length in range(len(path), 0, -1))
    return next((line for line in known if line is not None), None)


def _leaves(document: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    for name, value in document.items():
        if not isinstance(value, dict):
            yield (name,), value
        elif name == QUEUES:
            yield from _queue_leaves(value)
        else:
            for key, item in value.items():
                yield (name, key), item


def _queue_leaves(queues: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    for queue, table in queues.items():
        if not isinstance(table, dict) or not table:
            yield (QUEUES, queue), table or None
        else:
            for key, item in table.items():
                yield (QUEUES, queue, key), item


def read_environment(environ: Mapping[str, str], queues: Iterable[str]) -> dict[Path, Given]:
    """Read the variables that name a key; others are none of our business and ignored.

    `CALLGAUGE_KAFKA__GROUP_ID` and `CALLGAUGE_KAFKA_GROUP_ID` both mean `kafka.group_id`; an empty variable
    counts as not set. `CALLGAUGE_QUEUES__SALES__TARGET` means the configured queue whose name reads like that
    in a variable, otherwise a new queue with the name in lower case.
    """
    names = _variable_names()
    known_queues = _queue_names(queues)
    given: dict[Path, Given] = {}
    for variable in sorted(environ):
        text = environ[variable]
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text:
            continue
        path = names.get(variable) or _queue_path(variable, known_queues)
        key = key_at(path) if path else None
        if path is None or key is None:
            continue
        before = given.get(path)
        if before is not None and before.value != from_text(key, text):
            raise ConfigError(f"{before.source} and {variable} both set {key.name}; keep one of them")
        given[path] = Given(from_text(key, text), Source(Origin.ENVIRONMENT, variable))
    return given


def ignored_variables(
    environ: Mapping[str, str], given: Mapping[Path, Given]
) -> tuple[tuple[str, str | None], ...]:
    """Return the variables with our prefix that mean nothing, each with the nearest one that would."""
    used = {item.source.name for item in given.values()} | OWN_VARIABLES
    return tuple(
        (variable, nearest(variable, _variable_names()))
        for variable in sorted(environ)
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in used and environ[variable]
    )


def _variable_names() -> dict[str, Path]:
    both = {environment_name(path).replace("__", "_"): path for path in known_keys()}
    return both | {environment_name(path): path for path in known_keys()}


def _queue_names(queues: Iterable[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for queue in queues:
        part = environment_part(queue)
        # two queues that read alike can be set in the file only
        names[part] = "" if part in names else queue
    return names


def _queue_path(variable: str, queues: Mapping[str, str]) -> Path | None:
    prefix = f"{ENVIRONMENT_PREFIX}{QUEUES.upper()}__"
    if not variable.startswith(prefix):
        return None
    part, _, key = variable[len(prefix) :].rpartition("__")
    name = next((name for name in queue_keys() if environment_part(name) == key), None)
    queue = queues.get(part.upper(), part.lower())
    return (QUEUES, queue, name) if queue and name else None


def read_options(options: Iterable[Option]) -> dict[Path, Given]:
    """Read what the command line sets; a later option wins."""
    given: dict[Path, Given] = {}
    for option in options:
        path = _option_path(option)
        key = key_at(path)
        if key is not None and key.kind is Kind.SECRET:
            raise ConfigError(
                f"{option.name} {key.name} would show a secret to everyone on this machine (list of processes); "
                f"use the variable {key.environment}, or a file"
            )
        value = from_text(key, option.value) if key and isinstance(option.value, str) else option.value
        given[path] = Given(value, Source(Origin.OPTION, option.name))
    return given


def parse_set(text: str) -> Option:
    """Read `KEY=VALUE` of the command line."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(
            f"--set {quoted(text.split(maxsplit=1)[0] if text.split() else text)} is not KEY=VALUE; "
            "write it like --set windows.clock=stream"
        )
    return Option(key.strip(), value.strip())


def _option_path(option: Option) -> Path:
    try:
        tree = tomllib.loads(f"{option.key} = 0")
    except tomllib.TOMLDecodeError:
        raise ConfigError(
            f"{option.name} {quoted(option.key)} is no key; write it like queue_defaults.target"
        ) from None
    return list(_paths(tree))[-1]


def from_text(key: Key, text: str) -> Any:
    """Return the value that TOML would hold for this text; the text itself where it does not fit the key."""
    text = text.strip()
    if key.kind is Kind.INTEGER and _INTEGER.match(text):
        return int(text)
    if key.kind is Kind.NUMBER and _NUMBER.match(text):
        return float(text)
    if key.kind is Kind.BOOLEAN:
        return _BOOLEANS.get(text.lower(), text)
    if key.kind is Kind.LIST:
        return [part.strip() for part in text.strip("[]").replace('"', "").split(",") if part.strip()]
    return text
