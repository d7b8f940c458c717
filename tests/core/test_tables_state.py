"""The numbers of a shard as bytes: saved in mid-life, and taken up by another worker."""

import msgspec
import pytest

from stream.core import fields as f
from stream.core.columns import pack, unpack_columns, unpacked
from stream.core.counted import HISTOGRAMS
from stream.core.place import BUCKET_SHIFT, FIELDS
from stream.core.tables import counts_of
from stream.core.tables_state import TablesState
from tests.core.test_tables import GONE, MINUTE, QUARTER, counts, new_tables, tell

ROW = (1, 2) * HISTOGRAMS
BORDERS = (0, 1, 3, 4, MINUTE - 1, MINUTE, 2 * MINUTE + 1, QUARTER - 1, QUARTER, QUARTER + 5, 2 * QUARTER)
RANGES = [(start, end) for start in BORDERS for end in BORDERS if start < end]


def lived():
    """Return tables of two partitions with everything in them: final, forgotten, corrected, said of one only."""
    tables = new_tables()
    tell(
        tables,
        {
            "a": {3: {f.QUEUED: 2, f.LONGEST_WAIT_MS: 30}, MINUTE: {f.QUEUED: 5, f.LONGEST_WAIT_MS: 8}},
            "b": {QUARTER: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 2}},
        },
        totals={f.QUEUED: 9},
        row=ROW,
        oldest_ms=7,
    )
    tell(
        tables, {"a": {MINUTE: {f.QUEUED: 10, f.LONGEST_WAIT_MS: 50}}}, partition=1, row=ROW, first_at_ms=900
    )
    tables.settle(0, MINUTE + 1)
    tables.forget_before(MINUTE, 0, set())
    tell(tables, {"c": {2 * QUARTER: {f.OVERDUE: 1}}, "b": {QUARTER + 1: {f.QUEUED: 2**40}}}, row=ROW)
    return tables


def bytes_of(tables):
    return msgspec.msgpack.encode(TablesState.of(tables))


def restored(data, tables=None, *, same_bounds=True):
    """Decode bytes into tables; new ones unless given."""
    tables = new_tables() if tables is None else tables
    msgspec.msgpack.decode(data, type=TablesState).into(tables, same_bounds=same_bounds)
    return tables


def shown(tables):
    """Return everything that tables say."""
    return (
        tables.names,
        tables.numbers,
        tables.first_at_ms,
        [tables.sum(*span).tolist() for span in RANGES],
        tables.totals().tolist(),
        tables.histograms().tolist(),
        tables.oldest_waiting_at_ms(),
        [tables.overdue_after(bucket) for bucket in (QUARTER, 2 * QUARTER - 1, 2 * QUARTER)],
    )


@pytest.mark.parametrize("make", [lived, new_tables], ids=["lived", "empty"])
def test_tables_that_move_show_the_same_and_have_the_same_bytes(make):
    """Any range, since the beginning and now; a checkpoint of what was restored is that from which it was."""
    tables = make()
    data = bytes_of(tables)
    other = restored(data)

    assert shown(other) == shown(tables)
    assert bytes_of(other) == data


def test_the_bytes_do_not_depend_on_who_spoke_first():
    """Partitions are read at their own speeds."""
    words = [
        (partition, {"a": {bucket: {f.QUEUED: 1}}}) for partition in (0, 1) for bucket in (3, MINUTE, QUARTER)
    ]
    made = []
    for order in (words, words[::-1]):
        tables = new_tables()
        for partition, said in order:
            tell(tables, said, partition=partition)
        made.append(bytes_of(tables))

    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("partition", "said", "final_before"),
    [
        (0, {"a": {MINUTE + 1: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 9}}}, MINUTE + 1),
        (0, {"a": {MINUTE: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 90}}}, MINUTE + 1),
        (1, {"a": {MINUTE: {f.QUEUED: 3, f.LONGEST_WAIT_MS: GONE}}}, 0),
        (1, {"a": {MINUTE: {f.LONGEST_WAIT_MS: 20}}, "d": {3: {f.QUEUED: 1}}}, 0),
        (1, {"c": {QUARTER: {f.QUEUED: 1}}, "b": {QUARTER: {f.LONGEST_WAIT_MS: 1}}}, 0),
        (2, {"b": {QUARTER: {f.LONGEST_WAIT_MS: 1}}, "a": {3: {f.LONGEST_WAIT_MS: 4}}}, 0),
    ],
)
def test_what_is_said_after_a_move_is_taken_as_before(partition, said, final_before):
    """What can still change and what is final is known to the other worker; queues may be new to a partition."""
    tables = lived()
    other = restored(bytes_of(tables))
    word = {"partition": partition, "final_before": final_before, "totals": {f.QUEUED: 3}, "oldest_ms": 1}

    assert tell(other, said, **word) == tell(tables, said, **word)
    tables.settle(partition, QUARTER + 1)
    other.settle(partition, QUARTER + 1)
    assert shown(other) == shown(tables)


def test_what_can_still_shrink_shrinks_after_a_move_to_what_is_final():
    """Partition 1 takes its 50 s back; partition 0 is final with 8 s there, and with 30 s in a minute that is gone."""
    tables = restored(bytes_of(lived()))
    tell(tables, {"a": {MINUTE: {f.QUEUED: GONE, f.LONGEST_WAIT_MS: GONE}}}, partition=1)

    assert counts(tables, MINUTE, MINUTE + 1) == {f.QUEUED: 5, f.LONGEST_WAIT_MS: 8}
    assert counts(tables, 0, QUARTER) == {f.QUEUED: 7, f.LONGEST_WAIT_MS: 30}


def test_queues_keep_their_numbers_and_those_that_were_configured_since_follow():
    """Everything saved is by number; a queue that is configured now and was heard of then stays where it was.

    configured   b 0   x 1
    saved        a 0   b 1   c 2
    then         a 0   b 1   c 2   x 3
    """
    configured = new_tables()
    for name in ("b", "x"):
        configured.number(name, 0)
    tables = restored(bytes_of(lived()), configured)

    assert tables.names == ["a", "b", "c", "x"]
    assert tables.numbers == {"a": 0, "b": 1, "c": 2, "x": 3}
    assert tables.first_at_ms == [900, 1_000, 1_000, 0]
    assert counts(tables, 0, 2 * QUARTER, "b") == {f.QUEUED: 2**40 + 1, f.LONGEST_WAIT_MS: 2}
    assert counts(tables, 0, 2 * QUARTER, "x") == {}

    tell(tables, {"x": {QUARTER: {f.QUEUED: 7}}, "y": {QUARTER: {f.QUEUED: 8}}}, totals={f.QUEUED: 6})
    assert counts(tables, QUARTER, 2 * QUARTER, "x") == {f.QUEUED: 7}
    assert counts(tables, QUARTER, 2 * QUARTER, "y") == {f.QUEUED: 8}
    assert [counts_of(row) for row in tables.totals().reshape(-1, FIELDS)[3:]] == [{f.QUEUED: 6}] * 2


def test_queues_that_only_another_partition_spoke_of_have_nothing_of_this_one():
    """A part has rows for the queues of its time: what is restored may have fewer of them than there are queues."""
    tables = new_tables()
    tell(tables, {"a": {}}, partition=0, totals={f.QUEUED: 1}, row=ROW, oldest_ms=5)
    for queue in "bcdef":
        tell(tables, {queue: {}}, partition=1, totals={f.QUEUED: 2}, row=ROW, oldest_ms=9)
    other = restored(bytes_of(tables))
    assert shown(other) == shown(tables)

    for each in (tables, other):
        tell(each, {"f": {}, "g": {}}, partition=0, totals={f.QUEUED: 4}, row=ROW, oldest_ms=3)
    assert shown(other) == shown(tables)
    assert other.oldest_waiting_at_ms() == [5, 9, 9, 9, 9, 3, 3]
    assert [counts_of(row)[f.QUEUED] for row in other.totals().reshape(-1, FIELDS)] == [1, 2, 2, 2, 2, 6, 4]


def test_histograms_of_other_bounds_are_empty_until_they_are_said_anew():
    """All else is as it was: only histograms depend on the bounds."""
    data = bytes_of(lived())
    tables = restored(data, new_tables(bounds=2), same_bounds=False)
    assert tables.histograms().tolist() == [[0, 0, 0] * HISTOGRAMS] * 3
    assert tables.totals().tolist() == lived().totals().tolist()

    tell(tables, {"b": {}}, row=(1, 1, 1) * HISTOGRAMS)
    assert tables.histograms().tolist()[1] == [1, 1, 1] * HISTOGRAMS


def test_saved_tables_have_their_values_in_the_order_of_the_format():
    """Append, never reorder: the names are not in the bytes, a checkpoint of an earlier release is read by place."""
    tables = new_tables()
    tell(
        tables,
        {"a": {3: {f.QUEUED: 2, f.LONGEST_WAIT_MS: 8}, MINUTE: {f.QUEUED: 4, f.LONGEST_WAIT_MS: 6}}},
        partition=5,
        totals={f.QUEUED: 7},
        row=ROW,
        oldest_ms=9,
        first_at_ms=100,
    )
    tables.settle(5, 4)
    names, first_at_ms, parts, minutes, quarters, *waits = msgspec.msgpack.decode(
        bytes_of(tables), strict=False
    )

    def saved(packed):
        return dict(zip(*(values.tolist() for values in unpack_columns(packed)), strict=True))

    cell, next_minute, wait = 3 << BUCKET_SHIFT, MINUTE << BUCKET_SHIFT, f.LONGEST_WAIT_MS
    assert (names, first_at_ms, list(parts)) == (["a"], [100], [5])
    cells, totals, histograms, oldest_waiting_at_ms = parts[5]
    assert saved(cells) == {next_minute + f.QUEUED: 4, next_minute + wait: 7}
    assert totals == pack(tables.totals())
    assert histograms == pack(tables.histograms().ravel())
    assert oldest_waiting_at_ms == b"\x01\x0a"
    sums = {number: unpacked(packed) for number, packed in minutes.items()}
    assert {
        number: dict(zip(cells.places.tolist(), cells.values.tolist(), strict=True))
        for number, cells in sums.items()
    } == {
        0: {cell + f.QUEUED: 2},
        1: {next_minute + f.QUEUED: 4},
    }
    assert {number: saved(packed) for number, packed in quarters.items()} == {0: {f.QUEUED: 6}}
    longest, final_longest, longest_quarters, final_longest_quarters = waits
    assert (saved(longest), saved(final_longest)) == ({cell: 9, next_minute: 7}, {cell: 9})
    assert (saved(longest_quarters[0]), saved(final_longest_quarters[0])) == ({0: 9}, {0: 9})


def test_a_state_shares_nothing_with_the_tables_that_were_restored_from_it():
    """Two workers may take up the same bytes, and one state may be restored twice."""
    state = msgspec.msgpack.decode(bytes_of(lived()), type=TablesState)
    one, other = new_tables(), new_tables()
    for tables in (one, other):
        state.into(tables, same_bounds=True)
    tell(
        one,
        {"new": {3: {f.QUEUED: 1}}, "a": {QUARTER: {f.QUEUED: 1}}},
        totals={f.QUEUED: 99},
        row=(9, 9) * HISTOGRAMS,
    )

    assert shown(other) == shown(lived())
