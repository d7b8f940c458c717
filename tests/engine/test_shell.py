"""The order of publishing, saving and acknowledging.

With a small stage, and a producer that waits to be told.
"""
# ruff: noqa: D101, D102, ARG002 - stand-ins answer to a protocol that is described where it belongs

import asyncio
import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from stream.core.calls import CallsStage, SetAside
from stream.core.checkpoint import FORMAT_VERSION, CheckpointError, encode, unseal
from stream.core.fields import LAYOUT_VERSION
from stream.core.rules import FoldRules
from stream.engine.checkpoints import CheckpointTable, Tail
from stream.engine.dead_letters import keep_aside
from stream.engine.engine_settings import EngineSettings, TopicNames
from stream.engine.owned import Owned, all_confirmed
from stream.engine.restore import LogBounds, OtherLogError, RetentionGapError, UnreadableStateError
from stream.engine.shell import Outgoing, Shell
from stream.engine.tp import Place
from tests.core.test_checkpoint import sealed

PLACE = Place("in", 0)
MAGIC = b"test"


class Counter:
    """A stage that counts records; whatever it has not published yet is published next."""

    def __init__(self, applied_offset: int = -1) -> None:
        self.applied_offset = applied_offset

    def encode(self):
        return encode(MAGIC, self.applied_offset, self.applied_offset)


class Kafka:
    """A producer: notes what is sent, confirms when told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None]] = []
        self.waiting: list[asyncio.Future[Any]] = []
        self.at_once = False
        self.checkpoints: list[tuple[bytes, bytes]] = []

    async def send(self, topic, key, value, partition, headers=None):
        if topic == "checkpoints":
            self.checkpoints.append((key, value))
            value = str(unseal(MAGIC, value, int)).encode()
        self.sent.append((topic, value))
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        if self.at_once:
            self.confirm()
        return future

    def confirm(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(SimpleNamespace(offset=len(self.sent)))


class CounterShell(Shell[Counter]):
    def fresh(self, partition):
        return Counter()

    def load(self, data, partition):
        return Counter(unseal(MAGIC, data, int))

    def fold(self, owned, records):
        owned.stage.applied_offset = records[-1].offset

    def outgoing(self, owned):
        return [Outgoing("out", b"0", str(owned.stage.applied_offset).encode(), 0)]


class Event:
    """Faust's event of one batch."""

    def __init__(self, first: int, last: int, epoch: int = 0) -> None:
        records = [SimpleNamespace(offset=offset) for offset in range(first, last + 1)]
        self.value = SimpleNamespace(records=records, epoch=epoch)
        self.message = SimpleNamespace(tp=PLACE)
        self.acked = False

    def ack(self) -> None:
        self.acked = True


class InLine(ThreadPoolExecutor):
    """Work for another thread, done at once in this one: so that a few turns of the loop are enough."""

    def submit(self, fn, /, *args, **kwargs):
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class Bench:
    """A shell with one owned partition, and the log that it reads."""

    def __init__(self, *, stop_on_retention_gap: bool = True) -> None:
        self.kafka = Kafka()
        self.table = CheckpointTable("checkpoints", MAGIC, self.tails)
        self.shell = CounterShell(
            "in", self.table, self.kafka.send, stop_on_retention_gap=stop_on_retention_gap
        )
        self.seeks: list[dict] = []
        self.log_start = 0

    async def begin(self) -> "Bench":
        asyncio.get_running_loop().set_default_executor(InLine())
        self.owned = self.shell.owned[0] = await self.restore()
        return self

    async def restore(self, end: int = 1_000, committed: int | None = None) -> Owned:
        found = await self.table.read([0])
        return self.shell.restore(0, found[0], LogBounds(self.log_start, end, committed))

    async def tails(self, topic, wanted):
        """Read the ends of the checkpoint topic."""
        return {0: Tail(self.kafka.checkpoints[-wanted[0] :], wanted[0] >= len(self.kafka.checkpoints))}

    async def seek_all(self, positions):
        self.seeks.append(dict(positions))
        return dict.fromkeys(positions, len(self.seeks))

    async def start_of(self, tp):
        return self.log_start

    async def feed(self, event: Event) -> Event:
        await self.shell.on_batch(event, self)
        return event


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_batch_is_acknowledged_only_after_publication_and_checkpoint_are_confirmed():
    """Publication, then its confirmation, then the checkpoint, then its confirmation, then the ack."""

    async def run() -> None:
        bench = await Bench().begin()
        event = await bench.feed(Event(0, 4))
        saving = asyncio.ensure_future(bench.shell.checkpoint(bench.owned))
        await settle()
        assert bench.kafka.sent == [("out", b"4")]
        bench.kafka.confirm()
        await settle()
        assert bench.kafka.sent == [("out", b"4"), ("checkpoints", b"4")]
        assert not event.acked
        bench.kafka.confirm()
        await saving
        assert event.acked
        assert [unseal(MAGIC, data, int) for _, data in bench.kafka.checkpoints] == [4]

    asyncio.run(run())


def test_the_last_batch_is_acknowledged_though_a_checkpoint_came_between_its_fold_and_its_note():
    """Else the committed offset stays behind a log that has ended, and whoever watches it sees a lag for ever."""

    async def run() -> None:
        bench = await Bench().begin()
        bench.kafka.at_once = True
        event = Event(0, 4)
        folding = asyncio.ensure_future(bench.feed(event))
        saving = asyncio.ensure_future(bench.shell.checkpoint(bench.owned))
        await asyncio.gather(folding, saving)
        assert [unseal(MAGIC, data, int) for _, data in bench.kafka.checkpoints] == [4]
        await bench.shell.checkpoint(bench.owned)
        assert event.acked
        assert len(bench.kafka.checkpoints) == 1

    asyncio.run(run())


def test_a_failed_delivery_is_raised_and_nothing_is_saved_or_acknowledged():
    """Who calls ends the process; the records are read again."""

    async def run() -> None:
        bench = await Bench().begin()
        event = await bench.feed(Event(0, 4))
        saving = asyncio.ensure_future(bench.shell.checkpoint(bench.owned))
        await settle()
        bench.kafka.waiting[0].set_exception(ConnectionError("gone"))
        with pytest.raises(ConnectionError):
            await saving
        assert not event.acked
        assert bench.kafka.checkpoints == []

    asyncio.run(run())


@pytest.mark.parametrize("under_way", ["publish", "checkpoint"])
def test_what_a_publication_that_was_given_up_had_taken_is_not_saved_as_published(under_way):
    """A revocation runs out of time, or the delivery fails, while a checkpoint waits for its turn: it saves nothing."""

    async def run() -> None:
        for given_up in (True, False):
            bench = await Bench().begin()
            event = await bench.feed(Event(0, 4))
            first = asyncio.ensure_future(getattr(bench.shell, under_way)(bench.owned))
            await settle()
            waiting = asyncio.ensure_future(bench.shell.checkpoint(bench.owned))
            await settle()
            if given_up:
                first.cancel()
            else:
                bench.kafka.waiting[0].set_exception(ConnectionError("gone"))
            bench.kafka.at_once = True
            await asyncio.wait([first, waiting])
            await bench.shell.publish(bench.owned)

            assert waiting.exception() is None
            assert bench.kafka.sent == [("out", b"4")]
            assert not event.acked
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                first.result()

    asyncio.run(run())


def test_after_a_record_could_not_be_set_aside_nothing_is_saved():
    """Also not by a checkpoint that begins before whoever waited for the record has heard of it."""

    async def run() -> None:
        bench = await Bench().begin()
        await bench.feed(Event(0, 4))
        bench.kafka.at_once = True
        refused = asyncio.get_running_loop().create_future()
        bench.owned.deliver(refused)
        await settle()
        refused.set_exception(ConnectionError("gone"))
        await settle()
        await bench.shell.checkpoint(bench.owned)

        assert bench.kafka.sent == []

    asyncio.run(run())


def test_what_is_folded_during_a_checkpoint_is_not_acknowledged_by_it():
    """The checkpoint covers the state at its beginning, and the newer batch waits for the next one."""

    async def run() -> None:
        bench = await Bench().begin()
        first = await bench.feed(Event(0, 4))
        saving = asyncio.ensure_future(bench.shell.checkpoint(bench.owned))
        await settle()
        second = await bench.feed(Event(5, 9))
        bench.kafka.at_once = True
        bench.kafka.confirm()
        await saving
        assert (first.acked, second.acked) == (True, False)
        await bench.shell.checkpoint(bench.owned)
        assert second.acked
        assert [unseal(MAGIC, data, int) for _, data in bench.kafka.checkpoints] == [4, 9]

    asyncio.run(run())


def test_one_publication_of_a_partition_is_under_way_at_a_time():
    """A second one does nothing until the first is confirmed: no value overtakes another."""

    async def run() -> None:
        bench = await Bench().begin()
        first = asyncio.ensure_future(bench.shell.publish(bench.owned))
        await settle()
        await bench.shell.publish(bench.owned)
        assert len(bench.kafka.sent) == 1
        bench.kafka.confirm()
        await first
        bench.kafka.at_once = True
        await bench.shell.publish(bench.owned)
        assert len(bench.kafka.sent) == 2

    asyncio.run(run())


def test_a_checkpoint_waits_for_the_records_set_aside():
    """An offset behind an unconfirmed dead letter must not be committed."""

    async def run() -> None:
        bench = await Bench().begin()
        bench.kafka.at_once = True
        gate = asyncio.get_running_loop().create_future()
        event = await bench.feed(Event(0, 4))
        bench.owned.deliver(gate)
        saving = asyncio.ensure_future(bench.shell.checkpoint(bench.owned))
        await settle()
        assert ("checkpoints", b"4") not in bench.kafka.sent
        gate.set_result(None)
        await saving
        assert event.acked

    asyncio.run(run())


def test_an_unchanged_state_is_not_written_again():
    """The same bytes again would only be read by the next restore."""

    async def run() -> None:
        bench = await Bench().begin()
        bench.kafka.at_once = True
        await bench.feed(Event(0, 4))
        await bench.shell.checkpoint(bench.owned)
        sent = len(bench.kafka.sent)
        await bench.shell.checkpoint(bench.owned)
        assert len(bench.kafka.sent) == sent

    asyncio.run(run())


def test_a_hole_is_read_again_from_where_the_state_ends():
    """The batch is dropped, the consumer goes back, older batches are ignored, the right one is folded."""

    async def run() -> None:
        bench = await Bench().begin()
        await bench.feed(Event(0, 4))
        await bench.feed(Event(7, 9))
        await bench.feed(Event(10, 12))
        assert bench.seeks == [{PLACE: 5}]
        assert bench.owned.stage.applied_offset == 4
        await bench.feed(Event(5, 12, epoch=1))
        assert bench.owned.stage.applied_offset == 12
        assert bench.shell.hole_counts() == (1, 0)

    asyncio.run(run())


def test_a_revoked_partition_is_gone_at_once_but_its_holes_stay_counted():
    """Batches that are still on their way to it are dropped."""

    async def run() -> None:
        bench = await Bench().begin()
        await bench.feed(Event(0, 4))
        await bench.feed(Event(7, 9))
        bench.shell.drop_all()
        await bench.feed(Event(5, 9))
        assert bench.shell.owned == {}
        assert bench.owned.stage.applied_offset == 4
        assert bench.shell.hole_counts() == (1, 0)

    asyncio.run(run())


def test_a_state_is_restored_from_its_checkpoint():
    """And counts as saved, so that an idle partition writes nothing."""

    async def run() -> None:
        bench = await Bench().begin()
        bench.kafka.at_once = True
        await bench.feed(Event(0, 41))
        await bench.shell.checkpoint(bench.owned)
        restored = await bench.restore()
        assert restored.stage.applied_offset == 41
        assert restored.saved_offset == 41

    asyncio.run(run())


async def saved(bench: Bench, *offsets: int) -> Bench:
    """Count up to each of these offsets and save every time."""
    bench.kafka.at_once = True
    first = 0
    for offset in offsets:
        await bench.feed(Event(first, offset))
        await bench.shell.checkpoint(bench.owned)
        first = offset + 1
    return bench


def damage(bench: Bench, place: int) -> None:
    key, value = bench.kafka.checkpoints[place]
    bench.kafka.checkpoints[place] = (key, value[:-1])


def newer(bench: Bench, place: int) -> None:
    key, _ = bench.kafka.checkpoints[place]
    bench.kafka.checkpoints[place] = (key, sealed(b"?", FORMAT_VERSION + 1, magic=MAGIC))


def test_checkpoints_go_to_two_slots_in_turn_also_over_a_restart():
    """The slot that a state came from is the one that stays."""

    async def run() -> None:
        bench = await saved(await Bench().begin(), 4, 9)
        bench.owned = bench.shell.owned[0] = await bench.restore()
        await bench.feed(Event(10, 14))
        await bench.shell.checkpoint(bench.owned)
        assert [key for key, _ in bench.kafka.checkpoints] == [b"0", b"0/1", b"0"]

    asyncio.run(run())


def test_a_damaged_checkpoint_leaves_the_one_before_and_is_not_overwritten_last(caplog):
    """The older state is as true; it is said and counted, and the next checkpoint goes where the damage is."""

    async def run() -> None:
        bench = await saved(await Bench().begin(), 4, 9)
        damage(bench, 1)
        bench.owned = bench.shell.owned[0] = await bench.restore()
        assert bench.owned.stage.applied_offset == 4
        assert bench.shell.refused == 1
        await bench.feed(Event(5, 14))
        await bench.shell.checkpoint(bench.owned)
        assert bench.kafka.checkpoints[-1][0] == b"0/1"

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "checkpoints[0]: slot 1: checkpoint does not fit its checksum: it is torn or corrupt",
        "in[0]: going on from the checkpoint at offset 4",
    ]


def test_without_any_usable_checkpoint_the_whole_log_is_counted_again(caplog):
    """As long as it is still the whole log."""

    async def run() -> None:
        bench = await saved(await Bench().begin(), 4, 9)
        damage(bench, 0)
        damage(bench, 1)
        restored = await bench.restore(committed=10)
        assert restored.stage.applied_offset == -1
        assert bench.shell.refused == 2
        bench.log_start = 3
        with pytest.raises(RetentionGapError, match=r"in\[0\]: the records from offset 0 to 2 were deleted"):
            await bench.restore(committed=10)

    asyncio.run(run())
    assert "in[0]: no checkpoint can be used, counting the whole log again" in caplog.messages


def test_a_newer_checkpoint_leaves_an_older_one_or_ends_the_process(caplog):
    """It is never thrown away for a count of the whole log."""

    async def run() -> None:
        bench = await saved(await Bench().begin(), 4, 9)
        newer(bench, 1)
        assert (await bench.restore()).stage.applied_offset == 4
        newer(bench, 0)
        with pytest.raises(
            UnreadableStateError, match=r"checkpoints\[0\]: .*newer than .*delete the topic checkpoints"
        ):
            await bench.restore()

    asyncio.run(run())
    newer_than = f"format {FORMAT_VERSION + 1}.{LAYOUT_VERSION}, newer than {FORMAT_VERSION}.{LAYOUT_VERSION}"
    assert f"checkpoints[0]: slot 1: checkpoint has {newer_than}" in caplog.messages[0]


def test_a_sound_checkpoint_that_cannot_be_loaded_ends_the_process():
    """Of another partition, say: something is wrong that counting again would only hide."""

    async def run() -> None:
        bench = await saved(await Bench().begin(), 4)
        bench.shell.load = refuse  # type: ignore[method-assign]
        with pytest.raises(UnreadableStateError, match="of partition 1, not of 0"):
            await bench.restore()

    def refuse(data, partition):
        raise CheckpointError("checkpoint is of partition 1, not of 0")

    asyncio.run(run())


@pytest.mark.parametrize(("start", "gap"), [(9, False), (10, False), (11, True)])
def test_a_state_that_ends_before_its_log_begins_has_a_gap_of_retention(start, gap):
    """Applied up to 9: the log may begin at 10, and at 11 a record is gone that nobody counted."""

    async def run() -> None:
        bench = await saved(await Bench().begin(), 9)
        bench.log_start = start
        if not gap:
            assert (await bench.restore()).stage.applied_offset == 9
            return
        with pytest.raises(RetentionGapError, match=r"from offset 10 to 10 .*on_retention_gap"):
            await bench.restore()

    asyncio.run(run())


def test_a_gap_of_retention_is_passed_over_where_that_is_allowed(caplog):
    """Said, counted, and then the position is where the log begins: no hole, and saved anew at once."""

    async def run() -> None:
        bench = await saved(await Bench(stop_on_retention_gap=False).begin(), 9)
        bench.log_start = 20
        bench.owned = bench.shell.owned[0] = await bench.restore()
        assert (bench.owned.stage.applied_offset, bench.owned.saved_offset) == (19, 9)
        await bench.feed(Event(20, 24))
        assert (bench.shell.retention_gaps, *bench.shell.hole_counts()) == (1, 0, 0)

    asyncio.run(run())
    assert caplog.messages == [
        "in[0]: the records from offset 10 to 19 were deleted before they were counted; going on without them"
    ]


@pytest.mark.parametrize(("committed", "gap"), [(None, False), (20, False), (19, True)])
def test_without_a_checkpoint_the_committed_offset_says_what_was_counted(committed, gap):
    """Nothing committed: a new worker of an old topic begins where that begins. Committed 19: record 19 is missing."""

    async def run() -> None:
        bench = Bench()
        bench.log_start = 20
        if not gap:
            assert (await bench.restore(committed=committed)).stage.applied_offset == 19
            return
        with pytest.raises(RetentionGapError, match="from offset 19 to 19"):
            await bench.restore(committed=committed)

    asyncio.run(run())


@pytest.mark.parametrize("stop", [True, False])
def test_retention_that_overtakes_a_running_worker_is_a_gap_too(stop):
    """The log has nothing more before its beginning; by default that ends the process."""

    async def run() -> None:
        bench = await Bench(stop_on_retention_gap=stop).begin()
        await bench.feed(Event(0, 4))
        bench.log_start = 8
        await bench.feed(Event(8, 9))
        if stop:
            with pytest.raises(RetentionGapError, match="from offset 5 to 7"):
                await bench.feed(Event(8, 9, epoch=1))
            assert bench.owned.stage.applied_offset == 4
            return
        await bench.feed(Event(8, 9, epoch=1))
        assert bench.owned.stage.applied_offset == 9
        assert (bench.shell.retention_gaps, *bench.shell.hole_counts()) == (1, 1, 1)

    asyncio.run(run())


def test_offsets_that_never_were_records_are_no_gap_of_retention(caplog):
    """Compaction, or the marks of transactions: the log begins before them, so nothing was lost."""

    async def run() -> None:
        bench = await Bench().begin()
        await bench.feed(Event(0, 4))
        await bench.feed(Event(8, 9))
        await bench.feed(Event(8, 9, epoch=1))
        assert bench.owned.stage.applied_offset == 9
        assert (bench.shell.retention_gaps, *bench.shell.hole_counts()) == (0, 1, 1)

    asyncio.run(run())
    assert "in[0]: the log has nothing between offsets 4 and 8" in caplog.messages


@pytest.mark.parametrize("end", [10, 9])
def test_a_log_that_ends_before_the_state_is_another_log(end):
    """Applied up to 9: a log that ends at 9 was made anew, and its next record would be skipped as known."""

    async def run() -> None:
        bench = await saved(await Bench().begin(), 9)
        if end == 10:
            assert (await bench.restore(end=10)).stage.applied_offset == 9
            return
        with pytest.raises(
            OtherLogError, match=r"in\[0\] ends at offset 9, .* up to 9: .*delete the topic checkpoints"
        ):
            await bench.restore(end=9)

    asyncio.run(run())


def test_every_delivery_is_awaited_before_a_failure_is_raised():
    """Nothing is left behind that nobody waits for."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        failed, good = loop.create_future(), loop.create_future()
        waiting = asyncio.ensure_future(all_confirmed([failed, good]))
        failed.set_exception(ConnectionError())
        await settle()
        assert not waiting.done()
        good.set_result(None)
        with pytest.raises(ConnectionError):
            await waiting

    asyncio.run(run())


def test_what_is_set_aside_keeps_its_bytes_and_says_where_it_came_from():
    """Late records go to the one topic, the others to the other; no field value is in the headers."""

    async def run() -> None:
        sent = []

        async def send(topic, key, value, partition, headers=None):
            sent.append((topic, key, value, partition, headers))
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done

        stage = CallsStage(0, FoldRules())
        bad = SimpleNamespace(offset=7, timestamp=None, key=b"k", value=b"{secret")
        asides = [*stage.fold([bad]), SetAside(bad, late=True, reason="late", where="at")]
        await keep_aside(asides, Place("call-events", 3), TopicNames(), send)
        assert [record[:4] for record in sent] == [
            ("call-events-dead", b"k", b"{secret", 3),
            ("call-events-late", b"k", b"{secret", 3),
        ]
        for record, aside in zip(sent, asides, strict=True):
            assert dict(record[4])["reason"] == aside.reason.encode()
            assert dict(record[4])["topic"] == b"call-events"
            assert dict(record[4])["offset"] == b"7"
            assert dict(record[4])["partition"] == b"3"
            assert b"secret" not in b"".join(value for _, value in record[4])

    asyncio.run(run())


def test_a_record_that_was_sent_again_and_comes_back_says_how_often():
    """The count goes on in the header of the letter; other headers of the record are not kept."""

    async def run() -> None:
        sent = []

        async def send(*record):
            sent.append(record)
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done

        headers = (("resent", b"2"), ("trace", b"secret"))
        bad = SimpleNamespace(offset=7, timestamp=None, key=b"k", value=b"{", headers=headers)
        await keep_aside(CallsStage(0, FoldRules()).fold([bad]), Place("call-events", 3), TopicNames(), send)
        kept = dict(sent[0][4])
        assert kept["resent"] == b"2"
        assert set(kept) == {"reason", "topic", "partition", "offset", "error", "resent"}

    asyncio.run(run())


def test_settings_split_the_servers():
    """Commas and spaces between addresses are all right."""
    assert EngineSettings(bootstrap_servers="a:1, b:2 ,").servers == ("a:1", "b:2")


def test_owned_partitions_begin_without_claims():
    """Not live, not caught up, nothing saved."""
    owned = Owned(PLACE, Counter(), 0)

    assert not owned.live
    assert not owned.caught_up
    assert owned.checkpoint_at_ms is None
