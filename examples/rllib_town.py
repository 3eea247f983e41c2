"""Train RLlib's PPO: every resident is played by one module, which heeds the action masks.

make examples
"""

import logging
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo.utils import BaseParallelWrapper
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.tune.registry import register_env

from townlet_env import townlet_v0


class Rows(BaseParallelWrapper):
    """Observations as RLlib's masking module reads them: one row, and the mask beside it."""

    def observation_space(self, agent: str) -> spaces.Dict:
        inner = super().observation_space(agent)
        width = int(np.prod(inner["map"].shape)) + inner["features"].shape[0]
        row = spaces.Box(-np.inf, np.inf, (width,), np.float32)
        mask = spaces.Box(0.0, 1.0, inner["action_mask"].shape, np.float32)
        return spaces.Dict({"observations": row, "action_mask": mask})

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple:
        seen, infos = self.env.reset(seed=seed, options=options)
        return rows(seen), infos

    def step(self, actions: dict) -> tuple:
        seen, *others = self.env.step({agent: int(action) for agent, action in actions.items()})
        return rows(seen), *others


def rows(seen: dict[str, dict]) -> dict[str, dict]:
    return {
        agent: {
            "observations": np.append(now["features"], now["map"]).astype(np.float32),
            "action_mask": now["action_mask"].astype(np.float32),
        }
        for agent, now in seen.items()
    }


def main(iterations: int = 2, seed: int = 1) -> list[float]:
    """Return the mean return of a town's episodes in every iteration."""

    def town(_: Any) -> ParallelPettingZooEnv:
        return ParallelPettingZooEnv(Rows(townlet_v0.parallel_env("shared_flat", max_ticks=100)))

    register_env("townlet", town)
    module = RLModuleSpec(ActionMaskingTorchRLModule, model_config={"fcnet_hiddens": [64, 64]})
    config = (
        PPOConfig()
        .environment("townlet")
        .env_runners(num_env_runners=0)
        .multi_agent(policies={"resident"}, policy_mapping_fn=lambda *_, **__: "resident")
        .rl_module(rl_module_spec=module)
        .training(train_batch_size_per_learner=1000, minibatch_size=250, num_epochs=2)
        .debugging(seed=seed, log_level="ERROR")
    )
    algorithm, returns = config.build_algo(), []
    for iteration in range(iterations):
        found = algorithm.train()["env_runners"]
        returns.append(float(found["episode_return_mean"]))
        print(f"iteration {iteration}: {returns[-1]:+.2f} a town's episode")
    algorithm.stop()
    return returns


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
