"""When, on the wall clock, a simulated moment is due."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """What was simulated for before `switch_at_ms` is due at once; from there time runs `speed` times.

    `switch_at_ms`, the present when sending began, is where wall time and simulated time are equal.
    `speed` None means that everything is due at once.
    """

    switch_at_ms: int
    speed: float | None = 1.0

    def __post_init__(self) -> None:
        if self.speed is not None and not self.speed > 0:
            raise ValueError(f"speed is {self.speed}: it must be above 0")

    def due_at_ms(self, simulated_ms: int) -> float:
        """Return the wall time at which something simulated for that moment is to be sent."""
        if self.speed is None or simulated_ms <= self.switch_at_ms:
            return self.switch_at_ms
        return self.switch_at_ms + (simulated_ms - self.switch_at_ms) / self.speed
