"""It really fires: broker, worker, simulated centre, Prometheus, Alertmanager and a receiver, all of them real.

The shipped rules and routes are used with every span divided by the pace. ALERTING_PACE=1 takes them as they are, which
measures what a supervisor would see and takes some forty minutes.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stream.clock import wall_ms
from tests.alerting import stack as stacks
from tests.whole.conftest import ROOT, Centre, Worker

pytestmark = [
    pytest.mark.broker,
    pytest.mark.alone,
    pytest.mark.timeout(0 if os.environ.get("ALERTING_PACE") else 300),
]

PACE = int(os.environ.get("ALERTING_PACE", "30"))
MINUTE_S = 60 / PACE
PATIENCE_S = 60 + 60 * MINUTE_S  # generous: a machine that is busy is slow, not wrong
SHORTAGE_AFTER_S = 15  # the worker has read the history by then
SHORTAGE_S = 24 * MINUTE_S
LEVEL = "ContactCentreServiceLevelLow"


def span(minutes: float) -> str:
    """Write minutes of the shipped files as a span at this pace; a second is the least that can be configured."""
    return f"{max(1_000, round(minutes * MINUTE_S * 1_000))}ms"


@contextmanager
def watched(centre: Centre, folder: Path) -> Iterator[tuple[Worker, stacks.Stack]]:
    """Run a worker with thresholds at this pace, and Prometheus and Alertmanager that watch it."""
    stacks.program("prometheus")
    centre.config.write_text(
        centre.config.read_text().replace('short_abandon = "6s"', "")
        + (
            f'target = "{max(2, 20 // PACE)}s"\nwait_limit = "{span(5)}"\n[queues.support]\n[windows]\n'
            f'rolling = ["{stacks.scaled("5m", PACE)}", "{stacks.scaled("30m", PACE)}"]\n'
            f'[alerts]\nstale_limit = "{span(2)}"\ncheckpoint_age_limit = "{span(10)}"\n'
        )
    )
    centre.run("topics")
    worker = centre.worker()
    stack = stacks.start(folder, worker.address.removeprefix("http://"), PACE)
    try:
        yield worker, stack
    finally:
        stack.close()


def shortage(centre: Centre) -> tuple[subprocess.Popen[str], int]:
    """Start a simulated shift, its history at once, in which support soon has no agents; return when that begins."""
    begins_ms = wall_ms() + SHORTAGE_AFTER_S * 1_000
    at = datetime.fromtimestamp(begins_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    disturbance = f"staff_shortage support {at} {round(SHORTAGE_S)}s 0"
    scale = "1" if PACE == 1 else "20"
    process = subprocess.Popen(
        centre.command("simulate", "--busy", "--start", "-40m", "--scale", scale, "--disturb", disturbance),
        cwd=ROOT,
        text=True,
        stdout=subprocess.DEVNULL,
    )
    centre.running.append(process)
    return process, begins_ms


def test_a_shortage_of_staff_pages_somebody_and_the_page_ends_after_it(
    centre: Centre, tmp_path: Path, record_property: Any
) -> None:
    """Nobody is paged before; the page comes; it is resolved once the agents are back."""
    with watched(centre, tmp_path) as (_, stack):
        heard = stack.receiver.heard
        _, begins_ms = shortage(centre)
        back_ms = begins_ms + SHORTAGE_S * 1_000
        stack.wait_for("the dead man hears", lambda: heard("dead-man", "Watchdog", "firing"), PATIENCE_S)
        paged_ms = stack.wait_for("the page", lambda: heard("page", LEVEL, "firing"), PATIENCE_S)
        print(f"\npace {PACE}, drop_to_page_s {(paged_ms - begins_ms) / 1_000:g}", flush=True)
        told_ms = stack.wait_for("the supervisors", lambda: heard("supervisors", LEVEL, "firing"), PATIENCE_S)
        resolved_ms = stack.wait_for(
            "its end", lambda: heard("page", LEVEL, "resolved", "critical"), PATIENCE_S
        )
        queues = {
            alert["labels"].get("queue")
            for at_ms, name, message in stack.receiver.received
            if name == "page" and at_ms <= back_ms  # then they help, and others wait for them
            for alert in message["alerts"]
            if alert["labels"]["alertname"] == LEVEL
        }

    assert queues == {"support"}
    assert begins_ms < paged_ms < resolved_ms
    assert told_ms >= begins_ms
    assert resolved_ms > back_ms
    back_s = (resolved_ms - back_ms) / 1_000
    record_property("drop_to_page_s", (paged_ms - begins_ms) / 1_000)
    record_property("back_to_resolved_s", back_s)
    print(f"back_to_resolved_s {back_s:g}")


def test_a_dead_worker_is_reported_and_nothing_that_follows_from_it(
    centre: Centre, tmp_path: Path, record_property: Any
) -> None:
    """The page says that the processor is down; that its queues are missing is known to Alertmanager and not sent."""
    with watched(centre, tmp_path) as (worker, stack):
        heard = stack.receiver.heard
        name = "job_queue:callcenter_window_queued:last30m"
        stack.wait_for("its queue is recorded", lambda: stack.query(name), PATIENCE_S)
        killed_ms = wall_ms()
        worker.process.kill()
        paged_ms = stack.wait_for(
            "the page", lambda: heard("page", "ContactCentreProcessorDown", "firing"), PATIENCE_S
        )

        def suppressed() -> list[dict[str, Any]]:
            return [
                alert
                for alert in stack.alerts()
                if alert["labels"]["alertname"] == "ContactCentreQueueMissing"
                and alert["status"]["inhibitedBy"]
            ]

        (missed,) = stack.wait_for("the missing queue is known, and kept back", suppressed, PATIENCE_S)
        assert missed["status"]["state"] == "suppressed"
        stack.wait_for(
            "the platform's team hears of the worker",
            lambda: heard("platform", "ContactCentreProcessorDown", "firing"),
            PATIENCE_S,
        )
        sent = {
            alert["labels"]["alertname"]
            for _, _, message in stack.receiver.received
            for alert in message["alerts"]
        }

    assert sent == {"Watchdog", "ContactCentreProcessorDown"}
    record_property("kill_to_page_s", (paged_ms - killed_ms) / 1_000)
    print(f"\npace {PACE}, kill_to_page_s {(paged_ms - killed_ms) / 1_000:g}")
