"""The wrapper that lets scripted residents live their scripts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pettingzoo.utils.wrappers import BaseParallelWrapper

from townlet_env.errors import ConfigError
from townlet_env.policies.crew import Crew, scripted_residents
from townlet_env.sim.snapshot import Snapshot
from townlet_env.views.parallel import TownletParallelEnv


class ScriptedState(NamedTuple):
    """A state of the town together with where its residents stand in their scripts."""

    town: Snapshot
    memory: tuple[Any, ...]
    decided: tuple[tuple[str, int], ...]


class ScriptedScenario(BaseParallelWrapper):  # type: ignore[misc]
    """Lets the scripted residents act; the caller decides for the others only.

    Observations, rewards and flags are those of everybody, scripted residents included, so that
    the whole town can be recorded. An action given for a scripted resident is ignored: the script
    decides. ``last_actions`` tells what everybody did.

    Attributes:
        controlled: Residents of the scenario that the caller decides for, in slot order. A newcomer
            is the caller's too if the slot was; other newcomers follow ``arrivals.policy``.
        last_actions: The joint action of the last step, by resident; empty after ``reset``. A
            resident of the caller who was given none is missing.

    Example:
        >>> from townlet_env import townlet_v0
        >>> from townlet_env.wrappers import ScriptedScenario
        >>> town = townlet_v0.parallel_env(scenario="queue_conflict")
        >>> env = ScriptedScenario(town, learners=["anna"])
        >>> observations, infos = env.reset(seed=7)
        >>> while env.agents:
        ...     observations, *_ = env.step({"anna": 0})
        >>> env.controlled
        ('anna',)
        >>> sorted(env.last_actions)
        ['anna', 'ben', 'cleo']
    """

    def __init__(self, env: TownletParallelEnv, learners: Iterable[str] = ()) -> None:
        """Wrap a town.

        Args:
            env: The town, bare or in wrappers.
            learners: Residents left to the caller whatever their scripts say. Residents whose
                policy is ``learner`` are left to the caller anyway.

        Raises:
            ConfigError: A learner is no resident, a policy is unknown, this is no town, or its
                actions are no primitives.
        """
        super().__init__(env)
        town = town_of_primitives(env)
        self._town = town
        scripted = scripted_residents(town.config, learners)
        self._crew = Crew(town.config, town.plan, scripted)
        self._decided: dict[str, int] = {}
        self.controlled = tuple(name for name in town.plan.names.residents if name not in scripted)
        self.last_actions: dict[str, int] = {}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Open an episode; every script begins anew."""
        opened = self.env.reset(seed=seed, options=options)
        self._crew.reset(0)
        self.last_actions = {}
        self._decide()
        return opened

    def step(self, actions: dict[str, int]) -> Any:
        """Live one tick; ``{}`` is enough where everybody is scripted."""
        joint = {**actions, **self._decided}
        self.last_actions = {name: joint[name] for name in self._town.agents if name in joint}
        step = self.env.step(joint)
        self._decide()
        return step

    def get_state(self) -> ScriptedState:
        """Return everything that the future depends on, scripts included; it can be pickled."""
        memory = self._crew.get_memory(0)
        return ScriptedState(self._town.get_state(), memory, tuple(self._decided.items()))

    def set_state(self, state: ScriptedState) -> None:
        """Resume from a state of the same scenario with the same learners, bit for bit.

        Raises:
            SnapshotError: The state belongs to another scenario or version.
        """
        self._town.set_state(state.town)
        self._crew.set_memory(state.memory, 0)
        self._decided = dict(state.decided)
        self.last_actions = {}

    def clone(self) -> ScriptedScenario:
        """Return an independent environment in the same state, without wrappers in between."""
        twin = ScriptedScenario(self._town.clone(), self.controlled)
        twin._crew.set_memory(self._crew.get_memory(0), 0)
        twin._decided = dict(self._decided)
        return twin

    def _decide(self) -> None:
        """Decide for the coming tick right away: what the last one did is known only now."""
        decided = self._crew.act(self._town.batch, 0) if self._town.agents else {}
        self._decided = {
            name: decided[slot] for name, slot in self._town.slots.items() if slot in decided
        }


def town_of_primitives(env: Any) -> TownletParallelEnv:
    """Return the town inside an environment that takes the town's own actions.

    Raises:
        ConfigError: There is no town, or a wrapper gives its residents other actions.
    """
    town = env.unwrapped
    if not isinstance(town, TownletParallelEnv):
        raise ConfigError(
            f"expected an environment of townlet_v0.parallel_env, found {type(town).__name__}"
        )
    somebody = town.possible_agents[0]
    own, found = town.action_space(somebody), env.action_space(somebody)
    if found != own:
        raise ConfigError(
            f"expected the town's own actions, {own}, found {found}; "
            "OptionActions goes around every other wrapper that decides, and only once"
        )
    return town
