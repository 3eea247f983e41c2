"""The numbers that kernels read, compiled once from the configuration and never written."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from townlet_env.sim.ids import MINUTES_PER_DAY, NEED_COUNT, PERTURBATION_COUNT
from townlet_env.sim.state import MAX_KINDS, record

Rules: TypeAlias = Any  # one record of RULES

MAX_AFFORDANCES = 32
MAX_ACTIONS = 96
MAX_PROFILES = 16
MAX_ROADSIDE = 8  # cells where newcomers may appear
MAX_TIMES = 8  # set times per perturbation

_I8, _I16, _I32, _U8, _F32 = np.int8, np.int16, np.int32, np.uint8, np.float32
_K, _A, _P = (MAX_KINDS,), (MAX_AFFORDANCES,), (PERTURBATION_COUNT,)

RULES: np.dtype[np.void] = record(
    [
        ("max_ticks", _I32),  # ticks of an episode
        # vocabulary, rules 4
        ("n_kinds", _I32),
        ("n_affordances", _I32),
        ("n_actions", _I32),
        ("action_verb", _I8, (MAX_ACTIONS,)),
        ("action_argument", _I8, (MAX_ACTIONS,)),  # direction, kind or affordance
        ("approach_action", _I8, _K),  # action ids by kind
        ("request_action", _I8, _K),
        ("start_action", _I8, _A),  # by affordance
        ("release_action", _I8),
        ("chat_action", _I8),
        # the town without perturbations
        ("base_price_meal", _F32),  # meals
        ("base_price_groceries", _F32),  # meals per unit
        ("base_power", _U8),
        ("base_water", _U8),
        # perturbations, rules 3.1
        ("perturb_daily", _F32, _P),  # expected number per day, by chance
        ("perturb_ticks", _I32, (PERTURBATION_COUNT, 2)),  # shortest and longest
        ("perturb_factor", _F32, (2,)),  # least and most that prices are multiplied by
        ("perturb_cooldown", _I32, _P),  # ticks after its end
        ("perturb_at", _I32, (PERTURBATION_COUNT, MAX_TIMES)),  # ticks in which one begins, or NONE
        ("perturb_limit", _I32),  # at once
        ("meet_cooldown", _I32),  # ticks between two invitations of one resident
        ("kind_meets", _U8, _K),  # 1 if meets are arranged at the kind
        # arrivals and personalities, rules 3.2
        ("max_newcomers", _I32),  # per episode; 0 = nobody arrives
        ("arrival_delay", _I32, (2,)),  # ticks a slot stays vacant, least and most
        ("newcomer_wallet", _F32),  # meals
        ("newcomer_ingredients", _I16),
        ("newcomer_needs", _F32, (NEED_COUNT,)),
        ("n_roadside", _I32),
        ("roadside", _I16, (MAX_ROADSIDE, 2)),  # column, row
        ("n_profiles", _I32),
        ("profile_share", _F32, (MAX_PROFILES,)),  # cumulative, the last is 1
        ("profile_traits", _F32, (MAX_PROFILES, 3)),  # pace, patience, warmth
        ("profile_spread", _F32),  # traits are drawn uniformly within it
        # movement, rules 3.3
        ("ghost_step_after", _I32),  # blocked tries before a swap
        # queues, rules 3.4 and 3.5
        ("queue_range", _I32),  # Manhattan cells
        ("reservation_ticks", _I32),
        ("cooldown_ticks", _I32),
        ("age_priority_weight", _F32),  # places in line per tick waited
        # object kinds
        ("kind_power", _U8, _K),  # 1 if the kind is of no use without power
        ("kind_water", _U8, _K),
        ("kind_group", _I8, _K),  # KindGroup
        ("need_kind", _I8, (NEED_COUNT,)),  # kind that serves a need best, or NONE
        # affordances, rules 3.6
        ("affordance_kinds", _I32, _A),  # bit per kind it can be done at
        ("affordance_ticks", _I16, _A),  # 0 = until released or the shift ends
        ("affordance_effect", _F32, (MAX_AFFORDANCES, NEED_COUNT)),
        ("affordance_power", _U8, _A),
        ("affordance_water", _U8, _A),
        ("affordance_work", _U8, _A),  # 1 = only at the own work place on shift
        ("takes_money", _F32, _A),  # meals, whatever the prices
        ("takes_meal_price", _F32, _A),  # times the price of a meal
        ("takes_groceries_price", _F32, _A),  # times the price of groceries
        ("takes_stock", _I16, _A),  # units of the object's stock
        ("takes_ingredients", _I16, _A),
        ("gives_ingredients", _I16, _A),
        ("gives_stock", _I16, _A),  # units into the nearest object of gives_stock_kind
        ("gives_stock_kind", _I8, _A),
        ("affordance_company", _F32, _A),  # familiarity with others who do it near by
        ("company_range", _I32),  # Manhattan cells
        ("meal_range", _I32),  # Manhattan cells between those who share a meal
        ("meal_ticks", _I32),  # ticks that two meals may be apart
        # needs, rules 3.7
        ("need_decay", _F32, (NEED_COUNT,)),  # per tick
        ("pace_effect", _F32),  # decay is scaled by 1 + pace_effect * pace
        # jobs, rules 3.8
        ("arrival_buffer", _I32),
        ("grace_ticks", _I32),
        ("absent_cutoff", _I32),
        ("absence_slack", _I32),
        ("dismissal_absences", _I32),  # in the last seven shifts
        # ties, rules 3.9
        ("conflict_increment", _F32),
        ("rivalry_decay", _F32),  # per tick
        ("avoid_threshold", _F32),
        ("max_edges", _I32),
        ("courtesy_rivalry", _F32),
        ("courtesy_trust", _F32),
        ("courtesy_familiarity", _F32),
        ("rotated_increment", _F32),
        ("patience_effect", _F32),
        ("warmth_effect", _F32),
        ("chat_range", _I32),  # Manhattan cells
        ("chat_probability", _F32),
        ("chat_trust", _F32),
        ("chat_familiarity", _F32),
        ("shared_meal_trust", _F32),
        ("shared_meal_familiarity", _F32),
        ("helped_trust", _F32),
        ("helped_familiarity", _F32),
        ("helped_rivalry", _F32),
        ("shift_taken_trust", _F32),
        ("shift_taken_rivalry", _F32),
        ("met_trust", _F32),
        ("met_familiarity", _F32),
        ("missed_trust", _F32),
        # economy and lives, rules 3.10
        ("restock_minute", _I32),  # of the day
        ("rent", _F32),  # meals per day
        ("lives_enabled", _U8),  # 0: nobody ever leaves
        ("faint_level", _F32),  # a need at or below it is desperate
        ("faint_after", _I32),  # ticks in a row
        ("rent_patience", _I32),  # midnights
        ("empty_wallet", _F32),  # meals
        ("notice_ticks", _I32),
        ("exits_per_day", _I32),
        ("exit_gap", _I32),  # ticks between two exits
        ("exit_grace", _I32),  # ticks after an arrival or a perturbation without exits
        # rewards, rules 5
        ("survival_tick", _F32),
        ("needs_scale", _F32),
        ("need_weight", _F32, (NEED_COUNT,)),
        ("shaping_scale", _F32),
        ("shaping_gamma", _F32),
        ("wage_weight", _F32),
        ("punctuality_scale", _F32),
        ("social_enabled", _U8),
        ("social_base", _F32),
        ("social_trust", _F32),
        ("social_familiarity", _F32),
        ("social_avoided", _F32),
        ("social_deficit_limit", _F32),
        ("faint_reward", _F32),
        ("eviction_reward", _F32),
        ("quiet_ticks", _I32),  # around an exit, without positive reward
        ("clip_at", _F32),  # of all but the terminal component; `clip` is a method of records
        # clock: the same bits on every machine, whatever its maths library
        ("day_sin", _F32, (MINUTES_PER_DAY,)),
        ("day_cos", _F32, (MINUTES_PER_DAY,)),
    ]
)
