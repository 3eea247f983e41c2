"""PPO in one file, in the style of CleanRL: plain torch over the vector view, nothing else.

python examples/cleanrl_style.py
"""

from itertools import chain

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

from townlet_env.views.vector import TownletVectorEnv

GAMMA, LAMBDA, CLIP, EPOCHS = 0.99, 0.95, 0.2, 4


def networks(inputs: int, actions: int) -> nn.ModuleDict:
    body = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    heads = {"actor": nn.Linear(64, actions), "critic": nn.Linear(64, 1)}
    return nn.ModuleDict({"body": body, **heads})


def judge(nets: nn.ModuleDict, rows: torch.Tensor, mask: torch.Tensor) -> tuple:
    scores, values = (nets[head](nets["body"](rows)) for head in ("actor", "critic"))
    return Categorical(logits=scores.masked_fill(mask == 0, -1e8)), values.squeeze(-1)


def flat(seen: dict) -> torch.Tensor:
    parts = [seen["features"], seen["map"].reshape(len(seen["map"]), -1)]
    return torch.from_numpy(np.concatenate(parts, axis=1, dtype=np.float32))


def main(updates: int = 10, steps: int = 80, num_worlds: int = 32, seed: int = 1) -> list[float]:
    """Return the mean return of a life in every update; a life here lasts all 80 ticks."""
    torch.manual_seed(seed)
    towns = TownletVectorEnv("employment_punctuality", num_worlds=num_worlds)  # masks: in infos
    seen, infos = towns.reset(seed=seed)
    nets = networks(flat(seen).shape[1], towns.single_action_space.n)
    optimizer = torch.optim.Adam(nets.parameters(), lr=1e-3, eps=1e-5)
    means: list[float] = []
    for update in range(updates):
        kept = []
        for _ in range(steps):
            row, mask = flat(seen), torch.from_numpy(infos["action_mask"])
            with torch.no_grad():
                policy, value = judge(nets, row, mask)
                action = policy.sample()
            seen, reward, died, cut, infos = towns.step(action.numpy())
            # A slot that ended opens its next episode one step later: no row was acted in that.
            facts = map(torch.from_numpy, (reward, died, died | cut, infos["active"]))
            kept.append((row, mask, action, policy.log_prob(action), value, *facts))
        stacked = map(torch.stack, zip(*kept, strict=True))
        rows, masks, acts, logps, values, rewards, died, over, active = stacked
        with torch.no_grad():
            following = judge(nets, flat(seen), torch.from_numpy(infos["action_mask"]))[1]
        gains, last = torch.zeros_like(values), torch.zeros_like(following)
        for t in reversed(range(steps)):  # a cut has a value behind it, a death has none
            delta = rewards[t].float() + GAMMA * following * ~died[t] - values[t]
            last = delta + GAMMA * LAMBDA * ~over[t] * last
            gains[t], following = last, values[t]
        every = (rows, masks, acts, logps, values, gains)
        row, mask, act, logp, value, gain = (part[active.bool()] for part in every)
        for batch in chain(*(torch.randperm(len(row)).split(512) for _ in range(EPOCHS))):
            policy, now = judge(nets, row[batch], mask[batch])
            ratio = (policy.log_prob(act[batch]) - logp[batch]).exp()
            scaled = (gain[batch] - gain[batch].mean()) / (gain[batch].std() + 1e-8)
            clipped = torch.min(scaled * ratio, scaled * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
            loss = 0.5 * (gain[batch] + value[batch] - now).pow(2).mean() - clipped
            optimizer.zero_grad()
            (loss - 0.01 * policy.entropy().mean()).backward()
            optimizer.step()
        means.append(towns.config.ticks * rewards[active.bool()].mean().item())
        print(f"update {update}: {len(row)} agent steps, {means[-1]:+.3f} a life")
    return means


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for networks this small, and the same bits every time
    main()
