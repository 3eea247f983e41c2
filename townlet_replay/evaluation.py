"""Playing a scenario live, on given seeds, with a network, a Stable-Baselines3 model or scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from townlet_env.config.compile import compile_plan
from townlet_env.config.schema import TownConfig
from townlet_env.policies.crew import Crew, with_policy
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.ids import EventKind
from townlet_env.sim.plan import Plan
from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import draw_actions, masked_log_probs
from townlet_replay.policy.network import ObservationSpec, TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime

if TYPE_CHECKING:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

Actor = Callable[[WorldBatch], npt.NDArray[np.int64]]
"""Chooses the actions (W, N) of every resident of every world."""

KPIS = ("mean_need", "affordances", "conflicts", "on_time", "late", "wages", "illegal_share")


class Evaluation(NamedTuple):
    """One actor on one scenario; E seeds, N residents."""

    returns: npt.NDArray[np.float64]  # (E, N) undiscounted sums of rewards
    kpis: dict[str, float]  # per resident and episode; see KPIS

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """(E,): mean return of the residents."""
        scores: npt.NDArray[np.float64] = self.returns.mean(axis=1)
        return scores

    @property
    def mean(self) -> float:
        """Mean return per resident and episode."""
        return float(self.returns.mean())


def evaluate(
    config: TownConfig, actor: Callable[[Plan], Actor], seeds: Sequence[int]
) -> Evaluation:
    """Play one episode per seed, all side by side, and sum up.

    Args:
        config: The scenario.
        actor: Builds what acts, for the compiled scenario.
        seeds: Seeds of the episodes.

    Raises:
        TrainingError: There are no seeds, or the actor does not fit the scenario.
    """
    if not seeds:
        raise TrainingError("expected at least one evaluation seed, found none")
    plan = compile_plan(config)
    batch = WorldBatch(plan, len(seeds))
    batch.reset(list(seeds))
    act = actor(plan)
    tally = _Tally(batch)
    for _ in range(config.ticks):
        step = batch.step(act(batch))
        tally.count(step.reward, step.illegal)
        if not batch.alive.any():
            break
    return tally.evaluation()


class _Tally:
    """Sums over an evaluation."""

    def __init__(self, batch: WorldBatch) -> None:
        shape = (batch.num_worlds, batch.num_residents)
        self._batch = batch
        self._returns = np.zeros(shape, np.float64)
        self._events = np.zeros(len(EventKind), np.int64)
        self._needs = self._wages = 0.0
        self._illegal = self._ticks = 0

    def count(self, reward: npt.NDArray[np.float32], illegal: npt.NDArray[np.bool_]) -> None:
        """Add one tick."""
        batch, n = self._batch, self._batch.num_residents
        self._returns += reward
        alive = batch.alive
        self._needs += float(batch.worlds["needs"][:, :n][alive].mean()) if alive.any() else 0.0
        self._wages += float(batch.outcomes["wage"][:, :n].sum())
        self._illegal += int(illegal.sum())
        self._ticks += 1
        for w in range(batch.num_worlds):
            rows = batch.outcomes["events"][w, : batch.outcomes["n_events"][w], 0]
            self._events += np.bincount(rows, minlength=len(EventKind))

    def evaluation(self) -> Evaluation:
        """Return the sums per resident and episode."""
        lives = self._returns.size
        events = {
            "affordances": EventKind.AFFORDANCE_FINISHED,
            "conflicts": EventKind.QUEUE_CONFLICT,
            "on_time": EventKind.SHIFT_ON_TIME,
            "late": EventKind.SHIFT_LATE,
        }
        kpis = {
            "mean_need": self._needs / self._ticks,
            **{name: float(self._events[kind] / lives) for name, kind in events.items()},
            "wages": self._wages / lives,
            "illegal_share": self._illegal / (lives * self._ticks),
        }
        return Evaluation(self._returns, kpis)


def network_actor(network: TownletNetwork, *, seed: int, greedy: bool) -> Callable[[Plan], Actor]:
    """Return an actor that follows a network.

    Raises (when built for a scenario):
        TrainingError: The network saw another vocabulary or feature list.
    """

    def build(plan: Plan) -> Actor:
        _check_names(network.spec, plan)
        runtime = PolicyRuntime(network, seed=seed, greedy=greedy)

        def act(batch: WorldBatch) -> npt.NDArray[np.int64]:
            observations, masks = _rows(batch)
            chosen = runtime.act_batch(observations, masks).actions
            return chosen.reshape(batch.num_worlds, batch.num_residents)

        return act

    return build


def sb3_actor(model: OnPolicyAlgorithm, *, seed: int, greedy: bool) -> Callable[[Plan], Actor]:
    """Return an actor that follows a PPO or MaskablePPO model; draws come from ``seed`` alone.

    A model without masks may choose what is not legal, which then acts as ``wait``.
    """
    from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy

    policy: Any = model.policy
    masked = isinstance(policy, MaskableActorCriticPolicy)

    def build(plan: Plan) -> Actor:
        rng = np.random.default_rng(seed)

        @torch.no_grad()
        def act(batch: WorldBatch) -> npt.NDArray[np.int64]:
            observations, masks = _rows(batch)
            tensors, _ = policy.obs_to_tensor(observations)
            policy.set_training_mode(False)
            logits = policy.get_distribution(tensors).distribution.logits
            legal = torch.from_numpy(masks.astype(bool)) if masked else None
            log_probs = masked_log_probs(logits.cpu(), legal).numpy()
            chosen = log_probs.argmax(axis=1) if greedy else draw_actions(log_probs, rng)
            return chosen.astype(np.int64).reshape(batch.num_worlds, batch.num_residents)

        return act

    return build


def script_actor(config: TownConfig, policy: str | None = None) -> Callable[[Plan], Actor]:
    """Return an actor that follows the scenario's scripts.

    Args:
        config: The scenario.
        policy: Makes everybody follow this scripted policy instead, such as ``"random"``.
    """
    played = config if policy is None else with_policy(config, policy)

    def build(plan: Plan) -> Actor:
        crew = Crew(played, plan)

        def act(batch: WorldBatch) -> npt.NDArray[np.int64]:
            return crew.decide(batch).astype(np.int64)

        return act

    return build


def _rows(batch: WorldBatch) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int8]]:
    """Return observations and masks of all residents as rows (W x N, ...)."""
    views = batch.views
    observations: dict[str, npt.NDArray[Any]] = {
        "map": views.map.reshape(-1, *views.map.shape[2:]),
        "features": views.features.reshape(-1, views.features.shape[2]),
    }
    return observations, views.action_mask.reshape(-1, views.action_mask.shape[2])


def _check_names(spec: ObservationSpec, plan: Plan) -> None:
    expected = dict(enumerate(plan.names.actions))
    if spec.action_lookup != expected or spec.feature_names != plan.names.features:
        raise TrainingError(
            "the network was trained on another action vocabulary or feature list than the "
            "scenario has; evaluate it on a scenario of its own catalogue"
        )
