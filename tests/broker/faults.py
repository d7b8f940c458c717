"""Faults for a worker process: each breaks one part of the running engine, as a bug or a hung client would."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.group_coordinator import GroupCoordinator

from stream.engine import Engine, tails
from stream.engine.batching import Consumer

FOR_EVER_S = 10_000.0
SLOW_S = 0.5  # several looks of whoever saves


class InjectedError(Exception):
    """What nobody expects."""


def _raise(*_: Any, **__: Any) -> Any:
    raise InjectedError("injected")


async def _hang(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


def _client(engine: Engine) -> Any:
    return engine.consumer._thread._consumer


def _in_reader(engine: Engine, function: Callable[..., Any], *args: Any) -> None:
    engine.consumer._thread.thread_loop.call_soon_threadsafe(function, *args)


def _half_a_batch(shell: Any) -> None:
    fold = shell.fold

    def fold_half_and_fail(owned: Any, records: Any) -> None:
        fold(owned, records[: max(1, len(records) // 2)])
        owned.stage.applied_offset += 1  # what is saved now would lose a record
        raise InjectedError("injected")

    shell.fold = fold_half_and_fail


def _swallow(engine: Engine, topic_end: str) -> None:
    """Let deliveries to a topic never be confirmed, as those of a producer that is dead."""
    for shell in (engine.calls, engine.board):
        send = shell._send

        async def swallowing(topic: str, *rest: Any, send: Any = send, **more: Any) -> Awaitable[Any]:
            if topic.endswith(topic_end):
                return asyncio.get_running_loop().create_future()
            found: Awaitable[Any] = await send(topic, *rest, **more)
            return found

        shell._send = swallowing


async def calls_agent_raises(engine: Engine) -> None:
    """Fail in the middle of a batch, half of it folded."""
    _half_a_batch(engine.calls)


async def board_agent_raises(engine: Engine) -> None:
    """Do the same in the second stage."""
    _half_a_batch(engine.board)


async def agent_hangs(engine: Engine) -> None:
    """Wait for what never comes."""
    engine.calls._fold_in_parts = _hang


async def agent_ends(engine: Engine) -> None:
    """Cancel the agents; nobody knows who did it."""
    for agent in engine.app.agents.values():
        agent.cancel()


async def publisher_raises(engine: Engine) -> None:
    """Fail while it takes what is to be published."""
    engine.calls.outgoing = _raise


async def publisher_hangs(engine: Engine) -> None:
    """Let its deliveries never be confirmed."""
    _swallow(engine, "-cells")


async def ticker_raises(engine: Engine) -> None:
    """Break the task that starts publications."""
    engine._look_at_positions = _raise


async def checkpoint_raises(engine: Engine) -> None:
    """Fail while the state is written out."""
    for owned in engine.calls.owned.values():
        engine.calls.about_to_save = _raise
        owned.saved_offset = -2


async def checkpoint_hangs(engine: Engine) -> None:
    """Let its deliveries never be confirmed."""
    _swallow(engine, "-changelog")


async def saver_stops(engine: Engine) -> None:
    """Let no checkpoint be due any more."""
    for owned in (*engine.calls.owned.values(), *engine.board.owned.values()):
        owned.due_at_s = FOR_EVER_S * 1_000


async def exporter_raises(_: Engine) -> None:
    """Break the task that was started to serve."""
    _raise()


async def snapshot_raises(engine: Engine) -> None:
    """Break what every page is made of."""
    engine._pipeline = _raise


async def callback_raises(_: Engine) -> None:
    """Fail on the main loop, where nobody waits for it."""
    asyncio.get_running_loop().call_soon(_raise)


async def callback_of_the_reader_raises(engine: Engine) -> None:
    """Fail on the loop of the thread that reads Kafka."""
    _in_reader(engine, _raise)


async def thread_raises(_: Engine) -> None:
    """Break a thread that nobody joins."""
    threading.Thread(target=_raise).start()


async def heartbeat_raises(engine: Engine) -> None:
    """Fail where Kafka's client keeps the error for whoever asks, and stops coordinating."""
    _client(engine)._coordinator._do_heartbeat = _raise


async def fetcher_ends(engine: Engine) -> None:
    """End the client's task that sends fetches."""
    _in_reader(engine, _client(engine)._fetcher._fetch_task.cancel)


async def fetcher_hangs(engine: Engine) -> None:
    """Fetch nothing any more, and so not hear that the log goes on."""
    _client(engine)._fetcher.fetched_records = _hang


async def sender_ends(engine: Engine) -> None:
    """End the client's task that sends what is produced: deliveries then wait for ever."""
    engine.app.producer._producer._sender._sender_task.cancel()


async def reader_is_blocked(engine: Engine) -> None:
    """Block the thread that reads Kafka."""
    _in_reader(engine, time.sleep, FOR_EVER_S)


async def loop_is_blocked(_: Engine) -> None:
    """Block the main loop: neither the watchdog nor HTTP has a turn."""
    asyncio.get_running_loop().call_soon(time.sleep, FOR_EVER_S)


async def due_while_publishing(engine: Engine) -> None:
    """Let publications take long, and a checkpoint be due only while one is under way."""
    engine._saving_pause_s = lambda: FOR_EVER_S
    publish = engine.calls.publish

    async def publish_slowly(owned: Any) -> None:
        if not owned.lock.locked():
            async with owned.lock:
                owned.due_at_s = 0.0
                await asyncio.sleep(SLOW_S)
            await publish(owned)

    engine.calls.publish = publish_slowly


async def stop_meets_rebalance(engine: Engine) -> None:
    """Be asked to stop just before the group is joined again, and then need news of the topics to assign them."""
    coordinator = _client(engine)._coordinator
    prepare, assign = coordinator._on_join_prepare, coordinator._perform_assignment

    async def prepare_in_a_stop(*args: Any) -> None:
        if not engine.app.should_stop:
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait({coordinator._closing})
        await prepare(*args)

    def assign_without_news(*args: Any) -> Any:
        coordinator._client._topics = set()
        return assign(*args)

    coordinator._on_join_prepare, coordinator._perform_assignment = prepare_in_a_stop, assign_without_news
    _in_reader(engine, coordinator.request_rejoin)


async def topics_are_unknown_at_first(_: Engine) -> None:
    """Know nothing of the topics the next time that partitions must be assigned: at the start, the first time."""
    assign = GroupCoordinator._perform_assignment

    async def assign_in_ignorance(self: Any, response: Any) -> Any:
        GroupCoordinator._perform_assignment = assign
        self._cluster._partitions.clear()
        return await assign(self, response)

    GroupCoordinator._perform_assignment = assign_in_ignorance


async def topics_are_unknown(engine: Engine) -> None:
    """Join the group again, and know nothing of its topics when it must assign them, as after a cut."""
    await topics_are_unknown_at_first(engine)
    _in_reader(engine, _client(engine)._coordinator.request_rejoin)


async def recovery_hangs(engine: Engine) -> None:
    """Never restore the states."""
    engine._restore = _hang


async def nothing_is_read(engine: Engine) -> None:
    """Fold nothing, so that what was restored stays as it was."""
    engine.calls.on_batch = _hang
    engine.board.on_batch = _hang


async def source_is_silent(engine: Engine) -> None:
    """Publish nothing of one source partition, and believe that it was published."""
    outgoing = engine.calls.outgoing
    engine.calls.outgoing = lambda owned: [] if owned.place.partition == 1 else outgoing(owned)


AT_THE_START = ("recovery_hangs", "nothing_is_read", "topics_are_unknown_at_first")
FAULTS: dict[str, Callable[[Engine], Awaitable[None]]] = {
    fault.__name__: fault
    for fault in (
        calls_agent_raises,
        board_agent_raises,
        agent_hangs,
        agent_ends,
        publisher_raises,
        publisher_hangs,
        ticker_raises,
        checkpoint_raises,
        checkpoint_hangs,
        saver_stops,
        exporter_raises,
        snapshot_raises,
        callback_raises,
        callback_of_the_reader_raises,
        thread_raises,
        heartbeat_raises,
        fetcher_ends,
        fetcher_hangs,
        sender_ends,
        reader_is_blocked,
        due_while_publishing,
        stop_meets_rebalance,
        topics_are_unknown,
        topics_are_unknown_at_first,
        loop_is_blocked,
        recovery_hangs,
        nothing_is_read,
        source_is_silent,
    )
}


def observe() -> dict[str, int]:
    """Count what must not happen in a worker of this process; the dict that is returned goes on counting."""
    seen = {"seeks": 0, "seeks_elsewhere": 0, "seeks_in_flow": 0, "fetch_wait_ms": 0, "checkpoints_read": 0}
    seek, perform, read = AIOKafkaConsumer.seek, Consumer.perform_seek, tails._read

    def counted_seek(self: Any, *args: Any) -> Any:
        if self._group_id is None:
            return seek(self, *args)  # the reader of checkpoints has a client and a loop of its own
        seen["fetch_wait_ms"] = self._fetch_max_wait_ms
        seen["seeks"] += 1
        seen["seeks_elsewhere"] += threading.current_thread() is threading.main_thread()
        return seek(self, *args)

    async def counted_perform(self: Any) -> None:
        seen["seeks_in_flow"] += self.flow_active
        await perform(self)

    async def counted_read(*args: Any) -> Any:
        found = await read(*args)
        seen["checkpoints_read"] += sum(len(tail.records) for tail in found.values())
        return found

    AIOKafkaConsumer.seek = counted_seek
    Consumer.perform_seek = counted_perform
    tails._read = counted_read
    return seen
