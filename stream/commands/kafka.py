"""`callgauge kafka`: the embedded broker alone."""

from pathlib import Path
from typing import Annotated

import typer

from stream.commands.common import failing, note, on_terminal, say

KAFKA_PORT_DEFAULT = 9_092


def kafka(
    *,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = KAFKA_PORT_DEFAULT,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            file_okay=False,
            help="Keep the data in this directory.",
            show_default="a temporary directory, removed at the end",
        ),
    ] = None,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Only fetch and check what a start needs; then it needs no network."),
    ] = False,
) -> int:
    """Run the embedded single-node Kafka alone, in the foreground, until Ctrl-C.

    Prints its address on stdout once a client can connect. For trying things out and for tests: one node, one
    copy of the data, only this machine can reach it.
    """
    from stream.kafka import EmbeddedKafkaError, run_foreground  # noqa: PLC0415 - start fast
    from stream.kafka import prepare as prepare_kafka  # noqa: PLC0415

    with failing(EmbeddedKafkaError):
        if prepare:
            prepare_kafka(note)
            return 0
        return run_foreground(port or None, data, _Echo())


class _Echo:
    """The first message is the address, a result; one after that is why the broker died."""

    def __init__(self) -> None:
        self._ready = False

    def __call__(self, message: str) -> None:
        if self._ready:
            note(f"callgauge: {message}")
            return
        self._ready = True
        say(message)
        if on_terminal():
            note(f"Kafka is ready at {message}; Ctrl-C stops it")
