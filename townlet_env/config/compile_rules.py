"""The numbers of a checked scenario to the record that kernels read."""

from __future__ import annotations

import numpy as np

from townlet_env.config.cells import roadside_of
from townlet_env.config.kinds import done_at, kind_groups, need_kinds
from townlet_env.config.layout import Layout
from townlet_env.config.schema import TownConfig
from townlet_env.sim.ids import DIRECTION_NAMES, MINUTES_PER_DAY, NONE, VERB_NAMES, Verb
from townlet_env.sim.plan import Names
from townlet_env.sim.rules import RULES
from townlet_env.sim.state import Records, World, allocate


def max_newcomers(config: TownConfig) -> int:
    """Return how many newcomers an episode may see (rules 3.2)."""
    arrivals = config.arrivals
    if not arrivals.enabled:
        return 0
    if arrivals.max_newcomers is not None:
        return arrivals.max_newcomers
    days = (config.start_minute + config.ticks - 1) // MINUTES_PER_DAY + 1
    return config.lives.exits_per_day * days


def compile_rules(config: TownConfig, names: Names, layout: Layout) -> Records:
    """Return the (1,) record of RULES of a scenario."""
    rules = allocate(RULES, 1)
    r = rules[0]
    r.max_ticks = config.ticks
    _set_actions(r, names)
    _set_affordances(r, config, names)
    _set_kinds(r, config, names)
    _set_town(r, config)
    _set_perturbations(r, config)
    _set_arrivals(r, config, layout)
    _set_personalities(r, config)
    r.ghost_step_after = config.movement.ghost_step_after
    r.queue_range, r.cooldown_ticks = config.queues.range, config.queues.cooldown_ticks
    r.reservation_ticks = config.queues.reservation_ticks
    r.age_priority_weight = config.queues.age_priority_weight
    r.need_decay[:] = config.needs.decay.values()
    r.pace_effect = config.needs.pace_effect
    for name, value in config.employment:
        r[name] = value
    _set_ties(r, config)
    _set_lives(r, config)
    _set_rewards(r, config)
    angle = np.arange(MINUTES_PER_DAY) * (2.0 * np.pi / MINUTES_PER_DAY)
    r.day_sin[:] = np.sin(angle)
    r.day_cos[:] = np.cos(angle)
    return rules


def _set_actions(r: World, names: Names) -> None:
    r.n_actions = len(names.actions)
    arguments = {
        Verb.MOVE: DIRECTION_NAMES,
        Verb.APPROACH: names.kinds,
        Verb.REQUEST: names.kinds,
        Verb.START: names.affordances,
    }
    for a, action in enumerate(names.actions):
        word, _, argument = action.partition(":")
        verb = Verb(VERB_NAMES.index(word))
        r.action_verb[a] = verb
        r.action_argument[a] = arguments[verb].index(argument) if verb in arguments else 0
    for kind, name in enumerate(names.kinds):
        r.approach_action[kind] = names.actions.index(f"approach:{name}")
        r.request_action[kind] = names.actions.index(f"request:{name}")
    for affordance, name in enumerate(names.affordances):
        r.start_action[affordance] = names.actions.index(f"start:{name}")
    r.release_action, r.chat_action = map(names.actions.index, ("release", "chat"))


def _set_affordances(r: World, config: TownConfig, names: Names) -> None:
    r.n_affordances = len(names.affordances)
    for a, affordance in enumerate(config.catalogue.affordances.values()):
        r.affordance_kinds[a] = sum(1 << names.kinds.index(kind) for kind in affordance.kinds)
        r.affordance_ticks[a] = 0 if isinstance(affordance.ticks, str) else affordance.ticks
        gives, takes = affordance.gives, affordance.takes
        r.affordance_effect[a] = gives.needs()
        r.affordance_power[a] = affordance.requires.power
        r.affordance_water[a] = affordance.requires.water
        r.affordance_work[a] = affordance.requires.on_shift
        r.takes_money[a] = takes.money
        r.takes_meal_price[a] = takes.meal_price
        r.takes_groceries_price[a] = takes.groceries_price
        r.takes_stock[a] = takes.stock
        r.takes_ingredients[a] = takes.ingredients
        r.gives_ingredients[a] = gives.ingredients
        r.gives_stock[a] = gives.stock
        r.gives_stock_kind[a] = names.kinds.index(gives.stock_of) if gives.stock_of else NONE
        r.affordance_company[a] = gives.company


def _set_kinds(r: World, config: TownConfig, names: Names) -> None:
    catalogue = config.catalogue
    r.n_kinds = len(names.kinds)
    for k, kind in enumerate(names.kinds):
        # A kind is of no use without power if everything one can do with it needs power.
        users = done_at(catalogue, kind)
        r.kind_power[k] = bool(users) and all(a.requires.power for a in users)
        r.kind_water[k] = bool(users) and all(a.requires.water for a in users)
        r.kind_meets[k] = kind in catalogue.meets
    r.kind_group[: r.n_kinds] = kind_groups(catalogue)
    r.need_kind[:] = need_kinds(catalogue, {thing.kind for thing in config.objects})


def _set_town(r: World, config: TownConfig) -> None:
    r.base_price_meal, r.base_price_groceries = config.prices.meal, config.prices.groceries
    r.base_power, r.base_water = config.utilities.power, config.utilities.water


def _set_perturbations(r: World, config: TownConfig) -> None:
    perturbations = config.perturbations
    r.perturb_at[:] = NONE
    for k, found in enumerate(perturbations.in_order()):
        r.perturb_daily[k], r.perturb_cooldown[k] = found.daily, found.cooldown
        r.perturb_ticks[k] = found.ticks
        r.perturb_at[k, : len(found.at)] = found.at
    r.perturb_factor[:] = perturbations.price_spike.magnitude
    r.perturb_limit = perturbations.max_at_once
    r.meet_cooldown = perturbations.meet.invite_cooldown


def _set_arrivals(r: World, config: TownConfig, layout: Layout) -> None:
    arrivals = config.arrivals
    r.max_newcomers = max_newcomers(config)
    r.arrival_delay[:] = arrivals.delay
    r.newcomer_wallet, r.newcomer_ingredients = arrivals.wallet, arrivals.ingredients
    r.newcomer_needs[:] = arrivals.needs.values()
    cells = arrivals.cells
    if r.max_newcomers and not cells:  # it takes a while on a large map
        cells = roadside_of(layout)
    r.n_roadside = len(cells)
    for k, cell in enumerate(cells):
        r.roadside[k] = cell


def _set_personalities(r: World, config: TownConfig) -> None:
    settings = config.personalities
    shares = np.cumsum(list(settings.mix.values()))
    count = len(shares)
    r.n_profiles = count
    r.profile_share[:count] = shares / shares[-1]
    r.profile_traits[:count] = [settings.profiles[name].values() for name in settings.mix]
    r.profile_spread = settings.spread


def _set_ties(r: World, config: TownConfig) -> None:
    renamed = {"decay": "rivalry_decay"}
    for name, value in config.ties:
        r[renamed.get(name, name)] = value


def _set_lives(r: World, config: TownConfig) -> None:
    r.restock_minute, r.rent = config.economy.restock_minute, config.economy.rent
    renamed = {"enabled": "lives_enabled", "grace_ticks": "exit_grace"}
    for name, value in config.lives:
        r[renamed.get(name, name)] = value


def _set_rewards(r: World, config: TownConfig) -> None:
    rewards = config.rewards
    r.survival_tick, r.needs_scale = rewards.survival_tick, rewards.needs_scale
    r.need_weight[:] = rewards.need_weights.values()
    r.shaping_scale, r.shaping_gamma = rewards.shaping_scale, rewards.shaping_gamma
    r.wage_weight, r.punctuality_scale = rewards.wage_weight, rewards.punctuality_scale
    r.social_enabled, r.social_base = rewards.social.enabled, rewards.social.base
    r.social_trust, r.social_familiarity = rewards.social.trust, rewards.social.familiarity
    r.social_avoided = rewards.social.avoided
    r.social_deficit_limit, r.clip_at = rewards.social.deficit_limit, rewards.clip
    r.faint_reward, r.eviction_reward = rewards.faint, rewards.eviction
    r.quiet_ticks = rewards.quiet_ticks
