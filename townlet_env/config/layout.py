"""Where everything stands: the map of a scenario checked and turned into cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.faults import Source, Where
from townlet_env.config.personalities import DRAWN
from townlet_env.config.safe_yaml import Path_
from townlet_env.config.schema import MAX_SIDE, ObjectConfig, ResidentConfig, TownConfig
from townlet_env.errors import ConfigError, nearest

NEWCOMER = re.compile(r"newcomer_[0-9]+")

Point = tuple[int, int]  # column, row


class Layout(NamedTuple):
    """Cells of a scenario."""

    walls: npt.NDArray[np.bool_]  # (H, W)
    object_cells: tuple[Point, ...]
    resident_cells: tuple[Point, ...]


def lay_out(config: TownConfig, where: Where | None = None) -> Layout:
    """Return the cells of a scenario.

    Args:
        config: The scenario.
        where: Says for a message where a key stands; by default the scenario's name and the key.

    Raises:
        ConfigError: Ids are not unique or unknown, something has no cell or shares one, or stands
            in a wall or outside the map.
    """
    say = where or Source(config.name, {}).at
    _check_names(config, say)
    walls, marks = _read_map(config, say)
    sections: dict[str, Sequence[ObjectConfig | ResidentConfig]] = {
        "objects": config.objects,
        "residents": config.residents,
    }
    cells: dict[str, Point] = {}
    for section, items in sections.items():
        for index, item in enumerate(items):
            found = item.cell if item.cell is not None else marks.get(item.id)
            at = say((section, index, "cell"))
            cells[f"{section} {item.id}"] = _checked(item.id, found, at, walls, cells)
    ordered = list(cells.values())
    count = len(config.objects)
    layout = Layout(walls, tuple(ordered[:count]), tuple(ordered[count:]))
    _check_roadside(config, layout, say)
    return layout


def _check_roadside(config: TownConfig, layout: Layout, where: Where) -> None:
    cells = config.arrivals.cells
    for index, cell in enumerate(cells):
        at = where(("arrivals", "cells", index))
        if cell in cells[:index]:
            raise ConfigError(
                f"{at}: expected every cell once, found {list(cell)} again; take it out"
            )
        found = not_floor(layout, cell)
        if found is not None:
            raise ConfigError(f"{at}: expected a floor cell, found {found}")


def not_floor(layout: Layout, cell: Point) -> str | None:
    """Say what is at a cell that is no floor; None if it is floor."""
    x, y = cell
    height, width = layout.walls.shape
    if x >= width or y >= height:
        return f"[{x}, {y}] outside {width} x {height}"
    if layout.walls[y, x]:
        return f"a wall at [{x}, {y}]"
    return f"an object at [{x}, {y}]" if cell in layout.object_cells else None


def _check_names(config: TownConfig, where: Where) -> None:
    ids = {
        "residents": [resident.id for resident in config.residents],
        "objects": [thing.id for thing in config.objects],
    }
    for section, names in ids.items():
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ConfigError(
                    f"{where((section, index, 'id'))}: expected every id once, found {name!r} "
                    f"{names.count(name)} times; rename one"
                )
    for index, thing in enumerate(config.objects):
        _known(thing.kind, config.catalogue.kinds, "kind", where(("objects", index, "kind")))
    for name, job in config.jobs.items():
        _known(job.object, ids["objects"], "object", where(("jobs", name, "object")))
    for index, resident in enumerate(config.residents):
        if resident.job is not None:
            _known(resident.job, config.jobs, "job", where(("residents", index, "job")))
        _check_resident(config, resident, ("residents", index), where)


def _check_resident(
    config: TownConfig, resident: ResidentConfig, path: Path_, where: Where
) -> None:
    if NEWCOMER.fullmatch(resident.id):
        raise ConfigError(
            f"{where((*path, 'id'))}: expected an id that no newcomer will have, found "
            f"{resident.id!r}; rename the resident"
        )
    if isinstance(resident.personality, str):
        profiles = (*config.personalities.profiles, DRAWN)
        _known(resident.personality, profiles, "profile", where((*path, "personality")))
    others = [other.id for other in config.residents if other.id != resident.id]
    for other in resident.ties:
        _known(other, others, "resident", where((*path, "ties", other)))


def _known(name: str, names: Iterable[str], what: str, at: str) -> None:
    if name not in names:
        raise ConfigError(f"{at}: unknown {what} {name!r}{nearest(name, names)}")


def _read_map(config: TownConfig, where: Where) -> tuple[npt.NDArray[np.bool_], dict[str, Point]]:
    """Return the walls (H, W) and the cells that the legend gives to ids."""
    if config.size is not None:
        columns, height = config.size
        return np.zeros((height, columns), np.bool_), {}
    lines = (config.map or "").rstrip("\n").split("\n")
    width = len(lines[0])
    if max(width, len(lines)) > MAX_SIDE:
        raise ConfigError(
            f"{where(('map',))}: expected at most {MAX_SIDE} columns and rows, "
            f"found {width} x {len(lines)}"
        )
    legend = {"#": "wall", ".": "floor", **config.legend}
    walls = np.zeros((len(lines), width), np.bool_)
    marks: dict[str, Point] = {}
    for y, line in enumerate(lines):
        if len(line) != width:
            raise ConfigError(
                f"{where(('map',))}: expected rows of {width} characters as in row 0, "
                f"found {len(line)} in row {y}"
            )
        for x, character in enumerate(line):
            meaning = legend.get(character)
            if meaning is None:
                raise ConfigError(
                    f"{where(('map',))}: unknown character {character!r} at column {x}, row {y}; "
                    "add it to the legend"
                )
            if meaning == "wall":
                walls[y, x] = True
            elif meaning != "floor":
                _mark(config, where, marks, character, (x, y))
    return walls, marks


def _mark(
    config: TownConfig, where: Where, marks: dict[str, Point], character: str, cell: Point
) -> None:
    name, at = config.legend[character], where(("legend", character))
    objects, residents = [o.id for o in config.objects], [r.id for r in config.residents]
    _known(name, (*objects, *residents, "wall", "floor"), "id", at)
    if name in marks:
        raise ConfigError(f"{at}: {name!r} stands at {list(marks[name])} and at {list(cell)}")
    marks[name] = cell


def _checked(
    name: str,
    cell: Point | None,
    at: str,
    walls: npt.NDArray[np.bool_],
    taken: dict[str, Point],
) -> Point:
    """Return the cell of an object or resident, checked against walls and all before it."""
    if cell is None:
        raise ConfigError(f"{at}: expected [column, row] for {name}, or a letter of it on the map")
    x, y = cell
    height, width = walls.shape
    if x >= width or y >= height:
        raise ConfigError(f"{at}: expected a cell inside {width} x {height}, found [{x}, {y}]")
    if walls[y, x]:
        raise ConfigError(f"{at}: expected floor for {name}, found a wall at [{x}, {y}]; move it")
    for other, other_cell in taken.items():
        if other_cell == cell:
            raise ConfigError(
                f"{at}: expected a free cell for {name}, found {other.split()[1]} at [{x}, {y}]; "
                "move one of them"
            )
    return cell
