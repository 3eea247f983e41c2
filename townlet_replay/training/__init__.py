"""Learning from captures and live: native PPO, behaviour cloning, Stable-Baselines3."""
