"""The command line: names the commands, and turns every way to fail into one line and an exit code.

Exit codes: 0 done, 1 the run failed, 2 wrong usage or configuration. Heavy modules are imported by the
command that needs them, so that `--help` is quick.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from stream.commands import config, demo, kafka, replay, send, simulate, topics, worker
from stream.commands.common import DEBUG_VARIABLE, RunError, UsageError, debugging, say
from stream.settings import ConfigError

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
_INTERRUPTED: Final = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    name="callgauge",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def callgauge(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Live service level, abandonment and the other KPIs of a contact centre, from Kafka to Prometheus.

    Settings come from callgauge.toml or --config FILE, from CALLGAUGE_* variables over it, and from options
    over both; `callgauge config` shows what is in force. Exit codes: 0 done, 1 the run failed, 2 wrong usage
    or configuration. CALLGAUGE_DEBUG=1 shows tracebacks.
    """
    if version:
        from importlib import metadata  # noqa: PLC0415 - 20 ms that only this needs

        say(f"callgauge {metadata.version('callgauge')}")
    elif context.invoked_subcommand is None:
        say(context.get_help())


app.command(short_help="Run everything on this machine, to look at.")(demo.demo)
app.command(short_help="Run the embedded Kafka alone.")(kafka.kafka)
app.command(short_help="Create the topics, or check that they fit.")(topics.topics)
app.command(short_help="Run the processor.")(worker.worker)
app.command(short_help="Simulate a call centre, to Kafka or to a file.")(simulate.simulate)
app.command(short_help="Send JSON lines to Kafka.")(send.send)
app.command(short_help="Put history through the same core.")(replay.replay)
app.command(short_help="Print the effective configuration.")(config.config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. Tracebacks are printed under CALLGAUGE_DEBUG=1 only."""
    try:
        code = app(args=arguments, prog_name="callgauge", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        return _reader_gone(error)
    except (ConfigError, UsageError) as error:
        return _fail(str(error), USAGE)
    except RunError as error:
        if debugging():
            traceback.print_exc()
        return _fail(str(error), FAILED)
    except Exception as error:  # noqa: BLE001 - this is the last place to catch one
        return _unexpected(error)
    if code == _INTERRUPTED:
        return _fail("interrupted", FAILED)
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
    return _fail(
        f"this is a bug, please report it: {type(error).__name__}: {error} "
        f"({place.filename}:{place.lineno}); {DEBUG_VARIABLE}=1 shows more",
        FAILED,
    )
