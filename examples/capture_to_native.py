"""Train the native PPO on a capture of its own policy: the same update as if it had been live.

python examples/capture_to_native.py
"""

from pathlib import Path

import torch

from townlet_replay import ReplayDataset, ReplayDatasetConfig, TrainingHarness
from townlet_replay.training.config import TrainConfig

SETTINGS = {"scenario": "employment_punctuality", "seed": 1, "ppo": {"learning_rate": 1e-3}}


def main(out: Path = Path("captures/cycles"), cycles: int = 12, ticks: int = 1600) -> list[float]:
    """Return the mean return of the recorded lives of every cycle."""
    harness = TrainingHarness(TrainConfig(**SETTINGS))
    means = []
    for cycle in range(cycles):
        folder = out / f"{cycle:02d}"
        harness.capture_rollout(ticks, save_dir=folder)  # with log-probs and values of this policy
        dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(folder))
        objective = harness.run_ppo(dataset, epochs=4).objective
        totals = dataset.capture.metrics.totals
        means.append(totals.reward_mean * totals.timesteps / len(dataset.capture))
        what = f"{totals.timesteps} rows, {means[-1]:+.3f} a life"
        print(f"cycle {cycle}: {what}; {objective.name}, audit {objective.audit}")
    return means


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for networks this small, and the same bits every time
    main()
