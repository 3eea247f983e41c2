"""Rules 3.12: the clock; an episode is cut for everybody at ``max_ticks``."""

from __future__ import annotations

from townlet_env.jit import kernel
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Orders, Outcome, World


@kernel
def advance_clock(world: World, outcome: Outcome, rules: Rules, orders: Orders) -> None:
    """End the tick: remember the last action, count the tick, cut the episode by time."""
    world.tick += 1
    for i in range(world.n_residents):
        if world.alive[i] == 0:
            continue
        world.last_verb[i] = rules.action_verb[orders[i]]
        world.last_success[i] = outcome.success[i]
        if world.tick >= rules.max_ticks and outcome.terminated[i] == 0:
            outcome.truncated[i] = 1
