"""A simulated centre that sends its events to the broker, whatever happens to the broker.

It keeps no record of what it sent: a send that failed may still be in the topic, and the verdict reads the topic.
"""

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

from schemas import encode
from stream.clock import monotonic_s, wall_ms
from stream.simulate import Disorder, Emission, default_centre, simulate

GRACE_MS = 120_000
DELAY_MS_MAX = GRACE_MS + 8_000  # so that some come later than the grace
DUPLICATES = 0.05
OPENS_AT_MINUTE = 9 * 60
POISON = 0.01  # of the events are followed by a record that is none
FAR_FUTURE_MS = 4_070_908_800_000  # 2099
LONGEST_MS = 40 * 3_600_000
BLOCK_MS = 2_000
MS_PER_S = 1_000


def poison(source: random.Random, call_id: str, at_ms: int) -> tuple[bytes | None, bytes | None]:
    """Return a key and a value that must be rejected."""
    key, sound = call_id.encode(), {"type": "offered", "call_id": call_id, "at": at_ms}

    def event(**fields: Any) -> bytes:
        return json.dumps({**sound, **fields}).encode()

    kinds: list[tuple[bytes | None, bytes | None]] = [
        (key, None),
        (key, b""),
        (key, b"\xff\xfe" + call_id.encode("utf-16")),
        (key, event()[:-1]),
        (key, event(type="teleported")),
        (key, event(at=1.5)),
        (key, event(at=-1)),
        (key, event(type="queued")),
        (key, event(call_id="")),
        (key, b"[" * 500),
        (None, event()),
        (b"another", event()),
        (key, event(at=FAR_FUTURE_MS)),
        (key, event(at=at_ms * 1_000_000)),
    ]
    return kinds[source.randrange(len(kinds))]


class Feed:
    """Sends simulated time at a multiple of life, in a thread; the end of it is the present."""

    def __init__(self, servers: str, topic: str, seed: int, begin_ms: int, speed: float) -> None:
        self._servers, self._topic, self._speed = servers, topic, speed
        self._begin_ms = begin_ms
        self._random = random.Random(f"{seed}/poison")
        self._emissions: Iterator[Emission] = simulate(
            default_centre().at_working_hour(begin_ms, minute=OPENS_AT_MINUTE),
            seed=seed,
            start_ms=begin_ms,
            duration_ms=LONGEST_MS,
            drain=False,
            disorder=Disorder(delay_ms_max=DELAY_MS_MAX, duplicate_probability=DUPLICATES),
        )
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def finish(self) -> None:
        """Send what is left up to the present, and wait until all is confirmed."""
        self._hurry.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            self._send_all()
        except BaseException as error:  # noqa: BLE001 - told by finish()
            self.failure = error

    def _send_all(self) -> None:
        from kafka import KafkaProducer  # noqa: PLC0415 - its import warns, and filters are set by then

        producer = KafkaProducer(
            bootstrap_servers=self._servers, linger_ms=20, max_block_ms=BLOCK_MS, delivery_timeout_ms=150_000
        )
        began_s = monotonic_s()
        for emission in self._emissions:
            at_ms = emission.emit_at_ms
            while (early_ms := at_ms - wall_ms()) > 0 and not self._hurry.wait(early_ms / MS_PER_S):
                pass
            if at_ms > wall_ms():
                break  # hurried, and this is the future
            due_s = began_s + (at_ms - self._begin_ms) / MS_PER_S / self._speed
            while not self._hurry.is_set() and (ahead_s := due_s - monotonic_s()) > 0:
                time.sleep(min(ahead_s, 0.05))
            call_id = emission.event.call_id
            self._send(producer, at_ms, call_id.encode(), encode(emission.event))
            if self._random.random() < POISON:
                self._send(producer, at_ms, *poison(self._random, call_id, at_ms))
        producer.flush(timeout=150)
        producer.close()

    def _send(self, producer: Any, at_ms: int, key: bytes | None, value: bytes | None) -> None:
        from kafka.errors import KafkaError  # noqa: PLC0415

        with contextlib.suppress(KafkaError):  # it is in the topic, or it is not
            producer.send(self._topic, key=key, value=value, timestamp_ms=at_ms)
