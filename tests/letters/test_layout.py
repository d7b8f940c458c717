"""What is set aside can be read back, and a stranger's record does no harm."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.limits import AT_MS_MAX
from stream.letters import limits
from stream.letters.layout import Coordinate, Kind, Source, letter_of, parts_of, resent_of
from stream.settings.limits import TOPIC_CHARACTERS_MAX

SOURCE = Source("call-events", 3, 41)


def read(parts, at_ms=5):
    return letter_of(Kind.DEAD, (3, 7), at_ms, parts.key, parts.value, parts.headers)


@given(
    key=st.none() | st.binary(max_size=30),
    value=st.none() | st.binary(max_size=30),
    where=st.sampled_from(["", "queue", "at"]),
    resent=st.integers(0, limits.RESENT_MAX),
)
def test_what_is_written_is_read_back(key, value, where, resent):
    """Key, bytes, reason, field, source and count survive."""
    earlier = [("resent", str(resent).encode())] if resent else []
    letter = read(parts_of(SimpleNamespace(key=key, value=value), SOURCE, "bad_time", where, earlier))

    assert letter.coordinate == Coordinate(Kind.DEAD, 3, 7)
    assert (letter.key, letter.value, letter.whole) == (key, value, True)
    assert (letter.reason, letter.where, letter.source, letter.resent) == ("bad_time", where, SOURCE, resent)


@pytest.mark.parametrize(
    ("field", "longest"), [("key", limits.KEY_BYTES_MAX), ("value", limits.VALUE_BYTES_MAX)]
)
def test_only_what_is_beyond_the_bound_is_cut_and_says_so(field, longest):
    """One byte below, at, and one above."""
    for length in (longest - 1, longest, longest + 1):
        record = SimpleNamespace(key=b"k", value=b"v")
        setattr(record, field, b"x" * length)
        parts = parts_of(record, SOURCE, "too_large", "")
        letter = read(parts)

        assert len(getattr(parts, field)) == min(length, longest)
        assert letter.whole == (length <= longest)
        assert getattr(letter, f"{field}_bytes") == length
        assert (f"{field}_bytes" in dict(parts.headers)) == (length > longest)


def test_the_largest_letter_fits_into_its_topic():
    """Key, value and headers together are well below what the topic must take."""
    record = SimpleNamespace(key=b"k" * 2_000_000, value=b"v" * 2_000_000)
    source = Source("t" * TOPIC_CHARACTERS_MAX, 1 << 31, 1 << 62)
    parts = parts_of(record, source, "r" * 64, "w" * 64, [("resent", b"999")])
    headers = sum(len(name) + len(value) for name, value in parts.headers)

    assert len(parts.key) + len(parts.value) + headers < limits.LETTER_BYTES_MAX * 0.6


@pytest.mark.parametrize(
    ("said", "count"),
    [
        (b"1", 1),
        (b"998", 998),
        (b"999", 999),
        (b"1000", limits.RESENT_MAX),
        (b"-1", 0),
        (b"x", 0),
        (b"", 0),
        (None, 0),
        (b"9" * 5_000, 0),
    ],
)
def test_a_count_of_resending_is_bounded_and_anything_else_is_none(said, count):
    """A producer may write what it likes into that header."""
    assert resent_of([("resent", said)]) == count


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(["reason", "topic", "partition", "offset", "error", "resent", "value_bytes"]),
            st.none() | st.binary(max_size=40) | st.sampled_from([b"1", b"queue", b"late: at"]),
        )
    ),
    at_ms=st.integers(-(2**63), 2**63 - 1),
)
def test_any_record_is_a_letter(headers, at_ms):
    """Whatever stands in the topic, reading it raises nothing, and its time can be written."""
    letter = letter_of(Kind.LATE, (0, 1), at_ms, None, b"v", headers)

    assert letter.reason
    assert len(letter.reason) <= limits.REASON_CHARACTERS_MAX
    assert 0 <= letter.at_ms <= AT_MS_MAX
    assert letter.value_bytes >= 1
