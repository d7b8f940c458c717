"""What is sent again, with which key, and what would only come back."""

import json
from dataclasses import dataclass
from typing import NamedTuple

from schemas import Event, Rejected, RejectReason, decode
from stream.letters.layout import LATE, RESENT, Headers, Letter
from stream.letters.limits import RESENT_MAX

CUT = "cut"  # what was kept is not the whole record


class Outgoing(NamedTuple):
    """A record for the topic of events."""

    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why sending it would be of no use; holds nothing of the data."""

    reason: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.where})" if self.where else self.reason


def outgoing(letter: Letter | None, repaired: bytes | None) -> Outgoing:
    """Return the record that sends a letter again, repaired or as it was.

    ``letter`` None: a repaired event of which nobody said which letter it was.
    """
    value = repaired if letter is None or repaired is not None else letter.value
    resent = min((0 if letter is None else letter.resent) + 1, RESENT_MAX)
    event = decode(value)
    key = event.call_id.encode() if isinstance(event, Event) else _call_named(value)
    if key is None and letter is not None:
        key = letter.key
    return Outgoing(key, value, [(RESENT, str(resent).encode())])


def _call_named(value: bytes | None) -> bytes | None:
    """Return the call of a record that is no event, where it names one."""
    try:
        fields = json.loads(value or b"")
        call_id = fields.get("call_id") if isinstance(fields, dict) else None
        return call_id.encode() if isinstance(call_id, str) and call_id else None
    except (ValueError, RecursionError):
        return None


def refusal(
    letter: Letter | None, repaired: bytes | None, now_ms: int, future_skew_ms: int
) -> Refusal | None:
    """Say why the worker would set it aside once more; None if nothing speaks against it.

    A late event stays late: the stream's time only goes on. So it must have got a later time.
    """
    if repaired is None and letter is not None and not letter.whole:
        return Refusal(CUT)
    value = outgoing(letter, repaired).value
    event = decode(value)
    if isinstance(event, Rejected):
        return Refusal(event.reason.value, event.where)
    if event.at > now_ms + future_skew_ms:
        return Refusal(RejectReason.FUTURE.value, "at")
    if letter is not None and letter.reason == LATE:
        before = decode(letter.value)
        if isinstance(before, Event) and event.at <= before.at:
            return Refusal(LATE, "at")
    return None
