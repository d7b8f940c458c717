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
# Likewise as of commit 4258f32, which counted facts by field; the last was published at 15 s, of the three lines MORE.
STAGE_3 = base64.b85decode(
    "V`oz_0s~5B03!eZ0000000$_wFa2OO1LX|><`-5zP;Ju~Fw<(1Cw!a6$Bit=D-KaYWG~Sgf4W&_RCnKOX&pystw^inAZ&J9WS7LK@s^i"
    "^$&AEqTIp^?rW8v6NB~0s9gjqL&|IHMJsnAdlbKZNOi5~F2tSM~uTOR6?#QLW7^qH+Jrd2>$cY;Z$=q0k6t@J38>#y+u1It(E*HddIe="
    "I$=)iRzU=#tiRWZf|6+9#vV@%+{x`L9T6b1M&@kMZw@L}Kvz6efEW@AHc;KRU4Jv1Yu178Gb$HxRML{`L`tJX-}4j69C;&N+-Nhd0A2("
    "0ZtTYw9NK(;9^6dF;$Hh@;K{Rsr?Dk6ZDxvRM>%gd^+prjA1WqQ?CK}nh<sv#N73;POc6wHt3RU1r+8VDi2gv}&5JUASg4?5w)1r7F_<"
    "Qsh7zqKyQn%^$=?UnygF8Tk;|68o<e~ERO%NoUAyjfT+0v*0H;W7s+Ai#o|G3zLD=ptQ;JBeXg12}(f8vz^{BEe|{+sa^;MZ*Djr|j6)"
    "iRpRl0`CHX*)B#uEU`&NO^GmD2*=XT1yenqf|w4&66Sy}318vfe73+40Laz>Z_RK;Zd~Um"
)
BOARD_3 = base64.b85decode(
    "V`oz`0s~4_vU>mk0000000$_wFa2OW0%ZyS1`$0sK*cB>=jgg#-hm?yz${fvNH9GP37(qYl0uQ2<7MLtNP;sb@$p8qUIYgRw7`@N_$+x"
    "^D^m(G04o4604vYB#o7F@hT34fwcf>BhJxNuD)&~RxHk}hU6Jg9XfucfVc3Dqk}^Bum1jwrO^XEht27}$S;_g>QQOaKg6z7M?JK+P#K3"
    "j{Vzz&oP(KfAT&_(Pr;3v)BozWBe=vuKQ3}QZ$e84ORLHJNB_I}|ewGZQXd?^IDM64>Yc^*EFa0_6nvkEI(GMSu0&j@7sI`&R>X)o!;i"
    "aFW`X#r~<FP-xZux)g|1;`m4I4UCCX<UMAkcy$p>YFP3t}|}3?xXHKL7?qL-uw!hcds@2t#2I+QcW?0EY`0PB_5|21ei<z!)N9un0aE5"
    "d~Z#f)Hf<J)CgJR)(1^8VbNW9mjSj+^;YL"
)
PUBLICATION_3 = base64.b85decode(
    "odW;|%`V^o%`(WtlA&RtVv+#O2hftuF5tkE0K^jk0RaIK0RaI40|5mf0Ra&K0s+J)0s#O50096200963009620MG{k0B{!p009620096"
    "2009620MG}-g8=~m0000000000000000000000000000000096100000000000000000000000000000000000000000000100000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000lK{kN1OWg5009610096101*HH0096100"
    "IC200961015yA03QGV009610096101*HH0096100IC200961015yA0J;DF2LS*800jU50O0@s2NVDR5CH%H06zc#009610KfnL4*>uG0"
    "K_)}0RRC20RRC20RRC20RYek(FXwl0RRC20RRC20RYek(FXwla2Ejp0RR9100000000310RR"
)
BEYOND_3 = base64.b85decode(
    "odW<0%{rLP6Nt?^n8T5wVUYllz>@&P3jqNE0TBTL0RsUA#1{eq00IC400IC400IC40H6;709YFW0K`H80ssI20000000000000000000"
    "000000000320000000000000000000000000000000000000000000000F%xT0008SEd&7o000pH000310006200031000UA008;_{|5"
    "m8000F5008v={}%xO006`p0s#O4009620098d2hj%s0O$h&0000000"
)
MORE = ("14 answered call=e", "15 ended call=e", "2.5 answered b call=d agent=bo")
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


@pytest.mark.parametrize("data", [STAGE_1, STAGE_2, STAGE_3])
def test_a_stage_of_an_earlier_release_goes_on_and_is_saved_anew(data):
    """Upgraded: it knows what it knew, counts on, and its next checkpoint is of the present format."""
    stage, expected = CallsStage.load(data, 0, RULES), folded(*LINES)
    for lines in ((), MORE):
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


@pytest.mark.parametrize(("data", "stage_data"), [(BOARD_1, STAGE_1), (BOARD_2, STAGE_2), (BOARD_3, STAGE_3)])
def test_a_board_of_an_earlier_release_goes_on_and_is_saved_anew(data, stage_data):
    """Upgraded: it is the board that the same publication makes today, now and after the next ones."""
    rules = board_rules(fold=RULES)
    board, expected = BoardShard.load(data, 0, rules), BoardShard(0, rules)
    stage = CallsStage.load(stage_data, 0, RULES)
    expected.fold([Rec(7, None, b"0", folded(*LINES).publish(13_000, caught_up=True)[0])])
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


@pytest.mark.parametrize("payload", [PUBLICATION_2, PUBLICATION_3])
def test_a_publication_of_a_release_before_makes_the_board_of_today(payload):
    """Published by that release from the same lines."""
    rules = board_rules(fold=RULES)
    before, today = BoardShard(0, rules), BoardShard(0, rules)
    before.fold([Rec(7, None, b"0", payload)])
    today.fold([Rec(7, None, b"0", folded(*LINES).publish(13_000, caught_up=True)[0])])

    assert by_name(before, 13_000) == by_name(today, 13_000)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("data", [STAGE_3, None])
def test_what_the_release_before_said_beyond_its_checkpoint_is_not_counted_twice(data, at_once):
    """It said by field what is counted by kind of fact now, and nobody knows of it but the board that heard it.

    The worker goes on from the checkpoint, or from nothing where that is lost, and with a pause where it had stopped.
    """
    rules = board_rules(fold=RULES)
    board, expected = BoardShard(0, rules), BoardShard(0, rules)
    heard = [PUBLICATION_3, BEYOND_3]
    stage = folded(*LINES, follows=True) if data is None else CallsStage.load(data, 0, RULES)
    if data is None:
        stage.publish(13_000, caught_up=False)
    for line in MORE:
        more(stage, line)
        if not at_once:
            heard += stage.publish(14_000, caught_up=False)
    heard += stage.publish(15_000, caught_up=at_once)
    more(stage, "16 queued a call=n", "16 answered call=n")
    heard += stage.publish(16_000, caught_up=True)
    more(stage, "16 queued a call=m", "16 answered call=m")
    heard += stage.publish(17_000, caught_up=True)
    board.fold([Rec(number, None, b"0", payload) for number, payload in enumerate(heard)])

    whole = folded(*LINES)
    more(whole, *MORE, *(f"16 {what} call={call}" for call in "nm" for what in ("queued a", "answered")))
    expected.fold([Rec(0, None, b"0", whole.publish(17_000, caught_up=True)[0])])
    assert by_name(board, 17_000) == by_name(expected, 17_000)


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
