"""Rules 3.0: orders are made legal; nothing from outside can corrupt a world."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from townlet_env.jit import kernel
from townlet_env.sim.ids import Stream, Verb
from townlet_env.sim.random import USE_TURN, draw
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Orders, Outcome, World


@kernel
def take_orders(
    world: World, outcome: Outcome, rules: Rules, orders: Orders, mask: npt.NDArray[np.int8]
) -> None:
    """Replace illegal orders by ``wait`` in place, count them, and draw the turns of this tick.

    Args:
        world: One world.
        outcome: Cleared here for the new tick.
        rules: The compiled rules.
        orders: (N,) action ids as they came from outside.
        mask: (N, A) legal actions of the present state.
    """
    outcome.n_events = 0
    n = world.n_residents
    for i in range(n):
        outcome.illegal[i] = 0
        outcome.success[i] = 0
        outcome.wage[i] = 0.0
        outcome.punctuality[i] = 0.0
        outcome.social[i] = 0.0
        outcome.terminated[i] = 0
        outcome.truncated[i] = 0
        a = orders[i]
        if world.alive[i] == 0:
            orders[i] = 0
        elif a < 0 or a >= rules.n_actions or mask[i, a] == 0:
            orders[i] = 0
            outcome.illegal[i] = 1
        elif rules.action_verb[a] == Verb.WAIT:
            outcome.success[i] = 1
    draw_turns(world, outcome)


@kernel
def draw_turns(world: World, outcome: Outcome) -> None:
    """Shuffle the residents for this tick (Fisher and Yates; Durstenfeld 1964, algorithm 235)."""
    n = world.n_residents
    for i in range(n):
        outcome.turn[i] = i
    for last in range(n - 1, 0, -1):
        bits = draw(world.seed, Stream.WORLD, world.tick, last * 64 + USE_TURN)
        other = int(bits % np.uint64(last + 1))
        kept = outcome.turn[last]
        outcome.turn[last] = outcome.turn[other]
        outcome.turn[other] = kept
