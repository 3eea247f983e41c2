"""The numbers that kernels read, compiled once from the configuration and never written."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from townlet_env.sim.ids import MINUTES_PER_DAY, NEED_COUNT

Rules: TypeAlias = Any  # one record of RULES

MAX_KINDS = 16
MAX_AFFORDANCES = 32
MAX_ACTIONS = 96

_I8, _I16, _I32, _U8, _F32 = np.int8, np.int16, np.int32, np.uint8, np.float32
_K, _A = (MAX_KINDS,), (MAX_AFFORDANCES,)

RULES: np.dtype[np.void] = np.dtype(
    [
        ("max_ticks", _I32),  # ticks of an episode
        # vocabulary, rules 4
        ("n_kinds", _I32),
        ("n_affordances", _I32),
        ("n_actions", _I32),
        ("action_verb", _I8, (MAX_ACTIONS,)),
        ("action_argument", _I8, (MAX_ACTIONS,)),  # direction, kind or affordance
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
        # needs, rules 3.7
        ("need_decay", _F32, (NEED_COUNT,)),  # per tick
        ("pace_effect", _F32),  # decay is scaled by 1 + pace_effect * pace
        # jobs, rules 3.8
        ("arrival_buffer", _I32),
        ("grace_ticks", _I32),
        ("absent_cutoff", _I32),
        ("absence_slack", _I32),
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
        ("social_deficit_limit", _F32),
        ("clip_at", _F32),  # of all but the terminal component; `clip` is a method of records
        # clock: the same bits on every machine, whatever its maths library
        ("day_sin", _F32, (MINUTES_PER_DAY,)),
        ("day_cos", _F32, (MINUTES_PER_DAY,)),
    ],
    align=True,
)
