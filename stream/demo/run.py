"""The demo itself: broker, topics, worker and simulator in one process, and the table of what they make.

Theory of operation. The broker is a child process that starts in a thread while this process imports what it
needs. Then the worker and the simulator run as two tasks of one event loop, and a third one shows what the
worker's own snapshot says. One event, `until`, ends everything: Ctrl-C, the end of `--seconds`, and the
failure of any part set it. Whatever happens, the broker is stopped and its directory removed.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from stream.clock import monotonic_s, wall_ms
from stream.demo.settings import DemoWish, PortTakenError, free_port
from stream.demo.show import Show
from stream.settings import Settings

HISTORY_MS: Final = 4 * 3_600_000
# A fast demo sends events of the future, which brokers refuse beyond an hour.
BROKER_CONFIG: Final = {"log.message.timestamp.after.max.ms": str(2**63 - 1)}
LOOK_S: Final = 1.0
ABORT_LOOK_S: Final = 0.1
START_LIMIT_S: Final = 120.0
# Below the worker's own patience, after which it would end the process and leave the broker's directory.
STOP_PATIENCE_S: Final = 15.0
STOP_PATIENCE_FAILED_S: Final = 2.0
_MODULES: Final = ("stream.engine", "stream.export", "stream.simulate", "stream.wiring")


class DemoError(Exception):
    """A part of the demo failed; one line that says which and why."""


@dataclass(slots=True)
class Demo:
    """One run. `failure` is the first thing that went wrong."""

    settings: Settings
    wish: DemoWish
    show: Show
    port: int
    until: asyncio.Event = field(default_factory=asyncio.Event)
    began_s: float = field(default_factory=monotonic_s)
    failure: str = ""
    engine: Any = None
    sent: int = 0
    live: bool = False
    address: tuple[str, int] | None = None  # where the page and the metrics are
    stuck: set[Any] = field(default_factory=set)

    def fail(self, why: str) -> None:
        """Note why, once, and end everything."""
        self.failure = self.failure or why
        self.until.set()

    def took(self) -> str:
        """Return how long it has taken so far."""
        return f"{monotonic_s() - self.began_s:.1f} s"


def run_demo(settings: Settings, wish: DemoWish, show: Show) -> None:
    """Run until Ctrl-C, SIGTERM or the end of the seconds. Raises DemoError and EmbeddedKafkaError."""
    asyncio.run(_demo(settings, wish, show))


async def _demo(settings: Settings, wish: DemoWish, show: Show) -> None:
    from stream.kafka import EmbeddedKafka  # noqa: PLC0415 - start fast

    try:
        demo = Demo(settings, wish, show, free_port(settings, wish))
    except PortTakenError as error:
        raise DemoError(str(error)) from error
    _take_log(demo)
    broker = EmbeddedKafka(config=BROKER_CONFIG)
    with _signals(demo.until):
        try:
            show.step("starting Kafka")
            if await _started(demo, broker):
                await _with_kafka(demo, broker)
        finally:
            show.step("stopping")
            await asyncio.to_thread(broker.stop)
    show.close()
    if demo.stuck:
        _leave(demo.failure)
    if demo.failure:
        raise DemoError(demo.failure)


def _leave(why: str) -> None:
    """End the process here: the worker's threads would keep it alive. Everything else has been cleaned up."""
    sys.stdout.flush()
    sys.stderr.write(f"callgauge: {' '.join(why.split())}\n")
    sys.stderr.flush()
    os._exit(1)


async def _started(demo: Demo, broker: Any) -> bool:
    """Start the broker and import everything else meanwhile; say whether to go on."""
    starting = asyncio.ensure_future(asyncio.to_thread(broker.start))
    stopped = asyncio.ensure_future(demo.until.wait())
    try:
        await asyncio.to_thread(lambda: [importlib.import_module(name) for name in _MODULES])
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not starting.done():
            await _abort(broker, starting)
    if demo.until.is_set():
        return False
    await starting
    demo.show.note(f"Kafka at {broker.bootstrap_servers} after {demo.took()}")
    return True


async def _abort(broker: Any, starting: "asyncio.Future[Any]") -> None:
    """End a start that nobody needs any more: it must not go on behind our back, nor leave a log."""
    directories = []
    while not starting.done():
        broker.kill()
        with contextlib.suppress(Exception):  # it has none before its very first step and after its last
            directories.append(broker.data_dir)
        await asyncio.wait((starting,), timeout=ABORT_LOOK_S)
    with contextlib.suppress(Exception):
        starting.result()
    broker.stop()
    for directory in set(directories):
        shutil.rmtree(directory, ignore_errors=True)


async def _with_kafka(demo: Demo, broker: Any) -> None:
    from stream.access import Access  # noqa: PLC0415 - imported while the broker started
    from stream.engine import ensure_topics  # noqa: PLC0415
    from stream.wiring import engine_settings  # noqa: PLC0415

    demo.show.step("starting the worker")
    told = replace(engine_settings(demo.settings, Access()), bootstrap_servers=broker.bootstrap_servers)
    await asyncio.to_thread(ensure_topics, told)
    parts = [
        asyncio.ensure_future(_part(demo, "the worker", _work(demo, told))),
        asyncio.ensure_future(_part(demo, "the simulator", _feed(demo, broker.bootstrap_servers))),
        asyncio.ensure_future(_part(demo, "Kafka", _guard_broker(demo, broker))),
        asyncio.ensure_future(_part(demo, "the table", _watch(demo))),
    ]
    if demo.wish.full:
        parts.append(asyncio.ensure_future(_part(demo, "monitoring", _monitor(demo))))
    await demo.until.wait()
    # without Kafka the worker tries for long to save what it has, which nobody needs here
    patience_s = STOP_PATIENCE_S if not demo.failure else STOP_PATIENCE_FAILED_S
    _, demo.stuck = await asyncio.wait(parts, timeout=patience_s)
    if demo.stuck:
        demo.fail(f"the worker did not stop within {patience_s:g} s")


async def _part(demo: Demo, name: str, work: Awaitable[None]) -> None:
    """Run one part; when it ends, for whatever reason, everything ends."""
    try:
        await work
    except DemoError as error:
        demo.fail(str(error))
    except Exception as error:
        logging.getLogger(__name__).debug("%s", name, exc_info=error)
        demo.fail(f"{name} failed: {str(error) or type(error).__name__}")
    finally:
        demo.until.set()


async def _work(demo: Demo, told: Any) -> None:
    from stream.engine import run_worker  # noqa: PLC0415 - imported while the broker started
    from stream.export import BindError, serve  # noqa: PLC0415

    http = demo.settings.http

    async def exporter(engine: Any) -> Any:
        try:
            served = await serve(
                engine,
                http.host,
                demo.port,
                monotonic_s=monotonic_s,
                allow_remote=http.allow_remote,
                alerts=demo.settings.alerts,
            )
        except BindError as error:
            demo.fail(str(error))
            return None
        demo.engine = engine
        demo.address = served.address
        demo.show.address(*served.address)
        return _Cleanup(served.close)

    code = await run_worker(told, exporter, until=demo.until)
    if code and not demo.failure:
        raise DemoError("the worker stopped by itself")


@dataclass(frozen=True, slots=True)
class _Cleanup:
    cleanup: Callable[[], Awaitable[None]]


async def _feed(demo: Demo, servers: str) -> None:
    """Send the last four hours at once, then go on at the wished speed until the end."""
    from stream import simulate as simulation  # noqa: PLC0415 - imported while the broker started

    start_ms = wall_ms() - HISTORY_MS
    centre = simulation.default_centre(demo.settings.time_zone).at_working_hour(wall_ms())
    emissions = simulation.simulate(centre, seed=demo.wish.seed, start_ms=start_ms)

    def on_progress(state: Any) -> None:
        demo.sent = state.sent
        if state.live and not demo.live:
            demo.live = True
            demo.show.note(f"{state.sent} events of the last four hours sent after {demo.took()}")

    await simulation.produce(
        emissions,
        servers,
        demo.settings.kafka.topic_events,
        speed=demo.wish.speed,
        now_ms=wall_ms,
        stop=demo.until,
        on_progress=on_progress,
    )


async def _guard_broker(demo: Demo, broker: Any) -> None:
    while not demo.until.is_set():
        if not broker.running:
            raise DemoError(f"Kafka died (exit code {broker.exit_code}); start the demo again")
        await _pause(demo, LOOK_S)


async def _monitor(demo: Demo) -> None:
    """Run Prometheus and Alertmanager beside the worker, once it listens."""
    from stream.demo.monitoring import Monitoring  # noqa: PLC0415 - few demos need it

    while demo.address is None and not demo.until.is_set():
        await _pause(demo, LOOK_S / 4)
    if demo.address is None:
        return
    host, port = demo.address
    monitoring = Monitoring(demo.show.note)
    try:
        await asyncio.to_thread(monitoring.start, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await demo.until.wait()
    finally:
        await asyncio.to_thread(monitoring.stop)


async def _watch(demo: Demo) -> None:
    """Show what there is, from the first numbers to the end of the seconds."""
    board = None
    while not demo.until.is_set():
        board = _board(demo)
        if board is not None and board["ready"] and demo.live and board["total"]["windows"]:
            break
        if monotonic_s() - demo.began_s > START_LIMIT_S:
            raise DemoError(f"no numbers after {START_LIMIT_S:g} s: {board and board['not_ready_reason']}")
        await _pause(demo, LOOK_S / 4)
    if demo.until.is_set() or board is None:
        return
    demo.show.first_numbers(demo.took())
    end_s = None if demo.wish.seconds is None else monotonic_s() + demo.wish.seconds
    while not demo.until.is_set() and (end_s is None or monotonic_s() < end_s):
        board = _board(demo) or board
        demo.show.board(board)
        await _pause(demo, LOOK_S if end_s is None else min(LOOK_S, max(0.0, end_s - monotonic_s())))
    demo.show.last(board)


def _board(demo: Demo) -> Any:
    from stream.export.board import board  # noqa: PLC0415 - imported while the broker started

    return None if demo.engine is None else board(demo.engine.snapshot(), version="")


async def _pause(demo: Demo, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(demo.until.wait(), seconds)


@contextlib.contextmanager
def _signals(until: asyncio.Event) -> Iterator[None]:
    """Let Ctrl-C end the demo in order, from its first moment to its last."""

    def stop(*_: Any) -> None:
        loop.call_soon_threadsafe(until.set)

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _take_log(demo: Demo) -> None:
    """Keep the worker's log off the screen, but for what ends it: that becomes the one line."""
    logging.getLogger().addHandler(_Last(demo))


class _Last(logging.Handler):
    def __init__(self, demo: Demo) -> None:
        super().__init__(logging.CRITICAL)
        self._demo = demo

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "callgauge" and not self._demo.until.is_set():
            self._demo.fail(f"the worker stopped: {record.getMessage()}")
