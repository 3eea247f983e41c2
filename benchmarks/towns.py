"""Towns of several sizes that benchmarks play in."""

from __future__ import annotations

from typing import Any

from townlet_env.config.load import load_scenario
from townlet_env.config.schema import TownConfig

HOME = "town_day"
LEFT_OUT = ("office_bench", "square_bench", "park_bench_2", "park_bench_3")  # 256 objects at most


def tiled_town(columns: int, rows: int) -> TownConfig:
    """Return ``columns`` x ``rows`` copies of ``town_day`` in one town, walls between them.

    Eight residents and 32 objects per copy, each as far from the others as at home: what a resident
    costs more in a larger town is the price of its size alone.
    """
    home = load_scenario(HOME)
    lines = (home.map or "").splitlines()
    height, width = len(lines), len(lines[0])
    line = "\n".join(part * columns for part in lines)
    changes: dict[str, Any] = {"map": "\n".join([line] * rows), "expect": []}
    changes |= {"objects": [], "residents": [], "jobs": {}}
    for copy in range(columns * rows):
        ending = f"_{copy}" if copy else ""  # the jobs of the file are kept
        right, down = copy % columns * width, copy // columns * height
        for thing in home.objects:
            if thing.id not in LEFT_OUT:
                changes["objects"].append(_moved(thing.model_dump(), ending, right, down))
        for name, job in home.jobs.items():
            changes["jobs"][name + ending] = job.model_dump() | {"object": job.object + ending}
        for resident in home.residents:
            person = _moved(resident.model_dump(exclude={"ties"}), ending, right, down)
            changes["residents"].append(person | {"job": f"{resident.job}{ending}"})
    return load_scenario(HOME, changes)


def _moved(thing: dict[str, Any], ending: str, right: int, down: int) -> dict[str, Any]:
    x, y = thing["cell"]
    return thing | {"id": thing["id"] + ending, "cell": [x + right, y + down]}
