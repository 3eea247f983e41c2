"""Record another PettingZoo environment, and read the capture with NumPy alone.

python examples/record_any_environment.py
"""

import json
import math
from pathlib import Path

import numpy as np
from mpe2 import simple_spread_v3

from townlet_replay import RecordReplay


def record(out: Path, episodes: int) -> None:
    """Let a uniformly random policy play, with the log-probs it knows exactly."""
    rng = np.random.default_rng(0)
    with RecordReplay(simple_spread_v3.parallel_env(max_cycles=25), out, overwrite=True) as env:
        for episode in range(episodes):
            env.reset(seed=episode)
            while env.agents:
                sizes = {agent: int(env.action_space(agent).n) for agent in env.agents}
                env.annotate(log_probs={agent: -math.log(size) for agent, size in sizes.items()})
                env.step({agent: int(rng.integers(size)) for agent, size in sizes.items()})


def main(out: Path = Path("captures/spread"), episodes: int = 3) -> float:
    """Return the mean return of the recorded samples."""
    record(out, episodes)
    manifest = json.loads((out / "rollout_sample_manifest.json").read_text())
    returns = []
    for entry in manifest["samples"]:
        with np.load(out / entry["sample"], allow_pickle=False) as arrays:
            returns.append(float(arrays["rewards"].sum()))
            shape = arrays["observation"].shape
        print(f"{entry['agent_id']}, episode {entry['episode_id']}: {shape}, {returns[-1]:.2f}")
    return sum(returns) / len(returns)


if __name__ == "__main__":
    main()
