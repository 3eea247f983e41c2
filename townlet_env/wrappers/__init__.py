"""PettingZoo wrappers of the town, one effect each."""

from townlet_env.wrappers.scripted_scenario import ScriptedScenario

__all__ = ["ScriptedScenario"]
