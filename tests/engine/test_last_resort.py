"""What ends a process when nothing else would, in processes of their own where it really ends."""

import asyncio
import subprocess
import sys
import threading

from aiokafka.errors import NodeNotReadyError

from stream.engine.last_resort import nothing_unheard, unheard


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_process_that_wants_to_end_and_cannot_is_ended():
    """A thread that hangs keeps an interpreter alive; the exit code says that something went wrong."""
    done = run(
        "import threading; from stream.engine.last_resort import leave_within\n"
        "threading.Thread(target=threading.Event().wait).start(); leave_within(0.2)"
    )

    assert done.returncode == 1


def test_one_that_ends_by_itself_is_not_kept_waiting():
    """The timer holds nobody back, and does not change the exit code."""
    done = run("from stream.engine.last_resort import leave_within; leave_within(1_000); raise SystemExit(7)")

    assert done.returncode == 7


def test_a_loop_that_turns_is_left_alone_and_one_that_does_not_is_ended():
    """The guard counts turns that were missed, and says where every thread stood."""
    done = run(
        "import asyncio, time; from stream.engine.last_resort import LoopGuard\n"
        "async def main():\n"
        "    with LoopGuard(asyncio.get_running_loop(), 2):\n"
        "        await asyncio.sleep(5); print('turned', flush=True); time.sleep(1_000)\n"
        "asyncio.run(main())"
    )

    assert (done.returncode, done.stdout) == (1, "turned\n")
    assert "in main" in done.stderr


def test_a_lost_connection_is_a_line_and_no_end(caplog):
    """Whoever used it hears of it too; nothing that asyncio knows of it is written, for it may hold a record."""
    failures: list[BaseException] = []

    async def look() -> None:
        handle = unheard(asyncio.get_running_loop(), failures.append)
        for error in (
            ConnectionResetError("canary"),
            NodeNotReadyError("canary"),
            TimeoutError("canary"),
            None,
        ):
            handle(asyncio.get_running_loop(), {"message": "it broke", "exception": error, "task": "canary"})
        await asyncio.sleep(0)

    asyncio.run(look())

    assert failures == []
    assert "it broke (ConnectionResetError)" in caplog.text
    assert "canary" not in caplog.text


def test_an_error_of_a_callback_or_a_thread_reaches_who_can_end_the_process():
    """And what was there before is there again afterwards."""
    failures: list[BaseException] = []
    before = threading.excepthook

    def fail() -> None:
        raise ValueError

    async def look() -> None:
        loop = asyncio.get_running_loop()
        with nothing_unheard(loop, failures.append):
            loop.call_soon(fail)
            thread = threading.Thread(target=fail)
            thread.start()
            await asyncio.to_thread(thread.join)
            await asyncio.sleep(0.01)
        assert loop.get_exception_handler() is None

    asyncio.run(look())

    assert [type(error) for error in failures] == [ValueError, ValueError]
    assert threading.excepthook is before
