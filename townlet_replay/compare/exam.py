"""Examinations: every policy plays the same evaluation seeds, sampled and greedy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from townlet_env.config.schema import TownConfig
from townlet_env.sim.plan import Plan
from townlet_replay.compare.results import Point, Stage
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
        seconds: Time spent on examinations so far.
    """

    def __init__(self, scenario: TownConfig, seeds: Sequence[int]) -> None:
        self.scenario = scenario
        self.seeds = tuple(seeds)
        self.lesson: Rollout | None = None
        self.seconds = 0.0

    def play(self, actor: ActorOf) -> tuple[float, ...]:
        """Return the mean return of the residents in each evaluation episode."""
        began = time.perf_counter()
        scores = tuple(evaluate(self.scenario, actor, self.seeds).scores.tolist())
        self.seconds += time.perf_counter() - began
        return scores

    def examine(
        self, actor: Callable[[bool], ActorOf], stage: Stage, counts: tuple[int, int, int]
    ) -> Point:
        """Play a policy sampled and greedy.

        Args:
            actor: ``greedy`` -> how the policy acts then.
            stage: Where its training stands.
            counts: Live, captured and gradient steps it took so far.
        """
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
        began = time.perf_counter()
        share = agreement(network, self.lesson)
        self.seconds += time.perf_counter() - began
        return point.model_copy(update={"agreement": share})

    @property
    def acting_seed(self) -> int:
        """Seed of the draws of a sampled policy."""
        return _ACTING_SEED


@torch.no_grad()
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
    batch = to_batch(network, lesson)
    agreeing = np.zeros(len(lesson.actions), np.bool_)
    for rows in row_chunks(len(lesson.actions)):
        part = batch.rows(rows)
        log_probs = masked_log_probs(network(part.observations)[0], part.mask)
        agreeing[rows] = (log_probs.argmax(dim=1) == part.actions).cpu().numpy()
    mask = lesson.action_mask
    choice = np.ones(len(agreeing), np.bool_) if mask is None else (mask != 0).sum(axis=1) > 1
    return float(agreeing[choice].mean()) if choice.any() else 1.0
