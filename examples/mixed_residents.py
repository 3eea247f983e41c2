"""Some residents follow their scripts, some are played by a network: a town of both.

python examples/mixed_residents.py
"""

import torch

from townlet_env import townlet_v0
from townlet_env.wrappers import ScriptedScenario
from townlet_replay import PolicyRuntime
from townlet_replay.capture import town_spec
from townlet_replay.policy.network import NetworkConfig, TownletNetwork


def main(learners: tuple[str, ...] = ("ana", "ben"), seed: int = 3) -> dict[str, float]:
    """Return everybody's return; the network is fresh, so the scripts should fare better."""
    town = townlet_v0.parallel_env("shared_flat")
    env = ScriptedScenario(town, learners=learners)
    policy = PolicyRuntime(TownletNetwork(town_spec(town.plan), NetworkConfig(), seed=1), seed=1)

    returns = dict.fromkeys(town.possible_agents, 0.0)
    observations, _ = env.reset(seed=seed)
    while env.agents:
        mine = {agent: observations[agent] for agent in env.agents if agent in env.controlled}
        observations, rewards, *_ = env.step(policy.act(mine).actions)
        for agent, reward in rewards.items():
            returns[agent] += float(reward)
    for agent, total in returns.items():
        print(f"{total:8.2f}  {agent}, {'learner' if agent in learners else 'script'}")
    return returns


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for networks this small, and the same bits every time
    main()
