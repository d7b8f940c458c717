"""The watchdog, with the time passed in."""

from stream.engine.tp import Place
from stream.engine.watchdog import Watchdog

PLACE = Place("call-events", 3)


def test_records_that_wait_without_progress_make_it_bark():
    """Exactly at the limit it is still patient; the line names partition and records."""
    watchdog = Watchdog(stall_after_s=60)
    watchdog.look({PLACE: (7, 5)}, 0.0)

    assert watchdog.look({PLACE: (7, 5)}, 60.0) == ""
    assert (
        watchdog.look({PLACE: (7, 9)}, 61.0) == "call-events[3] has not moved for 61 s with 9 records waiting"
    )


def test_progress_calms_it():
    """One step forward starts the wait anew."""
    watchdog = Watchdog(stall_after_s=60)
    watchdog.look({PLACE: (7, 5)}, 0.0)
    watchdog.look({PLACE: (8, 5)}, 50.0)

    assert watchdog.look({PLACE: (8, 5)}, 100.0) == ""


def test_nothing_to_read_is_no_stall():
    """An idle partition may rest for ever; the wait begins when a record comes."""
    watchdog = Watchdog(stall_after_s=60)
    watchdog.look({PLACE: (7, 0)}, 0.0)
    watchdog.look({PLACE: (7, 0)}, 1_000.0)

    assert watchdog.look({PLACE: (7, 1)}, 1_030.0) == ""
    assert watchdog.look({PLACE: (7, 1)}, 1_061.0) != ""


def test_a_partition_that_was_given_away_is_forgotten():
    """When it comes back its wait begins anew."""
    watchdog = Watchdog(stall_after_s=60)
    watchdog.look({PLACE: (7, 5)}, 0.0)
    watchdog.look({}, 50.0)

    assert watchdog.look({PLACE: (7, 5)}, 100.0) == ""
