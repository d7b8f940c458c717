"""The effective configuration: TOML that can be read back, or plain values; secrets hidden."""

from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr

from stream.settings.keys import Key, Path, dotted, key_at, known_keys, queue_keys, toml_text
from stream.settings.load import Configuration
from stream.settings.model import QUEUE_DEFAULTS, QUEUES, Kind
from stream.settings.spans import format_span

HIDDEN = "**********"


def written(key: Key, value: Any) -> Any:
    """Return a value as the file would hold it. A secret is hidden; that there is none is no secret."""
    if key.kind is Kind.SECRET or isinstance(value, SecretStr):
        return "" if isinstance(value, SecretStr) and not value.get_secret_value() else HIDDEN
    if key.kind is Kind.SPAN:
        return format_span(value)
    if key.kind is Kind.LIST:
        return [label for label, _ in value]
    return str(value) if key.kind is Kind.CHOICE else value


def toml_value(key: Key, value: Any) -> str:
    """Write a value as TOML on one line."""
    shown = written(key, value)
    if isinstance(shown, list):
        return "[" + ", ".join(toml_text(item) for item in shown) + "]"
    return toml_text(shown)


def effective(configuration: Configuration) -> Iterator[tuple[Path, Key, Any, str]]:
    """Yield (path, key, value, source) of everything in force, in the order of the file."""
    queues = configuration.settings.queues
    for path, key in known_keys().items():
        yield path, key, _value(configuration, key), str(configuration.source(path))
    for name, queue in queues.items():
        own = configuration.own_keys(name)
        for last, key in queue_keys().items():
            path = (QUEUES, name, last)
            inherited = (QUEUE_DEFAULTS, last)
            source = (
                str(configuration.source(path))
                if last in own
                else f"{dotted(inherited)}: {configuration.source(inherited)}"
            )
            yield path, key_at(path) or key, getattr(queue, key.attribute), source


def _value(configuration: Configuration, key: Key) -> Any:
    holder: Any = configuration.settings
    for part in key.path[:-1]:
        holder = getattr(holder, part)
    return getattr(holder, key.attribute)


def as_toml(configuration: Configuration) -> str:
    """Return TOML with the source of every value in a comment."""
    lines = [f"# effective configuration; file: {configuration.file or 'none'}"]
    section: Path = ()
    for path, key, value, source in effective(configuration):
        if path[:-1] != section:
            section = path[:-1]
            lines += ["", f"[{dotted(section)}]"]
        lines.append(f"{path[-1]} = {toml_value(key, value)}  # {source}")
    for variable, near in configuration.ignored:
        hint = f"; the nearest is {near}" if near else ""
        lines.append(f"# ignored: {variable}{hint}")
    return "\n".join(lines) + "\n"


def as_json(configuration: Configuration) -> dict[str, Any]:
    """Return the same as one object: dotted keys, each with value and source."""
    return {
        "file": str(configuration.file) if configuration.file else None,
        "values": {
            dotted(path): {"value": written(key, value), "source": source}
            for path, key, value, source in effective(configuration)
        },
        "ignored_variables": [variable for variable, _ in configuration.ignored],
    }
