"""What a call event is: `decode` bytes into one, `encode` it, and the ten kinds there are."""

from schemas.decode import Rejected, RejectReason, decode, decode_reference, encode
from schemas.events import BLOCKED_REASONS, EVENT_TYPES, LEFT_REASONS
from schemas.structs import (
    STRUCTS,
    Abandoned,
    Answered,
    Blocked,
    Ended,
    Event,
    Hold,
    Left,
    Offered,
    Queued,
    Resumed,
    WrapUp,
)

__all__ = [
    "BLOCKED_REASONS",
    "EVENT_TYPES",
    "LEFT_REASONS",
    "STRUCTS",
    "Abandoned",
    "Answered",
    "Blocked",
    "Ended",
    "Event",
    "Hold",
    "Left",
    "Offered",
    "Queued",
    "RejectReason",
    "Rejected",
    "Resumed",
    "WrapUp",
    "decode",
    "decode_reference",
    "encode",
]
