"""Export a capture to Minari, and clone from Minari's data set with plain torch.

python examples/minari_bc.py
"""

import os
from pathlib import Path

import minari
import numpy as np
import torch
from torch import nn

from townlet_env.config.load import load_scenario
from townlet_replay.capture import CaptureSettings, capture_scenario
from townlet_replay.exchange import export_capture


def main(out: Path = Path("captures/minari"), episodes: int = 8, passes: int = 30) -> float:
    """Return how often the clone does what the script did, on lives it has not seen."""
    settings = CaptureSettings(episodes=episodes)
    capture_scenario(load_scenario("employment_punctuality"), out / "capture", settings)
    export_capture(out / "capture", "minari", out / "datasets" / "punctual-v0")

    os.environ["MINARI_DATASETS_PATH"] = str((out / "datasets").resolve())
    lives = list(minari.load_dataset("punctual-v0").iterate_episodes())
    held_out, taught = lives[: len(lives) // 4], lives[len(lives) // 4 :]

    rows, mask, actions = tensors(taught)
    torch.manual_seed(1)
    policy = nn.Sequential(nn.Linear(rows.shape[1], 128), nn.ReLU(), nn.Linear(128, mask.shape[1]))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    for _ in range(passes):
        for batch in torch.randperm(len(rows)).split(256):
            logits = policy(rows[batch]).masked_fill(mask[batch] == 0, -1e8)
            loss = nn.functional.cross_entropy(logits, actions[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    rows, mask, actions = tensors(held_out)
    chosen = policy(rows).masked_fill(mask == 0, -1e8).argmax(1)
    agreement = (chosen == actions).float().mean().item()
    print(f"{len(taught)} lives taught; agreement on {len(held_out)} others: {agreement:.0%}")
    return agreement


def tensors(lives: list) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return rows, masks and actions; Minari keeps one observation more than actions."""
    seen = [(life.observations, len(life.actions)) for life in lives]
    flat = [np.concatenate([o["features"][:n], o["map"][:n].reshape(n, -1)], 1) for o, n in seen]
    masks = [life.infos["action_mask"][: len(life.actions)] for life in lives]
    parts = (
        np.concatenate(flat),
        np.concatenate(masks),
        np.concatenate([x.actions for x in lives]),
    )
    return tuple(torch.from_numpy(part) for part in parts)


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for networks this small, and the same bits every time
    main()
