"""Live Stable-Baselines3 rollouts, caught as they are and kept for an exact replay.

:class:`RolloutTap` is an ordinary callback. It hands out one :class:`LiveUpdate` per update:
the rows in the packed form every learner here consumes, and the state of the generator from
which Stable-Baselines3 draws its minibatches. A fresh model trained on these through
:mod:`townlet_replay.training.sb3` ends with the same bits as the live one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer, MaskableRolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor

from townlet_replay.errors import CaptureError, TrainingError
from townlet_replay.npz import encode_npz
from townlet_replay.npz_reader import decode_npz
from townlet_replay.rollout import Rollout
from townlet_replay.safe_files import read_bytes, write_files

_OBSERVATION = "observed_"
_STATE = "numpy_state_"


class NumpyState(NamedTuple):
    """State of NumPy's global Mersenne Twister, the source of Stable-Baselines3's minibatches."""

    keys: NDArray[np.uint32]
    """(624,)"""
    position: int
    has_gauss: int
    cached_gaussian: float

    @classmethod
    def now(cls) -> NumpyState:
        """Read the global generator."""
        state: Any = np.random.get_state()  # noqa: NPY002 (the generator that SB3 uses)
        return cls(state[1].copy(), state[2], state[3], state[4])

    def restore(self) -> None:
        """Put the global generator into this state."""
        np.random.set_state(("MT19937", *self))  # noqa: NPY002 (the generator that SB3 uses)


class LiveUpdate(NamedTuple):
    """What one live update was computed from."""

    rollout: Rollout
    """Rows lane by lane; a lane cut by the end of the rollout is closed by its bootstrap value."""
    numpy_state: NumpyState
    """The generator between the last step and the first minibatch."""


class _Step(NamedTuple):
    """What the rollout buffer will not remember of a step, one entry per lane."""

    rewards: NDArray[np.float32]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    bootstrap_values: NDArray[np.float32]


class RolloutTap(BaseCallback):
    """Hands every live rollout of an on-policy model to ``sink``, before the update uses it.

    Rewards are raw (the buffer's own have the time-limit bootstrap added to them), terminations
    and truncations are told apart, values and log-probs are the stored ones.

    Args:
        sink: called once per update, e.g. ``updates.append``.

    Raises:
        TrainingError: during training, if the environment reports ``TimeLimit.truncated`` without
            the ``terminal_observation`` that its bootstrap value needs.
    """

    def __init__(self, sink: Callable[[LiveUpdate], object]) -> None:
        super().__init__()
        self._sink = sink
        self._steps: list[_Step] = []

    def _algorithm(self) -> OnPolicyAlgorithm:
        if not isinstance(self.model, OnPolicyAlgorithm):
            raise TrainingError(
                f"RolloutTap records on-policy models such as PPO; {type(self.model).__name__} "
                "keeps no rollouts."
            )
        return self.model

    def _on_rollout_start(self) -> None:
        self._steps = []

    def _on_step(self) -> bool:
        dones = np.array(self.locals["dones"], dtype=np.bool_)
        truncations = np.zeros_like(dones)
        bootstrap_values = np.zeros(dones.shape, np.float32)
        for lane in np.flatnonzero(dones).tolist():
            info = self.locals["infos"][lane]
            if info.get("TimeLimit.truncated", False):
                truncations[lane] = True
                bootstrap_values[lane] = self._value_after(info, lane)
        # The reward array is copied: SB3 adds the bootstrap to it in place after this call.
        rewards = np.array(self.locals["rewards"], dtype=np.float32)
        self._steps.append(_Step(rewards, dones & ~truncations, truncations, bootstrap_values))
        return True

    def _value_after(self, info: dict[str, Any], lane: int) -> float:
        """V(final observation), asked for alone as SB3 does: other batch sizes change bits."""
        observation = info.get("terminal_observation")
        if observation is None:
            raise TrainingError(
                f"Environment {lane} reports TimeLimit.truncated without terminal_observation, so "
                "the value after the cut is unknown; let the VecEnv put it into the info."
            )
        policy = self._algorithm().policy
        with torch.no_grad():
            return float(policy.predict_values(policy.obs_to_tensor(observation)[0])[0])

    def _on_rollout_end(self) -> None:
        model = self._algorithm()
        last_observation: Any = model._last_obs
        with torch.no_grad():
            last_values = model.policy.predict_values(obs_as_tensor(last_observation, model.device))
        rollout = _packed(model, _stacked(self._steps, last_values.cpu().numpy().flatten()))
        self._sink(LiveUpdate(rollout, NumpyState.now()))


def _stacked(steps: list[_Step], last_values: NDArray[np.float32]) -> _Step:
    """Join the steps to (T, lanes) arrays and close the lanes that go on after the rollout."""
    rewards, terminations, truncations, bootstrap = (
        np.stack(column) for column in zip(*steps, strict=True)
    )
    open_lanes = ~(terminations[-1] | truncations[-1])
    truncations[-1] |= open_lanes
    bootstrap[-1] = np.where(open_lanes, last_values, bootstrap[-1])
    return _Step(rewards, terminations, truncations, bootstrap)


def _packed(model: OnPolicyAlgorithm, steps: _Step) -> Rollout:
    """Lay the filled rollout buffer and what it forgot out lane by lane."""
    buffer: Any = model.rollout_buffer
    stored = buffer.observations
    observations = stored if isinstance(stored, dict) else {"observation": stored}
    masks = None
    if isinstance(buffer, MaskableRolloutBuffer | MaskableDictRolloutBuffer):
        masks = _lanes(buffer.action_masks).astype(np.int8)
    actions = _lanes(buffer.actions)
    closed = _lanes(steps.terminations | steps.truncations)
    return Rollout(
        observations={key: _lanes(array) for key, array in observations.items()},
        action_mask=masks,
        actions=actions[:, 0] if isinstance(model.action_space, spaces.Discrete) else actions,
        rewards=_lanes(steps.rewards),
        terminations=_lanes(steps.terminations),
        truncations=_lanes(steps.truncations),
        old_log_probs=_lanes(buffer.log_probs),
        values=_lanes(buffer.values),
        bootstrap_values=_lanes(steps.bootstrap_values),
        segment_starts=np.append(0, np.flatnonzero(closed)[:-1] + 1).astype(np.int64),
    )


def _lanes(array: NDArray[Any]) -> NDArray[Any]:
    """(T, lanes, ...) -> (lanes * T, ...), lane by lane, in memory of its own."""
    return np.array(array.swapaxes(0, 1)).reshape(-1, *array.shape[2:])


def save_update(path: str | Path, update: LiveUpdate) -> None:
    """Write an update as one NPZ file, whole or not at all.

    Raises:
        CaptureError: the file cannot be written, or an observation key is no plain name.
    """
    fields = update.rollout._asdict()
    observations, _ = fields.pop("observations"), fields.pop("segment_agents")
    arrays = {_OBSERVATION + key: array for key, array in observations.items()}
    arrays |= {name: array for name, array in fields.items() if array is not None}
    state = update.numpy_state._asdict()
    arrays |= {_STATE + name: np.asarray(value) for name, value in state.items()}
    target = Path(path)
    write_files(target.parent, {target.name: encode_npz(arrays, compress=False)})


def load_update(path: str | Path) -> LiveUpdate:
    """Read what :func:`save_update` wrote, bit for bit.

    Raises:
        CaptureError: the file is missing, damaged or something else.
    """
    arrays = decode_npz(read_bytes(Path(path)), str(path))
    try:
        observations = {
            key.removeprefix(_OBSERVATION): arrays.pop(key)
            for key in list(arrays)
            if key.startswith(_OBSERVATION)
        }
        keys, *scalars = (arrays.pop(_STATE + name) for name in NumpyState._fields)
        mask = arrays.pop("action_mask", None)
        rollout = Rollout(observations=observations, action_mask=mask, **arrays)  # type: ignore[arg-type]
        return LiveUpdate(rollout, NumpyState(keys, *(scalar.item() for scalar in scalars)))
    except (KeyError, ValueError, TypeError) as error:
        raise CaptureError(
            f"{path}: not an update written by save_update ({error}); record it again with "
            "RolloutTap"
        ) from error
