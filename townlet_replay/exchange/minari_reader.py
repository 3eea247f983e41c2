"""Reading Minari data sets: those that were captures, and those of strangers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.exchange.hdf5 import Hdf5File, open_hdf5, reading
from townlet_replay.exchange.lives import (
    FINAL_VALUE,
    VALUES,
    Lives,
    Origin,
    Parts,
    library,
    put_together,
)
from townlet_replay.exchange.minari_spaces import (
    Leaf,
    Tree,
    action_format_of,
    observation_tree,
    parse_space,
)
from townlet_replay.safe_files import check_json, read_bytes
from townlet_replay.sample import EXTRA_ARRAYS, FINAL, ReplaySample
from townlet_replay.sidecar import CaptureMetadata, SampleMeta, read_document
from townlet_replay.spaces import MASK, flatten_observation

DATA, METADATA = "main_data.hdf5", "metadata.json"
SIDECAR = "sidecar"  # among the infos of an episode that was a life of a capture
OURS = "townlet"  # in the metadata of a data set that was a capture
FINAL_MASK = f"{FINAL}{MASK}"
UNKNOWN_MASK = -1
MINARI_ROWS = ("actions", "rewards", "terminations", "truncations")
INFOS = {MASK, "old_log_probs", VALUES, "ticks", *EXTRA_ARRAYS} - {FINAL_MASK}
MAX_METADATA_BYTES = 64 * 2**20
MAX_SEED = 2**63  # JSON of a capture has no larger numbers; Minari draws up to twice that

_Arrays = dict[str, NDArray[Any]]


def read(source: Path) -> Lives:
    """Open a Minari data set, by its directory or the ``data`` directory in it.

    A data set that was not a capture has behaviour ``unknown`` and neither log-probs nor values;
    its agent is ``agent_0``, its rewards become float32, and an ``action_mask`` in observations or
    infos becomes the mask.

    Raises:
        CaptureError: not a Minari data set in HDF5, or one without spaces; h5py is not installed.
            While iterating: an episode is unsafe, damaged or unsound.
    """
    library("h5py", "minari")
    folder = source / "data" if (source / "data").is_dir() else source
    path = folder / METADATA
    metadata = check_json(read_bytes(path, MAX_METADATA_BYTES), str(path))
    if not isinstance(metadata, dict):
        raise CaptureError(f"{path}: expected a JSON object")
    found = metadata.get("data_format", "hdf5")
    if found != "hdf5":
        raise CaptureError(f"{path}: data_format is {found!r:.40}, expected 'hdf5'")
    count = metadata.get("total_episodes")
    if type(count) is not int or count < 1:
        raise CaptureError(f"{path}: total_episodes is {count!r:.40}, expected at least 1")
    reader = _Reader(metadata, path)
    return Lives(reader.origin, count, reader.lives(folder / DATA, count))


class _Reader:
    """Reads the episodes of one data set."""

    def __init__(self, metadata: dict[str, Any], path: Path) -> None:
        where = f"{path}: observation_space"
        space = parse_space(metadata.get("observation_space"), where)
        self._observations = observation_tree(space, where)
        where = f"{path}: action_space"
        space = parse_space(metadata.get("action_space"), where)
        self._actions = action_format_of(space, where)
        self._jpeg = metadata.get("jpeg_encoding", True) is not False
        name = metadata.get("dataset_id")
        self._tags = (f"minari:{name}",) if isinstance(name, str) else ()
        self.origin = _origin(metadata, f"{path}: {OURS}")

    def lives(self, path: Path, count: int) -> Iterator[ReplaySample]:
        """Yield the episodes, checked."""
        with open_hdf5(path) as file:
            for index in range(count):
                place = f"episode_{index}"
                with reading(str(path)):
                    parts = self._parts(file, place, index)
                yield put_together(parts, f"{path}: {place}")

    def _parts(self, file: Hdf5File, place: str, index: int) -> Parts:
        rows = {name: file.array(f"{place}/{name}") for name in MINARI_ROWS}
        count = len(rows["rewards"]) if rows["rewards"].ndim == 1 else 0
        if not count:
            raise CaptureError(
                f"{place}/rewards has shape {list(rows['rewards'].shape)}, expected [T], T >= 1"
            )
        nested = _nested(file, f"{place}/observations", self._observations, jpeg=self._jpeg)
        infos = f"{place}/infos"
        ours = file.has(infos) and file.has(f"{infos}/{SIDECAR}")
        wanted = sorted({SIDECAR, *INFOS}) if ours else [MASK]
        found = {
            name: file.array(f"{infos}/{name}")
            for name in wanted
            if file.has(infos) and file.has(f"{infos}/{name}")
        }
        if ours:
            return _own_parts(rows, found, nested)
        seed = file.number(place, "seed")
        small = seed is not None and seed < MAX_SEED
        meta = SampleMeta(
            agent_id=file.text(place, "agent_id") or "agent_0",
            episode_id=index,
            action_lookup=self._actions.lookup,
            action_dim=self._actions.dim,
            timesteps=count,
            value_pred_steps=count + 1,
            tags=self._tags if small or seed is None else (*self._tags, f"seed:{seed}"),
            capture_metadata=self.origin.model_copy(update={"seed": seed if small else None}),
        )
        return self._foreign_parts(rows, found.get(MASK), nested, meta)

    def _foreign_parts(
        self, rows: _Arrays, mask: NDArray[Any] | None, nested: Any, meta: SampleMeta
    ) -> Parts:
        count = len(rows["rewards"])
        if self._actions.discrete and isinstance(nested, dict) and MASK in nested:
            mask, nested = nested[MASK], {k: v for k, v in nested.items() if k != MASK}
        table, ends = _steps(flatten_observation(nested), count)
        terminations = rows["terminations"].astype(np.bool_)
        truncations = rows["truncations"].astype(np.bool_)
        truncations[-1:] |= ~terminations[-1:]  # cut off by the end of the recording
        with np.errstate(over="ignore"):  # an infinity is refused as every other
            rewards = rows["rewards"].astype(np.float32)
            actions = (rows["actions"] - self._actions.start).astype(self._actions.dtype)
        expected = (count, *self._actions.shape)
        if actions.shape != expected:
            raise CaptureError(f"actions have shape {list(actions.shape)}, expected {expected}")
        table |= {
            "actions": actions,
            "rewards": rewards,
            "terminations": terminations,
            "truncations": truncations,
            "dones": terminations | truncations,
            "old_log_probs": np.full(count, np.nan, np.float32),
            VALUES: np.full(count, np.nan, np.float32),
            "ticks": np.arange(1, count + 1, dtype=np.int32),
        }
        if self._actions.discrete and mask is not None:
            table |= _masks(mask, actions, meta.action_dim)
            if len(mask) == count + 1:
                ends[FINAL_MASK] = mask[-1].astype(np.int8)
        ends[FINAL_VALUE] = np.array(np.nan, np.float32)
        return Parts(table, ends, meta)


def _origin(metadata: Mapping[str, Any], where: str) -> CaptureMetadata:
    if OURS in metadata:
        return read_document(Origin, json.dumps(metadata[OURS]).encode(), where).metadata
    description, version = metadata.get("description"), metadata.get("minari_version")
    return CaptureMetadata(
        scenario_description=description if isinstance(description, str) else None,
        versions={"minari": version} if isinstance(version, str) else {},
    )


def _nested(file: Hdf5File, path: str, tree: Tree, *, jpeg: bool) -> Any:
    """Return the arrays of a space, nested as it is, each (T + 1, ...)."""
    if isinstance(tree, dict):
        return {key: _nested(file, f"{path}/{key}", part, jpeg=jpeg) for key, part in tree.items()}
    if not isinstance(tree, Leaf):
        parts = enumerate(tree)
        return tuple(_nested(file, f"{path}/_index_{i}", part, jpeg=jpeg) for i, part in parts)
    if jpeg and tree.image:
        return file.images(path, tree.shape)
    array = file.array(path)
    if array.shape[1:] != tree.shape:
        raise CaptureError(
            f"{path} has shape {list(array.shape)}, but its space says {list(tree.shape)}"
        )
    return array


def _steps(observations: _Arrays, count: int) -> tuple[_Arrays, _Arrays]:
    """Split (T + 1, ...) into the observations of rows and the final one."""
    for key, array in observations.items():
        if array.shape[:1] != (count + 1,):
            raise CaptureError(
                f"{key} has {len(array)} steps, expected {count + 1}: one more than rewards"
            )
    rows = {key: array[:-1] for key, array in observations.items()}
    return rows, {f"{FINAL}{key}": array[-1, ...] for key, array in observations.items()}


def _masks(mask: NDArray[Any], actions: NDArray[Any], width: int) -> _Arrays:
    count = len(actions)
    if mask.shape not in ((count, width), (count + 1, width)) or ((mask != 0) & (mask != 1)).any():
        raise CaptureError(
            f"the action mask has shape {list(mask.shape)}, expected [{count + 1}, {width}] of 0 "
            "and 1"
        )
    table = {MASK: mask[:count].astype(np.int8)}
    chosen = np.clip(actions, 0, width - 1)  # an id out of range is reported by the sample
    illegal = (table[MASK][np.arange(count), chosen] == 0) & (actions == chosen)
    return table | ({"illegal_actions": illegal} if illegal.any() else {})


def _own_parts(rows: _Arrays, infos: _Arrays, nested: Any) -> Parts:
    """Return what was taken apart to be written."""
    count = len(rows["rewards"])
    text = infos.pop(SIDECAR)
    if text.dtype != np.uint8 or not all(len(array) == count + 1 for array in infos.values()):
        raise CaptureError(f"infos are not {count + 1} steps of a capture")
    meta = read_document(SampleMeta, text.tobytes(), SIDECAR)
    table, ends = _steps(flatten_observation(nested), count)
    table |= rows | {name: array[:-1] for name, array in infos.items()}
    table["dones"] = rows["terminations"] | rows["truncations"]
    if VALUES in infos:
        ends[FINAL_VALUE] = infos[VALUES][-1, ...]
    if MASK in infos:
        if not (infos[MASK][-1] == UNKNOWN_MASK).all():
            ends[FINAL_MASK] = infos[MASK][-1]
        if (table[MASK] == UNKNOWN_MASK).all():
            del table[MASK]
    return Parts(table, ends, meta)
