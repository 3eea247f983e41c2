"""Twin of the maps that residents see; see ``naive.py``. Channels go by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from naive_town import NEEDS, Person, Thing, Town

SIDE = 11
NAMES = (
    *("walls", "residents", "objects", "reserved"),
    *("food", "supply", "hygiene", "rest", "work", "other"),
    *("path_axis", "path_sign"),
)
# What the kinds of the shipped catalogue are for.
GROUPS = {
    "fridge": "food", "stove": "food", "till": "supply", "shower": "hygiene",
    "bed": "rest", "bench": "rest", "counter": "work", "desk": "work",
}  # fmt: skip
# In the order in which equals are chosen: columns, rows, axis, sign.
WAYS = ((0, -1, 0, 0), (0, 1, 0, 1), (1, 0, 1, 1), (-1, 0, 1, 0))


def observe_map(town: Town, channels: int = 4) -> npt.NDArray[np.uint8]:
    """Rules 6: what is on every cell of the window, and the way; outside is wall."""
    maps = np.zeros((len(town.people), channels, SIDE, SIDE), np.uint8)
    for i, me in enumerate(town.people):
        if me.alive:
            goal = goal_of(town, i, me)
            for row in range(SIDE):
                for column in range(SIDE):
                    cell = (me.x + column - SIDE // 2, me.y + row - SIDE // 2)
                    seen = on_cell(town, i, cell) | way_from(town, goal, cell)
                    values = [seen.get(name, 0) for name in NAMES]
                    maps[i, :, row, column] = values[:channels]
    return maps


def on_cell(town: Town, i: int, cell: tuple[int, int]) -> dict[str, int]:
    ground = town.ground
    inside = 0 <= cell[0] < ground.width and 0 <= cell[1] < ground.height
    thing = {(thing.x, thing.y): thing for thing in town.things}.get(cell)
    seen = {
        "walls": int(not inside or cell in ground.walls),
        "residents": int(town.person_at(cell) not in (None, i)),
    }
    if thing is not None:
        seen |= {"objects": 1, "reserved": int(taken(thing)), GROUPS[thing.kind]: 1}
    return seen


def taken(thing: Thing) -> bool:
    return thing.user is not None or thing.holder is not None


def goal_of(town: Town, i: int, me: Person) -> int | None:
    """The nearest usable thing of the kind where the lowest need is raised most in this town."""
    need = NEEDS[min(range(len(NEEDS)), key=lambda k: me.needs[k])]
    here = {thing.kind for thing in town.things}
    best, most = None, 0.0
    for affordance in town.config.catalogue.affordances.values():
        found = [kind for kind in affordance.kinds if kind in here]
        gain = float(getattr(affordance.gives, need))
        if found and gain > most:
            best, most = found[0], gain
    return None if best is None else town.nearest_usable(i, best)


def way_from(town: Town, goal: int | None, cell: tuple[int, int]) -> dict[str, int]:
    if goal is None or cell not in town.ground.floor:
        return {}
    here = town.steps_to(goal, cell)
    for dx, dy, axis, sign in WAYS:
        there = town.steps_to(goal, (cell[0] + dx, cell[1] + dy))
        if here is not None and there is not None and there < here:
            return {"path_axis": axis, "path_sign": sign}
    return {}
