"""The commands by name. Each imports what it needs when it runs, so that `--help` is quick."""

from typing import Annotated

import typer

from stream.commands import (
    backtest,
    config,
    dead_letters,
    demo,
    kafka,
    replay,
    report,
    send,
    simulate,
    topics,
    worker,
)
from stream.commands.common import say

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
app.command(short_help="Say what alert rules would have done over history.")(backtest.backtest)
app.command(short_help="Write history as a page to print.")(report.report)
app.add_typer(dead_letters.app, short_help="Look at what was set aside, and send it again.")
app.command(short_help="Print the effective configuration.")(config.config)
