"""Stage 1: the outcome of every record, the cap on queues, what is final, and what is published."""

from dataclasses import replace

import pytest

from stream.core import facts
from stream.core import fields as f
from stream.core.calls import CallsStage, SetAside
from stream.core.columns import column
from stream.core.place import shard_of
from stream.core.rules import FoldRules, QueueRule
from stream.core.wire import PUBLICATION_VERSION, Publication, decode_publication, opened
from tests.core.named import RULES, anomalies, cells, folded, named, outcomes, totals
from tests.core.publications import told
from tests.oracle import Rec, log_of


def record(value, *, offset=0, key=b"c", timestamp=None):
    return Rec(offset, timestamp, key, value)


def event(at_ms, *, queue="a", offset=0, **more):
    return record(
        f'{{"type":"queued","call_id":"c","queue":"{queue}","at":{at_ms}}}'.encode(), offset=offset, **more
    )


def published(stage, as_of_ms=None, *, caught_up=False, alone=False):
    """Publish, and read what was published."""
    return [decode_publication(data) for data in stage.publish(as_of_ms, caught_up=caught_up, alone=alone)]


def shown(publication):
    """Show the cells of a publication by queue and bucket."""
    return {
        (queue, bucket): named(counts)
        for queue, cells_of in told(publication).items()
        for bucket, counts in cells_of.items()
    }


# --- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason", "where"),
    [
        (record(None), "tombstone", ""),
        (record(b"{"), "not_json", ""),
        (record(b'{"type":"greeted","call_id":"c","at":1}'), "unknown_type", "type"),
        (record(b'{"type":"queued","call_id":"c","at":1}'), "missing_field", "queue"),
        (event(1, key=None), "no_key", ""),
        (event(1, key=b""), "key_mismatch", "call_id"),
        (event(1, key=b"d"), "key_mismatch", "call_id"),
        (event(1, key=b"\xff"), "key_mismatch", "call_id"),
        (event(5_001, timestamp=0), "future", "at"),
    ],
)
def test_what_is_no_event_is_set_aside_with_its_reason_and_moves_no_clock(bad, reason, where):
    """Counted once, returned as it came, and nothing else changes."""
    stage = CallsStage(0, RULES)

    assert [SetAside(bad, False, reason, where)] == stage.fold([bad])
    assert outcomes(stage) == {reason: 1}
    assert (stage.stream_time_ms, stage.applied_offset, stage.totals()) == (None, 0, {})


def test_an_event_of_a_known_call_with_a_wrong_key_is_rejected_too():
    """The key of one call and the id of another: neither call moves."""
    log = log_of(
        "0 queued a call=x", "0 queued b call=y", "1 answered call=y key=x", "2 abandoned call=z key=y"
    )
    stage = CallsStage(0, RULES)
    aside = stage.fold(log)

    assert [one.reason for one in aside] == ["key_mismatch"] * 2
    assert stage.now() == {"a": (1, 0, 0), "b": (1, 0, 0)}


@pytest.mark.parametrize(
    ("timestamp", "accepted"), [(1_000, True), (999, False), (0, False), (None, True), (-1, True)]
)
def test_an_event_may_be_ahead_of_its_record_by_the_skew_and_no_more(timestamp, accepted):
    """At 6 s with a skew of 5 s; where nobody knows when it was written there is no check."""
    stage = CallsStage(0, RULES)

    assert accepted is not bool(stage.fold([event(6_000, timestamp=timestamp)]))
    assert outcomes(stage) == ({"applied": 1} if accepted else {"future": 1})


@pytest.mark.parametrize(("at_s", "late"), [(40.001, False), (40, False), (39.999, True)])
def test_an_event_is_late_when_it_is_more_than_the_grace_behind(at_s, late):
    """The stream stands at 50, the grace is 10 s."""
    log = log_of("50 hold call=other", f"{at_s} offered a")
    stage = CallsStage(0, RULES)
    aside = stage.fold(log)

    assert ([SetAside(log[1], True, "late", "at")] if late else []) == aside
    assert late is ("a" not in stage.totals())
    assert stage.stream_time_ms == 50_000


def test_a_late_event_for_an_unknown_call_begins_nothing():
    """And the same call on time afterwards begins as if the late one had never been."""
    stage = folded("50 hold call=other", "1 queued a", "50 offered b", "51 queued b")

    assert set(stage.totals()) == {"b"}
    assert outcomes(stage) == {"applied": 3, "late": 1}


def test_a_late_event_is_judged_by_what_had_expired_when_it_came():
    """The visit of 0 expired at 100, before the late answer came: there is nothing to close, and it counts once."""
    stage = folded("0 queued a", "150 hold call=other", "1 answered")

    assert totals(stage, "a", (f.QUEUED, f.EXPIRED_WAITING, f.ANSWERED)) == {
        "QUEUED": 1,
        "EXPIRED_WAITING": 1,
    }
    assert list(cells(stage, (f.EXPIRED_WAITING,))) == [("a", 100)]


def test_records_at_or_below_the_applied_offset_are_skipped():
    """Redelivered ones; gaps in the offsets are no matter."""
    stage = CallsStage(0, RULES)
    stage.fold([event(1, offset=7)])
    stage.fold([event(2, queue="b", offset=6), event(2, queue="b", offset=7), event(3, queue="d", offset=12)])

    assert (12, {"applied": 2}, {"a", "d"}) == (stage.applied_offset, outcomes(stage), set(stage.totals()))


def test_a_new_stage_has_nothing():
    """No time, no offset, no counts; every kind of event and of anomaly stands at 0."""
    stage = CallsStage(3, RULES)
    tally = stage.tally()

    assert (
        stage.stream_time_ms,
        stage.applied_offset,
        stage.cells(),
        stage.totals(),
        stage.histograms(),
        stage.now(),
    ) == (None, -1, {}, {}, {}, {})
    assert {0} == {*tally.events.values(), *tally.anomalous.values(), tally.late, tally.duplicate}
    assert (
        len(tally.events),
        len(tally.anomalous),
        tally.rejected,
        tally.last_event_at_ms,
    ) == (10, 9, {}, None)


def test_the_tally_names_what_became_of_every_record():
    """Each exactly once."""
    stage = folded(
        "0 queued a", "0 queued a", "1 ended", "20 abandoned", "1 hold", "20 queued b key=x", "21 queued b"
    )
    tally = stage.tally()

    assert {kind: n for kind, n in tally.events.items() if n} == {"queued": 2, "ended": 1, "abandoned": 1}
    assert (tally.duplicate, tally.late, tally.rejected) == (1, 1, {"key_mismatch": 1})
    assert anomalies(stage) == {"ended_without_conversation": 1}
    assert tally.last_event_at_ms == 21_000


# --- the cap on queues ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queues_max", "expected"),
    [
        (1, {"a", "__other__"}),
        (2, {"a", "b", "__other__"}),
        (3, {"a", "b", "d"}),
        (4, {"a", "b", "d"}),
    ],
)
def test_queues_beyond_the_limit_count_together(queues_max, expected):
    """Three queues under limits of one less than two, two, three and four; first come, first kept."""
    lines = [
        "0 queued a call=1",
        "1 queued b call=2",
        "2 queued d call=3",
        "3 queued a call=4",
        "4 queued d call=5",
    ]
    stage = folded(*lines, rules=replace(RULES, queues_max=queues_max))

    assert expected == set(stage.totals())
    assert sum(counts[f.QUEUED] for counts in stage.totals().values()) == 5


def test_queues_of_our_own_and_configured_ones_are_always_admitted():
    """Unrouted and other take no place; a configured queue has its own numbers, however many came before."""
    rules = replace(RULES, queues_max=1, queues={"sales": QueueRule(5_000)})
    lines = (
        "0 offered call=1",
        "0 queued a call=2",
        "1 queued b call=3",
        "2 queued sales call=4",
        "3 queued b call=5",
    )
    stage = folded(*lines, rules=rules)

    assert {"unrouted", "a", "__other__", "sales"} == set(stage.totals())
    assert totals(stage, "__other__")["QUEUED"] == 2


def test_a_queue_named_like_the_queue_of_all_others_is_that_queue():
    """Also before the limit is reached."""
    stage = folded("0 queued __other__", "1 answered __other__", rules=replace(RULES, queues_max=1))

    assert totals(stage, "__other__", (f.QUEUED, f.ANSWERED)) == {"QUEUED": 1, "ANSWERED": 1}
    assert anomalies(stage) == {}


def test_a_contact_beyond_the_limit_is_followed_by_its_own_queue():
    """Two queues count as one, and yet going from one to the other is an overflow, and a second entry a duplicate."""
    lines = ("0 queued a call=1", "1 queued y", "2 queued z", "3 queued z", "4 answered z", "5 ended")
    stage = folded(*lines, rules=replace(RULES, queues_max=1))

    assert totals(stage, "__other__", (f.QUEUED, f.ANSWERED, f.LEFT_OVERFLOW)) == {
        "QUEUED": 2,
        "ANSWERED": 1,
        "LEFT_OVERFLOW": 1,
    }
    assert (anomalies(stage), stage.tally().duplicate) == ({}, 1)


# --- now --------------------------------------------------------------------------------------------------------------


def test_the_oldest_waiting_is_the_earliest_queued_whenever_it_arrived():
    """Two in order, then one that was queued before them, which then is answered."""
    lines = ("3 queued a call=x", "9 queued a call=y", "1 queued a call=z", "10 answered call=z")

    assert [folded(*lines[:length]).now()["a"][::2] for length in (1, 2, 3, 4)] == [
        (1, 3_000),
        (2, 3_000),
        (3, 1_000),
        (2, 3_000),
    ]
    assert folded("3 queued a", "4 abandoned").now()["a"] == (0, 0, None)


def test_waiting_and_in_progress_follow_the_calls():
    """Two wait, one of them is answered, and its conversation ends."""
    lines = ("0 queued a call=x", "1 queued a call=y", "2 answered call=x", "3 ended call=x")

    assert [folded(*lines[:length]).now()["a"] for length in (1, 2, 3, 4)] == [
        (1, 0, 0),
        (2, 0, 0),
        (1, 1, 1_000),
        (1, 0, 1_000),
    ]


@pytest.mark.parametrize(
    ("wait_s", "place"), [(0, 0), (4.999, 0), (5, 0), (5.001, 1), (12, 1), (12.001, 2), (90, 2)]
)
def test_the_bounds_of_a_histogram_are_inclusive(wait_s, place):
    """As Prometheus reads `le`; the last place is for what is beyond all bounds."""
    rules = replace(RULES, histogram_bounds_ms=(5_000, 12_000))
    expected = [int(number == place) for number in range(3)]

    assert (
        expected == folded("0 queued a", f"{wait_s} answered", rules=rules).histograms()["a"]["answer_wait"]
    )
    assert (
        expected == folded("0 queued a", f"{wait_s} abandoned", rules=rules).histograms()["a"]["abandon_wait"]
    )
    whole = folded(
        "0 queued a",
        "0.001 answered",
        f"{wait_s + 0.001} ended",
        f"{wait_s + 0.002} wrap_up took=0",
        rules=rules,
    ).histograms()["a"]
    assert (expected, [1, 0, 0], expected) == (whole["talk"], whole["wrap_up"], whole["handle"])


# --- what is final ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_s", "final_s"), [(0, 0), (9.999, 0), (14.999, 0), (15, 5), (19.999, 5), (20, 10), (100, 90)]
)
def test_what_lies_one_grace_back_is_final_in_whole_buckets(at_s, final_s):
    """The bucket [0, 5) is final when nothing of it can be on time any more: at 15.

    0        5        10       15
    |--------|--------|--------|
    |<------ grace 10 s -------|
    """
    assert 1_000 * final_s == folded(f"{at_s} hold").final_before_ms()


def test_nothing_is_final_before_the_first_event_and_by_arrival():
    """By arrival an answer changes the interval of its visit however long ago that was."""
    assert CallsStage(0, RULES).final_before_ms() == 0
    assert folded("500 hold", rules=replace(RULES, by_arrival=True)).final_before_ms() == 0


@pytest.mark.parametrize(
    ("lines", "final_s"),
    [
        (("31 offered a", "42 hold call=t"), 30),
        (("31 offered a", "46 hold call=t"), 30),
        (("31 offered a", "51.001 hold call=t"), 30),
        (("31 offered a", "56 hold call=t"), 35),
        (("31 offered a", "90 hold call=t"), 70),
        (("31 offered a", "36 ended", "46 hold call=t"), 30),
        (("31 offered a", "36 ended", "90 hold call=t"), 80),
        (("31 offered a", "39 answered", "46 hold call=t"), 30),
        (("31 offered a", "39 answered", "90 hold call=t"), 80),
    ],
)
def test_an_open_offer_keeps_its_buckets_changeable_for_one_grace_more(lines, final_s):
    """Two graces back at most, and until what used it up is final.

    30  offer at 31            an answer up to now may reach back one grace before itself
    |---|----------|----------|
    """
    assert folded(*lines).final_before_ms() == 1_000 * final_s


def test_of_two_offers_of_one_bucket_each_holds_it_by_itself():
    """One of the calls is folded again, out of order: the other's offer is still counted on, and so is its own.

    30   offers of c and d at 31        41      46
    |---------|---------------------------------|
    """
    log = ("31 offered a", "31 offered a call=d", "33 hold call=t", "32 hold", "30.5 hold")
    assert [
        folded(*log, *more).final_before_ms()
        for more in (
            ("46 hold call=t",),
            ("36 ended", "37 ended call=d", "57 hold call=t"),
            ("32 ended", "46 hold call=t"),
            ("90 hold call=t",),
        )
    ] == [30_000, 45_000, 30_000, 70_000]


def test_a_call_that_waits_for_hours_is_found_when_its_age_comes():
    """Four hours, while the calls are gone through again and again, and no event of its own."""
    rules = replace(FoldRules(shards=1), call_age_max_ms=14_400_000)
    lines = ("0 queued a", *(f"{second} hold call=t" for second in range(60, 14_460, 60)))

    assert folded(*lines, rules=rules).now()["a"] == (1, 0, 0)
    over = folded(*lines, "14400.001 hold call=t", rules=rules)
    assert list(cells(over, (f.EXPIRED_WAITING,))) == [("a", 14_400)]
    assert over.now()["a"] == (0, 0, None)


# --- publishing -------------------------------------------------------------------------------------------------------


def test_a_publication_says_where_the_partition_stands():
    """Also when nothing changed: it is a heartbeat and a watermark."""
    stage = CallsStage(7, RULES)
    first = published(stage)[0]
    assert first == Publication(PUBLICATION_VERSION, 7, -1, None, 0, None, False)
    assert first.queues == []

    stage.fold(log_of("0 queued a", "31 answered"))
    second = published(stage, 44_000, caught_up=True)[0]
    assert (
        second.applied_offset,
        second.stream_time_ms,
        second.final_before_ms,
        second.as_of_ms,
        second.caught_up,
    ) == (1, 31_000, 20_000, 44_000, True)


def test_what_has_not_changed_is_not_published_again():
    """Only counts that have changed since, and only queues with one; their totals are whole."""
    stage = folded("0 queued a call=x", "1 queued b call=y", "65 queued a call=z")
    assert {("a", 0), ("a", 4), ("a", 13), ("a", 17), ("b", 0), ("b", 4)} == set(shown(published(stage)[0]))
    assert published(stage)[0].queues == []

    stage.fold([*log_of(*["9 hold"] * 3, "66 answered call=z")])
    publication = published(stage)[0]
    assert publication.queues == ["a"]
    assert set(shown(publication)) == {("a", 13), ("a", 17)}, "what would have failed at 85 s is taken back"
    totals_of = opened(publication).totals
    assert totals_of.at(column((f.QUEUED, facts.ANSWERED_IN_TIME))).tolist() == [2, 1]


def test_a_stage_that_follows_nobody_says_everything_anew_when_nobody_else_can_speak():
    """Somebody may have spoken unheard when it began; until then only what has changed is said."""
    stage, moments = folded("0 queued a call=x"), ((False, True), (True, False), (True, True), (True, True))
    heard = [published(stage, caught_up=at_end, alone=alone)[0] for at_end, alone in moments]

    assert [one.anew_from for one in heard] == [None, None, 0, None]
    assert [one.queues for one in heard] == [["a"], [], ["a"], []]
    assert shown(heard[2]) == shown(heard[0]) != {}


def test_a_restored_stage_says_everything_anew_until_it_is_at_the_end_of_the_log():
    """The one before may have said more than is known from its checkpoint; any of these may be the first to hold."""
    stage = CallsStage.load(folded("0 queued a call=x", "1 queued b call=y").dump(), 0, RULES)
    told = [published(stage, caught_up=at_end)[0] for at_end in (False, False, True, False, True)]

    assert [one.anew_from for one in told] == [0, 0, 0, None, None]
    assert [one.queues for one in told] == [["a", "b"]] * 3 + [[], []]
    assert shown(told[0]) == shown(told[1]) == shown(told[2]) != {}


def test_a_count_that_was_taken_back_is_published_as_0():
    """A correction takes it back, the only one of its queue: the reader must hear that.

    queued at 2 (unknown: answered in b at 3); then it turns out that it was blocked ... in the bucket of 0
    """
    stage = folded("6 hold", "7 offered a id=x")
    published(stage)
    stage.fold(log_of(*["7 hold"] * 2, "5 offered b id=x"))

    publication = published(stage)[0]
    assert shown(publication) == {("b", 1): {"OFFERED": 1}, ("a", 1): {"OFFERED": 0}}


def test_each_queue_is_published_in_its_shard():
    """One publication a shard, in their order."""
    names = ("sales", "support", "unrouted", "a", "b")
    lines = [f"0 queued {name} call={name}" for name in names]
    publications = published(folded(*lines, rules=replace(RULES, shards=3)))

    assert [sorted(name for name in names if shard_of(name, 3) == shard) for shard in range(3)] == [
        sorted(publication.queues) for publication in publications
    ]


def test_a_publication_says_when_a_queue_was_first_heard_of_and_who_waits():
    """The first event by arrival, and the oldest waiting."""
    stage = folded("7 offered a call=x", "8 queued a call=y", "9 queued a call=z")
    publication = published(stage)[0]

    assert (publication.first_at_ms, publication.oldest_waiting_at_ms) == ([7_000], [8_000])


def test_publishing_lets_go_of_final_cells_and_keeps_the_totals():
    """What is sent and final is the reader's from then on."""
    stage = folded("50 queued a", "51 abandoned", "65 queued a", "66 abandoned", "110 queued a")
    assert {50, 65, 110, 130} == {second for _, second in cells(stage)}
    published(stage)

    assert {110, 130} == {second for _, second in cells(stage)}
    assert totals(stage, "a", (f.QUEUED, f.ABANDONED)) == {"QUEUED": 3, "ABANDONED": 2}


def test_what_expires_is_published_without_a_record_of_its_call():
    """Another call moved the time."""
    stage = folded("0 queued a")
    published(stage)
    stage.fold(log_of("0 hold", "101 hold call=other"))
    publication = published(stage)[0]

    assert opened(publication).totals.at(column((f.EXPIRED_WAITING,))).tolist() == [1]
    assert (publication.queues, publication.oldest_waiting_at_ms) == (["a"], [None])


def test_a_stage_with_the_contracts_rules_counts_the_same():
    """Grace 5 min, age 4 h: an event 299 s behind is in time, one of 301 s is late."""
    stage = folded("1000 hold", "701 queued a call=x", "699 queued a call=y", rules=FoldRules())

    assert outcomes(stage) == {"applied": 2, "late": 1}
