"""Comparisons small enough for tests."""

from __future__ import annotations

from townlet_replay.compare.results import CompareSettings
from townlet_replay.training.config import load_train_config

SMALL = {
    "network": {"map_width": 8, "features_width": 16, "trunk_widths": [16]},
    "ppo": {"epochs": 2, "minibatch_size": 64, "learning_rate": 2e-3},
    "bc": {"epochs": 25, "patience": None, "minibatch_size": 64, "learning_rate": 5e-3},
    "live": {"steps": 600, "num_worlds": 2, "rollout_ticks": 40},
    "rollout": {"ticks": 80},
    "replay": {"batch_size": 8},
    "epochs": 2,
}
BRIEF = CompareSettings(seeds=2, eval_seeds=2, points=2, capture_episodes=2)


def training(**changes):
    return load_train_config("employment_punctuality", {**SMALL, **changes})
