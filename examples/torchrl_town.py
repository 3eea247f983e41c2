"""Train TorchRL's PPO: its PettingZooWrapper, residents as one group, and action masks.

make examples
"""

import torch
from tensordict.nn import InteractionType, TensorDictModule
from torch import nn
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from townlet_env import townlet_v0

GROUP = "residents"


class Rows(nn.Module):
    """A network over map and features, laid into one row per resident."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, outputs))

    def forward(self, grid: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([grid.flatten(-3).float(), features], dim=-1))


def main(updates: int = 3, ticks: int = 100, seed: int = 1) -> list[float]:
    """Return the mean reward of an agent step in every update."""
    torch.manual_seed(seed)
    town = townlet_v0.parallel_env("shared_flat", max_ticks=ticks)
    names = list(town.possible_agents)
    env = PettingZooWrapper(town, use_mask=True, group_map={GROUP: names}, seed=seed)
    seen = [(GROUP, "observation", "map"), (GROUP, "observation", "features")]
    space = town.observation_space(names[0])
    width = space["map"].shape[0] * 121 + space["features"].shape[0]
    scores = Rows(width, int(town.action_space(names[0]).n))
    actor = ProbabilisticActor(
        TensorDictModule(scores, in_keys=seen, out_keys=[(GROUP, "logits")]),
        in_keys={"logits": (GROUP, "logits"), "mask": (GROUP, "action_mask")},
        out_keys=[(GROUP, "action")],
        distribution_class=MaskedCategorical,
        default_interaction_type=InteractionType.RANDOM,
        return_log_prob=True,
        log_prob_key=(GROUP, "log_prob"),
    )
    value = (GROUP, "state_value")
    critic = ValueOperator(Rows(width, 1), in_keys=seen, out_keys=[value])
    ends = {name: (GROUP, name) for name in ("reward", "done", "terminated")}
    gains = GAE(gamma=0.99, lmbda=0.95, value_network=critic, time_dim=0)
    gains.set_keys(**ends, value=value)
    loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01)
    loss.set_keys(
        **ends, action=(GROUP, "action"), sample_log_prob=(GROUP, "log_prob"), value=value
    )
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    means: list[float] = []
    for update in range(updates):
        with torch.no_grad():
            data = gains(env.rollout(ticks, actor))
        for _ in range(4):
            terms = loss(data)
            total = terms["loss_objective"] + terms["loss_critic"] + terms["loss_entropy"]
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        means.append(data["next", GROUP, "reward"].mean().item())
        legal = data[GROUP, "action_mask"].gather(-1, data[GROUP, "action"].unsqueeze(-1)).all()
        print(f"update {update}: {means[-1]:+.4f} an agent step, all legal: {bool(legal)}")
    return means


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
