"""Rules 3.9: rivalry, trust and familiarity. One ledger, fed by the events of the tick."""

from __future__ import annotations

import numpy as np

from townlet_env.jit import kernel
from townlet_env.sim.events import log
from townlet_env.sim.ids import NEED_COUNT, NONE, EventKind, Stream, Verb
from townlet_env.sim.places import nearest_free_resident
from townlet_env.sim.random import USE_CHAT, uniform
from townlet_env.sim.rules import Rules
from townlet_env.sim.state import Orders, Outcome, World


@kernel
def update_ties(world: World, outcome: Outcome, rules: Rules, orders: Orders) -> None:
    """Let rivalry fade, hold the chats, then book what happened between residents."""
    fade(world, rules)
    for turn in range(world.n_residents):
        i = int(outcome.turn[turn])
        if world.alive[i] != 0 and rules.action_verb[orders[i]] == Verb.CHAT:
            chat(world, outcome, rules, i)
    for row in range(outcome.n_events):
        if outcome.events[row, 2] != NONE:
            book(world, outcome, rules, row)
    for i in range(world.n_residents):
        keep_strongest(world, rules, i)


@kernel
def book(world: World, outcome: Outcome, rules: Rules, row: int) -> None:
    """Change the ties between the two residents of an event."""
    kind = outcome.events[row, 0]
    i = int(outcome.events[row, 1])
    j = int(outcome.events[row, 2])
    if kind == EventKind.QUEUE_CONFLICT:
        amount = rules.conflict_increment * outcome.event_value[row]
        bear_grudge(world, rules, i, j, amount)
        bear_grudge(world, rules, j, i, amount)
    elif kind == EventKind.QUEUE_ROTATED:
        bear_grudge(world, rules, j, i, rules.rotated_increment)
    elif kind == EventKind.COURTESY:
        avoid_conflict(world, outcome, rules, i, j)
        grow_close(world, rules, i, j)
        grow_close(world, rules, j, i)
    elif kind == EventKind.HELPED:
        avoid_conflict(world, outcome, rules, i, j)
        grow_close(world, rules, i, j)
        thank(world, rules, j, i)
    elif kind == EventKind.SHIFT_TAKEN:
        bear_grudge(world, rules, j, i, rules.shift_taken_rivalry)
        bond(world, rules, j, i, -rules.shift_taken_trust, 0.0)
    elif kind == EventKind.MEET_MISSED:
        bond(world, rules, i, j, -rules.missed_trust, 0.0)
    else:
        spend_time(world, rules, i, j, kind, outcome.event_value[row])


@kernel
def fade(world: World, rules: Rules) -> None:
    """Let every rivalry shrink by its decay."""
    for i in range(world.n_residents):
        for j in range(world.n_residents):
            world.rivalry[i, j] = max(world.rivalry[i, j] - rules.rivalry_decay, np.float32(0))


@kernel
def bear_grudge(world: World, rules: Rules, i: int, j: int, amount: float) -> None:
    """Raise the rivalry of ``i`` towards ``j``, less for the patient."""
    calm = 1.0 - rules.patience_effect * world.patience[i]
    world.rivalry[i, j] = min(max(world.rivalry[i, j] + amount * calm, 0.0), 1.0)


@kernel
def bond(world: World, rules: Rules, i: int, j: int, trust: float, familiarity: float) -> None:
    """Change trust and familiarity of ``i`` towards ``j``; gains are larger for the warm."""
    warm = 1.0 + rules.warmth_effect * world.warmth[i]
    if trust > 0.0:
        trust *= warm
    world.trust[i, j] = min(max(world.trust[i, j] + trust, -1.0), 1.0)
    world.familiarity[i, j] = min(max(world.familiarity[i, j] + familiarity * warm, -1.0), 1.0)


@kernel
def grow_close(world: World, rules: Rules, i: int, j: int) -> None:
    """Book one side of a courtesy."""
    world.rivalry[i, j] = max(world.rivalry[i, j] - rules.courtesy_rivalry, np.float32(0))
    bond(world, rules, i, j, rules.courtesy_trust, rules.courtesy_familiarity)


@kernel
def thank(world: World, rules: Rules, i: int, j: int) -> None:
    """Book what ``i`` feels towards ``j``, who let them go first when they were late."""
    world.rivalry[i, j] = max(world.rivalry[i, j] - rules.helped_rivalry, np.float32(0))
    bond(world, rules, i, j, rules.helped_trust, rules.helped_familiarity)


@kernel
def spend_time(world: World, rules: Rules, i: int, j: int, kind: int, value: float) -> None:
    """Book both sides of a shared meal, of company or of a meet that was held."""
    trust = 0.0
    familiarity = 0.0
    if kind == EventKind.SHARED_MEAL:
        trust = rules.shared_meal_trust
        familiarity = rules.shared_meal_familiarity
    elif kind == EventKind.COMPANY:
        familiarity = value
    elif kind == EventKind.MET:
        trust = rules.met_trust
        familiarity = rules.met_familiarity
    else:
        return
    bond(world, rules, i, j, trust, familiarity)
    bond(world, rules, j, i, trust, familiarity)


@kernel
def avoid_conflict(world: World, outcome: Outcome, rules: Rules, i: int, j: int) -> None:
    """Reward who lets an avoided rival go first."""
    if world.rivalry[i, j] > rules.avoid_threshold and may_enjoy(world, rules, i):
        outcome.social[i] += rules.social_avoided


@kernel
def chat(world: World, outcome: Outcome, rules: Rules, i: int) -> None:
    """Talk to the nearest free resident; one draw gives success and quality."""
    j = nearest_free_resident(world, i, rules.chat_range)
    if j == NONE:
        return  # somebody got busy in this very tick
    chance = rules.chat_probability * (1.0 + 0.3 * world.trust[i, j])
    chance = min(max(chance * (1.0 + 0.2 * world.familiarity[i, j]), 0.0), 1.0)
    luck = uniform(world.seed, Stream.WORLD, world.tick, i * 64 + USE_CHAT)
    if luck >= chance:
        log(outcome, EventKind.CHAT, i, j, NONE, 0.0)
        bond(world, rules, i, j, -0.25 * rules.chat_trust, 0.0)
        return
    quality = 1.0 - luck / chance
    log(outcome, EventKind.CHAT, i, j, NONE, quality)
    outcome.success[i] = 1
    outcome.social[i] += social_reward(world, rules, i, j)
    bond(world, rules, i, j, rules.chat_trust * quality, rules.chat_familiarity * quality)
    bond(world, rules, j, i, rules.chat_trust * quality, rules.chat_familiarity * quality)


@kernel
def social_reward(world: World, rules: Rules, i: int, j: int) -> float:
    """Return the reward of a chat (rules 5); none while a need is desperate."""
    if not may_enjoy(world, rules, i):
        return 0.0
    return float(
        rules.social_base
        + rules.social_trust * world.trust[i, j]
        + rules.social_familiarity * world.familiarity[i, j]
    )


@kernel
def may_enjoy(world: World, rules: Rules, i: int) -> bool:
    """Tell whether there are social rewards for ``i``: they are on, and no need is desperate."""
    for k in range(NEED_COUNT):
        if 1.0 - world.needs[i, k] > rules.social_deficit_limit:
            return False
    return bool(rules.social_enabled != 0)


@kernel
def keep_strongest(world: World, rules: Rules, i: int) -> None:
    """Forget the weakest rivalries beyond ``max_edges``."""
    edges = 0
    for j in range(world.n_residents):
        edges += world.rivalry[i, j] > 0.0
    while edges > rules.max_edges:
        weakest = NONE
        for j in range(world.n_residents):
            if world.rivalry[i, j] > 0.0 and (
                weakest == NONE or world.rivalry[i, j] < world.rivalry[i, weakest]
            ):
                weakest = j
        world.rivalry[i, weakest] = 0.0
        edges -= 1
