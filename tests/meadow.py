"""A toy with deaths, cuts and masks for the learners of Stable-Baselines3."""

import gymnasium
import numpy as np
from gymnasium import spaces

MOVES = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])


class Meadow(gymnasium.Env):
    """Four by four cells; energy runs out (death) unless food is reached, days end (cut)."""

    observation_space = spaces.Dict(
        {
            "features": spaces.Box(-1, 1, (4,), np.float32),
            "map": spaces.Box(0, 1, (2, 4, 4), np.uint8),
        }
    )
    action_space = spaces.Discrete(5)

    def __init__(self, day):
        self.day = day

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.food = self.np_random.integers(0, 4, (2, 2))
        self.energy, self.tick = 9, 0
        return self.observe(), {}

    def action_masks(self):
        target = self.cell + MOVES
        return ((target >= 0) & (target < 4)).all(axis=1)

    def observe(self):
        town = np.zeros((2, 4, 4), np.uint8)
        town[0, *self.cell], town[1, *self.food] = 1, 1
        scalars = [self.energy / 9, self.tick / self.day, *(self.food - self.cell) / 3]
        return {"features": np.array(scalars, np.float32), "map": town}

    def step(self, action):
        if self.action_masks()[action]:
            self.cell = self.cell + MOVES[action]
        self.tick, self.energy = self.tick + 1, self.energy - 1
        reward = 0.1 * float(self.np_random.normal())
        if (self.cell == self.food).all():
            self.food, self.energy, reward = self.np_random.integers(0, 4, 2), 9, reward + 1
        dead = self.energy == 0
        return self.observe(), reward - dead, dead, not dead and self.tick >= self.day, {}
