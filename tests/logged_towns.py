"""The town that action logs are recorded in: people die, newcomers come, time runs out."""

from env.mortal import MORTAL

from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv

SCENARIO = "queue_conflict"


def town(**options):
    return TownletParallelEnv(load_scenario(SCENARIO, {**MORTAL, "ticks": 40}), **options)


def unsealed(document):
    """The bytes of a document without its last line, its own SHA-256."""
    return document[: document.rindex(b',\n"sha256"')] + b"\n}\n"
