"""Train the native PPO on a capture of its own policy: the same update as if it had been live.

python examples/capture_to_native.py
"""

from pathlib import Path

import torch

from townlet_replay import ReplayDataset, ReplayDatasetConfig, TrainingHarness
from townlet_replay.training.config import TrainConfig


def main(out: Path = Path("captures/cycles"), cycles: int = 3, ticks: int = 480) -> list[float]:
    """Return the mean reward per row of the capture of every cycle."""
    harness = TrainingHarness(TrainConfig(scenario="employment_punctuality", seed=1))
    means = []
    for cycle in range(cycles):
        folder = out / f"{cycle:02d}"
        harness.capture_rollout(ticks, save_dir=folder)  # with log-probs and values of this policy
        dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(folder))
        objective = harness.run_ppo(dataset, epochs=1).objective
        totals = dataset.capture.metrics.totals
        means.append(totals.reward_mean)
        what = f"{totals.timesteps} rows, {totals.reward_mean:+.4f} a row"
        print(f"cycle {cycle}: {what}; {objective.name}, audit {objective.audit}")
    return means


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for networks this small, and the same bits every time
    main()
