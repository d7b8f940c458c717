"""An event and the moment it leaves the telephone system."""

from __future__ import annotations

from typing import NamedTuple

from schemas import Event


class Emission(NamedTuple):
    """`emit_at_ms` is when the event is sent; `event.at` is when it happened, never later."""

    emit_at_ms: int
    event: Event
