"""Minari data sets (HDF5, the layout of Minari 0.5): one episode per life, nothing left out.

Minari has observations (T + 1, ...), actions, rewards, terminations and truncations. All else of a
life goes into its infos, (T + 1, ...) as Minari has them; where a row array has no entry for the
final observation it ends with NaN, -1 or false. The sidecar is there as well,
in bytes, because Minari drops the metadata of episodes when it combines data sets.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.exchange.hdf5 import add_array, create_hdf5
from townlet_replay.exchange.lives import (
    FINAL_VALUE,
    VALUES,
    Lives,
    Origin,
    Parts,
    check_absent,
    library,
    take_apart,
    unknown_like,
    whole_directory,
)
from townlet_replay.exchange.minari_reader import (
    DATA,
    FINAL_MASK,
    INFOS,
    MAX_METADATA_BYTES,
    METADATA,
    MINARI_ROWS,
    OURS,
    SIDECAR,
    UNKNOWN_MASK,
    read,
)
from townlet_replay.exchange.minari_spaces import action_space, observation_space
from townlet_replay.safe_files import to_json
from townlet_replay.sample import ReplaySample
from townlet_replay.spaces import MASK, WHOLE

__all__ = ["read", "write"]

LAYOUT = "0.5.4"  # the version of Minari whose layout is written

_NAME = re.compile(r"[A-Za-z0-9_-]+-v\d+")


def write(lives: Lives, output: Path) -> None:
    """Write ``lives`` as a Minari data set in the directory ``output``, named ``<name>-v<number>``.

    Raises:
        CaptureError: a name that Minari would not take, an observation without numbers, or the
            output exists or cannot be written.
    """
    library("h5py", "minari")
    check_absent(output)
    if not _NAME.fullmatch(output.name):
        raise CaptureError(
            f"{output}: Minari wants a data set to be called <name>-v<number>, "
            f"such as {re.sub('[^A-Za-z0-9_-]', '_', output.stem) or 'data'}-v0"
        )
    with whole_directory(output) as folder:
        data = folder / "data"
        data.mkdir()
        steps = 0
        spaces: dict[str, str] = {}
        with create_hdf5(data / DATA) as (file, check):
            for index, sample in enumerate(lives.samples):
                spaces = spaces or _spaces(sample)
                _write_episode(file.create_group(f"episode_{index}"), index, sample)
                steps += sample.rows
                check()
        metadata = {
            "total_episodes": lives.count,
            "total_steps": steps,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            **spaces,
            "dataset_id": output.name,
            "minari_version": LAYOUT,
            "dataset_size": round((data / DATA).stat().st_size / 1e6, 1),
            OURS: json.loads(to_json(Origin(metadata=lives.metadata))),
        }
        text = json.dumps(metadata)
        if len(text) > MAX_METADATA_BYTES:
            raise CaptureError(
                f"{output}: Minari writes two bounds for every number of an observation, which "
                f"would be {len(text)} bytes here; export to parquet or npz"
            )
        (data / METADATA).write_text(text, encoding="utf-8")


def _spaces(sample: ReplaySample) -> dict[str, str]:
    for key, array in sample.observations.items():
        if array.size == 0:
            raise CaptureError(
                f"the observation {key!r} has shape {list(array.shape[1:])}; Minari has no space "
                "without numbers"
            )
    return {
        "observation_space": observation_space(sample.observations, WHOLE),
        "action_space": action_space(sample.actions, sample.meta.action_lookup),
    }


def _write_episode(group: Any, index: int, sample: ReplaySample) -> None:
    meta = sample.meta
    seed = meta.capture_metadata.seed
    group.attrs.update({"id": index, "total_steps": sample.rows, "episode_id": meta.episode_id})
    group.attrs["agent_id"] = meta.agent_id.replace("\0", "?")  # HDF5 ends texts there
    if seed is not None:
        group.attrs["seed"] = seed
    whole = sample.observations.keys() == {WHOLE}
    place = group if whole else group.create_group("observations")
    for key, array in sample.observations.items():
        steps = np.concatenate([array, sample.final_observation[key][None]])
        add_array(place, "observations" if whole else key, steps)
    parts = take_apart(sample)
    for name in MINARI_ROWS:
        add_array(group, name, parts.rows[name])
    infos = group.create_group("infos")
    for name, array in _infos(parts).items():
        add_array(infos, name, array)


def _infos(parts: Parts) -> dict[str, NDArray[Any]]:
    """Return the infos of an episode, name -> (T + 1, ...)."""
    rows = {name: parts.rows[name] for name in sorted(INFOS & parts.rows.keys())}
    if FINAL_MASK in parts.ends and MASK not in rows:
        shape = (parts.meta.timesteps, parts.meta.action_dim)
        rows[MASK] = np.full(shape, UNKNOWN_MASK, np.int8)
    last = {VALUES: parts.ends[FINAL_VALUE]}
    if FINAL_MASK in parts.ends:
        last[MASK] = parts.ends[FINAL_MASK]
    infos = {}
    for name, array in rows.items():
        infos[name] = np.concatenate([array, last.get(name, unknown_like(array[0, ...]))[None]])
    infos[SIDECAR] = _in_rows(to_json(parts.meta), parts.meta.timesteps + 1)
    return infos


def _in_rows(text: bytes, rows: int) -> NDArray[np.uint8]:
    """Return ``text`` as (rows, bytes per row), ended by spaces: read in order it is the text."""
    width = -(-len(text) // rows)
    return np.frombuffer(text.ljust(rows * width), np.uint8).reshape(rows, width)
