"""Letters as text for people and programs. What came from outside cannot steer a terminal."""

from collections import Counter
from datetime import UTC
from typing import Any, Final

from stream.core.window import rfc3339
from stream.letters.layout import Kind, Letter

COLUMNS: Final = ("letter", "set aside", "reason", "where", "bytes", "resent", "source")
_RIGHT: Final = frozenset({"bytes", "resent"})


def visible(text: str) -> str:
    """Write what is no printable character as an escape: control characters, line ends, bidirectional overrides."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )


def visible_bytes(content: bytes | None) -> str:
    """Write bytes as text, what is no UTF-8 as escapes too."""
    return "" if content is None else visible(content.decode("utf-8", "backslashreplace"))


def fields(letter: Letter) -> dict[str, Any]:
    """Return what may be said of a letter to anybody: nothing of what is in it."""
    return {
        "letter": str(letter.coordinate),
        "set_aside": rfc3339(letter.at_ms, UTC),
        "reason": letter.reason,
        "where": letter.where,
        "bytes": letter.value_bytes,
        "resent": letter.resent,
        "source": str(letter.source) if letter.source else None,
    }


def table(letters: list[Letter]) -> list[str]:
    """Return a heading and a line a letter, in columns."""
    rows = [COLUMNS] + [
        tuple(visible("" if value is None else str(value)) for value in fields(letter).values())
        for letter in letters
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for name, cell, width in zip(COLUMNS, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def summary(counts: Counter[tuple[Kind, str]]) -> list[str]:
    """Return a line a reason: how many, in which topic, why; the most first."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{count:>9}  {kind}  {visible(reason)}" for (kind, reason), count in rows]


def description(letter: Letter) -> list[str]:
    """Return all of a letter, its payload too: for who asked for exactly this one."""
    said = fields(letter) | {
        "key": visible_bytes(letter.key) if letter.key is not None else "none",
        "bytes": _size(letter),
    }
    lines = [
        f"{name.replace('_', ' '):<10} {visible(str(value))}" for name, value in said.items() if value != ""
    ]
    return [*lines, visible_bytes(letter.value) if letter.value is not None else "(no value)"]


def _size(letter: Letter) -> str:
    kept = len(letter.value or b"")
    return str(kept) if kept == letter.value_bytes else f"{letter.value_bytes}, of which {kept} were kept"
