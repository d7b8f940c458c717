"""Topics on a real broker: created once, checked ever after, and told in one line what does not fit."""

import asyncio
import dataclasses

import pytest
from kafka.admin import KafkaAdminClient

from stream.engine import EngineSettings, TopicsUnfitError, ensure_topics, run_worker
from stream.engine.topics import topic_specs

pytestmark = pytest.mark.broker


def test_missing_topics_are_created_and_existing_ones_checked(cluster):
    """The first call makes them all, the second finds them all as they must be."""
    names = tuple(spec.name for spec in topic_specs(cluster.settings))

    assert ensure_topics(cluster.settings).created == names
    assert ensure_topics(cluster.settings).checked == names


def test_without_leave_to_create_a_missing_topic_is_an_error(cluster):
    """A line for each missing topic says what to do."""
    with pytest.raises(TopicsUnfitError) as caught:
        ensure_topics(cluster.settings, create=False)

    assert len(caught.value.problems) == len(topic_specs(cluster.settings))
    assert all("run callgauge topics" in problem for problem in caught.value.problems)


def test_topics_that_do_not_fit_are_named_with_what_they_must_be(cluster):
    """Partitions, cleanup and message size are checked; the worker refuses to start, with code 2."""
    settings = cluster.settings
    changelog = f"{cluster.prefix}-calls-changelog"
    admin = KafkaAdminClient(bootstrap_servers=cluster.broker.bootstrap_servers)
    admin.create_topics(
        {
            settings.topics.events: {"num_partitions": 5, "replication_factor": 1},
            changelog: {
                "num_partitions": 3,
                "replication_factor": 1,
                "configs": {"max.message.bytes": "1000000"},
            },
        }
    )
    admin.wait_for_topics([settings.topics.events, changelog])
    admin.close()

    with pytest.raises(TopicsUnfitError) as caught:
        ensure_topics(settings)

    problems = caught.value.problems
    assert len(problems) == 3
    assert f"topic {settings.topics.events} has 5 partitions, must have 3" in problems[0]
    assert f"topic {changelog} has cleanup.policy=delete, must be compact" in problems[1]
    assert "max.message.bytes" in problems[2]
    worker = cluster.start()
    assert worker.process.wait(timeout=60) == 2
    assert problems[0] in worker.log()


def test_without_kafka_the_worker_says_so_and_goes_on_trying():
    """It is not ready, names the address, and can be stopped at any time."""
    settings = dataclasses.replace(EngineSettings(), bootstrap_servers="127.0.0.1:1")
    seen = []

    async def run() -> int:
        stop = asyncio.Event()

        async def look(engine) -> None:
            while not seen or "cannot reach" not in seen[-1].not_ready_reason:
                seen.append(engine.snapshot())
                await asyncio.sleep(0.01)
            stop.set()

        return await asyncio.wait_for(run_worker(settings, look, until=stop), 60)

    assert asyncio.run(run()) == 0
    assert not seen[-1].ready
    assert "127.0.0.1:1" in seen[-1].not_ready_reason
    assert seen[-1].healthy
