"""One queue on the board: absolute values by differences, windows that move, the longest wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import fields as f
from stream.core.counts import add
from stream.core.queue_board import QueueBoard, QueueState
from stream.core.rules import QUARTER_MS
from stream.core.wire import QueueUpdate

BUCKET_MS = 5_000
QUARTER = QUARTER_MS // BUCKET_MS  # buckets
MINUTE = 60_000 // BUCKET_MS
HISTOGRAMS = len(f.HISTOGRAM_NAMES)


def new_queue(windows=1):
    return QueueBoard(QueueState("a", 1_000), windows, BUCKET_MS)


def tell(queue, cells, *, partition=0, offset=0, final_before=0, **more):
    """Let a source partition say {bucket: counts}, and with each the rest of its minute as it said that before."""
    given_update = {"first_at_ms": 1_000, "oldest_waiting_at_ms": None, "totals": {}, "histograms": []} | more
    return queue.absorb(
        partition,
        offset,
        QueueUpdate(name="a", minutes=queue.whole_minutes(partition, list(cells.items())), **given_update),
        final_before,
    )


def test_a_value_said_again_replaces_what_was_said_before():
    """Cells are absolute: twice is once, more is more, less is less, and a field that is gone is gone."""
    queue = new_queue()
    tell(queue, {3: {f.QUEUED: 2, f.ANSWERED: 1}}, offset=1)
    tell(queue, {3: {f.QUEUED: 2, f.ANSWERED: 1}}, offset=1)
    assert queue.sum(0, 10) == {f.QUEUED: 2, f.ANSWERED: 1}

    tell(queue, {3: {f.QUEUED: 5}}, offset=2)
    assert queue.sum(0, 10) == {f.QUEUED: 5}

    tell(queue, {3: {}}, offset=3)
    assert queue.sum(0, 10) == {}


def test_partitions_add_up_each_by_its_own_word():
    """One partition's correction leaves the other's counts alone."""
    queue = new_queue()
    tell(queue, {3: {f.QUEUED: 2}}, partition=0)
    tell(queue, {3: {f.QUEUED: 4}}, partition=1)
    tell(queue, {3: {f.QUEUED: 1}}, partition=0, offset=1)

    assert queue.sum(3, 4) == {f.QUEUED: 5}


def test_an_older_word_on_a_minute_is_ignored_and_says_so():
    """A zombie's publication: its offset is smaller. What it alone knows is taken."""
    queue = new_queue()
    assert tell(queue, {3: {f.QUEUED: 2}}, offset=9, totals={f.QUEUED: 2}, first_at_ms=900) == [0]
    version = queue.version

    assert tell(
        queue,
        {3: {f.QUEUED: 1}, MINUTE: {f.QUEUED: 7}},
        offset=8,
        totals={f.QUEUED: 1},
        oldest_waiting_at_ms=5,
        first_at_ms=800,
    ) == [1]
    assert queue.sum(0, MINUTE + 1) == {f.QUEUED: 9}
    assert queue.totals() == {f.QUEUED: 2}
    assert queue.oldest_waiting_at_ms() is None
    assert queue.state.first_at_ms == 800
    assert queue.version > version


def test_the_same_offset_again_is_taken():
    """A worker that restarted says all anew at the offset where it stood: its histograms may have other bounds."""
    queue = new_queue()
    tell(queue, {3: {f.QUEUED: 2}}, offset=9, histograms=[[1, 2]] * HISTOGRAMS)
    tell(queue, {3: {f.QUEUED: 2}}, offset=9, histograms=[[1, 1, 1]] * HISTOGRAMS, oldest_waiting_at_ms=5)

    assert queue.histograms((5_000, 9_000), {})["talk"].counts == (1, 1, 1)
    assert (queue.oldest_waiting_at_ms(), queue.sum(0, 9)) == (5, {f.QUEUED: 2})


@pytest.mark.parametrize("before", [MINUTE, MINUTE + 3])
@pytest.mark.parametrize("distance", [-1, 0, 1])
def test_what_is_final_on_a_partition_changes_no_more(before, distance):
    """Final before a bucket: the one before is closed, whether its minute is or not; the bucket itself is open."""
    queue = new_queue()
    bucket = before + distance
    tell(queue, {bucket: {f.QUEUED: 1}})

    taken = tell(queue, {bucket: {f.QUEUED: 5}}, offset=1, final_before=before)
    assert taken == ([] if bucket < MINUTE else [1])
    assert queue.sum(bucket, bucket + 1) == {f.QUEUED: 1 if distance < 0 else 5}


def test_a_cell_that_is_final_before_anything_was_said_of_it_is_never_taken():
    """Another worker's words that came so late were counted elsewhere, or nowhere."""
    queue = new_queue()
    tell(queue, {2: {f.QUEUED: 1}, 3: {f.QUEUED: 10}}, final_before=3)

    assert queue.sum(0, MINUTE) == {f.QUEUED: 10}


def test_a_settled_cell_keeps_counting_and_its_longest_wait():
    """Letting go of a part changes no number; another part's shorter wait does not hide the longer one."""
    queue = new_queue()
    tell(queue, {3: {f.QUEUED: 2, f.LONGEST_WAIT_MS: 9_000}}, partition=0)
    queue.settle(0, 0)
    tell(queue, {3: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4_000}}, partition=1)
    assert queue.interval(3, 4) == {f.QUEUED: 3, f.LONGEST_WAIT_MS: 9_000}

    queue.settle(1, 0)
    assert queue.interval(3, 4) == {f.QUEUED: 3, f.LONGEST_WAIT_MS: 9_000}


def test_a_settled_cell_without_a_wait_leaves_none():
    """Nor is a cell that nobody holds any more a reason to fail."""
    queue = new_queue()
    tell(queue, {3: {f.QUEUED: 2}})
    queue.settle(0, 0)
    queue.settle(0, 0)

    assert queue.interval(3, 4) == {f.QUEUED: 2}


def test_the_longest_wait_shrinks_when_it_is_corrected():
    """The answer was not 30 s but 8 s after; the quarter hour follows its buckets.

    bucket    3        4
          |-- 30 --|-- 12 --|      the longest is 30,
          |--  8 --|-- 12 --|      then 12,
          |--  8 --|--    --|      then 8, then none
    """
    queue = new_queue()
    tell(queue, {3: {f.LONGEST_WAIT_MS: 30_000}, 4: {f.LONGEST_WAIT_MS: 12_000}})
    longest = [queue.longest_ms(0, QUARTER)]
    for offset, cells in enumerate(({3: {f.LONGEST_WAIT_MS: 8_000}}, {4: {}}, {3: {f.QUEUED: 1}}), 1):
        tell(queue, cells, offset=offset)
        longest.append(queue.longest_ms(0, QUARTER))

    assert longest == [30_000, 12_000, 8_000, None]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 1, 1),
        (0, QUARTER, 3),
        (1, QUARTER, 2),
        (0, QUARTER + 1, 7),
        (QUARTER - 1, QUARTER + 1, 6),
        (QUARTER - 1, QUARTER, 2),
        (0, 3 * QUARTER, 31),
        (QUARTER, 2 * QUARTER, 12),
        (QUARTER + 1, 3 * QUARTER, 24),
        (2 * QUARTER, 2 * QUARTER, 0),
    ],
)
def test_a_range_is_added_up_from_quarters_and_buckets_exactly(start, end, expected):
    """Each place has another power of two, so every sum says what is in it.

        quarter 0            quarter 1            quarter 2
    |1 . . . . . . . 2|4 . . . . . . . 8|16 . . . . . . . .|
    """
    queue = new_queue()
    places = (0, QUARTER - 1, QUARTER, 2 * QUARTER - 1, 2 * QUARTER)
    tell(queue, {bucket: {f.QUEUED: 2**power} for power, bucket in enumerate(places)})

    assert expected == queue.sum(start, end).get(f.QUEUED, 0)


def test_a_window_holds_exactly_its_buckets():
    """A window of three buckets, moved one bucket at a time past a single visit in bucket 5.

    bucket   3  4  5  6  7  8
            [--------)            0
               [--------)         1
                  [--------)      1
                     [--------)   0 ... in at 3 <= 5 < 6, out at start 6
    """
    queue = new_queue()
    tell(queue, {5: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 7}})

    assert [queue.window(0, start, start + 3).get(f.QUEUED, 0) for start in (2, 3, 4, 5, 6)] == [
        0,
        1,
        1,
        1,
        0,
    ]
    assert [queue.window(0, start, start + 3).get(f.LONGEST_WAIT_MS) for start in (2, 3, 4, 5, 6)] == [
        None,
        7,
        7,
        7,
        None,
    ]


def test_what_is_said_of_a_moment_inside_a_window_moves_the_window_at_once():
    """Also when the window itself stands still; outside it changes nothing."""
    queue = new_queue()
    assert queue.window(0, 4, 7) == {}

    tell(queue, {number: {f.QUEUED: 10**number} for number in (3, 4, 6, 7)})
    assert queue.window(0, 4, 7) == {f.QUEUED: 1_010_000}


MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("tell"),
            st.integers(0, 1),
            st.integers(0, 2 * QUARTER + 40),
            st.dictionaries(
                st.sampled_from((f.QUEUED, f.ANSWERED, f.LONGEST_WAIT_MS)), st.integers(0, 9), max_size=3
            ),
        ),
        st.tuples(
            st.just("look"),
            st.integers(0, 1),
            st.one_of(st.sampled_from((QUARTER, QUARTER + 40)), st.integers(200, 2 * QUARTER + 40)),
            st.sampled_from((1, 3, 60, 200)),
        ),
    ),
    max_size=30,
)


@given(MOVES)
def test_moving_windows_equal_recomputed_windows(moves):
    """However cells change and windows move, forwards or back, each is the sum of its buckets."""
    queue, cells = new_queue(windows=2), {}
    for offset, (what, *rest) in enumerate(moves):
        if what == "tell":
            partition, bucket, counts = rest
            tell(queue, {bucket: counts}, partition=partition, offset=offset)
            cells[partition, bucket] = counts
            continue
        index, end, length = rest
        start = max(0, end - length)
        expected = {}
        held = [counts for (_, bucket), counts in cells.items() if start <= bucket < end]
        for counts in held:
            add(expected, {number: count for number, count in counts.items() if number != f.LONGEST_WAIT_MS})
        waits = [counts[f.LONGEST_WAIT_MS] for counts in held if f.LONGEST_WAIT_MS in counts]
        expected |= {f.LONGEST_WAIT_MS: max(waits)} if waits else {}

        assert expected == queue.window(index, start, end)


def test_windows_of_one_queue_do_not_disturb_each_other():
    """Each has a place of its own."""
    queue = new_queue(windows=2)
    tell(queue, {1: {f.QUEUED: 1}, 5: {f.QUEUED: 10}})

    assert (queue.window(0, 4, 6), queue.window(1, 0, 6)) == ({f.QUEUED: 10}, {f.QUEUED: 11})
    assert (queue.window(0, 6, 8), queue.window(1, 0, 8)) == ({}, {f.QUEUED: 11})


def test_what_windows_share_is_as_of_now():
    """A second window that ends where another one did has what was said in between."""
    queue = new_queue(windows=2)
    tell(queue, {QUARTER + 1: {f.QUEUED: 1}})
    assert queue.window(0, QUARTER - 5, QUARTER + 9) == {f.QUEUED: 1}

    tell(queue, {QUARTER + 2: {f.QUEUED: 10}}, offset=1)
    assert queue.window(1, QUARTER - 9, QUARTER + 9) == {f.QUEUED: 11}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({f.QUEUED: 10, f.LONGEST_WAIT_MS: 9_000}, {f.QUEUED: 11, f.LONGEST_WAIT_MS: 9_000}),
        ({f.QUEUED: 10, f.LONGEST_WAIT_MS: 2_000}, {f.QUEUED: 11, f.LONGEST_WAIT_MS: 4_000}),
        ({}, {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4_000}),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_minute_is_as_of_now(said, expected, restarted):
    """What was added up of a minute follows its buckets, and is made anew after a restart."""
    queue = new_queue()
    tell(queue, {MINUTE: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 4_000}})
    tell(queue, {MINUTE + 1: {f.QUEUED: 3, f.LONGEST_WAIT_MS: 5_000}})
    assert queue.interval(1, 3 * MINUTE) == {f.QUEUED: 4, f.LONGEST_WAIT_MS: 5_000}

    if restarted:
        queue = QueueBoard(queue.state, 1, BUCKET_MS)
    tell(queue, {MINUTE + 1: said}, offset=1)
    assert queue.interval(1, 3 * MINUTE) == expected
    assert queue.interval(0, QUARTER) == expected


def test_a_minute_that_ends_after_what_is_dropped_stays_whole():
    """Whether somebody looked at it before or not."""
    queue = new_queue()
    tell(queue, {MINUTE - 1: {f.QUEUED: 1}, MINUTE: {f.QUEUED: 10}, MINUTE + 1: {f.QUEUED: 100}})
    queue.sum(1, 3 * MINUTE)
    queue.forget_before(MINUTE + 1, 0, set())

    assert queue.kept_from == MINUTE
    assert queue.sum(1, 3 * MINUTE) == {f.QUEUED: 110}


def test_a_bucket_that_is_no_part_of_a_minute_is_added_up_all_the_same():
    """Sixteen buckets a quarter hour: a minute would lie in two quarters."""
    queue = QueueBoard(QueueState("a", 1_000), 1, QUARTER_MS // 16)
    tell(queue, {15: {f.QUEUED: 1}, 16: {f.QUEUED: 10}, 17: {f.QUEUED: 100}})

    assert [queue.sum(0, 16), queue.sum(16, 32), queue.sum(3, 17)] == [
        {f.QUEUED: 1},
        {f.QUEUED: 110},
        {f.QUEUED: 11},
    ]


def test_old_buckets_go_and_their_quarters_stay_as_long_as_they_are_wanted():
    """Buckets before 2 quarters and quarters before 3 are dropped, but for quarter 1, which is kept.

    quarter       0          1          2          3
             |---1---|---10---|---100--|--1000--|
               gone     kept     gone     stays
    """
    queue = new_queue()
    for quarter in range(4):
        tell(queue, {quarter * QUARTER: {f.QUEUED: 10**quarter, f.LONGEST_WAIT_MS: quarter}}, offset=quarter)
    queue.forget_before(4 * QUARTER, 3, {1})
    whole = [queue.interval(number * QUARTER, (number + 1) * QUARTER) for number in range(4)]

    assert whole == [
        {},
        {f.QUEUED: 10, f.LONGEST_WAIT_MS: 1},
        {},
        {f.QUEUED: 1_000, f.LONGEST_WAIT_MS: 3},
    ]
    assert queue.interval(QUARTER, QUARTER + 1) == {}, "the bucket itself is gone"


def test_the_first_minute_and_quarter_that_are_kept_are_whole():
    """Before means before: the bound itself stays, one less goes."""
    queue = new_queue()
    bound = QUARTER + MINUTE
    tell(queue, {bound - 1: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 1}, bound: {f.QUEUED: 10, f.LONGEST_WAIT_MS: 2}})
    queue.forget_before(bound, 1, set())

    assert queue.interval(bound, bound + 1) == {f.QUEUED: 10, f.LONGEST_WAIT_MS: 2}
    assert queue.interval(bound - 1, bound) == {}
    assert queue.interval(QUARTER, 2 * QUARTER) == {f.QUEUED: 11, f.LONGEST_WAIT_MS: 2}


def test_a_wait_that_grew_in_a_bucket_that_is_dropped_is_followed_before():
    """A window had shown the bucket; nobody looked between the news and the end of the bucket."""
    queue = new_queue()
    tell(queue, {0: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 1_000}})
    queue.window(0, 0, 3)
    tell(queue, {0: {f.QUEUED: 2, f.LONGEST_WAIT_MS: 5_000}}, offset=1)
    queue.forget_before(MINUTE, 0, set())

    assert queue.window(0, 0, 3) == {f.QUEUED: 2, f.LONGEST_WAIT_MS: 5_000}


def test_a_window_from_before_what_was_dropped_is_added_up_anew():
    """Its running sum cannot be moved, since the buckets that would leave it are gone."""
    queue = new_queue()
    tell(queue, {0: {f.QUEUED: 1}, QUARTER: {f.QUEUED: 10}, 2 * QUARTER: {f.QUEUED: 100}})
    assert queue.window(0, 0, 2 * QUARTER + 1) == {f.QUEUED: 111}

    queue.forget_before(QUARTER, 0, set())
    assert queue.window(0, QUARTER, 2 * QUARTER + 2) == {f.QUEUED: 110}


def test_totals_and_histograms_are_sums_over_partitions():
    """The sum in ms is that of the totals."""
    queue = new_queue()
    part = {"totals": {f.ANSWER_WAITS: 3, f.ANSWER_WAIT_MS: 6_000}, "histograms": [[1, 2]] * HISTOGRAMS}
    tell(queue, {}, partition=0, **part)
    tell(queue, {}, partition=1, **part)
    histogram = queue.histograms((5_000,), queue.totals())["answer_wait"]

    assert queue.totals() == {f.ANSWER_WAITS: 6, f.ANSWER_WAIT_MS: 12_000}
    assert (histogram.bounds_ms, histogram.counts, histogram.sum_ms) == ((5_000,), (2, 4), 12_000)


def test_a_histogram_with_other_bounds_waits_for_its_partition_to_say_it_anew():
    """After a change of the bounds, one worker has restarted and the other has not."""
    queue = new_queue()
    tell(queue, {}, partition=0, histograms=[[1, 2]] * HISTOGRAMS)
    tell(queue, {}, partition=1, histograms=[[1, 2, 3]] * HISTOGRAMS)

    assert queue.histograms((5_000,), {})["talk"].counts == (1, 2)
    assert queue.histograms((5_000, 9_000), {})["talk"].counts == (1, 2, 3)


def test_the_oldest_waiting_is_the_oldest_of_all_partitions():
    """None only when nobody waits anywhere."""
    queue = new_queue()
    assert queue.oldest_waiting_at_ms() is None

    tell(queue, {}, partition=0, oldest_waiting_at_ms=7_000)
    tell(queue, {}, partition=1, oldest_waiting_at_ms=None)
    tell(queue, {}, partition=2, oldest_waiting_at_ms=3_000)
    assert queue.oldest_waiting_at_ms() == 3_000


@pytest.mark.parametrize(("now", "later"), [(3, 111), (4, 110), (5, 110), (6, 100), (9, 0)])
def test_visits_whose_target_is_still_ahead_are_counted(now, later):
    """OVERDUE stands in the bucket of the target: 4, 6 and 9. What lies in the bucket of now has come."""
    queue = new_queue()
    tell(queue, {4: {f.OVERDUE: 1}, 6: {f.OVERDUE: 10}, 9: {f.OVERDUE: 100, f.QUEUED: 5}, 12: {f.QUEUED: 1}})

    assert later == queue.overdue_after(now)


def test_a_bucket_that_changes_twice_between_two_looks_is_followed():
    """The window has seen 1; then 2 and 5 are said, and nobody looks in between."""
    queue = new_queue()
    tell(queue, {3: {f.QUEUED: 1}})
    queue.window(0, 0, 10)
    tell(queue, {3: {f.QUEUED: 2}}, offset=1)
    tell(queue, {3: {f.QUEUED: 5}}, offset=2)

    assert queue.window(0, 0, 10) == {f.QUEUED: 5}


def test_a_shrunk_wait_leaves_the_longest_of_the_partitions_that_are_final():
    """Partition 0 is final with 50 s; partition 1 says 80 s, then takes it back to 40 s."""
    queue = new_queue()
    tell(queue, {3: {f.ANSWERED: 1, f.LONGEST_WAIT_MS: 50_000}})
    queue.settle(0, 0)
    tell(queue, {3: {f.ANSWERED: 1, f.LONGEST_WAIT_MS: 80_000}}, partition=1)
    tell(queue, {3: {f.ANSWERED: 1, f.LONGEST_WAIT_MS: 40_000}}, partition=1, offset=1)

    assert queue.interval(0, 10) == {f.ANSWERED: 2, f.LONGEST_WAIT_MS: 50_000}


def test_a_shrunk_wait_loses_nothing_of_a_quarter_whose_buckets_are_gone_in_part():
    """What the dropped buckets had is only in the quarter, so the quarter keeps its longest wait."""
    queue = new_queue()
    tell(queue, {0: {f.LONGEST_WAIT_MS: 60_000}, MINUTE: {f.LONGEST_WAIT_MS: 50_000}})
    queue.settle(0, 0)
    queue.forget_before(MINUTE, 0, set())
    tell(queue, {MINUTE: {f.LONGEST_WAIT_MS: 10_000}}, offset=1)

    assert queue.interval(0, QUARTER) == {f.LONGEST_WAIT_MS: 60_000}


def test_a_window_that_nothing_enters_stays_as_it_was():
    """The clock goes on by a bucket without calls."""
    queue = new_queue()
    tell(queue, {3: {f.QUEUED: 1, f.LONGEST_WAIT_MS: 7_000}})
    before = queue.window(0, 1, 11)

    assert before == queue.window(0, 2, 12)


def test_histograms_that_nobody_said_anew_are_the_same_objects():
    """A look at an unchanged queue costs no new views."""
    queue = new_queue()
    tell(queue, {}, histograms=[[1, 2] for _ in range(HISTOGRAMS)])

    assert queue.histograms((1_000,), {}) is queue.histograms((1_000,), {})


def test_a_wait_that_grows_within_a_window_is_its_longest():
    """Somebody who waited 9 s was answered in the same bucket as one who waited 5 s, after the window was looked at."""
    queue = new_queue()
    tell(queue, {3: {f.LONGEST_WAIT_MS: 5_000}})
    queue.window(0, 0, 10)
    tell(queue, {3: {f.LONGEST_WAIT_MS: 9_000}}, offset=1)

    assert queue.window(0, 0, 10) == {f.LONGEST_WAIT_MS: 9_000}
