"""Everything the worker needs to know, already checked. ``stream.cli`` makes it from the configuration."""

from dataclasses import dataclass, field
from datetime import UTC
from typing import Final

from stream.access import Access
from stream.core.rules import BoardRules, FoldRules

PARTITIONS: Final = 12
SHARDS: Final = 4


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The topics of the contract; another name each where a cluster has a naming rule."""

    events: str = "call-events"
    dead: str = "call-events-dead"
    late: str = "call-events-late"
    cells: str = "queue-cells"
    intervals: str = "queue-intervals"


def _board_rules() -> BoardRules:
    return BoardRules(time_zone=UTC, source_partitions=PARTITIONS, shards=SHARDS)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How this worker reads, counts and writes. Spans in seconds, as Faust takes them."""

    bootstrap_servers: str = "127.0.0.1:9092"  # host:port, separated by commas
    app_id: str = "callgauge"  # also the consumer group, and the prefix of the checkpoint topics
    topics: TopicNames = field(default_factory=TopicNames)
    partitions: int = PARTITIONS
    shards: int = SHARDS
    replication: int = 1
    instance_id: str | None = None  # static membership; must be unique among the running workers
    publish_interval_s: float = 0.5
    checkpoint_interval_s: float = 5.0
    session_timeout_s: float = 10.0
    revoke_timeout_s: float = 4.0  # a checkpoint before giving partitions away may take this long
    stop_timeout_s: float = 20.0  # a clean stop, checkpoint and commit included
    # Without progress for so long the process ends, and is unhealthy from half of it on. Longer than a delivery
    # may take (60 s), so that an outage of Kafka is called that.
    stall_timeout_s: float = 90.0
    recovery_timeout_s: float = (
        120.0  # the same for an assignment, from the loss of partitions to the restored states
    )
    stop_on_retention_gap: bool = (
        True  # False: go on without records that were deleted before they were counted
    )
    checkpoint_record_bytes: int | None = (
        None  # a larger state is written in chunks; None: what the topic takes
    )
    retry_backoff_max_s: float = 10.0  # between attempts to reach Kafka at the start
    fold: FoldRules = field(default_factory=FoldRules)
    board: BoardRules = field(default_factory=_board_rules)
    access: Access = field(default_factory=Access)  # TLS and password

    def __post_init__(self) -> None:
        """Refuse rules that were made for another number of partitions: they would lose cells silently."""
        pairs = (
            ("fold.shards", self.fold.shards, "shards", self.shards),
            ("board.shards", self.board.shards, "shards", self.shards),
            ("board.source_partitions", self.board.source_partitions, "partitions", self.partitions),
        )
        for inner_name, inner, name, value in pairs:
            if inner != value:
                raise ValueError(f"{inner_name} is {inner}, but {name} is {value}: they must be equal")

    @property
    def servers(self) -> tuple[str, ...]:
        """The bootstrap servers, one each."""
        return tuple(server.strip() for server in self.bootstrap_servers.split(",") if server.strip())
