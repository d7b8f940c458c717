"""A worker as a process of its own: settings as JSON on the command line, its snapshot in a file."""

import asyncio
import json
import os
import signal
import sys
from datetime import UTC
from pathlib import Path
from typing import Any

from stream.clock import monotonic_s
from stream.core import fields as f
from stream.core.place import shard_of
from stream.core.rules import BoardRules, FoldRules
from stream.engine import Engine, EngineSettings, TopicNames, run_worker
from stream.export import serve

LOOK_S = 0.05
SESSION_TIMEOUT_S = 6.0  # the least that a broker allows


def settings_of(options: dict[str, Any]) -> EngineSettings:
    """Make settings with topics of a test's own."""
    prefix, partitions, shards = options["prefix"], options["partitions"], options["shards"]
    fold = FoldRules(shards=shards)
    return EngineSettings(
        bootstrap_servers=options["servers"],
        app_id=prefix,
        topics=TopicNames(*[f"{prefix}-{name}" for name in ("events", "dead", "late", "cells", "intervals")]),
        partitions=partitions,
        shards=shards,
        instance_id=options.get("instance_id"),
        publish_interval_s=0.1,
        checkpoint_interval_s=options.get("checkpoint_interval_s", 0.5),
        session_timeout_s=options.get("session_timeout_s", SESSION_TIMEOUT_S),
        stall_timeout_s=options.get("stall_timeout_s", 90.0),
        recovery_timeout_s=options.get("recovery_timeout_s", 120.0),
        stop_on_retention_gap=options.get("on_retention_gap", "stop") == "stop",
        checkpoint_record_bytes=options.get("checkpoint_record_bytes"),
        fold=fold,
        board=BoardRules(time_zone=UTC, source_partitions=partitions, shards=shards, fold=fold),
    )


def describe(engine: Engine) -> dict[str, Any]:
    """Say what a reader of the metrics would see, and what is owned."""
    snapshot = engine.snapshot()
    return {
        "ready": snapshot.ready,
        "reason": snapshot.not_ready_reason,
        "healthy": snapshot.healthy,
        "clock_ms": snapshot.clock_ms,
        "totals": {queue.queue: {str(k): v for k, v in queue.totals.items()} for queue in snapshot.queues},
        "queued": sum(queue.totals.get(f.QUEUED, 0) for queue in snapshot.queues),
        "events": dict(snapshot.pipeline.events),
        "rejected": dict(snapshot.pipeline.rejected),
        "late": snapshot.pipeline.late,
        "holes": snapshot.pipeline.holes,
        "gaps": snapshot.pipeline.gaps,
        "retention_gaps": snapshot.pipeline.retention_gaps,
        "refused": snapshot.pipeline.checkpoints_refused,
        "lag": {
            f"{topic}[{partition}]": lag for (topic, partition), lag in snapshot.pipeline.lag_records.items()
        },
        "checkpoints": sorted(snapshot.pipeline.checkpoint_at_ms),
        "partitions": sorted(engine.calls.owned),
        "shards": sorted(engine.board.owned),
        "applied": {
            str(owned.place): owned.stage.applied_offset
            for shell in (engine.calls, engine.board)
            for owned in shell.owned.values()
        },
        "generation": engine.app.consumer_generation_id,
        "assignments": engine._assignments,
        "watched_s": engine._watchdog._watched_s,
    }


def strangers(engine: Engine) -> set[str]:
    """Return the queues that are shown though the group has assigned their shard to somebody else."""
    shown = [queue.queue for queue in engine.snapshot().queues]
    assigned = engine.consumer.assignment() if shown else set()
    topic, shards = engine.settings.topics.cells, engine.settings.shards
    return {queue for queue in shown if (topic, shard_of(queue, shards)) not in assigned}


async def report(engine: Engine, options: dict[str, Any]) -> None:
    """Serve the pages; write what the engine shows, again and again; let a fault happen when its file appears."""
    import faults  # noqa: PLC0415 - beside this script, not for those who only want its settings

    path, fault = Path(options["status"]), options.get("fault")
    served = await serve(engine, "127.0.0.1", 0, monotonic_s=monotonic_s)
    observed = faults.observe() if options.get("observe") else {}
    seen: set[str] = set()
    while True:
        seen |= strangers(engine)
        if fault and (fault in faults.AT_THE_START or path.with_suffix(".fault").exists()):
            await faults.FAULTS[fault](engine)
            fault = None
        new = path.with_suffix(".new")
        shown = describe(engine) | {
            "port": served.address[1],
            "observed": observed,
            "strangers": sorted(seen),
        }
        new.write_text(json.dumps(shown))
        new.replace(path)
        await asyncio.sleep(LOOK_S)


def die_before(engine: Engine, record: str, armed: Path) -> None:
    """Kill the process before it sends that record of a checkpoint of stage 1, once a file is there."""
    send = engine.calls._send

    async def sending(topic: str, key: bytes | None, value: bytes | None, *more: Any) -> Any:
        slashes = (key or b"").count(b"/")
        is_it = slashes < 2 if record == "head" else slashes == 2 and str(key).endswith(f"/{record}'")
        if topic == engine.calls.table.topic and is_it and armed.exists():  # noqa: ASYNC240 - it dies here
            os.kill(os.getpid(), signal.SIGKILL)
        return await send(topic, key, value, *more)

    engine.calls._send = sending


def main() -> int:
    """Run until a signal."""
    options = json.loads(sys.argv[1])

    def exporter(engine: Engine) -> Any:
        if "die_before" in options:
            die_before(engine, options["die_before"], Path(options["armed"]))
        return report(engine, options)

    return asyncio.run(run_worker(settings_of(options), exporter))


if __name__ == "__main__":
    sys.exit(main())
