"""Rules 3.4 and 3.5: requests, conflicts, reservations and the order of service."""

from __future__ import annotations

from townlet_env.jit import kernel
from townlet_env.sim.events import log, log_affordance
from townlet_env.sim.hands import drop_reservation, leave_line, stop_using
from townlet_env.sim.ids import NONE, EventKind, ShiftState, Verb
from townlet_env.sim.places import manhattan, nearest_in_range
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import FULL, Orders, Outcome, World


@kernel
def join_queues(world: World, outcome: Outcome, rules: Rules, orders: Orders) -> None:
    """Carry out ``request`` and ``release`` in the order of the turns."""
    for turn in range(world.n_residents):
        i = int(outcome.turn[turn])
        if world.alive[i] == 0:
            continue
        verb = rules.action_verb[orders[i]]
        if verb == Verb.RELEASE:
            release(world, outcome, rules, i)
            outcome.success[i] = 1
        elif verb == Verb.REQUEST:
            o = nearest_in_range(world, rules, i, int(rules.action_argument[orders[i]]))
            if o != NONE:
                request(world, outcome, i, o)
                outcome.success[i] = 1


@kernel
def request(world: World, outcome: Outcome, i: int, o: int) -> None:
    """Reserve a free object nobody waits for, else join its line; a taken object is a conflict."""
    waiting = int(world.queue_length[o])
    other = int(world.user[o])
    if other == NONE:
        other = int(world.holder[o])
    if other == NONE and waiting > 0:
        other = int(world.queue[o, 0])
    if other == NONE and world.cooldown_until[i, o] <= world.tick:
        reserve(world, outcome, i, o)
        return
    if other != NONE:
        log(outcome, EventKind.QUEUE_CONFLICT, i, other, o, 1.0 + 0.5 * waiting)
    log(outcome, EventKind.QUEUE_JOINED, i, NONE, o, 0.0)
    join(world, i, o)


@kernel
def reserve(world: World, outcome: Outcome, i: int, o: int) -> None:
    """Give the reservation of ``o`` to ``i``."""
    world.holder[o] = i
    world.holder_age[o] = 0
    world.reserved_object[i] = o
    log(outcome, EventKind.RESERVED, i, NONE, o, 0.0)


@kernel
def join(world: World, i: int, o: int) -> None:
    """Put ``i`` at the back of the line of ``o``."""
    world.queue[o, world.queue_length[o]] = i
    world.queue_length[o] += 1
    world.queue_object[i] = o
    world.queue_ticks[i] = 0


@kernel
def release(world: World, outcome: Outcome, rules: Rules, i: int) -> None:
    """Give up what ``i`` uses, holds or waits for; letting the next one go first is a courtesy."""
    if world.busy_affordance[i] != NONE:
        affordance = int(world.busy_affordance[i])
        o = int(world.busy_object[i])
        # Work is open ended: to leave it is its normal end.
        kind = EventKind.AFFORDANCE_RELEASED
        if rules.affordance_work[affordance] != 0:
            kind = EventKind.AFFORDANCE_FINISHED
        log_affordance(outcome, kind, i, NONE, o, affordance, 0.0)
        stop_using(world, i)
    elif world.reserved_object[i] != NONE:
        o = int(world.reserved_object[i])
        drop_reservation(world, i)
        if world.queue_length[o] > 0:
            let_go_first(world, outcome, i, int(world.queue[o, 0]), o)
    elif world.queue_object[i] != NONE:
        log(outcome, EventKind.QUEUE_LEFT, i, NONE, int(world.queue_object[i]), 0.0)
        leave_line(world, i)


@kernel
def let_go_first(world: World, outcome: Outcome, i: int, j: int, o: int) -> None:
    """Log that ``i`` let ``j`` go first: a help to who is late, else a courtesy."""
    if world.shift_state[j] == ShiftState.LATE:
        log(outcome, EventKind.HELPED, i, j, o, 0.0)
    else:
        log(outcome, EventKind.COURTESY, i, j, o, 0.0)


@kernel
def serve_queues(world: World, outcome: Outcome, rules: Rules, orders: Orders) -> None:
    """Age the waiting, rotate holders who do not start, and serve every free object."""
    for i in range(world.n_residents):
        if world.queue_object[i] == NONE:
            continue
        if manhattan(world, i, int(world.queue_object[i])) > rules.queue_range:
            log(outcome, EventKind.QUEUE_LEFT, i, NONE, int(world.queue_object[i]), 0.0)
            leave_line(world, i)
        else:
            world.queue_ticks[i] = min(int(world.queue_ticks[i]) + 1, FULL)
    for o in range(world.n_objects):
        if world.user[o] != NONE:
            continue  # an occupant is never evicted by the queue
        if world.holder[o] != NONE:
            rotate_if_due(world, outcome, rules, orders, o)
        if world.holder[o] == NONE and world.queue_length[o] > 0:
            serve(world, outcome, rules, o)


@kernel
def rotate_if_due(world: World, outcome: Outcome, rules: Rules, orders: Orders, o: int) -> None:
    """Send a holder who did not start in time to the back of the line."""
    h = int(world.holder[o])
    if rules.action_verb[orders[h]] == Verb.START:
        return  # starts in this very tick
    world.holder_age[o] += 1
    if world.holder_age[o] <= rules.reservation_ticks:
        return
    behind = int(world.queue[o, 0]) if world.queue_length[o] > 0 else NONE
    log(outcome, EventKind.QUEUE_ROTATED, h, behind, o, 0.0)
    drop_reservation(world, h)
    if manhattan(world, h, o) <= rules.queue_range:
        join(world, h, o)
    else:
        log(outcome, EventKind.QUEUE_LEFT, h, NONE, o, 0.0)


@kernel
def serve(world: World, outcome: Outcome, rules: Rules, o: int) -> None:
    """Reserve ``o`` for the waiting resident of the highest priority that is not in cooldown."""
    best = NONE
    best_priority = 0.0
    for place_in_line in range(world.queue_length[o]):
        i = int(world.queue[o, place_in_line])
        if world.cooldown_until[i, o] > world.tick:
            continue
        priority = rules.age_priority_weight * world.queue_ticks[i] - place_in_line
        if best == NONE or priority > best_priority:
            best = i
            best_priority = priority
    if best != NONE:
        leave_line(world, best)
        reserve(world, outcome, best, o)
        world.holder_age[o] = 1  # this tick counts, as it does for who asked at a free object
