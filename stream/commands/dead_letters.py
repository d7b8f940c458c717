"""`callgauge dead-letters`: look at what was rejected or came too late, and send repaired ones again."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.commands.common import (
    ConfigFile,
    Json,
    RunError,
    Servers,
    Sets,
    UsageError,
    configuration,
    existing,
    failing,
    kafka_options,
    note,
    progress,
    quiet_libraries,
    say,
    say_json,
)
from stream.letters.layout import Coordinate, Kind, Letter
from stream.letters.limits import COORDINATES_MAX, SHOWN_DEFAULT, SHOWN_MAX, VALUE_BYTES_MAX
from stream.settings import Settings

if TYPE_CHECKING:
    from stream.letters.log import LetterLog
    from stream.letters.repair import Outgoing, Refusal
    from stream.letters.selection import Wanted

app = typer.Typer(
    name="dead-letters",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at records that were set aside, rejected or late, and send repaired ones again.",
)

Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="REASON", help="Only those; may be repeated.", show_default="all"),
]
Topics = Annotated[
    list[Kind] | None,
    typer.Option("--topic", help="Only rejected or only late ones.", show_default="both"),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only those set aside at or after this: RFC 3339, or a span of time ago, like 2h.",
        show_default="the beginning",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Only those set aside before this.", show_default="now"),
]
Partition = Annotated[
    int | None,
    typer.Option(
        "--partition",
        metavar="N",
        min=0,
        help="Only those that came from this partition of the events.",
        show_default="all",
    ),
]
LETTER_HELP = "As `dead-letters list` names them, like dead:3:41."


@app.command("list", short_help="Show what was set aside, without what is in it.")
def list_letters(
    *,
    reasons: Reasons = None,
    topics: Topics = None,
    since: Since = None,
    until: Until = None,
    partition: Partition = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=SHOWN_MAX, help="Show the newest N.")
    ] = SHOWN_DEFAULT,
    summary: Annotated[bool, typer.Option("--summary", help="Only count them, by topic and reason.")] = False,
    config_file: ConfigFile = None,
    sets: Sets = None,
    servers: Servers = None,
    as_json: Json = False,
) -> int:
    """Show records that were set aside: where, when, why and how large; never what is in them.

    Records that a crash made be set aside twice are shown once.
    """
    wanted = _wanted(reasons, topics, since, until, partition)
    from stream.letters import text  # noqa: PLC0415 - start fast
    from stream.letters.selection import Copies, by_reason, newest  # noqa: PLC0415

    settings = _settings(config_file, sets, servers)
    copies = Copies()
    with _log(settings) as log:
        letters = copies.without(_matching(log, wanted))
        if summary:
            counts = by_reason(letters)
            if as_json:
                say_json(
                    [
                        {"topic": str(kind), "reason": reason, "count": count}
                        for (kind, reason), count in counts.most_common()
                    ]
                )
            else:
                for line in text.summary(counts):
                    say(line)
            return 0
        found = newest(letters, limit)
    if as_json:
        say_json([text.fields(letter) for letter in found])
    elif found:
        for line in text.table(found):
            say(line)
    else:
        note("callgauge: no such letters")
    return 0


@app.command("show", short_help="Show letters with what is in them.")
def show(
    letters: Annotated[list[str], typer.Argument(metavar="LETTER", help=LETTER_HELP)],
    *,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Write the value only, byte for byte; of several letters, one a line."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", dir_okay=False, help="Where to write.", show_default="standard output"
        ),
    ] = None,
    config_file: ConfigFile = None,
    sets: Sets = None,
    servers: Servers = None,
) -> int:
    """Show what is in letters: they hold data of callers.

    What cannot be printed is written as an escape, so no letter can steer the terminal; --raw writes the bytes
    as they are, to a file or a pipe.
    """
    coordinates = _coordinates(letters)
    if raw and out is None and sys.stdout.isatty():
        raise UsageError(
            "--raw would write any bytes to this terminal; name a file with --out, or use a pipe"
        )
    settings = _settings(config_file, sets, servers)
    from stream.letters import text  # noqa: PLC0415 - start fast

    with _log(settings) as log:
        found = log.find(coordinates)
    there = [found[one] for one in coordinates if one in found]
    if raw:
        _write(out, _raw(there))
    else:
        blocks = ["\n".join(text.description(letter)) for letter in there]
        if out is not None or blocks:
            _write(out, ("\n\n".join(blocks) + "\n").encode())
    return 1 if _missing(coordinates, found) else 0


@app.command("resend", short_help="Send letters again, repaired or as they were.")
def resend(
    letters: Annotated[
        list[str] | None, typer.Argument(metavar="LETTER", help=LETTER_HELP, show_default="none")
    ] = None,
    *,
    reasons: Reasons = None,
    everything: Annotated[bool, typer.Option("--all", help="All that the filters leave.")] = False,
    topics: Topics = None,
    since: Since = None,
    until: Until = None,
    partition: Partition = None,
    edit: Annotated[
        Path | None,
        typer.Option(
            "--edit",
            metavar="FILE",
            help="Send these bytes instead: the whole file for one LETTER, a line each for several, in their "
            "order; without LETTER, repaired events as JSON lines. - for standard input.",
            show_default="what was set aside",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Send also what would only be set aside again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, say what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config_file: ConfigFile = None,
    sets: Sets = None,
    servers: Servers = None,
    as_json: Json = False,
) -> int:
    """Send letters to the topic of events again, keyed by the call_id of what is sent.

    The letter stays in its topic. What would only come back is refused, counted, and makes the exit code 1:
    a late event stays late unless it gets a later time. Sending an event twice is a duplicate or late, and
    never counts twice. A header says how often a letter was sent again, and comes back with it.
    """
    chosen = bool(reasons or everything)
    coordinates = _coordinates(letters or [])
    if bool(coordinates) + chosen + (edit is not None and not coordinates) != 1:
        raise UsageError(
            "name letters, or choose them with --reason or --all, or give --edit FILE; one of these"
        )
    file = existing(edit) if edit is not None else None
    wanted = _wanted(reasons, topics, since, until, partition)
    if not chosen and any(given is not None for given in (topics, since, until, partition)):
        raise UsageError("--topic, --since, --until and --partition go with --reason or --all")
    settings = _settings(config_file, sets, servers)
    job = _Job(settings, force)
    with _log(settings) as log:
        if chosen:
            plan = _chosen(log, wanted, job)
        else:
            plan = _given(log, coordinates, _content(file) if edit is not None else None, job)
        sure = dry_run or yes or not job.outcome.sent or _agreed(job.outcome)
        if not sure:
            raise RunError("nothing was sent")
        if not dry_run and job.outcome.sent:
            _send(settings, plan(), job.outcome)
    _report(job.outcome, dry_run=dry_run, as_json=as_json)
    return 1 if job.outcome.refused or job.outcome.missing else 0


# --- what is meant --------------------------------------------------------------------------------------------


def _settings(file: Path | None, sets: list[str] | None, servers: str | None) -> Settings:
    return configuration(file, sets, kafka_options(servers)).settings


def _coordinates(texts: list[str]) -> list[Coordinate]:
    from stream.letters.selection import coordinate  # noqa: PLC0415 - start fast

    if len(texts) > COORDINATES_MAX:
        raise UsageError(
            f"{len(texts)} letters are too many at once, {COORDINATES_MAX} at most; use --reason"
        )
    try:
        found = [coordinate(text) for text in texts]
    except ValueError as error:
        raise UsageError(str(error)) from error
    if len(set(found)) < len(found):
        raise UsageError("a letter is named twice")
    return found


def _wanted(
    reasons: list[str] | None,
    topics: list[Kind] | None,
    since: str | None,
    until: str | None,
    partition: int | None,
) -> "Wanted":
    from stream.letters.selection import Wanted  # noqa: PLC0415 - start fast

    return Wanted(
        frozenset(reasons or ()),
        tuple(dict.fromkeys(topics or Kind)),
        _time_ms("--since", since),
        _time_ms("--until", until),
        partition,
    )


def _time_ms(option: str, text: str | None) -> int | None:
    from schemas.events import instant_ms  # noqa: PLC0415 - start fast
    from stream.clock import wall_ms  # noqa: PLC0415
    from stream.settings.spans import parse_span  # noqa: PLC0415

    if text is None:
        return None
    try:
        return instant_ms(text)
    except ValueError:
        pass
    try:
        return max(0, wall_ms() - parse_span(text))
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is no time; write 2026-03-02T08:00:00+01:00, or 2h for ago"
        ) from error


@contextmanager
def _log(settings: Settings) -> Iterator["LetterLog"]:
    import asyncio  # noqa: PLC0415 - start fast

    from stream.access import access_of  # noqa: PLC0415
    from stream.commands.delivery import check_topic  # noqa: PLC0415
    from stream.letters.log import LetterLog, LetterLogError  # noqa: PLC0415

    quiet_libraries()
    kafka = settings.kafka
    access = access_of(settings)
    # the client of kafka-python starts a thread before it knows that nobody is there
    asyncio.run(check_topic(kafka.bootstrap_servers, access, kafka.topic_events))
    topics = {Kind.DEAD: kafka.topic_dead, Kind.LATE: kafka.topic_late}
    options = access.client_options()
    with failing(LetterLogError), LetterLog(kafka.bootstrap_servers, topics, options) as log:
        yield log


def _matching(log: "LetterLog", wanted: "Wanted") -> Iterator[Letter]:
    with progress("letters read") as show:
        for number, letter in enumerate(log.letters(wanted.kinds, wanted.since_ms), 1):
            show(number)
            if wanted.has(letter):
                yield letter


def _missing(coordinates: list[Coordinate], found: dict[Coordinate, Letter]) -> int:
    missing = [str(one) for one in coordinates if one not in found]
    for one in missing:
        note(f"callgauge: {one} is not there; retention may have taken it")
    return len(missing)


# --- showing --------------------------------------------------------------------------------------------------


def _raw(letters: list[Letter]) -> bytes:
    if len(letters) == 1:
        return letters[0].value or b""
    for letter in letters:
        if b"\n" in (letter.value or b""):
            raise RunError(f"{letter.coordinate} holds a line break, so it cannot be a line; show it alone")
    return b"".join((letter.value or b"") + b"\n" for letter in letters)


def _write(out: Path | None, content: bytes) -> None:
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(f"{out} cannot be written: {reason}; choose another file with --out") from error


# --- sending again --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Outcome:
    sent: int = 0
    forced: int = 0
    copies: int = 0
    missing: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class _Job:
    """Decides what is sent. One clock for all of it, so that what was planned is what is sent."""

    def __init__(self, settings: Settings, force: bool) -> None:  # noqa: FBT001 - one call
        from stream.clock import wall_ms  # noqa: PLC0415 - start fast

        self.outcome = _Outcome()
        self._force = force
        self._now_ms = wall_ms()
        self._future_skew_ms = settings.events.future_skew_ms

    def admit(
        self,
        letters: Iterable[tuple[Letter | None, bytes | None]],
        on_refusal: Callable[[str, "Refusal"], None],
    ) -> Iterator["Outgoing"]:
        """Yield what is sent, of letters and what they were repaired to."""
        from stream.letters.repair import outgoing, refusal  # noqa: PLC0415 - start fast

        for number, (letter, repaired) in enumerate(letters, 1):
            why = refusal(letter, repaired, self._now_ms, self._future_skew_ms)
            if why is not None:
                on_refusal(str(letter.coordinate) if letter else f"line {number}", why)
                if not self._force:
                    continue
            yield outgoing(letter, repaired)

    def count(self, letters: Iterable[tuple[Letter | None, bytes | None]], *, name: bool) -> None:
        """Go through letters without sending; ``name`` those that are refused."""
        refused: Counter[str] = Counter()

        def on_refusal(which: str, why: "Refusal") -> None:
            refused[why.reason] += 1
            if name:
                note(f"callgauge: {which} would be set aside again: {why}")

        self.outcome.sent = sum(1 for _ in self.admit(letters, on_refusal))
        if self._force:
            self.outcome.forced = refused.total()
        else:
            self.outcome.refused = refused


Plan = Callable[[], Iterator["Outgoing"]]


def _ignore(_which: str, _why: "Refusal") -> None:
    """Say nothing: it was counted when the plan was made."""


def _chosen(log: "LetterLog", wanted: "Wanted", job: _Job) -> Plan:
    """Plan to send what filters leave. The letters are read twice: once to count and ask, once to send."""
    from stream.letters.selection import Copies  # noqa: PLC0415 - start fast

    copies = Copies()
    job.count(((letter, None) for letter in copies.without(_matching(log, wanted))), name=False)
    job.outcome.copies = copies.count
    return lambda: job.admit(((letter, None) for letter in Copies().without(_matching(log, wanted))), _ignore)


def _given(log: "LetterLog", coordinates: list[Coordinate], content: bytes | None, job: _Job) -> Plan:
    """Plan to send the letters that were named, or lines of repaired events."""
    pairs: list[tuple[Letter | None, bytes | None]]
    if coordinates:
        found = log.find(coordinates)
        job.outcome.missing = _missing(coordinates, found)
        edits = _edits(content, len(coordinates))
        pairs = [(found[one], edited) for one, edited in zip(coordinates, edits, strict=True) if one in found]
    else:
        pairs = [(None, line) for line in _lines(content or b"")]
    job.count(pairs, name=True)
    return lambda: job.admit(pairs, _ignore)


def _lines(content: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in content.split(b"\n") if line.strip()]


def _edits(content: bytes | None, count: int) -> list[bytes | None]:
    """Return what each of the named letters was repaired to; None: nothing."""
    if content is None:
        return [None] * count
    if count == 1:
        return [content.strip()]
    lines = _lines(content)
    if len(lines) != count:
        raise UsageError(f"--edit has {len(lines)} lines for {count} letters; it needs one each")
    return list(lines)


def _content(file: Path | None) -> bytes:
    """Read the repaired bytes; None is standard input."""
    from stream.commands.delivery import opened  # noqa: PLC0415 - start fast

    longest = COORDINATES_MAX * VALUE_BYTES_MAX
    with opened(file) as stream:
        return stream.read(longest)


def _agreed(outcome: _Outcome) -> bool:
    """Ask who sits at the terminal; nobody there has agreed by starting it."""
    if not sys.stdin.isatty():
        return True
    refused = f"; {outcome.refused.total()} would only come back and stay" if outcome.refused else ""
    sys.stderr.write(f"send {outcome.sent} letters again{refused}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _send(settings: Settings, records: Iterable["Outgoing"], outcome: _Outcome) -> None:
    from stream.access import access_of  # noqa: PLC0415 - start fast
    from stream.letters.log import send_all  # noqa: PLC0415

    kafka = settings.kafka
    options = access_of(settings).client_options()
    with progress("letters sent", outcome.sent) as show:
        outcome.sent = send_all(kafka.bootstrap_servers, kafka.topic_events, records, options, show)


def _report(outcome: _Outcome, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        counts: dict[str, Any] = {
            "dry_run": dry_run,
            "sent": outcome.sent,
            "forced": outcome.forced,
            "refused": dict(outcome.refused),
            "copies": outcome.copies,
            "missing": outcome.missing,
        }
        say_json(counts)
        return
    parts = [f"{'would send' if dry_run else 'sent'} {outcome.sent}"]
    if outcome.forced:
        parts.append(f"{outcome.forced} of them by force")
    if outcome.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in outcome.refused.most_common())
        parts.append(f"refused {outcome.refused.total()} ({reasons}); --force sends them")
    if outcome.copies:
        parts.append(f"left out {outcome.copies} copies")
    if outcome.missing:
        parts.append(f"{outcome.missing} are not there")
    say("; ".join(parts))
