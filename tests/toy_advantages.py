"""Advantages of toy rollouts."""

from __future__ import annotations

from townlet_replay.training.gae import gae

GAMMA, LAMBDA = 0.95, 0.9  # the product rounds differently in float32 and in double


def advantages_of(rollout, gamma=GAMMA, gae_lambda=LAMBDA):
    return gae(
        rollout.rewards,
        rollout.values,
        rollout.terminations,
        rollout.truncations,
        rollout.bootstrap_values,
        gamma,
        gae_lambda,
    )
