"""PettingZoo wrappers of the town, one effect each."""

from townlet_env.wrappers.option_actions import OptionActions
from townlet_env.wrappers.option_runs import OPTION_ENDS
from townlet_env.wrappers.options import OPTION_NAMES
from townlet_env.wrappers.scripted_scenario import ScriptedScenario

__all__ = ["OPTION_ENDS", "OPTION_NAMES", "OptionActions", "ScriptedScenario"]
