"""The Gymnasium face for many towns: worlds x learners as one batch of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ConfigError, ResetNeeded, nearest
from townlet_env.render.renderer import RENDER_FPS, RENDER_MODES, Frame, Renderer
from townlet_env.sim.ids import REWARD_COMPONENTS
from townlet_env.sim.plan import resident_name
from townlet_env.views.lanes import Arrays, Lanes, LaneStep
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

Bools = npt.NDArray[np.bool_]
Infos = dict[str, Any]

# Settings of the view; what else is given are settings of the scenario.
_VIEW_OPTIONS = (
    "observation",
    "mask",
    "autoreset_mode",
    "copy",
    "render_mode",
    "render_size",
    "details",
)


def make_batch(
    num_envs: int = 1,
    scenario: str | Path | TownConfig = "queue_conflict",
    resident: str | None = None,
    *,
    learners: Sequence[str] | None = None,
    max_episode_steps: int | None = None,
    **settings: Any,
) -> TownletVectorEnv:
    """Return ``num_envs`` slots: what ``gymnasium.make_vec("Townlet-v0", ...)`` calls.

    Args:
        num_envs: Slots, the length of every array. With one learner there are as many worlds,
            as if ``num_envs`` single environments stood side by side.
        scenario: As in ``TownletVectorEnv``.
        resident: The one who learns in every world; chosen as by ``TownletEnv`` by default.
        learners: Several who learn in every world; ``num_envs`` is a multiple of their number.
        max_episode_steps: Gymnasium's word for ``max_ticks``.
        **settings: As in ``TownletVectorEnv``.

    Raises:
        ConfigError: A setting is unknown or wrong, or the slots do not fill the worlds.
    """
    options = {key: settings.pop(key) for key in _VIEW_OPTIONS if key in settings}
    max_ticks = settings.pop("max_ticks", max_episode_steps)
    config = town_config(scenario, settings, max_ticks)
    if learners is None:
        learners = [default_learner(config) if resident is None else resident]
    elif resident is not None:
        raise ConfigError("expected either resident or learners, found both")
    if not learners or num_envs % len(learners):
        raise ConfigError(
            f"num_envs: expected a multiple of the {len(learners)} learners of a world, "
            f"found {num_envs}"
        )
    return TownletVectorEnv(config, num_envs // len(learners), learners=learners, **options)


class TownletVectorEnv(VectorEnv[Arrays, npt.NDArray[Any], npt.NDArray[Any]]):
    """Towns as a Gymnasium ``VectorEnv``; slot ``w * L + k`` is learner ``k`` of world ``w``.

    The slots of a world share its episode: they begin together, and end together when its time is
    over or when the last of its learners has left town. A slot whose resident left earlier is
    ``terminated`` in that step and idle from then on: zeros, no reward, only ``wait`` is legal,
    ``infos["active"]`` is False. The idle stretch ends ``terminated`` as well, with its world or
    when a newcomer takes the slot. docs/VIEWS.md tells what the three autoreset modes make of it.

    Attributes:
        num_envs: S, the number of slots.
        num_worlds: W.
        details: Whether the infos hold reward components, events and ticks.
        learners: Residents of a world that learn, in slot order.
        config: The checked scenario.
        plan: The compiled scenario.
        action_lookup: Action id to name.
        feature_names: Names of the columns of ``features``.
        map_channels: Names of the channels of ``map``.
        reward_components: Names of the columns of ``infos["reward_components"]``.

    Example:
        >>> from townlet_env.views.vector import TownletVectorEnv
        >>> towns = TownletVectorEnv("queue_conflict", num_worlds=4)
        >>> observations, infos = towns.reset(seed=7)
        >>> observations["map"].shape, infos["action_mask"].shape
        ((12, 4, 11, 11), (12, 31))
    """

    def __init__(
        self,
        scenario: str | Path | TownConfig = "queue_conflict",
        num_worlds: int = 1,
        *,
        learners: Sequence[str] | None = None,
        observation: ObservationVariant = "hybrid",
        mask: MaskMode = "info",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        max_ticks: int | None = None,
        render_mode: str | None = None,
        render_size: int | None = None,
        details: bool = False,
        threads: int = 1,
        **overrides: Any,
    ) -> None:
        """Build the towns.

        Args:
            scenario: A shipped name, the path of a scenario file, or a checked configuration.
            num_worlds: W, towns stepped together.
            learners: Residents to learn; all by default. The others follow their scripts.
            observation: ``hybrid`` (map and features), ``full`` (a map of more channels) or
                ``compact`` (features only).
            mask: Where the action masks are: in the observations, in the infos, or only in
                ``action_masks()``.
            autoreset_mode: When a world whose episode is over is opened again: in the next step,
                in the same step, or by ``reset`` alone; a member or its name.
            copy: Hand out fresh arrays; without it observations may be overwritten by later steps.
            max_ticks: Length of an episode; that of the scenario by default.
            render_mode: ``ansi``, ``rgb_array``, or None to draw nothing.
            render_size: Longer side of a picture in pixels; by the size of the town by default.
            details: Also put ``reward_components``, ``events`` and ``tick`` into the infos.
            threads: That step worlds side by side; results do not depend on it.
            **overrides: Settings of the scenario to replace.

        Raises:
            ConfigError: The scenario, a setting or an option is unknown or wrong.
        """
        check_choice("observation", observation, OBSERVATION_VARIANTS)
        check_choice("mask", mask, MASK_MODES)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.config = town_config(scenario, overrides, max_ticks)
        self.plan = compile_plan(self.config)
        self.map_channels = map_channels(observation)
        channels = len(self.map_channels)
        self.lanes = Lanes(self.config, self.plan, num_worlds, learners, channels, threads)
        self.num_worlds = num_worlds
        self.num_envs = self.lanes.num_lanes
        self.learners = self.lanes.learners
        self.metadata = {
            "autoreset_mode": self.autoreset_mode,
            "render_modes": [mode for mode in RENDER_MODES if mode != "human"],
            "render_fps": RENDER_FPS,
        }
        self.render_mode = render_mode
        self._renderers = self._make_renderers(render_mode, render_size)
        names = self.plan.names
        self.action_lookup = dict(enumerate(names.actions))
        self.feature_names = names.features
        self.reward_components = REWARD_COMPONENTS
        single = observation_space(self.plan, observation, with_mask=mask == "obs")
        self._keys = tuple(single.spaces)
        self.single_observation_space = single
        self.single_action_space = action_space(self.plan)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._mask_mode = mask
        self.details = details
        self._copy = copy
        self._live = False

    def _make_renderers(self, mode: str | None, size: int | None) -> list[Renderer]:
        if mode is None:
            return []
        modes = tuple(self.metadata["render_modes"])
        check_choice("render_mode", mode, modes)
        return [Renderer(mode, self.config, size) for _ in range(self.num_worlds)]

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Arrays, Infos]:
        """Open new episodes.

        Args:
            seed: World ``w`` plays ``seed + w``, or the ``w``-th of a list of W. Without one the
                episodes that follow the last given seed are played in turn.
            options: ``reset_mask``, bool (S,), opens only the worlds whose slots are all marked.
                Slots of other worlds may be marked if nobody is there: nothing happens to them.

        Raises:
            ConfigError: The seeds are not one per world, or the mask would end somebody's episode.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        marked, worlds = self._chosen(options)
        seeds = self._seeds(seed)
        self._live = True
        self.lanes.open(worlds, [seeds[w] for w in worlds])
        self._begin_drawing(worlds)
        nobody = np.zeros(self.num_envs, np.bool_)
        return self._observe(), self._facts(nobody, self.lanes.in_town, of=marked)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_worlds
        if isinstance(seed, int | np.integer):
            return [int(seed) + w for w in range(self.num_worlds)]
        if len(seed) != self.num_worlds:
            raise ConfigError(f"seed: expected {self.num_worlds}, one per world, found {len(seed)}")
        return list(seed)

    def _chosen(self, options: dict[str, Any] | None) -> tuple[Bools, list[int]]:
        """Return the slots (S,) and worlds that a reset is about."""
        marked = (options or {}).get("reset_mask")
        if marked is None:
            return np.ones(self.num_envs, np.bool_), list(range(self.num_worlds))
        if not isinstance(marked, np.ndarray) or marked.dtype != np.bool_:
            raise ConfigError(f"reset_mask: expected a NumPy array of bool, found {marked!r}")
        if marked.shape != (self.num_envs,) or not marked.any():
            raise ConfigError(
                f"reset_mask: expected shape ({self.num_envs},) with a slot marked, found "
                f"{marked.shape} with {int(marked.sum())} marked"
            )
        whole = marked.reshape(self.num_worlds, -1).all(axis=1)
        cut_short = marked & self.lanes.in_town & ~np.repeat(whole, len(self.learners))
        if cut_short.any():
            slot = int(np.flatnonzero(cut_short)[0])
            raise ConfigError(
                f"reset_mask: slot {slot} is marked, but not all of its world; slots of a world "
                "share an episode, so mark all of them"
            )
        return marked.copy(), np.flatnonzero(whole).tolist()

    def step(
        self, actions: npt.NDArray[Any]
    ) -> tuple[Arrays, npt.NDArray[np.float64], Bools, Bools, Infos]:
        """Live one tick of every world.

        Args:
            actions: (S,) action ids. What is masked or out of range acts as ``wait``.

        Returns:
            Observations, rewards float64 (S,), terminated and truncated bool (S,), infos.

        Raises:
            ResetNeeded: There was no reset yet, or an episode is over and autoreset is disabled.
            ActionError: The actions are no whole numbers, or not one per slot.
        """
        opened = self.worlds_over
        if not self._live or (opened.any() and self.autoreset_mode is AutoresetMode.DISABLED):
            over = f" in worlds {np.flatnonzero(opened).tolist()}" if self._live else ""
            raise ResetNeeded(f"expected live episodes, found none{over}; call reset() first")
        step = self.lanes.advance(actions)
        for w, renderer in enumerate(self._renderers):
            if not opened[w]:
                renderer.watch(self.lanes.batch, w)
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP and bool(step.done.any())
        infos = self._facts(step.illegal, step.active)
        if same_step:
            final = self._final(step, infos)
            opened = self.worlds_over
            self.lanes.open(np.flatnonzero(opened).tolist())
            # What the step did is in final_info; here stands what the next life begins with.
            infos = self._facts(step.illegal & ~step.done, step.active) | final
        self._begin_drawing(np.flatnonzero(opened).tolist())
        rewards = step.rewards.astype(np.float64)
        return self._observe(), rewards, step.terminated, step.truncated, infos

    def _final(self, step: LaneStep, infos: Infos) -> Infos:
        """Return ``final_obs`` and ``final_info`` as Gymnasium names them."""
        seen = np.full(self.num_envs, None, dtype=object)
        for slot in np.flatnonzero(step.done):
            seen[slot] = {key: step.final[key][slot].copy() for key in self._keys}
        facts = {key: part for key, part in infos.items() if not key.startswith("_")}
        if self._mask_mode == "info":
            facts["action_mask"] = step.final["action_mask"]
        info: Infos = {}
        for key, part in facts.items():
            info[key] = _where(step.done, part)
            info[f"_{key}"] = step.done.copy()
        return {
            "final_obs": seen,
            "_final_obs": step.done.copy(),
            "final_info": info,
            "_final_info": step.done.copy(),
        }

    def _facts(self, illegal: Bools, active: Bools, of: Bools | None = None) -> Infos:
        """Return the infos of the slots ``of`` (all by default), each with its ``_`` mask."""
        facts: Infos = {"illegal_action": illegal.astype(np.int64), "active": active.copy()}
        if self._mask_mode == "info":
            facts["action_mask"] = self.action_masks()
        if self.details:
            batch = self.lanes.batch
            facts["tick"] = np.repeat(batch.worlds["tick"].astype(np.int64), len(self.learners))
            facts["reward_components"] = self.lanes.by_lane(batch.components)
            facts["events"] = self._events()
        known = np.ones(self.num_envs, np.bool_) if of is None else of
        infos: Infos = {}
        for key, part in facts.items():
            infos[key] = _where(known, part)
            infos[f"_{key}"] = known.copy()
        return infos

    def _events(self) -> npt.NDArray[np.object_]:
        """Return what each slot's resident did in the last tick: (S,) of tuples."""
        batch, names = self.lanes.batch, self.plan.names
        slots = [names.residents.index(learner) for learner in self.learners]
        found = np.full(self.num_envs, None, dtype=object)
        for w in range(self.num_worlds):
            events = batch.events(w)
            for k, slot in enumerate(slots):
                who = resident_name(names, batch.worlds[w], slot)
                found[w * len(slots) + k] = tuple(e._asdict() for e in events if e.by == who)
        return found

    def _observe(self) -> Arrays:
        seen = self.lanes.observations(copy=self._copy)
        return {key: seen[key] for key in self._keys}

    @property
    def worlds_over(self) -> Bools:
        """(W,) bool: the worlds whose episode is over and not opened again; a fresh array."""
        return self.lanes.over.copy()

    def action_masks(self) -> npt.NDArray[np.int8]:
        """Return the legal actions of every slot now: int8 (S, A) of 0/1, a fresh array."""
        return self.lanes.by_lane(self.lanes.batch.views.action_mask)

    def _begin_drawing(self, worlds: Sequence[int]) -> None:
        for w in worlds if self._renderers else ():
            self._renderers[w].open(self.lanes.batch, w)

    def render(self) -> tuple[str | Frame | None, ...] | None:  # type: ignore[override]
        """Draw every world as it is now, one frame each; None without a mode."""
        frames = tuple(r.draw(self.lanes.batch, w) for w, r in enumerate(self._renderers))
        return frames or None

    def close_extras(self, **kwargs: Any) -> None:
        """Close what drawing holds open; arrays are freed with the object."""
        for renderer in self._renderers:
            renderer.close()


def _where(marked: Bools, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values of marked slots, zeros (or None) elsewhere."""
    if marked.all():
        return values
    kept = np.full_like(values, None if values.dtype == object else 0)
    kept[marked] = values[marked]
    return kept


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    if isinstance(mode, AutoresetMode):
        return mode
    known = {text: member for member in AutoresetMode for text in (member.name, member.value)}
    if mode not in known:
        raise ConfigError(f"autoreset_mode: unknown value {mode!r}{nearest(str(mode), known)}")
    return known[mode]
