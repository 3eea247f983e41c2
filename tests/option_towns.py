"""Towns whose residents choose options, for the tests of ``OptionActions``."""

from __future__ import annotations

import numpy as np
from little_towns import LEGEND, little_town

from townlet_env import townlet_v0
from townlet_env.wrappers import OPTION_NAMES, OptionActions, ScriptedScenario

WAIT, GET_FED, GET_CLEAN, SLEEP, GO_TO_WORK, SHOP, SOCIALISE = range(len(OPTION_NAMES))


def options_in(scenario, *, learners=None, commitment=15, urgent=0.15, gamma=0.99, **settings):
    """Return a town with options; over its scripts if ``learners`` are named."""
    env = townlet_v0.parallel_env(scenario, **settings)
    if learners is not None:
        env = ScriptedScenario(env, learners)
    return OptionActions(env, commitment=commitment, urgent=urgent, gamma=gamma)


def room(folder, *residents, **settings):
    """Return a room with one of everything; residents are idle unless they choose."""
    cells = [(4, 2), (6, 3), (2, 3)]
    people = [
        {"id": name, "cell": list(cell), "policy": "idle", **more}
        for cell, (name, more) in zip(cells, residents, strict=False)
    ]
    return little_town(folder, people, **settings)


def stocked(**stock):
    """Return the objects of the room with other stocks than 2 meals and 20 units."""
    stocks = {"fridge": 2, "till": 20, **stock}
    return [{"id": kind, "kind": kind, "stock": stocks.get(kind, 0)} for kind in LEGEND.values()]


def play(env, choose, seed=0, ticks=10_000):
    """Let ``choose(name, mask)`` decide for whoever is free; yield infos and events by tick."""
    env.reset(seed=seed)
    while env.agents and ticks > 0:
        masks = env.action_masks()
        *_, infos = env.step({name: choose(name, masks[name]) for name in env.choosing})
        ticks -= 1
        yield infos, env.events()


def always(option):
    """Choose one option whenever it is possible."""
    return lambda name, mask: option if mask[option] else WAIT


def at_random(seed=0):
    """Choose uniformly among the possible options."""
    rng = np.random.default_rng(seed)
    return lambda name, mask: int(rng.choice(np.flatnonzero(mask)))


def happened(played, event, by):
    """Return the ticks (counted from 1) at which something happened, and what was done."""
    return [
        (t, e.affordance)
        for t, (_, events) in enumerate(played, start=1)
        for e in events
        if e.event == event and e.by == by
    ]


def finished(played, by):
    """Return the affordances somebody finished, in order."""
    return [affordance for _, affordance in happened(played, "affordance_finished", by)]


def primitives(env):
    """Return the names of the primitive actions of the last step."""
    names = env.unwrapped.action_lookup
    return {name: names[action] for name, action in env.last_primitive_actions.items()}
