"""How bad it gets: the probability of each fault, drawn anew for each world, and what a full run must have seen."""

import dataclasses
from dataclasses import dataclass
from random import Random


@dataclass
class Weather:
    """Probabilities: of a record, batch, commit or heartbeat, or a rate per second."""

    slow_delivery: float = 0.0
    failed_delivery: float = 0.0
    unknown_delivery: float = 0.0  # written, and the producer is told that it was not
    duplicated_delivery: float = 0.0
    slow_send: float = 0.0
    lost_commit: float = 0.0
    unfenced_commit: float = 0.0  # of those that a zombie sends
    lost_heartbeat: float = 0.0
    redelivery: float = 0.0
    repeated_batch: float = 0.0
    hole: float = 0.0
    slow_step: float = 0.0  # a process stands still for a moment
    slow_agent: float = 0.0  # batches pile up before it
    crashes_per_s: float = 0.0
    pauses_per_s: float = 0.0
    expulsions_per_s: float = 0.0  # thrown out by the coordinator while alive
    leaves_per_s: float = 0.0
    clock_jumps_per_s: float = 0.0
    compactions_per_s: float = 0.0
    lost_checkpoints_per_s: float = 0.0
    corrupt_checkpoints_per_s: float = 0.0


WORST = Weather(
    slow_delivery=0.02,
    failed_delivery=0.002,
    unknown_delivery=0.002,
    duplicated_delivery=0.05,
    slow_send=0.02,
    lost_commit=0.3,
    unfenced_commit=1.0,
    lost_heartbeat=0.4,
    redelivery=0.2,
    repeated_batch=0.1,
    hole=0.1,
    slow_step=0.002,
    slow_agent=0.2,
    crashes_per_s=12.0,
    pauses_per_s=0.1,
    expulsions_per_s=0.1,
    leaves_per_s=0.1,
    clock_jumps_per_s=0.1,
    compactions_per_s=0.3,
    lost_checkpoints_per_s=0.02,
    corrupt_checkpoints_per_s=0.02,
)
CALM = Weather()


def draw(random: Random) -> Weather:
    """Draw a weather: each fault is away, weak or as bad as it gets; some crash always comes."""
    drawn = {
        field.name: getattr(WORST, field.name) * random.choice((0.0, 0.2, 1.0, 1.0))
        for field in dataclasses.fields(Weather)
    }
    drawn["crashes_per_s"] = WORST.crashes_per_s * random.choice((0.25, 0.5, 1.0))
    return Weather(**drawn)
