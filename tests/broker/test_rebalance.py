"""Workers that come, go, hang and come back: who owns what, who exports what, and what is counted.

The traps T1 to T8 are those of Faust and its client that the prototype fell into; see docs/reliability.md.
"""

import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stream.kafka import EmbeddedKafka
from tests.broker.conftest import Cluster, Worker, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.alone]

Calls = Callable[[int, int], list[tuple[int, bytes, bytes]]]
OUTLASTS_A_START: dict[str, Any] = {"session_timeout_s": 25.0}  # of a worker, on a busy machine


def ready_with(worker: Worker, queued: int) -> dict[str, Any]:
    """Wait until it has counted so much, and has saved it."""
    return worker.wait_for(
        f"{queued} are counted and saved",
        lambda shown: shown["ready"] and shown["queued"] == shown["events"].get("queued") == queued,
    )


def two_workers(cluster: Cluster, **more: Any) -> tuple[Worker, Worker]:
    """Start two that share the work."""
    first = cluster.start(instance_id="one", **more)
    first.wait_ready()
    second = cluster.start(instance_id="two", **more)
    second.wait_ready()
    first.wait_ready()
    return first, second


def together(*workers: Worker) -> dict[str, dict[str, int]]:
    """Return what they show together; a queue that two of them show is an error."""
    found: dict[str, dict[str, int]] = {}
    for worker in workers:
        totals = worker.shows()["totals"]
        assert not found.keys() & totals.keys()
        found.update(totals)
    return found


def all_counted(cluster: Cluster, queued: int, *workers: Worker) -> None:
    """Wait until the workers together show everything that was sent, each queue once."""

    def counted() -> bool:
        shown = [worker.shows() for worker in workers]
        return all(each.get("ready") for each in shown) and sum(each["queued"] for each in shown) == queued

    wait_until(f"{queued} are counted", counted)
    wait_until("they agree with the whole log", lambda: together(*workers) == cluster.expected_totals())
    assert [(worker.shows()["holes"], worker.shows()["gaps"]) for worker in workers] == [(0, 0)] * len(
        workers
    )


def exported_partitions(worker: Worker) -> set[str]:
    """Return the source partitions that /metrics speaks of."""
    found = re.findall(
        r"^callgauge_(?:lag_records|checkpoint_timestamp_seconds)\{(.*?)\}",
        worker.get("/metrics")[1],
        re.MULTILINE,
    )
    return {re.search(r'partition="(\d+)"', labels)[1] for labels in found if "cells" not in labels}  # type: ignore[index]


# --- what is lost disappears, what is kept stays ---------------------------------------------------------------------


def test_what_a_worker_loses_disappears_from_its_metrics_at_once(cluster: Cluster, calls: Calls):
    """At no moment of a takeover does it show a queue of a shard that it does not own."""
    cluster.create_topics()
    cluster.send(calls(0, 60))
    first = cluster.start(instance_id="one")
    ready_with(first, 60)
    before = first.exported()
    second = cluster.start(instance_id="two")

    def settled() -> bool:
        return (
            bool(second.shows().get("ready")) and first.shows()["ready"] and len(first.shows()["shards"]) == 1
        )

    wait_until("the second one has its part", settled)
    assert (first.shows()["strangers"], second.shows()["strangers"]) == ([], [])
    assert first.exported().keys().isdisjoint(second.exported().keys())
    assert first.exported() | second.exported() == before
    assert exported_partitions(first).isdisjoint(exported_partitions(second))
    assert exported_partitions(first) | exported_partitions(second) == {"0", "1", "2"}


def test_a_rolling_restart_leaves_the_partitions_of_the_others_alone(cluster: Cluster, calls: Calls):
    """With instance ids the group does not even notice: no new generation, no assignment, the same partitions."""
    cluster.create_topics()
    cluster.send(calls(0, 60))
    first, second = two_workers(cluster, **OUTLASTS_A_START)
    all_counted(cluster, 60, first, second)
    kept, restarted = first.shows(), second.shows()

    assert second.stop() == 0, second.log()
    cluster.send(calls(60, 90))
    third = cluster.start(instance_id="two", **OUTLASTS_A_START)
    all_counted(cluster, 90, first, third)

    for name in ("generation", "assignments", "partitions", "shards"):
        assert first.shows()[name] == kept[name], name
    for name in ("partitions", "shards"):
        assert third.shows()[name] == restarted[name], name


def test_a_clean_stop_commits_exactly_what_was_applied(cluster: Cluster, calls: Calls):
    """In the middle of a backlog: the committed offset is the one after the last that is in the saved state."""
    cluster.create_topics()
    cluster.send(calls(0, 30))
    first = cluster.start(instance_id="one", checkpoint_interval_s=60)
    first.wait_ready()
    cluster.send(calls(30, 3_000))
    first.wait_for("it has begun", lambda shown: shown["queued"] > 30)
    assert first.stop() == 0, first.log()
    committed = cluster.committed()

    second = cluster.start(instance_id="one", fault="nothing_is_read")
    shown = second.wait_for("it is restored", lambda shown: len(shown["applied"]) == 5)

    applied = {
        partition: shown["applied"][f"{cluster.prefix}-events[{partition}]"] for partition in committed
    }
    assert {partition: offset - 1 for partition, (offset, _) in committed.items()} == applied
    assert max(applied.values()) > 60


def test_a_worker_without_partitions_is_healthy_for_as_long_as_it_likes(cluster: Cluster):
    """More workers than partitions: the spare one is not ready, and nothing is wrong with it."""
    cluster.partitions = cluster.shards = 1
    first = cluster.start(instance_id="one")
    first.wait_ready()
    spare = cluster.start(instance_id="two", recovery_timeout_s=4.0, stall_timeout_s=4.0)
    idle_ones = wait_until("one of the two has nothing", lambda: [w for w in (first, spare) if idle(w)])

    assert idle_ones[0].get("/readyz") == (
        503,
        "no partitions assigned: there are more workers than partitions\n",
    )
    spare.wait_for("the limits have passed", lambda shown: shown["watched_s"] > 10)
    assert spare.get("/healthz")[0] == 200


def idle(worker: Worker) -> bool:
    """Say whether it has been assigned nothing."""
    return "no partitions assigned" in worker.shows().get("reason", "")


# --- zombies ---------------------------------------------------------------------------------------------------------


def test_a_zombie_exports_nothing_when_it_wakes_and_changes_no_count(cluster: Cluster, calls: Calls):
    """T8. The first thing that it answers after SIGCONT is that it has nothing, and so it is until it has joined."""
    cluster.create_topics()
    cluster.send(calls(0, 60))
    first, second = two_workers(cluster)
    all_counted(cluster, 60, first, second)
    assert first.exported()

    first.process.send_signal(signal.SIGSTOP)
    cluster.send(calls(60, 120))
    second.wait_for("it has taken over", lambda shown: shown["ready"] and shown["partitions"] == [0, 1, 2])
    all_counted(cluster, 120, second)
    with ThreadPoolExecutor(2) as pool:  # asked before it wakes: the answers are the first thing that it does
        asked = [pool.submit(first.get, path) for path in ("/metrics", "/readyz")]
        time.sleep(0.5)
        first.process.send_signal(signal.SIGCONT)
        (_, metrics), (status, reason) = (future.result() for future in asked)

    assert "callcenter_contacts_queued_total{" not in metrics
    assert "callgauge_lag_records{" not in metrics
    assert status == 503, reason
    cluster.send(calls(120, 150))
    first.wait_for("it is back", lambda shown: shown["ready"] and shown["partitions"])
    all_counted(cluster, 150, first, second)


@pytest.fixture
def own_cluster(unique_name, tmp_path) -> Iterator[Cluster]:
    """Lend a broker that may be frozen."""
    with EmbeddedKafka() as broker:
        lent = Cluster(broker, unique_name, tmp_path)
        yield lent
        for worker in lent.workers:
            worker.kill()


def test_a_worker_that_hears_nothing_of_the_group_stops_exporting_and_goes_on_later(
    own_cluster: Cluster, calls: Calls
):
    """T8, cut off instead of stopped: within the session. It stays healthy while an outage is short."""
    own_cluster.create_topics()
    own_cluster.send(calls(0, 60))
    worker = own_cluster.start(instance_id="one")
    ready_with(worker, 60)

    freeze(own_cluster, signal.SIGSTOP)
    try:
        wait_until("it exports nothing", lambda: not worker.exported())
        status, reason = worker.get("/readyz")
        assert (status, "the group has not answered for" in reason) == (503, True), reason
        assert worker.get("/healthz")[0] == 200
        assert exported_partitions(worker) == set()
    finally:
        freeze(own_cluster, signal.SIGCONT)
    own_cluster.send(calls(60, 90))

    all_counted(own_cluster, 90, worker)
    assert worker.stop() == 0, worker.log()


def test_without_kafka_for_too_long_a_worker_is_unhealthy_and_ends(own_cluster: Cluster, calls: Calls):
    """The position, the publications, the checkpoints: something of it is told, and the exit code is 1."""
    own_cluster.create_topics()
    own_cluster.send(calls(0, 30))
    worker = own_cluster.start(instance_id="one", stall_timeout_s=8.0)
    ready_with(worker, 30)

    freeze(own_cluster, signal.SIGSTOP)
    try:
        wait_until("it is unhealthy", lambda: worker.get("/healthz")[0] == 503)
        wait_until("it ends", lambda: worker.process.poll() is not None)
    finally:
        freeze(own_cluster, signal.SIGCONT)
    assert worker.process.returncode == 1, worker.log()
    assert len(worker.complaints()) == 1, worker.log()
    second = own_cluster.start(instance_id="one")
    own_cluster.send(calls(30, 60))
    all_counted(own_cluster, 60, second)


def freeze(cluster: Cluster, number: signal.Signals) -> None:
    """Stop the broker in its tracks, or let it go on."""
    process = cluster.broker._process
    assert process is not None
    process.send(number)


def test_a_topic_that_was_deleted_and_made_again_ends_the_worker_with_one_line(
    cluster: Cluster, calls: Calls
):
    """Its offsets begin anew, so that records with offsets counted before would be skipped in silence."""
    cluster.create_topics()
    cluster.send(calls(0, 60))
    worker = cluster.start(stall_timeout_s=20.0)
    ready_with(worker, 60)

    cluster.delete_topic("events")
    wait_until("it can be made again", cluster.recreate_topics)

    wait_until("it ends", lambda: worker.process.poll() is not None)
    assert worker.process.returncode == 1, worker.log()
    assert "was deleted and made again" in worker.complaints()[0], worker.log()


# --- two with one name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, "topics_are_unknown_at_first"])
def test_the_second_of_two_with_one_instance_id_ends_by_itself(
    cluster: Cluster, calls: Calls, fault: str | None
):
    """T5. Exit code 1 and one line; the first one keeps its partitions, and the counts stay exact.

    Also where the first one had to join twice: it does not take itself for its predecessor.
    """
    cluster.create_topics()
    cluster.send(calls(0, 60))
    first = cluster.start(instance_id="one", fault=fault)
    ready_with(first, 60)

    second = cluster.start(instance_id="one")
    wait_until("the second one ends", lambda: second.process.poll() is not None)

    assert second.process.returncode == 1, second.log()
    assert len(second.complaints()) == 1, second.log()
    assert "another running worker uses the instance id 'one'" in second.complaints()[0]
    cluster.send(calls(60, 90))
    ready_with(first, 90)
    assert first.shows()["partitions"] == [0, 1, 2]
    all_counted(cluster, 90, first)
    assert "it should end by itself, and this one stays" in first.log()


def test_of_two_that_were_both_just_started_with_one_instance_id_one_stays(cluster: Cluster, calls: Calls):
    """T5. The first was started in the place of a killed one, so it counts as new too: it goes, and stays out."""
    cluster.create_topics()
    cluster.send(calls(0, 60))
    killed = cluster.start(instance_id="one")
    ready_with(killed, 60)
    killed.kill()
    first = cluster.start(instance_id="one")
    ready_with(first, 60)

    second = cluster.start(instance_id="one")
    wait_until("the first one ends", lambda: first.process.poll() is not None)

    assert first.process.returncode == 1, first.log()
    cluster.send(calls(60, 90))
    ready_with(second, 90)
    all_counted(cluster, 90, second)
    assert second.process.poll() is None


def test_a_restart_after_kill_9_with_the_same_instance_id_gets_its_partitions_back(
    cluster: Cluster, calls: Calls
):
    """The group knows the dead one for a session longer; the new one takes its place in the same generation."""
    cluster.create_topics()
    cluster.send(calls(0, 60))
    first, second = two_workers(cluster, **OUTLASTS_A_START)
    all_counted(cluster, 60, first, second)
    generation, mine = second.shows()["generation"], first.shows()["partitions"]

    first.kill()
    third = cluster.start(instance_id="one", **OUTLASTS_A_START)
    third.wait_ready()

    assert (third.shows()["generation"], third.shows()["partitions"]) == (generation, mine)
    all_counted(cluster, 60, third, second)


# --- Faust and its client --------------------------------------------------------------------------------------------


def test_seeks_come_from_the_reading_thread_and_while_nothing_flows(cluster: Cluster, calls: Calls):
    """T1, T2 and T6: through assignments, a hole in the log and a takeover."""
    cluster.create_topics()
    cluster.send(calls(0, 30))
    first, second = two_workers(cluster, observe=True)
    cluster.send(calls(30, 60))
    all_counted(cluster, 60, first, second)
    second.kill()
    first.wait_for("it has taken over", lambda shown: shown["ready"] and shown["partitions"] == [0, 1, 2])
    observed = first.shows()["observed"]

    assert observed["seeks"] > 0
    assert observed["seeks_elsewhere"] == 0  # T1: the fetcher dies of them, sometimes
    assert observed["seeks_in_flow"] == 0  # T2: batches are read twice, or lost
    assert observed["fetch_wait_ms"] == 200  # T6: Faust's 1,500 make the first event after a restore late


def test_a_kept_partition_does_not_read_its_own_checkpoints_again(cluster: Cluster, calls: Calls):
    """T3: the first one gives some partitions away, and of the others reads the two slots, not all that it wrote."""
    cluster.create_topics()
    cluster.send(calls(0, 60))
    first = cluster.start(instance_id="one", observe=True)
    ready_with(first, 60)
    before = first.shows()
    second = cluster.start(instance_id="two", observe=True)
    second.wait_for("it has its part", lambda shown: shown["ready"] and shown["partitions"])
    after = first.wait_for(
        "it goes on with less", lambda shown: shown["ready"] and shown["assignments"] > before["assignments"]
    )

    assert set(after["partitions"]) < set(before["partitions"])
    assert after["partitions"]
    again = after["observed"]["checkpoints_read"] - before["observed"]["checkpoints_read"]
    assert again <= 2 * (len(after["partitions"]) + len(after["shards"]))
    assert second.shows()["observed"]["checkpoints_read"] > 0  # what is new to a worker it does read


def test_a_signal_in_the_first_two_seconds_ends_a_worker_in_order(cluster: Cluster):
    """T7: nothing crashes on the way down; before Python has begun, the signal itself is what ends it."""
    cluster.create_topics()
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    delays_s = [chance.uniform(0, 4) for _ in range(8)]
    ends: list[tuple[float, int, str]] = []

    def stop(worker: Worker, delay_s: float) -> None:
        time.sleep(delay_s)
        ends.append((delay_s, worker.stop(), worker.log()))

    for pair in range(0, len(delays_s), 2):
        threads = [
            threading.Thread(target=stop, args=(cluster.start(instance_id=f"w{pair + index}"), delay_s))
            for index, delay_s in enumerate(delays_s[pair : pair + 2])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(ends) == len(delays_s)
    unclean = [end for end in ends if end[1] not in {0, -signal.SIGTERM}]
    assert not unclean, "\n".join(f"{code} after {delay_s} s: {log}" for delay_s, code, log in unclean)
    assert not [log for _, _, log in ends if "Traceback" in log]


def test_a_leader_without_news_of_the_topics_waits_for_it(cluster: Cluster):
    """Nobody would read what it leaves out, and its client asks again after five minutes."""
    cluster.create_topics()
    worker = cluster.start(fault="topics_are_unknown")
    before = worker.wait_ready()
    worker.let_it_happen()

    worker.wait_for(
        "everything is assigned anew",
        lambda shown: (
            shown["generation"] > before["generation"]
            and shown["ready"]
            and (shown["partitions"], shown["shards"]) == ([0, 1, 2], [0, 1])
        ),
    )
    assert worker.log().count("joining the group until the broker has told of") == 1


def test_a_stop_that_meets_a_rebalance_ends_in_order(cluster: Cluster):
    """T7: Faust would close the client under the coordinator then, which waits for it for ever."""
    cluster.create_topics()
    worker = cluster.start(instance_id="w", fault="stop_meets_rebalance")
    worker.wait_ready()
    worker.let_it_happen()

    assert worker.ends() == 0, worker.log()
    assert "everything counted is saved" in worker.log()
