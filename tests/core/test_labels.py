"""Labels made of names from outside."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.labels import LABEL_CHARACTERS_MAX, safe_label, unique_labels

ANY_TEXT = st.text(alphabet=st.characters(), max_size=3 * LABEL_CHARACTERS_MAX)  # lone surrogates too


@pytest.mark.parametrize(
    "name", ["sales", 'say "hi"', "a\\b", "\\n", "תמיכה", "поддержка", " spaced ", "🦊", "{}=,"]
)
def test_a_harmless_name_is_its_own_label(name):
    """Quotes, backslashes, braces and other scripts are the exposition's business: no reason to rename."""
    assert safe_label(name) == name


@pytest.mark.parametrize(
    "name",
    ["a\nb", "a\r\nb", "a\x00b", "\x1b[31m", "a\x85b", "a\u2028b", "\u202egnp", "\ud800", "\u2066", ""],
)
def test_a_dangerous_character_is_replaced_and_the_label_marked(name):
    """What breaks a line, a parser or the text around it is no part of a label."""
    label = safe_label(name)

    assert label != name
    assert "~" in label
    assert not set(name) & set(label) - set("abgnp[31m")


@pytest.mark.parametrize(("length", "kept"), [(-1, True), (0, True), (1, False)])
def test_a_name_is_cut_beyond_the_longest_label_only(length, kept):
    """The bound itself is allowed, one more is cut."""
    name = "x" * (LABEL_CHARACTERS_MAX + length)

    assert (safe_label(name) == name) is kept
    assert len(safe_label(name)) <= LABEL_CHARACTERS_MAX


def test_names_that_would_look_alike_stay_apart():
    """Two names that differ only in what was replaced or cut get different labels."""
    names = [
        "a\x00b",
        "a\x01b",
        "a\ufffdb",
        "x" * 10_000,
        "x" * 10_001,
        "x" * LABEL_CHARACTERS_MAX,
        "",
        "\ud800",
    ]

    assert len({safe_label(name) for name in names}) == len(names)


def test_a_queue_named_like_the_label_of_another_gets_a_number():
    """Where somebody aims at a collision, the later name is numbered, so that no series appears twice."""
    aimed = safe_label("a\x00b")

    assert unique_labels(["a\x00b", aimed, "sales", aimed]) == (aimed, f"{aimed}~2", "sales", f"{aimed}~3")


def test_a_number_fits_into_the_longest_label():
    """Numbering a label of the greatest length keeps the bound."""
    name = "x" * LABEL_CHARACTERS_MAX
    first, second = unique_labels([name, name])

    assert first == name
    assert second == name[:-2] + "~2"


@given(ANY_TEXT)
def test_every_label_is_bounded_printable_utf8_and_stable(text):
    """Whatever the name, the label fits, encodes, has no control characters, and is its own label."""
    label = safe_label(text)

    assert 1 <= len(label) <= LABEL_CHARACTERS_MAX
    assert label.encode().decode() == label
    assert not {unicodedata.category(character) for character in label} & {"Cc", "Cs", "Zl", "Zp"}
    assert safe_label(label) == label


@given(st.lists(ANY_TEXT, max_size=20))
def test_labels_asked_for_together_are_never_alike(texts):
    """As many labels as names, in their order, all different."""
    labels = unique_labels(texts)

    assert len(set(labels)) == len(labels) == len(texts)
    assert all(len(label) <= LABEL_CHARACTERS_MAX for label in labels)
