"""Late, unordered and doubled events."""

from collections import Counter

import pytest

from schemas import Offered, encode
from stream.simulate import Disorder, Emission, default_centre, simulate
from stream.simulate.disorder import disordered

SEED = 3
DELAY_MS_MAX = 30_000


def feed(**how):
    return list(
        simulate(default_centre(), seed=SEED, start_ms=36_000_000, calls=2_000, disorder=Disorder(**how))
    )


def test_every_event_is_sent_within_the_bound():
    """Never before it happened, never later than the bound, and the whole width is used."""
    delays = [emission.emit_at_ms - emission.event.at for emission in feed(delay_ms_max=DELAY_MS_MAX)]

    assert 0 <= min(delays) < 100
    assert DELAY_MS_MAX - 100 < max(delays) <= DELAY_MS_MAX


def test_emissions_are_in_order_of_sending_although_events_are_not():
    """The order of arrival differs from the order of event time, and time of sending never goes back."""
    emissions = feed(delay_ms_max=DELAY_MS_MAX)
    sent = [emission.emit_at_ms for emission in emissions]
    happened = [emission.event.at for emission in emissions]

    assert sent == sorted(sent)
    assert happened != sorted(happened)


def test_a_duplicate_is_the_same_event_with_the_same_id():
    """Two equal records with one event id and one call id; no other event has that id."""
    emissions = feed(delay_ms_max=DELAY_MS_MAX, duplicate_probability=0.1)
    copies = Counter((event.event_id, encode(event)) for _, event in emissions)
    ids = Counter(event_id for event_id, _ in copies)

    assert set(copies.values()) == {1, 2}
    assert set(ids.values()) == {1}
    doubled = sum(count == 2 for count in copies.values()) / len(copies)
    assert abs(doubled - 0.1) < 4 * (0.1 * 0.9 / len(copies)) ** 0.5


def test_no_disorder_at_all_changes_nothing():
    """Zero delay and no duplicates give the plain feed back."""
    plain = list(simulate(default_centre(), seed=SEED, start_ms=36_000_000, calls=2_000))

    assert feed() == plain


def test_marking_events_leaves_the_given_ones_alone():
    """Event ids are set on copies."""
    given = Offered(call_id="a", at=5)
    sent = list(disordered([Emission(5, given)], Disorder(duplicate_probability=1.0), SEED))

    assert [emission.event.event_id for emission in sent] == ["0", "0"]
    assert given.event_id is None


@pytest.mark.parametrize("how", [{"delay_ms_max": -1}, {"duplicate_probability": 1.1}])
def test_impossible_disorder_is_refused(how):
    """A negative delay and a probability above one are mistakes."""
    with pytest.raises(ValueError, match=next(iter(how))):
        Disorder(**how)
