"""The wall-board page in a real browser, where one is installed (`apt-get install chromium`)."""

import itertools
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from stream.core import fields as f
from stream.export.page import load_page
from tests.export.centre import NOW_MS, counts, queue, snapshot
from tests.export.served import Server

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: the page was NOT run in a browser")


def page_of(view, profile, **options):
    """Return the page's DOM after it has polled the board for some seconds of the browser's own time."""
    with Server(view, **options) as running:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", "--virtual-time-budget=4000", "--window-size=1920,1080",
            "--dump-dom", f"http://127.0.0.1:{running.served.address[1]}/",
        ]  # fmt: skip
        found = subprocess.run(command, capture_output=True, check=True, timeout=120)
    body = found.stdout.decode().partition("<script>")[0]
    return body.partition("</style>")[2]


def words(dom):
    return re.sub(r"<[^>]*>", "|", dom)


def test_every_text_of_the_page_stands_in_its_table():
    """A translation replaces one table: nothing else in the markup is a word, and every key is used."""
    page = load_page().body.decode()
    markup = words(page.partition("<body")[2].partition("<script>")[0].partition(">")[2])
    table = page.partition("const TEXTS = {")[2].partition("};")[0]
    keys = re.findall(r"^    (\w+):", table, re.MULTILINE)

    assert re.sub(r"[|\s]", "", markup.partition("This page needs JavaScript")[0]) == ""
    assert {key for key in keys if page.count(key) < 2 and not key.endswith("Own")} == set()


def test_the_page_reaches_for_nothing_outside_its_own_server():
    """No address but the board's, no markup made of text."""
    page = load_page().body.decode()

    assert re.findall(r"""fetch\(([^,]*)""", page) == ['"board.json"']
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|@import|url\(|src=", page
    )


@needs_browser
def test_hostile_queue_names_are_shown_as_text(tmp_path):
    """A queue may be called like a script; it is read, not run."""
    name = '<img src=x onerror="document.title=1"><script>alert(1)</script>'
    dom = page_of(snapshot(queue(name, counts(10, 9))), tmp_path)

    assert "&lt;img src=x onerror=" in dom
    assert "<img" not in dom


@needs_browser
def test_a_service_level_just_below_its_objective_never_looks_like_reaching_it(tmp_path):
    """79.99 % is 79.9, and an abandonment of 5.001 % is 5.1: both to the unfavourable side; 80 % is 80.0."""
    missed = {
        f.SERVICE_LEVEL_MET: 7_999,
        f.SERVICE_LEVEL_BASE: 10_000,
        f.ANSWERED: 94_999,
        f.ABANDONED: 5_001,
    }
    reached = {f.SERVICE_LEVEL_MET: 8, f.SERVICE_LEVEL_BASE: 10, f.ANSWERED: 95, f.ABANDONED: 5}
    shown = words(page_of(snapshot(queue("missed", missed), queue("reached", reached)), tmp_path))

    assert re.search(r"missed.*?79\.9.%.*?5\.1.%.*?reached.*?80\.0.%.*?5\.0.%", shown, re.DOTALL)


@needs_browser
def test_a_centre_without_calls_says_so_and_shows_no_ratio(tmp_path):
    """No call is not 0 %."""
    shown = words(page_of(snapshot(queue("quiet")), tmp_path))

    assert "no calls" in shown
    assert "%|" not in shown.replace("80\u202f%", "")
    assert "NaN" not in shown


@needs_browser
def test_a_board_whose_clock_stands_still_is_stale(tmp_path):
    """Old numbers stay, but marked, and with the time that they are from."""
    stopped_at = replace(snapshot(queue("sales", counts(10, 9))), taken_at_ms=NOW_MS + 60_000)
    dom = page_of(stopped_at, tmp_path)

    assert 'class="dead"' in dom
    assert re.search(r"Stale since \d\d:25:00", words(dom))


@needs_browser
def test_a_worker_that_lost_contact_leaves_the_last_numbers_marked_as_old(tmp_path):
    """It exports no queue any more; the screen keeps what it had, and says since when and why."""
    seen = snapshot(queue("sales", counts(10, 9)), taken_at_ms=NOW_MS)
    lost = snapshot(clock_ms=None, ready=False, not_ready_reason="no contact with Kafka")
    every_poll = (
        float(reading // 3) for reading in itertools.count()
    ).__next__  # a board reads it three times
    dom = page_of(lambda asked: seen if asked == 1 else lost, tmp_path, monotonic_s=every_poll)

    assert 'class="dead"' in dom
    assert re.search(r"Stale since \d\d:25:00: no contact with Kafka", words(dom))
    assert "sales" in words(dom)


@needs_browser
def test_a_starting_board_shows_the_reason_and_no_numbers(tmp_path):
    """Before the first numbers there are none, not zeros."""
    view = snapshot(
        queue("sales"), clock_ms=None, ready=False, not_ready_reason="3 of 12 partitions recovered"
    )
    dom = page_of(view, tmp_path)

    assert "Starting: 3 of 12 partitions recovered" in dom
    assert not re.search(r"[1-9]", words(dom.partition("</header>")[2]))
