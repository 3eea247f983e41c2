"""What ``townlet evaluate`` prints: a network beside the script and chance, on common seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.config.schema import TownConfig
from townlet_env.sim.plan import Plan
from townlet_replay.capture import town_spec
from townlet_replay.errors import CheckpointError, TrainingError
from townlet_replay.evaluation import Actor, evaluate, network_actor, sb3_actor, script_actor
from townlet_replay.policy.checkpoint import load_checkpoint

ActorOf = Callable[[Plan], Actor]


class Score(NamedTuple):
    """One actor on one scenario."""

    scenario: str
    who: str  # sampled, greedy, script or random
    mean_return: float  # per resident and episode
    kpis: dict[str, float]  # see evaluation.KPIS


class Steps(Protocol):
    """Shows progress."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Move on."""


def score_checkpoint(
    path: Path, scenarios: Sequence[str], seeds: Sequence[int], steps: Steps
) -> list[Score]:
    """Play scenarios with a saved network, sampled and greedy, then by script and at random.

    Args:
        path: A checkpoint of the native trainer, or a zip that Stable-Baselines3 saved. A zip is
            unpickled: open only your own.
        scenarios: Names or files; by default the scenario of the training, which a zip does not
            tell.
        seeds: One episode each, the same for everybody.
        steps: Shows progress, one per line of the result.

    Raises:
        CheckpointError: The file is damaged or does not fit a scenario.
        TrainingError: There is no scenario.
    """
    names = list(scenarios) or [_scenario_of(path)]
    found = []
    for name in names:
        config = load_scenario(name)
        actors = {
            "sampled": _actor(path, config, greedy=False),
            "greedy": _actor(path, config, greedy=True),
            "script": script_actor(config),
            "random": script_actor(config, "random"),
        }
        for who, actor in actors.items():
            result = evaluate(config, actor, seeds)
            found.append(Score(config.name, who, result.mean, result.kpis))
            steps.advance(note=f"{config.name} {who}")
    return found


def _scenario_of(path: Path) -> str:
    said = None if path.suffix == ".zip" else load_checkpoint(path).header.training.get("scenario")
    if not isinstance(said, str):
        raise TrainingError(f"{path}: does not say what it was trained on; give --scenario")
    return said


def _actor(path: Path, config: TownConfig, *, greedy: bool) -> ActorOf:
    if path.suffix != ".zip":
        spec = town_spec(compile_plan(config))
        network = load_checkpoint(path, observation=spec).network
        return network_actor(network, seed=0, greedy=greedy)
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a zip of Stable-Baselines3, found no file")
    from townlet_replay.training.sb3_runs import load_model

    return sb3_actor(load_model(path), seed=0, greedy=greedy)
