"""Any environment's observations and actions as the plain arrays of a capture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.npz import DTYPE_KINDS, MAX_ITEM_BYTES
from townlet_replay.sample import FINAL, RESERVED

MASK = "action_mask"
WHOLE = "observation"  # key of an observation that has no keys
MAX_KEY = 64


class ActionFormat(NamedTuple):
    """How the actions of one agent are stored."""

    dim: int  # number of ids, or of components
    lookup: dict[int, str]  # empty unless Discrete
    start: int  # first id of a Discrete space; stored ids begin at 0
    dtype: type[np.generic]
    shape: tuple[int, ...]

    @property
    def discrete(self) -> bool:
        """Whether actions are ids."""
        return bool(self.lookup)

    def encode(self, agent: object, action: Any) -> int | NDArray[Any]:
        """Return a copy of ``action`` as it is stored.

        Raises:
            CaptureError: outside the action space, so that no capture could name it.
        """
        if self.lookup:
            found = int(action) - self.start
            if not 0 <= found < self.dim:
                raise CaptureError(
                    f"agent {agent!r}: action {int(action)} cannot be recorded; "
                    f"expected {self.start} to {self.start + self.dim - 1}"
                )
            return found
        array = np.array(action).astype(self.dtype)
        if array.shape != self.shape:
            raise CaptureError(
                f"agent {agent!r}: an action of shape {array.shape}, expected {self.shape}"
            )
        return array

    def decode(self, stored: Any) -> Any:
        """Return an action as it was before :meth:`encode`."""
        return int(stored) + self.start if self.discrete else np.asarray(stored)


def action_format(agent: object, space: object, names: dict[int, str] | None) -> ActionFormat:
    """Say how the actions of ``space`` are stored.

    Discrete: int64 ids from 0 with names. MultiDiscrete and MultiBinary: int64 components.
    Box: float32 components.

    Args:
        agent: for the message.
        space: a Gymnasium action space.
        names: id -> name of a Discrete space, or ``None`` for ``action_<id>``.

    Raises:
        CaptureError: another kind of space, or names that do not fit it.
    """
    if isinstance(space, spaces.Discrete):
        count, start = int(space.n), int(space.start)
        lookup = names or {i: f"action_{start + i}" for i in range(count)}
        if len(lookup) != count:
            raise CaptureError(
                f"agent {agent!r}: {len(lookup)} action names for a space of {count} actions"
            )
        return ActionFormat(count, lookup, start, np.int64, ())
    if isinstance(space, spaces.Box):
        return ActionFormat(max(1, int(np.prod(space.shape))), {}, 0, np.float32, space.shape)
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        shape = tuple(space.shape)
        return ActionFormat(max(1, int(np.prod(shape))), {}, 0, np.int64, shape)
    raise CaptureError(
        f"agent {agent!r}: actions of {space} cannot be recorded; "
        "expected Discrete, Box, MultiDiscrete or MultiBinary"
    )


def copy_observation(observation: Any) -> Any:
    """Return a deep copy with every leaf an array: environments may reuse their buffers.

    Raises:
        CaptureError: a leaf is not a number or an array of numbers.
    """
    if isinstance(observation, Mapping):
        return {key: copy_observation(observation[key]) for key in observation}
    if isinstance(observation, (tuple, list)):
        return tuple(copy_observation(item) for item in observation)
    array = np.array(observation)
    if array.dtype.kind not in DTYPE_KINDS or array.dtype.itemsize > MAX_ITEM_BYTES:
        raise CaptureError(
            f"an observation of {type(observation).__name__} ({array.dtype}) cannot be recorded; "
            "expected numbers or arrays of numbers, possibly in dicts and tuples"
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def flatten_observation(observation: Any) -> dict[str, NDArray[Any]]:
    """Return the leaves of a copied observation under plain keys, sorted.

    Nested keys are joined by ``_``, other characters become ``_``, reserved names get a prefix, and
    an observation without keys is called ``observation``.

    Raises:
        CaptureError: two leaves get one name, or there is none.
    """
    found: dict[str, NDArray[Any]] = {}
    _collect(observation, (), found)
    if not found:
        raise CaptureError("an empty observation cannot be recorded")
    return {key: found[key] for key in sorted(found)}


def _collect(observation: Any, path: tuple[str, ...], found: dict[str, NDArray[Any]]) -> None:
    if isinstance(observation, dict):
        for key, value in observation.items():
            _collect(value, (*path, str(key)), found)
    elif isinstance(observation, tuple):
        for index, value in enumerate(observation):
            _collect(value, (*(path or (WHOLE,)), str(index)), found)
    else:
        key = plain_key(path)
        if key in found:
            raise CaptureError(
                f"two parts of an observation would both be called {key!r}; rename one of them"
            )
        found[key] = observation


@lru_cache(maxsize=1024)
def plain_key(path: tuple[str, ...]) -> str:
    """Return the key in a capture of the part of an observation at ``path``."""
    key = re.sub(r"[^A-Za-z0-9_]", "_", "_".join(path)) or WHOLE
    if key in RESERVED or key.startswith((FINAL, "segment_")) or not key[0].isalpha():
        key = f"{WHOLE}_{key}"
    return key[:MAX_KEY]


def split_mask(
    agent: object,
    observation: Any,
    info: Mapping[str, Any],
    actions: ActionFormat,
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int8] | None]:
    """Return (flat observation, action mask) of a copied observation.

    The mask is ``observation["action_mask"]`` or else ``info["action_mask"]``; actions that are not
    ids have none.

    Raises:
        CaptureError: a mask of another length than the actions, or an observation as above.
    """
    mask = info.get(MASK) if actions.discrete else None
    if actions.discrete and isinstance(observation, dict) and MASK in observation:
        mask = observation[MASK]
        observation = {key: value for key, value in observation.items() if key != MASK}
    flat = flatten_observation(observation)
    if mask is None:
        return flat, None
    array = np.array(mask)
    if array.shape != (actions.dim,) or ((array != 0) & (array != 1)).any():
        raise CaptureError(
            f"agent {agent!r}: the action mask has shape {array.shape}; "
            f"expected {actions.dim} numbers, 0 or 1"
        )
    return flat, array.astype(np.int8)
