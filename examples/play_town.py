"""Play one episode at random and tell what happened in it.

python examples/play_town.py
"""

from collections import Counter

import numpy as np

from townlet_env import townlet_v0


def main(seed: int = 7) -> Counter[str]:
    """Return how often each event happened."""
    env = townlet_v0.parallel_env(scenario="queue_conflict", details=True)
    rng = np.random.default_rng(seed)
    observations, infos = env.reset(seed=seed)
    returns = dict.fromkeys(env.possible_agents, 0.0)
    happened: Counter[str] = Counter()
    while env.agents:
        actions = {
            agent: int(rng.choice(np.flatnonzero(seen["action_mask"])))
            for agent, seen in observations.items()
        }
        observations, rewards, _, _, infos = env.step(actions)
        for agent, reward in rewards.items():
            returns[agent] += reward
        happened.update(event.event for event in env.events())

    for agent, total in returns.items():
        parts = dict(zip(env.reward_components, infos[agent]["reward_components"], strict=True))
        worst = min(parts, key=parts.__getitem__)
        print(f"{agent}: return {total:.3f}; in the last tick {worst} cost most")
    for event, times in happened.most_common():
        print(f"{times:4} {event}")
    return happened


if __name__ == "__main__":
    main()
