"""Train MaskablePPO live in many towns at once; one resident learns, the others follow scripts.

python examples/sb3_live.py
"""

import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks

from townlet_env.views.sb3 import make_vec_env
from townlet_replay.training.sb3 import TownletExtractor


def main(steps: int = 40_000, num_worlds: int = 8) -> MaskablePPO:
    """Return the trained model."""
    towns = make_vec_env("employment_punctuality", num_worlds, seed=0, learners=["dawn"])
    model = MaskablePPO(
        "MultiInputPolicy",
        towns,
        n_steps=160,
        batch_size=256,
        policy_kwargs={"features_extractor_class": TownletExtractor},
        seed=0,
    )
    model.learn(steps)

    observations, total = towns.reset(), 0.0
    for _ in range(towns.config.ticks):
        masks = get_action_masks(towns)
        actions, _ = model.predict(observations, action_masks=masks, deterministic=True)
        observations, rewards, _, _ = towns.step(actions)
        total += float(rewards.sum())
    print(f"dawn, greedy: {total / num_worlds:.3f} per episode")
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for networks this small, and the same bits every time
    main()
