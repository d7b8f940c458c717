"""`callgauge simulate`: a seeded call centre as events, to Kafka or to a file."""

import asyncio
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.clock import wall_ms
from stream.commands.common import (
    ConfigFile,
    Json,
    RunError,
    Servers,
    Sets,
    UsageError,
    configuration,
    failing,
    kafka_options,
    note,
    progress,
    quiet_libraries,
    say,
    say_json,
)
from stream.settings import Settings
from stream.settings.spans import parse_span

if TYPE_CHECKING:
    from stream.simulate import Emission

# A Monday, so that a file depends on the seed and the options and on nothing else.
FILE_START = "2026-03-02T00:00:00Z"
FILE_HOURS = 24.0
HOUR_MS = 3_600_000
_AGO = re.compile(r"-(.+)\Z")


def simulate(
    *,
    seed: Annotated[int, typer.Option("--seed", help="The same seed and options give the same events.")] = 1,
    calls: Annotated[
        int | None,
        typer.Option(
            "--calls", metavar="N", min=1, help="Stop after so many calls.", show_default="no bound"
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            "--hours",
            metavar="H",
            min=0.001,
            help="Stop taking calls after so many simulated hours.",
            show_default="24 to a file without --calls, otherwise no bound",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="TIME",
            help="When the simulated time begins: now, an instant like 2026-03-02T08:00:00+01:00, or a span "
            "before now like -4h. What lies before now is sent at once.",
            show_default=f"now to Kafka, {FILE_START} to a file",
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option("--speed", metavar="X", min=0.01, help="Simulated seconds a second, to Kafka."),
    ] = 1.0,
    at_once: Annotated[bool, typer.Option("--at-once", help="To Kafka without waiting at all.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            dir_okay=False,
            allow_dash=True,
            help="Write JSON lines to this file (.gz packs them), or to standard output with -.",
            show_default="send to Kafka",
        ),
    ] = None,
    scale: Annotated[
        float, typer.Option("--scale", metavar="X", min=0.01, max=1000, help="Calls and agents times this.")
    ] = 1.0,
    busy: Annotated[
        bool, typer.Option("--busy", help="Make the start a Tuesday at 14:00, whatever the clock says.")
    ] = False,
    disturb: Annotated[
        list[str] | None,
        typer.Option(
            "--disturb",
            metavar="TEXT",
            help="KIND QUEUES AT FOR [FACTOR], KIND being staff_shortage, outage or surge: "
            "'staff_shortage sales 10:00 45m 0.4'. May be repeated.",
            show_default="nothing goes wrong",
        ),
    ] = None,
    delay: Annotated[
        str, typer.Option("--delay", metavar="SPAN", help="Send events up to this late, out of order.")
    ] = "0s",
    duplicates: Annotated[
        float, typer.Option("--duplicates", metavar="SHARE", min=0, max=1, help="Send this share twice.")
    ] = 0.0,
    config_file: ConfigFile = None,
    sets: Sets = None,
    servers: Servers = None,
    as_json: Json = False,
) -> int:
    """Simulate a call centre of six queues; its events go to Kafka, or with --out to a JSON-lines file.

    Ctrl-C ends it in order.
    """
    settings = configuration(config_file, sets, kafka_options(servers)).settings
    if as_json and out is not None and str(out) == "-":
        raise UsageError("--json cannot go with --out -, both write to standard output; choose a file")
    if out is not None and calls is None and hours is None:
        hours = FILE_HOURS
    start_ms = _start_ms(start or ("now" if out is None else FILE_START))
    wish = Wish(seed, calls, hours, start_ms, scale, tuple(disturb or ()), delay, duplicates, busy)
    count = Count()
    emissions = count.watch(_emissions(wish, settings))
    if out is not None:
        where = _write(emissions, out)
    else:
        where = settings.kafka.topic_events
        _produce(emissions, settings, None if at_once else speed)
    _report(count, where, out, as_json=as_json)
    return 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be simulated."""

    seed: int
    calls: int | None
    hours: float | None
    start_ms: int
    scale: float
    disturb: tuple[str, ...]
    delay: str
    duplicates: float
    busy: bool


class Count:
    """How much has gone through."""

    def __init__(self) -> None:
        self.events = 0
        self.calls = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None

    def watch(self, emissions: "Iterator[Emission]") -> "Iterator[Emission]":
        """Pass everything on, counted."""
        for emission in emissions:
            self.events += 1
            self.calls += type(emission.event).__name__ == "Offered"
            if self.first_ms is None:
                self.first_ms = emission.emit_at_ms
            self.last_ms = emission.emit_at_ms
            yield emission


def _start_ms(text: str) -> int:
    from schemas.events import instant_ms  # noqa: PLC0415 - start fast

    if text == "now":
        return wall_ms()
    try:
        ago = _AGO.match(text)
        return wall_ms() - parse_span(ago[1]) if ago else instant_ms(text)
    except ValueError:
        raise UsageError(
            f"--start {text} is no time; write now, -4h, or an instant like {FILE_START}"
        ) from None


def _emissions(wish: Wish, settings: Settings) -> "Iterator[Emission]":
    from stream import simulate as simulation  # noqa: PLC0415 - start fast

    try:
        delay_ms = parse_span(wish.delay)
    except ValueError as error:
        raise UsageError(f"--delay {wish.delay} {error}") from None
    centre = simulation.default_centre(settings.time_zone).scaled(wish.scale)
    if wish.busy:
        centre = centre.at_working_hour(wish.start_ms)
    disorder = None
    if delay_ms or wish.duplicates:
        disorder = simulation.Disorder(delay_ms_max=delay_ms, duplicate_probability=wish.duplicates)
    try:
        return simulation.simulate(
            centre,
            seed=wish.seed,
            start_ms=wish.start_ms,
            duration_ms=None if wish.hours is None else round(wish.hours * HOUR_MS),
            calls=wish.calls,
            disturbances=[simulation.parse_disturbance(text) for text in wish.disturb],
            disorder=disorder,
        )
    except simulation.DisturbanceError as error:
        raise UsageError(f"--disturb: {error}") from None


def _write(emissions: "Iterator[Emission]", out: Path) -> str:
    from stream.simulate import write_file  # noqa: PLC0415 - start fast

    target: Any = sys.stdout.buffer if str(out) == "-" else out
    if target is not out:
        write_file(emissions, target)
        return "standard output"
    with failing(OSError), progress("events written") as show:
        write_file(emissions, target, show)
    return str(out)


def _produce(emissions: "Iterator[Emission]", settings: Settings, speed: float | None) -> None:
    quiet_libraries()
    asyncio.run(_producing(emissions, settings, speed))


async def _producing(emissions: "Iterator[Emission]", settings: Settings, speed: float | None) -> None:
    from stream.access import access_of  # noqa: PLC0415 - start fast
    from stream.commands.delivery import check_topic  # noqa: PLC0415
    from stream.simulate import ProduceError, produce  # noqa: PLC0415

    servers, topic = settings.kafka.bootstrap_servers, settings.kafka.topic_events
    access = access_of(settings)
    await check_topic(servers, access, topic)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with _too_far_ahead(), failing(ProduceError), progress("events sent") as show:
        await produce(
            emissions,
            servers,
            topic,
            speed=speed,
            now_ms=wall_ms,
            stop=stop,
            on_progress=lambda state: show(state.sent),
            client_options=access.client_options(),
        )


@contextmanager
def _too_far_ahead() -> Iterator[None]:
    try:
        yield
    except RunError as error:
        if "InvalidTimestamp" not in str(error):
            raise
        raise RunError(
            "the simulated time is too far ahead for the brokers (message.timestamp.after.max.ms, "
            "an hour by default); begin earlier with --start"
        ) from error


def _report(count: Count, where: str, out: Path | None, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "events": count.events,
                "calls": count.calls,
                "first_ms": count.first_ms,
                "last_ms": count.last_ms,
                "to": where,
            }
        )
        return
    text = f"{count.events} events of {count.calls} calls to {where}"
    (note if out is not None and str(out) == "-" else say)(text)
