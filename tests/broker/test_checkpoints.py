"""Checkpoints on a real broker: in chunks, torn, damaged, of a newer program, and behind what retention has taken."""

import signal

import pytest

from stream.core.calls import MAGIC, CallsStage
from stream.core.checkpoint import FORMAT_VERSION
from stream.core.fields import LAYOUT_VERSION
from stream.core.rules import FoldRules
from stream.core.slots import HEAD_MAGIC, assess
from tests.core.test_checkpoint import sealed

pytestmark = pytest.mark.broker

RECORD_BYTES = 1_500  # less than the state of a few hundred calls: so it is written in chunks


def newest(cluster, partition):
    """Return the newest usable checkpoint of a source partition, read by the test itself."""
    return assess(MAGIC, partition, cluster.checkpoints("calls", partition), from_the_beginning=True).usable[
        0
    ]


def critical(worker):
    return [line for line in worker.log().splitlines() if "critical" in line]


@pytest.mark.parametrize("record", ["0", "1", "head"])
def test_a_worker_killed_within_a_large_checkpoint_goes_on_from_the_other_slot(cluster, calls, record):
    """Before a chunk, between two, before the head: what the other slot covers is not in the log any more."""
    armed = cluster.folder / "armed"
    cluster.create_topics()
    cluster.send(calls(0, 400))
    first = cluster.start(
        instance_id="one", checkpoint_record_bytes=RECORD_BYTES, die_before=record, armed=str(armed)
    )
    first.wait_for("it is saved", lambda shown: shown["events"].get("queued") == 400)
    armed.touch()
    cluster.send(calls(400, 900))
    assert first.ends() == -signal.SIGKILL
    cluster.send(calls(900, 1_000))
    kept = {partition: newest(cluster, partition) for partition in range(cluster.partitions)}
    for partition, candidate in kept.items():
        assert any(value[:4] == HEAD_MAGIC for _, value in cluster.checkpoints("calls", partition))
        stage = CallsStage.load(candidate.data, partition, FoldRules(shards=cluster.shards))
        cluster.forget(partition, stage.applied_offset + 1)

    second = cluster.start(instance_id="one", checkpoint_record_bytes=RECORD_BYTES)
    shown = second.wait_for("everything is counted", lambda shown: shown["queued"] == 1_000)

    assert second.shows()["totals"] == cluster.expected_totals()
    assert (shown["holes"], shown["gaps"], shown["retention_gaps"]) == (0, 0, 0)
    second.wait_for("it is saved", lambda shown: shown["events"].get("queued") == 1_000)
    assert second.stop() == 0, second.log()
    for partition, candidate in kept.items():
        assert newest(cluster, partition).applied_offset > candidate.applied_offset


def test_a_checkpoint_that_is_due_while_something_is_published_is_written_afterwards(cluster, calls):
    """Not only when it is due again: with large states that is minutes later, and may meet a publication again."""
    cluster.create_topics()
    worker = cluster.start(instance_id="one", fault="due_while_publishing")
    worker.wait_for("each is saved", lambda shown: len(shown["checkpoints"]) == cluster.partitions)
    worker.let_it_happen()
    cluster.send(calls(0, 300))

    worker.wait_for("it is saved", lambda shown: shown["events"].get("queued") == 300)


def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_is_used(cluster, calls):
    """What it covers is not in the log any more, so nothing else could give the same numbers."""
    cluster.create_topics()
    cluster.send(calls(0, 300))
    first = cluster.start(instance_id="one")
    first.wait_for("it is saved", lambda shown: shown["events"].get("queued") == 300)
    assert first.stop() == 0, first.log()
    candidate = newest(cluster, 1)
    cluster.forget(1, candidate.applied_offset + 1)
    cluster.write(
        f"{cluster.prefix}-calls-changelog", 1, b"1" if candidate.slot else b"1/1", candidate.data[:-1]
    )
    cluster.send(calls(300, 400))

    second = cluster.start(instance_id="one")
    shown = second.wait_for("everything is counted", lambda shown: shown["queued"] == 400)

    assert second.shows()["totals"] == cluster.expected_totals()
    assert (shown["refused"], shown["retention_gaps"]) == (1, 0)
    assert (
        f"{cluster.prefix}-calls-changelog[1]: slot {1 - candidate.slot}: checkpoint does not fit"
        in second.log()
    )
    assert second.stop() == 0, second.log()


@pytest.mark.parametrize("table", ["calls", "board"])
def test_without_any_usable_checkpoint_the_retained_log_is_counted_again(cluster, calls, table):
    """Of either stage; loudly, and with the same result."""
    cluster.create_topics()
    cluster.write(f"{cluster.prefix}-{table}-changelog", 1, b"1", b"not a checkpoint at all")
    cluster.send(calls(0, 300))

    worker = cluster.start()
    shown = worker.wait_for("everything is counted", lambda shown: shown["queued"] == 300)

    assert worker.shows()["totals"] == cluster.expected_totals()
    assert shown["refused"] == 1
    assert (
        f"{cluster.prefix}-{table}-changelog[1]: slot 0: checkpoint does not fit its checksum" in worker.log()
    )
    assert "no checkpoint can be used, counting the whole log again" in worker.log()
    assert worker.stop() == 0, worker.log()


def test_a_checkpoint_of_a_newer_program_ends_the_worker_with_one_line(cluster):
    """Exit code 1; the line names the topic, the versions and what to do, and the checkpoint stays."""
    cluster.create_topics()
    newer = sealed(b"?", FORMAT_VERSION + 1, magic=MAGIC)
    cluster.write(f"{cluster.prefix}-calls-changelog", 1, b"1", newer)

    worker = cluster.start()

    assert worker.ends() == 1
    (line,) = critical(worker)
    assert f"{cluster.prefix}-calls-changelog[1]" in line
    known = f"{FORMAT_VERSION}.{LAYOUT_VERSION}"
    assert (
        f"format {FORMAT_VERSION + 1}.{LAYOUT_VERSION}, newer than {known}: run the newer callgauge" in line
    )
    assert cluster.checkpoints("calls", 1) == [(b"1", newer)]


@pytest.mark.parametrize("saved", [True, False], ids=["with a checkpoint", "with a committed offset only"])
def test_records_that_retention_took_uncounted_end_the_worker_unless_it_may_go_on(cluster, calls, saved):
    """By default one line and exit code 1; told to go on, it counts what is left and reports the gap."""
    cluster.create_topics()
    cluster.send(calls(0, 90))
    if saved:
        first = cluster.start(instance_id="one")
        first.wait_for("all is counted", lambda shown: shown["queued"] == 90)
        assert first.stop() == 0, first.log()
    else:
        cluster.commit(0, 5)
    cluster.send(calls(90, 120))
    end = sum(1 for partition, _, _ in cluster.sent if partition == 0)
    begin = newest(cluster, 0).applied_offset + 1 if saved else 5
    cluster.forget(0, end)
    cluster.send(calls(120, 150))

    stopped = cluster.start(instance_id="one")
    assert stopped.ends() == 1
    (line,) = critical(stopped)
    assert f"{cluster.prefix}-events[0]: the records from offset {begin} to {end - 1} were deleted" in line
    assert 'kafka.on_retention_gap = "continue"' in line

    going_on = cluster.start(instance_id="one", on_retention_gap="continue")
    left = (
        140 if saved else 110
    )  # of partition 0 the calls after the gap, and before it those that were saved
    shown = going_on.wait_for("the rest is counted", lambda shown: shown["queued"] == left)
    assert (shown["retention_gaps"], shown["holes"], shown["gaps"]) == (1, 0, 0)
    assert f"records from offset {begin} to {end - 1} were deleted" in going_on.log()
    assert going_on.stop() == 0, going_on.log()

    again = cluster.start(instance_id="one")
    shown = again.wait_for("all is there again", lambda shown: shown["ready"] and shown["queued"] == left)
    assert shown["retention_gaps"] == 0
    assert again.stop() == 0, again.log()
