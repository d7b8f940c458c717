"""`callgauge demo`: everything on one machine."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import typer

from stream.commands.common import ConfigFile, Sets, configuration, failing
from stream.commands.worker import AllowRemote, Host, Port


def demo(
    *,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="N",
            min=0,
            help="End by itself so long after the first numbers.",
            show_default="until Ctrl-C",
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            metavar="X",
            min=0.1,
            max=1000,
            help="Simulated seconds a second; other than 1 the wall goes by the stream's clock.",
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same shift.")] = 1,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Start Prometheus and Alertmanager too, if installed, with the shipped alerts."
        ),
    ] = False,
    host: Host = None,
    port: Port = None,
    allow_remote: AllowRemote = None,
    config_file: ConfigFile = None,
    sets: Sets = None,
) -> int:
    """Run everything on this machine: embedded Kafka, a simulated shift, the worker, the page and /metrics.

    The last four hours of the shift are sent at once, so the wall is full from the start; then it goes on in
    real time, or faster. Nothing is kept: Kafka lives in a temporary directory. If the port is taken and was
    not named, another one is used.
    """
    options = {
        "http.host": ("--host", host),
        "http.port": ("--port", port),
        "http.allow_remote": ("--allow-remote", allow_remote),
    }
    try:
        return _demo(config_file, sets, options, _Pace(seconds, speed, seed, full))
    except KeyboardInterrupt:
        return 0  # before there was anything to stop


class _Pace(NamedTuple):
    seconds: float | None
    speed: float
    seed: int
    full: bool


def _demo(file: ConfigFile, sets: Sets, options: Mapping[str, tuple[str, Any]], pace: _Pace) -> int:
    base = configuration(file, sets, options)
    from stream.demo import DemoError, DemoWish, Show, demo_options, run_demo  # noqa: PLC0415 - start fast
    from stream.kafka import EmbeddedKafkaError  # noqa: PLC0415

    more = {option.key: (option.name, option.value) for option in demo_options(base, pace.speed)}
    settings = configuration(file, sets, {**options, **more}).settings
    port_chosen = str(base.source(("http", "port"))) != "default"
    show = Show()
    try:
        with failing(DemoError, EmbeddedKafkaError):
            run_demo(settings, DemoWish(*pace, port_chosen), show)
    finally:
        show.close()
    return 0
