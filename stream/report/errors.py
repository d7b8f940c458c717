"""What can go wrong with a report."""

from importlib.util import find_spec
from typing import Final

_LIBRARIES: Final = ("jinja2", "vl_convert")


class ReportError(Exception):
    """A report that cannot be made; the message is one line that says what to do."""


def require() -> None:
    """Refuse to begin without the libraries of the page, rather than after an hour of replay. Raises ReportError."""
    for name in _LIBRARIES:
        if find_spec(name) is None:
            raise ReportError(f"the report needs {name}; install it with: pip install 'callgauge[report]'")
