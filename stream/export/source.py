"""Where the exporter gets its view from."""

from collections.abc import Iterator
from typing import Protocol

from stream.core.snapshot import Snapshot, Status


class Source(Protocol):
    """Whoever owns the state; the exporter asks it and knows nothing else about it."""

    def snapshot(self) -> Snapshot:
        """Return one consistent view. Called on the event loop; must not block or await."""
        ...

    def approach(self) -> Iterator[None]:
        """Do most of a snapshot's work beforehand, in steps between which other things may happen."""
        ...

    def status(self) -> Status:
        """Return what the snapshot would say of the process, without looking at any queue: probes come often."""
        ...
