"""The page: everything in it is escaped, nothing is loaded, and what is not shown is said."""

import xml.etree.ElementTree as ET
from html.parser import HTMLParser

from stream.backtest import Incident, Rule, outcome, page
from stream.backtest.evaluate import Activity
from stream.backtest.page import ROWS_MAX
from stream.backtest.states import Span

HOUR_MS = 3_600_000
HOSTILE = "<script>alert('x')</script>\"' {title} &amp; \N{SNOWMAN}"


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        """Note a text."""
        self.text += data


def a_page(rows=1, incidents=None):
    """Return a page with as many alerts, hostile in every place that comes from outside."""
    rule = Rule("High", "x", {"severity": HOSTILE}, 60_000, alert=True, for_ms=120_000)
    span = Span(0, HOUR_MS, 60_000)
    points = tuple((at_ms, 0.5) for at_ms in range(600_000, 1_200_000, 60_000))
    activities = [
        Activity(
            rule, (("alertname", "High"), ("queue", f"{HOSTILE}{row}"), ("severity", HOSTILE)), span, points
        )
        for row in range(rows)
    ]
    return page(outcome([(0, HOUR_MS)], [rule], activities, incidents), HOSTILE, HOSTILE)


def test_hostile_names_are_text_and_nothing_else():
    """Of queues, labels, incidents and files."""
    text = a_page(incidents=[Incident(HOSTILE, 0, HOUR_MS)])
    seen = Tags()
    seen.feed(text)

    assert "script" not in seen.tags
    assert not [name for name in seen.attributes if name.startswith("on") or name in {"src", "href"}]
    assert seen.text.count(HOSTILE) >= 6
    assert "default-src 'none'" in text
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")


def test_the_timeline_shows_pending_and_firing_where_they_were():
    """Ten minutes of an hour begin at a sixth of the width."""
    text = a_page(incidents=[Incident("marked", 900_000, 1_000_000)])
    start = text.index('<svg viewBox="0 0 1360')
    drawing = ET.fromstring(text[start : text.index("</svg>", start) + 6])  # noqa: S314 - our own
    bars = {bar.get("class"): (float(bar.get("x")), float(bar.get("width"))) for bar in drawing.iter("rect")}

    assert bars == {
        "pending": (526.67, 33.33),
        "firing": (560.0, 133.33),
        "incident": (610.0, 27.78),
    }


def test_what_is_too_much_for_a_page_is_said():
    """At the bound everything is there, beyond it the rest is counted."""
    for over in (-1, 0, 1):
        text = a_page(ROWS_MAX + over)
        assert ("1 more are not drawn" in text, "1 more are not shown" in text) == (over > 0, over > 0)
        assert text.count('class="firing"') == min(ROWS_MAX, ROWS_MAX + over) + 1  # and the legend
