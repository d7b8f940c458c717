"""What topics must be like, without a broker."""

import pytest

from stream.core.rules import FoldRules
from stream.engine.engine_settings import EngineSettings
from stream.engine.topics import MESSAGE_BYTES_MAX, TopicSpec, misfits, topic_specs

SPEC = TopicSpec("cp", 2, 2, "compact", 3, MESSAGE_BYTES_MAX)


def configs(cleanup: str = "compact", limit: int = MESSAGE_BYTES_MAX) -> dict:
    return {"cleanup.policy": {"value": cleanup}, "max.message.bytes": {"value": str(limit)}}


def partitions(count: int = 2, copies: int = 3) -> list[dict]:
    return [{"replica_nodes": list(range(copies))} for _ in range(count)]


def test_a_topic_as_it_must_be_has_no_misfit():
    """More copies and larger messages than needed are fine."""
    assert misfits(SPEC, partitions(copies=4), configs(limit=MESSAGE_BYTES_MAX + 1)) == []


@pytest.mark.parametrize(
    ("found", "config", "words"),
    [
        (partitions(count=3), configs(), "cp has 3 partitions, must have 2"),
        (partitions(copies=2), configs(), "cp has replication 2, must have at least 3"),
        (partitions(), configs(cleanup="delete"), "cp has cleanup.policy=delete, must be compact"),
        (partitions(), configs(cleanup="compact,delete"), "cleanup.policy=compact,delete"),
        (partitions(), configs(limit=MESSAGE_BYTES_MAX - 1), f"must be at least {MESSAGE_BYTES_MAX}"),
    ],
)
def test_each_misfit_is_one_line_with_what_is_and_what_must_be(found, config, words):
    """And after the colon: what to do."""
    problems = misfits(SPEC, found, config)

    assert len(problems) == 1
    assert words in problems[0]
    assert ": " in problems[0]
    assert "\n" not in problems[0]


def test_checkpoints_have_the_partitions_of_what_they_belong_to():
    """Partition p of a table is restored where partition p of its source is read."""
    specs = {spec.name: spec for spec in topic_specs(EngineSettings(app_id="app"))}

    assert specs["app-calls-changelog"].partitions == specs["call-events"].partitions == 12
    assert specs["app-board-changelog"].partitions == specs["queue-cells"].partitions == 4
    assert {spec.cleanup for name, spec in specs.items() if name.startswith("app-")} == {"compact"}


def test_rules_made_for_other_shards_are_refused():
    """Cells for a shard that nobody reads would be lost silently."""
    with pytest.raises(ValueError, match=r"fold\.shards is 5, but shards is 4"):
        EngineSettings(fold=FoldRules(shards=5))
