"""Small networks and rollouts with deaths, cuts, masks and ragged segments."""

from __future__ import annotations

import numpy as np
import torch

from townlet_replay.policy.masked import evaluate
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork
from townlet_replay.rollout import Rollout

ACTIONS = 5
SPEC = ObservationSpec(
    map_shape=(2, 5, 5),
    features_dim=6,
    action_dim=ACTIONS,
    feature_names=tuple(f"feature_{index}" for index in range(6)),
    action_lookup={0: "wait", 1: "north", 2: "south", 3: "east", 4: "west"},
)
SMALL = NetworkConfig(map_width=16, features_width=16, trunk_widths=(32,))


def small_network(seed=0, **changes):
    return TownletNetwork(SPEC, SMALL.model_copy(update=changes), seed)


def sharp_network(seed=0):
    """A network with clear preferences: mistakes in entropies and ratios hide near uniformity."""
    network = small_network(seed)
    with torch.no_grad():
        network.action_head.weight.mul_(100)
    return network


def own_rollout(network, rows=203, seed=1, mean_segment=17):
    """Rows as ``network`` would have recorded them: its own log-probs and values."""
    rng = np.random.default_rng(seed)
    observations = {
        "map": rng.integers(0, 2, (rows, *SPEC.map_shape), dtype=np.uint8),
        "features": rng.uniform(-1, 1, (rows, SPEC.features_dim)).astype(np.float32),
    }
    mask = (rng.random((rows, ACTIONS)) < 0.65).astype(np.int8)
    mask[:, 0] = 1
    actions = np.array([rng.choice(np.flatnonzero(row)) for row in mask], dtype=np.int64)
    ends = rng.random(rows) < 1 / mean_segment
    ends[-1] = True
    deaths = ends & (rng.random(rows) < 0.4)
    with torch.no_grad():
        logits, values = network(SPEC.tensors(observations, network.device))
        judged = evaluate(logits, torch.tensor(mask), torch.tensor(actions))
    cuts = ends & ~deaths
    finals = rng.normal(size=rows).astype(np.float32)
    return Rollout(
        observations=observations,
        action_mask=mask,
        actions=actions,
        rewards=rng.normal(0.2, 1.0, rows).astype(np.float32),
        terminations=deaths,
        truncations=cuts,
        old_log_probs=judged.log_probs.numpy(),
        values=values.numpy(),
        bootstrap_values=np.where(cuts, finals, np.float32(0)),
        segment_starts=np.concatenate([[0], np.flatnonzero(ends)[:-1] + 1]).astype(np.int64),
    )
