"""Compile the hot modules of the core with mypyc, for a wheel or in place: `python hatch_build.py`.

The same sources as machine code fold an event in less than two thirds of the time. Where there is no C compiler
nothing is compiled, and callgauge runs as plain Python: that is said, and is no error. What comes out lies in
`stream/_compiled`, in a folder named after the sources (see `stream/compiled.py`).
"""

import contextlib
import importlib.util
import io
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
# Types are checked by `make lint`; here mypy only has to read them, whatever else is installed.
MYPY_OPTIONS = ("--config-file=", "--ignore-missing-imports", "--no-warn-unused-configs")


def _compiled() -> ModuleType:
    """Load stream/compiled.py by itself: what `stream` needs may not be installed yet."""
    spec = importlib.util.spec_from_file_location("compiled", ROOT / "stream" / "compiled.py")
    assert spec is not None  # noqa: S101 - it is a file of ours
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_core() -> Path | None:
    """Compile, unless that is done for these sources; return the folder, or None where it cannot be done."""
    compiled = _compiled()
    folder: Path = compiled.folder()
    if folder.is_dir():
        return folder
    said = io.StringIO()  # warnings of style, and what is wrong where something is
    try:
        _find_compiler()
        with tempfile.TemporaryDirectory(prefix="callgauge-") as made, contextlib.chdir(made):
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                _build(compiled)
            _move_in(Path("done"), folder)
    # mypyc exits where it finds a type that does not fit; setuptools has errors without a common ancestor
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, Python does as well
        print(f"{said.getvalue()}callgauge: the core stays plain Python: {error}", file=sys.stderr)
        return None
    return folder


def _find_compiler() -> None:
    """Raise where there is none: before mypyc has worked for seconds."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise FileNotFoundError(f"no C compiler ({compiler})")


def _build(compiled: ModuleType) -> None:
    """Make the libraries, in ``done`` of the working folder."""
    from mypyc.build import mypycify  # noqa: PLC0415 - may be missing, which is no error
    from setuptools import Distribution  # noqa: PLC0415

    _lay_sources(Path())
    extensions = mypycify(
        [*MYPY_OPTIONS, *(name.replace(".", "/") + ".py" for name in compiled.MODULES)],
        opt_level="3",
        group_name=compiled.GROUP.removesuffix("__mypyc"),
    )
    distribution = Distribution({"name": "callgauge", "ext_modules": extensions})
    command: Any = distribution.get_command_obj("build_ext")
    command.build_lib = "lib"
    command.ensure_finalized()
    command.run()
    _gather(Path("lib"), Path("done"), compiled)


def _lay_sources(into: Path) -> None:
    """Copy what is compiled and what it imports: nothing else is to be read, and nothing is written beside sources."""
    shutil.copytree(ROOT / "schemas", into / "schemas")
    (into / "stream").mkdir()
    (into / "stream" / "__init__.py").touch()
    shutil.copytree(ROOT / "stream" / "core", into / "stream" / "core")


def _gather(lib: Path, into: Path, compiled: ModuleType) -> None:
    """Lay the libraries side by side, under their modules' full names."""
    into.mkdir()
    for name in (*compiled.MODULES, compiled.GROUP):
        shutil.move(lib / (name.replace(".", "/") + compiled.SUFFIX), into / (name + compiled.SUFFIX))


def _move_in(done: Path, folder: Path) -> None:
    """Make it appear whole or not at all, and drop what was made of earlier sources for the same Python."""
    folder.parent.mkdir(exist_ok=True)
    for old in folder.parent.glob(f"*{folder.suffix}*"):
        shutil.rmtree(old)
    nearly = folder.with_name(f"{folder.name}.new")
    shutil.move(done, nearly)
    nearly.rename(folder)


class CompiledCore(BuildHookInterface[Any]):
    """What hatchling calls when it builds a wheel, or installs the source tree."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; a wheel then holds the code, and is of this Python and machine."""
        folder = compile_core()
        if folder is not None and version == "standard":
            build_data["force_include"][str(folder)] = f"stream/_compiled/{folder.name}"
            build_data["pure_python"] = False
            build_data["infer_tag"] = True


if __name__ == "__main__":
    compile_core()
