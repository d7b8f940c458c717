"""What can be configured: the one definition of keys, defaults, bounds and their meaning.

Spans are written as text (`"20s"`) and held in milliseconds, so a key and its attribute differ by `_ms`. The
table of keys, the environment's names, the documentation and the messages are all derived from these models.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr

from stream.core.rules import Clock, Formula
from stream.settings import checks, limits
from stream.settings.spans import parse_span


class Kind(StrEnum):
    """How a value is written: in words for the documentation and for messages."""

    TEXT = "text"
    SPAN = "span"
    INTEGER = "whole number"
    NUMBER = "number"
    BOOLEAN = "true or false"
    CHOICE = "choice"
    LIST = "list of spans"
    SECRET = "secret"  # noqa: S105 - the word, not a secret


class SecurityProtocol(StrEnum):
    """How the brokers are spoken to, in Kafka's words."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def sasl(self) -> bool:
        """Whether there is a password."""
        return self.value.startswith("SASL_")

    @property
    def tls(self) -> bool:
        """Whether what is said is encrypted."""
        return self.value.endswith("SSL")


class SaslMechanism(StrEnum):
    """How the password is proved, in Kafka's words."""

    SCRAM_SHA_512 = "SCRAM-SHA-512"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    PLAIN = "PLAIN"


class Section(BaseModel):
    """A table of the file. Unknown keys are an error; nothing is converted behind the user's back."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OnRetentionGap(StrEnum):
    """What to do when records were deleted before they were counted."""

    STOP = "stop"
    CONTINUE = "continue"


def _on_retention_gap(value: object) -> OnRetentionGap:
    return OnRetentionGap(checks.check_choice(value, tuple(OnRetentionGap)))


def _formula(value: object) -> Formula:
    return Formula(checks.check_choice(value, tuple(Formula)))


def _clock(value: object) -> Clock:
    return Clock(checks.check_choice(value, tuple(Clock)))


def _protocol(value: object) -> SecurityProtocol:
    return SecurityProtocol(checks.check_choice(value, tuple(SecurityProtocol)))


def _mechanism(value: object) -> SaslMechanism:
    return SaslMechanism(checks.check_choice(value, tuple(SaslMechanism)))


Span = Annotated[int, Kind.SPAN, BeforeValidator(parse_span)]
Topic = Annotated[str, AfterValidator(checks.check_topic)]
Ratio = Annotated[float, Field(ge=0, le=1)]


def _span(default: int, key: str, low: int, high: int, description: str) -> Any:
    return Field(default=default, alias=key, ge=low, le=high, description=description)


class Kafka(Section):
    """Where the events are, and how the workers share them."""

    bootstrap_servers: Annotated[str, BeforeValidator(checks.check_servers)] = Field(
        default="127.0.0.1:9092",
        description="Brokers to begin with: `host:port`, several with commas between.",
    )
    security_protocol: Annotated[SecurityProtocol, Kind.CHOICE, PlainValidator(_protocol)] = Field(
        default=SecurityProtocol.PLAINTEXT,
        description="`PLAINTEXT`, `SSL` (TLS), `SASL_PLAINTEXT` (password, not encrypted) or `SASL_SSL` "
        "(password over TLS). [Security](security.md) has a whole example.",
    )
    sasl_mechanism: Annotated[SaslMechanism, Kind.CHOICE, PlainValidator(_mechanism)] = Field(
        default=SaslMechanism.SCRAM_SHA_512,
        description="`SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`.",
    )
    sasl_username: str = Field(default="", description="User name for the brokers.")
    sasl_password: SecretStr = Field(
        default=SecretStr(""),
        description="The password. Best from the environment or `sasl_password_file`; not by `--set`, which "
        "shows it in the list of processes.",
    )
    sasl_password_file: str = Field(
        default="", description="File with the password on one line, read at the start."
    )
    ssl_cafile: str = Field(
        default="",
        description="File with the authorities (PEM) that the brokers' certificates may be from; empty for "
        "those of the system.",
    )
    ssl_certfile: str = Field(
        default="", description="File with our own certificate (PEM), where brokers ask for one."
    )
    ssl_keyfile: str = Field(
        default="", description="File with its key (PEM, no passphrase); empty when it is in `ssl_certfile`."
    )
    ssl_check_hostname: bool = Field(
        default=True,
        description="Whether the brokers' certificates must be for the host names that are connected to. "
        "Certificates are verified either way.",
    )
    partitions: int = Field(
        default=12,
        ge=1,
        le=limits.PARTITIONS_MAX,
        description="Partitions of the event topic: the most workers that can share the work. "
        "An existing topic must have as many.",
    )
    shards: int = Field(
        default=4,
        ge=1,
        le=limits.SHARDS_MAX,
        description="Partitions of the cell topic: the most workers that can share the board.",
    )
    replication: int = Field(
        default=1,
        ge=1,
        le=limits.REPLICATION_MAX,
        description="Replicas of each topic that is created. Use 3 where there are three brokers.",
    )
    group_id: Annotated[str, AfterValidator(checks.check_group)] = Field(
        default="callgauge",
        description="Name of the consumer group; workers with the same name share the work.",
    )
    instance_id: Annotated[str, AfterValidator(checks.check_instance)] = Field(
        default="",
        description="This worker's own lasting name in the group, so that a quick restart gets its "
        "partitions back at once. Each worker needs another one; empty for none.",
    )
    session_timeout_ms: Span = _span(
        10 * limits.SECOND_MS,
        "session_timeout",
        limits.SESSION_TIMEOUT_MS_MIN,
        limits.SESSION_TIMEOUT_MS_MAX,
        "After this long without a sign of life a worker's partitions go to others.",
    )
    on_retention_gap: Annotated[OnRetentionGap, Kind.CHOICE, PlainValidator(_on_retention_gap)] = Field(
        default=OnRetentionGap.STOP,
        description="When Kafka has deleted records that were not counted yet: `stop`, the worker ends and says "
        "which, or `continue`, it counts what is left and reports the gap.",
    )
    topic_events: Topic = Field(default="call-events", description="Topic with the events.")
    topic_cells: Topic = Field(default="queue-cells", description="Topic between the two stages.")
    topic_intervals: Topic = Field(default="queue-intervals", description="Topic for closed intervals.")
    topic_dead: Topic = Field(default="call-events-dead", description="Topic for rejected records.")
    topic_late: Topic = Field(default="call-events-late", description="Topic for events beyond the grace.")


class Events(Section):
    """What is accepted, and for how long a call is remembered."""

    grace_ms: Span = _span(
        5 * limits.MINUTE_MS,
        "grace",
        0,
        limits.GRACE_MS_MAX,
        "How far behind its partition's newest event an event may be and still count.",
    )
    future_skew_ms: Span = _span(
        limits.MINUTE_MS,
        "future_skew",
        0,
        limits.FUTURE_SKEW_MS_MAX,
        "How far an event may be ahead of its record's own timestamp; further ahead it is rejected.",
    )
    call_age_max_ms: Span = _span(
        4 * limits.HOUR_MS,
        "call_age_max",
        limits.CALL_AGE_MS_MIN,
        limits.CALL_AGE_MS_MAX,
        "A visit or conversation without an end is closed as expired at this age.",
    )
    wrap_up_wait_ms: Span = _span(
        15 * limits.MINUTE_MS,
        "wrap_up_wait",
        0,
        limits.WRAP_UP_WAIT_MS_MAX,
        "How long an ended conversation is kept for its wrap-up.",
    )
    queues_max: int = Field(
        default=1_000,
        ge=1,
        le=limits.QUEUES_MAX,
        description="Queues with numbers of their own; further ones count together as `__other__`.",
    )


class Windows(Section):
    """The spans over which ratios are shown."""

    rolling: Annotated[tuple[tuple[str, int], ...], Kind.LIST, PlainValidator(checks.check_rolling)] = Field(
        default=(("5m", 300_000), ("30m", 1_800_000), ("1h", 3_600_000)),
        description="Rolling windows, in whole 5 s, up to 24h; the text is the label `window`.",
    )
    interval_ms: Annotated[int, Kind.SPAN, PlainValidator(checks.check_interval)] = Field(
        default=30 * limits.MINUTE_MS,
        alias="interval",
        description="Clock interval: `15m` or `30m`.",
    )
    clock: Annotated[Clock, Kind.CHOICE, PlainValidator(_clock)] = Field(
        default=Clock.WALL,
        description="What the board calls now: `wall`, the present once caught up, or `stream`, always the "
        "time of the events (for feeds faster than life).",
    )


class Queue(Section):
    """How a queue is judged. `[queue_defaults]` holds for every queue, `[queues.NAME]` for one."""

    target_ms: Span = _span(
        20 * limits.SECOND_MS,
        "target",
        limits.TARGET_MS_MIN,
        limits.TARGET_MS_MAX,
        "Wait within which an answer counts as in time (wait <= target).",
    )
    objective: Ratio = Field(default=0.80, description="Service level to reach, between 0 and 1.")
    formula: Annotated[Formula, Kind.CHOICE, PlainValidator(_formula)] = Field(
        default=Formula.ABANDONED_IGNORED,
        description="What abandoned contacts do to the service level: `abandoned_ignored`, "
        "`abandoned_negative`, `abandoned_positive` or `answered_only`.",
    )
    short_abandon_ms: Span = _span(
        0,
        "short_abandon",
        0,
        limits.TARGET_MS_MAX,
        "Abandons with a shorter wait are counted apart, not as abandonment; at most the target.",
    )
    abandonment_limit: Ratio = Field(default=0.05, description="Abandonment to stay below, between 0 and 1.")
    wait_limit_ms: Span = _span(
        5 * limits.MINUTE_MS,
        "wait_limit",
        limits.WAIT_LIMIT_MS_MIN,
        limits.WAIT_LIMIT_MS_MAX,
        "Longest wait to accept.",
    )
    opening: Annotated[str, AfterValidator(checks.check_opening)] = Field(
        default="",
        description='Opening hours like `"Mo-Fr 08:00-20:00; Sa 10:00-14:00"`; empty for always open.',
    )


class Http(Section):
    """Where the page and the metrics are served."""

    host: Annotated[str, AfterValidator(checks.check_host)] = Field(
        default="127.0.0.1", description="Address to listen on."
    )
    port: int = Field(
        default=9_660,
        ge=limits.PORT_MIN,
        le=limits.PORT_MAX,
        description="Port to listen on; 0 lets the system choose one.",
    )
    allow_remote: bool = Field(
        default=False,
        description="Allows an address that other machines can reach. Nothing asks for a password.",
    )


class Worker(Section):
    """The pace of a worker."""

    publish_interval_ms: Span = _span(
        500,
        "publish_interval",
        limits.PUBLISH_INTERVAL_MS_MIN,
        limits.PUBLISH_INTERVAL_MS_MAX,
        "How often changed values go from the calls to the board; while a backlog is read, every 3 s at most.",
    )
    checkpoint_interval_ms: Span = _span(
        5 * limits.SECOND_MS,
        "checkpoint_interval",
        limits.CHECKPOINT_INTERVAL_MS_MIN,
        limits.CHECKPOINT_INTERVAL_MS_MAX,
        "How often the state is stored; a crash reads this much again at most.",
    )
    stall_timeout_ms: Span = _span(
        90 * limits.SECOND_MS,
        "stall_timeout",
        limits.STALL_TIMEOUT_MS_MIN,
        limits.STALL_TIMEOUT_MS_MAX,
        "After this long without progress (records waiting, nothing published, saved or heard) the process ends "
        "with exit code 1; from half of it on `/healthz` fails.",
    )
    recovery_timeout_ms: Span = _span(
        2 * limits.MINUTE_MS,
        "recovery_timeout",
        limits.RECOVERY_TIMEOUT_MS_MIN,
        limits.RECOVERY_TIMEOUT_MS_MAX,
        "The same for being assigned partitions and restoring their states.",
    )


class Alerts(Section):
    """When the alert rules speak. /metrics exports these numbers, and the rules read them there."""

    critical_share: Ratio = Field(
        default=0.75,
        description="Share of its objective below which a queue's service level is critical.",
    )
    contacts_min: int = Field(
        default=20,
        ge=1,
        le=limits.ALERT_COUNT_MAX,
        description="Contacts in 30 minutes below which a queue's service level raises no alert.",
    )
    failures_min: int = Field(
        default=5,
        ge=1,
        le=limits.ALERT_COUNT_MAX,
        description="Missed, abandoned, blocked or rejected ones below which their share raises no alert.",
    )
    blocked_limit: Ratio = Field(
        default=0.01, description="Share of blocked contacts to stay below, between 0 and 1."
    )
    stale_limit_ms: Span = _span(
        2 * limits.MINUTE_MS,
        "stale_limit",
        limits.ALERT_SPAN_MS_MIN,
        limits.ALERT_SPAN_MS_MAX,
        "Age of the numbers from which they are called stale.",
    )
    lag_limit: int = Field(
        default=1_000,
        ge=1,
        le=limits.ALERT_COUNT_MAX,
        description="Records not yet read from which a growing lag is reported.",
    )
    rejected_limit: Ratio = Field(
        default=0.01, description="Share of rejected records to stay below, between 0 and 1."
    )
    checkpoint_age_limit_ms: Span = _span(
        10 * limits.MINUTE_MS,
        "checkpoint_age_limit",
        limits.ALERT_SPAN_MS_MIN,
        limits.ALERT_SPAN_MS_MAX,
        "Age of a checkpoint from which it is called old; several times `worker.checkpoint_interval`.",
    )


QUEUE_DEFAULTS: Final = "queue_defaults"
QUEUES: Final = "queues"


class Settings(Section):
    """Everything that can be configured."""

    time_zone: Annotated[str, AfterValidator(checks.check_time_zone)] = Field(
        default="UTC", description="Time zone of intervals, days and opening hours, like `Europe/Amsterdam`."
    )
    kafka: Kafka = Field(default_factory=Kafka)
    events: Events = Field(default_factory=Events)
    windows: Windows = Field(default_factory=Windows)
    queue_defaults: Queue = Field(default_factory=Queue)
    # every queue is complete: what it does not set itself was filled in from the defaults before
    queues: dict[Annotated[str, AfterValidator(checks.check_queue_name)], Queue] = Field(default_factory=dict)
    http: Http = Field(default_factory=Http)
    worker: Worker = Field(default_factory=Worker)
    alerts: Alerts = Field(default_factory=Alerts)
