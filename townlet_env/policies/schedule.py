"""Schedules: steps that are done when they are done, never because a tick passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from townlet_env.config.steps import (
    ChatStep,
    GoStep,
    MoveStep,
    ReleaseStep,
    RepeatStep,
    RequestStep,
    StartStep,
    Step,
    UseStep,
    WaitFor,
    WaitStep,
    WaitUntil,
    WorkStep,
)
from townlet_env.policies.errands import (
    has_finished,
    place_for,
    pursue,
    request_of,
    walk,
    work_affordance,
)
from townlet_env.policies.policy import WAIT, Policy, Seat, Sight
from townlet_env.policies.walking import steps_left, steps_to_cell
from townlet_env.sim.ids import NONE, ShiftState
from townlet_env.sim.places import nearest_free_resident, on_shift


class Round(NamedTuple):
    """One list of steps that is being done: the schedule itself, or what a repeat repeats."""

    steps: tuple[Step, ...]
    at: int  # index of the current step
    left: int  # rounds still to do, this one included
    since: int  # tick in which this round began


class Memory(NamedTuple):
    """Where a resident stands in its schedule; nothing else is remembered."""

    rounds: tuple[Round, ...]  # innermost last; empty when the schedule is done
    since: int  # tick in which the current step began; NONE before its first look
    issued: int  # the single action of the current step, once it was chosen; else NONE
    then: Any  # memory of the policy that follows


class Schedule(Policy):
    """Does the steps of a resident's schedule in order, then hands over to another policy."""

    def __init__(self, seat: Seat, then: Policy) -> None:
        """Take a seat; ``then`` decides once every step is done."""
        super().__init__(seat)
        self._then = then
        self._handlers: dict[type, Callable[[Any, Sight], int | None]] = {
            GoStep: self._go,
            UseStep: self._use,
            WorkStep: self._work,
            RequestStep: self._request,
            StartStep: self._start,
            ReleaseStep: self._release,
            MoveStep: self._move,
            ChatStep: self._chat,
            WaitStep: self._wait,
        }
        self._fields = {
            cell: steps_to_cell(seat.plan, cell) for cell in _cells(seat.resident.schedule)
        }
        self.reset()

    def reset(self) -> None:
        """Go back to the first step."""
        self._then.reset()
        self._rounds: tuple[Round, ...] = (Round(tuple(self.seat.resident.schedule), 0, 1, 0),)
        self._since, self._issued = NONE, NONE

    def get_memory(self) -> Memory:
        """Return the place in the schedule."""
        return Memory(self._rounds, self._since, self._issued, self._then.get_memory())

    def set_memory(self, memory: Memory) -> None:
        """Go on from a place in the schedule."""
        self._rounds, self._since, self._issued, then = memory
        self._then.set_memory(then)

    @property
    def done(self) -> bool:
        """Whether every step has been seen to be done."""
        return not self._rounds

    def act(self, sight: Sight) -> int:
        """Return the action of the first step that is not done yet."""
        tick = int(sight.world.tick)
        while self._rounds:
            innermost = self._rounds[-1]
            step = innermost.steps[innermost.at]
            if self._since == NONE:
                self._since = tick
            if isinstance(step, RepeatStep):
                inner = Round(tuple(step.repeat.steps), 0, step.repeat.times, tick)
                self._rounds = (*self._rounds, inner)
                self._since = NONE
                continue
            action = self._handlers[type(step)](step, sight)
            if action is not None:
                return action
            self._next(tick)
        return self._then.act(sight)

    def _next(self, tick: int) -> None:
        """Go to the next step; out of every round that ends."""
        self._since, self._issued = NONE, NONE
        while self._rounds:
            outer, innermost = self._rounds[:-1], self._rounds[-1]
            if innermost.at + 1 < len(innermost.steps):
                self._rounds = (*outer, innermost._replace(at=innermost.at + 1))
                return
            # Had this round taken no time, all further ones would take none either.
            if innermost.left > 1 and innermost.since < tick:
                again = innermost._replace(at=0, left=innermost.left - 1, since=tick)
                self._rounds = (*outer, again)
                return
            self._rounds = outer

    # Each handler returns the action of this tick, or None once the step is done.

    def _go(self, step: GoStep, sight: Sight) -> int | None:
        if isinstance(step.go, str):
            steps = self.seat.plan.distance[self._object(step.go)]
        else:
            steps = self._fields[step.go]
        there = steps_left(sight.world, self.seat.slot, steps) == 0
        return None if there else walk(self.seat, sight, steps)

    def _use(self, step: UseStep, sight: Sight) -> int | None:
        seat, world, i = self.seat, sight.world, self.seat.slot
        affordance = seat.plan.names.affordances.index(step.use)
        # What finished in the tick before this step began belongs to the step before.
        if self._since < world.tick and has_finished(seat, sight, affordance):
            return None
        if world.busy_affordance[i] != NONE:
            return WAIT
        if step.give_up_after is not None and world.tick - self._since >= step.give_up_after:
            return self._legal("release", sight)
        o = place_for(seat, sight, affordance) if step.at is None else self._object(step.at)
        committed = int(max(world.reserved_object[i], world.queue_object[i]))
        if step.at is None and committed != NONE and self._fits(sight, affordance, committed):
            o = committed  # the nearest may change on the way; the place in line is worth more
        return WAIT if o == NONE else pursue(seat, sight, affordance, o)

    def _work(self, step: WorkStep, sight: Sight) -> int | None:
        seat, world = self.seat, sight.world
        affordance, busy = work_affordance(seat, sight), int(world.busy_affordance[seat.slot])
        if world.tick >= step.work.until:
            leaves = busy in (NONE, affordance)
            return self._legal("release", sight) if leaves else None
        if busy != NONE or affordance == NONE:
            return WAIT
        return pursue(seat, sight, affordance, int(world.job_object[seat.slot]))

    def _request(self, step: RequestStep, sight: Sight) -> int | None:
        return self._once(request_of(self.seat, sight, self._object(step.request)), sight)

    def _start(self, step: StartStep, sight: Sight) -> int | None:
        return self._once(self._legal(f"start:{step.start}", sight), sight)

    def _release(self, step: ReleaseStep, sight: Sight) -> int | None:
        return self._once(self._legal("release", sight), sight)

    def _move(self, step: MoveStep, sight: Sight) -> int | None:
        return self._once(self._legal(f"move:{step.move}", sight), sight)

    def _chat(self, step: ChatStep, sight: Sight) -> int | None:
        seat, reach = self.seat, int(self.seat.plan.rules[0].chat_range)
        partner = int(nearest_free_resident(sight.world, seat.slot, reach))
        fits = partner != NONE and seat.plan.names.residents[partner] == step.chat
        return self._once(self._legal("chat", sight) if fits else None, sight)

    def _wait(self, step: WaitStep, sight: Sight) -> int | None:
        wait = step.wait
        if isinstance(wait, WaitFor):
            over = self._holds(wait, sight)
        elif isinstance(wait, WaitUntil):
            over = sight.world.tick >= wait.until
        else:
            over = sight.world.tick - self._since >= wait
        return None if over else WAIT

    def _holds(self, wait: WaitFor, sight: Sight) -> bool:
        world, i = sight.world, self.seat.slot
        if wait.condition == "meal_ready":
            kind, objects = self.seat.plan.names.kinds.index("fridge"), int(world.n_objects)
            return any(world.kind[o] == kind and world.stock[o] > 0 for o in range(objects))
        if wait.condition == "turn":
            return bool(world.reserved_object[i] != NONE)
        if wait.condition == "shift":
            return bool(on_shift(world, i))
        return bool(world.shift_state[i] == ShiftState.DONE)

    def _once(self, action: int | None, sight: Sight) -> int | None:
        """Wait until the single action of a step is legal, issue it, and be done.

        Noise may put another action in its place on the way to the town: then it is issued again.
        """
        verbs = self.seat.plan.rules[0].action_verb
        if self._issued != NONE and sight.world.last_verb[self.seat.slot] == verbs[self._issued]:
            return None
        self._issued = NONE if action is None else action
        return WAIT if action is None else action

    def _legal(self, name: str, sight: Sight) -> int | None:
        action = self.seat.action(name)
        return action if sight.mask[action] else None

    def _object(self, name: str) -> int:
        return self.seat.plan.names.objects.index(name)

    def _fits(self, sight: Sight, affordance: int, o: int) -> bool:
        kinds = int(self.seat.plan.rules[0].affordance_kinds[affordance])
        return bool(kinds >> int(sight.world.kind[o]) & 1)


def _cells(steps: list[Step]) -> set[tuple[int, int]]:
    """Return every cell that some step goes to."""
    cells: set[tuple[int, int]] = set()
    for step in steps:
        if isinstance(step, RepeatStep):
            cells |= _cells(step.repeat.steps)
        elif isinstance(step, GoStep) and not isinstance(step.go, str):
            cells.add(step.go)
    return cells
