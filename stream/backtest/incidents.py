"""Incidents that people have marked, and how alerts compare with them."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from stream.backtest.errors import InputError
from stream.settings.moments import zoned_ms

INCIDENTS_BYTES_MAX: Final = 4_194_304  # tens of thousands of incidents; a larger file is another one
_FIELDS: Final = {"start", "end", "queue", "name"}


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that should have been heard of: from ``start_ms`` until before ``end_ms``, in a queue or anywhere."""

    name: str
    start_ms: int
    end_ms: int
    queue: str | None = None

    def is_met_by(self, queue: str | None, start_ms: int, end_ms: int) -> bool:
        """Say whether an alert that fires in this time, about this queue or about none, tells of it."""
        same = self.queue is None or queue is None or self.queue == queue
        return same and start_ms < self.end_ms and self.start_ms < end_ms


@dataclass(frozen=True, slots=True)
class Page:
    """An alert that fires: somebody is called."""

    start_ms: int
    end_ms: int
    queue: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """How well pages tell of incidents. A ratio is None without a base."""

    incidents: int
    detected: int
    true_pages: int
    precision: float | None
    recall: float | None
    delay_median_s: float | None
    delay_max_s: float | None


def score(incidents: Sequence[Incident], pages: Sequence[Page]) -> Score:
    """Compare. The delay is from the start of an incident to its first page, 0 when that fired already."""
    delays = []
    for incident in incidents:
        starts = [page.start_ms for page in pages if _meets(incident, page)]
        if starts:
            delays.append(max(0, min(starts) - incident.start_ms) / 1_000)
    true_pages = sum(any(_meets(incident, page) for incident in incidents) for page in pages)
    return Score(
        incidents=len(incidents),
        detected=len(delays),
        true_pages=true_pages,
        precision=true_pages / len(pages) if pages else None,
        recall=len(delays) / len(incidents) if incidents else None,
        delay_median_s=median(delays) if delays else None,
        delay_max_s=max(delays) if delays else None,
    )


def _meets(incident: Incident, page: Page) -> bool:
    return incident.is_met_by(page.queue, page.start_ms, page.end_ms)


def read_incidents(path: Path) -> list[Incident]:
    """Read JSON lines, or CSV with a header: start and end (times with their zone), queue and name if known.

    Raises InputError with the line.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(INCIDENTS_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if len(data) > INCIDENTS_BYTES_MAX:
        raise InputError(f"{path} is too large for a list of incidents; at most {INCIDENTS_BYTES_MAX} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8; save it as that") from error
    rows = _json_rows(path, text) if text.lstrip().startswith("{") else _csv_rows(path, text)
    found = [_incident(f"{path}:{number}", row) for number, row in rows]
    if not found:
        raise InputError(f"{path} has no incident; each is a line with start and end")
    return found


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number} is no JSON object on one line") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}:{number} is no JSON object")
            yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = {"start", "end"} - set(reader.fieldnames or ())
    if missing:
        raise InputError(
            f"{path}:1 has no column {' and '.join(sorted(missing))}; begin with: start,end,queue,name"
        )
    try:
        for row in reader:
            yield reader.line_num, {name: value for name, value in row.items() if value}
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num} is no CSV: {error}") from error


def _incident(where: str, row: Mapping[str, Any]) -> Incident:
    unknown = [str(name) for name in row if name not in _FIELDS]
    if unknown:
        raise InputError(f"{where}: {unknown[0]} is no known field; known are {', '.join(sorted(_FIELDS))}")
    start_ms, end_ms = (_moment(where, name, row.get(name)) for name in ("start", "end"))
    if end_ms <= start_ms:
        raise InputError(f"{where}: end is not after start")
    queue, name = row.get("queue"), row.get("name", "")
    if not isinstance(queue, str | None) or not isinstance(name, str):
        raise InputError(f"{where}: queue and name must be text")
    return Incident(name, start_ms, end_ms, queue or None)


def _moment(where: str, name: str, value: object) -> int:
    if isinstance(value, str):
        with suppress(ValueError, OverflowError):
            return zoned_ms(value.strip())
    raise InputError(f"{where}: {name} is no time with its zone, like 2026-03-02T09:00:00+01:00")


def within(incidents: Iterable[Incident], spans: Sequence[tuple[int, int]]) -> list[Incident]:
    """Return those that the history has something of."""
    return [
        incident
        for incident in incidents
        if any(start_ms < incident.end_ms and incident.start_ms <= end_ms for start_ms, end_ms in spans)
    ]
