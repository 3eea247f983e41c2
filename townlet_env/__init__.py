"""A small town of residents as a multi-agent environment.

Importing this package enters the town into PettingZoo's registry::

    pettingzoo.make("parallel", "townlet/townlet-v0", scenario="queue_conflict")
"""

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
