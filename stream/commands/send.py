"""`callgauge send`: JSON lines to Kafka."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.commands.common import (
    ConfigFile,
    Json,
    Servers,
    Sets,
    configuration,
    existing,
    kafka_options,
    note,
    progress,
    quiet_libraries,
    say,
    say_json,
)
from stream.settings.spans import format_span

if TYPE_CHECKING:
    from stream.commands.delivery import Outcome


def send(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSON lines (.gz too), or - for standard input."),
    ],
    *,
    event_time: Annotated[
        bool,
        typer.Option(
            "--event-time",
            help="Stamp each record with its event's own time instead of now. For history whose events the "
            "brokers may still keep, and for events that lie ahead of now.",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Send lines that are no events too, keyed by their call_id if they have one."
        ),
    ] = False,
    config_file: ConfigFile = None,
    sets: Sets = None,
    servers: Servers = None,
    as_json: Json = False,
) -> int:
    """Send JSON lines to Kafka, keyed by call_id, byte for byte as they are.

    Lines that are no events are named on stderr, counted and left out; then the exit code is 1.
    """
    file = existing(source)
    settings = configuration(config_file, sets, kafka_options(servers)).settings
    import asyncio  # noqa: PLC0415 - start fast

    from stream.access import access_of  # noqa: PLC0415
    from stream.commands.delivery import Delivery, Manner, lines_of, opened  # noqa: PLC0415

    quiet_libraries()
    manner = Manner(
        servers=settings.kafka.bootstrap_servers,
        access=access_of(settings),
        topic=settings.kafka.topic_events,
        event_time=event_time,
        force=force,
        future_skew_ms=settings.events.future_skew_ms,
    )
    with opened(file) as stream, progress("records sent") as show:
        outcome = asyncio.run(Delivery(manner, note, show).run(lines_of(stream)))
    _report(outcome, format_span(settings.events.future_skew_ms), as_json=as_json)
    return 1 if outcome.skipped else 0


def _report(outcome: "Outcome", skew: str, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "sent": outcome.sent,
                "forced": outcome.forced,
                "skipped": dict(outcome.skipped),
                "future": outcome.future,
            }
        )
    else:
        say(f"sent {outcome.sent} records")
    if outcome.future:
        note(
            f"callgauge: {outcome.future} events lie more than {skew} ahead of their record's timestamp and "
            "will be rejected as future; send them with --event-time"
        )
    if outcome.skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in outcome.skipped.most_common())
        note(
            f"callgauge: {outcome.skipped.total()} lines are no events and were left out ({reasons}); "
            "--force sends them"
        )
