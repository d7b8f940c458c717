"""What earlier releases wrote is read: publications, and states of both stages."""

import base64
from dataclasses import replace

import msgspec
import pytest

from stream.core import fields as f
from stream.core.board import BoardShard
from stream.core.calls import CallsStage
from stream.core.checkpoint import FORMAT_VERSION, Header, header
from stream.core.fields import LAYOUT_VERSION
from tests.core.named import RULES, folded
from tests.core.publications import NOON_MS, Reader, board_rules, said, update
from tests.core.test_board import HOUR_MS, queued
from tests.core.test_calls_state import more
from tests.core.test_checkpoint import BOARD_1, LINES, STAGE_1
from tests.oracle import Rec

# Written by the program as of commit 372a0c6, from LINES and what was published of them at 13 s.
STAGE_2 = base64.b85decode(
    "V`oz_0s<xr%+3G+0000000$_wFa2Qg0woRr1{hgDAa9!vfMfyzgE13=b`(!R5Z5{e*Y<ZGi7;(Pi2-U%|8I`wG4B5FyC5)vRI%*7"
    "n#c2o`*RRTG0uBN0xd~0O8`g!L;xI5y-H-Z(4-zt{n%h8t(;k9Mxx-?(Q*r29!)K>0O0QAVsQ6VNZg59oVyR^+);SZD^7I0`gOEP"
    ")fG#ZWVDEqj6Olo6ANG$0i1-z7#Cm=sWQfxzyZe?lo!1&z;}tSf|i8u0yXeeaBeUlAW{S01y1Ur9v&R{Do8sc7R*p_Cal@+jaQS{"
    "aPBIWzMx61D{M#b1+m5&pEcI_T6O~+stcUJXljmAA0Ta9<CII%&mCB9*<}n$`hc@cw<}?=R;$tv$zVd@j=_wA8REI!2D8!w0Uv$^"
    "jU_`wHX)c1YQY2vgJ8Zyd5BM@Aw_@>KZnuOnJv3$LR-*1yzR5MJqZhYX**O)u#aFzQ*+o;_8ayZ_7r=`{`LVVAix3%#_Bdm`_d*R"
    ">;@!*Z4fwvjr#ne0X#J@J%fRg8MubGw_G?DHEIDFZXC037u}??ri7R&#AEHZf~kx*LCnLjhB?3`z*mqrA1p8h0J?R+TQgjd8`m@n"
)
BOARD_2 = base64.b85decode(
    "V`oz`0s=sM;yC~S0000000$_wFa2Qh0M!NnVhbrPa7{A?e0wT+O5oxFU7&Fo2%tPI%j}#t8>$2*hl8PHIC1;xMooTg3kPa4r41BK"
    "=OxK2k``1iEC(e?>8r@x`!f16_XKzNhQ8m3qlr0$A8flCuIg)StQ#Ba2wh-=iTQz>%-z6DBk+JHZp|)6BT1<)40<aHcd*ZT0y--k"
    "0G*CV>$FJRxe?(`iIQU>UzoV#a1VwHJg1g}6oXDJcl`(y06YOOkAWQ%q=vy4kONFUTVuOG!i76X2T(LO*Hdr65NpT|;4t7AYy@x|"
    "oOy+^X$A"
)
PUBLICATION_2 = base64.b85decode(
    "m;wL?%`V^o%`(Wtl9r)i0L?Doi~s=v0s;X80Tclh0v7=o%?HpM0UXU2a3KK}0hOHr000000000000000od5s;0000000000005l;"
    "0RR910000000000od5s;0000000000005l;000000000000000k&*z9009930s#X76af_h7XcW}2hdvqT+J77VFAp60nGuG0nGuH"
    "0V2%@(3YWM%?HrHhXDZs0RsUP0Tlrk0T|5((3PD5000000000000000od5s;0000000000005l;000000000000000od5s;00000"
    "00000005l;000000000000000k&*z20RaL50|68P6#*9k7|jRJBFzWT"
)
A_MINUTE = 12  # cells
CELL = 64  # places


def cells_said(name, cells):
    """Say single cells, {moment: counts}, as publications of version 1 did."""
    return (name, NOON_MS, None, {}, [], [(at_ms // 5_000, counts) for at_ms, counts in cells.items()])


def minutes_said(name, minutes):
    """Say whole minutes, {moment: {cell: counts}}, as publications of version 2 did."""
    told = [
        (
            at_ms // 60_000,
            {cell * CELL + field: n for cell, counts in cells.items() for field, n in counts.items()},
        )
        for at_ms, cells in minutes.items()
    ]
    return (name, NOON_MS, None, {}, [], told)


def said_before(*queues, version, offset=0, as_of_ms=NOON_MS, final_ms=0):
    """Encode a publication of an earlier release."""
    return msgspec.msgpack.encode((version, 0, offset, NOON_MS, final_ms, as_of_ms, True, queues))


def shown(reader):
    """Show the counts of the interval, as of a minute after noon."""
    reader.hear(said(offset=99, as_of_ms=NOON_MS + 60_000))
    return reader.view("a").windows["interval"].counts


def test_publications_of_single_cells_are_understood():
    """Each cell by itself replaces what was said of it, and leaves the rest of its minute."""
    reader = Reader().hear(
        said_before(cells_said("a", {NOON_MS: queued(1), NOON_MS + 5_000: queued(10)}), version=1),
        said_before(
            cells_said("a", {NOON_MS + 5_000: queued(20) | {f.LONGEST_WAIT_MS: 0}}), version=1, offset=1
        ),
        said_before(cells_said("a", {NOON_MS + 5_000: queued(30)}), version=1, offset=2),
        said_before(cells_said("a", {NOON_MS + 60_000: queued(100)}), version=1, offset=3),
    )

    assert shown(reader) == queued(131)


def test_publications_of_whole_minutes_are_understood():
    """A minute replaces what was said of it, all cells of it; other minutes and other queues stay."""
    reader = Reader().hear(
        said_before(
            minutes_said("b", {NOON_MS: {0: queued(7)}}),
            minutes_said("a", {NOON_MS: {0: queued(1), 1: queued(10)}, NOON_MS + 60_000: {0: queued(100)}}),
            version=2,
        ),
        said_before(
            minutes_said("a", {NOON_MS: {1: queued(20) | {f.LONGEST_WAIT_MS: 9}}}), version=2, offset=1
        ),
    )

    assert shown(reader) == queued(120) | {f.LONGEST_WAIT_MS: 9}
    assert reader.view("b").windows["interval"].counts == queued(7)


def test_an_upgraded_worker_goes_on_where_the_one_before_stopped():
    """It says everything that can still change once more, in today's form."""
    reader = Reader().hear(
        said_before(minutes_said("a", {NOON_MS: {0: queued(1), 1: queued(10)}}), version=2)
    )
    reader.hear(said(update("a", {NOON_MS: queued(1), NOON_MS + 5_000: queued(30)}), offset=1))

    assert shown(reader) == queued(31)


def test_what_was_final_in_a_minute_stays_as_it_was_said():
    """Cells that are final are left out of a minute that is said again, which does not take them back."""
    final_ms = NOON_MS + 10_000
    minute = {0: queued(1), 1: queued(10), 2: queued(100)}
    reader = Reader().hear(said_before(minutes_said("a", {NOON_MS: minute}), version=2, final_ms=final_ms))
    reader.hear(
        said_before(minutes_said("a", {NOON_MS: {2: queued(300)}}), version=2, offset=1, final_ms=final_ms)
    )

    assert shown(reader) == queued(311)


def test_a_publication_that_earlier_releases_would_not_have_written_is_counted_as_unreadable():
    """It has a version of theirs, and nothing else of it fits."""
    reader = Reader().hear(msgspec.msgpack.encode((2, 0, "offset")), msgspec.msgpack.encode((1,)))

    assert reader.board.unreadable == 2


@pytest.mark.parametrize("data", [STAGE_1, STAGE_2])
def test_a_stage_of_an_earlier_release_goes_on_and_is_saved_anew(data):
    """Upgraded: it knows what it knew, counts on, and its next checkpoint is of the present format."""
    stage, expected = CallsStage.load(data, 0, RULES), folded(*LINES)
    for lines in ((), ("14 answered call=e", "15 ended call=e", "2.5 answered b call=d agent=bo")):
        more(stage, *lines)
        more(expected, *lines)
        assert (stage.applied_offset, stage.totals(), stage.cells(), stage.now(), stage.tally()) == (
            expected.applied_offset,
            expected.totals(),
            expected.cells(),
            expected.now(),
            expected.tally(),
        )
        assert stage.histograms() == expected.histograms()
    assert header(b"cgS1", stage.dump()) == Header(FORMAT_VERSION, LAYOUT_VERSION, stage.applied_offset)
    assert CallsStage.load(stage.dump(), 0, RULES).dump() == stage.dump()


@pytest.mark.parametrize("data", [BOARD_1, BOARD_2])
def test_a_board_of_an_earlier_release_goes_on_and_is_saved_anew(data):
    """Upgraded: it is the board that the same publication makes today, now and after the next ones."""
    rules = board_rules(fold=RULES)
    board, expected = BoardShard.load(data, 0, rules), BoardShard(0, rules)
    stage = folded(*LINES)
    expected.fold([Rec(7, None, b"0", stage.publish(13_000, caught_up=True)[0])])
    assert (board.applied_offset, board.clock_ms()) == (7, 13_000)
    assert by_name(board, 13_000) == by_name(expected, 13_000)

    more(stage, "14 answered call=e", "2.5 answered b call=d agent=bo", "1900 hold call=t")
    record = Rec(8, None, b"0", stage.publish(1_900_000, caught_up=True)[0])
    for one in (board, expected):
        one.fold([record])
    assert by_name(board, 1_900_000) == by_name(expected, 1_900_000)
    assert sorted(board.take_closed()) == sorted(expected.take_closed()) != []
    assert header(b"cgS2", board.dump()) == Header(FORMAT_VERSION, LAYOUT_VERSION, 8)
    assert by_name(BoardShard.load(board.dump(), 0, rules), 1_900_000) == by_name(expected, 1_900_000)


def by_name(board, clock_ms):
    return {view.queue: view for view in board.views(clock_ms)}


def test_a_publication_of_the_release_before_makes_the_board_of_today():
    """Published by that release from the same lines."""
    rules = board_rules(fold=RULES)
    before, today = BoardShard(0, rules), BoardShard(0, rules)
    before.fold([Rec(7, None, b"0", PUBLICATION_2)])
    today.fold([Rec(7, None, b"0", folded(*LINES).publish(13_000, caught_up=True)[0])])

    assert by_name(before, 13_000) == by_name(today, 13_000)


def test_other_bounds_of_histograms_hold_for_an_older_state_too():
    """Its counts move to the new bounds, as those of a state of today."""
    rules = replace(RULES, histogram_bounds_ms=(1_000, 2_500))
    today = CallsStage.load(folded(*LINES).dump(), 0, rules)

    assert CallsStage.load(STAGE_2, 0, rules).histograms() == today.histograms() != {}


def test_an_interval_of_an_older_state_is_published_once():
    """Whether it was published before is kept."""
    rules = board_rules(fold=RULES)
    board = BoardShard.load(BOARD_2, 0, rules)
    board.fold([Rec(8, None, b"0", said(offset=99, as_of_ms=HOUR_MS, stream_ms=HOUR_MS))])

    assert {key for key, _ in board.take_closed()} == {
        "a|1970-01-01T00:00:00+00:00",
        "b|1970-01-01T00:00:00+00:00",
    }
    assert board.take_closed() == []
