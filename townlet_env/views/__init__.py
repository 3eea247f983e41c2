"""Faces of one core: PettingZoo, Stable-Baselines3."""
