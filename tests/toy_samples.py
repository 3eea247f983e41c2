"""A capture sample that fits the toy network."""

from __future__ import annotations

import numpy as np
from toy_rollouts import ACTIONS, SPEC

from townlet_replay.sample import ReplaySample
from townlet_replay.sidecar import Behaviour, SampleMeta


def script_sample(rows=20, seed=0, *, dies=False, kind="script"):
    """A script's life: it has no critic, and takes the legal action of the largest id."""
    rng = np.random.default_rng(seed)
    last = np.arange(rows) == rows - 1
    mask = (rng.random((rows, ACTIONS)) < 0.6).astype(np.int8)
    mask[:, 0] = 1
    return ReplaySample(
        observations={
            "map": rng.integers(0, 2, (rows, *SPEC.map_shape), dtype=np.uint8),
            "features": rng.uniform(-1, 1, (rows, SPEC.features_dim)).astype(np.float32),
        },
        action_mask=mask,
        actions=ACTIONS - 1 - mask[:, ::-1].argmax(axis=1),
        rewards=rng.normal(size=rows).astype(np.float32),
        terminations=last & dies,
        truncations=last & (not dies),
        old_log_probs=np.zeros(rows, np.float32),
        value_preds=np.full(rows + 1, np.nan, np.float32),
        ticks=np.arange(1, rows + 1, dtype=np.int32),
        final_observation={
            "map": np.ones(SPEC.map_shape, np.uint8),
            "features": np.full(SPEC.features_dim, 0.5, np.float32),
        },
        meta=SampleMeta(
            agent_id="anna",
            episode_id=0,
            feature_names=SPEC.feature_names,
            action_lookup=SPEC.action_lookup,
            action_dim=ACTIONS,
            timesteps=rows,
            value_pred_steps=rows + 1,
            behaviour=Behaviour(kind=kind),
        ),
    )
