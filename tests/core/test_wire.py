"""What stage 1 says to stage 2."""

import contextlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import EVENT_TYPES
from schemas.limits import AT_MS_MAX
from stream.core import facts
from stream.core import fields as f
from stream.core.cells import Book
from stream.core.columns import column, pack
from stream.core.counted import HISTOGRAMS
from stream.core.place import BUCKET_SHIFT, FIELD_BITS, FIELDS, QUEUE_MASK, shard_of
from stream.core.rules import QueueRule
from stream.core.wire import (
    PUBLICATION_VERSION,
    Publication,
    Sayings,
    decode_publication,
    encode_publication,
    opened,
    version_of,
)
from tests.core.named import in_fields
from tests.core.publications import BUCKET_MS, NOON_MS, columns, said, told, update

BOUNDS_MS = (5_000, 20_000)
COUNTERS = HISTOGRAMS * (len(BOUNDS_MS) + 1)  # of a queue
RULE = QueueRule()
# What a reader expects of bytes that are no publication.
NO_PUBLICATION = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
HEAD = Publication(PUBLICATION_VERSION, 2, 3, 4, 5, 6, True)

TIMES = st.one_of(st.none(), st.integers(0, 2**53))
PACKED = st.tuples(st.integers(0, 2**62), st.binary(max_size=9), st.binary(max_size=9))
PUBLICATIONS = st.builds(
    Publication,
    st.just(PUBLICATION_VERSION),
    st.integers(0, 1_000),
    st.integers(-1, 2**62),
    TIMES,
    st.integers(0, 2**62),
    TIMES,
    st.booleans(),
    st.lists(st.text(min_size=1, max_size=20), max_size=3),
    st.lists(st.integers(0, 2**53), max_size=3),
    st.lists(TIMES, max_size=3),
    PACKED,
    st.binary(max_size=9),
    PACKED,
    st.none() | st.integers(0, 2**36),
)
COUNTS = st.dictionaries(
    st.integers(0, f.FIELD_COUNT - 1), st.integers(0, 2**53).filter(bool), min_size=1, max_size=4
)
CELLS = st.dictionaries(st.integers(0, 2**36 - 1).map(lambda bucket: bucket * BUCKET_MS), COUNTS, max_size=4)


def changed(**changes):
    """Return the publication of two queues, but for some changes."""
    whole = decode_publication(
        said(
            update("a", {NOON_MS: {f.QUEUED: 2}}, histograms=[[1, 0, 2]] * HISTOGRAMS),
            update("b", {NOON_MS: {f.QUEUED: 3}}, histograms=[[4, 0, 5]] * HISTOGRAMS),
        )
    )
    return msgspec.structs.replace(whole, **changes)


def new_book(*names):
    """Open a book with some queues, numbered in this order; the first event of each is later than the one before."""
    book = Book(BUCKET_MS, BOUNDS_MS, len(EVENT_TYPES), by_arrival=False)
    for number, name in enumerate(names):
        book.open(name, RULE, number * 10)
    return book


def publications(book, shards=1, again=()):
    """Say everything that has changed, and read it."""
    sayings = Sayings(book, shards, set(again))
    return [decode_publication(sayings.to(shard, HEAD)) for shard in range(shards)]


def totals_of(publication):
    """Read the totals, as {queue: {field: count}}."""
    totals = opened(publication).totals
    shown = {name: {} for name in publication.queues}
    for place, count in zip(totals.places.tolist(), totals.values.tolist(), strict=True):
        shown[publication.queues[place // FIELDS]][place % FIELDS] = count
    return {name: in_fields(counts) for name, counts in shown.items()}


# --- as bytes ---------------------------------------------------------------------------------------------------------


@given(PUBLICATIONS)
def test_a_publication_is_read_as_it_was_written(publication):
    """Whatever is in it."""
    assert publication == decode_publication(encode_publication(publication))


def test_no_part_of_a_publication_is_one():
    """A torn record is refused, wherever it ends."""
    data = encode_publication(changed())
    for length in range(len(data)):
        with pytest.raises(msgspec.DecodeError):
            decode_publication(data[:length])


@given(st.dictionaries(st.text(min_size=1, max_size=5), CELLS, max_size=4))
def test_the_columns_of_a_publication_are_those_of_its_queues(queues):
    """Cells by bucket and totals by field, each with the queue that it belongs to."""
    publication = decode_publication(said(*(update(name, cells) for name, cells in queues.items())))

    assert told(publication) == {
        name: {at_ms // BUCKET_MS: counts for at_ms, counts in cells.items()}
        for name, cells in queues.items()
    }
    assert totals_of(publication) == {name: update(name, cells).totals for name, cells in queues.items()}


def test_a_publication_that_names_no_queue_is_a_watermark():
    """There are no columns in it, and nothing to complain of."""
    update_ = opened(decode_publication(encode_publication(HEAD)))

    assert (len(update_.totals), len(update_.histograms), len(update_.places), len(update_.values)) == (
        0,
    ) * 4


@pytest.mark.parametrize(
    ("torn", "complaint"),
    [
        ({"totals": columns({(2 << FIELD_BITS) + f.QUEUED: 1})}, "a place of no queue"),
        ({"totals": columns({f.QUEUED: 1, QUEUE_MASK << FIELD_BITS: 1})}, "a place of no queue"),
        ({"cells": columns({(9 << BUCKET_SHIFT) + (2 << FIELD_BITS): 1})}, "a place of no queue"),
        (
            {"cells": columns({(9 << BUCKET_SHIFT) + (2 << FIELD_BITS): 1, 10 << BUCKET_SHIFT: 1})},
            "a place of no",
        ),
        ({"queues": ["a"]}, "a place of no queue"),
        ({"queues": [], "first_at_ms": [], "oldest_waiting_at_ms": []}, "a place of no queue"),
        ({"totals": columns({f.QUEUED: 1, 1 << BUCKET_SHIFT: 1})}, "a place of no queue"),
        ({"queues": ["a", "a"]}, "a queue twice"),
        *(
            ({name: (900, pack(column([step])), pack(column([1, 1])))}, "not in order")
            for name in ("totals", "cells")
            for step in (0, -1, -800)
        ),
        ({"oldest_waiting_at_ms": [None, AT_MS_MAX + 1]}, "a time beyond"),
        ({"oldest_waiting_at_ms": [-1, None]}, "a time beyond"),
        ({"queues": ["a", "b", "c"]}, "without times"),
        ({"first_at_ms": [NOON_MS]}, "without times"),
        ({"first_at_ms": []}, "without times"),
        ({"first_at_ms": [NOON_MS] * 3}, "without times"),
        ({"oldest_waiting_at_ms": [None]}, "without times"),
        ({"oldest_waiting_at_ms": [None] * 3}, "without times"),
        ({"histograms": pack(column([1]))}, "histograms of no queue"),
        ({"histograms": pack(column([1] * (2 * COUNTERS - 1)))}, "histograms of no queue"),
        ({"histograms": pack(column([1] * (2 * COUNTERS + HISTOGRAMS)))}, "histograms of no queue"),
        ({"histograms": pack(column([1] * (2 * COUNTERS + 2)))}, "histograms of no queue"),
        ({"histograms": b""}, "no column"),
        ({"histograms": b"\x03"}, "no column"),
        ({"cells": (1, pack(column([1])), pack(column([1])))}, "columns of two lengths"),
        ({"totals": (1, pack(column([])), pack(column([1, 1])))}, "columns of two lengths"),
        ({"totals": (1, b"", pack(column([1])))}, "no column"),
        ({"cells": (1, pack(column([])), b"\x07")}, "no column"),
    ],
)
def test_columns_that_do_not_fit_the_queues_are_refused(torn, complaint):
    """Before anything of them is counted: half a publication would be worse than none."""
    opened(changed())
    with pytest.raises(ValueError, match=complaint):
        opened(changed(**torn))


@pytest.mark.parametrize("name", ["totals", "cells"])
@pytest.mark.parametrize(
    ("first", "steps"), [((1 << 64) - 1, []), (1 << 63, []), ((1 << 63) + 1, [-5]), (1, [(1 << 63) - 1] * 2)]
)
def test_places_beyond_64_bits_are_refused_like_any_other(name, first, steps):
    """The encoding knows larger numbers than a column holds; the reader expects one kind of error."""
    packed = first, pack(column(steps)), pack(column([1] * (1 + len(steps))))
    data = encode_publication(changed(**{name: packed}))
    with pytest.raises(ValueError):
        opened(decode_publication(data))


def test_the_first_and_the_last_moment_of_all_are_times():
    """Bounds are part of what they bound."""
    opened(changed(oldest_waiting_at_ms=[0, AT_MS_MAX]))


def test_histograms_may_have_any_number_of_bounds():
    """Those of another configuration, or none: what they mean is the reader's business."""
    for bounds in (0, 1, 7):
        counts = [3] * (2 * HISTOGRAMS * bounds)
        assert opened(changed(histograms=pack(column(counts)))).histograms.tolist() == counts


# --- versions ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**63 - 1), st.lists(st.none() | st.integers(0, 9) | st.text(max_size=3) | CELLS))
@example(PUBLICATION_VERSION, [])
@example(2, [0, 1, 2, 3, 4, True, [["a", 1, None, {1: 2}, [[3]], [[4, {5: 6}]]]]])
def test_the_version_of_any_release_is_known(version, rest):
    """Whatever else it says, in however many parts: who reads it can say which callgauge is needed."""
    assert version_of(msgspec.msgpack.encode([version, *rest])) == version


def test_the_version_of_what_is_written_here_is_this_one():
    """It is what comes first."""
    assert version_of(said()) == version_of(encode_publication(changed())) == PUBLICATION_VERSION


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"no publication",
        b"\x91",
        b"\x91" * 100_000,
        b"\x92\x01" + b"\x91" * 100_000,
        b"\x91\xa2\xff\xff",
        b"\x91\x01\x01",
        *(
            msgspec.msgpack.encode(value)
            for value in ([], {}, 3, "3", None, [None], ["3"], [3.5], [True], [[3]])
        ),
        msgspec.msgpack.encode({"version": 3}),
        msgspec.json.encode([3]),
    ],
    ids=lambda data: data[:8].hex(),
)
def test_what_is_no_publication_has_no_version(data):
    """Whoever writes into the topic by mistake stops nobody."""
    with pytest.raises(NO_PUBLICATION):
        version_of(data)


@given(st.binary(max_size=40) | st.binary(max_size=40).map(b"\x93".__add__))
def test_no_bytes_are_too_strange_to_be_asked_for_a_version(data):
    """There is a number or one of three errors, and no other, which would stop the reader."""
    with contextlib.suppress(*NO_PUBLICATION):
        assert type(version_of(data)) is int


# --- what is said to which shard --------------------------------------------------------------------------------------


def test_only_what_has_changed_is_said():
    """Of a queue that has changed its totals are said whole, and of its cells those that have changed."""
    book = new_book("a", "b", "c")
    a, b, _ = book.numbered
    for ledger in (a, b):
        book.add(book.at(ledger, NOON_MS) + f.QUEUED)
    publications(book)
    book.add(book.at(b, NOON_MS + BUCKET_MS) + facts.TALKED, 6_000)
    book.waiting[b"1"] = (NOON_MS, b.number)
    (publication,) = publications(book)
    talked = {f.CONVERSATIONS_ENDED: 1, f.TALKS: 1, f.TALK_MS: 6_000}

    assert told(publication) == {"b": {NOON_MS // BUCKET_MS + 1: talked}}
    assert totals_of(publication) == {"b": talked | {f.QUEUED: 1}}
    assert (publication.first_at_ms, publication.oldest_waiting_at_ms) == ([10], [NOON_MS])
    talk = f.HISTOGRAM_NAMES.index("talk")
    assert opened(publication).histograms.reshape(HISTOGRAMS, -1).tolist() == [
        [0, 1, 0] if number == talk else [0, 0, 0] for number in range(HISTOGRAMS)
    ]


def test_a_publication_that_says_nothing_is_its_head():
    """It is a heartbeat and a watermark, and says what the others of its partition say of that."""
    book = new_book("a", "b")
    assert publications(book, 4) == [HEAD] * 4

    book.add(book.at(book.numbered[0], NOON_MS) + f.QUEUED)
    said_now = publications(book, 4)
    heard = said_now.pop(shard_of("a", 4))
    assert said_now == [HEAD] * 3
    assert msgspec.structs.astuple(heard)[:7] == msgspec.structs.astuple(HEAD)[:7]
    assert publications(book, 4) == [HEAD] * 4


def test_a_place_where_all_was_taken_back_is_said_as_0():
    """Only what is sent can correct what a reader was told; a total of 0 is not in the totals, which are whole."""
    book = new_book("a")
    place = book.at(book.numbered[0], NOON_MS) + f.OVERDUE
    book.add(place)
    publications(book)
    book.take_back(place)
    (publication,) = publications(book)

    assert told(publication) == {"a": {NOON_MS // BUCKET_MS: {f.OVERDUE: 0}}}
    assert totals_of(publication) == {"a": {}}


def test_a_queue_can_be_said_again_though_nothing_has_changed():
    """After a restart: readers may have been told more of it than this process knows; once, beside what changed."""
    book = new_book("a", "b", "c", "d")
    for ledger in book.numbered[:3]:
        book.add(book.at(ledger, NOON_MS) + f.QUEUED)
    publications(book)
    book.add(book.at(book.numbered[2], NOON_MS) + f.QUEUED)
    (publication,) = publications(book, again={0, 2, 3})

    assert told(publication) == {"a": {}, "c": {NOON_MS // BUCKET_MS: {f.QUEUED: 2}}, "d": {}}
    assert totals_of(publication) == {"a": {f.QUEUED: 1}, "c": {f.QUEUED: 2}, "d": {}}
    assert publication.first_at_ms == [0, 20, 30]


FACTS = st.tuples(
    st.integers(0, 9),  # number of the queue
    st.integers(0, 3),  # bucket
    st.sampled_from([f.QUEUED, facts.ANSWERED_LATE, facts.TALKED, facts.WAIT_ENDED]),
    st.integers(0, 30_000),
)


@given(st.lists(FACTS, max_size=30), st.sets(st.integers(0, 9)), st.integers(1, 5))
def test_the_shards_together_are_said_everything(written, again, shards):
    """Each queue to the shard that it is of, with its own cells, totals and histograms, as if there was only one."""
    names = [f"queue {number}" for number in range(10)]
    alone, spread = new_book(*names), new_book(*names)
    for book in (alone, spread):
        for number, bucket, kind, span_ms in written:
            book.add(book.at(book.numbered[number], bucket * BUCKET_MS) + kind, span_ms)
    (whole,) = publications(alone, 1, again)
    parts = publications(spread, shards, again)

    assert whole.queues == [names[number] for number in sorted({number for number, *_ in written} | again)]
    cells, totals, histograms = {}, {}, {}
    for shard, part in enumerate(parts):
        assert all(shard_of(name, shards) == shard for name in part.queues)
        assert part.first_at_ms == [names.index(name) * 10 for name in part.queues]
        places = opened(part).places.tolist()
        assert places == sorted(set(places))
        assert cells.keys().isdisjoint(part.queues)
        cells |= told(part)
        totals |= totals_of(part)
        histograms |= histograms_of(part)
    assert cells == told(whole)
    assert totals == totals_of(whole)
    assert histograms == histograms_of(whole)
    for name in whole.queues:
        mine = [(kind, span_ms) for number, _, kind, span_ms in written if names[number] == name]
        assert totals[name].get(f.TALK_MS, 0) == sum(
            span_ms for kind, span_ms in mine if kind == facts.TALKED
        )
        assert sum(histograms[name]) == sum(kind in {facts.ANSWERED_LATE, facts.TALKED} for kind, _ in mine)


def histograms_of(publication):
    """Read the histograms, as {queue: counts}."""
    if not publication.queues:
        return {}
    rows = opened(publication).histograms.reshape(len(publication.queues), COUNTERS).tolist()
    return dict(zip(publication.queues, rows, strict=True))


def test_a_queue_that_begins_later_is_said_to_its_own_shard():
    """Shards of queues that were said before are known; those of new ones follow."""
    book = new_book()
    for name in ("sales", "support", "unrouted", "__other__"):  # shards 0, 1, 2, 1
        ledger = book.open(name, RULE, 0)
        book.add(book.at(ledger, 0) + f.QUEUED)
        heard = publications(book, shards=4)

        assert [part.queues for part in heard] == [
            [name] if shard == shard_of(name, 4) else [] for shard in range(4)
        ]


def test_the_shard_of_a_queue_is_the_same_for_ever():
    """Where a queue's state lies was decided by the release before; these numbers may never change."""
    assert shard_of("123456789", 1 << 32) == 0xCBF43926  # the check value that every CRC-32 is published with
    assert tuple(shard_of(name, 4) for name in ("sales", "support", "unrouted", "__other__")) == (0, 1, 2, 1)


@given(st.text(alphabet=st.characters()), st.integers(1, 64))
@example("\ud800", 4)
def test_every_queue_has_a_shard(name, shards):
    """Any name, lone surrogates too."""
    assert 0 <= shard_of(name, shards) < shards


def test_queues_are_spread_over_the_shards():
    """A thousand queues in four shards: none is empty, none has the half."""
    counts = [sum(shard_of(f"queue {number}", 4) == shard for number in range(1_000)) for shard in range(4)]

    assert min(counts) > 150
    assert max(counts) < 350
