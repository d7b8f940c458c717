"""The table of fields, whose numbers stand in checkpoints and in the topic between the stages."""

from schemas import BLOCKED_REASONS, LEFT_REASONS
from stream.core import fields as f
from tests.core.named import NAMES

# As they were in the first release. A new field is appended here; a changed number is a changed layout.
FIELDS = (
    "OFFERED",
    "QUEUED",
    "ANSWERED",
    "ANSWERED_WITHIN_TARGET",
    "ABANDONED",
    "ABANDONED_WITHIN_TARGET",
    "ABANDONED_SHORT",
    "LEFT_OVERFLOW",
    "LEFT_TIMEOUT",
    "LEFT_KEY",
    "LEFT_EMPTY",
    "LEFT_CALLBACK",
    "LEFT_OTHER",
    "BLOCKED_BUSY",
    "BLOCKED_FULL",
    "BLOCKED_CLOSED",
    "BLOCKED_NO_AGENTS",
    "BLOCKED_OTHER",
    "EXPIRED_WAITING",
    "EXPIRED_TALKING",
    "SERVICE_LEVEL_MET",
    "SERVICE_LEVEL_BASE",
    "OVERDUE",
    "ANSWER_WAITS",
    "ANSWER_WAIT_MS",
    "ABANDON_WAITS",
    "ABANDON_WAIT_MS",
    "TALKS",
    "TALK_MS",
    "WRAP_UPS",
    "WRAP_UP_MS",
    "HANDLES",
    "HANDLE_MS",
    "CONVERSATIONS_ENDED",
    "LONGEST_WAIT_MS",
)


def test_no_field_was_renumbered_within_a_layout():
    """A checkpoint written yesterday means the same today."""
    assert (4, dict(enumerate(FIELDS))) == (f.LAYOUT_VERSION, dict(sorted(NAMES.items())))


def test_the_number_of_fields_is_that_of_the_table():
    """Fields are numbered from 0 without a gap."""
    assert list(range(f.FIELD_COUNT)) == sorted(NAMES)


def test_every_reason_of_an_event_has_a_field_of_its_own():
    """No reason that an event may give is without a place, and none shares one."""
    assert sorted(LEFT_REASONS) == sorted(f.LEFT)
    assert sorted(BLOCKED_REASONS) == sorted(f.BLOCKED)
    assert {*f.LEFT.values()} == {number for number, name in NAMES.items() if name.startswith("LEFT_")}
    assert {*f.BLOCKED.values()} == {number for number, name in NAMES.items() if name.startswith("BLOCKED_")}


def test_each_histogram_names_its_count_and_its_sum():
    """The sum is the field in ms right after the count, so the two cannot belong to different things."""
    for name, (count, total_ms) in f.HISTOGRAMS.items():
        assert (f"{name.upper()}S", f"{name.upper()}_MS") == (NAMES[count], NAMES[total_ms])
    assert tuple(f.HISTOGRAMS) == f.HISTOGRAM_NAMES


def test_anomalies_and_reserved_queues_are_told_apart():
    """Each kind of anomaly is a label value, and the two queues of our own have different names."""
    assert len(set(f.ANOMALIES)) == len(f.ANOMALIES) == 9
    assert (f.UNROUTED, f.OTHER) == ("unrouted", "__other__")
