"""What a reader gets."""

import pytest

from stream.core.snapshot import BEHIND_RECORDS, is_behind


@pytest.mark.parametrize(("waiting", "behind"), [(BEHIND_RECORDS, False), (BEHIND_RECORDS + 1, True)])
def test_a_backlog_is_what_waits_on_all_partitions_together(waiting, behind):
    """By the one record that makes it a backlog."""
    assert is_behind([1, 0, waiting - 1]) is behind
