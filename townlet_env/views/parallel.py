"""The PettingZoo face: one world, dicts by resident."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pettingzoo import ParallelEnv

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.errors import ActionError, ConfigError, ResetNeeded, nearest
from townlet_env.render.renderer import RENDER_FPS, RENDER_MODES, Frame, Renderer
from townlet_env.sim.batch import Step, WorldBatch
from townlet_env.sim.events import Event
from townlet_env.sim.features import MAP_CHANNELS
from townlet_env.sim.ids import NONE, REWARD_COMPONENTS
from townlet_env.sim.plan import Plan, newcomer_name, resident_name
from townlet_env.sim.random import episode_seed
from townlet_env.sim.rules import MAX_ACTIONS
from townlet_env.sim.snapshot import Snapshot
from townlet_env.views.spaces import (
    MASK_MODES,
    OBSERVATION_VARIANTS,
    MaskMode,
    ObservationVariant,
    action_space,
    map_channels,
    observation_space,
    state_space,
)

Observation = dict[str, npt.NDArray[Any]]
Infos = dict[str, dict[str, Any]]


class Details(NamedTuple):
    """What infos are made of besides."""

    tick: int
    components: npt.NDArray[np.float32]  # (N, K), by slot; infos hold rows of it
    events: list[Event]


class TownletParallelEnv(ParallelEnv):  # type: ignore[misc]
    """A town as a PettingZoo ``ParallelEnv``; every resident acts at every tick.

    Observations are dicts of fresh arrays: ``map`` uint8 (C, 11, 11), ``features`` float32 (F,) and
    ``action_mask`` int8 (A,). An order that is masked, missing or out of range acts as ``wait`` and
    is counted in ``infos[resident]["illegal_action"]``.

    Attributes:
        batch: The core, a batch of one world.
        plan: The compiled scenario.
        config: The checked scenario.
        action_lookup: Action id to name.
        feature_names: Names of the columns of ``features``.
        map_channels: Names of the channels of ``map``.
        reward_components: Names of the columns of ``info["reward_components"]``.
        last_step: What the core gave in the last step; ``None`` before it.
        last_details: With ``details``, what the last infos were made of; else ``None``.
    """

    metadata: dict[str, Any]

    def __init__(
        self,
        config: TownConfig,
        *,
        observation: ObservationVariant = "hybrid",
        mask: MaskMode = "obs",
        details: bool = False,
        render_mode: str | None = None,
        render_size: int | None = None,
    ) -> None:
        """Build the environment.

        Args:
            config: A checked scenario; see ``townlet_env.config.load.load_scenario``.
            observation: ``hybrid`` (map and features), ``full`` (a map of more channels) or
                ``compact`` (features only).
            mask: Where the action mask is: in the observation, in ``info``, or only in
                ``action_masks()``.
            details: Also put ``reward_components``, ``events`` and ``tick`` into every info.
            render_mode: ``ansi``, ``rgb_array``, ``human``, or None to draw nothing.
            render_size: Longer side of the picture in pixels; by the size of the town by default.

        Raises:
            ConfigError: An option is unknown, the scenario does not fit together, or the extra
                that draws pictures is not installed.
        """
        _check_option("observation", observation, OBSERVATION_VARIANTS)
        _check_option("mask", mask, MASK_MODES)
        self.metadata = {
            "name": "townlet_v0",
            "render_modes": list(RENDER_MODES),
            "render_fps": RENDER_FPS,
            "is_parallelizable": True,
        }
        self.render_mode = render_mode
        self._renderer = None if render_mode is None else Renderer(render_mode, config, render_size)
        self.config = config
        self.plan: Plan = compile_plan(config)
        self.map_channels = map_channels(observation)
        # Scripts that ScriptedScenario lets act may look at a map that learners do not see.
        self.batch = WorldBatch(self.plan, 1, max(len(self.map_channels), len(MAP_CHANNELS)))
        names = self.plan.names
        newcomers = (newcomer_name(k + 1) for k in range(self.plan.max_newcomers))
        self.possible_agents = [*names.residents, *newcomers]
        self.agents: list[str] = []
        self.action_lookup = dict(enumerate(names.actions))
        self.feature_names = names.features
        self.reward_components = REWARD_COMPONENTS
        self.observation_variant = observation
        self.mask_mode = mask
        self.details = details
        self.last_step: Step | None = None
        self.last_details: Details | None = None
        with_mask = mask == "obs"
        self._observation_spaces = {
            name: observation_space(self.plan, observation, with_mask=with_mask)
            for name in self.possible_agents
        }
        self._action_spaces = {name: action_space(self.plan) for name in self.possible_agents}
        self.state_space = state_space(self.plan)
        self._slots: dict[str, int] = {}  # of those in town, in slot order
        self._base_seed = config.seed
        self._episode = 0

    def observation_space(self, agent: str) -> spaces.Dict:
        """Return the observation space of a resident: the same object every time."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Return the action space of a resident: the same object every time."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], Infos]:
        """Open an episode.

        Args:
            seed: Plays the same episode every time. Without one the episodes that follow the last
                given seed (or the scenario's own) are played in turn, the same in every process.
            options: Accepted and not used.
        """
        if seed is not None:
            self._base_seed, self._episode = int(seed), 0
        self.batch.reset([episode_seed(self._base_seed, self._episode)])
        self._episode += 1
        self._meet_residents()
        if self._renderer is not None:
            self._renderer.open(self.batch)
        quiet = [False] * self.batch.num_residents
        return self._observe(self.agents), self._inform(self.agents, quiet)

    def step(
        self, actions: dict[str, int | None]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Live one tick.

        A newcomer is in what the step of the arrival returns, with a reward of 0, and acts from the
        next step on. The episode is over when nobody is in town.

        Args:
            actions: Action id by resident. Missing or None acts as ``wait`` and counts as illegal;
                what is given for somebody who is not in town is ignored.

        Raises:
            ResetNeeded: There is no live episode.
            ActionError: An unknown resident, or an action that is no whole number.
        """
        if not self.agents:
            raise ResetNeeded("expected a live episode, found none; call reset() first")
        taken = self.last_step = self.batch.step(self._orders(actions)[None])
        if self._renderer is not None:
            self._renderer.watch(self.batch, fps=self.metadata["render_fps"])
        # Lists of a few flags are looked through faster than arrays of them.
        rewards, terminated, truncated, illegal, arrived = (part[0].tolist() for part in taken)
        for slot in range(len(arrived)) if True in arrived else ():
            if arrived[slot]:
                name = resident_name(self.plan.names, self.batch.worlds[0], slot)
                self._slots[name] = slot
        slots = self._slots
        agents = list(slots)
        told = (
            self._observe(agents),
            {a: rewards[slot] for a, slot in slots.items()},
            {a: terminated[slot] for a, slot in slots.items()},
            {a: truncated[slot] for a, slot in slots.items()},
            self._inform(agents, illegal),
        )
        if True in arrived or True in terminated or True in truncated:
            self._meet_residents()
        return told

    def _orders(self, actions: dict[str, int | None]) -> npt.NDArray[np.int32]:
        orders, slots = [NONE] * self.batch.num_residents, self._slots
        for agent, action in actions.items():
            slot = slots.get(agent)
            if slot is None and agent not in self._action_spaces:
                raise ActionError(f"unknown resident {agent!r}{nearest(agent, slots)}")
            if slot is None or action is None:
                continue
            try:
                # Python integers have no end; what is beyond any action is out of range anyway.
                orders[slot] = min(max(operator.index(action), NONE), MAX_ACTIONS)
            except TypeError as error:
                raise ActionError(
                    f"{agent}: expected an action id from 0 to {len(self.action_lookup) - 1}, "
                    f"found {action!r}"
                ) from error
        return np.array(orders, np.int32)

    def _observe(self, agents: list[str]) -> dict[str, Observation]:
        parts = {key: part.copy() for key, part in self.shown().items()}
        slots = self._slots
        return {a: {key: part[slots[a]] for key, part in parts.items()} for a in agents}

    def shown(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that observations are copied from.

        Key to ``(N, ...)``, by slot. Every step overwrites them, always the same ones.
        """
        views = self.batch.views
        parts: dict[str, npt.NDArray[Any]] = {}
        if self.map_channels:
            parts["map"] = views.map[0]
        parts["features"] = views.features[0]
        if self.mask_mode == "obs":
            parts["action_mask"] = views.action_mask[0]
        return parts

    def _inform(self, agents: list[str], illegal: list[bool]) -> Infos:
        slots = self._slots
        infos: Infos = {a: {"illegal_action": int(illegal[slots[a]])} for a in agents}
        if self.mask_mode == "info":
            masks = self.batch.views.action_mask[0].copy()
            for a in agents:
                infos[a]["action_mask"] = masks[slots[a]]
        if self.details:
            self._add_details(infos)
        return infos

    def _add_details(self, infos: Infos) -> None:
        tick, components, happened = self.last_details = Details(
            int(self.batch.worlds[0].tick), self.batch.components[0], self.events()
        )
        events: dict[str, list[dict[str, Any]]] = {agent: [] for agent in infos}
        for event in happened:
            if event.by in events:
                events[event.by].append(event._asdict())
        for agent, info in infos.items():
            info["tick"] = tick
            info["reward_components"] = components[self._slots[agent]]
            info["events"] = tuple(events[agent])

    def _meet_residents(self) -> None:
        """Take note of who is in town and goes on; nobody does once time is up."""
        world, names = self.batch.worlds[0], self.plan.names
        goes_on = int(world.tick) < self.config.ticks
        self._slots = {
            resident_name(names, world, slot): slot
            for slot in range(self.batch.num_residents)
            if goes_on and world.alive[slot]
        }
        self.agents = list(self._slots)

    @property
    def slots(self) -> dict[str, int]:
        """The slot of everybody in town, in slot order; a fresh dict."""
        return dict(self._slots)

    def action_masks(self) -> dict[str, npt.NDArray[np.int8]]:
        """Return the legal actions of everybody in town: int8 (A,) of 0/1, fresh arrays."""
        masks = self.batch.views.action_mask[0].copy()
        return {agent: masks[self._slots[agent]] for agent in self.agents}

    def state(self) -> npt.NDArray[np.float32]:
        """Return the global state for central critics: float32 (N x (F + 2),) in [-1, 1].

        Every resident's features, column / width and row / height; zeros for those not in town.
        """
        features = self.batch.views.features[0]
        n = self.batch.num_residents
        world = self.batch.worlds[0]
        height, width = self.plan.distance.shape[1:]
        cells = np.stack([world.x[:n] / width, world.y[:n] / height], axis=1)
        cells[world.alive[:n] == 0] = 0.0
        return np.concatenate([features, cells], axis=1).astype(np.float32).ravel()

    def state_digest(self) -> str:
        """Return a hash of the whole state of the town."""
        return self.batch.digest()

    def get_state(self) -> Snapshot:
        """Return everything that the future depends on; it can be pickled."""
        return self.batch.get_state()

    def set_state(self, state: Snapshot) -> None:
        """Resume from a state, bit for bit; ``agents`` follow from it.

        Raises:
            SnapshotError: The state belongs to another scenario or version.
        """
        self.batch.set_state(state)
        self._meet_residents()
        if self._renderer is not None:
            self._renderer.open(self.batch)

    def clone(self) -> TownletParallelEnv:
        """Return an independent environment in the same state."""
        twin = TownletParallelEnv(
            self.config,
            observation=self.observation_variant,
            mask=self.mask_mode,
            details=self.details,
        )
        twin.set_state(self.get_state())
        twin._base_seed, twin._episode = self._base_seed, self._episode
        return twin

    def events(self) -> list[Event]:
        """Return what happened in the last tick, in order."""
        return self.batch.events()

    def render(self) -> str | Frame | None:
        """Draw the town as it is now.

        Returns:
            Text in mode ``ansi``, uint8 (H, W, 3) in mode ``rgb_array``; None in mode ``human``,
            whose window also follows every step by itself, and without a mode.

        Raises:
            ResetNeeded: There was no episode yet.
            ConfigError: The town does not fit into a picture of ``render_size``.
        """
        return None if self._renderer is None else self._renderer.draw(self.batch)

    def close(self) -> None:
        """Close the window, if one is open; arrays are freed with the object."""
        if self._renderer is not None:
            self._renderer.close()


def _check_option(name: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise ConfigError(f"{name}: unknown value {found!r}{nearest(str(found), known)}")
