"""The watchdog, with the time passed in."""

import pytest

from stream.engine.watchdog import STEP_MAX_S, Sign, Trouble, Watchdog


def still(token: int = 7, *, expected: bool = True, limit_s: float = 60.0) -> Sign:
    """Return a sign of something that should go on."""
    return Sign(token, expected, limit_s, "call-events[3] has not moved")


class Watched:
    """A watchdog that looks once a second, as the engine's does twice."""

    def __init__(self) -> None:
        self.dog, self.now_s = Watchdog(), 1_000.0

    def look(self, seconds: int, **signs: Sign) -> Trouble | None:
        """Look for so many seconds; return what the last look said."""
        trouble = None
        for _ in range(seconds):
            trouble = self.dog.look(signs, self.now_s)
            self.now_s += 1
        return trouble


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(30, None), (31, None), (32, False), (61, False), (62, True)],
)
def test_what_stands_still_is_unhealthy_after_half_of_its_limit_and_ends_the_process_after_all_of_it(
    seconds, said
):
    """Exactly at half and at the limit it is still patient; the first look only begins the wait."""
    trouble = Watched().look(seconds, position=still())

    assert (trouble.fatal if trouble else None) == said


def test_it_says_what_and_for_how_long():
    """The line is for whoever reads the log after the process has ended."""
    assert Watched().look(41, position=still()) == Trouble(
        "call-events[3] has not moved for 40 s", fatal=False
    )


def test_progress_calms_it():
    """One step forward starts the wait anew."""
    watched = Watched()
    watched.look(50, position=still(7))

    assert watched.look(31, position=still(8)) is None
    assert watched.look(1, position=still(8)) is not None


def test_what_need_not_go_on_may_rest_for_ever():
    """An idle partition is no stall; the wait begins when a record comes."""
    watched = Watched()

    assert watched.look(1_000, position=still(expected=False)) is None
    assert watched.look(30, position=still()) is None
    assert watched.look(2, position=still()) is not None


def test_what_was_given_away_is_forgotten():
    """When it comes back its wait begins anew."""
    watched = Watched()
    watched.look(50, position=still())
    watched.look(1)

    assert watched.look(31, position=still()) is None


def test_the_worst_of_several_is_told():
    """Worst is what is nearest to its own limit, or furthest beyond it."""
    trouble = Watched().look(50, slow=still(limit_s=1_000), quick=still(limit_s=40))

    assert trouble == Trouble("call-events[3] has not moved for 49 s", fatal=True)


def test_time_in_which_nobody_could_look_does_not_count():
    """After SIGCONT, or a night of the laptop, everything is late and nothing is stuck."""
    watched = Watched()
    watched.look(2, position=still())
    watched.now_s += 100_000

    assert watched.look(int(30 - STEP_MAX_S), position=still()) is None
    assert watched.look(3, position=still()) is not None
