"""Units, texts and colours of tiles and tables, through Grafana's own code: the npm package @grafana/data."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import IN_CI
from tests.dashboards.boards import NAMES, panel, panels

HERE = Path(__file__).parent / "display"
BLUE, ORANGE, VERMILLION, GREY = "#0072B2", "#E69F00", "#D55E00", "#6E6E6E"


@pytest.fixture(scope="session")
def node():
    """Lend a node process that runs Grafana's code; without node or the packages skip, and in CI fail."""
    found = shutil.which("node")
    missing = None if found else "node is not installed"
    if found and not (HERE / "node_modules" / "@grafana" / "data").exists():
        missing = "the packages are not installed: make display"
    if missing:
        if IN_CI:
            pytest.fail(f"{missing}, and CI must have it")
        pytest.skip(f"{missing}. WHAT PANELS SHOW WAS NOT CHECKED")
    script = [found, str(HERE / "display.cjs")]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def show(node):
    """Return what a panel shows for results of its queries: texts and colours."""

    def ask(shown, results):
        named = {
            ref: [
                {"metric": {"queue": queue} if queue else {}, "value": value}
                for queue, value in series.items()
            ]
            for ref, series in results.items()
        }
        node.stdin.write(json.dumps({"panel": shown, "results": named}) + "\n")
        node.stdin.flush()
        answer = node.stdout.readline()
        assert answer, "node ended; what it said is on stderr"
        return json.loads(answer)

    return ask


def tile(show, title, board="wall", **results):
    """Return name, text and colour of the only value that a tile shows."""
    (only,) = show(panel(board, title), {ref: {"": value} for ref, value in results.items()})
    return only["name"], only["text"], only["color"]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"A": 0.813}, ("at the objective", "81.3%", BLUE)),
        ({"A": 1}, ("at the objective", "100.0%", BLUE)),
        ({"B": 0.799}, ("BELOW the objective", "79.9%", ORANGE)),
        ({"C": 0.0}, ("FAR BELOW the objective", "0.0%", VERMILLION)),
        ({"D": -1}, ("nothing was due", "no calls", GREY)),
    ],
)
def test_the_service_level_says_in_text_and_colour_how_it_stands(show, results, expected):
    """No calls is not 0 %, and no state is told by its colour alone."""
    assert tile(show, "Service level", **results) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_tile_without_any_result_says_that_there_is_no_data(show, name):
    """A dead exporter or data source never looks like a number."""
    for one in panels(name):
        if one["type"] == "stat":
            assert [value["text"] for value in show(one, {})] == ["NO DATA"]


@pytest.mark.parametrize(
    ("title", "results", "expected"),
    [
        ("Waiting now", {"A": 0}, ("none past target", "0", BLUE)),
        ("Waiting now", {"B": 12}, ("some PAST TARGET", "12", ORANGE)),
        ("Longest wait now", {"A": 7}, ("within target", "00:00:07", BLUE)),
        ("Longest wait now", {"C": 437}, ("PAST THE LIMIT", "00:07:17", VERMILLION)),
        ("Longest wait now", {"D": -1}, ("empty queues", "nobody", GREY)),
        ("Answered", {"A": 352}, ("contacts", "352", BLUE)),
        ("Abandoned", {"B": 9}, ("a queue ABOVE its limit", "9", ORANGE)),
        ("Age of the figures", {"A": 2}, ("live", "2 s", BLUE)),
        ("Age of the figures", {"B": 45}, ("BEHIND", "45 s", ORANGE)),
        ("Age of the figures", {"C": 240}, ("STALE: do not trust", "4 mins", VERMILLION)),
    ],
)
def test_the_other_tiles_of_the_wall(show, title, results, expected):
    """Counts whole, waits as hours, minutes and seconds, each state by name."""
    assert tile(show, title, **results) == expected


def test_each_queue_is_told_with_its_name_and_state(show):
    """Of one panel, in several colours at once."""
    shown = show(
        panel("wall", "Service level by queue"),
        {"A": {"sales": 0.9}, "B": {"billing": 0.75}, "C": {"vip": 0.2}, "D": {"night": -1}},
    )

    assert [(one["name"], one["text"], one["color"]) for one in shown] == [
        ("sales", "90.0%", BLUE),
        ("billing · BELOW", "75.0%", ORANGE),
        ("vip · FAR BELOW", "20.0%", VERMILLION),
        ("night", "no calls", GREY),
    ]


def test_the_table_has_a_row_for_each_queue_and_says_what_is_absent(show):
    """Rows are joined by queue; what a queue does not have is named, never 0."""
    rows = show(
        panel("wall", "Queues"),
        {
            "A": {"sales": 2, "night": -2},
            "B": {"sales": 0.5},
            "C": {"sales": 0.8, "night": 0.8},
            "D": {"sales": 20, "night": 20},
            "E": {"sales": 3, "night": 0},
            "F": {"sales": 437},
            "G": {"sales": 10, "night": 0},
            "H": {"sales": 0.125},
            "I": {"sales": 41.4},
            "J": {"sales": 0, "night": 0},
        },
    )

    assert [[(cell["name"], cell["text"]) for cell in row] for row in rows] == [
        [
            ("Queue", "sales"),
            ("State", "FAR BELOW"),
            ("Service level", "50.0%"),
            ("Objective", "80%"),
            ("Target", "20 s"),
            ("Waiting", "3"),
            ("Longest wait", "00:07:17"),
            ("Answered", "10"),
            ("Abandoned", "12.5%"),
            ("Speed of answer", "00:00:41"),
            ("Blocked", "0"),
        ],
        [
            ("Queue", "night"),
            ("State", "closed"),
            ("Service level", "no calls"),
            ("Objective", "80%"),
            ("Target", "20 s"),
            ("Waiting", "0"),
            ("Longest wait", "nobody"),
            ("Answered", "0"),
            ("Abandoned", "no calls"),
            ("Speed of answer", "none answered"),
            ("Blocked", "0"),
        ],
    ]
    assert [row[1]["color"] for row in rows] == [VERMILLION, GREY]


@pytest.mark.parametrize(
    ("value", "text", "color"),
    [
        (0, "OK", BLUE),
        (1, "BELOW", ORANGE),
        (2, "FAR BELOW", VERMILLION),
        (-1, "no calls", GREY),
        (-2, "closed", GREY),
    ],
)
def test_states_of_the_table_are_words_on_a_colour(show, value, text, color):
    """Every value that the query can give has its word."""
    (row,) = show(panel("wall", "Queues"), {"A": {"sales": value}})

    assert [(cell["text"], cell["color"]) for cell in row if cell["name"] == "State"] == [(text, color)]


def luminance(color):
    """Return the relative luminance of WCAG 2."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("color", [BLUE, ORANGE, VERMILLION, GREY])
def test_text_on_a_fill_can_be_read(color):
    """Large text needs a contrast of 3 with the better of black and white, which is what Grafana takes."""
    light = luminance(color)

    assert max(1.05 / (light + 0.05), (light + 0.05) / 0.05) >= 3
