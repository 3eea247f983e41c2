"""Train Stable-Baselines3's MaskablePPO on captures of its own policy, with its usual callbacks.

python examples/capture_to_sb3.py
"""

from pathlib import Path

import torch
from stable_baselines3.common.callbacks import BaseCallback

from townlet_env import townlet_v0
from townlet_replay import PolicyRuntime, ReplayDataset, ReplayDatasetConfig
from townlet_replay.capture import CaptureSettings, record_policy, town_spec
from townlet_replay.policy.network import NetworkConfig, TownletNetwork
from townlet_replay.training.sb3 import CaptureMaskablePPO, TownletExtractor


class Returns(BaseCallback):
    """Keeps the returns of the segments it is shown, as it would of live episodes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_step(self) -> bool:
        self.seen += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return True


def main(out: Path = Path("captures/policy"), episodes: int = 8) -> Returns:
    """Return the callback that watched."""
    town = townlet_v0.parallel_env(scenario="queue_conflict", details=True)
    network = TownletNetwork(town_spec(town.plan), NetworkConfig(), seed=1)
    settings = CaptureSettings(overwrite=True)
    ticks = town.config.ticks * episodes
    record_policy(town, PolicyRuntime(network, seed=1), out, ticks=ticks, seed=1, settings=settings)

    dataset = ReplayDataset(ReplayDatasetConfig.from_capture_dir(out, batch_size=12))
    watch = Returns()
    model = CaptureMaskablePPO.from_dataset(
        dataset,
        policy_kwargs={"features_extractor_class": TownletExtractor},
        batch_size=240,
        n_epochs=4,
        seed=1,
    )
    model.learn(sum(meta.timesteps for meta in dataset.metas), callback=watch)
    mean = sum(watch.seen) / len(watch.seen)
    print(f"{len(watch.seen)} lives, mean return {mean:.3f}; {model.num_timesteps} rows learnt")
    return watch


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for networks this small, and the same bits every time
    main()
