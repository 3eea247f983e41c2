"""Train with tianshou: its PettingZooEnv, a DQN for every resident, and action masks.

make examples
"""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pettingzoo.utils import BaseWrapper
from tianshou.algorithm import DQN, MultiAgentOffPolicyAlgorithm
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, PettingZooEnv
from tianshou.utils.net.common import Net
from tianshou.utils.torch_utils import policy_within_training_step, torch_train_mode

from townlet_env import townlet_v0


class Rows(BaseWrapper):
    """Observations as tianshou reads them: one row, and the mask beside it."""

    def observation_space(self, agent: str) -> spaces.Dict:
        inner = super().observation_space(agent)
        width = int(np.prod(inner["map"].shape)) + inner["features"].shape[0]
        row = spaces.Box(-np.inf, np.inf, (width,), np.float32)
        return spaces.Dict({"observation": row, "action_mask": inner["action_mask"]})

    def observe(self, agent: str) -> dict[str, Any]:
        seen = super().observe(agent)
        row = np.append(seen["features"], seen["map"]).astype(np.float32)
        return {"observation": row, "action_mask": seen["action_mask"]}


def town() -> PettingZooEnv:
    return PettingZooEnv(Rows(townlet_v0.env("shared_flat", max_ticks=100)))


def learner(env: PettingZooEnv) -> DQN:
    row = env.observation_space["observation"]
    model = Net(state_shape=row.shape, action_shape=env.action_space.n, hidden_sizes=(64,))
    policy = DiscreteQLearningPolicy(
        model=model, action_space=env.action_space, eps_training=0.2, eps_inference=0.0
    )
    return DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3), target_update_freq=20)


def main(rounds: int = 3, updates: int = 10, seed: int = 1) -> int:
    """Return how many residents' steps were collected; each round collects and learns."""
    np.random.seed(seed)  # noqa: NPY002 -- tianshou explores by NumPy's global generator
    torch.manual_seed(seed)
    env = town()
    crew = MultiAgentOffPolicyAlgorithm(algorithms=[learner(env) for _ in env.agents], env=env)
    towns = DummyVectorEnv([town, town])
    buffer = VectorReplayBuffer(20_000, len(towns))
    collector = Collector(crew, towns, buffer, exploration_noise=True)
    collector.reset(gym_reset_kwargs={"seed": seed})
    for number in range(rounds):
        with policy_within_training_step(crew.policy):
            found = collector.collect(n_step=400)
            with torch_train_mode(crew):
                stats = [crew.update(buffer, sample_size=128) for _ in range(updates)]
        losses = [
            value for name, value in stats[-1].get_loss_stats_dict().items() if "loss" in name
        ]
        print(f"round {number}: {found.n_collected_steps} steps, mean loss {np.mean(losses):.4f}")
    kept, _ = buffer.sample(0)
    legal = kept.obs.mask[np.arange(len(kept)), kept.act.astype(int)].all()
    print(f"{len(kept)} steps kept, all legal: {bool(legal)}")
    return len(kept)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
