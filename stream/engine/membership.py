"""This worker's place in the consumer group: since when, as of when, and whether it has been lost.

Theory of operation. A worker that was stopped or cut off does not know that its partitions have gone to another
one, so everything that others may see depends on ``last_contact_s``: when the last request was *sent* that the
group answered as it answers a member. The time of the answer would not do: a process that was stopped
for a minute first reads the answers of a minute ago. As long as the session has not passed since then, the group cannot
have given the partitions away.

With an instance id (static membership) Kafka lets the newest process that uses the id take the place of the one before,
so that a restart gets its partitions back at once, also after ``kill -9``. Two living processes with one id therefore
throw each other out, in turn, for ever: the group tells the one that lost its place only that it does not know it, and
it joins again. But a member that the group forgot while it was in contact was replaced; there is no other way. Then
the newer of the two has to go: the one that, less than ``NEWCOMER_S`` ago, found a member with its id in the group
when it joined. The older one joins again and keeps its partitions. Who comes back after a silence of more than a
session is a newcomer too: the other one may have been started in its place. Two that joined in the same instant have
both found nobody; they throw each other out until one has had ``TOGETHER_MAX`` of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NO_ERROR: Final = 0
UNKNOWN_MEMBER: Final = 25  # Kafka's error codes
REBALANCE_IN_PROGRESS: Final = 27
FENCED_INSTANCE: Final = 82
# The older worker learns at its next heartbeat (3 s) that it was replaced, drops its states and joins again; the newer
# one learns that at its own next heartbeat. A busy machine takes several times as long.
NEWCOMER_S: Final = 60.0
TOGETHER_MAX: Final = 5  # a supervisor that starts the newer one again and again takes longer for as many


@dataclass(slots=True)
class Membership:
    """Written by the thread that talks to the group, read by everybody. Times are those of a monotonic clock."""

    static: bool  # it has an instance id
    session_timeout_s: float
    last_contact_s: float
    joined_s: float | None = (
        None  # since when it has been a member without a break that it could have slept through
    )
    took_place: bool = False  # of a member with its id, dead or alive
    lost: bool = False  # the group does not know this worker any more, and it has not joined again
    replaced: int = 0  # times that another process took this one's place
    must_go: bool = False  # replaced, and the newer of the two

    def answered(self, codes: Iterable[int], sent_s: float, now_s: float) -> None:
        """Hear the answer to a heartbeat or a commit."""
        found = set(codes)
        if UNKNOWN_MEMBER in found:
            self.forgotten(now_s)
        elif found and found <= {NO_ERROR, REBALANCE_IN_PROGRESS} and not self.lost:
            self.last_contact_s = max(self.last_contact_s, sent_s)

    def joined(self, sent_s: float) -> None:
        """Hear that the group has assigned partitions, at a request sent at ``sent_s``."""
        self.last_contact_s = max(self.last_contact_s, sent_s)
        self.lost = False
        if self.joined_s is None:
            self.joined_s = sent_s

    def forgotten(self, now_s: float) -> None:
        """Hear that the group does not know this member; more than once for one loss is as good as once."""
        if self.lost or self.joined_s is None:
            return
        self.lost = True
        if now_s - self.last_contact_s > self.session_timeout_s:
            self.joined_s, self.took_place = None, True
        elif self.static:
            self.replaced += 1
            new = now_s - self.joined_s < NEWCOMER_S
            self.must_go = new and (self.took_place or self.replaced >= TOGETHER_MAX)

    def silent_s(self, now_s: float) -> float:
        """Return for how long the group has not answered this member."""
        return now_s - self.last_contact_s

    def certain(self, now_s: float) -> bool:
        """Say whether the partitions cannot have gone to another worker."""
        return not self.lost and self.silent_s(now_s) <= self.session_timeout_s
