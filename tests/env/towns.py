"""Settings of the small towns that tests play in.

The numbers are sums of powers of two, so that the kernels' float32 and the twin's float64 agree
exactly wherever a decision hangs on a comparison.
"""

from __future__ import annotations

from typing import Any

COMMON: dict[str, Any] = {
    "description": "A town for tests.",
    "ticks": 400,
    "needs": {"decay": {"hunger": 1 / 128, "hygiene": 1 / 256, "energy": 1 / 256}},
    "queues": {"age_priority_weight": 0.125, "cooldown_ticks": 6},
    "ties": {
        "conflict_increment": 1 / 16,
        "rotated_increment": 1 / 32,
        "decay": 1 / 1024,
        "courtesy_rivalry": 1 / 16,
        "courtesy_trust": 1 / 16,
        "courtesy_familiarity": 1 / 16,
        "avoid_threshold": 0.25,
        "max_edges": 2,
        "shared_meal_trust": 1 / 8,
        "shared_meal_familiarity": 1 / 4,
        "meal_ticks": 9,
        "helped_trust": 1 / 4,
        "helped_familiarity": 1 / 8,
        "helped_rivalry": 1 / 8,
        "shift_taken_trust": 1 / 8,
        "shift_taken_rivalry": 1 / 4,
        "met_trust": 1 / 16,
        "met_familiarity": 1 / 8,
        "missed_trust": 1 / 16,
    },
    "prices": {"meal": 1.0, "groceries": 0.5},
    "affordances": {
        "use_shower": {"takes": {"money": 0.125}},
        "rest_sleep": {"ticks": 4},
        "rest_bench": {"gives": {"energy": 1 / 16, "company": 1 / 16}},
        "eat_homemade": {"ticks": 6},
    },
    "employment": {
        "arrival_buffer": 10,
        "grace_ticks": 16,
        "absent_cutoff": 24,
        "absence_slack": 4,
    },
    "perturbations": {
        "price_spike": {
            "daily": 22.5, "at": [399], "ticks": [4, 11], "magnitude": [1.25, 1.75], "cooldown": 8,
        },
        "blackout": {"daily": 11.25, "at": [398], "ticks": [2, 5], "cooldown": 30},
        "outage": {"daily": 11.25, "at": [0, 60, 398], "ticks": [1, 4], "cooldown": 20},
        "meet": {
            "daily": 90, "at": [399], "ticks": [5, 20], "cooldown": 4, "invite_cooldown": 40,
        },
    },
    "arrivals": {
        "enabled": True,
        "delay": [0, 6],
        "wallet": 2.0,
        "needs": {"hunger": 0.75, "hygiene": 0.75, "energy": 0.75},
        "max_newcomers": 2000,
    },
    "personalities": {"mix": {"steady": 2, "prickly": 1, "warm": 1}, "spread": 0.125},
    "economy": {"rent": 0.5, "restock_minute": 485},
    "lives": {
        "faint_level": 1 / 32,
        "faint_after": 6,
        "empty_wallet": 1 / 64,
        "notice_ticks": 4,
        "exits_per_day": 4,
        "exit_gap": 8,
        "grace_ticks": 12,
    },
    "rewards": {"quiet_ticks": 3},
}  # fmt: skip

# One of everything in a small room; jobs for three.
HOUSE: dict[str, Any] = {
    "name": "house",
    "start_minute": 470,
    "map": "\n".join(
        (
            "##########",
            "#f..s..w.#",
            "#...#....#",
            "#b..#..t.#",
            "#....###.#",
            "#d..c...g#",
            "##########",
        )
    ),
    "legend": {
        "f": "fridge_1", "s": "stove_1", "w": "shower_1", "b": "bed_1",
        "t": "till_1", "d": "desk_1", "c": "counter_1", "g": "bench_1",
    },
    "objects": [
        {"id": "fridge_1", "kind": "fridge", "stock": 6},
        {"id": "stove_1", "kind": "stove"},
        {"id": "shower_1", "kind": "shower"},
        {"id": "bed_1", "kind": "bed"},
        {"id": "till_1", "kind": "till", "stock": 20},
        {"id": "counter_1", "kind": "counter"},
        {"id": "desk_1", "kind": "desk"},
        {"id": "bench_1", "kind": "bench"},
    ],
    "jobs": {
        "clerk": {"object": "desk_1", "start": 480, "end": 520, "wage": 0.0625},
        "barista": {"object": "counter_1", "start": 475, "end": 560, "wage": 0.03125},
    },
    "residents": [
        {"id": "ann", "cell": [2, 1], "job": "clerk", "inventory": {"ingredients": 2},
         "personality": {"pace": 0.5, "patience": -0.5, "warmth": 1.0}},
        {"id": "bob", "cell": [3, 1], "job": "barista", "ties": {"ann": {"rivalry": 0.5}}},
        {"id": "cid", "cell": [3, 2], "job": "clerk", "wallet": 0.5},
        {"id": "dot", "cell": [8, 3], "personality": "drawn"},
        {"id": "eve", "cell": [1, 4], "personality": "prickly",
         "ties": {"ann": {"trust": 0.5, "familiarity": 0.25}}},
        {"id": "fay", "cell": [6, 2], "needs": {"hunger": 0.25, "energy": 0.5}},
    ],
    "rewards": {**COMMON["rewards"], "social": {"enabled": True, "avoided": 1 / 32}},
    "employment": {**COMMON["employment"], "dismissal_absences": 1},
}  # fmt: skip

# One cell wide, so that everybody is in everybody's way; impatient ghosts, short lives.
CORRIDOR: dict[str, Any] = {
    "name": "corridor",
    "start_minute": 1350,
    "map": "###########\n#s........#\n###.##b#c##\n###f#######\n###########",
    "legend": {"s": "shower_1", "f": "fridge_1", "b": "bench_1", "c": "bench_2"},
    "objects": [
        {"id": "shower_1", "kind": "shower"},
        {"id": "fridge_1", "kind": "fridge", "stock": 30},
        {"id": "bench_1", "kind": "bench"},
        {"id": "bench_2", "kind": "bench"},
    ],
    "residents": [{"id": f"r{i}", "cell": [2 + i, 1]} for i in range(5)],
    "movement": {"ghost_step_after": 1},
    "queues": {**COMMON["queues"], "reservation_ticks": 2, "range": 4},
    "needs": {"decay": {"hunger": 1 / 32, "hygiene": 1 / 128, "energy": 1 / 64}},
    "perturbations": {},
    "arrivals": {**COMMON["arrivals"], "cells": [[9, 1], [8, 1]]},
    "lives": {**COMMON["lives"], "exits_per_day": 64, "exit_gap": 0, "grace_ticks": 2},
}

# A hall with two of most things, and a room nobody can enter.
PLAZA: dict[str, Any] = {
    "name": "plaza",
    "size": [13, 9],
    "start_minute": 1420,
    "objects": [
        {"id": f"{kind}_{k}", "kind": kind, "cell": [1 + 3 * column, 1 + 4 * k], "stock": 9}
        for k in (0, 1)
        for column, kind in enumerate(("fridge", "shower", "bench", "bed"))
    ]
    + [{"id": "stove_1", "kind": "stove", "cell": [12, 4], "stock": 2, "restock": 5}]
    + [
        {"id": f"bench_{2 + k}", "kind": "bench", "cell": cell}
        for k, cell in enumerate(([12, 1], [11, 0]))
    ],
    "residents": [{"id": f"p{i}", "cell": [i, 7]} for i in range(12)],
    "utilities": {"water": False},
    "rewards": {"clip": 0.125, "quiet_ticks": 5, "social": {"enabled": True, "deficit_limit": 0.5}},
    "economy": {"rent": 8.0, "restock_minute": 1439},
    "lives": {**COMMON["lives"], "rent_patience": 1, "notice_ticks": 0},
}

ALONE: dict[str, Any] = {
    "name": "alone",
    "size": [1, 1],
    "residents": [{"id": "solo", "cell": [0, 0]}],
}

# More than 16 residents: the larger of the two capacities.
CROWD: dict[str, Any] = {
    "name": "crowd",
    "size": [12, 8],
    "objects": [{"id": f"shower_{k}", "kind": "shower", "cell": [2 + 4 * k, 4]} for k in range(3)],
    "residents": [{"id": f"c{i}", "cell": [i % 12, i // 12]} for i in range(24)],
}

SMALL = (HOUSE, CORRIDOR, PLAZA, ALONE)
