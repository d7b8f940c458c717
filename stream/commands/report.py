"""`callgauge report`: a replayed span as a page to print."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.commands.common import ConfigFile, Json, Sets, UsageError, configuration, failing, say, say_json
from stream.commands.history import KAFKA, SOURCE_HELP, STDIN, History, check_source, outcome_text
from stream.commands.outputs import disk, whole_file
from stream.settings import Settings, board_rules

if TYPE_CHECKING:
    from stream.report import Figures


def report(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page to write.")],
    config_file: ConfigFile = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Replay history and write it as one HTML page, to read and to print on A4.

    Service level and abandonment by day and queue, hours of the week, waits, the worst intervals, what became of the
    records, and the definitions used: those of the configuration in force. The page loads nothing and runs nothing.
    Needs callgauge[report].
    """
    from stream.replay import ReplayError  # noqa: PLC0415 - start fast
    from stream.report import ReportError, page, require  # noqa: PLC0415

    check_source(source)
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no directory {out.parent}; make it first")
    settings = configuration(config_file, sets).settings
    with failing(ReplayError, ReportError):
        require()
        figures, counts = _replayed(source, settings)
        text = page(figures, _shown(source), counts)
    with whole_file(str(out)) as stream:
        stream.write(text.encode())
    if as_json:
        say_json(counts)
    else:
        say(f"{outcome_text(counts)}; the report is in {out}")
    return 0


def _replayed(source: str, settings: Settings) -> tuple["Figures", dict[str, Any]]:
    from stream.replay import Replay, summary  # noqa: PLC0415 - start fast
    from stream.report import Figures  # noqa: PLC0415

    with ExitStack() as stack:
        show, feeds = History(source, settings).open(stack)
        replay = Replay(feeds, board_rules(settings), step_ms=None)
        figures = Figures(replay.rules)
        with disk("the temporary directory"):
            for moment in replay.moments():
                figures.add(moment.closed)
                show(replay)
        figures.take_waits(replay.snapshot().queues)
        return figures, summary(replay.read, replay.tally())


def _shown(source: str) -> str:
    """Return the source as the page names it: a file without its directory, which says nothing elsewhere."""
    if source == STDIN:
        return "standard input"
    return source if source.startswith(KAFKA) else Path(source).name
