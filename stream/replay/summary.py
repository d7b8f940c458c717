"""What became of the records of a replay (contract, section 2)."""

from stream.core.snapshot import PipelineView


def summary(read: int, pipeline: PipelineView) -> dict[str, object]:
    """Return the outcomes by name."""
    return {
        "read": read,
        "applied": sum(pipeline.events.values()),
        "duplicate": pipeline.duplicate,
        "late": pipeline.late,
        "rejected": sum(pipeline.rejected.values()),
        "events": {kind: count for kind, count in pipeline.events.items() if count},
        "rejected_by_reason": dict(sorted(pipeline.rejected.items())),
        "anomalous": {kind: count for kind, count in pipeline.anomalous.items() if count},
    }
