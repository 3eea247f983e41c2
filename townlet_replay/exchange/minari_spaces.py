"""Spaces as Minari writes them, without building any: only kinds, shapes and bounds of ids."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.npz import MAX_NDIM
from townlet_replay.spaces import ActionFormat

MAX_IDS = 65_536  # of a Discrete space of actions: every id gets a name
_MIN_IMAGE_SIDE = 32  # smaller ones are never stored as JPEG


class Leaf(NamedTuple):
    """Where a space holds one array."""

    shape: tuple[int, ...]
    image: bool  # stored as JPEG, unless the data set says otherwise


Tree = Leaf | dict[str, "Tree"] | tuple["Tree", ...]


def box(array: NDArray[Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the Box of all numbers of the dtype of ``array``."""
    dtype = array.dtype
    low: float | int | bool
    high: float | int | bool
    if dtype.kind == "f":
        low, high = -math.inf, math.inf
    elif dtype.kind == "b":
        low, high = False, True
    else:
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    bounds = {"low": _filled(shape, low), "high": _filled(shape, high)}
    return {"type": "Box", "dtype": str(dtype), "shape": list(shape), **bounds}


def _filled(shape: tuple[int, ...], value: float) -> Any:
    return [_filled(shape[1:], value) for _ in range(shape[0])] if shape else value


def observation_space(observations: Mapping[str, NDArray[Any]], whole: str) -> str:
    """Return the space of flat observations: a Dict, or a Box if ``whole`` is the only key."""
    boxes = {key: box(array, array.shape[1:]) for key, array in observations.items()}
    found = boxes[whole] if boxes.keys() == {whole} else {"type": "Dict", "subspaces": boxes}
    return json.dumps(found)


def action_space(actions: NDArray[Any], action_lookup: Mapping[int, str]) -> str:
    """Return the space of stored actions."""
    if action_lookup:
        found = {"type": "Discrete", "dtype": "int64", "start": 0, "n": len(action_lookup)}
        return json.dumps(found)
    return json.dumps(box(actions, actions.shape[1:]))


def parse_space(text: object, where: str) -> dict[str, Any]:
    """Return the JSON of a space.

    Raises:
        CaptureError: missing, not JSON, or not an object.
    """
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{where}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise CaptureError(
            f"{where}: {str(found)[:40]}; expected a space. Minari would build the environment to "
            "find out, which is not done here: store the data set with its spaces"
        )
    return found


def observation_tree(space: Any, where: str, depth: int = 0) -> Tree:
    """Return where a space of observations holds arrays.

    Raises:
        CaptureError: a kind of space that holds no numbers, or a malformed one.
    """
    kind = space.get("type") if isinstance(space, dict) else None
    parts = space.get("subspaces") if isinstance(space, dict) else None
    if depth < MAX_NDIM and kind == "Dict" and isinstance(parts, dict):
        return {key: observation_tree(part, where, depth + 1) for key, part in parts.items()}
    if depth < MAX_NDIM and kind == "Tuple" and isinstance(parts, list):
        return tuple(observation_tree(part, where, depth + 1) for part in parts)
    if kind == "Discrete":
        return Leaf((), image=False)
    if kind in ("Box", "MultiDiscrete", "MultiBinary"):
        return _leaf(space, where)
    raise CaptureError(
        f"{where}: a space of type {kind!r:.40}; expected Box, Discrete, MultiDiscrete or "
        "MultiBinary, in at most eight layers of Dict and Tuple"
    )


def _leaf(space: Mapping[str, Any], where: str) -> Leaf:
    shape = _shape(space, where)
    large = len(shape) in (2, 3) and min(shape[:2]) >= _MIN_IMAGE_SIDE
    image = large and space["type"] == "Box" and space.get("dtype") == "uint8"
    return Leaf(shape, image and _all(space.get("low"), 0) and _all(space.get("high"), 255))


def _all(bounds: Any, value: int, depth: int = 0) -> bool:
    if isinstance(bounds, list) and depth < MAX_NDIM:
        return all(_all(bound, value, depth + 1) for bound in bounds)
    return bool(bounds == value)


def _shape(space: Mapping[str, Any], where: str) -> tuple[int, ...]:
    kind = space["type"]
    found: Any = space.get({"Box": "shape", "MultiBinary": "n", "MultiDiscrete": "nvec"}[kind])
    if kind == "MultiDiscrete":
        try:
            return tuple(np.shape(found)[:MAX_NDIM])
        except ValueError:
            found = "of a ragged nvec"
    sizes = [found] if isinstance(found, int) else found
    if not isinstance(sizes, list) or len(sizes) > MAX_NDIM:
        raise CaptureError(f"{where}: the shape {found!r:.60} of a {kind} is not one")
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise CaptureError(f"{where}: the shape {found!r:.60} of a {kind} is not one")
    return tuple(sizes)


def action_format_of(space: Mapping[str, Any], where: str) -> ActionFormat:
    """Say how actions of a space are stored, as the recorder does for an environment.

    Raises:
        CaptureError: another kind of space, or a malformed one.
    """
    kind = space.get("type")
    if kind == "Discrete":
        count, start = space.get("n"), space.get("start", 0)
        if type(count) is not int or type(start) is not int or not 0 < count <= MAX_IDS:
            raise CaptureError(f"{where}: Discrete of {count!r:.20} ids from {start!r:.20}")
        lookup = {i: f"action_{start + i}" for i in range(count)}
        return ActionFormat(count, lookup, start, np.int64, ())
    if kind in ("Box", "MultiDiscrete", "MultiBinary"):
        shape = _shape(space, where)
        dtype = np.float32 if kind == "Box" else np.int64
        return ActionFormat(max(1, math.prod(shape)), {}, 0, dtype, shape)
    raise CaptureError(
        f"{where}: a space of type {kind!r:.40}; expected Discrete, Box, MultiDiscrete or "
        "MultiBinary"
    )
