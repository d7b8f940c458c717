"""The hole check, batch by batch."""

from stream.engine.holes import NOT_SOUGHT, HoleCheck, Verdict


def test_a_batch_that_continues_the_state_is_folded():
    """The next offset, and any overlap with what is known, is no hole."""
    check = HoleCheck()

    assert check.judge(11, 10, 0) is Verdict.FOLD
    assert check.judge(5, 10, 0) is Verdict.FOLD
    assert (check.holes, check.gaps) == (0, 0)


def test_a_state_without_anything_accepts_any_beginning():
    """The log of an old topic does not begin at 0."""
    assert HoleCheck().judge(1_000, -1, 0) is Verdict.FOLD


def test_a_hole_is_read_again_and_healed():
    """The batch after a hole is dropped; after the rewind the missing records come."""
    check = HoleCheck()

    assert check.judge(12, 10, 0) is Verdict.REWIND
    check.rewound(1)
    assert check.judge(11, 10, 1) is Verdict.FOLD
    assert (check.holes, check.gaps) == (1, 0)


def test_batches_fetched_before_the_rewind_are_dropped_without_a_second_one():
    """What is still on its way was fetched in an older epoch."""
    check = HoleCheck()
    check.judge(12, 10, 3)
    check.rewound(4)

    assert check.judge(20, 10, 3) is Verdict.DROP
    assert check.judge(30, 10, 3) is Verdict.DROP
    assert check.holes == 1


def test_the_same_first_offset_again_is_a_gap_of_the_log_and_accepted():
    """Retention or compaction took the records: they will never come."""
    check = HoleCheck()
    check.judge(50, 10, 0)
    check.rewound(1)

    assert check.judge(50, 10, 1) is Verdict.GAP
    assert (check.holes, check.gaps) == (1, 1)


def test_another_first_offset_after_the_rewind_is_suspected_anew():
    """The beginning of the log may move while we look; then it is looked at once more."""
    check = HoleCheck()
    check.judge(50, 10, 0)
    check.rewound(1)

    assert check.judge(60, 10, 1) is Verdict.REWIND
    check.rewound(2)
    assert check.judge(60, 10, 2) is Verdict.GAP
    assert (check.holes, check.gaps) == (2, 1)


def test_a_healed_hole_leaves_no_suspicion_behind():
    """The same offset much later is judged like any other."""
    check = HoleCheck()
    check.judge(50, 10, 0)
    check.rewound(1)
    check.judge(11, 10, 1)

    assert check.judge(50, 20, 1) is Verdict.REWIND


def test_before_anybody_has_sought_for_a_state_no_batch_is_for_it():
    """Not even where nothing was applied yet: the batch is of the assignment before, and may begin anywhere."""
    check = HoleCheck()
    check.rewound(NOT_SOUGHT)

    assert check.judge(1, -1, 7) is Verdict.DROP
    check.rewound(8)
    assert check.judge(0, -1, 8) is Verdict.FOLD
