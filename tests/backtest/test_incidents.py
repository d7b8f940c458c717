"""Incidents: read from both forms, compared with pages, and refused by line when they are wrong."""

import pytest

from stream.backtest.errors import InputError
from stream.backtest.incidents import INCIDENTS_BYTES_MAX, Incident, Page, read_incidents, score, within

NINE_MS = 1_772_438_400_000  # 2026-03-02T09:00+01:00
EXPECTED = [
    Incident("outage", NINE_MS, NINE_MS + 3_600_000, "sales"),
    Incident("", NINE_MS + 60_000, NINE_MS + 120_000),
]
CSV = (
    "start,end,queue,name\n"
    "2026-03-02T09:00:00+01:00,2026-03-02T10:00+01:00,sales,outage\n"
    "2026-03-02T08:01:00Z,2026-03-02T08:02:00Z,,\n"
)
LINES = (
    '{"start": "2026-03-02T09:00:00+01:00", "end": "2026-03-02T10:00+01:00", "queue": "sales", "name": "outage"}\n'
    "\n"
    '{"start": "2026-03-02T08:01:00Z", "end": "2026-03-02T08:02:00Z"}\n'
)


@pytest.mark.parametrize("text", [CSV, "\ufeff" + CSV, CSV.replace("\n", "\r\n"), LINES])
def test_both_forms_say_the_same(tmp_path, text):
    """By content, not by name; also as a spreadsheet saves it."""
    file = tmp_path / "incidents"
    file.write_bytes(text.encode())

    assert read_incidents(file) == EXPECTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1 has no column end and start"),
        ("begin,end\n", ":1 has no column start"),
        ("start,end\n", " has no incident"),
        (CSV + "2026-03-02T09:00,2026-03-02T10:00Z\n", ":4: start is no time with its zone"),
        (CSV + "2026-03-02T09:00Z,2026-03-02T09:00Z\n", ":4: end is not after start"),
        (CSV + "2026-03-02T09:00Z,2026-03-02T10:00Z,a,b,c\n", ":4: None is no known field"),
        (LINES + "{\n", ":4 is no JSON object on one line"),
        (LINES + "3\n", ":4 is no JSON object"),
        (LINES + '{"start": 3, "end": "2026-03-02T08:02:00Z"}\n', ":4: start is no time"),
        (
            LINES + '{"start": "2026-03-02T08:01Z", "end": "2026-03-02T08:02Z", "que": "a"}\n',
            ":4: que is no known",
        ),
        (
            LINES + '{"start": "2026-03-02T08:01Z", "end": "2026-03-02T08:02Z", "name": 3}\n',
            ":4: queue and name mu",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_line(tmp_path, text, said):
    """The file, the line, and what to write."""
    file = tmp_path / "i.csv"
    file.write_text(text)

    with pytest.raises(InputError) as caught:
        read_incidents(file)
    assert said in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path):
    """Not there, or not text."""
    (tmp_path / "latin").write_bytes(b"start,end\n\xff")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_incidents(tmp_path / "latin")
    with pytest.raises(InputError, match="cannot be read: no such file"):
        read_incidents(tmp_path / "none")


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_file_is_bounded(tmp_path, over):
    """Beyond it the file is another one."""
    file = tmp_path / "i"
    file.write_text(LINES + " " * (INCIDENTS_BYTES_MAX + over - len(LINES)))
    if over <= 0:
        assert read_incidents(file) == EXPECTED
    else:
        with pytest.raises(InputError, match="is too large"):
            read_incidents(file)


def test_pages_are_compared_with_incidents():
    """By time, half-open, and by queue where both have one.

    time       0    100      200      300      400
    incidents       [a sales )        [b       )
    pages        [1 sales)  [2 service)  [3)       [4
    """
    incidents = [Incident("a", 100, 200, "sales"), Incident("b", 300, 400), Incident("c", 500, 600)]
    pages = [Page(50, 110, "sales"), Page(150, 250, "service"), Page(330, 340, None), Page(400, 500, "sales")]
    found = score(incidents, pages)

    assert (found.incidents, found.detected, found.true_pages) == (3, 2, 2)
    assert (found.precision, found.recall) == (2 / 4, 2 / 3)
    assert (found.delay_median_s, found.delay_max_s) == (0.015, 0.03)  # the first fired before it began


def test_without_a_base_there_is_no_ratio():
    """Nothing fired, or nothing happened."""
    nothing = score([], [])
    assert (nothing.precision, nothing.recall, nothing.delay_median_s) == (None, None, None)
    assert score([Incident("a", 0, 1)], []).recall == 0
    assert score([], [Page(0, 1, None)]).precision == 0


def test_incidents_outside_of_the_history_are_left_out():
    """Nobody can have heard of them."""
    incidents = [
        Incident("before", 0, 100),
        Incident("in", 50, 101),
        Incident("gap", 205, 210),
        Incident("end", 300, 301),
    ]

    assert [incident.name for incident in within(incidents, [(100, 200), (220, 300)])] == ["in", "end"]
