"""The topics: what each must be like, creating the missing ones, and saying in one line what does not fit.

They are made before the worker joins its group. With topics that the broker makes by itself, the first run
joins before they exist and never gets its partitions, and everything has the broker's default number of
partitions.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from stream.access import KafkaUnreachableError
from stream.access.reach import reach
from stream.engine.engine_settings import EngineSettings
from stream.letters.limits import LETTER_BYTES_MAX

log = logging.getLogger("callgauge")

MESSAGE_BYTES_MAX: Final = (
    8 * 1024 * 1024
)  # a checkpoint is one record; precedent: design, "topic limit 8 MiB"
RETENTION_MS: Final = 7 * 24 * 3_600_000  # Kafka's own default: a long weekend without a worker loses nothing
MIN_IN_SYNC: Final = 2
CALLS_TABLE: Final = "calls"
BOARD_TABLE: Final = "board"
_REQUEST_TIMEOUT_MS: Final = 10_000
_UNKNOWN_TOPIC: Final = 3  # Kafka's error code UNKNOWN_TOPIC_OR_PARTITION


class TopicsUnfitError(Exception):
    """Topics exist that callgauge cannot work with, or are missing: one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be like; ``partitions`` None: any number will do."""

    name: str
    partitions: int | None
    partitions_made: int
    cleanup: str
    replication: int
    message_bytes_max: int | None = None
    configs: dict[str, str] = field(default_factory=dict)  # only for creation


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What ``ensure_topics`` did."""

    created: tuple[str, ...]
    checked: tuple[str, ...]


def changelog_name(app_id: str, table: str) -> str:
    """Return the topic of a table's checkpoints; Faust fixes this form."""
    return f"{app_id}-{table}-changelog"


def topic_specs(settings: EngineSettings) -> tuple[TopicSpec, ...]:
    """Return every topic that a worker reads or writes."""
    names, partitions, shards, copies = (
        settings.topics,
        settings.partitions,
        settings.shards,
        settings.replication,
    )
    # Not compressed: the broker would do it, and the worker undo it, beside the fold.
    kept = {"retention.ms": str(RETENTION_MS)}
    # Compaction never touches the segment being written, so small segments are what keeps these topics small.
    compacted = {"segment.bytes": str(64 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.1"}

    def checkpoints(table: str, count: int) -> TopicSpec:
        name = changelog_name(settings.app_id, table)
        return TopicSpec(name, count, count, "compact", copies, MESSAGE_BYTES_MAX, compacted)

    return (
        TopicSpec(names.events, partitions, partitions, "delete", copies),
        # A record as large as Kafka takes is larger with the headers that say why it was set aside.
        TopicSpec(names.dead, partitions, partitions, "delete", copies, LETTER_BYTES_MAX),
        TopicSpec(names.late, partitions, partitions, "delete", copies, LETTER_BYTES_MAX),
        # After a restart a publication carries every cell that may still change, of every queue.
        TopicSpec(names.cells, shards, shards, "delete", copies, MESSAGE_BYTES_MAX, kept),
        TopicSpec(names.intervals, None, shards, "compact", copies, None, compacted),
        checkpoints(CALLS_TABLE, partitions),
        checkpoints(BOARD_TABLE, shards),
    )


def ensure_topics(settings: EngineSettings, *, create: bool = True) -> TopicReport:
    """Create the missing topics and check the others; blocks.

    Raises ``KafkaUnreachableError`` when no server answers, ``KafkaRefusedError`` when TLS or the password is
    wrong, and ``TopicsUnfitError`` when something does not fit. Nothing that exists is changed: a topic's
    owner decides.
    """
    specs = topic_specs(settings)
    with _admin(settings) as admin:
        existing = _describe(admin, [spec.name for spec in specs])
        missing = [spec for spec in specs if spec.name not in existing]
        if missing and not create:
            raise TopicsUnfitError(
                [f"topic {spec.name} does not exist: run callgauge topics" for spec in missing]
            )
        for spec in missing:
            _create(admin, spec)
        if missing:
            admin.wait_for_topics([spec.name for spec in missing])
        found = [spec for spec in specs if spec.name in existing]
        _check(admin, found, existing)
    return TopicReport(
        tuple(spec.name for spec in missing),
        tuple(spec.name for spec in found),
    )


async def wait_for_topics(settings: EngineSettings, say: Callable[[str], None]) -> TopicReport:
    """Call ``ensure_topics`` until Kafka answers; ``say`` gets one line for every attempt that failed."""
    delay_s = 0.5
    while True:
        try:
            return await asyncio.to_thread(ensure_topics, settings)
        except KafkaUnreachableError as error:
            say(f"{error}; next attempt in {delay_s:g} s")
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, settings.retry_backoff_max_s)


# --- the admin client ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _admin(settings: EngineSettings) -> Iterator[Any]:
    servers = settings.servers
    # The admin client starts a thread before it knows that nobody is there, and tries again whatever the cause.
    asyncio.run(reach(servers, settings.access))
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=list(servers),
            client_id=f"{settings.app_id}-topics",
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            bootstrap_timeout_ms=_REQUEST_TIMEOUT_MS,
            **settings.access.client_options(),
        )
    except KafkaError as error:
        raise KafkaUnreachableError(_unreachable(servers, error)) from error
    try:
        yield admin
    except KafkaError as error:
        if error.retriable:
            raise KafkaUnreachableError(_unreachable(servers, error)) from error
        raise TopicsUnfitError([f"Kafka refused: {type(error).__name__}"]) from error
    finally:
        admin.close()


def _unreachable(servers: Sequence[str], error: Exception) -> str:
    return f"cannot reach Kafka at {','.join(servers)} ({type(error).__name__})"


def _describe(admin: Any, names: list[str]) -> dict[str, dict[str, Any]]:
    topics = {topic["name"]: topic for topic in admin.describe_topics(names)}
    return {name: topic for name, topic in topics.items() if topic.get("error_code", 0) != _UNKNOWN_TOPIC}


def _create(admin: Any, spec: TopicSpec) -> None:
    configs = {"cleanup.policy": spec.cleanup, **spec.configs}
    if spec.message_bytes_max is not None:
        configs["max.message.bytes"] = str(spec.message_bytes_max)
    if spec.replication > MIN_IN_SYNC:
        configs["min.insync.replicas"] = str(MIN_IN_SYNC)
    wanted = {
        "num_partitions": spec.partitions_made,
        "replication_factor": spec.replication,
        "configs": configs,
    }
    try:
        admin.create_topics({spec.name: wanted})
    except TopicAlreadyExistsError:
        log.info("topic %s was created by another worker", spec.name)
    except KafkaError as error:
        if error.retriable:
            raise
        what = f"topic {spec.name} cannot be created ({type(error).__name__}): "
        raise TopicsUnfitError([what + "check the rights, and that replication fits the brokers"]) from error


# --- what fits ----------------------------------------------------------------------------------------------


def _check(admin: Any, specs: Sequence[TopicSpec], existing: dict[str, dict[str, Any]]) -> None:
    if not specs:
        return
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in specs]
    configs = admin.describe_configs(resources, config_filter="all")["topic"]
    problems = [
        problem
        for spec in specs
        for problem in misfits(spec, existing[spec.name]["partitions"], configs[spec.name])
    ]
    if problems:
        raise TopicsUnfitError(problems)


def misfits(spec: TopicSpec, partitions: Sequence[dict[str, Any]], configs: dict[str, Any]) -> list[str]:
    """Say what does not fit: topic, what it is, what it must be, and what to do; one line each."""
    problems = []
    count = len(partitions)
    if spec.partitions is not None and count != spec.partitions:
        problems.append(
            f"topic {spec.name} has {count} partitions, must have {spec.partitions}: "
            "set the configured number to that of the topic, or delete the topic and run callgauge topics"
        )
    copies = min((len(partition["replica_nodes"]) for partition in partitions), default=0)
    if copies < spec.replication:
        problems.append(
            f"topic {spec.name} has replication {copies}, must have at least {spec.replication}: "
            "reassign its replicas, or lower the configured replication"
        )
    cleanup = _config(configs, "cleanup.policy")
    if set(cleanup.split(",")) != {spec.cleanup}:
        problems.append(
            f"topic {spec.name} has cleanup.policy={cleanup}, must be {spec.cleanup}: "
            f"kafka-configs --alter --topic {spec.name} --add-config cleanup.policy={spec.cleanup}"
        )
    limit = int(_config(configs, "max.message.bytes") or 0)
    if spec.message_bytes_max is not None and limit < spec.message_bytes_max:
        problems.append(
            f"topic {spec.name} has max.message.bytes={limit}, must be at least {spec.message_bytes_max}: "
            f"kafka-configs --alter --topic {spec.name} "
            f"--add-config max.message.bytes={spec.message_bytes_max}"
        )
    return problems


def _config(configs: dict[str, Any], name: str) -> str:
    found = configs.get(name)
    return str(found["value"]) if found else ""
