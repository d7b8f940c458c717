"""A worker on a real broker: what it counts, and what survives its end."""

import json
import time

import pytest

from stream.core import fields as f
from tests.broker.conftest import wait_until

pytestmark = pytest.mark.broker

# What is exported as a counter. Other fields go down in the ordinary course: a visit that is abandoned in time takes
# its failure back.
COUNTERS = [str(field) for field in (f.OFFERED, f.QUEUED, f.ANSWERED, f.ABANDONED, f.TALKS, f.WRAP_UPS)]


def test_every_event_is_counted_and_a_clean_stop_commits_all(cluster, calls):
    """Events sent before and after the start count, bad ones are kept aside, and all is committed."""
    cluster.create_topics()
    cluster.send(calls(0, 300))
    worker = cluster.start()
    worker.wait_ready()
    bad = (1, b"call-x", b'{"type": "queued", "call_id": "call-x"')
    old_at_ms = time.time_ns() // 1_000_000 - 3_600_000
    late = (
        0,
        b"call-0",
        json.dumps({"type": "queued", "queue": "q", "call_id": "call-0", "at": old_at_ms}).encode(),
    )
    cluster.send([bad, late, *calls(300, 600)])

    shown = worker.wait_for(
        "everything is counted", lambda shown: shown["queued"] == 600 and shown["late"] and shown["rejected"]
    )
    worker.wait_for("everything is saved", lambda shown: shown["events"].get("queued") == 600)
    assert worker.shows()["totals"] == cluster.expected_totals()
    assert shown["late"] == 1
    assert sum(shown["rejected"].values()) == 1
    assert (shown["holes"], shown["gaps"]) == (0, 0)
    assert worker.stop() == 0, worker.log()
    assert all(committed == end for committed, end in cluster.committed().values())

    dead = cluster.read("dead", 1)
    assert [(record.key, record.value) for record in dead] == [bad[1:]]
    headers = dict(dead[0].headers)
    assert headers["topic"] == f"{cluster.prefix}-events".encode()
    assert headers["partition"] == b"1"
    assert headers["reason"]
    assert headers["error"].startswith(headers["reason"])
    source = [value for where, _, value in cluster.sent if where == 1]
    assert source[int(headers["offset"])] == bad[2]
    assert [(record.key, record.value) for record in cluster.read("late", 1)] == [late[1:]]


def test_a_killed_worker_continues_from_its_state_and_counts_the_same(cluster, calls):
    """After kill -9 in the middle, the next worker arrives at the numbers of an undisturbed one."""
    cluster.create_topics()
    cluster.send(calls(0, 400))
    first = cluster.start(instance_id="one")
    first.wait_for("a checkpoint was written", lambda shown: shown["events"].get("queued") == 400)
    cluster.send(calls(400, 900))
    first.wait_for("some of it is counted", lambda shown: shown["queued"] > 400)
    counted = first.shows()["totals"]
    first.kill()
    cluster.send(calls(900, 1200))

    second = cluster.start(instance_id="one")
    seen = second.wait_ready()
    second.wait_for("everything is counted", lambda shown: shown["queued"] == 1200)

    assert second.shows()["totals"] == cluster.expected_totals()
    for queue, totals in counted.items():
        for name in COUNTERS:
            assert seen["totals"][queue].get(name, 0) >= totals.get(name, 0), (queue, name)
    assert (second.shows()["holes"], second.shows()["gaps"]) == (0, 0)
    assert second.stop() == 0, second.log()


def test_partitions_without_events_do_not_keep_the_board_from_its_clock(cluster):
    """A worker of empty topics becomes ready, and its clock goes on: idle partitions publish too."""
    worker = cluster.start()
    clock_ms = worker.wait_ready()["clock_ms"]

    shown = worker.wait_for("the clock has moved", lambda shown: shown["clock_ms"] > clock_ms)

    assert shown["totals"] == {}
    # Not of the cells: the publications that keep the clock going may have been written and not read at that moment.
    of_events = [lag for place, lag in shown["lag"].items() if place.startswith(f"{cluster.prefix}-events")]
    assert of_events == [0, 0, 0]
    assert worker.stop() == 0, worker.log()


def test_a_second_worker_takes_over_what_the_first_gives_away(cluster, calls):
    """Each partition has one owner at a time, each queue is exported once, the counts stay exact."""
    cluster.create_topics()
    cluster.send(calls(0, 200))
    first = cluster.start(instance_id="one")
    first.wait_for("all is counted", lambda shown: shown["queued"] == 200)
    second = cluster.start(instance_id="two")
    second.wait_ready()
    first.wait_ready()

    def split() -> tuple[dict, dict]:
        return first.shows(), second.shows()

    one, two = split()
    assert sorted(one["partitions"] + two["partitions"]) == [0, 1, 2]
    assert sorted(one["shards"] + two["shards"]) == [0, 1]
    assert not set(one["totals"]) & set(two["totals"])
    cluster.send(calls(200, 400))
    first.wait_for("both have it all", lambda shown: shown["queued"] + second.shows()["queued"] == 400)
    assert second.stop() == 0, second.log()
    first.wait_for("the first has everything again", lambda shown: shown["ready"] and shown["queued"] == 400)
    assert first.shows()["totals"] == cluster.expected_totals()
    assert first.stop() == 0, first.log()


def test_what_is_not_delivered_to_its_topic_is_not_committed_and_a_restart_delivers_it(cluster, calls):
    """While the dead letter cannot be delivered nothing after it is saved; killed there, the next worker sends it."""
    cluster.create_topics()
    cluster.send(calls(0, 30))
    first = cluster.start(instance_id="one")
    first.wait_for("all is saved", lambda shown: shown["events"].get("queued") == 30)
    saved = wait_until(
        "all is committed",
        lambda: (found := cluster.committed()) and all(a == b for a, b in found.values()) and found,
    )
    cluster.delete("dead")  # the producer waits for it to come back, as long as it may
    bad = (1, b"call-x", b'{"type": "queued", "call_id": "call-x"')
    late = [record for record in calls(30, 90) if record[0] == 1]
    cluster.send([bad, *late])
    first.wait_for("what came after is counted", lambda shown: shown["queued"] == 50)
    time.sleep(3)  # six checkpoints are due

    committed, end = cluster.committed()[1]
    assert (committed, end) == (saved[1][1], saved[1][1] + 1 + len(late))
    first.kill()
    cluster.create_topics()
    second = cluster.start(instance_id="one")
    second.wait_for("everything is saved", lambda shown: shown["events"].get("queued") == 50)

    letters = cluster.read("dead", 1)
    assert {(record.key, record.value) for record in letters} == {bad[1:]}
    assert all(dict(record.headers)["offset"] == str(committed).encode() for record in letters)
    assert second.shows()["totals"] == cluster.expected_totals()
    assert second.shows()["rejected"] == {"not_json": 1}
    assert second.stop() == 0, second.log()
    assert all(committed == end for committed, end in cluster.committed().values())
