"""Rollouts made by hand for the adapter of Stable-Baselines3, and who counts their rows."""

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from townlet_replay.rollout import Rollout
from townlet_replay.training.sb3 import (
    CaptureMaskablePPO,
)


def rows_of(lengths=(5, 3), *, masked=True, deaths=(0,), seed=0, actions=5):
    """Hand-made segments; those in ``deaths`` end in a termination."""
    rng = np.random.default_rng(seed)
    rows = sum(lengths)
    ends = np.cumsum(lengths) - 1
    terminations, truncations = np.zeros((2, rows), np.bool_)
    for segment, end in enumerate(ends):
        (terminations if segment in deaths else truncations)[end] = True
    mask = (rng.random((rows, actions)) < 0.7).astype(np.int8)
    mask[:, 0] = 1
    return Rollout(
        observations={
            "features": rng.uniform(-1, 1, (rows, 4)).astype(np.float32),
            "map": rng.integers(0, 2, (rows, 2, 4, 4), dtype=np.uint8),
        },
        action_mask=mask if masked else None,
        actions=np.array([rng.choice(np.flatnonzero(row)) for row in mask]),
        rewards=rng.normal(size=rows).astype(np.float32),
        terminations=terminations,
        truncations=truncations,
        old_log_probs=-rng.random(rows).astype(np.float32),
        values=rng.normal(size=rows).astype(np.float32),
        bootstrap_values=np.where(truncations, 0.5, 0).astype(np.float32),
        segment_starts=np.append(0, ends[:-1] + 1),
    )


def masked_learner(dataset, **settings):
    settings = {"batch_size": 4, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}} | settings
    return CaptureMaskablePPO.from_dataset(dataset, **settings)


class Steps(BaseCallback):
    """Counts the rows it is shown and stops after ``limit``."""

    def __init__(self, limit=10**6):
        super().__init__()
        self.calls, self.limit, self.dones = 0, limit, []

    def _on_step(self):
        self.calls += 1
        self.dones.append(bool(self.locals["dones"][0]))
        return self.calls < self.limit
