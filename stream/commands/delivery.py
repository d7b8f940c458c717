"""Lines of a file to Kafka as they are: what is sent, with which key and timestamp, and what is left out."""

import asyncio
import gzip
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from aiokafka import AIOKafkaClient, AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import Rejected, decode
from stream.access import Access
from stream.access.reach import reach
from stream.clock import wall_ms
from stream.commands.common import RunError, reaching

# What a broker takes by default (message.max.bytes). A longer line is no record of any topic of ours.
LINE_BYTES_MAX: Final = 1_048_576
# Sends under way before waiting for the broker's answers.
UNANSWERED_MAX: Final = 5_000
# Bad lines that are named one by one; the rest is only counted.
NAMED_MAX: Final = 20
# How long Kafka may be silent before we say so.
REQUEST_TIMEOUT_MS: Final = 10_000


@dataclass(slots=True)
class Outcome:
    """What became of the lines."""

    sent: int = 0
    forced: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    future: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and what the decoder makes of it."""

    number: int
    value: bytes
    key: bytes | None
    at_ms: int | None
    problem: str


def lines_of(stream: BinaryIO) -> Iterator[Line]:
    """Yield the lines that are not empty, without their ends; one that is too long is cut and a problem."""
    number = 0
    while content := stream.readline(LINE_BYTES_MAX + 2):
        number += 1
        if not content.endswith(b"\n") and len(content) > LINE_BYTES_MAX:
            while (rest := stream.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                pass
            yield Line(number, b"", None, None, "too_large")
            continue
        value = content.removesuffix(b"\n").removesuffix(b"\r")
        if len(value) > LINE_BYTES_MAX:
            yield Line(number, b"", None, None, "too_large")
        elif value:
            yield _line(number, value)


def _line(number: int, value: bytes) -> Line:
    event = decode(value)
    if isinstance(event, Rejected):
        where = f" ({event.where})" if event.where else ""
        return Line(number, value, _key_of(value), None, f"{event.reason.value}{where}")
    return Line(number, value, event.call_id.encode(), event.at, "")


def _key_of(value: bytes) -> bytes | None:
    """Return the call of a line that is no event, where it names one."""
    try:
        fields = json.loads(value)
        call_id = fields.get("call_id") if isinstance(fields, dict) else None
        return call_id.encode() if isinstance(call_id, str) and call_id else None
    except (ValueError, RecursionError):
        return None


@contextmanager
def opened(source: Path | None) -> Iterator[BinaryIO]:
    """Open a file, packed or not; None is standard input. Errors in the middle are RunError too."""
    name = str(source) if source else "standard input"
    try:
        if source is None:
            yield sys.stdin.buffer
        elif source.suffix == ".gz":
            with gzip.open(source, "rb") as packed:
                yield cast("BinaryIO", packed)
        else:
            with source.open("rb") as stream:
                yield stream
    except (EOFError, gzip.BadGzipFile) as error:
        raise RunError(f"{name} is damaged: {error}") from error
    except OSError as error:
        raise RunError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from error


async def check_topic(servers: str, access: Access, topic: str) -> None:
    """Raise unless Kafka lets us in and has the topic: a producer would wait or create it badly.

    RunError when it does not answer, UsageError when TLS or the password is wrong.
    """
    with reaching():
        await reach(servers.split(","), access)
    client = AIOKafkaClient(
        bootstrap_servers=servers, request_timeout_ms=REQUEST_TIMEOUT_MS, **access.client_options()
    )
    try:
        await client.bootstrap()
        metadata = await client.fetch_all_metadata()
        if not metadata.partitions_for_topic(topic):
            raise RunError(f"topic {topic} does not exist at {servers}; `callgauge topics` creates it")
    except KafkaError as error:
        raise unreachable(servers, error) from error
    finally:
        await client.close()


def unreachable(servers: str, error: Exception) -> RunError:
    """Say that Kafka does not answer, and what to do."""
    return RunError(f"cannot reach Kafka at {servers} ({type(error).__name__}); `callgauge kafka` starts one")


@dataclass(frozen=True, slots=True)
class Manner:
    """How lines are sent."""

    servers: str
    access: Access
    topic: str
    event_time: bool
    force: bool
    future_skew_ms: int


class Delivery:
    """Sends lines and keeps the answers that are still to come."""

    def __init__(self, manner: Manner, tell: Callable[[str], None], progress: Callable[[int], None]) -> None:
        self._manner = manner
        self._tell = tell
        self._progress = progress
        self._unanswered: list[Awaitable[Any]] = []
        self.outcome = Outcome()

    async def run(self, lines: Iterator[Line]) -> Outcome:
        """Send every line that may be sent. Everything counted as sent is acknowledged on return."""
        manner = self._manner
        await check_topic(manner.servers, manner.access, manner.topic)
        producer = AIOKafkaProducer(
            bootstrap_servers=manner.servers,
            client_id="callgauge-send",
            acks="all",
            enable_idempotence=True,  # a retry neither doubles nor reorders
            linger_ms=20,
            max_batch_size=65_536,
            max_request_size=LINE_BYTES_MAX + 65_536,
            **manner.access.client_options(),
        )
        try:
            await producer.start()
            for line in lines:
                await self._line(producer, line)
            await self._settle()
        except KafkaError as error:
            raise RunError(
                f"Kafka at {manner.servers} did not take a record after {self.outcome.sent} were sent: "
                f"{type(error).__name__}"
            ) from error
        finally:
            await producer.stop()
        return self.outcome

    async def _line(self, producer: AIOKafkaProducer, line: Line) -> None:
        if line.problem:
            self._name(line)
            if not (self._manner.force and line.value):
                self.outcome.skipped[line.problem] += 1
                return
            self.outcome.forced += 1
        await self._send(producer, line)

    def _name(self, line: Line) -> None:
        bad = self.outcome.forced + self.outcome.skipped.total()
        if bad < NAMED_MAX:
            self._tell(f"line {line.number}: {line.problem}")
        elif bad == NAMED_MAX:
            self._tell("further lines are only counted")

    async def _send(self, producer: AIOKafkaProducer, line: Line) -> None:
        now_ms = wall_ms()
        stamp_ms = line.at_ms if self._manner.event_time and line.at_ms is not None else now_ms
        if line.at_ms is not None and line.at_ms > stamp_ms + self._manner.future_skew_ms:
            self.outcome.future += 1
        self._unanswered.append(
            await producer.send(self._manner.topic, line.value, line.key, timestamp_ms=stamp_ms)
        )
        if len(self._unanswered) >= UNANSWERED_MAX:
            await self._settle()

    async def _settle(self) -> None:
        unanswered, self._unanswered = self._unanswered, []
        await asyncio.gather(*unanswered)
        self.outcome.sent += len(unanswered)
        self._progress(self.outcome.sent)
