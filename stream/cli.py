"""The command line: turns every way to fail into one line and an exit code.

Exit codes: 0 done, 1 the run failed, 2 wrong usage or configuration. Heavy modules are imported by the
command that needs them, so that `--help` is quick.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
_INTERRUPTED: Final = 130  # what typer makes of Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. Tracebacks are printed under CALLGAUGE_DEBUG=1 only."""
    try:
        return _run(arguments)
    except (BrokenPipeError, SystemExit) as error:
        return _reader_gone(error)
    except KeyboardInterrupt:
        return _fail("interrupted", FAILED)
    except Exception as error:  # noqa: BLE001 - this is the last place to catch one
        return _unexpected(error)


def _run(arguments: Sequence[str] | None) -> int:
    # even this is imported here: Ctrl-C during the imports is no traceback either
    from stream.commands.app import app  # noqa: PLC0415
    from stream.commands.common import RunError, UsageError, debugging  # noqa: PLC0415
    from stream.settings import ConfigError  # noqa: PLC0415

    try:
        code = app(args=arguments, prog_name="callgauge", standalone_mode=False)
        sys.stdout.flush()
    except (ConfigError, UsageError) as error:
        return _fail(str(error), USAGE)
    except RunError as error:
        if debugging():
            traceback.print_exc()
        return _fail(str(error), FAILED)
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else DONE


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"callgauge: {' '.join(message.split())}\n")
    return code


def _reader_gone(error: BaseException) -> int:
    """End quietly when whoever reads our output has had enough (`callgauge replay - | head`)."""
    if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
        return error.code if isinstance(error.code, int) else FAILED
    # the interpreter flushes stdout once more at exit, and would complain
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return DONE


def _unexpected(error: Exception) -> int:
    from stream.commands.common import DEBUG_VARIABLE, debugging  # noqa: PLC0415 - see above

    # typer's own errors carry their text in this method, in every version of it; the classes have moved
    usage = getattr(error, "format_message", None)
    if callable(usage):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "callgauge"
        text = str(usage()).strip().removesuffix(".").replace("Value error, ", "")
        return _fail(f"{text[:1].lower()}{text[1:]}; see {command} --help", USAGE)
    if debugging():
        traceback.print_exc()
        return FAILED
    place = traceback.extract_tb(error.__traceback__)[-1]
    # not what the error says: it may name a call, and a service's stderr is a log
    return _fail(
        f"this is a bug, please report it: {type(error).__name__} "
        f"({place.filename}:{place.lineno}); {DEBUG_VARIABLE}=1 shows more",
        FAILED,
    )
