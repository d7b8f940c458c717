"""Everything on one machine: embedded Kafka, simulated shift, worker, wall."""

from stream.demo.run import DemoError, run_demo
from stream.demo.settings import DemoWish, demo_options
from stream.demo.show import Show

__all__ = ["DemoError", "DemoWish", "Show", "demo_options", "run_demo"]
