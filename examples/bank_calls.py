"""Turn the bank calls of the Technion's "Anonymous Bank" data into call events, one JSON object a line.

    python examples/bank_calls.py bank-calls.csv.gz > bank-calls.jsonl

An example of a converter: it reads what a switch or an archive has, and writes what ``callgauge`` reads. One row of the
table is a call; what becomes of it:

    offered    when it entered the voice menu, in the queue named by its type
    queued     when it entered the queue; a call answered at once has no such time, it left the menu then
    answered   queued + time in queue (outcome AGENT)
    abandoned  queued + time in queue (outcome HANG)
    ended      answered + time in service

Spans are taken as they are and moments follow from them: service is stamped by another clock than the queue, a second
or two apart, so a service that ended "before" its answer is nothing unusual. A caller who hung up in the menu (HANG
without a queue) is offered only; PHANTOM rows are artefacts and are dropped. Times of day are local; one that lies half
a day before its call entered the menu belongs to the next day. A call_id of the table alone repeats, so ours has the
date and the line in it.
"""

import argparse
import csv
import gzip
import io
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

from schemas import Abandoned, Answered, Ended, Event, Offered, Queued, encode

NOT_QUEUED = "0:00:00"
DAY = timedelta(days=1)
MS = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))

Row = dict[str, str]


def events_of(row: Row, zone: ZoneInfo) -> Iterator[Event]:
    """Yield the events of one row, in order of time."""
    if row["outcome"] == "PHANTOM":
        return
    call_id = f"{row['date']}/{row['vru+line']}/{row['call_id']}"
    offered = moment(row, "vru_entry", zone)
    yield Offered(call_id=call_id, at=ms(offered), queue=row["type"])
    if row["outcome"] == "HANG" and row["q_start"] == NOT_QUEUED:
        return
    queued = moment(row, "vru_exit" if row["q_start"] == NOT_QUEUED else "q_start", zone, after=offered)
    yield Queued(call_id=call_id, at=ms(queued), queue=row["type"])
    waited = queued + timedelta(seconds=int(row["q_time"]))
    if row["outcome"] == "HANG":
        yield Abandoned(call_id=call_id, at=ms(waited))
        return
    yield Answered(call_id=call_id, at=ms(waited), agent=row["server"])
    yield Ended(call_id=call_id, at=ms(waited + timedelta(seconds=int(row["ser_time"]))))


def moment(row: Row, field: str, zone: ZoneInfo, after: datetime | None = None) -> datetime:
    """Return a time of day of a row as a moment; one half a day before ``after`` is on the next day."""
    hours, minutes, seconds = map(int, row[field].split(":"))
    day = datetime.fromisoformat(row["date"]).replace(tzinfo=zone)
    found = day + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return found + DAY if after is not None and found < after - DAY / 2 else found


def ms(at: datetime) -> int:
    """Return milliseconds since the epoch."""
    return (at - EPOCH) // MS


def events(table: IO[str], zone: ZoneInfo) -> list[Event]:
    """Return the events of all rows, in order of time."""
    found = [event for row in csv.DictReader(table) for event in events_of(row, zone)]
    return sorted(found, key=lambda event: (event.at, event.kind))


def open_table(path: Path) -> IO[str]:
    """Open a table, packed or not."""
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8")
    return path.open(encoding="utf-8")


def main() -> None:
    """Convert a file to standard output."""
    parser = argparse.ArgumentParser(description="Bank calls (CSV) to call events (JSON lines).")
    parser.add_argument("table", type=Path, help="bank-calls.csv or bank-calls.csv.gz")
    parser.add_argument(
        "--time-zone", type=ZoneInfo, default=ZoneInfo("UTC"), help="of the times of day (UTC)"
    )
    arguments = parser.parse_args()
    with open_table(arguments.table) as table:
        for event in events(table, arguments.time_zone):
            sys.stdout.buffer.write(encode(event) + b"\n")


if __name__ == "__main__":
    main()
