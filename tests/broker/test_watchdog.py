"""Whatever hangs or breaks inside a worker, the process ends with 1 and one line, and the next one counts the same."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.broker.conftest import Cluster, Worker, call, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.alone]

AT_ONCE = 6  # workers: most of their time they wait
STALL_TIMEOUT_S = 6.0
RECOVERY_TIMEOUT_S = 12.0

# What breaks, and what the line says. It ends the process as soon as it happens.
BROKEN = {
    "calls_agent_raises": "InjectedError",
    "board_agent_raises": "InjectedError",
    "agent_ends": "ended",
    "publisher_raises": "InjectedError",
    "ticker_raises": "InjectedError",
    "checkpoint_raises": "InjectedError",
    "snapshot_raises": "InjectedError",
    "callback_raises": "InjectedError",
    "callback_of_the_reader_raises": "InjectedError",
    "thread_raises": "InjectedError",
    "heartbeat_raises": "InjectedError",
    "fetcher_ends": "ended",
    "sender_ends": "ended",
}
# What hangs, and what the line and /healthz say. Seen by what does not go on.
HANGING = {
    "agent_hangs": "has not moved, with",
    # neither publications nor checkpoints go on, and both limits end at nearly the same moment
    "publisher_hangs": "checkpoint of",
    "checkpoint_hangs": "checkpoint of",
    "saver_stops": "no checkpoint of",
    "fetcher_hangs": "has not moved, with",
    "reader_is_blocked": "the thread that reads Kafka has not answered",
    "source_is_silent": "has heard nothing of",
    "recovery_hangs": "partitions have been assigned and restored without an end",
}
COUNTED_AFTERWARDS = (
    "calls_agent_raises",
    "board_agent_raises",
    "agent_hangs",
    "publisher_raises",
    "checkpoint_raises",
    "checkpoint_hangs",
)
OTHERS = ("exporter_raises", "loop_is_blocked")
BEFORE, AFTER = 30, 30  # calls, before and after the fault


@dataclass
class Seen:
    """How a worker with a fault ended."""

    exit_code: int
    log: str
    complaints: list[str]
    unhealthy: set[str]  # what /healthz said while it failed
    counted: dict[str, dict[str, int]] | None  # by the next worker
    expected: dict[str, dict[str, int]]


def suffer(fault: str, cluster: Cluster, calls: Callable[[int, int], list]) -> Seen:
    """Start a worker, break it, look at it until it ends; where it matters, start another one after it."""
    cluster.create_topics()
    cluster.send(calls(0, BEFORE))
    worker = cluster.start(
        instance_id="one",
        fault=fault,
        stall_timeout_s=STALL_TIMEOUT_S,
        recovery_timeout_s=RECOVERY_TIMEOUT_S,
    )
    if fault != "recovery_hangs":
        worker.wait_for("all is saved", lambda shown: shown["events"].get("queued") == BEFORE)
        worker.let_it_happen()
    cluster.send(calls(BEFORE, BEFORE + AFTER))
    unhealthy = until_its_end(worker)
    counted = None
    if fault in COUNTED_AFTERWARDS:
        second = cluster.start(instance_id="one")
        second.wait_for("all is counted", lambda shown: shown["ready"] and shown["queued"] == BEFORE + AFTER)
        counted = second.shows()["totals"]
        second.kill()
    return Seen(
        worker.process.wait(),
        worker.log(),
        worker.complaints(),
        unhealthy,
        counted,
        cluster.expected_totals(),
    )


def until_its_end(worker: Worker) -> set[str]:
    """Ask /healthz until the process ends; return what it said when it failed."""
    said: set[str] = set()

    def ended() -> bool:
        if worker.process.poll() is not None:
            return True
        status, text = worker.get("/healthz")
        if status == 503:
            said.add(text)
        return False

    wait_until("the worker ends", ended)
    return said


@pytest.fixture(scope="module")
def ward(kafka, tmp_path_factory, request) -> Iterator[dict[str, Future[Seen]]]:
    """Let every fault that is asked for happen to a worker of its own, a few at a time."""
    asked = " ".join(item.nodeid for item in request.session.items)
    pool = ThreadPoolExecutor(AT_ONCE)
    clusters, futures = [], {}
    for fault in (fault for fault in (*BROKEN, *HANGING, *OTHERS) if f"[{fault}]" in asked):
        folder = tmp_path_factory.mktemp(fault)
        cluster = Cluster(kafka, folder.name.replace("_", "-"), folder)
        clusters.append(cluster)
        futures[fault] = pool.submit(suffer, fault, cluster, maker(cluster))
    yield futures
    pool.shutdown(wait=True, cancel_futures=True)
    for cluster in clusters:
        for worker in cluster.workers:
            worker.kill()


def maker(cluster: Cluster) -> Callable[[int, int], list]:
    """Return a maker of calls."""
    began_at_ms = 1_772_528_400_000
    return lambda first, end: [
        record for number in range(first, end) for record in call(number, began_at_ms, cluster.partitions)
    ]


@pytest.mark.parametrize("fault", BROKEN)
def test_an_unexpected_error_anywhere_ends_the_process_with_one_line(ward, fault):
    """Nothing is only logged, nothing goes on without the part that broke."""
    seen = ward[fault].result()

    assert seen.exit_code == 1, seen.log
    assert len(seen.complaints) == 1, seen.log
    assert BROKEN[fault] in seen.complaints[0]


@pytest.mark.parametrize("fault", HANGING)
def test_what_hangs_is_unhealthy_first_and_then_ends_the_process(ward, fault):
    """/healthz fails with the reason before the exit code is 1."""
    seen = ward[fault].result()

    assert seen.exit_code == 1, seen.log
    assert any(HANGING[fault] in line for line in seen.complaints), seen.log
    assert any(HANGING[fault] in text for text in seen.unhealthy), (seen.unhealthy, seen.log)


@pytest.mark.parametrize("fault", COUNTED_AFTERWARDS)
def test_the_next_worker_counts_as_if_nothing_had_happened(ward, fault):
    """No record was skipped, and none that was half-way through counted twice."""
    seen = ward[fault].result()

    assert seen.counted == seen.expected


@pytest.mark.parametrize("fault", ["exporter_raises"])
def test_an_exporter_that_ends_takes_the_worker_with_it(ward, fault):
    """A worker that nobody can read is of no use; whoever started the exporter gets its error."""
    seen = ward[fault].result()

    assert seen.exit_code == 1, seen.log
    assert "InjectedError: injected" in seen.log


@pytest.mark.parametrize("fault", ["loop_is_blocked"])
def test_a_loop_that_is_blocked_is_ended_from_outside(ward, fault):
    """It says where it stood, without values."""
    seen = ward[fault].result()

    assert seen.exit_code == 1, seen.log
    assert "the event loop has been blocked" in seen.complaints[-1]
    assert "Thread 0x" in seen.log
