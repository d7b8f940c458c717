"""`callgauge worker`: the processor, with the page and the metrics."""

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import typer

from stream.commands.common import (
    ConfigFile,
    RunError,
    Servers,
    Sets,
    configuration,
    kafka_options,
    say,
)
from stream.settings import Settings

if TYPE_CHECKING:
    from stream.engine import Engine

Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Address to listen on. Environment: CALLGAUGE_HTTP__HOST.",
        show_default="http.host, 127.0.0.1",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="N",
        help="Port to listen on; 0 takes a free one. Environment: CALLGAUGE_HTTP__PORT.",
        show_default="http.port, 9660",
    ),
]
AllowRemote = Annotated[
    bool | None,
    typer.Option(
        "--allow-remote/--no-allow-remote",
        help="Allow an address that other machines can reach. Environment: CALLGAUGE_HTTP__ALLOW_REMOTE.",
        show_default="http.allow_remote, no",
    ),
]


def worker(
    *,
    host: Host = None,
    port: Port = None,
    allow_remote: AllowRemote = None,
    instance_id: Annotated[
        str | None,
        typer.Option(
            "--instance-id",
            metavar="NAME",
            help="This worker's own lasting name in the group. Environment: CALLGAUGE_KAFKA__INSTANCE_ID.",
            show_default="kafka.instance_id, none",
        ),
    ] = None,
    config_file: ConfigFile = None,
    sets: Sets = None,
    servers: Servers = None,
) -> int:
    """Count events from Kafka and serve the wall-board page, /board.json, /metrics, /healthz and /readyz.

    Prints its address on stdout, logs to stderr, and runs until SIGTERM or Ctrl-C, which save everything
    counted. Creates missing topics. Start several to share the work.
    """
    settings = configuration(
        config_file,
        sets,
        kafka_options(servers)
        | {
            "http.host": ("--host", host),
            "http.port": ("--port", port),
            "http.allow_remote": ("--allow-remote", allow_remote),
            "kafka.instance_id": ("--instance-id", instance_id),
        },
    ).settings
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    from stream.access import access_of  # noqa: PLC0415 - start fast
    from stream.clock import monotonic_s  # noqa: PLC0415
    from stream.engine import run_worker  # noqa: PLC0415
    from stream.export import BindError, serve  # noqa: PLC0415
    from stream.wiring import engine_settings  # noqa: PLC0415

    until = asyncio.Event()
    refused: list[BindError] = []

    told = engine_settings(settings, access_of(settings))

    async def exporter(engine: "Engine") -> SimpleNamespace:
        http = settings.http
        try:
            served = await serve(
                engine,
                http.host,
                http.port,
                monotonic_s=monotonic_s,
                allow_remote=http.allow_remote,
                alerts=settings.alerts,
            )
        except BindError as error:
            refused.append(error)
            until.set()
            return SimpleNamespace()
        say(address(*served.address))
        return SimpleNamespace(cleanup=served.close)

    code = await run_worker(told, exporter, until=until)
    if refused:
        raise RunError(str(refused[0])) from refused[0]
    return code


def address(host: str, port: int) -> str:
    """Return where the page is."""
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
