"""Captured rows as Stable-Baselines3 wants them: spaces, and a filled rollout buffer."""

from __future__ import annotations

from typing import Any, NoReturn, TypeGuard

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer, MaskableRolloutBuffer
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from townlet_replay.errors import TrainingError
from townlet_replay.rollout import Rollout
from townlet_replay.training.gae import close_truncations, gae

MaskableBuffer = MaskableRolloutBuffer | MaskableDictRolloutBuffer


def observation_space_of(rollout: Rollout) -> spaces.Space[Any]:
    """Work out the observation space a live environment would have declared for these rows.

    ``map`` is a box of 0..1, so that nobody takes it for an image; ``features`` a box of -1..1;
    any other key an unbounded box of its own type. A lone ``observation`` is a plain box. The mask
    is not part of the observation.
    """
    boxes: dict[str, spaces.Space[Any]] = {
        key: _box(key, rows) for key, rows in rollout.observations.items()
    }
    return boxes["observation"] if set(boxes) == {"observation"} else spaces.Dict(boxes)


def action_space_of(rollout: Rollout) -> spaces.Discrete:
    """Read the number of actions off the masks.

    Raises:
        TrainingError: there are no masks.
    """
    if rollout.action_mask is None:
        raise TrainingError(
            "The capture has no action masks, so the number of actions is unknown; pass "
            "action_space= of the environment it comes from."
        )
    return spaces.Discrete(rollout.action_mask.shape[1])


def _box(key: str, rows: NDArray[Any]) -> spaces.Box:
    low, high = {"map": (0, 1), "features": (-1, 1)}.get(key, (-np.inf, np.inf))
    if rows.dtype.kind in "iu" and key != "map":
        low, high = np.iinfo(rows.dtype).min, np.iinfo(rows.dtype).max
    return spaces.Box(low, high, rows.shape[1:], rows.dtype.type)


def fill_rollout_buffer(
    buffer: RolloutBuffer, rollout: Rollout, *, gamma: float, ignore_masks: bool = False
) -> None:
    """Fill a one-lane rollout buffer of Stable-Baselines3 with packed rows, ready for ``train()``.

    Segments lie one after the other in a single lane, without padding. A segment that was cut is
    closed by ``r + gamma V(final observation)``, computed in float32 as the live learner does
    (Pardo et al. 2018, section 3), hence advantages and returns equal those of the live lanes to
    the last bit. The buffer takes the size of the rollout.

    Args:
        buffer: ``RolloutBuffer``, ``DictRolloutBuffer`` or one of the maskable ones, ``n_envs=1``.
        rollout: packed rows with the behaviour's log-probs and values.
        gamma: discount of the learner.
        ignore_masks: allow a buffer without masks for rows with masks. The learner then spreads
            probability over actions that were illegal, and its ratios are off.

    Raises:
        TrainingError: the rows do not fit the buffer, lack log-probs or values, or their masks
            would be lost.
    """
    _check_fit(buffer, rollout)
    _check_masks(buffer, rollout, ignore_masks)
    _check_numbers(rollout)
    rows = len(rollout.rewards)
    buffer.buffer_size = rows
    buffer.reset()
    stored: Any = buffer.observations
    if isinstance(stored, dict):
        for key, target in stored.items():
            target[:, 0] = rollout.observations[key]
    else:
        stored[:, 0] = rollout.observations["observation"]
    buffer.actions[:, 0] = rollout.actions.reshape(rows, -1)
    if _keeps_masks(buffer) and rollout.action_mask is not None and not ignore_masks:
        buffer.action_masks[:, 0] = rollout.action_mask
    ends = (rollout.terminations, rollout.truncations, rollout.bootstrap_values)
    estimate = gae(rollout.rewards, rollout.values, *ends, gamma, buffer.gae_lambda)
    buffer.rewards[:, 0] = close_truncations(rollout.rewards, *ends, gamma)
    buffer.values[:, 0] = rollout.values
    buffer.log_probs[:, 0] = rollout.old_log_probs
    buffer.advantages[:, 0] = estimate.advantages
    buffer.returns[:, 0] = estimate.returns
    buffer.episode_starts[rollout.segment_starts, 0] = True
    buffer.pos, buffer.full = rows, True


def _keeps_masks(buffer: RolloutBuffer) -> TypeGuard[MaskableBuffer]:
    return isinstance(buffer, MaskableBuffer)


def _check_fit(buffer: RolloutBuffer, rollout: Rollout) -> None:
    """Refuse rows whose columns are not those of the learner's observation space."""
    if buffer.n_envs != 1:
        raise TrainingError(
            f"The rollout buffer has {buffer.n_envs} lanes; packed rows need one (n_envs=1)."
        )
    space: Any = buffer.observation_space
    boxes = space.spaces if isinstance(space, spaces.Dict) else {"observation": space}
    if set(boxes) != set(rollout.observations):
        raise TrainingError(
            f"The learner observes {sorted(boxes)} but the capture holds "
            f"{sorted(rollout.observations)}; build the learner with from_dataset of this capture."
        )
    for key, box in boxes.items():
        rows = rollout.observations[key]
        if rows.shape[1:] != box.shape or rows.dtype != box.dtype:
            raise TrainingError(
                f"Observation {key!r}: the learner expects {box.dtype} {box.shape}, the capture "
                f"holds {rows.dtype} {rows.shape[1:]}; it was recorded with another observation "
                "variant or feature list."
            )


def _check_masks(buffer: RolloutBuffer, rollout: Rollout, ignore_masks: bool) -> None:
    if rollout.action_mask is None or ignore_masks:
        return
    if not _keeps_masks(buffer):
        raise TrainingError(
            "The capture has action masks but the learner has none, so its log-probs are not those "
            "of the behaviour; use CaptureMaskablePPO (--learner sb3-maskable), or "
            "ignore_masks=True if you mean it."
        )
    space = buffer.action_space
    width = rollout.action_mask.shape[1]
    if not isinstance(space, spaces.Discrete) or space.n != width:
        raise TrainingError(
            f"The learner acts in {space}, the masks of the capture have {width} columns; it was "
            "recorded with another action vocabulary."
        )
    legal = np.take_along_axis(rollout.action_mask, rollout.actions[:, None], axis=1)[:, 0]
    if not legal.all():
        row = int(np.flatnonzero(legal == 0)[0])
        raise TrainingError(
            f"Row {row} took action {int(rollout.actions[row])}, which its mask forbids; no policy "
            "under this mask could have, so PPO has no ratio for it."
        )


def _check_numbers(rollout: Rollout) -> None:
    """Refuse rows that PPO cannot be computed from."""
    remedy = "annotate the capture with a policy that has a critic, or train on it with bc."
    for name, column in (
        ("behaviour log-prob", rollout.old_log_probs),
        ("value", rollout.values),
        ("bootstrap value", rollout.bootstrap_values[rollout.truncations]),
    ):
        missing = int(np.count_nonzero(~np.isfinite(column)))
        if missing:
            raise TrainingError(
                f"{missing} of {len(column)} rows have no {name} (NaN or infinite), which PPO "
                f"needs: {remedy}"
            )
    closed = np.flatnonzero(rollout.terminations | rollout.truncations) + 1
    ends = np.append(rollout.segment_starts[1:], len(rollout.rewards))
    if not np.array_equal(closed, ends):
        raise TrainingError(
            "Every segment must end in a termination or a truncation, and only there; build the "
            "rows with townlet_replay.rollout.pack."
        )


class CaptureSpaces(VecEnv):
    """The environment of a learner that reads captures: spaces, and nothing to step.

    Args:
        observation_space: of the capture, see :func:`observation_space_of`.
        action_space: likewise.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        super().__init__(1, observation_space, action_space)

    def reset(self) -> VecEnvObs:
        """Return one observation of zeros; Stable-Baselines3 wants one before it starts."""
        space = self.observation_space
        boxes = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        zeros = {key: np.zeros(_shape(box), box.dtype) for key, box in boxes.items()}
        return zeros if isinstance(space, spaces.Dict) else zeros[""]

    def step_async(self, actions: NDArray[Any]) -> NoReturn:
        """Refuse: there is nothing behind a capture that could answer."""
        raise TrainingError(
            "A capture cannot be stepped; save the model and load the zip as PPO or MaskablePPO "
            "with a live environment."
        )

    def step_wait(self) -> NoReturn:
        """Refuse, see :meth:`step_async`."""
        self.step_async(np.empty(0))

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: object = None) -> list[Any]:
        """Only ``render_mode`` is known, and it is None."""
        if attr_name != "render_mode":
            raise AttributeError(f"A capture has no attribute {attr_name!r}.")
        return [None]

    def set_attr(self, attr_name: str, value: object, indices: object = None) -> None:
        """Refuse: there is no environment to set it on."""
        raise AttributeError(f"A capture has no attribute {attr_name!r}.")

    def env_method(
        self,
        method_name: str,
        *method_args: object,
        indices: object = None,
        **method_kwargs: object,
    ) -> list[Any]:
        """Refuse: there is no environment to call."""
        raise AttributeError(f"A capture has no method {method_name!r}.")

    def env_is_wrapped(self, wrapper_class: object, indices: object = None) -> list[bool]:
        """Never wrapped."""
        return [False]


def _shape(box: spaces.Space[Any]) -> tuple[int, ...]:
    """Shape of a batch of one."""
    return (1, *(box.shape or ()))
