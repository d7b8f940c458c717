"""The discrete-event simulation: a heap of what happens next, and what each happening leads to.

Theory of operation. The heap holds `(at_ms, number, action, subject, detail)`; the number makes equal
instants happen in the order in which they were planned, so that a seed gives one course of events
and no comparison ever reaches an action. Popping an entry calls the action, which appends call
events to `_out` and plans further entries. Time is whole milliseconds throughout.

An entry is never taken back. A customer's leaving carries the value of `call.stay` at the time of
planning, and does nothing once that has moved on (the call was answered meanwhile).

A call holds a trunk from `offered` to its last `ended`, `abandoned`, `left` or `blocked`. An agent
is busy from `answered` to the end of the wrap-up. `_alive` counts calls with a trunk and wrap-ups
going on: with no arrival to come and nothing alive, the run is over.

Nothing grows with history: a call is known to the heap, to the waiting line of its queue and to
nothing else.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from schemas import Abandoned, Answered, Blocked, Ended, Event, Hold, Left, Offered, Queued, Resumed, WrapUp
from stream.simulate.disturbance import Disturbance, check_queues
from stream.simulate.emission import Emission
from stream.simulate.local_time import DAY_MS
from stream.simulate.model import Centre
from stream.simulate.plan import Plan
from stream.simulate.pool import Call, Exit, Pool

_Action = Callable[[int, Any, Any], None]
_NEVER_MS = 1 << 62
# Whoever still waits this long after the last arrival waits for agents who never come.
_DRAIN_MS_MAX = DAY_MS
# `answered`, `hold`, `resumed` and `ended` get an instant each.
_TALK_WITH_HOLD_MS_MIN = 4


class Run:
    """One run of a centre; `emissions` may be asked for once."""

    def __init__(
        self,
        centre: Centre,
        *,
        seed: int,
        start_ms: int,
        end_ms: int | None,
        calls: int | None,
        disturbances: Sequence[Disturbance],
        drain: bool,
    ) -> None:
        check_queues(disturbances, (queue.name for queue in centre.queues))
        self._end_ms = _NEVER_MS if end_ms is None else end_ms
        self._stop_ms = _NEVER_MS if drain else self._end_ms
        self._calls_left = _NEVER_MS if calls is None else calls
        self._trunks_free = _NEVER_MS if centre.trunks is None else centre.trunks
        # The start is part of the id, so that a second run does not continue the calls of the first.
        self._id_prefix = f"{seed}-{start_ms // 1000:x}-"
        self._calls_made = 0
        self._alive = 0
        self._arrivals_planned = 0
        self._force_at_ms = _NEVER_MS
        self._heap: list[tuple[int, int, _Action, Any, Any]] = []
        self._planned = 0
        self._out: list[Event] = []
        self._pools: dict[str, Pool] = {}
        first_agent = 1
        for queue in centre.queues:
            plan = Plan(centre, queue, disturbances, start_ms)
            pool = self._pools[queue.name] = Pool(plan, str(seed), start_ms, first_agent)
            first_agent += len(pool.agent_names)
            self._restaff(start_ms, pool, None)
            self._plan_arrival(pool)

    def emissions(self) -> Iterator[Emission]:
        """Yield every event in order of time, each at the moment it happens."""
        out, heap, pop = self._out, self._heap, heapq.heappop
        while heap and not self._over():
            at_ms, _, action, subject, detail = pop(heap)
            if at_ms >= self._stop_ms:
                return
            if at_ms >= self._force_at_ms:
                self._send_everybody_away(at_ms)
            action(at_ms, subject, detail)
            if out:
                for event in out:
                    yield Emission(at_ms, event)
                out.clear()

    def _over(self) -> bool:
        if self._arrivals_planned and self._calls_left:
            return False
        if self._force_at_ms == _NEVER_MS and self._heap:
            self._force_at_ms = self._heap[0][0] + _DRAIN_MS_MAX
        return self._alive == 0

    def _plan(self, at_ms: int, action: _Action, subject: Any, detail: Any = None) -> None:
        self._planned += 1
        heapq.heappush(self._heap, (at_ms, self._planned, action, subject, detail))

    # Arrivals

    def _plan_arrival(self, pool: Pool) -> None:
        at_ms = pool.arrivals.next_at_ms()
        if at_ms is not None and at_ms < self._end_ms:
            self._arrivals_planned += 1
            self._plan(at_ms, self._arrive, pool)

    def _arrive(self, at_ms: int, pool: Pool, _: None) -> None:
        self._arrivals_planned -= 1
        self._plan_arrival(pool)
        self._offer(at_ms, pool)

    def _call_back(self, at_ms: int, pool: Pool, _: None) -> None:
        self._arrivals_planned -= 1
        self._offer(at_ms, pool)

    def _offer(self, at_ms: int, pool: Pool) -> None:
        if not self._calls_left:
            return
        self._calls_left -= 1
        self._calls_made += 1
        call = Call(f"{self._id_prefix}{self._calls_made:06d}", pool)
        self._out.append(Offered(call_id=call.call_id, at=at_ms, queue=pool.name))
        if not self._trunks_free:
            self._out.append(Blocked(call_id=call.call_id, at=at_ms, queue=pool.name, reason="busy"))
            return
        self._trunks_free -= 1
        self._alive += 1
        if pool.menu is None:
            self._enter(at_ms, call, None)
        elif pool.happens(pool.model.menu_hang_up):
            self._plan(at_ms + pool.menu(), self._hang_up, call)
        else:
            self._plan(at_ms + pool.menu(), self._enter, call)

    def _hang_up(self, at_ms: int, call: Call, _: None) -> None:
        self._out.append(Ended(call_id=call.call_id, at=at_ms, reason="menu"))
        self._gone()

    def _gone(self) -> None:
        self._trunks_free += 1
        self._alive -= 1

    # Waiting

    def _enter(self, at_ms: int, call: Call, _: None) -> None:
        pool = call.pool
        refusal = pool.refusal()
        if refusal is not None:
            self._out.append(Blocked(call_id=call.call_id, at=at_ms, queue=pool.name, reason=refusal))
            self._gone()
            return
        self._out.append(Queued(call_id=call.call_id, at=at_ms, queue=pool.name))
        agent = pool.take_agent()
        if agent is not None:
            self._answer(at_ms, call, agent)
            return
        pool.waiting[call] = None
        call.exits = pool.plan_exits(at_ms)
        self._plan_next_exit(call)

    def _plan_next_exit(self, call: Call) -> None:
        call.stay += 1
        if call.exits:
            at_ms, how = call.exits.pop()
            self._plan(at_ms, self._give_up, call, (call.stay, how))

    def _give_up(self, at_ms: int, call: Call, planned: tuple[int, Exit]) -> None:
        stay, how = planned
        if stay != call.stay:
            return
        pool = call.pool
        overflow_to = pool.model.overflow_to
        if how == "overflow" and overflow_to is not None:
            self._overflow(at_ms, call, self._pools[overflow_to])
            return
        self._stop_waiting(call)
        if how == "abandoned":
            self._out.append(Abandoned(call_id=call.call_id, at=at_ms, queue=pool.name))
        else:
            self._out.append(Left(call_id=call.call_id, at=at_ms, queue=pool.name, reason=how))
        self._gone()
        if how == "callback":
            self._plan_callback(at_ms + pool.callback_delay(), pool)

    def _plan_callback(self, at_ms: int, pool: Pool) -> None:
        if at_ms < self._end_ms:
            self._arrivals_planned += 1
            self._plan(at_ms, self._call_back, pool)

    def _overflow(self, at_ms: int, call: Call, target: Pool) -> None:
        # Refused there, the customer stays: `blocked` is for contacts that do not wait yet.
        if target.refusal() is not None:
            self._plan_next_exit(call)
            return
        self._stop_waiting(call)
        self._out.append(Left(call_id=call.call_id, at=at_ms, queue=call.pool.name, reason="overflow"))
        call.pool = target
        self._enter(at_ms, call, None)

    def _stop_waiting(self, call: Call) -> None:
        del call.pool.waiting[call]
        call.stay += 1

    # Conversations

    def _answer(self, at_ms: int, call: Call, agent: int) -> None:
        call.stay += 1
        pool = call.pool
        self._out.append(
            Answered(call_id=call.call_id, at=at_ms, queue=pool.name, agent=pool.agent_names[agent])
        )
        talk_ms = pool.talk()
        if pool.happens(pool.model.hold_probability) and talk_ms >= _TALK_WITH_HOLD_MS_MIN:
            self._plan_hold(at_ms, talk_ms, call)
        self._plan(at_ms + talk_ms, self._end, call, agent)

    def _plan_hold(self, at_ms: int, talk_ms: int, call: Call) -> None:
        # Strictly inside the conversation: `hold` and `ended` in one instant would be a matter of taste.
        hold_at_ms = at_ms + 1 + int(call.pool.source.random() * (talk_ms - 3))
        resumed_at_ms = hold_at_ms + call.pool.hold()
        self._plan(hold_at_ms, self._hold, call)
        # Otherwise the customer hangs up while on hold: `ended` with no `resumed`.
        if resumed_at_ms < at_ms + talk_ms:
            self._plan(resumed_at_ms, self._resume, call)

    def _hold(self, at_ms: int, call: Call, _: None) -> None:
        self._out.append(Hold(call_id=call.call_id, at=at_ms))

    def _resume(self, at_ms: int, call: Call, _: None) -> None:
        self._out.append(Resumed(call_id=call.call_id, at=at_ms))

    def _end(self, at_ms: int, call: Call, agent: int) -> None:
        pool = call.pool
        transferred = pool.happens(pool.model.transfer_probability)
        self._out.append(
            Ended(call_id=call.call_id, at=at_ms, reason="transfer" if transferred else "customer")
        )
        if transferred:
            # The transfer takes time: `queued` in the same instant would sort before this `ended`.
            call.pool = self._pools[pool.source.choice(pool.model.transfer_to)]
            self._plan(at_ms + pool.transfer_delay(), self._enter, call)
        else:
            self._gone()
        if pool.wrap_up is None:
            self._release(at_ms, pool, agent)
        else:
            self._alive += 1
            duration_ms = pool.wrap_up()
            self._plan(at_ms + duration_ms, self._wrap_up, pool, (call.call_id, agent, duration_ms))

    def _wrap_up(self, at_ms: int, pool: Pool, work: tuple[str, int, int]) -> None:
        call_id, agent, duration_ms = work
        self._alive -= 1
        self._out.append(
            WrapUp(call_id=call_id, at=at_ms, duration_ms=duration_ms, agent=pool.agent_names[agent])
        )
        self._release(at_ms, pool, agent)

    # Agents

    def _release(self, at_ms: int, pool: Pool, agent: int) -> None:
        pool.release_agent(agent)
        if pool.waiting:
            self._serve_waiting(at_ms, pool)

    def _serve_waiting(self, at_ms: int, pool: Pool) -> None:
        while pool.waiting:
            agent = pool.take_agent()
            if agent is None:
                return
            call, _ = pool.waiting.popitem(last=False)
            self._answer(at_ms, call, agent)

    def _restaff(self, at_ms: int, pool: Pool, _: None) -> None:
        pool.segment = pool.plan.segment(at_ms)
        pool.set_on_duty(pool.segment.agents)
        self._serve_waiting(at_ms, pool)
        if pool.on_duty == 0 and not pool.model.join_empty:
            self._send_away(at_ms, pool, "empty")
        self._plan(pool.segment.ends_at_ms, self._restaff, pool)

    def _send_away(self, at_ms: int, pool: Pool, reason: str) -> None:
        for call in list(pool.waiting):
            self._stop_waiting(call)
            self._out.append(Left(call_id=call.call_id, at=at_ms, queue=pool.name, reason=reason))
            self._gone()

    def _send_everybody_away(self, at_ms: int) -> None:
        self._force_at_ms = at_ms + _DRAIN_MS_MAX
        for pool in self._pools.values():
            self._send_away(at_ms, pool, "other")
