"""The state of stage 1 as bytes: saved in mid-life, and taken up under another configuration."""

from dataclasses import replace

import pytest

from schemas import Rejected, RejectReason
from stream.core import fields as f
from stream.core.calls import MAGIC, CallsStage
from stream.core.calls_state import StageState
from stream.core.checkpoint import CheckpointError, seal, unseal
from stream.core.rules import Formula, QueueRule
from stream.core.wire import decode_publication
from tests.core.named import RULES, anomalies, cells, folded, totals
from tests.core.publications import told
from tests.oracle import log_of

LIFE = (
    "0 offered a",
    "1 queued a id=x",
    "2 queued b",
    "3 answered agent=ann",
    "4 hold",
    "5 queued c",
    "6 resumed",
    "7 answered agent=bob",
    "8 ended",
    "9 wrap_up agent=ann took=1000",
    "10 wrap_up agent=bob took=500",
    "11 queued a id=x",
)
WAITING_AND_MORE = (
    "0 queued a",
    "1 queued b call=d",
    "2 answered call=d",
    "3 queued c call=d",
    "4 offered call=e",
)


def reloaded(stage, rules=RULES):
    return CallsStage.load(stage.dump(), 0, rules)


def more(stage, *lines):
    """Fold further lines behind what a stage has."""
    records = log_of(*lines)
    stage.fold(
        [record._replace(offset=stage.applied_offset + 1 + place) for place, record in enumerate(records)]
    )
    return stage


@pytest.mark.parametrize("place", range(len(LIFE) + 1))
def test_a_stage_saved_in_mid_life_goes_on_as_if_nothing_had_been(place):
    """Dumped and loaded after each event of a call: the rest of its life comes to the same state, byte for byte."""
    log = log_of(*LIFE)
    stage = CallsStage(0, RULES)
    stage.fold(log[:place])
    loaded = reloaded(stage)
    loaded.fold(log)

    assert folded(*LIFE).dump() == loaded.dump()
    assert folded(*LIFE).now() == loaded.now()


def test_everything_that_a_stage_shows_is_in_its_checkpoint():
    """Cells, totals, histograms, what is going on, outcomes, time and offset."""
    stage = folded(*WAITING_AND_MORE, "5 queued z key=q", "30 hold call=t", "6 abandoned", "5 hold call=q")
    loaded = reloaded(stage)

    assert (
        stage.cells(),
        stage.totals(),
        stage.histograms(),
        stage.now(),
        stage.tally(),
        stage.applied_offset,
        stage.stream_time_ms,
        stage.final_before_ms(),
    ) == (
        loaded.cells(),
        loaded.totals(),
        loaded.histograms(),
        loaded.now(),
        loaded.tally(),
        loaded.applied_offset,
        loaded.stream_time_ms,
        loaded.final_before_ms(),
    )


def test_a_stage_without_events_is_saved_and_loaded():
    """Before the first record there is no time."""
    loaded = reloaded(CallsStage(0, RULES))

    assert (loaded.stream_time_ms, loaded.applied_offset, loaded.totals()) == (None, -1, {})


def test_what_a_late_event_closed_is_closed_after_a_restart():
    """The closing is part of the call's saved story, at the stream time at which it happened."""
    stage = folded("0 queued a", "1 answered call=d", "20 hold call=t", "2 abandoned", "3 ended call=d")
    loaded = reloaded(stage)
    assert stage.dump() == loaded.dump()

    for one in (stage, loaded):
        more(one, "21 hold")
        assert ("a", 20) in cells(one, (f.EXPIRED_WAITING,))
    assert stage.dump() == loaded.dump()


def test_everything_is_said_once_more_after_a_restart():
    """What was sent last may have been lost: all cells that can change, and the totals of every queue with one."""
    stage = folded("0 queued a", "1 answered")
    stage.publish(None, caught_up=False)
    assert not decode_publication(stage.publish(None, caught_up=False)[0]).queues

    publication = decode_publication(reloaded(stage).publish(None, caught_up=False)[0])
    assert {bucket * 5 for bucket in told(publication)["a"]} == {second for _, second in cells(stage)}


# --- another configuration --------------------------------------------------------------------------------------------

SHORTER = replace(RULES, default=QueueRule(5_000))


@pytest.mark.parametrize("events", [("12 answered",), ("12 abandoned",), ("9 hold call=t", "12 answered")])
def test_a_visit_keeps_the_target_that_it_met_when_it_was_queued(events):
    """Queued under 20 s, answered after 12 s under 5 s: within target; the next one, after 6 s, is not.

    target 20 s            | restart | target 5 s
    0 queued                 10        12 answered     13 queued    19 answered
    """
    stage = reloaded(more(reloaded(folded("0 queued a"), SHORTER), "4 hold call=t"), SHORTER)
    more(stage, *events)
    assert sum(totals(stage, "a", (f.ANSWERED_WITHIN_TARGET, f.ABANDONED_WITHIN_TARGET)).values()) == 1

    before = totals(stage, "a").get("SERVICE_LEVEL_BASE", 0)
    more(stage, "13 ended", "14 queued a", "20 answered")
    assert sum(totals(stage, "a", (f.ANSWERED_WITHIN_TARGET, f.ABANDONED_WITHIN_TARGET)).values()) == 1
    assert before + 1 == totals(stage, "a")["SERVICE_LEVEL_BASE"]


def test_a_visit_that_waits_over_a_restart_fails_at_its_old_deadline():
    """Queued at 0 with 20 s: its failure stays in the bucket of 20, and a new one's is in that of 15 + 5.

    0                    20
    |--- old target -----| fails
               15 -- 5 --| fails
    """
    stage = more(reloaded(folded("0 queued a"), SHORTER), "16 queued a call=d", "40 hold call=t")

    assert cells(stage, (f.SERVICE_LEVEL_BASE,)) == {("a", 20): {"SERVICE_LEVEL_BASE": 2}}


def test_an_event_out_of_order_after_a_restart_folds_the_call_by_its_old_rules():
    """What was counted under the old target is taken back under the old target."""
    stage = more(reloaded(folded("1 queued a", "12 answered"), SHORTER), "11 hold", "12 ended")

    assert totals(stage, "a", (f.QUEUED, f.ANSWERED, f.ANSWERED_WITHIN_TARGET, f.OVERDUE)) == {
        "QUEUED": 1,
        "ANSWERED": 1,
        "ANSWERED_WITHIN_TARGET": 1,
    }
    assert anomalies(stage) == {"hold_without_conversation": 1}


@pytest.mark.parametrize(
    ("old", "new", "met"),
    [
        (Formula.ABANDONED_NEGATIVE, Formula.ABANDONED_POSITIVE, {"SERVICE_LEVEL_BASE": 1}),
        (
            Formula.ABANDONED_POSITIVE,
            Formula.ABANDONED_IGNORED,
            {"SERVICE_LEVEL_MET": 1, "SERVICE_LEVEL_BASE": 1},
        ),
        (Formula.ABANDONED_IGNORED, Formula.ABANDONED_POSITIVE, {}),
        (Formula.ANSWERED_ONLY, Formula.ABANDONED_POSITIVE, {}),
    ],
)
def test_a_visit_keeps_the_formula_that_it_met_when_it_was_queued(old, new, met):
    """Abandoned within target after the formula changed; a second visit counts by the new one."""
    before = replace(RULES, default=QueueRule(20_000, 0, old))
    after = replace(RULES, default=QueueRule(20_000, 0, new))
    stage = more(reloaded(folded("0 queued a", rules=before), after), "12 abandoned")
    level = (f.SERVICE_LEVEL_MET, f.SERVICE_LEVEL_BASE)
    assert met == totals(stage, "a", level)

    fresh = totals(folded("0 queued a", "12 abandoned", rules=after), "a", level)
    more(stage, "13 queued a call=d", "14 abandoned call=d")
    assert {name: met.get(name, 0) + fresh.get(name, 0) for name in {*met, *fresh}} == totals(
        stage, "a", level
    )


def test_a_short_abandon_is_short_by_the_old_bound():
    """Queued when 5 s were short, abandoned after 3 s when nothing is."""
    before = replace(RULES, default=QueueRule(20_000, 5_000))
    stage = more(
        reloaded(folded("0 queued a", rules=before)), "3 abandoned", "4 queued a call=d", "5 abandoned call=d"
    )

    assert (totals(stage, "a")["ABANDONED"], totals(stage, "a")["ABANDONED_SHORT"]) == (2, 1)


def test_rules_go_back_to_one_when_the_configuration_does():
    """Back under the old target nothing is pinned any more, and the bytes are those of before."""
    stage = folded("0 queued a", "1 queued b call=d")

    assert stage.dump() == reloaded(reloaded(stage, SHORTER)).dump()


def test_calls_of_different_ages_each_keep_their_own():
    """One began when a call could last a minute, the other when two: saved together, each ends at its own age."""
    minute = replace(RULES, call_age_max_ms=60_000)
    stage = more(
        reloaded(folded("0 queued a", rules=minute), replace(RULES, call_age_max_ms=120_000)),
        "1 queued b call=d",
    )
    loaded = more(reloaded(stage, stage.rules), "119 queued c call=e")

    assert totals(loaded, "a")["EXPIRED_WAITING"] == 1
    assert "EXPIRED_WAITING" not in totals(loaded, "b")
    assert loaded.dump() == more(stage, "119 queued c call=e").dump()


def test_a_queue_keeps_its_numbers_under_a_lower_limit():
    """What has a ledger keeps it; what comes new counts with the others."""
    stage = folded("0 queued a call=1", "1 queued b call=2")
    loaded = more(reloaded(stage, replace(RULES, queues_max=1)), "2 queued b call=3", "3 queued d call=4")

    assert (totals(loaded, "b")["QUEUED"], totals(loaded, "__other__")["QUEUED"]) == (2, 1)


@pytest.mark.parametrize(
    ("bounds_ms", "expected"),
    [
        ((5_000, 12_000), [1, 2, 4]),
        ((5_000, 9_000, 12_000), [1, 0, 2, 4]),
        ((12_000,), [3, 4]),
        ((6_000, 11_000), [1, 0, 6]),
        ((3_000, 5_000, 12_000, 60_000), [0, 1, 2, 0, 4]),
        ((), [7]),
    ],
)
def test_a_histogram_under_other_bounds_never_makes_a_wait_shorter(bounds_ms, expected):
    """One wait up to 5 s, two up to 12 s, four beyond; each goes to the first new bound that surely holds it."""
    rules = replace(RULES, histogram_bounds_ms=(5_000, 12_000))
    waits = (3, 6, 8, 13, 14, 15, 16)
    lines = [f"0 queued a call={wait}" for wait in waits] + [f"{wait} answered call={wait}" for wait in waits]
    stage = folded(*lines, rules=rules)
    loaded = reloaded(stage, replace(rules, histogram_bounds_ms=bounds_ms))

    assert expected == loaded.histograms()["a"]["answer_wait"]
    assert stage.totals() == loaded.totals()


def test_a_histogram_under_other_bounds_goes_on_counting_by_these():
    """A wait of 8 s after the change lies below the new bound of 9 s."""
    rules = replace(RULES, histogram_bounds_ms=(5_000, 9_000, 12_000))
    stage = folded("0 queued a", rules=replace(RULES, histogram_bounds_ms=(5_000, 12_000)))

    assert more(reloaded(stage, rules), "8 answered").histograms()["a"]["answer_wait"] == [0, 1, 0, 0]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_the_checkpoint_of_another_partition_is_refused():
    """Its calls would be counted twice."""
    with pytest.raises(CheckpointError, match="of partition 0, not of 1"):
        CallsStage.load(folded("0 queued a").dump(), 1, RULES)


def test_a_checkpoint_with_other_buckets_is_refused():
    """Its cells cannot be cut anew."""
    with pytest.raises(CheckpointError, match="buckets of 5000 ms, not 10000"):
        CallsStage.load(folded("0 queued a").dump(), 0, replace(RULES, bucket_ms=10_000))


def test_a_record_that_the_decoder_accepts_no_more_is_refused_by_name(monkeypatch):
    """A stricter decoder than the one that took the record: better to stop than to miscount."""
    data = folded("0 queued a").dump()
    rejected = Rejected(RejectReason.MISSING_FIELD, "queue")
    monkeypatch.setattr("stream.core.calls.decode", lambda _raw: rejected)

    with pytest.raises(CheckpointError, match="a record that was accepted is rejected now: missing_field"):
        CallsStage.load(data, 0, RULES)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:5], lambda data: data[:-1] + b"\x00"]
)
def test_a_damaged_checkpoint_is_refused(damage):
    """Torn or flipped, whatever is in it; test_checkpoint.py does every byte."""
    data = folded(*LIFE).dump()
    with pytest.raises(CheckpointError):
        CallsStage.load(damage(data), 0, RULES)


def test_a_checkpoint_of_the_board_is_no_checkpoint_of_a_stage():
    """Told by the magic."""
    data = seal(b"cgS2", 0, unseal(MAGIC, folded("0 queued a").dump(), StageState))
    with pytest.raises(CheckpointError, match="belongs to something else"):
        CallsStage.load(data, 0, RULES)
