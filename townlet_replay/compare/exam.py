"""Examinations: every policy plays the same evaluation seeds, sampled and greedy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from townlet_env.config.schema import TownConfig
from townlet_env.policies.crew import Crew, scripted_residents
from townlet_env.sim.batch import WorldBatch
from townlet_env.sim.plan import Plan
from townlet_replay.compare.results import Play, Point, Stage
from townlet_replay.evaluation import Actor, evaluate, network_actor
from townlet_replay.policy.masked import masked_log_probs
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import row_chunks, to_batch

ActorOf = Callable[[Plan], Actor]

# Seeds the draws of a sampled policy: the same for all, so that luck is shared.
_ACTING_SEED = 0


class Examiner:
    """Plays policies and keeps the time it takes.

    Attributes:
        lesson: What the scripts were recorded doing, to measure agreement with; None without.
        seconds: Time spent on examinations since :meth:`begin`.
        moments: Seconds of training, examinations left out, until each examination since then.
    """

    def __init__(self, scenario: TownConfig, seeds: Sequence[int]) -> None:
        self.scenario = scenario
        self.seeds = tuple(seeds)
        self.lesson: Rollout | None = None
        self.begin()

    def begin(self) -> None:
        """Start the clocks anew."""
        self.seconds = 0.0
        self.moments: list[float] = []
        self._began = time.perf_counter()

    @property
    def training(self) -> float:
        """Seconds since :meth:`begin` that were no examination."""
        return time.perf_counter() - self._began - self.seconds

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Count what is done meanwhile as examination."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    def play(self, actor: ActorOf) -> Play:
        """Play the evaluation seeds."""
        with self.aside():
            found = evaluate(self.scenario, actor, self.seeds)
        names = [resident.id for resident in self.scenario.residents]
        returns = found.returns.mean(axis=0).tolist()
        return Play(
            scores=tuple(found.scores.tolist()),
            kpis=found.kpis,
            residents=dict(zip(names, returns, strict=True)),
        )

    def examine(
        self, actor: Callable[[bool], ActorOf], stage: Stage, counts: tuple[int, int, int]
    ) -> Point:
        """Play a policy sampled and greedy.

        Args:
            actor: ``greedy`` -> how the policy acts then.
            stage: Where its training stands.
            counts: Live, captured and gradient steps it took so far.
        """
        self.moments.append(self.training)
        live, captured, gradient = counts
        return Point(
            stage=stage,
            live_steps=live,
            captured_steps=captured,
            gradient_steps=gradient,
            sampled=self.play(actor(False)),
            greedy=self.play(actor(True)),
        )

    def examine_network(
        self, network: TownletNetwork, stage: Stage, counts: tuple[int, int, int]
    ) -> Point:
        """Play a native network, and compare its choices with the lesson."""
        point = self.examine(
            lambda greedy: network_actor(network, seed=_ACTING_SEED, greedy=greedy), stage, counts
        )
        return self.with_agreement(point, network)

    def with_agreement(self, point: Point, network: TownletNetwork) -> Point:
        """Add how far ``network`` agrees with the lesson, if there is one."""
        if self.lesson is None:
            return point
        with self.aside():
            share = agreement(network, self.lesson)
        return point.model_copy(update={"agreement": share})

    def agreement_in_town(self, network: TownletNetwork) -> float | None:
        """Return how often the script would do what greedy play does, where that play goes.

        Ticks that allow a resident one action only are left out. None if somebody in the scenario
        has no script.
        """
        if len(scripted_residents(self.scenario)) < len(self.scenario.residents):
            return None
        shadow = _Shadow(self.scenario, network_actor(network, seed=_ACTING_SEED, greedy=True))
        evaluate(self.scenario, shadow.build, self.seeds)
        return shadow.agreeing / shadow.asked if shadow.asked else None

    @property
    def acting_seed(self) -> int:
        """Seed of the draws of a sampled policy."""
        return _ACTING_SEED


class _Shadow:
    """Asks the scripts what they would do, while somebody else acts."""

    def __init__(self, scenario: TownConfig, actor: ActorOf) -> None:
        self.asked = self.agreeing = 0
        self._scenario, self._actor = scenario, actor

    def build(self, plan: Plan) -> Actor:
        act, crew = self._actor(plan), Crew(self._scenario, plan)

        def both(batch: WorldBatch) -> npt.NDArray[np.int64]:
            chosen = act(batch)
            choice = batch.alive & ((batch.views.action_mask != 0).sum(axis=2) > 1)
            self.asked += int(choice.sum())
            self.agreeing += int((chosen == crew.decide(batch))[choice].sum())
            return chosen

        return both


def agreement(network: TownletNetwork, lesson: Rollout) -> float:
    """Return the share of rows with a choice whose action is the network's most probable one.

    Rows that allow one action only are left out: nobody could disagree there.

    Args:
        network: The policy.
        lesson: Rows of somebody else; ``actions`` may be intents that the mask forbids, which
            count as disagreement.

    Raises:
        TrainingError: The lesson does not fit the network.
    """
    agreeing = most_probable(network, lesson) == lesson.actions
    choice = rows_with_a_choice(lesson)
    return float(agreeing[choice].mean()) if choice.any() else 1.0


def rows_with_a_choice(lesson: Rollout) -> npt.NDArray[np.bool_]:
    """Return (N,) where more than one action is legal."""
    mask = lesson.action_mask
    if mask is None:
        return np.ones(len(lesson.actions), np.bool_)
    choice: npt.NDArray[np.bool_] = (mask != 0).sum(axis=1) > 1
    return choice


def most_probable(network: TownletNetwork, lesson: Rollout) -> npt.NDArray[np.int64]:
    """Return (N,) the network's most probable action in every row.

    Raises:
        TrainingError: The lesson does not fit the network.
    """
    best: npt.NDArray[np.int64] = all_log_probs(network, lesson).argmax(axis=1)
    return best


@torch.no_grad()
def all_log_probs(network: TownletNetwork, lesson: Rollout) -> npt.NDArray[np.float32]:
    """Return (N, A) log pi of every action in every row; what is illegal is far below 0.

    Raises:
        TrainingError: The lesson does not fit the network.
    """
    batch = to_batch(network, lesson)
    parts = []
    for rows in row_chunks(len(lesson.actions), batch.segments):
        part = batch.rows(rows)
        parts.append(masked_log_probs(network(part.observations)[0], part.mask).cpu().numpy())
    found: npt.NDArray[np.float32] = np.concatenate(parts)
    return found
