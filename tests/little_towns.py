"""Small towns for the tests of scripts, told in as few words as possible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from townlet_env.config.load import load_scenario
from townlet_env.config.schema import TownConfig
from townlet_env.story import Story

ROOM = """\
##########
#F.S..H.T#
#........#
#........#
#C.B..b.A#
##########
"""
LEGEND = {
    "F": "fridge",
    "S": "stove",
    "H": "shower",
    "T": "till",
    "C": "counter",
    "B": "bed",
    "b": "bench",
    "A": "desk",
}


def little_town(folder: Path, residents: list[dict[str, Any]], **settings: Any) -> TownConfig:
    """Return a room with one of everything (the fridge holds 2 meals), or what ``settings`` say."""
    stocks = {"fridge": 2, "till": 20}
    things = [
        {"id": kind, "kind": kind, "stock": stocks.get(kind, 0)}
        for letter, kind in LEGEND.items()
        if letter in (settings.get("map", ROOM) or "")
    ]
    data = {
        "name": "little",
        "description": "A room for tests.",
        "ticks": 100,
        "map": ROOM,
        "legend": LEGEND,
        "objects": things,
        "residents": residents,
        **settings,
    }
    path = folder / "little.yaml"
    # JSON is YAML without aliases.
    path.write_text(json.dumps(data))
    return load_scenario(path)


def scripted(name: str, cell: tuple[int, int], *steps: Any, **settings: Any) -> dict[str, Any]:
    """Return a resident with a schedule."""
    return {
        "id": name,
        "cell": list(cell),
        "policy": "schedule",
        "schedule": list(steps),
        **settings,
    }


def done(story: Story, resident: str) -> list[str]:
    """Return the names of what a resident did, tick by tick."""
    i = story.names.residents.index(resident)
    return [story.names.actions[action] for action in story.actions[:, i]]


def happened(story: Story, event: str, by: str | None = None) -> list[int]:
    """Return the ticks at which something happened."""
    found = [e for tick in story.events for e in tick if e.event == event]
    return [e.tick for e in found if by is None or e.by == by]


def with_policy(config: TownConfig, policy: str) -> TownConfig:
    """Return a scenario in which everybody follows one policy."""
    update = {"policy": policy, "schedule": []}
    residents = [resident.model_copy(update=update) for resident in config.residents]
    return config.model_copy(update={"residents": residents})
