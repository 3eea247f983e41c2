"""Turn a capture into the layout of TorchRL: a row is a transition, what followed is under "next".

python examples/capture_to_tensordict.py

With tensordict installed: TensorDict(transitions(capture), batch_size=[N]).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from townlet_env.config.load import load_scenario
from townlet_replay import ReplaySample, load_capture
from townlet_replay.capture import CaptureSettings, capture_scenario


def transitions(capture: str | Path) -> dict[str, Any]:
    """Return the transitions of all lives, with the names that TorchRL's losses look for."""
    samples = list(load_capture(capture))
    keys = samples[0].observations
    column = {name: rows(samples, name) for name in ("rewards", "terminations", "truncations")}
    return {
        "observation": {key: joined([s.observations[key] for s in samples]) for key in keys},
        "action": joined([s.actions for s in samples]),
        "action_mask": joined([s.action_mask.astype(bool) for s in samples]),
        "action_log_prob": joined([s.old_log_probs for s in samples]),
        "state_value": joined([s.value_preds[:-1] for s in samples])[:, None],
        "collector": {"traj_ids": joined([np.full(s.rows, i) for i, s in enumerate(samples)])},
        "next": {
            "observation": {key: joined([followed(s, key) for s in samples]) for key in keys},
            "state_value": joined([s.value_preds[1:] for s in samples])[:, None],
            "reward": column["rewards"],
            "terminated": column["terminations"],
            "truncated": column["truncations"],
            "done": column["terminations"] | column["truncations"],
        },
    }


def followed(sample: ReplaySample, key: str) -> np.ndarray:
    """Return what was seen after every row: the next row, and the final observation."""
    return np.concatenate([sample.observations[key][1:], sample.final_observation[key][None]])


def rows(samples: list[ReplaySample], name: str) -> torch.Tensor:
    """Return an array of all rows with the last axis of one that TorchRL wants."""
    return joined([sample.array(name) for sample in samples])[:, None]


def joined(arrays: list[np.ndarray]) -> torch.Tensor:
    """Return the arrays of all lives as one tensor."""
    return torch.from_numpy(np.concatenate(arrays))


def main(out: Path = Path("captures/noisy"), episodes: int = 4) -> dict[str, Any]:
    """Record a noisy script and return its transitions."""
    settings = CaptureSettings(epsilon=0.1, episodes=episodes, overwrite=True)
    capture_scenario(load_scenario("queue_conflict"), out, settings)
    data = transitions(out)
    print(f"{len(data['action'])} transitions of {int(data['next']['done'].sum())} lives")
    return data


if __name__ == "__main__":
    main()
