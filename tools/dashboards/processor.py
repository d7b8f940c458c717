"""*Processor*: whether the figures can be trusted. For those who run callgauge."""

from typing import Any

from tools.dashboards import parts
from tools.dashboards.parts import BLUE, GREY, ORANGE, SKY, VERMILLION, Column, Place, Query
from tools.dashboards.queries import age, freshness_states, limit, rate, series

UID = "callgauge-processor"


def _tiles() -> list[Any]:
    up, ready = series("up"), series("callgauge_ready")
    old = age("callgauge_checkpoint_timestamp_seconds")
    old_from = limit("checkpoint_age_limit_seconds")
    twice = f"count(count by (queue) ({series('callcenter_contacts_waiting')}) > 1)"
    return [
        parts.tile(
            "Workers that answer",
            "Scrape targets that are up, and whether one is not.",
            Place(0, 0, 5, 5),
            [
                Query(f"sum({up}) unless count({up} == 0) > 0", "all of them", BLUE),
                Query(f"sum({up}) and count({up} == 0) > 0", "one is DOWN", VERMILLION),
            ],
            "short",
        ),
        parts.tile(
            "Workers that are ready",
            "Recovered and assigned.",
            Place(5, 0, 5, 5),
            [
                Query(f"sum({ready}) unless count({ready} == 0) > 0", "all of them", BLUE),
                Query(f"sum({ready}) and count({ready} == 0) > 0", "one is NOT READY", ORANGE),
            ],
            "short",
        ),
        parts.tile(
            "Age of the figures",
            "How far the clock of the worker that is furthest behind is behind.",
            Place(10, 0, 5, 5),
            parts.in_states(freshness_states(), ("live", "BEHIND", "STALE"), (BLUE, ORANGE, VERMILLION)),
            "s",
        ),
        parts.tile(
            "Oldest checkpoint",
            "Age of the oldest of the last checkpoints of all partitions.",
            Place(15, 0, 5, 5),
            [
                Query(f"{old} <= {old_from}", "recent", BLUE),
                Query(f"{old} > {old_from}", "OLD", ORANGE),
            ],
            "s",
        ),
        parts.tile(
            "Queues exported twice",
            "Queues that two workers export at this moment: for a scrape while a queue moves, never for long.",
            Place(20, 0, 4, 5),
            [
                Query(twice, "TWICE", VERMILLION),
                Query(f"(count({series('callcenter_contacts_waiting')}) * 0) unless {twice}", "none", BLUE),
            ],
            "short",
        ),
    ]


def _records() -> list[Any]:
    return [
        parts.graph(
            "Lag",
            "Records not yet read, by topic and partition. A few are normal; what grows for minutes is not.",
            Place(0, 5, 12, 9),
            [
                Query(
                    f"max by (topic, partition) ({series('callgauge_lag_records')})",
                    "{{topic}} {{partition}}",
                ),
                Query(limit("lag_limit_records"), "reported above this, when it grows", ORANGE, dashed=True),
            ],
            "short",
        ),
        parts.graph(
            "Clock behind",
            "How far each worker's clock, and the newest event it has seen, lie behind the present.",
            Place(12, 5, 12, 9),
            [
                Query(f"time() - {series('callgauge_data_timestamp_seconds')}", "{{instance}} clock"),
                Query(
                    f"time() - {series('callgauge_last_event_timestamp_seconds')}",
                    "{{instance}} newest event",
                ),
            ],
            "s",
        ),
        parts.graph(
            "Events applied, a second",
            "By type.",
            Place(0, 14, 12, 9),
            [Query(rate("callgauge_events_total", by="event"), "{{event}}")],
            "short",
            stacked=True,
        ),
        parts.graph(
            "Records that count for nothing, a second",
            "Late ones and repeated ones. Late ones are kept in a topic of their own.",
            Place(12, 14, 12, 9),
            [
                Query(rate("callgauge_events_late_total"), "late", VERMILLION),
                Query(rate("callgauge_events_duplicate_total"), "duplicate", BLUE),
            ],
            "short",
        ),
        parts.graph(
            "Rejected, a second",
            "Records that are no events, by reason. They are in the dead-letter topic.",
            Place(0, 23, 12, 9),
            [Query(rate("callgauge_events_rejected_total", by="reason"), "{{reason}}")],
            "short",
            bars=True,
            stacked=True,
        ),
        parts.graph(
            "Anomalies, a second",
            "Applied events that make no sense for their call, by kind.",
            Place(12, 23, 12, 9),
            [Query(rate("callgauge_events_anomalous_total", by="kind"), "{{kind}}")],
            "short",
            bars=True,
            stacked=True,
        ),
    ]


def _process() -> list[Any]:
    checkpoint = series("callgauge_checkpoint_timestamp_seconds")
    by_instance = "max by (instance)"
    return [
        parts.graph(
            "Checkpoints",
            "Age of each partition's last checkpoint: a saw-tooth of some seconds.",
            Place(0, 32, 12, 9),
            [Query(f"min by (partition) (time() - {checkpoint})", "partition {{partition}}")],
            "s",
        ),
        parts.graph(
            "Holes and gaps, a second",
            "Batches put back since records before them were missing, holes of the log, and what was lost or refused.",
            Place(12, 32, 12, 9),
            [
                Query(rate("callgauge_position_holes_total"), "put back", ORANGE),
                Query(rate("callgauge_log_gaps_total"), "gaps of the log", BLUE),
                Query(rate("callgauge_retention_gaps_total"), "lost to retention", SKY),
                Query(rate("callgauge_checkpoints_refused_total"), "checkpoints refused", GREY),
                Query(rate("callgauge_queues_over_limit_total"), "contacts of too many queues", VERMILLION),
            ],
            "short",
        ),
        parts.graph(
            "Time of a scrape",
            "What a worker needs to write its metrics, and what Prometheus waited for.",
            Place(0, 41, 12, 9),
            [
                Query(
                    f"{by_instance} ({series('callgauge_collect_duration_seconds')})",
                    "collecting {{instance}}",
                    SKY,
                ),
                Query(f"{by_instance} ({series('scrape_duration_seconds')})", "scraping {{instance}}", GREY),
            ],
            "s",
        ),
        parts.rows_table(
            "Workers",
            "Which callgauge runs where, as far as it answers.",
            Place(12, 41, 12, 9),
            "instance",
            "Worker",
            [
                Column(
                    "Up",
                    f"{by_instance} ({series('up')})",
                    "none",
                    states=((1, "yes", BLUE), (0, "DOWN", VERMILLION)),
                ),
                Column(
                    "Ready",
                    f"{by_instance} ({series('callgauge_ready')})",
                    "none",
                    absent="?",
                    states=((1, "yes", BLUE), (0, "no", ORANGE)),
                ),
                Column(
                    "Queues",
                    f"count by (instance) ({series('callcenter_contacts_waiting')})",
                    "short",
                    absent="none",
                ),
            ],
            ("Worker", False),
        ),
    ]


def build() -> Any:
    """Return the dashboard."""
    return (
        parts.board(
            UID,
            "callgauge / Processor",
            "Whether the figures can be trusted. Generated by tools/dashboards; see docs/dashboards.md.",
            [],
            [*_tiles(), *_records(), *_process()],
        )
        .time("now-1h", "now")
        .refresh("10s")
    )
