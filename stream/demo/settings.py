"""What the demo is told: the user's configuration, with what a demo needs over it."""

import errno
import socket
from dataclasses import dataclass
from typing import Final

from stream.settings import Configuration, Option, Settings

DEMO: Final = "the demo"
# The queues of the simulated centre are not judged alike: urgent ones sooner, long ones later.
_QUEUES: Final = {
    "priority": {"target": "10s", "objective": "0.9"},
    "retention": {"target": "30s", "objective": "0.8"},
    "sales": {"target": "20s", "objective": "0.8"},
    "support": {"target": "20s", "objective": "0.8"},
    "billing": {"target": "30s", "objective": "0.8"},
    "technical": {"target": "60s", "objective": "0.7", "abandonment_limit": "0.1"},
}


@dataclass(frozen=True, slots=True)
class DemoWish:
    """What the demo should be like."""

    seconds: float | None
    speed: float
    seed: int
    full: bool  # Prometheus and Alertmanager as well
    port_chosen: bool  # the port was named by somebody: then no other one will do


def demo_options(configuration: Configuration, speed: float) -> list[Option]:
    """Return what a demo sets: the stream's clock when time runs fast, and queues if there are none."""
    options = [Option("windows.clock", "stream", DEMO)] if speed != 1.0 else []
    if not configuration.settings.queues:
        options += [
            Option(f"queues.{queue}.{key}", value, DEMO)
            for queue, values in _QUEUES.items()
            for key, value in values.items()
        ]
    return options


class PortTakenError(Exception):
    """The port that somebody named is taken; one line that says what to do."""


def free_port(settings: Settings, wish: DemoWish) -> int:
    """Return the port to listen on: the configured one, or 0 (any) when that is taken and nobody named it."""
    host, port = settings.http.host, settings.http.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return port
            if wish.port_chosen:
                raise PortTakenError(
                    f"port {port} of {host} is in use: stop the program there, or choose another port"
                ) from error
            return 0
    return port
