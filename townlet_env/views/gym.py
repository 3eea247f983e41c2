"""The Gymnasium face: one learner, everybody else follows a script."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ActionError, ResetNeeded
from townlet_env.render.renderer import RENDER_FPS, RENDER_MODES, Frame, Renderer
from townlet_env.sim.events import Event
from townlet_env.sim.ids import NONE, REWARD_COMPONENTS
from townlet_env.sim.rules import MAX_ACTIONS
from townlet_env.views.lanes import Arrays, Lanes
from townlet_env.views.options import check_choice, default_learner, town_config
from townlet_env.views.spaces import (
    MASK_MODES,
    OBSERVATION_VARIANTS,
    MaskMode,
    ObservationVariant,
    action_space,
    map_channels,
    observation_space,
)


class TownletEnv(gymnasium.Env[dict[str, Any], np.int64]):
    """A town as a ``gymnasium.Env`` for one resident; ``gymnasium.make("Townlet-v0", ...)``.

    An episode is terminated when the resident leaves town, and truncated when its time is over.
    Observations are as in the PettingZoo view. An action that is masked or out of range acts as
    ``wait`` and is counted in ``info["illegal_action"]``.

    Attributes:
        resident: Who learns.
        config: The checked scenario.
        plan: The compiled scenario.
        action_lookup: Action id to name.
        feature_names: Names of the columns of ``features``.
        map_channels: Names of the channels of ``map``.
        reward_components: Names of the columns of ``info["reward_components"]``.

    Example:
        >>> import gymnasium, townlet_env
        >>> env = gymnasium.make("Townlet-v0", scenario="queue_conflict", resident="ben")
        >>> observation, info = env.reset(seed=7)
        >>> sorted(observation), int(info["action_mask"][0])
        (['features', 'map'], 1)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": list(RENDER_MODES),
        "render_fps": RENDER_FPS,
    }

    def __init__(
        self,
        scenario: str | Path | TownConfig = "queue_conflict",
        resident: str | None = None,
        *,
        observation: ObservationVariant = "hybrid",
        mask: MaskMode = "info",
        max_ticks: int | None = None,
        render_mode: str | None = None,
        render_size: int | None = None,
        details: bool = False,
        **overrides: Any,
    ) -> None:
        """Build the environment.

        Args:
            scenario: A shipped name, the path of a scenario file, or a checked configuration.
            resident: Who learns; by default the first resident that the scenario leaves to a
                learner, else the first of all.
            observation: ``hybrid`` (map and features), ``full`` (a map of more channels) or
                ``compact`` (features only).
            mask: Where the action mask is: in the observation, in ``info``, or only in
                ``action_masks()``.
            max_ticks: Length of an episode; that of the scenario by default.
            render_mode: ``ansi``, ``rgb_array``, ``human``, or None to draw nothing.
            render_size: Longer side of the picture in pixels; by the size of the town by default.
            details: Also put ``reward_components``, ``events`` and ``tick`` into every info.
            **overrides: Settings of the scenario to replace.

        Raises:
            ConfigError: The scenario, a setting or an option is unknown or wrong.
        """
        check_choice("observation", observation, OBSERVATION_VARIANTS)
        check_choice("mask", mask, MASK_MODES)
        self.config = town_config(scenario, overrides, max_ticks)
        self.plan = compile_plan(self.config)
        self.resident = default_learner(self.config) if resident is None else resident
        self.render_mode = render_mode
        self._renderer = (
            None if render_mode is None else Renderer(render_mode, self.config, render_size)
        )
        self.map_channels = map_channels(observation)
        self.lanes = Lanes(self.config, self.plan, 1, [self.resident], len(self.map_channels))
        names = self.plan.names
        self.action_lookup = dict(enumerate(names.actions))
        self.feature_names = names.features
        self.reward_components = REWARD_COMPONENTS
        seen = observation_space(self.plan, observation, with_mask=mask == "obs")
        self._keys = tuple(seen.spaces)
        self.observation_space = seen
        self.action_space = action_space(self.plan)
        self._mask_mode = mask
        self._details = details
        self._live = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Open an episode.

        Args:
            seed: Plays the same episode every time. Without one the episodes that follow the last
                given seed (or the scenario's own) are played in turn, the same in every process.
            options: Accepted and not used.
        """
        super().reset(seed=seed)
        self.lanes.open([0], [seed])
        self._live = True
        if self._renderer is not None:
            self._renderer.open(self.lanes.batch)
        return self._observe(), self._inform(illegal=False)

    def step(self, action: int | np.int64) -> tuple[Arrays, float, bool, bool, dict[str, Any]]:
        """Live one tick.

        Args:
            action: Action id.

        Raises:
            ResetNeeded: There is no live episode.
            ActionError: The action is no whole number.
        """
        if not self._live:
            raise ResetNeeded("expected a live episode, found none; call reset() first")
        step = self.lanes.advance(np.array([self._checked(action)]))
        self._live = not step.done[0]
        if self._renderer is not None:
            self._renderer.watch(self.lanes.batch, fps=self.metadata["render_fps"])
        info = self._inform(illegal=bool(step.illegal[0]))
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        return self._observe(), float(step.rewards[0]), terminated, truncated, info

    def _checked(self, action: int | np.int64) -> int:
        try:
            # Python integers have no end; what is beyond any action is out of range anyway.
            return min(max(operator.index(action), NONE), MAX_ACTIONS)
        except TypeError as error:
            raise ActionError(
                f"{self.resident}: expected an action id from 0 to {len(self.action_lookup) - 1}, "
                f"found {action!r}"
            ) from error

    def _observe(self) -> Arrays:
        seen = self.lanes.observations()
        return {key: seen[key][0] for key in self._keys}

    def _inform(self, *, illegal: bool) -> dict[str, Any]:
        info: dict[str, Any] = {"illegal_action": int(illegal)}
        if self._mask_mode == "info":
            info["action_mask"] = self.action_masks()
        if self._details:
            batch = self.lanes.batch
            info["tick"] = int(batch.worlds[0].tick)
            info["reward_components"] = self.lanes.by_lane(batch.components)[0]
            info["events"] = tuple(
                event._asdict() for event in self.events() if event.by == self.resident
            )
        return info

    def action_masks(self) -> npt.NDArray[np.int8]:
        """Return the legal actions now, int8 (A,) of 0/1: a fresh array, as sb3-contrib asks."""
        masks: npt.NDArray[np.int8] = self.lanes.by_lane(self.lanes.batch.views.action_mask)[0]
        return masks

    def state_digest(self) -> str:
        """Return a hash of the whole state of the town."""
        return self.lanes.batch.digest()

    def events(self) -> list[Event]:
        """Return what happened in the last tick, in order."""
        return self.lanes.batch.events()

    def render(self) -> str | Frame | None:
        """Draw the town as it is now.

        Returns:
            Text in mode ``ansi``, uint8 (H, W, 3) in mode ``rgb_array``; None in mode ``human``,
            whose window also follows every step by itself, and without a mode.

        Raises:
            ResetNeeded: There was no episode yet.
            ConfigError: The town does not fit into a picture of ``render_size``.
        """
        return None if self._renderer is None else self._renderer.draw(self.lanes.batch)

    def close(self) -> None:
        """Close the window, if one is open; arrays are freed with the object."""
        if self._renderer is not None:
            self._renderer.close()
