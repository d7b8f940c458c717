"""The group coordinator: who is a member, who owns which partitions in which generation, and what was committed."""

from typing import TYPE_CHECKING

from faust.types import TP

from stream.engine.membership import NO_ERROR, REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER

if TYPE_CHECKING:
    import asyncio

    from tests.simulation.world import Process, World

SESSION_TIMEOUT_S = 1.5
REBALANCE_TIMEOUT_S = 1.5


class Group:
    """A consumer group with the eager protocol: at each change everybody gives everything away."""

    def __init__(self, world: "World", partitions: int, shards: int) -> None:
        self._world = world
        self._counts = (partitions, shards)
        self.generation = 0
        self.heard_at_s: dict[int, float] = {}  # members
        self.rebalancing = False
        self._joining: dict[int, tuple[Process, asyncio.Future[tuple[int, tuple[list[int], list[int]]]]]] = {}
        self.assigned: dict[int, tuple[list[int], list[int]]] = {}
        self.committed: dict[TP, int] = {}

    def join(self, process: "Process") -> "asyncio.Future[tuple[int, tuple[list[int], list[int]]]]":
        """Join, or join again; the result is the generation and the partitions of both stages."""
        future = process.loop.create_future()
        self.heard_at_s[process.number] = self._world.now_s
        self._joining[process.number] = (process, future)
        self._begin()
        self._complete_if_all_are_here()
        return future

    def leave(self, number: int) -> None:
        """Leave cleanly."""
        if self.heard_at_s.pop(number, None) is not None:
            self._joining.pop(number, None)
            self._begin()
            self._complete_if_all_are_here()

    def heartbeat(self, number: int, generation: int) -> int:
        """Answer a heartbeat with Kafka's error code."""
        if number not in self.heard_at_s:
            return UNKNOWN_MEMBER
        self.heard_at_s[number] = self._world.now_s
        changed = self.rebalancing or generation != self.generation
        return REBALANCE_IN_PROGRESS if changed else NO_ERROR

    def commit(self, number: int, generation: int, offsets: dict[TP, int], *, fenced: bool) -> bool:
        """Take offsets, unless they come from a generation that is over."""
        if fenced and (number not in self.heard_at_s or generation != self.generation):
            return False
        self.committed.update(offsets)
        return True

    def members(self) -> list[int]:
        """Return those who can be thrown out: who waits to join has nothing to lose yet, and Kafka keeps it."""
        return sorted(self.heard_at_s.keys() - self._joining.keys())

    def expire(self, number: int) -> None:
        """Hear nothing of a member for too long."""
        if self.heard_at_s.pop(number, None) is not None:
            self._joining.pop(number, None)
            self._begin()
            self._complete_if_all_are_here()

    def look(self) -> None:
        """Expire whoever was silent for longer than a session."""
        now_s = self._world.now_s
        for number, heard_at_s in list(self.heard_at_s.items()):
            if number not in self._joining and now_s - heard_at_s > SESSION_TIMEOUT_S:
                self.expire(number)

    def _begin(self) -> None:
        if not self.rebalancing:
            self.rebalancing = True
            began = self.generation
            self._world.at(self._world.now_s + REBALANCE_TIMEOUT_S, lambda: self._give_up_waiting(began))

    def _give_up_waiting(self, generation: int) -> None:
        if self.rebalancing and self.generation == generation:
            for number in [member for member in self.heard_at_s if member not in self._joining]:
                del self.heard_at_s[number]
            self._complete_if_all_are_here()

    def _complete_if_all_are_here(self) -> None:
        for number in [member for member, (process, _) in self._joining.items() if not process.alive]:
            del self._joining[number]  # its connection is closed, which the coordinator sees
            self.heard_at_s.pop(number, None)
        if not self.rebalancing or not self._joining or self.heard_at_s.keys() - self._joining.keys():
            return
        world = self._world
        self.rebalancing = False
        self.generation += 1
        members = sorted(self._joining)
        self.assigned = {number: ([], []) for number in members}
        for stage, count in enumerate(self._counts):
            for partition in range(count):
                self.assigned[world.random.choice(members)][stage].append(partition)
        world.note("rebalance")
        world.trace("generation", self.generation, *members)
        joining, self._joining = self._joining, {}
        for number, (_, future) in joining.items():
            self.heard_at_s[number] = world.now_s
            if not future.done():
                future.set_result((self.generation, self.assigned[number]))
