"""Where everything stands: the map of a scenario checked and turned into cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.config.schema import ObjectConfig, ResidentConfig, TownConfig
from townlet_env.errors import ConfigError, nearest

Point = tuple[int, int]  # column, row


class Layout(NamedTuple):
    """Cells of a scenario."""

    walls: npt.NDArray[np.bool_]  # (H, W)
    object_cells: tuple[Point, ...]
    resident_cells: tuple[Point, ...]


def lay_out(config: TownConfig) -> Layout:
    """Return the cells of a scenario.

    Raises:
        ConfigError: Ids are not unique or unknown, something has no cell or shares one, or stands
            in a wall or outside the map.
    """
    _check_names(config)
    walls, marks = _read_map(config)
    taken: dict[Point, str] = {}
    objects = tuple(_cell(config, thing, walls, marks, taken) for thing in config.objects)
    residents = tuple(_cell(config, someone, walls, marks, taken) for someone in config.residents)
    return Layout(walls, objects, residents)


def _check_names(config: TownConfig) -> None:
    _check_unique(config.name, "residents", [resident.id for resident in config.residents])
    _check_unique(config.name, "objects", [thing.id for thing in config.objects])
    kinds = config.catalogue.kinds
    for thing in config.objects:
        if thing.kind not in kinds:
            where = f"{config.name}: objects.{thing.id}.kind"
            raise ConfigError(f"{where}: unknown kind {thing.kind!r}{nearest(thing.kind, kinds)}")
    objects = [thing.id for thing in config.objects]
    for name, job in config.jobs.items():
        if job.object not in objects:
            where = f"{config.name}: jobs.{name}.object"
            raise ConfigError(
                f"{where}: unknown object {job.object!r}{nearest(job.object, objects)}"
            )
    for resident in config.residents:
        if resident.job is not None and resident.job not in config.jobs:
            where = f"{config.name}: residents.{resident.id}.job"
            known = nearest(resident.job, config.jobs)
            raise ConfigError(f"{where}: unknown job {resident.job!r}{known}")


def _check_unique(name: str, section: str, ids: Sequence[str]) -> None:
    for identifier in ids:
        if ids.count(identifier) > 1:
            raise ConfigError(
                f"{name}: {section}: expected every id once, found {identifier!r} "
                f"{ids.count(identifier)} times; rename one"
            )


def _read_map(config: TownConfig) -> tuple[npt.NDArray[np.bool_], dict[str, Point]]:
    """Return the walls (H, W) and the cells that the legend gives to ids."""
    if config.size is not None:
        columns, height = config.size
        return np.zeros((height, columns), np.bool_), {}
    lines = (config.map or "").rstrip("\n").split("\n")
    width = len(lines[0])
    legend = {"#": "wall", ".": "floor", **config.legend}
    walls = np.zeros((len(lines), width), np.bool_)
    marks: dict[str, Point] = {}
    for y, line in enumerate(lines):
        if len(line) != width:
            raise ConfigError(
                f"{config.name}: map: expected rows of {width} characters as in row 0, "
                f"found {len(line)} in row {y}"
            )
        for x, character in enumerate(line):
            meaning = legend.get(character)
            if meaning is None:
                raise ConfigError(
                    f"{config.name}: map: unknown character {character!r} at column {x}, row {y}; "
                    "add it to the legend"
                )
            if meaning == "wall":
                walls[y, x] = True
            elif meaning != "floor":
                _mark(config, marks, meaning, (x, y))
    return walls, marks


def _mark(config: TownConfig, marks: dict[str, Point], name: str, cell: Point) -> None:
    known = [thing.id for thing in config.objects] + [who.id for who in config.residents]
    if name not in known:
        raise ConfigError(f"{config.name}: legend: unknown id {name!r}{nearest(name, known)}")
    if name in marks:
        raise ConfigError(f"{config.name}: map: {name!r} stands at {marks[name]} and at {cell}")
    marks[name] = cell


def _cell(
    config: TownConfig,
    item: ObjectConfig | ResidentConfig,
    walls: npt.NDArray[np.bool_],
    marks: dict[str, Point],
    taken: dict[Point, str],
) -> Point:
    """Return the cell of an object or resident, checked against walls and all before it."""
    cell = item.cell if item.cell is not None else marks.get(item.id)
    where = f"{config.name}: {item.id}"
    if cell is None:
        raise ConfigError(f"{where}: expected a cell: [column, row], or a letter of the map")
    x, y = cell
    height, width = walls.shape
    if x >= width or y >= height:
        raise ConfigError(f"{where}: expected a cell inside {width} x {height}, found [{x}, {y}]")
    if walls[y, x]:
        raise ConfigError(f"{where}: expected a floor cell, found a wall at [{x}, {y}]; move it")
    if cell in taken:
        raise ConfigError(f"{where}: cell [{x}, {y}] is taken by {taken[cell]}; move one of them")
    taken[cell] = item.id
    return cell
