"""Scripted behaviours: schedules, needs, chance; own ones by ``register_policy``."""

from townlet_env.policies.crew import Crew
from townlet_env.policies.policy import Policy, Seat, Sight
from townlet_env.policies.registry import policy_names, register_policy

__all__ = ["Crew", "Policy", "Seat", "Sight", "policy_names", "register_policy"]
