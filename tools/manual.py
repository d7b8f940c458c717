"""The reference parts of docs/cli.md and docs/configuration.md, made from the definitions themselves.

`python -m tools.manual` writes them into the documents; a test fails when they differ.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import typer

from stream.settings.keys import Key, known_keys, queue_keys
from stream.settings.model import QUEUE_DEFAULTS, Settings
from stream.settings.show import toml_value

_BLOCK: Final = "<!-- generated: {name} -->\n"
_END: Final = "<!-- end -->\n"


def configuration_reference() -> str:
    """Return a table a section: key, default, what it means."""
    parts = []
    sections: dict[str, list[Key]] = {}
    for key in known_keys().values():
        sections.setdefault(key.path[0] if len(key.path) > 1 else "", []).append(key)
    for section, keys in sections.items():
        parts.append(_section(section, keys))
    return "\n".join(parts)


def _section(section: str, keys: list[Key]) -> str:
    title = f"### `[{section}]`" if section else "### Top of the file"
    if section == QUEUE_DEFAULTS:
        title += " and `[queues.NAME]`"
    lines = [title, "", _section_text(section), ""] if section else [title, ""]
    lines += ["| key | default | range | meaning |", "|---|---|---|---|"]
    for key in keys:
        default = toml_value(key, key.default)
        bounds = (key.range() or "").replace(" and ", " to ")
        lines.append(f"| `{key.path[-1]}` | `{default}` | {bounds} | {key.description} |")
    return "\n".join(lines) + "\n"


def _section_text(section: str) -> str:
    model: Any = Settings.model_fields[section].annotation
    return str(model.__doc__ or "")


def example_file() -> str:
    """Return a whole configuration file with every default, ready to copy."""
    lines = ["```toml"]
    section = ""
    for key in known_keys().values():
        if len(key.path) > 1 and key.path[0] != section:
            section = key.path[0]
            lines += ["", f"[{section}]"]
        lines.append(f"{key.path[-1]} = {toml_value(key, key.default)}")
    lines += [
        "",
        "[queues.sales]",
        'target = "30s"',
        'opening = "Mo-Fr 08:00-20:00; Sa 10:00-14:00"',
        "```",
        "",
    ]
    return "\n".join(lines)


def environment_examples() -> str:
    """Return the variable of every key."""
    lines = ["| key | variable |", "|---|---|"]
    lines += [f"| `{key.name}` | `{key.environment}` |" for key in known_keys().values()]
    lines += [
        f"| `queues.sales.{name}` | `CALLGAUGE_QUEUES__SALES__{name.upper()}` |" for name in queue_keys()
    ]
    return "\n".join(lines) + "\n"


def command_reference() -> str:
    """Return every command with its text, arguments and options."""
    from stream.commands.app import app  # noqa: PLC0415 - the application imports the commands

    group: Any = typer.main.get_command(app)
    context = group.context_class(group, info_name="callgauge")
    parts = []
    for name, command, inner in _commands(group, context):
        lines = [f"### `{name}`", "", re.sub(r"[ \t]*\n[ \t]*", "\n", command.help.strip()), ""]
        if not hasattr(command, "commands"):
            lines += ["| argument or option | meaning |", "|---|---|"]
            lines += [f"| `{names}` | {text} |" for names, text in _records(command, inner)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _commands(group: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield every command with its whole name, those of a group after it."""
    for name, command in group.commands.items():
        inner = command.context_class(command, info_name=name, parent=context)
        yield inner.command_path, command, inner
        if hasattr(command, "commands"):
            yield from _commands(command, inner)


def _records(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            names, text = record
            yield names.replace("|", "\\|"), " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


PAGES: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "configuration.md": {
        "keys": configuration_reference,
        "example": example_file,
        "environment": environment_examples,
    },
    "cli.md": {"commands": command_reference},
}


def filled(page: str, text: str) -> str:
    """Return the text of a page with its generated blocks made anew."""
    for name, make in PAGES[page].items():
        begin = _BLOCK.format(name=name)
        before, found, rest = text.partition(begin)
        _, end, after = rest.partition(_END)
        if not found or not end:
            raise ValueError(f"{page} has no block {begin.strip()} ... {_END.strip()}")
        text = f"{before}{begin}\n{make()}\n{_END}{after}"
    return text


def write(docs: Path) -> None:
    """Write every page with its generated blocks made anew."""
    for page in PAGES:
        path = docs / page
        path.write_text(filled(page, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
