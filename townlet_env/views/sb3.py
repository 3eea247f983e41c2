"""The Stable-Baselines3 face: one slot per world and learner, straight from the arrays.

This is the only view that merges ``terminated`` and ``truncated``: a ``VecEnv`` has one ``dones``
and tells the two apart by ``infos[slot]["TimeLimit.truncated"]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.views.lanes import Lanes
from townlet_env.views.options import check_choice, town_config
from townlet_env.views.spaces import (
    OBSERVATION_VARIANTS,
    ObservationVariant,
    action_space,
    map_channels,
    observation_space,
)

Arrays = dict[str, npt.NDArray[Any]]


def make_vec_env(
    scenario: str | Path | TownConfig,
    num_worlds: int = 1,
    *,
    seed: int | None = None,
    learners: Sequence[str] | None = None,
    observation: ObservationVariant = "hybrid",
    threads: int = 1,
    stagger: bool = False,
    **overrides: Any,
) -> TownletVecEnv:
    """Return a Stable-Baselines3 ``VecEnv`` of ``num_worlds`` towns.

    Args:
        scenario: A shipped name, the path of a scenario file, or a checked configuration.
        num_worlds: Towns stepped together.
        seed: World ``w`` plays ``seed + w`` first; the scenario's seed by default.
        learners: Residents to learn; all by default. The others follow their scripts.
        observation: ``hybrid`` (map and features), ``full`` (a map of more channels) or ``compact``
            (features only).
        threads: That step worlds side by side; results do not depend on it.
        stagger: After a reset world ``w`` of W is at ``w / W`` of its episode, so that episodes do
            not end together; later ones are whole.
        **overrides: Settings of the scenario to replace.

    Raises:
        ConfigError: The scenario, a setting or an option is unknown or wrong.

    Example:
        >>> from sb3_contrib import MaskablePPO
        >>> from townlet_env.views.sb3 import make_vec_env
        >>> model = MaskablePPO("MultiInputPolicy", make_vec_env("queue_conflict", 2), n_steps=8)
    """
    config = town_config(scenario, overrides)
    return TownletVecEnv(
        config,
        num_worlds,
        seed=seed,
        learners=learners,
        observation=observation,
        threads=threads,
        stagger=stagger,
    )


class TownletVecEnv(VecEnv):
    """Towns as a ``VecEnv``; slot ``w * L + k`` is learner ``k`` of world ``w``.

    Observations are ``map`` uint8 (S, C, 11, 11) of 0/1 and ``features`` float32 (S, F); masks come
    by ``env_method("action_masks")``. Every array that is handed out is fresh: Stable-Baselines3
    keeps references across steps. All slots of a world end together, in the step that ends its
    episode, and show the next episode's first observation then (same-step autoreset).

    A slot whose resident leaves town earlier is done in that step and idle afterwards: zeros, no
    reward, only ``wait`` is legal, ``info["active"]`` is False. It is done again, without a value
    to come, when a newcomer takes the slot or its world ends.
    """

    def __init__(
        self,
        config: TownConfig,
        num_worlds: int = 1,
        *,
        seed: int | None = None,
        learners: Sequence[str] | None = None,
        observation: ObservationVariant = "hybrid",
        threads: int = 1,
        stagger: bool = False,
    ) -> None:
        """Build the towns; arguments as ``make_vec_env``."""
        self._stagger = stagger
        check_choice("observation", observation, OBSERVATION_VARIANTS)
        self.config = config
        self.plan = compile_plan(config)
        self.map_channels = map_channels(observation)
        channels = len(self.map_channels)
        self.lanes = Lanes(config, self.plan, num_worlds, learners, channels, threads)
        self._seed = config.seed if seed is None else seed
        self._actions: npt.NDArray[Any] = np.zeros(self.lanes.num_lanes, np.int64)
        self._masks: npt.NDArray[np.int8] = np.zeros((0, 0), np.int8)
        seen = observation_space(self.plan, observation, with_mask=False)
        self._keys = tuple(seen.spaces)
        super().__init__(self.lanes.num_lanes, seen, action_space(self.plan))

    def reset(self) -> Arrays:
        """Open new episodes; ``seed(s)`` before it sets where they begin."""
        given = self._seeds[0]
        if given is not None:
            self._seed = int(given)
        self.lanes.reset(self._seed)
        if self._stagger:
            self.lanes.stagger()
        # Without a new seed the next reset goes on to other episodes.
        self._seed += self.lanes.batch.num_worlds
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self._observe()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Keep the actions, (S,) ids, for ``step_wait``."""
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[Arrays, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Live one tick of every town."""
        step = self.lanes.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for slot in np.flatnonzero(step.done):
            infos[slot]["terminal_observation"] = {
                key: step.final[key][slot].copy() for key in self._keys
            }
            infos[slot]["TimeLimit.truncated"] = bool(
                step.truncated[slot] and not step.terminated[slot]
            )
        for slot in np.flatnonzero(~step.active):
            infos[slot]["active"] = False
        return self._observe(), step.rewards, step.done, infos

    def _observe(self) -> Arrays:
        seen = self.lanes.observations()
        self._masks = seen["action_mask"]
        return {key: seen[key] for key in self._keys}

    def action_masks(self) -> list[npt.NDArray[np.int8]]:
        """Return the legal actions of every slot: S rows of int8 (A,)."""
        return list(self._masks)

    def close(self) -> None:
        """Release nothing: arrays are freed with the object."""

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call ``action_masks`` for slots; slots are no environments of their own."""
        if method_name != "action_masks":
            raise AttributeError(f"slots of a town have only action_masks(), not {method_name}()")
        rows = self.action_masks()
        return [rows[slot] for slot in self._slots(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return ``render_mode`` or the ``action_masks`` callable of slots."""
        known: dict[str, Callable[[int], Any]] = {
            "render_mode": lambda slot: None,
            "action_masks": lambda slot: lambda: self._masks[slot],
        }
        if attr_name not in known:
            raise AttributeError(f"slots of a town have no attribute {attr_name!r}")
        return [known[attr_name](slot) for slot in self._slots(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: slots share their towns."""
        raise AttributeError(f"slots of a town take no attributes, not even {attr_name!r}")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Return False for every slot."""
        return [False for _ in self._slots(indices)]

    def _slots(self, indices: int | Iterable[int] | None) -> list[int]:
        if indices is None:
            return list(range(self.num_envs))
        return [indices] if isinstance(indices, int) else list(indices)
