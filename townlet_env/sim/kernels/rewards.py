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
        if outcome.arrived[i] != 0:
            world.potential[i] = potential(world, rules, i)
        if outcome.arrived[i] != 0 or (world.alive[i] == 0 and outcome.terminated[i] == 0):
            continue
        row = outcome.components[i]
        row[Component.SURVIVAL] = rules.survival_tick
        # A difference, not a sign: nobody's reward is -0.0.
        row[Component.NEEDS] = np.float32(0.0) - rules.needs_scale * squared_deficit(
            world, rules, i
        )
        before = world.potential[i]
        # The potential of an end is 0 (Ng, Harada, Russell 1999, section 3).
        after = potential(world, rules, i) if outcome.terminated[i] == 0 else 0.0
        # Ng, Harada, Russell 1999, theorem 1: gamma phi(s') - phi(s) keeps the best policy.
        row[Component.SHAPING] = rules.shaping_gamma * after - before
        world.potential[i] = after
        row[Component.WAGE] = rules.wage_weight * outcome.wage[i]
        row[Component.PUNCTUALITY] = rules.punctuality_scale * outcome.punctuality[i]
        row[Component.SOCIAL] = outcome.social[i]
        total = np.float32(0.0)
        for c in range(Component.TERMINAL):
            total += row[c]
        row[Component.TERMINAL] = outcome.terminal[i]
        most = np.float32(0.0) if is_near_an_exit(world, outcome, rules, i) else rules.clip_at
        clipped = min(max(total, -rules.clip_at), most)
        row[Component.CLIP] = clipped - total
        outcome.reward[i] = clipped + row[Component.TERMINAL]


@kernel
def is_near_an_exit(world: World, outcome: Outcome, rules: Rules, i: int) -> bool:
    """Tell whether the resident leaves, is about to, or took the slot of who just left."""
    if rules.lives_enabled == 0:
        return False
    return bool(
        outcome.terminated[i] != 0
        or world.faint_ticks[i] >= max(rules.faint_after - rules.quiet_ticks, 1)
        or world.notice[i] > 0
        or world.tick < world.quiet_until[i]
    )


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
