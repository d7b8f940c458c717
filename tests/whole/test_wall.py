"""The wall page of a real worker, in a real browser: what it shows, and what it says when the worker stops."""

import json
import signal
import time

import pytest

from tests.whole.conftest import DEADLINE_S, Centre

WAIT_MS = DEADLINE_S * 1_000
pytestmark = [pytest.mark.broker, pytest.mark.alone]


def call(number: int, at_ms: int) -> bytes:
    """Return the events of one answered call as lines."""
    events = [
        {"type": "queued", "at": at_ms, "queue": "sales"},
        {"type": "answered", "at": at_ms + 5_000 + 20_000 * (number % 4 == 0), "agent": "a"},
        {"type": "ended", "at": at_ms + 60_000},
    ]
    return b"".join(json.dumps({**event, "call_id": f"c-{number}"}).encode() + b"\n" for event in events)


def test_the_page_follows_a_worker_through_its_end_and_its_return(centre: Centre, chromium, tmp_path):
    """Values of /board.json; stopped: marked as old; continued: live; ended and begun again: live with all numbers."""
    worker = centre.worker()
    now_ms = time.time_ns() // 1_000_000
    calls = tmp_path / "calls.jsonl"
    calls.write_bytes(b"".join(call(number, now_ms - 600_000 + 1_000 * number) for number in range(40)))
    centre.run("send", str(calls))
    page = chromium.new_page(locale="en-GB")
    page.set_default_timeout(WAIT_MS)

    def wait_for_state(beginning: str) -> None:
        page.wait_for_function(
            "text => document.getElementById('state-text').textContent.startsWith(text)", arg=beginning
        )

    def wait_for_level(text: str) -> None:
        page.wait_for_function(
            "text => document.querySelector('#queues .level > span:not(.sign)')?.textContent === text",
            arg=text,
        )

    page.goto(worker.address)
    wait_for_state("Live")
    wait_for_level("75.0%")
    board = json.loads(worker.get("/board.json")[1])
    sums = board["queues"][0]["windows"]["30m"]
    assert (sums["service_level"], sums["answered"]) == (0.75, 40)
    assert page.inner_text("#queues dd[data-figure=answered] > span") == "40"

    worker.process.send_signal(signal.SIGSTOP)
    wait_for_state("Reconnecting · numbers from ")
    assert page.locator("body.dead").count() == 1
    assert page.inner_text("#queues dd[data-figure=answered] > span") == "40"
    worker.process.send_signal(signal.SIGCONT)
    wait_for_state("Live")

    port = worker.address.rpartition(":")[2]
    worker.stop()
    wait_for_state("Reconnecting · numbers from ")
    centre.worker(port)
    wait_for_state("Live")
    wait_for_level("75.0%")
    page.close()
