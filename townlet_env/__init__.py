"""A small town of residents as a multi-agent environment.

Importing this package enters the town into the registries of PettingZoo and Gymnasium::

    pettingzoo.make("parallel", "townlet/townlet-v0", scenario="queue_conflict")
    gymnasium.make("Townlet-v0", scenario="queue_conflict", resident="anna")
"""

import gymnasium
import pettingzoo

from townlet_env.errors import (
    ActionError,
    ConfigError,
    ResetNeeded,
    SnapshotError,
    TownletError,
)

__version__ = "0.1.0"
__all__ = ["ActionError", "ConfigError", "ResetNeeded", "SnapshotError", "TownletError"]

pettingzoo.register(
    "parallel", "townlet/townlet-v0", entry_point="townlet_env.townlet_v0:parallel_env"
)
pettingzoo.register("aec", "townlet/townlet-v0", entry_point="townlet_env.townlet_v0:env")
gymnasium.register(
    "Townlet-v0",
    entry_point="townlet_env.views.gym:TownletEnv",
    vector_entry_point="townlet_env.views.vector:make_batch",
)
