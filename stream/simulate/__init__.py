"""A seeded call centre: `simulate` gives its events, `write_file` and `produce` send them somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stream.simulate.disorder import Disorder, disordered
from stream.simulate.disturbance import (
    Disturbance,
    DisturbanceError,
    check_queues,
    parse_disturbance,
    parse_disturbances_toml,
    parse_span,
)
from stream.simulate.emission import Emission
from stream.simulate.model import Centre, Duration, QueueModel, Shape, default_centre, seconds
from stream.simulate.pace import Pace
from stream.simulate.producer import ProduceError, Progress, produce
from stream.simulate.run import Run
from stream.simulate.writer import write_file

__all__ = [
    "Centre",
    "Disorder",
    "Disturbance",
    "DisturbanceError",
    "Duration",
    "Emission",
    "Pace",
    "ProduceError",
    "Progress",
    "QueueModel",
    "Shape",
    "check_queues",
    "default_centre",
    "parse_disturbance",
    "parse_disturbances_toml",
    "parse_span",
    "produce",
    "seconds",
    "simulate",
    "write_file",
]


def simulate(
    centre: Centre,
    *,
    seed: int,
    start_ms: int,
    duration_ms: int | None = None,
    calls: int | None = None,
    disturbances: Sequence[Disturbance] = (),
    disorder: Disorder | None = None,
    drain: bool = True,
) -> Iterator[Emission]:
    """Return the events of a centre in the order in which they are sent.

    The same arguments give the same events, byte for byte. Arrivals stop `duration_ms` after the
    start or after that many `calls`, whichever comes first; with neither the run goes on for ever.
    With `drain` every contact is then followed to its end; without, the run stops dead at
    `duration_ms`, with contacts still waiting. Memory is in proportion to the contacts present.

    A disturbance of a queue that the centre does not have raises `DisturbanceError` at once.
    """
    run = Run(
        centre,
        seed=seed,
        start_ms=start_ms,
        end_ms=None if duration_ms is None else start_ms + duration_ms,
        calls=calls,
        disturbances=disturbances,
        drain=drain,
    )
    emissions = run.emissions()
    return emissions if disorder is None else disordered(emissions, disorder, seed)
