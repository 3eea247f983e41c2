"""The wrapper that lets residents choose options in place of primitive actions."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from pettingzoo.utils.wrappers import BaseParallelWrapper

from townlet_env.errors import ActionError, SnapshotError, nearest
from townlet_env.sim.plan import resident_name
from townlet_env.wrappers.option_runs import (
    NO_NEWS,
    Mask,
    OptionRuns,
    OptionSettings,
    Run,
)
from townlet_env.wrappers.options import OPTION_NAMES
from townlet_env.wrappers.scripted_scenario import ScriptedScenario, town_of_primitives

MASK = "action_mask"


class OptionState(NamedTuple):
    """A state of the town together with the options under way; it can be pickled."""

    env: Any  # state of what is wrapped
    runs: tuple[Run | None, ...]  # by slot


class OptionActions(BaseParallelWrapper):  # type: ignore[misc]
    """Residents choose among seven options; one runs for up to ``commitment`` ticks.

    A ``step`` is one tick. Who is committed to an option goes on with it, whatever action is given,
    and has a mask of that option alone. Who is free chooses among the options that have something
    to do now, or to wait for. What is not possible, or missing, is one tick of ``Wait`` and counts
    as ``illegal_action``. The primitive actions of options are always legal.

    Every info has ``option`` (name), ``option_ticks``, ``option_over``, ``option_end`` (one of
    ``OPTION_ENDS``, or ``""`` while it runs) and ``option_return``, the discounted sum of its
    rewards so far. Who had no option in a tick has ``""``, 0, False, ``""`` and 0.0.

    Over a ``ScriptedScenario`` the residents left to the caller choose. The others follow their
    scripts; their mask is ``Wait`` alone, and it is not asked for.

    Source: Sutton, Precup and Singh (1999), "Between MDPs and semi-MDPs". An option is interrupted
    (their section 4) by an urgent need, not by values.

    Attributes:
        commitment: Ticks after which an option ends if nothing ended it before.
        urgent: Level of a need below which it is urgent.
        gamma: Discount per tick of ``option_return``.
        option_lookup: Option id to name; ``action_lookup`` is the same.
        last_actions: Option of every resident who had one in the last step; empty after ``reset``.
        last_primitive_actions: The primitive actions they led to.

    Example:
        >>> from townlet_env import townlet_v0
        >>> from townlet_env.wrappers import OPTION_NAMES, OptionActions
        >>> env = OptionActions(townlet_v0.parallel_env("kitchen_breakfast"))
        >>> observations, infos = env.reset(seed=7)
        >>> get_fed = OPTION_NAMES.index("GetFed")
        >>> observations, *_, infos = env.step({"alice": get_fed, "bob": get_fed})
        >>> infos["alice"]["option"], infos["alice"]["option_over"]
        ('GetFed', False)
        >>> observations["alice"]["action_mask"].tolist()
        [0, 1, 0, 0, 0, 0, 0]
    """

    def __init__(
        self, env: Any, *, commitment: int = 15, urgent: float = 0.15, gamma: float = 0.99
    ) -> None:
        """Wrap a town, bare or in wrappers; a ``ScriptedScenario`` belongs inside.

        Args:
            env: A town with primitive actions.
            commitment: Ticks, at least 1.
            urgent: In [0, 1]; with 0 no need interrupts.
            gamma: In [0, 1].

        Raises:
            ConfigError: This is no town, its actions are no primitives, or a number is out of
                range.
        """
        super().__init__(env)
        self._town = town_of_primitives(env)
        settings = OptionSettings(commitment, urgent, gamma).check()
        self.commitment, self.urgent, self.gamma = settings
        self.option_lookup = dict(enumerate(OPTION_NAMES))
        self.action_lookup = self.option_lookup
        self.last_actions: dict[str, int] = {}
        self.last_primitive_actions: dict[str, int] = {}
        names = self._town.possible_agents
        self._action_spaces = {name: spaces.Discrete(len(OPTION_NAMES)) for name in names}
        self._observation_spaces = {name: _masked(env.observation_space(name)) for name in names}
        self._runs = OptionRuns(self._town.config, self._town.batch, settings)
        scripts = _scripts_in(env)
        self._choosers = frozenset(
            slot
            for slot, name in enumerate(self._town.plan.names.residents)
            if scripts is None or name in scripts.controlled
        )

    def observation_space(self, agent: str) -> spaces.Dict:
        """Return the observation space of a resident, with a mask of options if there is one."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Return the options as a space: the same for everybody."""
        return self._action_spaces[agent]

    @property
    def choosing(self) -> tuple[str, ...]:
        """Residents whose action in the next step is a choice, in slot order."""
        runs = self._runs.runs
        slots = self._town.slots.items()
        return tuple(name for name, i in slots if i in self._choosers and runs[i] is None)

    def action_masks(self) -> dict[str, Mask]:
        """Return the possible options of everybody in town: int8 (7,) of 0/1, fresh arrays."""
        return {name: self._runs.mask(slot) for name, slot in self._town.slots.items()}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Open an episode; everybody is free."""
        observations, infos = self.env.reset(seed=seed, options=options)
        slots = self._resume((None,) * len(self._runs.runs))
        return self._observed(observations, slots), self._informed(infos, slots, {})

    def step(self, actions: dict[str, int | None]) -> Any:
        """Live one tick.

        Args:
            actions: Option id by resident. Who is committed needs none.

        Raises:
            ResetNeeded: There is no live episode.
            ActionError: An unknown resident, or an action that is no whole number.
        """
        if not self._town.agents:
            return self.env.step({})  # which says what is missing
        given = self._read(actions)
        slots = self._town.slots
        turns = {
            name: self._runs.turn(slot, given.get(name))
            for name, slot in slots.items()
            if slot in self._choosers
        }
        primitives = {name: turn.action for name, turn in turns.items()}
        observations, rewards, terminated, truncated, infos = self.env.step(primitives)
        told = {}
        for name, turn in turns.items():
            over = terminated[name] or truncated[name]
            told[name] = self._runs.advance(slots[name], turn, rewards[name], over=over)
        seen = self._offer()
        self.last_actions = {name: turn.run.option for name, turn in turns.items()}
        self.last_primitive_actions = primitives
        slots |= seen  # newcomers
        return (
            self._observed(observations, slots),
            rewards,
            terminated,
            truncated,
            self._informed(infos, slots, told),
        )

    def get_state(self) -> OptionState:
        """Return everything that the future depends on, options under way included."""
        return OptionState(self.env.get_state(), tuple(self._runs.runs))

    def set_state(self, state: OptionState) -> None:
        """Resume from a state of the same scenario, bit for bit.

        Raises:
            SnapshotError: The state belongs to another environment or version.
        """
        if not isinstance(state, OptionState):
            raise SnapshotError(
                f"expected a state of OptionActions, found {type(state).__name__}; "
                "take one with get_state() of this environment"
            )
        self.env.set_state(state.env)
        self._resume(state.runs)

    def clone(self) -> OptionActions:
        """Return an independent environment in the same state, without wrappers in between."""
        twin = OptionActions(
            self.env.clone(), commitment=self.commitment, urgent=self.urgent, gamma=self.gamma
        )
        twin._resume(tuple(self._runs.runs))
        return twin

    def _resume(self, runs: tuple[Run | None, ...]) -> dict[str, int]:
        self._runs.resume(runs)
        self.last_actions = {}
        self.last_primitive_actions = {}
        return self._offer()

    def _offer(self) -> dict[str, int]:
        """Find out what everybody can do in the present state; return the slots of those seen."""
        slots = self._in_town()
        self._runs.offer(self._choosers & set(slots.values()))
        return slots

    def _in_town(self) -> dict[str, int]:
        """Return the slots of those who are seen now, by id; also when time is up."""
        world, names = self._town.batch.worlds[0], self._town.plan.names
        alive = world.alive[: len(names.residents)].tolist()
        return {resident_name(names, world, i): i for i, here in enumerate(alive) if here}

    def _read(self, actions: dict[str, int | None]) -> dict[str, int]:
        """Return the options given, as whole numbers."""
        given = {}
        for name, action in actions.items():
            if name not in self._action_spaces:
                raise ActionError(f"unknown resident {name!r}{nearest(name, self._action_spaces)}")
            if action is None:
                continue
            try:
                given[name] = operator.index(action)
            except TypeError as error:
                raise ActionError(
                    f"{name}: expected an option id from 0 to {len(OPTION_NAMES) - 1}, "
                    f"found {action!r}"
                ) from error
        return given

    def _observed(self, observations: dict[str, Any], slots: dict[str, int]) -> dict[str, Any]:
        """Return the observations with the masks of options where those of primitives were."""
        return {name: self._with_mask(seen, slots[name]) for name, seen in observations.items()}

    def _informed(
        self,
        infos: dict[str, dict[str, Any]],
        slots: dict[str, int],
        told: dict[str, dict[str, Any]],
    ) -> dict[str, dict[str, Any]]:
        """Return the infos with masks of options, and what is told of the options that ran."""
        informed = {}
        for name, info in infos.items():
            news = told.get(name, NO_NEWS)
            illegal = max(info["illegal_action"], news["illegal_action"])
            informed[name] = {
                **self._with_mask(info, slots[name]),
                **news,
                "illegal_action": illegal,
            }
        return informed

    def _with_mask(self, seen: dict[str, Any], slot: int) -> dict[str, Any]:
        return {**seen, MASK: self._runs.mask(slot)} if MASK in seen else seen


def _masked(space: spaces.Dict) -> spaces.Dict:
    """Return an observation space with a mask of options in place of one of primitives."""
    if MASK not in space.spaces:
        return space
    mask = spaces.Box(0, 1, (len(OPTION_NAMES),), np.int8)
    return spaces.Dict({**space.spaces, MASK: mask})


def _scripts_in(env: Any) -> ScriptedScenario | None:
    """Return the wrapper in ``env`` that decides for scripted residents, or None."""
    while isinstance(env, BaseParallelWrapper) and not isinstance(env, ScriptedScenario):
        env = env.env
    return env if isinstance(env, ScriptedScenario) else None
