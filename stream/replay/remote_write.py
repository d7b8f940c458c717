"""Samples to a remote-write 1.0 receiver: in order, confirmed, and never lost in silence.

The message is three kinds of fields in a frozen format: a WriteRequest is repeated TimeSeries (field 1), each with
repeated Label (field 1: name 1, value 2) and repeated Sample (field 2: value 1 as a double, timestamp 2 in ms).
A series that ends gets the staleness marker that a scrape would have stored; otherwise Prometheus would show its last
value for five minutes more.
"""

import http.client
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import cramjam

from stream.replay.errors import ReplayError
from stream.replay.samples import Samples, Series

REQUEST_SAMPLES: Final = 20_000  # a third of a megabyte: a second or so of work for the receiver at worst
RETRIES_MAX: Final = 8  # with the pauses below, two minutes: a restart of the receiver
FIRST_PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
TIMEOUT_S: Final = 60.0
ANSWER_BYTES_MAX: Final = 2_000  # of a refusal: a line or two
_REFUSED: Final = range(400, 500)
_TOO_MANY: Final = 429
# What Prometheus 2.42 answers with status 500, though sending it again can never help.
_HOPELESS: Final = ("out of bounds", "too old sample", "out of order", "duplicate sample")
STALE: Final = struct.pack("<Q", 0x7FF0000000000002)  # a NaN of its own
_DOUBLE: Final = struct.Struct("<d").pack
_HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": "callgauge-replay",
}


@lru_cache(maxsize=1_024)  # the samples of a step have one time, and labels are of a few lengths
def varint(number: int) -> bytes:
    """Encode a number that is not negative."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + varint(len(data)) + data


def encode_labels(series: Series) -> bytes:
    """Encode the labels of a series, in the order that the receiver wants: by name."""
    labels = sorted((("__name__", series.name), *series.labels))
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels)


def encode_sample(value: bytes, at_ms: int) -> bytes:
    """Encode a sample; the value as eight bytes, little endian."""
    return _field(2, b"\x09" + value + b"\x10" + varint(at_ms))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said."""

    status: int
    text: str


Post = Callable[[bytes], Answer]  # raises OSError when nobody answers


class RemoteWrite:
    """Sends steps; ``complete_ms`` is the step up to which everything was confirmed."""

    def __init__(
        self,
        post: Post,
        sleep: Callable[[float], None],
        url: str,
        *,
        after_ms: int = -1,
        on_complete: Callable[[int], None] = lambda _at_ms: None,
    ) -> None:
        """``after_ms``: what was confirmed before; ``on_complete`` hears of every step that is."""
        self.complete_ms = after_ms
        self._on_complete = on_complete
        self.samples = 0
        self._post = post
        self._sleep = sleep
        self._url = url
        self._labels: dict[Series, bytes] = {}
        self._pending: dict[Series, list[bytes]] = {}
        self._pending_samples = 0
        self._pending_ms = after_ms
        self._alive: dict[Series, None] = {}

    def write(self, at_ms: int, samples: Samples) -> None:
        """Take the samples of one step; they are sent when there are enough."""
        alive = dict.fromkeys(series for series, _ in samples)
        if at_ms > self.complete_ms:
            pending = self._pending
            for series, value in samples:
                pending.setdefault(series, []).append(encode_sample(_DOUBLE(value), at_ms))
            for series in self._alive:
                if series not in alive:
                    pending.setdefault(series, []).append(encode_sample(STALE, at_ms))
                    self._pending_samples += 1
            self._pending_samples += len(samples)
            self.samples += len(samples)
            self._pending_ms = at_ms
            if self._pending_samples >= REQUEST_SAMPLES:
                self.flush()
        self._alive = alive

    def flush(self) -> None:
        """Send what is pending; returns when it is confirmed. Raises ReplayError."""
        if self._pending:
            self._send(list(self._pending.items()))
            self._pending = {}
            self._pending_samples = 0
            self.complete_ms = self._pending_ms
            self._on_complete(self.complete_ms)

    def finish(self) -> str:
        """Send what is pending; return how much was written."""
        self.flush()
        return f"{self.samples} samples of {len(self._labels)} series"

    def abandon(self) -> str:
        """Return what is complete."""
        if self.complete_ms < 0:
            return f"nothing is complete at {self._url}"
        until = datetime.fromtimestamp(self.complete_ms / 1_000, UTC).isoformat(timespec="seconds")
        return f"everything up to {until} is confirmed by {self._url}"

    def _send(self, batch: list[tuple[Series, list[bytes]]]) -> None:
        answer = self._patiently(self._encode(batch))
        if answer is None:
            return
        series = self._find_refused(batch)
        raise ReplayError(
            f"{self._url}: refused {series} with status {answer.status}: {answer.text}; "
            "an empty Prometheus takes any age, one with newer data needs storage.tsdb.out_of_order_time_window"
        )

    def _find_refused(self, batch: list[tuple[Series, list[bytes]]]) -> str:
        """Name the series that is refused, by halves: sending again what was taken is harmless."""
        while len(batch) > 1:
            half = batch[: len(batch) // 2]
            batch = half if self._patiently(self._encode(half)) else batch[len(batch) // 2 :]
        return batch[0][0].text

    def _encode(self, batch: list[tuple[Series, list[bytes]]]) -> bytes:
        parts = []
        for series, samples in batch:
            labels = self._labels.get(series)
            if labels is None:
                labels = self._labels[series] = encode_labels(series)
            parts.append(_field(1, labels + b"".join(samples)))
        return bytes(cramjam.snappy.compress_raw(b"".join(parts)))

    def _patiently(self, body: bytes) -> Answer | None:
        """Post until it is taken, or refused for good: then return the answer. Raises ReplayError after many tries."""
        pause_s = FIRST_PAUSE_S
        said = ""
        for _ in range(RETRIES_MAX):
            try:
                answer = self._post(body)
            except OSError as error:
                said = (error.strerror or str(error) or type(error).__name__).lower()
            else:
                if 200 <= answer.status < 300:  # noqa: PLR2004 - success
                    return None
                hopeless = any(words in answer.text for words in _HOPELESS)
                if hopeless or (answer.status in _REFUSED and answer.status != _TOO_MANY):
                    return answer
                said = f"status {answer.status}: {answer.text}"
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
        raise ReplayError(
            f"{self._url}: did not take the samples in {RETRIES_MAX} attempts ({said}); "
            "see to the receiver, then go on with --resume"
        )


@contextmanager
def posting(url: str) -> Iterator[Post]:
    """Lend what posts to a URL over one connection, made anew when it broke. Raises ReplayError for a bad URL."""
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise ReplayError(f"{url}: is no URL; name the receiver like http://127.0.0.1:9090/api/v1/write")
    path = (parts.path or "/api/v1/write") + (f"?{parts.query}" if parts.query else "")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=TIMEOUT_S)

    def post(body: bytes) -> Answer:
        try:
            connection.request("POST", path, body, _HEADERS)
            response = connection.getresponse()
            said = response.read(ANSWER_BYTES_MAX).decode("utf-8", "replace").strip()
            response.read()
        except http.client.HTTPException as error:
            connection.close()
            raise OSError(str(error) or type(error).__name__) from error
        except OSError:
            connection.close()
            raise
        return Answer(response.status, said.partition("\n")[0])

    try:
        yield post
    finally:
        connection.close()
