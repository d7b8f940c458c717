"""Where settings become what the shell is told."""

from stream.access import Access
from stream.engine.engine_settings import EngineSettings, TopicNames
from stream.settings import OnRetentionGap, Settings, board_rules, fold_rules


def engine_settings(settings: Settings, access: Access) -> EngineSettings:
    """Return what the worker is told; ``access`` is ``access_of(settings)`` but for a broker of our own."""
    kafka, worker = settings.kafka, settings.worker
    return EngineSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        app_id=kafka.group_id,
        topics=TopicNames(
            events=kafka.topic_events,
            dead=kafka.topic_dead,
            late=kafka.topic_late,
            cells=kafka.topic_cells,
            intervals=kafka.topic_intervals,
        ),
        partitions=kafka.partitions,
        shards=kafka.shards,
        replication=kafka.replication,
        instance_id=kafka.instance_id or None,
        stop_on_retention_gap=kafka.on_retention_gap is OnRetentionGap.STOP,
        publish_interval_s=worker.publish_interval_ms / 1_000,
        checkpoint_interval_s=worker.checkpoint_interval_ms / 1_000,
        session_timeout_s=kafka.session_timeout_ms / 1_000,
        stall_timeout_s=worker.stall_timeout_ms / 1_000,
        recovery_timeout_s=worker.recovery_timeout_ms / 1_000,
        fold=fold_rules(settings),
        board=board_rules(settings),
        access=access,
    )
