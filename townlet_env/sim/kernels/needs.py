"""Rules 3.7: needs fall every tick and stay in [0, 1]."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.ids import NEED_COUNT
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import World


@kernel
def decay_needs(world: World, rules: Rules) -> None:
    """Lower every need by its decay, faster for residents of a high pace."""
    for i in range(world.n_residents):
        if world.alive[i] == 0:
            continue
        pace = np.float32(1.0) + rules.pace_effect * world.pace[i]
        for k in range(NEED_COUNT):
            left = world.needs[i, k] - rules.need_decay[k] * pace
            world.needs[i, k] = max(left, np.float32(0.0))
