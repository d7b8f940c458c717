"""The table of keys, derived from the models: names, defaults, bounds, and their environment variables."""

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from stream.settings.model import QUEUE_DEFAULTS, QUEUES, Kind, Queue, Section, Settings
from stream.settings.spans import format_span

Path = tuple[str, ...]
ENVIRONMENT_PREFIX: Final = "CALLGAUGE_"
_KIND_OF_TYPE: Final[dict[Any, Kind]] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    SecretStr: Kind.SECRET,
}
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+\Z")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one section: how it is written, what it means and what it may be."""

    path: Path
    attribute: str
    kind: Kind
    default: Any
    low: float | None
    high: float | None
    description: str

    @property
    def name(self) -> str:
        """Return the dotted name."""
        return dotted(self.path)

    @property
    def environment(self) -> str:
        """Return the variable: upper case, with two underscores where the name has a dot."""
        return environment_name(self.path)

    def range(self) -> str | None:
        """Return the bounds in the key's own units."""
        if self.low is None or self.high is None:
            return None
        return f"{self._bound(self.low)} and {self._bound(self.high)}"

    def _bound(self, bound: float) -> str:
        return (
            format_span(int(bound)) if self.kind is Kind.SPAN else f"{bound:g}" if bound <= 1 else str(bound)
        )


def dotted(path: Path) -> str:
    """Write a path as TOML does, with quotes round a part that needs them."""
    return ".".join(part if _BARE.match(part) else toml_text(part) for part in path)


def toml_text(value: Any) -> str:
    """Write text, a number or a truth value as TOML: JSON, but for one character that TOML forbids."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def environment_name(path: Path) -> str:
    """Return the variable of a key: upper case, dots as `__`, all but letters and digits as `_`."""
    return ENVIRONMENT_PREFIX + "__".join(environment_part(part) for part in path)


def environment_part(part: str) -> str:
    """Return one part of a variable's name."""
    return re.sub(r"[^A-Z0-9]", "_", part.upper())


def keys_of(model: type[Section], path: Path = ()) -> Iterator[Key]:
    """Yield the keys of a section and of the sections in it, in the order of the model."""
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        if name == QUEUES:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from keys_of(field.annotation, (*path, name))
        else:
            yield _key((*path, name), attribute, field)


def _key(path: Path, attribute: str, field: FieldInfo) -> Key:
    kind = next((mark for mark in field.metadata if isinstance(mark, Kind)), None)
    lows = [mark.ge for mark in field.metadata if isinstance(mark, annotated_types.Ge)]
    highs = [mark.le for mark in field.metadata if isinstance(mark, annotated_types.Le)]
    return Key(
        path=path,
        attribute=attribute,
        kind=kind or _KIND_OF_TYPE[field.annotation],
        default=field.default,
        low=_number(lows),
        high=_number(highs),
        description=field.description or "",
    )


def _number(bounds: list[Any]) -> float | None:
    return bounds[0] if bounds else None


@functools.cache
def known_keys() -> dict[Path, Key]:
    """Return every key but those of single queues."""
    return {key.path: key for key in keys_of(Settings)}


@functools.cache
def queue_keys() -> dict[str, Key]:
    """Return the keys of a queue by their last name."""
    return {key.path[0]: key for key in keys_of(Queue)}


def key_at(path: Path) -> Key | None:
    """Return the key of a path, also of a single queue's; None for a path that is none."""
    queue_path = 3
    if len(path) == queue_path and path[0] == QUEUES:
        return known_keys().get((QUEUE_DEFAULTS, path[2]))
    return known_keys().get(path)
