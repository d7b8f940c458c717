"""One queue at run time: who waits, which agents are idle, and the dice of its customers."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal, NamedTuple

from stream.simulate.model import Duration, QueueModel
from stream.simulate.plan import Arrivals, Plan, Segment

Exit = Literal["abandoned", "timeout", "callback", "overflow"]
Refusal = Literal["closed", "no_agents", "full"]


def _chance(seed: str) -> random.Random:
    # Seeded by text, which Python hashes with SHA-512: the same in every process and version.
    return random.Random(seed)  # noqa: S311  # simulation, not cryptography


class Leaving(NamedTuple):
    """When and how a customer stops waiting if nobody answers before."""

    at_ms: int
    how: Exit


class Call:
    """One contact in the centre. `stay` grows whenever what was planned for it no longer holds."""

    __slots__ = ("call_id", "exits", "pool", "stay")

    def __init__(self, call_id: str, pool: Pool) -> None:
        self.call_id = call_id
        self.pool = pool
        self.stay = 0
        self.exits: list[Leaving] = []


class Pool:
    """A queue's customers in order of arrival and its agents, the longest idle first."""

    def __init__(self, plan: Plan, seed: str, start_ms: int, first_agent: int) -> None:
        model = plan.queue
        self.model: QueueModel = model
        self.name = model.name
        self.plan = plan
        self.segment: Segment = plan.segment(start_ms)
        # One stream of chance for who calls and one for what they do: a shortage of staff then
        # meets the same callers at the same times as the undisturbed run.
        self.arrivals = Arrivals(plan, _chance(f"{seed}/{model.name}/arrivals"), start_ms)
        self.source = _chance(f"{seed}/{model.name}/customers")
        self.talk = model.talk.sampler(self.source)
        self.wrap_up = self._sampler(model.wrap_up)
        self.patience = self._sampler(model.patience)
        self.menu = self._sampler(model.menu)
        self.hold = model.hold.sampler(self.source)
        self.transfer_delay = model.transfer_delay.sampler(self.source)
        self.callback_delay = model.callback_delay.sampler(self.source)
        self.waiting: OrderedDict[Call, None] = OrderedDict()
        seats = max(model.agents)
        self.agent_names = [f"agent-{number:03d}" for number in range(first_agent, first_agent + seats)]
        self.on_duty = 0  # seats below this number are on duty
        self._busy = [False] * seats
        self._idle: deque[int] = deque()

    def _sampler(self, duration: Duration | None) -> Callable[[], int] | None:
        return None if duration is None else duration.sampler(self.source)

    def happens(self, probability: float) -> bool:
        """Throw the dice; nothing is drawn for what never happens."""
        return probability > 0.0 and self.source.random() < probability

    def take_agent(self) -> int | None:
        """Return the agent idle for longest, now busy; None: nobody is idle."""
        if not self._idle:
            return None
        agent = self._idle.popleft()
        self._busy[agent] = True
        return agent

    def release_agent(self, agent: int) -> None:
        """Make an agent idle again, or let go whose shift is over."""
        self._busy[agent] = False
        if agent < self.on_duty:
            self._idle.append(agent)

    def set_on_duty(self, agents: int) -> None:
        """Change the number of agents on duty; who is in a conversation finishes it first."""
        if agents < self.on_duty:
            self._idle = deque(agent for agent in self._idle if agent < agents)
        else:
            self._idle.extend(agent for agent in range(self.on_duty, agents) if not self._busy[agent])
        self.on_duty = agents

    def refusal(self) -> Refusal | None:
        """Return why a contact cannot enter now, or None: it can."""
        if not self.segment.open:
            return "closed"
        if self.on_duty == 0 and not self.model.join_empty:
            return "no_agents"
        capacity = self.model.capacity
        if capacity is not None and not self._idle and len(self.waiting) >= capacity:
            return "full"
        return None

    def plan_exits(self, at_ms: int) -> list[Leaving]:
        """Return how a customer who starts to wait now will leave, the first one last.

        More than one, because an overflow can find the other queue unwilling.
        """
        model = self.model
        exits: list[Leaving] = []
        if self.patience is not None:
            exits.append(Leaving(at_ms + self.patience(), "abandoned"))
        if model.timeout_after_ms is not None:
            exits.append(Leaving(at_ms + model.timeout_after_ms, "timeout"))
        if model.callback_after_ms is not None and self.happens(model.callback_probability):
            exits.append(Leaving(at_ms + model.callback_after_ms, "callback"))
        if model.overflow_after_ms is not None:
            exits.append(Leaving(at_ms + model.overflow_after_ms, "overflow"))
        if len(exits) > 1:
            exits.sort(reverse=True)
        return exits
