"""Where the exporter gets its view from."""

from typing import Protocol

from stream.core.snapshot import Snapshot, Status


class Source(Protocol):
    """Whoever owns the state; the exporter asks it and knows nothing else about it."""

    def snapshot(self) -> Snapshot:
        """Return one consistent view. Called on the event loop; must not block or await."""
        ...

    def status(self) -> Status:
        """Return what the snapshot would say of the process, without looking at any queue: probes come often."""
        ...
