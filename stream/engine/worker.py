"""The worker as a process: from the first connection to the exit code, on the caller's event loop."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka.errors import KafkaError as ClientError

from stream import compiled
from stream.access import KafkaRefusedError, KafkaUnreachableError
from stream.access.reach import reach
from stream.engine.engine import Engine, EngineError
from stream.engine.engine_settings import EngineSettings
from stream.engine.last_resort import EXIT_FAILED, LoopGuard, leave_within, nothing_unheard
from stream.engine.logs import set_up_logging
from stream.engine.topics import TopicsUnfitError, wait_for_topics
from stream.garbage import spare_the_collector

log = logging.getLogger("callgauge")

EXIT_DONE: Final = 0
EXIT_CONFIGURATION: Final = 2
LAST_LOOK_S: Final = 3.0  # for why Kafka failed, before the process ends because of it
FAILED_STOP_TIMEOUT_S: Final = 5.0  # nothing is saved after a failure: only what hangs takes longer
END_AFTER_STOP_S: Final = 5.0  # what is left once Faust has stopped: closing the port, threads
FAILED_END_TIMEOUT_S: Final = 15.0  # from the failure until the process must be gone, whatever hangs

Exporter = Callable[[Engine], Awaitable[Any]]


async def run_worker(
    settings: EngineSettings, exporter: Exporter | None = None, *, until: asyncio.Event | None = None
) -> int:
    """Run a worker until SIGTERM, SIGINT or ``until``; return the exit code.

    ``exporter`` is started before Kafka is touched, so that it can say why the worker is not ready. It
    gets the engine (whose ``snapshot()`` it reads on this loop) and may run until it is cancelled, or
    return something with a coroutine ``close`` or ``cleanup``, which is awaited at the end. What it
    raises ends the worker and is raised here.
    """
    set_up_logging()
    stop = until or asyncio.Event()
    loop = asyncio.get_running_loop()
    engine = Engine(settings)
    with (
        _signals(stop),
        nothing_unheard(loop, engine.fail),
        LoopGuard(loop, settings.stall_timeout_s),
    ):
        serving = asyncio.ensure_future(exporter(engine)) if exporter is not None else None
        if serving is not None:
            serving.add_done_callback(lambda done: _look_at_exporter(engine, done))
        try:
            return await _run(engine, stop)
        finally:
            await _end_exporter(serving)


def _look_at_exporter(engine: Engine, done: "asyncio.Future[Any]") -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        engine.end_with(error)  # told by whoever gets it raised


async def _end_exporter(serving: "asyncio.Future[Any] | None") -> None:
    if serving is None:
        return
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        served = await serving
        close = getattr(served, "close", None) or getattr(served, "cleanup", None)
        if close is not None:
            await close()


async def _run(engine: Engine, stop: asyncio.Event) -> int:
    settings = engine.settings
    try:
        if not await _unless(stop, engine, _prepare(engine)):
            return EXIT_FAILED if engine.failure is not None else EXIT_DONE
    except TopicsUnfitError as error:
        for problem in error.problems:
            log.critical("%s", problem)
        return EXIT_CONFIGURATION
    except KafkaRefusedError as error:
        log.critical("%s", error)
        return EXIT_CONFIGURATION
    starting = asyncio.ensure_future(_start(engine))
    watching = [asyncio.ensure_future(engine.guard(work())) for work in (engine.watch, engine.ask_for_ends)]
    await _first(stop.wait(), engine.failed.wait())
    if engine.failure is not None:
        leave_within(FAILED_END_TIMEOUT_S)
    else:
        leave_within(settings.stop_timeout_s + END_AFTER_STOP_S, "stopped, but something hangs: leaving")
    for task in watching:
        task.cancel()
    engine.stopping = True
    if isinstance(engine.failure, (ClientError, EngineError)):
        await _say_if_refused(settings)
    timeout_s = settings.stop_timeout_s if engine.failure is None else FAILED_STOP_TIMEOUT_S
    clean = await _stop(engine, starting, timeout_s)
    if engine.failure is None and clean:
        log.info("stopped: everything counted is saved")
        return EXIT_DONE
    return EXIT_FAILED


async def _say_if_refused(settings: EngineSettings) -> None:
    """Name a password or certificate that has changed: to a running client it is a broker that does not answer."""
    try:
        async with asyncio.timeout(LAST_LOOK_S):
            await reach(settings.servers, settings.access)
    except KafkaRefusedError as error:
        log.critical("%s", error)
    except (KafkaUnreachableError, TimeoutError):
        pass


async def _prepare(engine: Engine) -> None:
    engine.phase = f"connecting to Kafka at {engine.settings.bootstrap_servers}"

    def say(line: str) -> None:
        engine.phase = line.partition("; next attempt")[0]
        log.warning("%s", line)

    report = await wait_for_topics(engine.settings, say)
    if report.created:
        log.info("created topics: %s", ", ".join(report.created))
    engine.phase = ""


async def _start(engine: Engine) -> None:
    try:
        await engine.app.start()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, it ends the process
        engine.fail(error)
        return
    spare_the_collector()
    log.info("started; the core is %s", "compiled" if compiled.in_use() else "plain Python, which is slower")


async def _stop(engine: Engine, starting: "asyncio.Future[None]", timeout_s: float) -> bool:
    try:
        # Not wait_for: that waits for the end of what it cancels, and a stop that hangs may not hear of it.
        stopping = asyncio.ensure_future(engine.app.stop())
        done, _ = await asyncio.wait({stopping}, timeout=timeout_s)
        if not done:
            if engine.failure is None:
                log.critical("could not stop within %g s: leaving without a checkpoint", timeout_s)
            os._exit(EXIT_FAILED)  # Faust's thread would keep the process alive
        stopping.result()
        await engine.close()
    except Exception as error:  # noqa: BLE001 - the process ends either way
        engine.fail(error)
        return False
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
    return True


async def _unless(stop: asyncio.Event, engine: Engine, work: Awaitable[None]) -> bool:
    """Run until it is done, or until somebody wants to stop; say whether it is done."""
    task = asyncio.ensure_future(work)
    done = await _first(task, stop.wait(), engine.failed.wait())
    if task in done:
        task.result()
        return True
    return False


async def _first(*work: Awaitable[Any]) -> "set[asyncio.Future[Any]]":
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(each) for each in work]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Any:
    loop = asyncio.get_running_loop()
    installed = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(
            NotImplementedError, ValueError, RuntimeError
        ):  # not the main thread, or Windows
            loop.add_signal_handler(number, stop.set)
            installed.append(number)
    try:
        yield
    finally:
        for number in installed:
            loop.remove_signal_handler(number)
