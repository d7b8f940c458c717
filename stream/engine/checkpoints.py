"""Checkpoints: the whole state of a partition as one record of its table's changelog.

Faust recovers the changelog into the table after every assignment; ``newest`` reads it from there. Writing
goes past the table, straight to the producer, because what Faust does with a failed changelog record is to
log it and go on.
"""

from typing import Any, Final

from stream.engine.dead_letters import Send
from stream.engine.topics import MESSAGE_BYTES_MAX, changelog_name

_ROOM_FOR_HEADERS: Final = 64 * 1024
CHECKPOINT_BYTES_MAX: Final = MESSAGE_BYTES_MAX - _ROOM_FOR_HEADERS


class CheckpointTooLargeError(Exception):
    """A state that does not fit into one record."""


class CheckpointTable:
    """The checkpoints of one stage."""

    def __init__(self, app: Any, name: str, partitions: int) -> None:
        self._app = app
        self.topic = changelog_name(app.conf.id, name)
        self._table = app.Table(name, key_type=bytes, value_type=bytes, partitions=partitions)

    def on_recover(self, callback: Any) -> None:
        """Call back after every recovery, also when nothing was recovered."""
        self._table.on_recover(callback)

    def newest(self, partition: int) -> bytes | None:
        """Return the state that was recovered for a partition; None when there is none.

        The last record wins. One that a process wrote after it had lost the partition may be older; it is
        true all the same, and only more is read again.
        """
        found: bytes | None = self._table.data.data.get(_key(partition))
        return found

    async def save(self, partition: int, data: bytes, send: Send) -> None:
        """Write a state; returns when it is confirmed."""
        if len(data) > CHECKPOINT_BYTES_MAX:
            raise CheckpointTooLargeError(
                f"the checkpoint of {self.topic}[{partition}] has {len(data)} bytes, more than "
                f"{CHECKPOINT_BYTES_MAX}: spread the calls over more partitions"
            )
        key = _key(partition)
        confirmed = await (await send(self.topic, key, data, partition))
        self._remember(partition, key, data, confirmed.offset)

    def _remember(self, partition: int, key: bytes, data: bytes, offset: int) -> None:
        """Tell the recovery that this record is known.

        Otherwise a partition that is kept over a rebalance would read its own checkpoints again each time.
        """
        recovery = self._app.tables.recovery
        changelog_tp = next((tp for tp in recovery.active_tps if tp == (self.topic, partition)), None)
        if changelog_tp is None:
            return  # lost in the meantime
        if offset > (recovery.active_offsets.get(changelog_tp) or -1):
            recovery.active_offsets[changelog_tp] = offset
            store = self._table.data
            store.data[key] = data
            store._key_partition[key] = partition  # noqa: SLF001 - lets Faust drop it with the partition


def _key(partition: int) -> bytes:
    return str(partition).encode()
