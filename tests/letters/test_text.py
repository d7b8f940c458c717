"""Letters on a terminal: nothing from outside can steer it, and the list has no payload."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stream.letters import text
from stream.letters.layout import Coordinate, Kind, Letter, Source

CANARY = "canary-5551234"
HOSTILE = "\x1b[2J\x07\r\n\u202eevil\u2028\x9b"


def letter(**fields):
    values = {
        "coordinate": Coordinate(Kind.DEAD, 1, 42),
        "at_ms": 1_772_409_630_000,
        "reason": "out_of_bounds",
        "where": "queue",
        "source": Source("call-events", 1, 5_821),
        "resent": 2,
        "key": CANARY.encode(),
        "value": f'{{"call_id": "{CANARY}"}}'.encode(),
        "key_bytes": 14,
        "value_bytes": 29,
    }
    return Letter(**{**values, **fields})


@given(st.text() | st.sampled_from([HOSTILE]))
def test_whatever_the_text_only_printable_characters_are_shown(hostile):
    """No control character, no line end, no override of direction."""
    assert text.visible(hostile).isprintable()
    assert text.visible_bytes(hostile.encode("utf-8", "surrogatepass")).isprintable()


@given(st.binary())
def test_whatever_the_bytes_they_can_be_shown(content):
    """What is no UTF-8 is an escape."""
    assert text.visible_bytes(content).isprintable()


def test_printable_text_is_shown_as_it_is():
    """Names in any script stay readable."""
    assert text.visible("Zürich 客服 😀 \\n") == "Zürich 客服 😀 \\n"


def test_a_line_of_the_list_says_all_but_what_is_in_the_letter():
    """Columns line up, and the data of callers is not there."""
    lines = text.table([letter(), letter(coordinate=Coordinate(Kind.LATE, 0, 123_456), where="")])

    assert lines[0].split() == ["letter", "set", "aside", "reason", "where", "bytes", "resent", "source"]
    assert "dead:1:42" in lines[1]
    assert "2026-03-02T00:00:30+00:00  out_of_bounds  queue     29       2  call-events:1:5821" in lines[1]
    assert lines[1].index("out_of_bounds") == lines[2].index("out_of_bounds")
    assert CANARY not in "".join(lines)
    assert CANARY not in str(text.fields(letter()))


def test_a_strangers_letter_cannot_break_the_table():
    """Reason and topic may be anything."""
    lines = text.table([letter(reason=HOSTILE, source=Source(HOSTILE, 0, 0)), letter(source=None)])

    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


def test_show_prints_all_of_a_letter():
    """With what is in it: whoever asks for one by its coordinate wants that."""
    lines = text.description(letter())

    assert lines[-1] == f'{{"call_id": "{CANARY}"}}'
    assert f"key        {CANARY}" in lines
    assert "reason     out_of_bounds" in lines
    assert "source     call-events:1:5821" in lines
    assert "bytes      29" in lines
    assert all(line.isprintable() for line in text.description(letter(value=HOSTILE.encode(), key=None)))
    assert text.description(letter(value=None, value_bytes=0))[-1] == "(no value)"


def test_a_letter_that_was_cut_says_what_is_left():
    """Somebody who repairs it must know."""
    assert "bytes      99, of which 1 were kept" in text.description(letter(value=b"x", value_bytes=99))


def test_the_summary_has_a_line_a_reason_the_most_first():
    """Numbers line up."""
    counts = Counter({(Kind.DEAD, "not_json"): 7, (Kind.LATE, "late"): 120})

    assert text.summary(counts) == ["      120  late  late", "        7  dead  not_json"]
