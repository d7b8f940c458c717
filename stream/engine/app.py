"""The Faust app: every option written out, each with its reason."""

from typing import Any, Final

import faust
import mode
from yarl import URL

from stream.engine.batching import SCHEME
from stream.engine.engine_settings import EngineSettings
from stream.engine.topics import MESSAGE_BYTES_MAX

FETCH_BYTES_MAX: Final = (
    1024 * 1024
)  # of a partition: a fetch is the unit that an agent sees; larger ones gave no gain
BATCHES_BUFFERED: Final = 16  # about 5,000 records each
REQUEST_TIMEOUT_S: Final = 30.0
HEARTBEAT_S_MAX: Final = 3.0  # Kafka's own default
# One batch of a partition is under way at a time, and on a busy loop each way to Kafka and back takes a second or two:
# what all source partitions publish together should fit (aiokafka's default of 16 KiB holds no publication of 1,000
# queues). Half of what a topic takes by Kafka's default.
BATCH_BYTES_MAX: Final = 512 * 1024
DELIVERY_TIMEOUT_S: Final = 60.0  # a broker that restarts is back within it; then the process ends


class App(faust.App):
    """A Faust app that knows its engine and leaves nothing behind on the disk."""

    engine: Any

    def _create_directories(self) -> None:
        """Make none: the tables live in memory, their state in Kafka."""


def make_app(settings: EngineSettings, engine: Any) -> App:
    """Build the app."""
    servers = [URL(f"{SCHEME}://{server}") for server in settings.servers]
    options: dict[str, Any] = {
        "broker": servers,
        "version": 1,  # a higher one would rename the group and the checkpoint topics
        "autodiscover": False,  # agents are registered by the engine, nothing is searched for
        "datadir": "/nonexistent",  # nothing is written: see App
        # One record a partition recovers in no time, and RocksDB's offsets can disagree with the log.
        "store": "memory://",
        "table_standby_replicas": 0,  # with the default of one every worker reads every checkpoint
        # exactly_once duplicates on a kill; our exactness comes from the applied offset.
        "processing_guarantee": "at_least_once",
        "agent_supervisor": mode.CrashingSupervisor,  # never restart an agent and skip what it failed on
        "stream_buffer_maxsize": BATCHES_BUFFERED,  # counts batches
        "stream_wait_empty": False,  # what is not covered by a checkpoint is read again anyway
        "stream_recovery_delay": 0.0,
        "recovery_consistency_check": False,  # of a state on disk, which there is none of
        "broker_client_id": settings.app_id,
        "broker_commit_interval": 1.0,  # commits are only for displays of lag
        "broker_max_poll_records": None,  # a whole fetch; limits of 500 and 5000 gave no gain
        "broker_session_timeout": settings.session_timeout_s,
        # Several tries within a session, and soon enough to hear of a lost membership where the session is long.
        "broker_heartbeat_interval": min(HEARTBEAT_S_MAX, max(1.0, settings.session_timeout_s / 5)),
        "broker_request_timeout": max(REQUEST_TIMEOUT_S, settings.session_timeout_s),
        "broker_rebalance_timeout": REQUEST_TIMEOUT_S,
        "broker_commit_livelock_soft_timeout": 300.0,
        "stream_processing_timeout": 300.0,  # only logs; the watchdog is ours
        "consumer_max_fetch_size": FETCH_BYTES_MAX,
        "consumer_auto_offset_reset": "earliest",  # with latest a recovery hangs
        "consumer_group_instance_id": settings.instance_id,  # a restart within the session moves no partition
        "producer_acks": -1,  # what is not on all replicas in sync is not confirmed
        "producer_linger": 0.005,  # 0 makes a request for nearly every record; more only delays
        "producer_request_timeout": DELIVERY_TIMEOUT_S,  # the default of 20 minutes would hide a dead Kafka
        "producer_max_request_size": MESSAGE_BYTES_MAX,
        "producer_max_batch_size": BATCH_BYTES_MAX,
        # Whoever reads the dead letters may lack the codec; the cells' topic compresses by itself.
        "producer_compression_type": None,
        "producer_threaded": False,  # slower, and its shutdown is broken
        "topic_allow_declare": False,  # topics are made beforehand, with their own partition counts
        "topic_disable_leader": True,
        "web_enabled": False,  # Faust's would listen on 0.0.0.0 and show the tables
        "worker_redirect_stdouts": False,
        "cython_optimizations": False,  # no measurable gain with batches
        # Nothing listens there. It must be the same in every run: a static member that comes back gets the
        # assignment of its previous run, and Faust's assignor dies on one that was made for another URL.
        "canonical_url": URL("http://callgauge.invalid:1"),
    }
    app = App(settings.app_id, **options, **settings.access.app_options())
    app.engine = engine
    return app
