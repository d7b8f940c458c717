"""The place in the group, with the time and the group's answers passed in."""

from stream.engine.membership import (
    NEWCOMER_S,
    NO_ERROR,
    REBALANCE_IN_PROGRESS,
    TOGETHER_MAX,
    UNKNOWN_MEMBER,
    Membership,
)

SESSION_S = 10.0


def member(*, static: bool = True, took_place: bool = False) -> Membership:
    """Return one that joined at 100 s."""
    made = Membership(static, SESSION_S, last_contact_s=0.0, took_place=took_place)
    made.joined(100.0)
    return made


def thrown_out(membership: Membership, at_s: float) -> None:
    """Let it be in contact until it is replaced."""
    membership.answered([NO_ERROR], at_s - 1, at_s - 1)
    membership.answered([UNKNOWN_MEMBER], at_s, at_s)


def test_contact_counts_from_when_the_request_was_sent():
    """An answer that waited in the socket while the process was stopped says nothing of now."""
    membership = member()
    membership.answered([NO_ERROR], 103.0, 180.0)

    assert membership.last_contact_s == 103.0
    assert membership.silent_s(180.0) == 77.0


def test_within_the_session_the_partitions_cannot_have_gone():
    """Exactly at the limit they are still ours."""
    membership = member()

    assert membership.certain(100.0 + SESSION_S)
    assert not membership.certain(100.5 + SESSION_S)


def test_a_group_that_is_rebalancing_has_answered_a_member():
    """Its partitions are given to nobody before it has joined, or failed to."""
    membership = member()
    membership.answered([REBALANCE_IN_PROGRESS], 105.0, 105.0)

    assert membership.last_contact_s == 105.0


def test_an_error_of_another_kind_is_no_contact():
    """Such as a coordinator that has moved."""
    membership = member()
    membership.answered([16], 105.0, 105.0)
    membership.answered([NO_ERROR, 16], 105.0, 105.0)

    assert membership.last_contact_s == 100.0


def test_a_lost_membership_is_known_at_once():
    """Whoever has the partitions now exports them; it ends with the next assignment."""
    membership = member()
    thrown_out(membership, 500.0)

    assert not membership.certain(500.0)
    membership.answered([NO_ERROR], 501.0, 501.0)
    assert not membership.certain(501.0)
    membership.joined(502.0)
    assert membership.certain(502.0)


def test_the_newer_of_two_with_one_instance_id_must_go():
    """Replaced while in contact, by whoever was there before."""
    membership = member(took_place=True)
    thrown_out(membership, 100.0 + NEWCOMER_S - 1)

    assert membership.must_go


def test_the_older_of_two_stays_though_it_is_young_itself():
    """The command was given twice within a minute; the first one found nobody."""
    membership = member()
    thrown_out(membership, 103.0)

    assert (membership.replaced, membership.must_go) == (1, False)


def test_one_whose_predecessor_had_ended_is_not_new_for_ever():
    """A restart finds the member that it was itself; an hour later it is the older one."""
    membership = member(took_place=True)
    thrown_out(membership, 100.0 + NEWCOMER_S)

    assert not membership.must_go


def test_two_that_joined_in_the_same_instant_do_not_go_on_for_ever():
    """Both found nobody: the first to be replaced for the last time goes, and the other one is left in peace."""
    membership = member()
    for count in range(TOGETHER_MAX):
        assert not membership.must_go
        thrown_out(membership, 105.0 + count * 5)
        membership.joined(106.0 + count * 5)

    assert membership.must_go


def test_the_older_of_two_stays_however_often_the_other_comes():
    """A supervisor that starts the other one again and again does not end this one."""
    membership = member()
    for at_s in range(200, 2_000, 20):
        thrown_out(membership, float(at_s))
        membership.joined(at_s + 1.0)

        assert not membership.must_go

    assert membership.replaced == 90


def test_one_loss_is_one_loss_however_many_requests_hear_of_it():
    """A heartbeat and a commit on their way at the same time."""
    membership = member()
    thrown_out(membership, 500.0)
    thrown_out(membership, 500.1)

    assert membership.replaced == 1


def test_who_comes_back_after_more_than_a_session_was_not_replaced():
    """A zombie lost its place to nobody in particular: it joins again and need not go."""
    membership = member()
    membership.answered([UNKNOWN_MEMBER], 150.0, 150.0)
    membership.joined(151.0)

    assert (membership.replaced, membership.must_go) == (0, False)


def test_who_comes_back_is_the_newcomer():
    """Somebody was started in its place, and has had the place since."""
    membership = member()
    membership.answered([UNKNOWN_MEMBER], 9_000.0, 9_000.0)
    membership.joined(9_001.0)
    thrown_out(membership, 9_005.0)

    assert membership.must_go


def test_a_member_without_an_instance_id_cannot_be_replaced():
    """The group forgets it for reasons of its own; it joins again."""
    membership = member(static=False)
    thrown_out(membership, 105.0)

    assert (membership.lost, membership.replaced, membership.must_go) == (True, 0, False)


def test_an_answer_before_the_first_assignment_means_nothing():
    """The group cannot forget whom it has not known."""
    membership = Membership(static=True, session_timeout_s=SESSION_S, last_contact_s=0.0)
    membership.answered([UNKNOWN_MEMBER], 1.0, 1.0)

    assert not membership.lost
