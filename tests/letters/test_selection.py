"""Which letters are meant."""

import pytest

from stream.letters.layout import Coordinate, Kind, Letter, Source
from stream.letters.selection import Copies, Wanted, by_reason, coordinate, newest


def letter(offset, reason="not_json", kind=Kind.DEAD, at_ms=1_000, partition=0, source=None):
    source = Source("call-events", partition, offset) if source is None else source
    place = Coordinate(kind, partition, offset)
    return Letter(place, at_ms, reason, "", source, 0, b"k", b"v", 1, 1)


@pytest.mark.parametrize("text", ["dead:3:41", "late:0:0"])
def test_a_coordinate_reads_as_it_is_written(text):
    """What `list` prints is what `show` and `resend` take."""
    assert str(coordinate(text)) == text


@pytest.mark.parametrize(
    "text", ["", "dead", "dead:1", "dead:1:", "dead:-1:2", "x:1:2", "dead:1:2\n", "dead:1:٣"]
)
def test_anything_else_is_no_coordinate(text):
    """And the message shows how to write one."""
    with pytest.raises(ValueError, match="like dead:3:41"):
        coordinate(text)


@pytest.mark.parametrize(
    ("wanted", "offsets"),
    [
        (Wanted(), [0, 1, 2, 3]),
        (Wanted(reasons=frozenset({"late"})), [3]),
        (Wanted(reasons=frozenset({"late", "future"})), [1, 3]),
        (Wanted(kinds=(Kind.DEAD,)), [0, 1, 2]),
        (Wanted(since_ms=20), [2, 3]),
        (Wanted(until_ms=20), [0, 1]),
        (Wanted(since_ms=10, until_ms=30), [1, 2]),
        (Wanted(source_partition=2), [2]),
    ],
)
def test_filters_leave_what_they_say(wanted, offsets):
    """Since is in, until is out."""
    letters = [
        letter(0, at_ms=0),
        letter(1, "future", at_ms=10),
        letter(2, at_ms=20, partition=2),
        letter(3, "late", Kind.LATE, at_ms=30),
    ]

    assert [one.coordinate.offset for one in letters if wanted.has(one)] == offsets


def test_a_letter_of_nowhere_comes_from_no_partition():
    """Somebody else's record has no source."""
    stranger = Letter(Coordinate(Kind.DEAD, 0, 0), 0, "unknown", "", None, 0, None, b"", 0, 0)

    assert not Wanted(source_partition=0).has(stranger)
    assert list(Copies().without([stranger, stranger])) == [stranger, stranger]


def test_a_record_that_was_set_aside_twice_is_one_letter():
    """The first is kept, the second counted, by topic and source."""
    source = Source("call-events", 0, 5)
    first, second = letter(10, source=source), letter(11, source=source)
    late = letter(3, "late", Kind.LATE, source=source)
    copies = Copies()

    assert list(copies.without([first, late, second])) == [first, late]
    assert copies.count == 1


def test_copies_are_known_as_far_apart_as_the_bound():
    """Memory is bounded: beyond the bound a copy is taken for a letter of its own."""
    for between, found in ((1, 2), (2, 3), (3, 5)):
        letters = [letter(0), *[letter(offset) for offset in range(1, between + 1)], letter(0)]

        assert len(list(Copies(known_max=3).without(letters))) == found


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_newest_are_the_newest_of_all_partitions(count):
    """Oldest first, without what is in them, in constant memory."""
    letters = [
        letter(offset, at_ms=10 * offset + partition, partition=partition)
        for partition in (0, 1)
        for offset in range(2)
    ]

    found = newest(letters, count)

    assert [one.at_ms for one in found] == [0, 1, 10, 11][-count:]
    assert all(one.value is None and one.key is None and one.value_bytes == 1 for one in found)


def test_letters_are_counted_by_topic_and_reason():
    """Late ones apart."""
    letters = [letter(0), letter(1), letter(2, "future"), letter(3, "late", Kind.LATE)]

    assert by_reason(letters) == {
        (Kind.DEAD, "not_json"): 2,
        (Kind.DEAD, "future"): 1,
        (Kind.LATE, "late"): 1,
    }
