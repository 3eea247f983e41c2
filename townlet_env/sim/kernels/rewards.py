"""Rules 3.11 and 5: the reward, each component kept apart."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.ids import COMPONENT_COUNT, NEED_COUNT, Component
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Outcome, World


@kernel
def score(world: World, outcome: Outcome, rules: Rules) -> None:
    """Write every resident's reward and its components; they sum to the reward."""
    for i in range(world.n_residents):
        for c in range(COMPONENT_COUNT):
            outcome.components[i, c] = 0.0
        outcome.reward[i] = 0.0
        if world.alive[i] == 0:
            continue
        row = outcome.components[i]
        row[Component.SURVIVAL] = rules.survival_tick
        # A difference, not a sign: nobody's reward is -0.0.
        row[Component.NEEDS] = np.float32(0.0) - rules.needs_scale * squared_deficit(
            world, rules, i
        )
        before = world.potential[i]
        after = potential(world, rules, i)
        # Ng, Harada, Russell 1999, theorem 1: gamma phi(s') - phi(s) keeps the best policy.
        row[Component.SHAPING] = rules.shaping_gamma * after - before
        world.potential[i] = after
        row[Component.WAGE] = rules.wage_weight * outcome.wage[i]
        row[Component.PUNCTUALITY] = rules.punctuality_scale * outcome.punctuality[i]
        row[Component.SOCIAL] = outcome.social[i]
        total = np.float32(0.0)
        for c in range(Component.TERMINAL):
            total += row[c]
        clipped = min(max(total, -rules.clip_at), rules.clip_at)
        row[Component.CLIP] = clipped - total
        outcome.reward[i] = clipped + row[Component.TERMINAL]


@kernel
def squared_deficit(world: World, rules: Rules, i: int) -> np.float32:
    """Return the sum of w_k (1 - need_k)^2."""
    total = np.float32(0.0)
    for k in range(NEED_COUNT):
        deficit = np.float32(1.0) - world.needs[i, k]
        total += rules.need_weight[k] * deficit * deficit
    return total


@kernel
def potential(world: World, rules: Rules, i: int) -> float:
    """Return phi = -shaping_scale x sum of w_k (1 - need_k)."""
    total = np.float32(0.0)
    for k in range(NEED_COUNT):
        total += rules.need_weight[k] * (np.float32(1.0) - world.needs[i, k])
    return float(np.float32(0.0) - rules.shaping_scale * total)
