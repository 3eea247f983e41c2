"""Episodes of action logs of format 1.1: a file each, with arrays numbered by agent."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from townlet_replay.action_block import (
    ARRAY_DIGEST_BYTES,
    ActionsOf,
    Arrays,
    LoggedEpisode,
    LoggedLife,
)
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import CHAIN_BYTES, CHECK_BYTES
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packed_file import PACKED
from townlet_replay.packing import unpack
from townlet_replay.sidecar import StrictDocument

OLD_LOG_VERSION = "1.1"


class OldSample(StrictDocument):
    """One agent's life in an episode, to be derived."""

    agent_id: str
    rows: int = Field(ge=1)
    episode_return: float


class OldEpisode(StrictDocument):
    """One episode."""

    file: str = Field(description="path of the NPZ, relative to the log")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    episode_id: int = Field(ge=0)
    seed: int = Field(description="of the reset that plays it again")
    ticks: int = Field(ge=1, le=10**7)
    agents: tuple[str, ...] = Field(description="everybody who acted, in fixed order")
    samples: tuple[OldSample, ...]


def decode_old_episode(data: bytes, entry: OldEpisode, where: str) -> LoggedEpisode:
    """Return the episode of a file.

    Args:
        data: the content.
        entry: of the list.
        where: the file, for the message.

    Raises:
        CaptureError: damaged, unsafe, or not those of the episode.
    """
    found = decode_npz(data, where)
    if list(found) != [PACKED]:
        raise CaptureError(f"{where}: expected the array {PACKED!r} alone, found {list(found)}")
    try:
        arrays = unpack(found[PACKED], len(data))
        _check_arrays(arrays, entry)
    except CaptureError as error:
        raise CaptureError(f"{where}: {error}") from error
    return LoggedEpisode(
        episode_id=entry.episode_id,
        seed=entry.seed,
        ticks=entry.ticks,
        lives=tuple(_life(arrays, entry, k) for k in range(len(entry.agents))),
        checks=arrays["checks"],
        chain=arrays["chain"].tobytes(),
        seen=bytes(CHAIN_BYTES),
    )


def _life(arrays: Arrays, entry: OldEpisode, k: int) -> LoggedLife:
    agent, actions = entry.agents[k], arrays[f"actions_{k}"]
    ticks = np.flatnonzero(arrays["present"][:, k])
    returns = {sample.agent_id: sample.episode_return for sample in entry.samples}
    unknown = np.full(len(ticks) + 1, np.nan, np.float32)
    values = arrays.get(f"values_{k}", unknown)
    logits = arrays.get(f"logits_{k}")
    kind = "f" if actions.dtype == np.float32 else "i"
    dim = 1 if logits is None else logits.shape[1]
    return LoggedLife(
        actions_of=ActionsOf(agent, "f" if kind == "f" else "i", actions.shape[1:], dim),
        ticks=ticks,
        actions=actions,
        sampled=agent in returns,
        episode_return=returns.get(agent, 0.0),
        log_probs=arrays.get(f"log_probs_{k}", unknown[1:]),
        values=values[:-1],
        last_value=float(values[-1]),
        logits=logits,
        intents=arrays.get(f"intents_{k}"),
        versions=arrays.get(f"versions_{k}"),
        digests=arrays.get(f"digests_{k}", np.zeros((0, ARRAY_DIGEST_BYTES), np.uint8)),
    )


def _check_arrays(arrays: Arrays, episode: OldEpisode) -> None:
    """Refuse arrays that are not those of an episode, so that nobody stumbles over them later."""
    agents = range(len(episode.agents))
    u1, f4, i8 = (np.dtype(code) for code in ("u1", "f4", "i8"))
    _expect(arrays, "present", (np.dtype(np.bool_),), (episode.ticks, len(agents)))
    _expect(arrays, "checks", (u1,), (episode.ticks + 1, CHECK_BYTES))
    _expect(arrays, "chain", (u1,), (CHAIN_BYTES,))
    rows = arrays["present"].sum(axis=0).tolist()
    known = {"present", "checks", "chain", *(f"actions_{k}" for k in agents)}
    for k in agents:
        _expect(arrays, f"actions_{k}", (i8, f4), (rows[k], ...))
    lives = [sample.agent_id for sample in episode.samples]
    if len(set(lives)) != len(lives) or not set(lives) <= set(episode.agents):
        raise CaptureError(f"samples of {lives}, where {list(episode.agents)} acted")
    for sample in episode.samples:
        k = episode.agents.index(sample.agent_id)
        if rows[k] != sample.rows:
            raise CaptureError(f"{sample.agent_id!r} has {rows[k]} rows, not {sample.rows}")
        shape = arrays[f"actions_{k}"].shape
        _expect(arrays, f"log_probs_{k}", (f4,), (rows[k],))
        _expect(arrays, f"values_{k}", (f4,), (rows[k] + 1,))
        _expect(arrays, f"digests_{k}", (u1,), (..., ARRAY_DIGEST_BYTES))
        optional = {"logits": (rows[k], ...), "intents": shape, "versions": (rows[k],)}
        known |= {f"{name}_{k}" for name in ("log_probs", "values", "digests", *optional)}
        for name, expected in optional.items():
            if f"{name}_{k}" in arrays:
                kinds = {"logits": (f4,), "intents": (i8, f4), "versions": (i8,)}[name]
                _expect(arrays, f"{name}_{k}", kinds, expected)
    strangers = arrays.keys() - known
    if strangers:
        raise CaptureError(f"unknown array {min(strangers)!r}")


def _expect(
    arrays: Arrays, name: str, dtypes: tuple[np.dtype[Any], ...], shape: tuple[Any, ...]
) -> None:
    """Refuse an array of another dtype or shape; an ellipsis stands for any sizes."""
    found = arrays.get(name)
    if found is not None and found.dtype in dtypes:
        sizes = found.shape
        if shape[-1:] == (...,):
            sizes, shape = sizes[: len(shape) - 1], shape[:-1]
        elif shape[:1] == (...,):
            sizes, shape = sizes[1:], shape[1:]
        if sizes == shape and found.ndim >= len(shape):
            return
    what = "none" if found is None else f"{found.dtype}{list(found.shape)}"
    text = ", ".join("..." if size is ... else str(size) for size in shape)
    raise CaptureError(f"{name}: expected {dtypes[0]}[{text}], found {what}")
