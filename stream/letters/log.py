"""The two topics of letters, read from outside: in no group, committing nothing; and the way back to the events."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from stream.clock import monotonic_s
from stream.letters.layout import Coordinate, Kind, Letter, letter_of
from stream.letters.limits import LETTER_BYTES_MAX, UNANSWERED_MAX
from stream.letters.repair import Outgoing

BOOTSTRAP_TIMEOUT_MS: Final = 10_000  # to find the first broker
REQUEST_TIMEOUT_MS: Final = 10_000
DELIVERY_TIMEOUT_MS: Final = 30_000
SILENCE_S: Final = 30.0  # without a record, though there are some: then Kafka has gone away
_POLL_MS: Final = 200


class LetterLogError(Exception):
    """Kafka does not answer, or has no such topic: one line."""


def _options(servers: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bootstrap_servers": [server.strip() for server in servers.split(",")],
        "client_id": "callgauge-dead-letters",
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        **extra,
    }


class LetterLog:
    """What the two topics held when this was opened. Letters that come later are not seen: reading has an end."""

    def __init__(self, servers: str, topics: Mapping[Kind, str], options: Mapping[str, Any]) -> None:
        """Connect. ``options``: credentials. Raises LetterLogError."""
        self._servers = servers
        self._topics = dict(topics)
        try:
            self._consumer = KafkaConsumer(
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                **_options(servers, options),
            )
        except KafkaError as error:
            raise self._away(error) from error
        try:
            self._ends = self._find_ends()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        with suppress(KafkaError):
            self._consumer.close()

    def _away(self, error: Exception) -> LetterLogError:
        return LetterLogError(f"cannot reach Kafka at {self._servers} ({type(error).__name__})")

    def _find_ends(self) -> dict[Any, int]:
        """Return where each partition ended."""
        try:
            tps = []
            for topic in self._topics.values():
                partitions = self._consumer.partitions_for_topic(topic)
                if not partitions:
                    raise LetterLogError(
                        f"topic {topic} does not exist at {self._servers}; `callgauge topics` creates it"
                    )
                tps += [TopicPartition(topic, number) for number in sorted(partitions)]
            ends: dict[Any, int] = self._consumer.end_offsets(tps)
        except KafkaError as error:
            raise self._away(error) from error
        return ends

    # --- reading ----------------------------------------------------------------------------------------------

    def letters(self, kinds: Sequence[Kind] = tuple(Kind), since_ms: int | None = None) -> Iterator[Letter]:
        """Yield every letter of some topics; those of a partition in their order."""
        kind_of = {self._topics[kind]: kind for kind in kinds}
        tps = [tp for tp in self._ends if tp.topic in kind_of]
        try:
            self._consumer.assign(tps)
            self._consumer.seek_to_beginning(*tps)
            if since_ms is not None:
                for tp, found in self._consumer.offsets_for_times(dict.fromkeys(tps, since_ms)).items():
                    self._consumer.seek(tp, self._ends[tp] if found is None else found.offset)
            yield from self._until_ends(kind_of, set(tps))
        except KafkaError as error:
            raise self._away(error) from error

    def _until_ends(self, kind_of: Mapping[str, Kind], open_tps: set[Any]) -> Iterator[Letter]:
        consumer, ends = self._consumer, self._ends
        heard_s = monotonic_s()
        while open_tps := {tp for tp in open_tps if consumer.position(tp) < ends[tp]}:
            batches = consumer.poll(timeout_ms=_POLL_MS)
            for tp, records in batches.items():
                yield from (_letter(kind_of, record) for record in records if record.offset < ends[tp])
            if batches:
                heard_s = monotonic_s()
            elif monotonic_s() - heard_s > SILENCE_S:
                raise LetterLogError(f"Kafka at {self._servers} has stopped answering")

    def find(self, coordinates: Sequence[Coordinate]) -> dict[Coordinate, Letter]:
        """Return the letters at some coordinates; what is not there (any more) is left out."""
        found = {}
        for wanted in coordinates:
            tp = TopicPartition(self._topics[wanted.kind], wanted.partition)
            if wanted.offset < self._ends.get(tp, 0):
                letter = self._at(tp, wanted)
                if letter is not None:
                    found[wanted] = letter
        return found

    def _at(self, tp: Any, wanted: Coordinate) -> Letter | None:
        kind_of = {tp.topic: wanted.kind}
        try:
            self._consumer.assign([tp])
            if wanted.offset < self._consumer.beginning_offsets([tp])[tp]:
                return None
            self._consumer.seek(tp, wanted.offset)
            for letter in self._until_ends(kind_of, {tp}):
                return letter if letter.coordinate == wanted else None
        except KafkaError as error:
            raise self._away(error) from error
        return None


def _letter(kind_of: Mapping[str, Kind], record: Any) -> Letter:
    place = record.partition, record.offset
    return letter_of(kind_of[record.topic], place, record.timestamp, record.key, record.value, record.headers)


def send_all(
    servers: str,
    topic: str,
    records: Iterable[Outgoing],
    options: Mapping[str, Any],
    progress: Callable[[int], None],
) -> int:
    """Send records; every one that is counted is confirmed by all replicas in sync. Raises LetterLogError."""
    sent = 0
    try:
        producer = KafkaProducer(
            acks="all",
            enable_idempotence=True,  # a retry neither doubles nor reorders
            linger_ms=20,
            max_request_size=LETTER_BYTES_MAX,
            max_block_ms=DELIVERY_TIMEOUT_MS,
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            **_options(servers, options),
        )
    except KafkaError as error:
        raise LetterLogError(f"cannot reach Kafka at {servers} ({type(error).__name__})") from error
    unanswered: list[Any] = []

    def settle() -> None:
        nonlocal sent
        producer.flush()
        for future in unanswered:
            future.get()
            sent += 1
        unanswered.clear()
        progress(sent)

    try:
        for record in records:
            unanswered.append(
                producer.send(topic, record.value, key=record.key, headers=list(record.headers))
            )
            if len(unanswered) >= UNANSWERED_MAX:
                settle()
        settle()
    except KafkaError as error:
        raise LetterLogError(
            f"Kafka at {servers} did not take a record after {sent} were sent: {type(error).__name__}"
        ) from error
    finally:
        with suppress(KafkaError):
            producer.close(timeout=REQUEST_TIMEOUT_MS / 1_000)
    return sent
