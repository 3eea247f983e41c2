"""A capture is looked at before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_replay.dataset import ReplayDataset
from townlet_replay.policy.network import TownletNetwork
from townlet_replay.rollout import pack
from townlet_replay.sample import ReplaySample
from townlet_replay.training.audit import audit
from townlet_replay.training.objectives import (
    Evidence,
    Objective,
    choose_after_cloning,
    choose_objective,
    gather_evidence,
)


def judge(
    dataset: ReplayDataset,
    objective: str,
    network: TownletNetwork | None = None,
    *,
    accept_bias: bool = False,
) -> Objective:
    """Decide which objective is sound on a capture; of a streamed one the first batch tells.

    Args:
        dataset: The capture.
        objective: What was asked for: auto, or one of ``OBJECTIVES``.
        network: The learner; it also values what no critic watched. None: values must be there.
        accept_bias: Train an unsound pair, marked.

    Raises:
        TrainingError: The objective asked for is unsound on this capture.
    """
    evidence = _evidence(dataset, network)
    return choose_objective(evidence, objective, accept_bias=accept_bias)


def after_cloning(dataset: ReplayDataset, network: TownletNetwork) -> Objective | None:
    """Return PPO while the capture of a noisy script supports it for its clone; else None."""
    return choose_after_cloning(_evidence(dataset, network))


def _evidence(dataset: ReplayDataset, network: TownletNetwork | None) -> Evidence:
    positions = list(range(dataset.count))
    if dataset.config.streaming:
        positions = dataset.order(0)[: dataset.config.batch_size]
    samples = [dataset.sample(position) for position in positions]
    rollout = pack(samples, use_masks=dataset.config.use_masks)
    kinds = [meta.behaviour.kind for meta in dataset.metas]
    if network is not None:
        # No critic watched: the learner's own values stand in, as they will in training.
        rollout = rollout._replace(
            values=np.nan_to_num(rollout.values),
            bootstrap_values=np.nan_to_num(rollout.bootstrap_values),
        )
    forged = audit(samples).reasons if samples[0].discrete else None
    return gather_evidence(rollout, kinds, network, forged)


def samples_of(dataset: ReplayDataset) -> list[ReplaySample]:
    """Return the samples of a data set, in the order of the manifest."""
    return [dataset.sample(position) for position in range(dataset.count)]


def intents(samples: Sequence[ReplaySample]) -> NDArray[np.int64]:
    """Return what was meant: the intent of a noisy script where recorded, else the action."""
    return np.concatenate(
        [sample.extras.get("intent_actions", sample.actions).astype(np.int64) for sample in samples]
    )


def staleness(dataset: ReplayDataset, cycle: int) -> tuple[float, float] | None:
    """Return how many cycles before ``cycle`` the policies in a capture acted: mean and largest.

    None if the capture does not tell, or is read as it is needed.
    """
    if dataset.config.streaming:
        return None
    extras = [dataset.sample(position).extras for position in range(dataset.count)]
    if not all("policy_version" in extra for extra in extras):
        return None
    ages = np.maximum(cycle - np.concatenate([extra["policy_version"] for extra in extras]), 0)
    return float(ages.mean()), float(ages.max())
