"""Record, replay and learn from rollouts of any PettingZoo environment."""
