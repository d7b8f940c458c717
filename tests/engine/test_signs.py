"""The signs of life, as the watchdog gets them."""

from typing import Any

from stream.core.calls import CallsStage
from stream.core.rules import FoldRules
from stream.engine.engine_settings import EngineSettings
from stream.engine.owned import Owned
from stream.engine.signs import Moment, signs_of
from stream.engine.tp import Place

SETTINGS = EngineSettings(stall_timeout_s=90, recovery_timeout_s=120, session_timeout_s=10)


def owned(topic: str) -> Owned[Any]:
    """Return a partition of which nothing is known."""
    return Owned(Place(topic, 0), CallsStage(0, FoldRules()), 0)


def moment(*, waiting: int = 0, assigning: bool = False, unclaimed: int = 0) -> Moment:
    """Return what a worker with one source partition and one shard knows."""
    return Moment({0: owned("e")}, {0: owned("c")}, lambda _: waiting, 5.0, 1, 1, assigning, unclaimed)


def test_a_position_must_move_only_while_records_wait():
    """An idle partition may rest for ever."""
    place = ("position", Place("e", 0))

    assert not signs_of(moment(), SETTINGS)[place].expected
    assert signs_of(moment(waiting=1), SETTINGS)[place].expected


def test_publications_checkpoints_and_the_reader_are_always_expected():
    """They go on when there is nothing to read, too: a publication is the heartbeat."""
    signs = signs_of(moment(), SETTINGS)

    assert {name: signs[name].limit_s for name in signs if signs[name].expected and name[0] != "heard"} == {
        "reader": 90,
        ("published", Place("e", 0)): 90,
        ("published", Place("c", 0)): 90,
        ("saved", Place("e", 0)): 95,
        ("saved", Place("c", 0)): 95,
    }


def test_a_shard_must_hear_of_every_source_partition():
    """Whoever counts it: only after a session it is sure that nobody does."""
    heard = {name: sign for name, sign in signs_of(moment(), SETTINGS).items() if name[0] == "heard"}

    assert [name[2] for name in heard] == list(range(SETTINGS.partitions))
    assert {sign.limit_s for sign in heard.values()} == {100}


def test_while_partitions_are_assigned_only_the_assignment_must_end():
    """Nothing of a partition can go on before it is restored."""
    signs = signs_of(moment(waiting=1, assigning=True), SETTINGS)

    assert {name for name, sign in signs.items() if sign.expected} == {"reader", "assignment"}
    assert signs["assignment"].limit_s == 120


def test_what_is_assigned_must_be_restored():
    """Batches of a partition without a state are passed over, and nothing else of it would be missed."""
    assert not signs_of(moment(), SETTINGS)["claims"].expected
    claims = signs_of(moment(unclaimed=2), SETTINGS)["claims"]

    assert (claims.expected, claims.limit_s) == (True, 120)
    assert claims.complaint == "2 assigned partitions have not been restored"
