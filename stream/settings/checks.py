"""Checks of single values: text in, checked value out; ValueError has the words that follow the key."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Final

from schemas.limits import QUEUE_CHARACTERS_MAX
from stream.core.opening import parse_opening
from stream.core.rules import BUCKET_MS
from stream.settings import limits
from stream.settings.spans import format_span, parse_span

_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]+\Z")
_SERVER: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:,\[\]]+):([0-9]{1,5})\Z")
_PORT_CHARACTERS: Final = 5
# somebody may write a password where URLs have it
_BEFORE_AT: Final = re.compile(r"[^\s\"/,]+@")


def quoted(value: object) -> str:
    """Write a value as TOML would, on one line and cut to a readable length."""
    text = _BEFORE_AT.sub("***@", json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= limits.QUOTE_CHARACTERS_MAX else text[: limits.QUOTE_CHARACTERS_MAX] + "..."


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like the word, whatever the case; None when none is like it."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def check_choice(value: object, choices: Iterable[str]) -> str:
    """Return the value when it is one of the choices."""
    known = tuple(choices)
    if isinstance(value, str) and value in known:
        return value
    near = nearest(value, known) if isinstance(value, str) else None
    hint = f"; the nearest is {quoted(near)}" if near else ""
    raise ValueError(f"is none of {', '.join(known)}{hint}")


def check_time_zone(name: str) -> str:
    """Return the name when the time zone database has it."""
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 - `--help` needs no time zones

    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        near = nearest(name, available_timezones())
        hint = f"the nearest is {quoted(near)}" if near else 'write it like "Europe/Amsterdam"'
        raise ValueError(f"is no time zone; {hint}") from None
    return name


def check_topic(name: str) -> str:
    """Return the name when Kafka takes it for a topic."""
    if _TOPIC.match(name) is None or name in {".", ".."} or len(name) > limits.TOPIC_CHARACTERS_MAX:
        raise ValueError(
            f"is no name for Kafka; use 1 to {limits.TOPIC_CHARACTERS_MAX} letters, digits, dots, _ and -"
        )
    return name


def check_group(name: str) -> str:
    """Return the name when topics can begin with it."""
    if _TOPIC.match(name) is None or len(name) > limits.GROUP_ID_CHARACTERS_MAX:
        raise ValueError(
            "is no name for a group; "
            f"use 1 to {limits.GROUP_ID_CHARACTERS_MAX} letters, digits, dots, _ and -"
        )
    return name


def check_instance(name: str) -> str:
    """Return the name of one member of the group; empty when members have none."""
    return check_group(name) if name else name


def check_servers(value: object) -> str:
    """Return ``host:port`` pairs separated by commas; a list of pairs is joined."""
    if isinstance(value, list) and all(isinstance(server, str) for server in value):
        value = ",".join(value)
    if not isinstance(value, str):
        raise ValueError('must be text like "127.0.0.1:9092"')  # noqa: TRY004 - pydantic takes ValueError
    servers = [server.strip() for server in value.split(",")]
    for server in servers:
        if "@" in server:
            raise ValueError("has a user in it; brokers are host:port, and users go into kafka.sasl_username")
        found = _SERVER.match(server)
        if found is None:
            raise ValueError('is not like "127.0.0.1:9092", or several of that with commas between')
        if not 0 < int(found[2]) <= limits.PORT_MAX:
            raise ValueError(f"has the port {found[2]}; ports lie between 1 and {limits.PORT_MAX}")
    return ",".join(servers)


def check_rolling(value: object) -> tuple[tuple[str, int], ...]:
    """Return (label, span in ms) of each rolling window; the label is the text as written, without blanks."""
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise ValueError('must be a list of spans like ["5m", "30m", "1h"]')
    if len(value) > limits.ROLLING_WINDOWS_MAX:
        raise ValueError(f"has {len(value)} windows; at most {limits.ROLLING_WINDOWS_MAX} are possible")
    windows: dict[int, str] = {}
    for text in value:
        label = "".join(text.split())
        span_ms = _rolling_span(label)
        if span_ms in windows:
            raise ValueError(f"has {quoted(windows[span_ms])} and {quoted(label)}, which are the same window")
        windows[span_ms] = label
    return tuple((label, span_ms) for span_ms, label in windows.items())


def _rolling_span(label: str) -> int:
    try:
        span_ms = parse_span(label)
    except ValueError as error:
        raise ValueError(f"has {quoted(label)}, which {error}") from None
    if not BUCKET_MS <= span_ms <= limits.ROLLING_MS_MAX:
        bounds = f"{format_span(BUCKET_MS)} and {format_span(limits.ROLLING_MS_MAX)}"
        raise ValueError(f"has {quoted(label)}; a window lies between {bounds}")
    if span_ms % BUCKET_MS:
        near = max(BUCKET_MS, round(span_ms / BUCKET_MS) * BUCKET_MS)
        raise ValueError(
            f"has {quoted(label)}, which is not made of whole {format_span(BUCKET_MS)}; "
            f"the nearest is {quoted(format_span(near))}"
        )
    return span_ms


def check_interval(value: object) -> int:
    """Return the span of a clock interval in ms."""
    span_ms = parse_span(value)
    if span_ms not in limits.INTERVALS_MS:
        choices = " or ".join(format_span(choice) for choice in limits.INTERVALS_MS)
        near = min(limits.INTERVALS_MS, key=lambda choice: abs(choice - span_ms))
        raise ValueError(f"must be {choices}; the nearest is {quoted(format_span(near))}")
    return span_ms


def check_opening(text: str) -> str:
    """Return the opening hours when the core can read them; empty is always open."""
    try:
        if text:
            parse_opening(text)
    except ValueError as error:
        raise ValueError(f"cannot be read: {error}") from None
    return text


def check_host(host: str) -> str:
    """Return an address or a name to listen on."""
    if not host or any(letter.isspace() or letter in "/," for letter in host):
        raise ValueError('is no address to listen on; write it like "127.0.0.1"')
    return host


def check_queue_name(name: str) -> str:
    """Return the name when an event could carry it."""
    if not 0 < len(name) <= QUEUE_CHARACTERS_MAX:
        raise ValueError(f"has {len(name)} characters; a queue's name has 1 to {QUEUE_CHARACTERS_MAX}")
    return name
