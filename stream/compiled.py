"""The hot modules of the core as machine code, where that was made of exactly the sources that are here.

``hatch_build.py`` compiles them with mypyc, where there is a C compiler, into a folder that is named after the sources,
the Python and the machine: code of other sources, or for another Python, is in another folder and is never loaded.
Without a folder that fits, the same modules run as Python: the same results, in more time.
"""

import hashlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# What an event passes through, from a decoded record to a window. In this order: each needs only those before it.
MODULES: Final = (
    "stream.core.counts",
    "stream.core.rules",
    "stream.core.place",
    "stream.core.facts",
    "stream.core.cells",
    "stream.core.call",
    "stream.core.calls",
)
SUFFIX: Final = EXTENSION_SUFFIXES[0]  # of a module for this Python on this machine
GROUP: Final = "callgauge__mypyc"  # the one library that holds the code of all of them
_FOLDERS: Final = ROOT / "stream" / "_compiled"
_DIGEST_CHARACTERS: Final = 16


def folder() -> Path:
    """Return where the code made of the present sources belongs.

    Constants and types of other modules go into the code too, so all of the core and the schemas count.
    """
    digest = hashlib.sha256()
    for source in sorted([*(ROOT / "stream" / "core").glob("*.py"), *(ROOT / "schemas").glob("*.py")]):
        digest.update(f"{source.name}\n".encode() + source.read_bytes())
    return _FOLDERS / (digest.hexdigest()[:_DIGEST_CHARACTERS] + SUFFIX.removesuffix(".so"))


class _Finder(MetaPathFinder):
    """Finds the compiled modules before Python looks for their sources."""

    def __init__(self, place: Path) -> None:
        self.files = {name: place / (name + SUFFIX) for name in (*MODULES, GROUP)}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return where a compiled module is; None for all others."""
        file = self.files.get(fullname)
        return None if file is None else spec_from_file_location(fullname, file)


def use() -> None:
    """Load the hot modules from their compiled files from now on, if there are any."""
    finder = _Finder(folder())
    if all(file.is_file() for file in finder.files.values()):
        sys.meta_path.insert(0, finder)


def avoid() -> None:
    """Load them as Python from now on."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


def in_use() -> bool:
    """Say whether the compiled modules are the ones that are loaded, or will be."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)
