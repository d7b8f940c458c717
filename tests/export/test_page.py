"""The wall-board page in a real browser (Debian's chromium, driven by Playwright)."""

import json
import math
import random
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import pytest
from axe_playwright_python.sync_playwright import Axe

from stream.clock import monotonic_s
from stream.core import fields as f
from stream.export.page import load_page
from tests.export.centre import NOW_MS, busy_afternoon, counts, many_queues, queue, snapshot
from tests.export.served import Server

WAIT_MS = 60_000  # generous: a busy machine is slow, not wrong
DASH = "\u2013"
WALL = {"width": 1920, "height": 1080}
PHONE = {"width": 390, "height": 844}
PAGE_BYTES_MAX = 60_000
HOSTILE = (
    '<img src=x onerror="document.title=1">',
    "<script>alert(1)</script>",
    "'\"></h2><b onmouseover=alert(2)>",
    "&lt;i&gt; &amp; ${document.title} {n} {{7*7}}",
    "javascript:alert(3)",
    "a" * 200,
    "\u202egnp.exe",
)


@dataclass
class Wall:
    """An open page, and what went wrong in it."""

    page: object
    server: Server
    errors: list = field(default_factory=list)
    foreign: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    @property
    def state(self):
        """Return what the page says of its connection."""
        return self.page.inner_text("#state-text")

    def wait_for_state(self, text):
        """Wait until it says so."""
        self.page.wait_for_function(
            "text => new RegExp(text).test(document.getElementById('state-text').textContent)",
            arg=text, timeout=WAIT_MS,
        )  # fmt: skip

    def wait_for_text(self, selector, text):
        """Wait until an element has this text."""
        self.page.wait_for_function(
            "([selector, text]) => document.querySelector(selector)?.textContent === text",
            arg=[selector, text], timeout=WAIT_MS,
        )  # fmt: skip

    def names(self):
        """Return the queues that are shown."""
        return self.page.locator("#queues h2").all_inner_texts()

    def figures(self, selector):
        """Return what a tile shows, by name; spaces of every kind are spaces."""
        tile = self.page.locator(selector)
        found = {"level": tile.locator(".level > span:not(.sign)").inner_text()}
        for one in tile.locator("dd").all():
            found[one.get_attribute("data-figure")] = one.locator("span > span:not(.sign)").first.inner_text()
        return {key: " ".join(text.split()) for key, text in found.items()}


@contextmanager
def wall(chromium, server, query="", *, live=True, block=(), **context):
    """Open the page; at the end nothing was refused by its policy, nothing failed, and nobody else was asked."""
    options = {"viewport": WALL, "locale": "en-GB", "timezone_id": "Europe/Amsterdam"} | context
    opened = chromium.new_context(**options)
    opened.set_default_timeout(WAIT_MS)
    page = opened.new_page()
    shown = Wall(page, server)
    origin = f"http://127.0.0.1:{server.served.address[1]}/"
    for path in block:
        page.route(f"**/{path}", lambda route: route.abort())
    page.add_init_script(
        "window.refused = [];"
        "document.addEventListener('securitypolicyviolation', event => refused.push(event.violatedDirective))"
    )
    page.on("console", lambda message: shown.errors.append(message.text))
    page.on("pageerror", lambda error: shown.errors.append(str(error)))
    page.on("dialog", lambda dialog: (shown.errors.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda request: (shown.asked if request.url.startswith((origin, "data:")) else shown.foreign).append(
            request.url.removeprefix(origin)
        ),
    )
    page.goto(origin + query)
    if live:
        page.wait_for_selector(".state.live")
    yield shown
    refused = page.evaluate("window.refused")
    opened.close()
    errors = [text for text in shown.errors if not text.startswith("Failed to load resource")]
    assert (refused, errors, shown.foreign) == ([], [], [])


@pytest.fixture(scope="module")
def afternoon():
    with Server(monotonic_s=monotonic_s, stale_after_ms=10**9) as running:
        yield running


# --- what stands in the file ---------------------------------------------------------------------------------


def texts_of(language):
    page = load_page().body.decode()
    table = page.partition("const TEXTS = {")[2].partition("\n};")[0]
    return dict(
        re.findall(
            r'^    (\w+): "(.*)",$',
            table.partition(f"\n  {language}: {{")[2].partition("\n  }")[0],
            re.MULTILINE,
        )
    )


def test_every_text_of_the_page_stands_in_its_table():
    """Nothing else in the markup is a word, and every text is used."""
    page = load_page().body.decode()
    markup = page.partition("<body")[2].partition("<script>")[0].partition(">")[2]
    words = re.sub(r"<[^>]*>|\s", "", markup.partition("<noscript>")[0])
    code = page.partition("const WISHES")[2]

    assert words == ""
    assert {key for key in texts_of("en") if not re.search(rf"\b{key}\b", code)} == set()


@pytest.mark.parametrize("language", ["nl", "ru"])
def test_a_translation_has_every_text_with_the_same_values_in_it(language):
    """No key is missing, and none forgets what it should say."""

    def values(texts):
        return {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in texts.items()}

    assert len(texts_of("en")) > 30
    assert values(texts_of(language)) == values(texts_of("en"))


def test_the_page_is_small_and_makes_no_markup_of_text():
    """One file, below 60 kB, that reaches for nothing but the board."""
    page = load_page().body.decode()

    assert len(page.encode()) < PAGE_BYTES_MAX
    assert re.findall(r"""(?:fetch|EventSource)\("([^"]*)""", page) == ["board.stream", "board.json"]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|@import|url\(|src=|style=",
        page,
    )


# --- numbers -------------------------------------------------------------------------------------------------


def percent(ratio, up=False):
    tenths = math.ceil(ratio * 1000 - 1e-7) if up else math.floor(ratio * 1000 + 1e-7)
    return "100%" if tenths >= 1000 else f"{tenths / 10:.1f}%"


def span(seconds):
    return DASH if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def expected(row):
    """Return what a tile must show of a row of /board.json; waits are compared elsewhere."""
    sums = row["windows"]["30m"]
    return {
        "level": "no calls" if sums["service_level"] is None else percent(sums["service_level"]),
        "waiting": str(row["now"]["waiting"]),
        "abandonment": DASH if sums["abandonment"] is None else percent(sums["abandonment"], up=True),
        "answerSpeed": span(sums["answer_speed_s"]),
        "answered": str(sums["answered"]),
        "blocked": str(sums["blocked"]),
    }


def some_queues(seed):
    chance = random.Random(seed)
    for number in range(12):
        answered, abandoned = chance.randrange(400), chance.randrange(40)
        in_time = chance.randint(0, answered)
        half_hour = counts(answered, in_time, abandoned, chance.randrange(9), speed_s=chance.uniform(1, 300))
        waiting = chance.choice([0, 0, 3, 17])
        yield queue(
            f"queue {number:02d}",
            {} if number == 5 else half_hour,
            waiting=waiting,
            waiting_past_target=chance.randint(0, waiting),
            oldest_waiting_at_ms=NOW_MS - chance.randrange(500_000) if waiting else None,
        )


def test_every_tile_equals_board_json_and_the_total_is_the_quotient_of_sums(chromium):
    """Twelve queues of random numbers; the total is added up here once more."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    queues = list(some_queues(seed))
    with (
        Server(snapshot(*queues), monotonic_s=monotonic_s, stale_after_ms=10**9) as running,
        wall(chromium, running) as shown,
    ):
        board = json.loads(running.ask("/board.json")[2])
        for index, row in enumerate(board["queues"]):
            found = shown.figures(f"#queues .tile >> nth={index}")
            wait = found.pop("longestWait")

            assert found == expected(row), seed
            assert (wait == DASH) is (row["now"]["oldest_waiting_at"] is None)
        total = shown.figures("#total")
    assert [row["queue"] for row in board["queues"]] == [one.queue for one in queues]
    sums = [one.windows["30m"].counts for one in queues]

    def added(*names):
        return sum(row.get(name, 0) for row in sums for name in names)

    assert total["level"] == percent(added(f.SERVICE_LEVEL_MET) / added(f.SERVICE_LEVEL_BASE)), seed
    ended = added(f.ANSWERED, f.ABANDONED, f.LEFT_OVERFLOW)
    assert total["abandonment"] == percent(added(f.ABANDONED) / ended, up=True), seed
    assert total["answerSpeed"] == span(added(f.ANSWER_WAIT_MS) / added(f.ANSWER_WAITS) / 1_000), seed
    assert total["waiting"] == str(sum(one.waiting for one in queues))


def test_a_service_level_just_below_its_objective_never_looks_like_reaching_it(chromium):
    """To the unfavourable side: 79.99 % is 79.9, an abandonment of 5.001 % is 5.1. 80 % is 80.0, and 0 has no sign."""
    missed = {
        f.SERVICE_LEVEL_MET: 7_999,
        f.SERVICE_LEVEL_BASE: 10_000,
        f.ANSWERED: 94_999,
        f.ABANDONED: 5_001,
    }
    reached = {f.SERVICE_LEVEL_MET: 8, f.SERVICE_LEVEL_BASE: 10, f.ANSWERED: 95, f.ABANDONED: 5}
    served = reached | {f.ANSWERED: 100, f.ABANDONED: 0}
    view = snapshot(queue("missed", missed), queue("reached", reached), queue("served", served))
    with Server(view) as running, wall(chromium, running) as shown:
        found = [shown.figures(f"#queues .tile >> nth={index}") for index in range(3)]

        assert [(one["level"], one["abandonment"]) for one in found] == [
            ("79.9%", "5.1%"),
            ("80.0%", "5.0%"),
            ("80.0%", "0.0%"),
        ]
        assert shown.page.locator("#queues .tile.ok h2").all_inner_texts() == ["reached", "served"]


def test_a_centre_without_calls_says_so_and_shows_no_ratio(chromium):
    """No call is not 0 %, and not 100 %."""
    with Server(snapshot(queue("quiet"))) as running, wall(chromium, running) as shown:
        for tile in ("#total", "#queues .tile"):
            found = shown.figures(tile)
            assert (found["level"], found["abandonment"], found["answerSpeed"]) == ("no calls", DASH, DASH)
            assert "no calls" in shown.page.locator(f"{tile} .trend").get_attribute("aria-label")
        assert "NaN" not in shown.page.inner_text("body")


def test_a_wait_runs_on_by_itself(chromium, afternoon):
    """The board stands still; the longest wait of a queue and of the total grow, second by second."""
    with wall(chromium, afternoon) as shown:
        seen = (
            "document.querySelector('#queues dd[data-figure=longestWait] span > span:not(.sign)').textContent"
        )
        shown.page.evaluate(
            f"window.waits = []; setInterval(() => waits.includes({seen}) || waits.push({seen}), 50)"
        )
        shown.page.wait_for_function("() => waits.length >= 4")
        waits = [
            int(wait.split(":")[0]) * 60 + int(wait.split(":")[1]) for wait in shown.page.evaluate("waits")
        ]

        assert waits[0] >= 41
        assert waits == sorted(waits)
        assert int(shown.figures("#total")["longestWait"].split(":")[1]) >= 31


def test_the_trend_is_drawn_in_bars_as_high_as_the_service_level(chromium, afternoon):
    """A bar an interval, a line at the objective, and the same in words."""
    with wall(chromium, afternoon) as shown:
        trend = json.loads(afternoon.ask("/board.json")[2])["queues"][0]["trend"]
        heights = (
            shown.page.locator("#queues .trend >> nth=0")
            .locator("rect:not(.back)")
            .evaluate_all("bars => bars.map(bar => Number(bar.getAttribute('height')))")
        )
        label = shown.page.locator("#queues .trend >> nth=0").get_attribute("aria-label")

    assert heights == pytest.approx([one["service_level"] * 100 for one in trend])
    assert len(heights) == 7
    assert re.findall(r"(\d\d:\d\d) ([\d.]+)%", label) == [
        (f"{11 + index // 2}:{index % 2 * 30:02d}", percent(one["service_level"])[:-1])
        for index, one in enumerate(trend)
    ]


# --- connection ----------------------------------------------------------------------------------------------


def moving(asked):
    """Let one more contact be blocked in every snapshot."""
    return snapshot(
        queue("a", counts(10, 9, blocked=asked)), clock_ms=NOW_MS + asked, taken_at_ms=NOW_MS + asked
    )


BLOCKED = "#queues dd[data-figure=blocked] span > span:not(.sign)"


@pytest.mark.parametrize("block", ["board.json", "board.stream"])
def test_news_come_by_the_stream_and_without_it_by_asking(chromium, block):
    """Each way is enough alone."""
    with (
        Server(moving, monotonic_s=monotonic_s) as running,
        wall(chromium, running, block=[block]) as shown,
    ):
        first = int(shown.page.inner_text(BLOCKED))
        shown.page.wait_for_function(
            f"first => Number(document.querySelector('{BLOCKED}').textContent) > first + 1", arg=first
        )
        assert shown.state == "Live"


def test_a_page_that_is_streamed_to_does_not_poll(chromium):
    """After the first message nothing is asked for any more."""
    with Server(moving, monotonic_s=monotonic_s) as running, wall(chromium, running) as shown:
        before = len(shown.asked)
        first = int(shown.page.inner_text(BLOCKED))
        shown.page.wait_for_function(
            f"first => Number(document.querySelector('{BLOCKED}').textContent) > first + 3", arg=first
        )
        assert (
            len(shown.asked) - before <= 1
        )  # a machine that stalls for longer than the page's patience may ask once


def test_a_server_that_goes_away_is_told_and_its_return_too(chromium):
    """The numbers stay, marked as old and with their time; afterwards they are live again by themselves."""
    with Server(moving, monotonic_s=monotonic_s) as running, ExitStack() as opened:
        port = running.served.address[1]
        shown = opened.enter_context(wall(chromium, running))
        stays = opened.pop_all()
    with stays:
        shown.wait_for_state(r"^Reconnecting · numbers from .*14:25:00$")
        assert shown.page.evaluate("document.body.classList.contains('dead')")
        assert shown.names() == ["a"]
        with Server(moving, monotonic_s=monotonic_s, port=port):
            shown.wait_for_state("^Live$")
            assert not shown.page.evaluate("document.body.classList.contains('dead')")


def test_a_board_whose_clock_stands_still_is_stale(chromium):
    """Old numbers stay, but marked, with the time that they are from, and their waits do not run on."""
    stopped_at = replace(busy_afternoon(), taken_at_ms=NOW_MS + 60_000)
    with Server(stopped_at, monotonic_s=monotonic_s) as running, wall(chromium, running, live=False) as shown:
        shown.wait_for_state(r"^Stale since .*14:25:00$")
        assert shown.page.get_attribute("#state", "class") == "state alarm"
        assert shown.figures("#queues .tile >> nth=0")["longestWait"] == "0:41"
        shown.page.wait_for_timeout(1_500)
        assert shown.figures("#queues .tile >> nth=0")["longestWait"] == "0:41"


def test_a_worker_that_lost_contact_leaves_the_last_numbers_marked_as_old(chromium):
    """It exports no queue any more; the screen keeps what it had, and says since when and why."""
    seen = snapshot(queue("sales", counts(10, 9)), taken_at_ms=NOW_MS)
    lost = snapshot(clock_ms=None, ready=False, not_ready_reason="no contact with Kafka")
    with (
        Server(lambda asked: seen if asked <= 3 else lost, monotonic_s=monotonic_s) as running,
        wall(chromium, running) as shown,
    ):
        shown.wait_for_state(r"^Stale since .*14:25:00: no contact with Kafka$")
        assert shown.names() == ["sales"]


def test_a_starting_board_shows_the_reason_and_no_numbers(chromium):
    """Before the first numbers there are none, not zeros."""
    view = snapshot(
        queue("sales"), clock_ms=None, ready=False, not_ready_reason="3 of 12 partitions recovered"
    )
    with Server(view) as running, wall(chromium, running, live=False) as shown:
        shown.wait_for_state("^Starting: 3 of 12 partitions recovered$")
        assert shown.page.inner_text("main") == ""


# --- readers -------------------------------------------------------------------------------------------------


def test_hostile_queue_names_are_shown_as_text(chromium):
    """A queue may be called like a script; it is read, not run."""
    view = snapshot(
        *(queue(name, counts(10, 9), oldest_waiting_at_ms=NOW_MS - 1, waiting=1) for name in HOSTILE)
    )
    with Server(view, stale_after_ms=10**9) as running, wall(chromium, running) as shown:
        shown.page.wait_for_function("() => document.querySelectorAll('#queues h2').length === 7")
        names = shown.page.locator("#queues h2").evaluate_all("all => all.map(one => one.textContent)")

        assert names == [row["queue"] for row in json.loads(running.ask("/board.json")[2])["queues"]]
        assert set(HOSTILE[:5]) < set(names)
        assert shown.page.locator("img, main script, main b b, [onmouseover], [onerror]").count() == 0
        assert shown.page.title() != "1"


@pytest.mark.parametrize(
    ("locale", "query", "language", "heading", "level"),
    [
        ("en-US", "", "en", "All queues", "81.0%"),
        ("nl-NL", "", "nl", "Alle wachtrijen", "81,0%"),
        ("ru-RU", "", "ru", "Все очереди", "81,0 %"),
        ("fr-FR", "", "en", "All queues", "81.0%"),
        ("en-US", "?lang=nl", "nl", "Alle wachtrijen", "81,0%"),
        ("nl-NL", "?lang=ru", "ru", "Все очереди", "81,0 %"),
        ("ru-RU", "?lang=xx", "ru", "Все очереди", "81,0 %"),
        ("ru-RU", "?lang=constructor", "ru", "Все очереди", "81,0 %"),
    ],
)
def test_the_page_speaks_the_readers_language(chromium, afternoon, locale, query, language, heading, level):
    """The browser's, or the one that is asked for; numbers and times as it is written there."""
    with wall(chromium, afternoon, query, locale=locale) as shown:
        assert shown.page.get_attribute("html", "lang") == language
        assert shown.page.inner_text("#total h2") == heading
        assert shown.figures("#total")["level"] == level
        assert ("PM" in shown.page.inner_text("#time")) is (locale == "en-US" and language == "en")


def test_a_language_is_chosen_by_a_link_and_other_wishes_stay(chromium, afternoon):
    """The links are ordinary ones."""
    with wall(chromium, afternoon, "?theme=dark") as shown:
        shown.page.click("nav a[lang=ru]")
        shown.page.wait_for_selector("html[lang=ru]")
        shown.page.wait_for_selector(".state.live")

        assert shown.page.inner_text("#window") == "за 30 минут"
        assert shown.page.get_attribute("html", "data-theme") == "dark"


@pytest.mark.parametrize(
    ("query", "words", "answered"),
    [("", "last 30 minutes", "64"), ("?window=5m", "last 5 minutes", "10"), ("?window=1h", "last 1 hour", "128"),
     ("?window=day", "today", "896"), ("?window=none", "last 30 minutes", "64")],
)  # fmt: skip
def test_a_window_can_be_asked_for(chromium, afternoon, query, words, answered):
    """Any that the board has; without one half an hour."""
    with wall(chromium, afternoon, query) as shown:
        assert shown.page.inner_text("#window") == words
        assert shown.figures("#queues .tile >> nth=0")["answered"] == answered


def test_everything_works_by_keyboard(chromium):
    """Themes, pages, and their turning; every tool is reached by Tab and shows that it is."""
    with (
        Server(many_queues(40), monotonic_s=monotonic_s, stale_after_ms=10**9) as running,
        wall(chromium, running, color_scheme="light") as shown,
    ):
        keys = shown.page.keyboard
        keys.press("p")
        first = shown.names()
        assert shown.page.inner_text("#range").startswith("queues 1\u2013")
        keys.press("ArrowRight")
        shown.page.wait_for_function(
            "() => !document.getElementById('range').textContent.startsWith('queues 1\u2013')"
        )
        second = shown.names()
        keys.press("ArrowLeft")
        shown.page.wait_for_function(
            "() => document.getElementById('range').textContent.startsWith('queues 1\u2013')"
        )
        assert shown.names() == first
        assert not set(first) & set(second)
        keys.press("t")
        assert shown.page.get_attribute("html", "data-theme") == "dark"

        reached = []
        for _ in range(8):
            keys.press("Tab")
            reached.append(shown.page.evaluate("document.activeElement.getAttribute('aria-label')"))
            assert shown.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert reached == [
            "Previous queues", "Turn pages", "Next queues", "EN: English", "NL: Nederlands", "RU: Русский",
            "Light or dark", "Full screen",
        ]  # fmt: skip
        keys.press("Enter")
        shown.page.wait_for_function("() => document.fullscreenElement !== null")


def test_pages_turn_by_themselves_until_somebody_stops_them(chromium):
    """Every queue comes to be seen."""
    with (
        Server(many_queues(40), monotonic_s=monotonic_s, stale_after_ms=10**9) as running,
        wall(chromium, running) as shown,
    ):
        shown.page.wait_for_function(
            "() => !document.getElementById('range').textContent.startsWith('queues 1\u2013')"
        )


THEMES = ["light", "dark"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("case", ["live", "stale", "starting", "phone"])
def test_axe_finds_nothing(chromium, theme, case):
    """Contrast, names, roles, order: WCAG 2 A and AA, and best practices, in every state."""
    views = {
        "stale": replace(busy_afternoon(), taken_at_ms=NOW_MS + 60_000),
        "starting": snapshot(clock_ms=None, ready=False, not_ready_reason="recovering"),
    }
    options = {"viewport": PHONE} if case == "phone" else {}
    with (
        Server(views.get(case, busy_afternoon()), monotonic_s=monotonic_s) as running,
        wall(chromium, running, live=case not in views, color_scheme=theme, **options) as shown,
    ):
        shown.wait_for_state({"stale": "^Stale", "starting": "^Starting"}.get(case, "^Live"))
        found = Axe().run(shown.page)

        assert found.response["passes"]
        assert [
            (violation["id"], [node["html"] for node in violation["nodes"]])
            for violation in found.response["violations"]
        ] == []


# Boxes of text that stick out of their tile, or lie over another text of it.
COLLISIONS = """() => {
  const found = [];
  for (const tile of document.querySelectorAll('.tile')) {
    const frame = tile.getBoundingClientRect();
    const boxes = [...tile.querySelectorAll('h2, .level, .goal, dt, dd > span:first-child, dd small, .trend')]
      .filter(one => one.getClientRects().length && (one.textContent.trim() || one.matches('.trend')))
      .map(one => [one, one.getBoundingClientRect()]);
    for (const [one, box] of boxes) {
      if (box.left < frame.left - 1 || box.right > frame.right + 1
          || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        found.push('out: ' + one.textContent);
      for (const [other, its] of boxes) {
        if (one === other) break;
        const across = Math.min(box.right, its.right) - Math.max(box.left, its.left);
        const along = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
        if (across > 2 && along > Math.min(box.height, its.height) / 3)
          found.push(other.textContent + ' / ' + one.textContent);
      }
    }
  }
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push('the page is too wide: ' + root.scrollWidth);
  return found;
}"""


def crowded(number):
    """Return queues with the longest numbers that may be expected."""
    return snapshot(
        *(
            queue(
                f"queue with a name that is rather long {index}",
                counts(9_876, 4_321, 987, 654, speed_s=3_700.0),
                waiting=1_234, waiting_past_target=1_200, oldest_waiting_at_ms=NOW_MS - 13_000_000,
            )
            for index in range(number)
        )
    )  # fmt: skip


@pytest.mark.parametrize("language", ["en", "nl", "ru"])
@pytest.mark.parametrize(
    "size",
    [WALL, {"width": 1280, "height": 720}, PHONE, {"width": 320, "height": 640}],
    ids=lambda size: str(size["width"]),
)
def test_nothing_sticks_out_or_overlaps(chromium, size, language):
    """Few queues and many, short numbers and long ones, on walls and phones."""
    for view in (busy_afternoon(), crowded(1), crowded(15), crowded(50), snapshot()):
        with (
            Server(view, monotonic_s=monotonic_s, stale_after_ms=10**9) as running,
            wall(chromium, running, f"?lang={language}", viewport=size) as shown,
        ):
            assert shown.page.evaluate(COLLISIONS) == [], len(view.queues)
            if size["width"] >= 900:
                height = shown.page.evaluate("document.documentElement.scrollHeight")
                assert height <= size["height"]
            else:
                assert len(shown.names()) == len(view.queues)


def test_a_wall_of_six_queues_is_read_from_five_metres(chromium, afternoon):
    """A capital of 5 m / 200 = 25 mm is 30 px on a screen 1.6 m wide; it is 0.7 of the size. Levels are twice that."""
    with wall(chromium, afternoon) as shown:
        sizes = shown.page.evaluate(
            "['#queues .level:not(.words)', '#queues dd', '#total .level', '#total dd', '#queues h2']"
            ".map(one => parseFloat(getComputedStyle(document.querySelector(one)).fontSize))"
        )

    assert all(size >= least for size, least in zip(sizes, [80, 34, 90, 52, 30], strict=True)), sizes


def test_a_phone_that_is_scrolled_stays_where_it_is(chromium, afternoon):
    """The page is drawn anew several times a second; the reader's place is not lost."""
    with wall(chromium, afternoon, viewport=PHONE) as shown:
        shown.page.evaluate("scrollTo(0, 900)")
        shown.page.wait_for_timeout(1_500)

        assert shown.page.evaluate("scrollY") == 900


def test_states_are_told_by_signs_and_words_too(chromium, afternoon):
    """Who sees no colours, or nothing, is told the same."""
    with wall(chromium, afternoon) as shown:
        tile = shown.page.locator("#queues .tile >> nth=1")  # complaints
        assert tile.locator(".level .sign").inner_text() == "■"
        assert tile.locator(".goal b").inner_text() == "far below"
        assert (
            tile.locator("dd[data-figure=longestWait]")
            .evaluate("one => one.textContent")
            .endswith(", longer than the limit")
        )
        assert (
            tile.locator("dd[data-figure=abandonment]")
            .evaluate("one => one.textContent")
            .endswith(", over the limit")
        )
        assert shown.page.inner_text("#total .goal b") == "below objective: 3 of 4"
