"""From sources to checked settings: file, then environment over it, then the command line over both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stream.settings.checks import nearest, quoted
from stream.settings.keys import Key, Path, dotted, key_at, known_keys, queue_keys
from stream.settings.model import QUEUE_DEFAULTS, QUEUES, Kafka, Kind, Settings
from stream.settings.sources import (
    DEFAULT_FILE,
    ConfigError,
    Given,
    Option,
    Origin,
    Source,
    ignored_variables,
    read_environment,
    read_file,
    read_options,
)
from stream.settings.spans import format_span

_QUEUE_DEPTH: Final = 3
_DEFAULT: Final = Source()
_TABLE_DEPTH: Final = 2
_RANGE_ERRORS: Final = frozenset({"greater_than_equal", "less_than_equal"})
# how a value of a kind is asked for
_WANTED: Final = {
    Kind.INTEGER: "a whole number",
    Kind.NUMBER: "a number",
    Kind.BOOLEAN: "true or false",
    Kind.TEXT: "text in quotes",
    Kind.SECRET: "text in quotes",
}
_Finding = tuple[Sequence[Path], str]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Checked settings, and for every key that was written somewhere: where."""

    settings: Settings
    file: FilePath | None = None
    sources: Mapping[Path, Source] | None = None
    ignored: tuple[tuple[str, str | None], ...] = ()

    def source(self, path: Path) -> Source:
        """Return where the value in force was written."""
        return (self.sources or {}).get(path, _DEFAULT)

    def own_keys(self, queue: str) -> frozenset[str]:
        """Return the names of the keys that a queue sets itself."""
        written = self.sources or {}
        return frozenset(path[2] for path in written if len(path) == _QUEUE_DEPTH and path[1] == queue)


def load(
    file: FilePath | None = None,
    environ: Mapping[str, str] | None = None,
    options: Sequence[Option] = (),
    *,
    directory: FilePath | None = None,
) -> Configuration:
    """Read and check the whole configuration. Raises ConfigError with one line; connects to nothing.

    Without a file, `callgauge.toml` of the directory (of the current one by default) is read if it exists.
    """
    if file is None:
        default = FilePath(DEFAULT_FILE) if directory is None else directory / DEFAULT_FILE
        file = default if default.is_file() else None
    given = read_file(file) if file is not None else {}
    queues = [path[1] for path in given if path[0] == QUEUES and len(path) > 1]
    from_environment = read_environment(environ or {}, dict.fromkeys(queues))
    given |= from_environment
    given |= read_options(options)
    settings = _validated(given)
    _cross_check(settings, given)
    sources = {path: item.source for path, item in given.items()}
    return Configuration(settings, file, sources, ignored_variables(environ or {}, from_environment))


def _validated(given: Mapping[Path, Given]) -> Settings:
    tree = _tree(given)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        findings = [_finding(detail) for detail in error.errors(include_url=False)]
    # what a queue inherits is wrong where it was written: in the defaults
    written = [finding for finding in findings if _is_written(finding[0][0], given)]
    raise ConfigError(_line(min(written or findings, key=lambda found: _rank(found, given)), given))


def _tree(given: Mapping[Path, Given]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, item in given.items():
        # an empty table of a queue has no value, and is a configured queue all the same
        _put(tree, path, {} if item.value is None else item.value)
    queues = tree.get(QUEUES)
    defaults = tree.get(QUEUE_DEFAULTS)
    if isinstance(queues, dict) and isinstance(defaults, dict):
        known = {name: value for name, value in defaults.items() if name in queue_keys()}
        for queue, table in queues.items():
            if isinstance(table, dict):
                queues[queue] = known | table
    return tree


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    """Put a value at its path; a table in the way that is no table is left for the check to find."""
    for part in path[:-1]:
        below: object = tree.setdefault(part, {})
        if not isinstance(below, dict):
            return
        tree = below
    if path[-1] not in tree or value != {}:
        tree[path[-1]] = value


def _finding(detail: ErrorDetails) -> _Finding:
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        return [path], f"{dotted(path)} is no known key{_nearest_key(path)}"
    value = detail["input"]
    key = key_at(path)
    if "[key]" in detail["loc"]:
        return [path], f"{dotted(path[:1])} {quoted(value)} {_cause(detail)}"
    if key is None:
        example = dotted((*path, "NAME") if path == (QUEUES,) else path)
        # what is in a list or a table may be a secret
        shown = "" if isinstance(value, list | dict) else f" {quoted(value)}"
        return [path], f"{dotted(path)}{shown} must be a table; write it as [{example}]"
    if key.kind is Kind.SPAN and detail["type"] in _RANGE_ERRORS:
        value = format_span(value)  # its text was understood, and replaced, before the bounds were looked at
    shown = "" if key.kind is Kind.SECRET else f" {quoted(value)}"
    return [path], f"{dotted(path)}{shown} {_problem(key, detail)}"


def _problem(key: Key, detail: ErrorDetails) -> str:
    bounds = key.range()
    if detail["type"] in _RANGE_ERRORS and bounds is not None:
        return f"is out of range; it must lie between {bounds}"
    if detail["type"] == "value_error":
        return _cause(detail)
    return f"must be {_WANTED.get(key.kind, key.kind.value)}"


def _cause(detail: ErrorDetails) -> str:
    return str(detail.get("ctx", {}).get("error", detail["msg"]))


def _nearest_key(path: Path) -> str:
    """Return the key that was meant, or what there is in that section."""
    section, name = path[:-1], path[-1]
    if section[:1] == (QUEUES,) and len(section) == _TABLE_DEPTH:
        siblings: dict[str, Path] = {key: (*section, key) for key in queue_keys()}
    else:
        siblings = {key[-1]: key for key in known_keys() if key[:-1] == section}
        if not section:
            siblings |= {key[0]: key[:1] for key in known_keys() if len(key) > 1} | {QUEUES: (QUEUES,)}
    elsewhere = {key[-1]: key for key in known_keys() if key[:-1] != section}
    for choices in (siblings, elsewhere):
        if name in choices:
            return f"; the nearest is {dotted(choices[name])}"
    near = nearest(name, siblings)
    if near is not None:
        return f"; the nearest is {dotted(siblings[near])}"
    near = nearest(name, elsewhere)
    if near is not None:
        return f"; the nearest is {dotted(elsewhere[near])}"
    return f"; known are {', '.join(siblings)}" if siblings else ""


def _is_written(path: Path, given: Mapping[Path, Given]) -> bool:
    return any(written[: len(path)] == path or path[: len(written)] == written for written in given)


def _source(path: Path, given: Mapping[Path, Given]) -> Source:
    for length in range(len(path), 0, -1):
        if path[:length] in given:
            return given[path[:length]].source
    below = (item.source for written, item in given.items() if written[: len(path)] == path)
    return next(below, _DEFAULT)


def _rank(finding: _Finding, given: Mapping[Path, Given]) -> tuple[int, int]:
    """Order findings as a reader meets them: the file from the top, then the environment, then options."""
    source = _source(finding[0][0], given)
    return list(Origin).index(source.origin), source.line or 0


def _line(finding: _Finding, given: Mapping[Path, Given]) -> str:
    paths, message = finding
    sources = [_source(path, given) for path in paths]
    written = [source for source in sources if source.origin is not Origin.DEFAULT]
    return f"{written[0]} {message}" if written else message


def _cross_check(settings: Settings, given: Mapping[Path, Given]) -> None:
    """Check what one value alone cannot show; the place named is that of the value which was written."""
    for finding in _contradictions(settings):
        raise ConfigError(_line(finding, given))


def _contradictions(settings: Settings) -> Iterator[_Finding]:
    yield from _queue_contradictions(settings)
    yield from _topic_contradictions(settings)
    yield from _security_contradictions(settings.kafka)
    if len(settings.queues) > settings.events.queues_max:
        paths = [("events", "queues_max"), (QUEUES,)]
        count = len(settings.queues)
        message = f"events.queues_max {settings.events.queues_max} is below the {count} configured queues"
        yield paths, f"{message}; write at least {count}"
    host = settings.http.host
    if not settings.http.allow_remote and not is_loopback(host):
        message = f"http.host {quoted(host)} can be reached from other machines; if that is meant, add"
        yield (
            [("http", "host")],
            f'{message} --allow-remote (http.allow_remote = true), otherwise use "127.0.0.1"',
        )


def _queue_contradictions(settings: Settings) -> Iterator[_Finding]:
    places: dict[Path, Any] = {(QUEUE_DEFAULTS,): settings.queue_defaults}
    places |= {(QUEUES, name): queue for name, queue in settings.queues.items()}
    for place, queue in places.items():
        if queue.short_abandon_ms > queue.target_ms:
            keys = ("short_abandon", "target")
            short, target = format_span(queue.short_abandon_ms), format_span(queue.target_ms)
            paths = [(*place, key) for key in keys] + [(QUEUE_DEFAULTS, key) for key in keys]
            message = f'{dotted((*place, "short_abandon"))} "{short}" is above the target of "{target}"'
            yield paths, f'{message}; write at most "{target}"'
        if queue.target_ms > settings.events.call_age_max_ms:
            oldest = format_span(settings.events.call_age_max_ms)
            target = format_span(queue.target_ms)
            message = f'{dotted((*place, "target"))} "{target}" is above the age at which a visit expires'
            paths = [(*place, "target"), (QUEUE_DEFAULTS, "target"), ("events", "call_age_max")]
            yield paths, f'{message} (events.call_age_max); write at most "{oldest}"'


def _topic_contradictions(settings: Settings) -> Iterator[_Finding]:
    keys = [key for key in known_keys().values() if key.path[-1].startswith("topic_")]
    names: dict[str, Key] = {}
    for key in keys:
        name = getattr(settings.kafka, key.attribute)
        if name in names:
            yield (
                [key.path, names[name].path],
                f"{key.name} {quoted(name)} is the topic of {names[name].name} too; give each another name",
            )
        names[name] = key


def _security_contradictions(kafka: Kafka) -> Iterator[_Finding]:
    protocol = kafka.security_protocol
    password, file = bool(kafka.sasl_password.get_secret_value()), bool(kafka.sasl_password_file)
    given = {
        "sasl_username": bool(kafka.sasl_username),
        "sasl_password": password,
        "sasl_password_file": file,
        "ssl_cafile": bool(kafka.ssl_cafile),
        "ssl_certfile": bool(kafka.ssl_certfile),
        "ssl_keyfile": bool(kafka.ssl_keyfile),
    }
    for name, is_given in given.items():
        sasl = name.startswith("sasl_")
        if is_given and not (protocol.sasl if sasl else protocol.tls):
            wanted = "SASL_SSL" if sasl else protocol.replace("PLAINTEXT", "SSL")
            message = f'kafka.{name} means nothing with kafka.security_protocol "{protocol}"; '
            message += f'set that to "{wanted}", or leave kafka.{name} out'
            yield [("kafka", name), ("kafka", "security_protocol")], message
    place = [("kafka", "security_protocol")]
    if protocol.sasl and not kafka.sasl_username:
        yield place, f'kafka.security_protocol "{protocol}" needs a user; set kafka.sasl_username'
    if protocol.sasl and not (password or file):
        message = f'kafka.security_protocol "{protocol}" needs a password; '
        yield place, f"{message}set kafka.sasl_password_file, or CALLGAUGE_KAFKA__SASL_PASSWORD"
    if password and file:
        message = "kafka.sasl_password and kafka.sasl_password_file are both set; keep one of them"
        yield [("kafka", "sasl_password_file"), ("kafka", "sasl_password")], message
    if kafka.ssl_keyfile and not kafka.ssl_certfile:
        message = "kafka.ssl_keyfile is a key without a certificate; set kafka.ssl_certfile too"
        yield [("kafka", "ssl_keyfile")], message


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
