"""The order of publishing, saving and acknowledging.

With a small stage, and a producer that waits to be told.
"""
# ruff: noqa: D101, D102, ARG002 - stand-ins answer to a protocol that is described where it belongs

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from stream.core.calls import CallsStage, SetAside
from stream.core.checkpoint import CheckpointError
from stream.core.rules import FoldRules
from stream.core.tally import add_up
from stream.engine.checkpoints import CHECKPOINT_BYTES_MAX, CheckpointTable, CheckpointTooLargeError
from stream.engine.dead_letters import keep_aside
from stream.engine.engine_settings import EngineSettings, TopicNames
from stream.engine.owned import Owned, all_confirmed
from stream.engine.shell import Outgoing, Shell, UnreadableStateError
from stream.engine.tp import Place

PLACE = Place("in", 0)


class Counter:
    """A stage that counts records; whatever it has not published yet is published next."""

    def __init__(self, applied_offset: int = -1) -> None:
        self.applied_offset = applied_offset

    def dump(self) -> bytes:
        return str(self.applied_offset).encode()


class Kafka:
    """A producer: notes what is sent, confirms when told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None]] = []
        self.waiting: list[asyncio.Future[Any]] = []
        self.at_once = False

    async def send(self, topic, key, value, partition, headers=None):
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


class Table:
    """Checkpoints in memory."""

    topic = "checkpoints"

    def __init__(self) -> None:
        self.data: dict[int, bytes] = {}

    def newest(self, partition):
        return self.data.get(partition)

    async def save(self, partition, data, send):
        await (await send(self.topic, None, data, partition))
        self.data[partition] = data


class CounterShell(Shell[Counter]):
    def fresh(self, partition):
        return Counter()

    def load(self, data, partition):
        if data == b"torn":
            raise CheckpointError("checkpoint is torn")
        return Counter(int(data))

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


class Bench:
    """A shell with one owned partition."""

    def __init__(self) -> None:
        self.kafka, self.table = Kafka(), Table()
        self.shell = CounterShell("in", self.table, self.kafka.send)  # type: ignore[arg-type]
        self.owned = self.shell.restore(0, 0)
        self.shell.owned[0] = self.owned
        self.seeks: list[dict] = []

    async def seek(self, positions):
        self.seeks.append(dict(positions))
        return dict.fromkeys(positions, len(self.seeks))

    async def feed(self, event: Event) -> Event:
        await self.shell.on_batch(event, self.seek)
        return event


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_batch_is_acknowledged_only_after_publication_and_checkpoint_are_confirmed():
    """Publication, then its confirmation, then the checkpoint, then its confirmation, then the ack."""

    async def run() -> None:
        bench = Bench()
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
        assert bench.table.data == {0: b"4"}

    asyncio.run(run())


def test_a_failed_delivery_is_raised_and_nothing_is_saved_or_acknowledged():
    """Who calls ends the process; the records are read again."""

    async def run() -> None:
        bench = Bench()
        event = await bench.feed(Event(0, 4))
        saving = asyncio.ensure_future(bench.shell.checkpoint(bench.owned))
        await settle()
        bench.kafka.waiting[0].set_exception(ConnectionError("gone"))
        with pytest.raises(ConnectionError):
            await saving
        assert not event.acked
        assert bench.table.data == {}

    asyncio.run(run())


def test_what_is_folded_during_a_checkpoint_is_not_acknowledged_by_it():
    """The checkpoint covers the state at its beginning, and the newer batch waits for the next one."""

    async def run() -> None:
        bench = Bench()
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
        assert bench.table.data == {0: b"9"}

    asyncio.run(run())


def test_one_publication_of_a_partition_is_under_way_at_a_time():
    """A second one does nothing until the first is confirmed: no value overtakes another."""

    async def run() -> None:
        bench = Bench()
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
        bench = Bench()
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
        bench = Bench()
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
        bench = Bench()
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
        bench = Bench()
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
        bench = Bench()
        bench.table.data[0] = b"41"
        restored = bench.shell.restore(0, 50)
        assert restored.stage.applied_offset == 41
        assert restored.saved_offset == 41

    asyncio.run(run())


def test_an_unreadable_checkpoint_says_what_to_do():
    """One line: which checkpoint, why, and how to go on."""

    async def run() -> None:
        bench = Bench()
        bench.table.data[0] = b"torn"
        with pytest.raises(
            UnreadableStateError, match=r"checkpoints\[0\]: checkpoint is torn; .* delete the topic"
        ):
            bench.shell.restore(0, 0)

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


def test_a_checkpoint_that_does_not_fit_into_a_record_is_refused():
    """Exactly the limit is tried, one byte more is not."""

    async def run() -> None:
        app = SimpleNamespace(
            conf=SimpleNamespace(id="app"),
            Table=lambda *_, **__: None,
            tables=SimpleNamespace(recovery=SimpleNamespace(active_tps=set())),
        )
        table, kafka = CheckpointTable(app, "calls", 1), Kafka()
        kafka.at_once = True
        await table.save(0, bytes(CHECKPOINT_BYTES_MAX), kafka.send)
        with pytest.raises(CheckpointTooLargeError, match="app-calls-changelog"):
            await table.save(0, bytes(CHECKPOINT_BYTES_MAX + 1), kafka.send)

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


def test_tallies_of_partitions_add_up():
    """Names are kept also where nothing was counted."""
    bad = SimpleNamespace(offset=0, timestamp=None, key=b"k", value=b"{")
    stages = [CallsStage(number, FoldRules()) for number in range(2)]
    for stage in stages:
        stage.fold([bad])

    total = add_up(stage.tally() for stage in stages)

    assert sum(total.rejected.values()) == 2
    assert set(total.events) == set(stages[0].tally().events)


def test_settings_split_the_servers():
    """Commas and spaces between addresses are all right."""
    assert EngineSettings(bootstrap_servers="a:1, b:2 ,").servers == ("a:1", "b:2")


def test_owned_partitions_begin_without_claims():
    """Not live, not caught up, nothing saved."""
    owned = Owned(PLACE, Counter(), 0)

    assert not owned.live
    assert not owned.caught_up
    assert owned.checkpoint_at_ms is None
