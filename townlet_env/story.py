"""Running a scenario with its scripted residents, and keeping everything that happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.policies.crew import Crew
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.events import Event
from townlet_env.sim.plan import Names, resident_name

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]  # of residents or objects, -1 for none


@dataclass(frozen=True)
class Story:
    """One episode of a scenario: T ticks, so T + 1 states; N slots, O objects, F features.

    Row ``t`` of a state is the state after ``t`` ticks; row ``t`` of what a tick gave belongs to
    the tick that leads from state ``t`` to state ``t + 1``, and to who was in the slot before it.
    """

    names: Names
    alive: Bools  # (T + 1, N)
    who: npt.NDArray[np.str_]  # (T + 1, N) who is in the slot, or was until they left
    x: npt.NDArray[np.int16]  # (T + 1, N) columns
    y: npt.NDArray[np.int16]  # (T + 1, N) rows
    needs: Floats  # (T + 1, N, 3)
    wallet: Floats  # (T + 1, N) meals
    ingredients: npt.NDArray[np.int16]  # (T + 1, N)
    shift_state: npt.NDArray[np.int8]  # (T + 1, N) ids.ShiftState
    queue_object: Ids  # (T + 1, N) the object in whose line the resident waits
    rivalry: Floats  # (T + 1, N, N) row towards column
    trust: Floats  # (T + 1, N, N)
    familiarity: Floats  # (T + 1, N, N)
    features: Floats  # (T + 1, N, F)
    maps: npt.NDArray[np.uint8]  # (T + 1, N, 4, 11, 11)
    user: Ids  # (T + 1, O) slot
    holder: Ids  # (T + 1, O) slot
    stock: Ids  # (T + 1, O) units
    power: Bools  # (T + 1,)
    water: Bools  # (T + 1,)
    price_meal: Floats  # (T + 1,) meals
    price_groceries: Floats  # (T + 1,) meals
    actions: Ids  # (T, N)
    illegal: Bools  # (T, N)
    rewards: Floats  # (T, N)
    components: Floats  # (T, N, 8)
    events: tuple[tuple[Event, ...], ...]  # T, what happened in each tick

    @property
    def ticks(self) -> int:
        """Length of the episode."""
        return len(self.rewards)


def run_story(config: TownConfig, seed: int | None = None) -> Story:
    """Play one episode with everybody following their scripts; learners idle.

    Args:
        config: The scenario.
        seed: Of the episode; the scenario's own by default.

    Raises:
        ConfigError: The scenario does not fit together, or names an unknown policy.
    """
    batch = WorldBatch(compile_plan(config), 1)
    crew = Crew(config, batch.plan)
    batch.reset([config.seed if seed is None else seed])
    crew.reset(0)
    states, ticks = [_state(batch)], []
    for _ in range(config.ticks):
        actions = np.zeros((1, batch.num_residents), np.int64)
        for slot, action in crew.act(batch, 0).items():
            actions[0, slot] = action
        step = batch.step(actions)
        ticks.append(
            {
                "actions": actions[0],
                "illegal": step.illegal[0],
                "rewards": step.reward[0],
                "components": batch.components[0],
                "events": tuple(batch.events()),
            }
        )
        states.append(_state(batch))
    events = tuple(tick.pop("events") for tick in ticks)
    arrays = {
        key: np.stack([row[key] for row in rows]) for rows in (states, ticks) for key in rows[0]
    }
    return Story(names=batch.plan.names, events=events, **arrays)


def _state(batch: WorldBatch) -> dict[str, Any]:
    names, world, n = batch.plan.names, batch.worlds[0], batch.num_residents
    o = len(names.objects)
    slots = ("x", "y", "needs", "wallet", "ingredients", "shift_state")
    ties = ("rivalry", "trust", "familiarity")
    return {
        "alive": batch.alive[0],
        "who": np.array([resident_name(names, world, slot) for slot in range(n)]),
        **{field: world[field][:n].copy() for field in slots},
        "queue_object": world["queue_object"][:n].astype(np.int64),
        **{tie: world[tie][:n, :n].copy() for tie in ties},
        **{field: world[field][:o].astype(np.int64) for field in ("user", "holder", "stock")},
        **{field: np.bool_(world[field]) for field in ("power", "water")},
        **{field: np.float32(world[field]) for field in ("price_meal", "price_groceries")},
        "features": batch.views.features[0].copy(),
        "maps": batch.views.map[0].copy(),
    }
