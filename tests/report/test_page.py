"""The report: its numbers are those of the rows, it asks for nothing, and it can be printed."""

import json
import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from schemas import Abandoned, Answered, Ended, Queued, encode
from stream.cli import main
from stream.core import fields as f
from stream.core import kpi
from stream.core.labels import safe_label
from stream.replay import RecordFeed, Replay, summary
from stream.report import Figures, ReportError, page
from stream.report.page import DAYS_MAX, NOTHING
from tests.replay.history import HOUR_MS, START_MS, Record, logs, rules

DAY_MS = 24 * HOUR_MS
PAGE_BYTES_MAX = 2_500_000  # of fifty queues over a fortnight: what a mail may carry
SHEET = {"width": 720, "height": 1000}  # what A4 leaves between its margins, in CSS pixels
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{ 7*7 }} ${x}",
    "\u202egnp.exe",
    "a" * 128,
)
LOADING = {"script", "img", "link", "iframe", "object", "embed", "image", "use", "foreignobject", "base"}


def figures_of(history):
    """Return the figures and outcomes of some logs."""
    replay = Replay([RecordFeed(log, number) for number, log in enumerate(history)], rules(), step_ms=None)
    figures = Figures(replay.rules)
    for moment in replay.moments():
        figures.add(moment.closed)
    figures.take_waits(replay.snapshot().queues)
    return figures, summary(replay.read, replay.tally())


def page_of(history):
    """Return the page of some logs."""
    figures, outcomes = figures_of(history)
    return page(figures, "history.jsonl", outcomes)


def calls(queues, days=(0,), each=4):
    """Return the events of some calls in each queue on each day; every second one gives up."""
    events = []
    for day in days:
        for place, queue in enumerate(queues):
            for number in range(each):
                call = f"{day}-{queue}-{number}"[-128:]
                at_ms = START_MS + day * DAY_MS + number * 600_000 + place
                events.append(Queued(call_id=call, at=at_ms, queue=queue))
                if number % 2:
                    events.append(Abandoned(call_id=call, at=at_ms + 7_000 * number))
                else:
                    events.append(Answered(call_id=call, at=at_ms + 15_000 * (number + 1)))
                    events.append(Ended(call_id=call, at=at_ms + 120_000))
    return sorted(events, key=lambda event: event.at)


def log_of(events):
    """Return them as the only log of a history."""
    return [[Record(offset, None, one.call_id.encode(), encode(one)) for offset, one in enumerate(events)]]


class Seen(HTMLParser):
    """Tables as lists of rows of texts, and every element with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.elements = [], []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Note an element."""
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append((dict(attributes), []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        """Leave a cell."""
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        """Note the text of a cell."""
        if self._in_cell:
            self.tables[-1][1][-1][-1] += data

    def table(self, name):
        """Return the rows of a table below its head."""
        (found,) = (rows[1:] for attributes, rows in self.tables if attributes.get("id") == name)
        return found

    def by_day(self, title):
        """Return {(day, queue): text} of the tables that have this title."""
        found = {}
        for attributes, (head, *rows) in self.tables:
            if attributes.get("class") == "by-day" and head[0].startswith(title):
                for queue, *texts in rows:
                    found |= {(day, queue): text for day, text in zip(head[1:], texts, strict=True)}
        return found


def cut(value):
    """Write a ratio as the page does."""
    return NOTHING if value is None else f"{int(value * 1000 + 1e-9) / 10:.1f}"


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Give a file of two queues over 15 days, one silent on every other day, and a line that is no event."""
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    events = [*calls(["sales"], range(15), 5), *calls(["service"], range(0, 15, 2), 6)]
    events.sort(key=lambda event: event.at)
    path.write_bytes(b"".join(encode(event) + b"\n" for event in events) + b"{\n")
    return path


def test_the_numbers_of_the_page_are_those_of_the_rows(history, tmp_path):
    """Each day and queue of `replay --to json`; sums of queues; outcomes of the records."""
    out, rows_out = tmp_path / "report.html", tmp_path / "rows.json"
    assert main(["report", str(history), "--out", str(out)]) == 0
    assert main(["replay", str(history), "--to", "json", "--out", str(rows_out)]) == 0
    *rows, last = (json.loads(line) for line in rows_out.read_text().splitlines())
    days = [row for row in rows if row["window"] == "day"]
    seen = Seen(out.read_text())

    levels, gone = seen.by_day("Service level"), seen.by_day("Abandonment")
    assert len([row for row in days if row["queued"]]) == 15 + 8
    for row in days:
        key = row["start"][5:10], row["queue"]
        assert levels.pop(key).rstrip("▼") == cut(row["service_level"])
        assert gone.pop(key).rstrip("▲") == cut(row["abandonment"])
    silent = {text for (_, queue), text in levels.items() if queue != "All queues"}
    assert silent <= {NOTHING}, "a day without contacts is neither 0 nor 100"

    sums = Counter()
    for row in days:
        for name in ("queued", "answered", "abandoned"):
            sums[row["queue"], name] += row[name]
            sums["All queues", name] += row[name]
    table = {row[0]: row[1:4] for row in seen.table("queues")}
    assert table.keys() == {"All queues", "sales", "service"}
    for queue, numbers in table.items():
        assert numbers == [str(sums[queue, name]) for name in ("queued", "answered", "abandoned")]

    outcomes = dict(seen.table("outcomes"))
    assert outcomes["read"] == str(last["summary"]["read"])
    assert outcomes["rejected: no events"] == "1"
    assert sum(count == "1" for name, count in outcomes.items() if "rejected as" in name) == 1


def test_waits_and_worst_intervals_add_up_to_the_totals():
    """Over disorder, duplicates and broken records."""
    figures, outcomes = figures_of(logs(7))
    seen = Seen(page(figures, "x", outcomes))
    answered, shares, abandoned = (row[1:] for row in seen.table("waits"))
    totals = figures.queues().values()

    assert sum(map(int, answered)) == sum(counts.get(f.ANSWER_WAITS, 0) for counts in totals)
    assert sum(map(int, abandoned)) == sum(counts.get(f.ABANDON_WAITS, 0) for counts in totals)
    assert shares[-1] == "100.0"
    worst = [int(row[2]) for row in seen.table("worst")]
    base, met = (
        sum(part.of(counts) for counts in totals) for part in (kpi.SERVICE_LEVEL_BASE, kpi.SERVICE_LEVEL_MET)
    )
    assert worst == sorted(worst, reverse=True)
    assert 0 < sum(worst) <= base - met


def test_a_wait_is_in_the_bucket_that_its_upper_bound_names(history, tmp_path):
    """Also where targets make finer buckets, which are added up: 15, 45 and 75 s were answered, 7, 21 and 35 s not."""
    out = tmp_path / "report.html"
    targets = ("queue_defaults.target=44s", "queues.service.target=16s")
    chosen = [part for one in targets for part in ("--set", one)]
    assert main(["report", str(history), "--out", str(out), *chosen]) == 0
    answered, _, abandoned = Seen(out.read_text()).table("waits")

    calls_of_five, calls_of_six = 15, 8
    each = str(calls_of_five + calls_of_six)
    assert answered[1:] == ["0", "0", each, "0", "0", each, "0", each, "0", "0", "0", "0", "0"]
    assert abandoned[1:] == ["0", each, "0", "0", each, str(calls_of_six), "0", "0", "0", "0", "0", "0", "0"]


def test_below_and_above_are_told_by_a_mark_and_not_by_colour():
    """A service level below the objective, and an abandonment above the limit."""
    row = Seen(page_of(log_of(calls(["sales"], each=5)))).table("queues")[1]

    assert row[6].endswith("▼")
    assert row[8].endswith("▲")


def test_the_definitions_are_those_of_the_configuration(history, tmp_path):
    """By queue, and as exactly as they were set."""
    out, config = tmp_path / "report.html", tmp_path / "callgauge.toml"
    config.write_text(
        "[queue_defaults]\nobjective = 0.825\nabandonment_limit = 0.005\n"
        '[queues.service]\ntarget = "1m30s"\nformula = "answered_only"\n'
    )
    assert main(["report", str(history), "--out", str(out), "--config", str(config)]) == 0
    first, second = Seen(out.read_text()).table("definitions")

    assert (first[0], *first[1:3], first[5]) == ("sales", "20s", "82.5%", "0.5%")
    assert (second[0], *second[1:3]) == ("service", "1m30s", "82.5%")
    assert second[3] == "answered_only: answered within target / answered"


def test_the_same_history_gives_the_same_bytes(history, tmp_path):
    """In two runs of the command."""
    for name in ("a.html", "b.html"):
        assert main(["report", str(history), "--out", str(tmp_path / name)]) == 0

    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_the_page_asks_for_nothing_and_runs_nothing():
    """No element or style that loads, no script, and names of queues are text wherever they stand."""
    text = page_of(log_of(calls(HOSTILE, range(2))))
    seen = Seen(text)

    assert not {tag for tag, _ in seen.elements} & LOADING
    for _, attributes in seen.elements:
        assert not {"src", "href", "xlink:href", "srcset", "data", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert {row[0] for row in seen.table("queues")[1:]} == {safe_label(name) for name in HOSTILE}
    assert "\u202e" not in text


def test_no_id_stands_twice():
    """Charts are drawn apart and stand in one document: an id of one would be found in another."""
    text = page_of(log_of(calls(["a", "b"], range(3))))
    ids = [attributes["id"] for _, attributes in Seen(text).elements if "id" in attributes]

    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("log", [[], [Record(0, None, b"", b"{")]])
def test_a_history_without_contacts_says_so(log):
    """And still says what became of its records."""
    text = page_of([log])

    assert "There are no contacts in history.jsonl" in text
    assert dict(Seen(text).table("outcomes"))["read"] == str(len(log))
    assert "<svg" not in text


def looked_at(chromium, text):
    """Open a page as if on A4 paper, see that it fits and is silent, and print it."""
    said = []
    opened = chromium.new_page(viewport=SHEET)
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url))
    opened.emulate_media(media="print")
    opened.set_content(text)
    wide = opened.evaluate("document.documentElement.scrollWidth")
    heights = opened.evaluate(
        "[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().height)"
    )
    printed = opened.pdf(prefer_css_page_size=True)
    opened.close()

    assert said == []
    assert wide <= SHEET["width"]
    assert len(heights) == text.count("<svg")
    assert min(heights) > 40
    assert printed.startswith(b"%PDF")
    assert len(printed) > 10_000
    boxes = re.findall(rb"/MediaBox \[0 0 (\d+)[\d.]* (\d+)[\d.]*\]", printed)
    assert {(abs(int(wide) - 595) <= 1, abs(int(high) - 842) <= 1) for wide, high in boxes} == {
        (True, True)
    }, "A4"
    return len(boxes)


def test_fifty_queues_over_a_fortnight_stay_small_and_readable(chromium):
    """Nothing is wider than a sheet of paper, and there are not more sheets than anybody reads."""
    text = page_of(log_of(calls([f"queue number {number:02}" for number in range(50)], range(14), each=2)))

    assert text.count("<svg") == 1 + 50 + 2 + 1
    assert len(text.encode()) < PAGE_BYTES_MAX
    assert looked_at(chromium, text) <= 16


def test_one_queue_with_a_long_name_fits_the_paper(chromium):
    """The name is broken, the page is not made wider."""
    assert looked_at(chromium, page_of(log_of(calls(["W" * 128])))) <= 4


@pytest.mark.parametrize(("days", "fits"), [(DAYS_MAX, True), (DAYS_MAX + 1, False)])
def test_a_report_has_a_year_and_a_month_at_most(days, fits):
    """Beyond, one line says what to do."""
    figures, outcomes = figures_of([[]])
    figures.add((START_MS + day * DAY_MS, "a", {}) for day in range(days))
    if fits:
        assert f"{days} days" in page(figures, "x", outcomes)
        return
    with pytest.raises(ReportError, match=f"has {days} days, and a report {DAYS_MAX} at most; choose"):
        page(figures, "x", outcomes)


def test_without_the_libraries_the_command_says_what_to_install(history, tmp_path, monkeypatch, capsys):
    """Before an hour of replay, not after."""
    monkeypatch.setattr("stream.report.errors._LIBRARIES", ("jinja2", "no_such_library"))
    code = main(["report", str(history), "--out", str(tmp_path / "report.html")])

    assert code == 1
    assert capsys.readouterr().err == (
        "callgauge: the report needs no_such_library; install it with: pip install 'callgauge[report]'\n"
    )
    assert list(tmp_path.iterdir()) == []
