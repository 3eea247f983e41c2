"""Turn a capture into the arrays of d3rlpy's MDPDataset, for offline learners such as CQL.

python examples/capture_to_d3rlpy.py

With d3rlpy installed: d3rlpy.dataset.MDPDataset(**arrays, action_size=...). d3rlpy knows no action
masks and no log-probs. It never pairs the last row of a life that was cut off with what followed.
"""

from pathlib import Path

import numpy as np

from townlet_env.config.load import load_scenario
from townlet_replay import load_capture
from townlet_replay.capture import CaptureSettings, capture_scenario
from townlet_replay.rollout import pack


def mdp_arrays(capture: str | Path) -> dict[str, np.ndarray]:
    """Return observations (N, D), actions, rewards, terminals and timeouts (N,) of all lives."""
    rollout = pack(list(load_capture(capture)), use_masks=False)
    rows = len(rollout.rewards)
    parts = [array.reshape(rows, -1) for _, array in sorted(rollout.observations.items())]
    return {
        "observations": np.concatenate([part.astype(np.float32) for part in parts], axis=1),
        "actions": rollout.actions,
        "rewards": rollout.rewards,
        "terminals": rollout.terminations.astype(np.float32),
        "timeouts": rollout.truncations.astype(np.float32),  # never where terminals are
    }


def main(out: Path = Path("captures/noisy"), episodes: int = 4) -> dict[str, np.ndarray]:
    """Record a noisy script and return the arrays."""
    settings = CaptureSettings(epsilon=0.1, episodes=episodes, overwrite=True)
    capture_scenario(load_scenario("queue_conflict"), out, settings)
    arrays = mdp_arrays(out)
    ends = int(arrays["terminals"].sum() + arrays["timeouts"].sum())
    rows, width = arrays["observations"].shape
    print(f"{rows} steps of {width} numbers in {ends} episodes")
    return arrays


if __name__ == "__main__":
    main()
