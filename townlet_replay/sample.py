"""One agent's life in one episode, as arrays; and its file.

Row ``t`` is what the agent saw *before* acting, what it was allowed to do, what it did, what it
got, and how that ended. There is no padding, and the last row is the only one that ends.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.npz import (
    DTYPE_KINDS,
    MAX_ITEM_BYTES,
    encode_npz,
)
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packed_file import PACKED, decode_packed, encode_packed
from townlet_replay.sidecar import SCHEMA_VERSION, Mode, SampleMeta, SampleMetrics

OBSERVATION_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
FINAL = "final_"

# Arrays of the format that belong to every sample, in the order of the file after observations.
ROW_ARRAYS: dict[str, type[np.generic]] = {
    "rewards": np.float32,
    "terminations": np.bool_,
    "truncations": np.bool_,
    "dones": np.bool_,
    "old_log_probs": np.float32,
    "value_preds": np.float32,
    "ticks": np.int32,
}
# Optional arrays: name -> dtype; None means the dtype of the actions.
EXTRA_ARRAYS: dict[str, type[np.generic] | None] = {
    "policy_log_probs": np.float32,  # (T,) of the network named by capture_metadata.policy_hash
    "behaviour_logits": np.float32,  # (T, A)
    "intent_actions": None,  # like actions: a noisy script's choice before the noise
    "reward_components": np.float32,  # (T, K), columns named in the sidecar
    "policy_version": np.int64,  # (T,)
    "illegal_actions": np.bool_,  # (T,) the mask forbade the action; the environment decided
    "final_action_mask": np.int8,  # (A,)
}
RESERVED = {PACKED, "action_mask", "actions", *ROW_ARRAYS, *EXTRA_ARRAYS}

MAX_DISCRETE_LOG_PROB = 1e-4  # rounding of float32 may leave a probability just above 1


@dataclass(frozen=True, eq=False)
class ReplaySample:
    """The rows of one agent in one episode; checked when built.

    ``T`` rows, ``A`` actions. Compare two samples with :func:`same_sample`.
    """

    observations: dict[str, NDArray[Any]]  # key -> (T, ...)
    action_mask: NDArray[np.int8] | None  # (T, A) of 0 and 1
    actions: NDArray[Any]  # (T,) int64 ids, (T, n) int64 or (T, ...) float32 of other spaces
    rewards: NDArray[np.float32]  # (T,) raw
    terminations: NDArray[np.bool_]  # (T,)
    truncations: NDArray[np.bool_]  # (T,)
    old_log_probs: NDArray[np.float32]  # (T,) under the behaviour; 0 certain, NaN unknown
    value_preds: NDArray[np.float32]  # (T + 1,) NaN without a critic; last: V(final observation)
    ticks: NDArray[np.int32]  # (T,) number of the tick that carried the action out, from 1
    final_observation: dict[str, NDArray[Any]]  # key -> (...)
    meta: SampleMeta
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self._check_rows()
            self._check_observations()
            self._check_actions()
            self._check_numbers()
            self._check_end()
            self._check_extras()
        except CaptureError as error:
            meta = self.meta
            raise CaptureError(
                f"sample of agent {meta.agent_id!r}, episode {meta.episode_id}: {error}"
            ) from error

    @property
    def rows(self) -> int:
        """Number of rows, T."""
        return int(self.rewards.shape[0])

    @property
    def dones(self) -> NDArray[np.bool_]:
        """(T,) terminated or truncated."""
        return self.terminations | self.truncations

    @property
    def discrete(self) -> bool:
        """Whether actions are ids of a vocabulary."""
        return bool(self.meta.action_lookup)

    def _check_rows(self) -> None:
        rows = self.meta.timesteps
        for name, dtype in ROW_ARRAYS.items():
            steps = rows + 1 if name == "value_preds" else rows
            _check_array(name, self.array(name), np.dtype(dtype), (steps,))
        if self.meta.value_pred_steps != rows + 1:
            raise CaptureError(
                f"value_pred_steps is {self.meta.value_pred_steps}, expected timesteps + 1"
            )

    def array(self, name: str) -> NDArray[Any]:
        """Return one of the arrays of ``ROW_ARRAYS`` by its name in the file."""
        found: NDArray[Any] = getattr(self, name)
        return found

    def _check_observations(self) -> None:
        if not self.observations or self.observations.keys() != self.final_observation.keys():
            raise CaptureError(
                f"observations have the keys {sorted(self.observations)}, "
                f"the final observation {sorted(self.final_observation)}; expected the same"
            )
        for key, array in self.observations.items():
            check_observation_key(key)
            final = self.final_observation[key]
            _check_plain(key, array)
            if array.ndim == 0 or array.shape[0] != self.meta.timesteps:
                raise CaptureError(
                    f"{key} has shape {array.shape}, expected {self.meta.timesteps} rows"
                )
            _check_array(f"{FINAL}{key}", final, array.dtype, array.shape[1:])
        self._check_width("features", self.meta.feature_names, -1)
        self._check_width("map", self.meta.map_channels, 1)

    def _check_width(self, key: str, names: tuple[str, ...] | None, axis: int) -> None:
        if names is None or key not in self.observations:
            return
        shape = self.observations[key].shape
        if len(shape) < 2 or shape[axis] != len(names):
            raise CaptureError(f"{key} has shape {shape}, but {len(names)} columns are named")

    def _check_actions(self) -> None:
        rows, width = self.meta.timesteps, self.meta.action_dim
        if not self.discrete:
            self._check_components()
            return
        _check_array("actions", self.actions, np.dtype(np.int64), (rows,))
        ids = sorted(self.meta.action_lookup)
        if len(ids) != width or ids != list(range(width)):
            raise CaptureError(f"action_lookup must name the ids 0 to {width - 1}, each once")
        _check_ids("actions", self.actions, width)
        if self.action_mask is None:
            return
        _check_mask("action_mask", self.action_mask, (rows, width))
        forbidden = self.action_mask[np.arange(rows), self.actions] == 0
        flagged = self.extras.get("illegal_actions", np.zeros(rows, np.bool_))
        if not np.array_equal(forbidden, flagged):
            row = int(np.flatnonzero(forbidden != flagged)[0])
            name = self.meta.action_lookup[int(self.actions[row])]
            raise CaptureError(
                f"row {row}: action {name!r} against the mask of that row; observations, masks and "
                "actions are not of the same rows, or illegal_actions does not say so"
            )

    def _check_components(self) -> None:
        if self.action_mask is not None:
            raise CaptureError("an action_mask needs actions that are ids (action_lookup is empty)")
        if self.actions.dtype not in (np.dtype(np.float32), np.dtype(np.int64)):
            raise CaptureError(
                f"actions have dtype {self.actions.dtype}, expected float32 or int64"
            )
        shape, rows = self.actions.shape, self.meta.timesteps
        if shape[:1] != (rows,) or self.actions.size != rows * self.meta.action_dim:
            raise CaptureError(
                f"actions have shape {shape}, expected {rows} rows of "
                f"{self.meta.action_dim} components"
            )

    def _check_numbers(self) -> None:
        if not np.isfinite(self.rewards).all():
            row = int(np.flatnonzero(~np.isfinite(self.rewards))[0])
            raise CaptureError(f"row {row}: the reward is {self.rewards[row]}, expected a number")
        if np.isinf(self.old_log_probs).any() or np.isinf(self.value_preds).any():
            raise CaptureError("old_log_probs and value_preds hold infinities; NaN means unknown")
        if self.discrete and (self.old_log_probs > MAX_DISCRETE_LOG_PROB).any():
            row = int(np.flatnonzero(self.old_log_probs > MAX_DISCRETE_LOG_PROB)[0])
            raise CaptureError(f"row {row}: log-prob {self.old_log_probs[row]} is above 0")

    def _check_end(self) -> None:
        dones = self.dones
        if dones[:-1].any() or not dones[-1]:
            raise CaptureError(
                "the last row, and no other, must be terminated or truncated; "
                f"ends are at rows {np.flatnonzero(dones).tolist()[:5]} of {self.rows}"
            )
        last = self.value_preds[-1]
        if self.terminations[-1] and not (last == 0 or np.isnan(last)):
            raise CaptureError(f"the value after a termination is {last}, expected 0")

    def _check_extras(self) -> None:
        rows, width = self.meta.timesteps, self.meta.action_dim
        names = self.meta.reward_components
        shapes: dict[str, tuple[int, ...]] = {
            "behaviour_logits": (rows, width),
            "intent_actions": self.actions.shape,
            "reward_components": (rows, len(names or ())),
            "final_action_mask": (width,),
        }
        for name, array in self.extras.items():
            if name not in EXTRA_ARRAYS:
                raise CaptureError(f"unknown extra {name!r}; known: {', '.join(EXTRA_ARRAYS)}")
            dtype = np.dtype(EXTRA_ARRAYS[name] or self.actions.dtype)
            _check_array(name, array, dtype, shapes.get(name, (rows,)))
        if "final_action_mask" in self.extras:
            _check_mask("final_action_mask", self.extras["final_action_mask"], (width,))
        if self.discrete and "intent_actions" in self.extras:
            _check_ids("intent_actions", self.extras["intent_actions"], width)


def check_observation_key(key: str) -> None:
    """Refuse an observation key that could be taken for another array of the file.

    Raises:
        CaptureError: reserved, or not a plain word.
    """
    reserved = key in RESERVED or key.startswith((FINAL, "segment_"))
    if reserved or not OBSERVATION_KEY.fullmatch(key):
        raise CaptureError(f"{key!r} cannot name an observation in a capture")


def _check_plain(name: str, array: NDArray[Any]) -> None:
    dtype = array.dtype
    if dtype.kind not in DTYPE_KINDS or dtype.itemsize > MAX_ITEM_BYTES or not dtype.isnative:
        raise CaptureError(f"{name} has dtype {dtype}; booleans, integers or floats are expected")


def _check_array(
    name: str, array: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise CaptureError(
            f"{name} is {array.dtype}{list(array.shape)}, expected {dtype}{list(shape)}"
        )


def _check_mask(name: str, mask: NDArray[Any], shape: tuple[int, ...]) -> None:
    _check_array(name, mask, np.dtype(np.int8), shape)
    if mask.size and mask.view(np.uint8).max() > 1:  # negative ones are large, looked at so
        raise CaptureError(f"{name} holds other values than 0 and 1")


def _check_ids(name: str, ids: NDArray[Any], width: int) -> None:
    if ids.size and ids.view(np.uint64).max() >= width:  # negative ones are large, looked at so
        row = int(np.flatnonzero((ids < 0) | (ids >= width))[0])
        raise CaptureError(f"row {row}: {name} is {ids[row]}, expected 0 to {width - 1}")


def arrays_of(sample: ReplaySample) -> dict[str, NDArray[Any]]:
    """Return every array of ``sample`` under its name in the file, in the order of the file."""
    arrays = {key: sample.observations[key] for key in sorted(sample.observations)}
    if sample.action_mask is not None:
        arrays["action_mask"] = sample.action_mask
    arrays["actions"] = sample.actions
    arrays.update({name: sample.array(name) for name in ROW_ARRAYS})
    for key in sorted(sample.final_observation):
        arrays[f"{FINAL}{key}"] = sample.final_observation[key]
    arrays.update({name: sample.extras[name] for name in EXTRA_ARRAYS if name in sample.extras})
    return arrays


def encode_sample(sample: ReplaySample, *, compress: bool, mode: Mode = "full") -> bytes:
    """Return the NPZ file of ``sample``: the same arrays always give the same bytes.

    Args:
        sample: any.
        compress: deflate the arrays of mode ``full``; packed ones always are.
        mode: ``packed`` writes one array of bytes instead of them all, unless it would shrink so
            far that :func:`decode_sample` took it for a bomb.

    Raises:
        CaptureError: more than 2 GiB of arrays.
    """
    arrays = arrays_of(sample)
    packed = encode_packed(arrays) if mode == "packed" else None
    return encode_npz(arrays, compress=compress) if packed is None else packed


Arrays = Mapping[str, NDArray[Any]]
Settle = Callable[[Arrays], Arrays]
"""Takes the arrays of a file and returns those that its sample is to hold, with the same numbers.

They have not been checked yet.
"""


def decode_sample(
    data: bytes, meta: SampleMeta, where: str, settle: Settle | None = None
) -> ReplaySample:
    """Return the sample of an NPZ file and its sidecar.

    Args:
        data: the content of the NPZ file.
        meta: the sidecar.
        where: the file, for the message.
        settle: puts the arrays where they are to be.

    Raises:
        CaptureError: the archive is unsafe or damaged, an array is missing or unknown, or the
            arrays contradict each other or the sidecar.
    """
    arrays = decode_npz(data, where)
    if PACKED in arrays:
        arrays = decode_packed(arrays, len(data), where)
    return build_sample(arrays if settle is None else settle(arrays), meta, where)


def build_sample(arrays: Mapping[str, NDArray[Any]], meta: SampleMeta, where: str) -> ReplaySample:
    """Return the sample of arrays under their names in the file: :func:`arrays_of`, turned round.

    Args:
        arrays: name -> array.
        meta: the sidecar.
        where: the source, for the message.

    Raises:
        CaptureError: an array is missing or unknown, or the arrays contradict each other or the
            sidecar.
    """
    arrays = dict(arrays)
    missing = [name for name in ("actions", *ROW_ARRAYS) if name not in arrays]
    if missing:
        raise CaptureError(f"{where}: no array {missing[0]!r}; it is part of every sample")
    extras = {name: arrays.pop(name) for name in EXTRA_ARRAYS if name in arrays}
    rows = {name: arrays.pop(name) for name in ROW_ARRAYS}
    mask, actions = arrays.pop("action_mask", None), arrays.pop("actions")
    final = {name.removeprefix(FINAL): arrays[name] for name in arrays if name.startswith(FINAL)}
    observations = {name: arrays[name] for name in arrays if not name.startswith(FINAL)}
    dones = rows.pop("dones")
    try:
        sample = ReplaySample(
            observations=observations,
            action_mask=mask,
            actions=actions,
            final_observation=final,
            extras=extras,
            meta=meta,
            **rows,
        )
    except CaptureError as error:
        raise CaptureError(f"{where}: {error}") from error
    if not np.array_equal(sample.dones, dones):
        raise CaptureError(f"{where}: dones differ from terminations or truncations")
    return sample


def same_sample(one: ReplaySample, other: ReplaySample) -> bool:
    """Say whether two samples hold the same bits, names and sidecar, however they are written."""
    left, right = arrays_of(one), arrays_of(other)
    return (
        written_as(one.meta, "full") == written_as(other.meta, "full")
        and left.keys() == right.keys()
        and all(
            left[name].dtype == right[name].dtype
            and left[name].shape == right[name].shape
            and left[name].tobytes() == right[name].tobytes()
            for name in left
        )
    )


def written_as(meta: SampleMeta, mode: Mode, **digests: str) -> SampleMeta:
    """Return ``meta`` as the sidecar of a file written in ``mode`` with these digests."""
    changes = {"schema_version": SCHEMA_VERSION, "mode": mode, "digests": digests}
    return meta.model_copy(update=changes)


def with_metrics(sample: ReplaySample, metrics: SampleMetrics) -> ReplaySample:
    """Return ``sample`` with these metrics in its sidecar; nothing that is checked changes."""
    copied = copy.copy(sample)
    object.__setattr__(copied, "meta", sample.meta.model_copy(update={"metrics": metrics}))
    return copied


def with_meta(sample: ReplaySample, **changes: object) -> ReplaySample:
    """Return ``sample`` with changed fields of its sidecar, checked again.

    Raises:
        CaptureError: the arrays no longer fit the sidecar.
    """
    return replace(sample, meta=sample.meta.model_copy(update=changes))
