"""Every bound on a setting, in one place; each comment says why the number is what it is."""

from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

# The example has thirty lines. A file with a thousand queues of seven keys is below this.
CONFIG_BYTES_MAX: Final = 262_144
# The longest value is a list of eight windows. A statement beyond this loses its line number, nothing else.
STATEMENT_LINES_MAX: Final = 100
# What a message quotes of a value, so that it stays one readable line.
QUOTE_CHARACTERS_MAX: Final = 60

# Brokers share a log directory among all partitions; Faust assigns eagerly and slows down well before this.
PARTITIONS_MAX: Final = 1_024
# One shard belongs to one worker, and every partition sends every shard a record twice a second.
SHARDS_MAX: Final = 64
# A replica more than brokers is refused by Kafka; clusters beyond this use racks, not replicas.
REPLICATION_MAX: Final = 15
# Kafka's own bound on a topic's name, and what it allows in one.
TOPIC_CHARACTERS_MAX: Final = 249
# The group's name begins the names of the checkpoint topics; this leaves 49 characters for their ends.
GROUP_ID_CHARACTERS_MAX: Final = 200
# What brokers allow by default (group.min.session.timeout.ms, group.max.session.timeout.ms).
SESSION_TIMEOUT_MS_MIN: Final = 6 * SECOND_MS
SESSION_TIMEOUT_MS_MAX: Final = 30 * MINUTE_MS

# Closed calls are kept for the grace, and intervals stay open: a day of both is what memory should hold.
GRACE_MS_MAX: Final = DAY_MS
# An honest clock is seconds off. A producer whose clock is a time zone off is half a day off at most.
FUTURE_SKEW_MS_MAX: Final = 12 * HOUR_MS
# A conversation shorter than this is common; a contact that is open for more than a week is a lost event.
CALL_AGE_MS_MIN: Final = MINUTE_MS
CALL_AGE_MS_MAX: Final = 7 * DAY_MS
WRAP_UP_WAIT_MS_MAX: Final = DAY_MS
# A queue is some 200 series. 10,000 queues are 2 million, which is a Prometheus of its own.
QUEUES_MAX: Final = 10_000

# Every rolling window is some 13 series a queue.
ROLLING_WINDOWS_MAX: Final = 8
# A day is the longest thing that `day` does not say better.
ROLLING_MS_MAX: Final = DAY_MS
# The contract's two, which tile every time zone's midnight.
INTERVALS_MS: Final = (15 * MINUTE_MS, 30 * MINUTE_MS)

# Below a second nobody answers; a target in days is an objective for mail, kept within a call's greatest age.
TARGET_MS_MIN: Final = SECOND_MS
TARGET_MS_MAX: Final = CALL_AGE_MS_MAX
WAIT_LIMIT_MS_MIN: Final = SECOND_MS
WAIT_LIMIT_MS_MAX: Final = CALL_AGE_MS_MAX

# 0 lets the system choose a free port.
PORT_MIN: Final = 0
PORT_MAX: Final = 65_535

# Faster than this the broker is busy with us alone; slower than ten seconds no wall board is live.
PUBLISH_INTERVAL_MS_MIN: Final = 50
PUBLISH_INTERVAL_MS_MAX: Final = 10 * SECOND_MS
# A checkpoint is the whole state; a crash reads at most one interval again.
CHECKPOINT_INTERVAL_MS_MIN: Final = 500
CHECKPOINT_INTERVAL_MS_MAX: Final = 5 * MINUTE_MS
# A large state takes seconds to save, and a broker that restarts ten; an hour is longer than anybody looks away.
STALL_TIMEOUT_MS_MIN: Final = 10 * SECOND_MS
STALL_TIMEOUT_MS_MAX: Final = HOUR_MS
# The group waits 30 s for each of its members to join.
RECOVERY_TIMEOUT_MS_MIN: Final = 45 * SECOND_MS
RECOVERY_TIMEOUT_MS_MAX: Final = HOUR_MS

# A second is the shortest time between two scrapes; what has been wrong for a day is known by then.
ALERT_SPAN_MS_MIN: Final = SECOND_MS
ALERT_SPAN_MS_MAX: Final = DAY_MS
# A limit beyond this is a way to say never.
ALERT_COUNT_MAX: Final = 1_000_000_000
