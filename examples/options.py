"""Learn when to do what: SMDP Q-learning over options that last up to fifteen ticks.

python examples/options.py
"""

from collections import defaultdict

import numpy as np

from townlet_env import townlet_v0
from townlet_env.wrappers import OPTION_NAMES, OptionActions

GAMMA, RATE, EPSILON = 0.99, 0.1, 0.2
Values = dict[tuple[bool, ...], np.ndarray]


def situation(env: OptionActions, seen: dict[str, np.ndarray]) -> tuple[bool, ...]:
    """Return what is told apart: low needs, the state of the shift, what is possible."""
    columns = zip(env.feature_names, seen["features"].tolist(), strict=True)
    told = {name: value > 0.5 for name, value in columns if name.startswith(("need_", "shift_"))}
    return (*told.values(), *seen["action_mask"].astype(bool).tolist())


def choose(values: np.ndarray, mask: np.ndarray, epsilon: float, rng: np.random.Generator) -> int:
    possible = np.flatnonzero(mask)
    if rng.random() < epsilon:
        return int(rng.choice(possible))
    return int(possible[np.argmax(values[possible])])


def live(env: OptionActions, values: Values, seed: int, epsilon: float, learn: bool) -> float:
    """Play an episode in which everybody shares one table; return the mean return."""
    rng = np.random.default_rng(seed)
    observations, _ = env.reset(seed=seed)
    begun: dict[str, tuple[bool, ...]] = {}
    total = 0.0
    while env.agents:
        given = {}
        for name in env.choosing:
            seen = observations[name]
            begun[name] = situation(env, seen)
            given[name] = choose(values[begun[name]], seen["action_mask"], epsilon, rng)
        observations, rewards, terminated, _, infos = env.step(given)
        total += sum(rewards.values())
        for name, info in infos.items():
            if not (learn and info["option_over"]):
                continue
            # Sutton, Precup and Singh (1999), section 3.2: one update per option, not per tick.
            seen = observations[name]
            ahead = values[situation(env, seen)][seen["action_mask"] == 1].max()
            target = info["option_return"]
            if not terminated[name]:
                target += GAMMA ** info["option_ticks"] * ahead
            old = values[begun[name]]
            old[env.last_actions[name]] += RATE * (target - old[env.last_actions[name]])
    return total / len(env.possible_agents)


def main(episodes: int = 30, scenario: str = "employment_punctuality") -> tuple[float, float]:
    """Return the mean returns of random and of learnt choices."""
    env = OptionActions(townlet_v0.parallel_env(scenario), gamma=GAMMA)
    values: Values = defaultdict(lambda: np.zeros(len(OPTION_NAMES)))
    tests = range(1_000, 1_005)  # seeds that nothing is learnt on
    chance = float(np.mean([live(env, values, seed, 1.0, learn=False) for seed in tests]))
    for seed in range(episodes):
        live(env, values, seed, EPSILON, learn=True)
    learnt = float(np.mean([live(env, values, seed, 0.0, learn=False) for seed in tests]))
    print(f"mean return: {chance:.3f} at random, {learnt:.3f} after {episodes} episodes")
    return chance, learnt


if __name__ == "__main__":
    main()
