"""The broker as a command: runs until it is told to stop."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from stream.kafka.broker import EmbeddedKafka

# How soon a signal or the broker's death is noticed.
POLL_S = 0.2


def run_foreground(port: int | None, data_dir: Path | None, echo: Callable[[str], None]) -> int:
    """Run a broker until SIGINT or SIGTERM. Prints its address once ready.

    Returns 0 after an orderly stop and 1 when the broker died. A failed start raises EmbeddedKafkaError.
    Must be called on the main thread, which alone receives signals.
    """
    told_to_stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        told_to_stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    broker = EmbeddedKafka(port=port, data_dir=data_dir)
    try:
        broker.start()
        echo(broker.bootstrap_servers)
        while not told_to_stop.is_set():
            if broker.wait(POLL_S):
                echo(str(broker.failure()))
                return 1
        return 0
    finally:
        broker.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)
