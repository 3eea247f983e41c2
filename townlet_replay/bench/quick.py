"""The speed of the main parts on this machine, in half a minute.

``make bench`` measures against peers and takes a quarter of an hour; this tells a user what to
expect. Parts take turns, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from townlet_env import townlet_v0
from townlet_env.config.load import load_scenario
from townlet_env.config.schema import TownConfig
from townlet_env.views.vector import TownletVectorEnv
from townlet_replay.bench.measure import Arm, Clock, Effort, Play, alternate, speed, timed
from townlet_replay.bench.plays import SEED, core, parallel, script, slots
from townlet_replay.recorder import RecordReplay

WORLDS = 64
TICKS = 200
HALF_A_MINUTE = Effort(rounds=3, seconds=0.5)


class Stage(NamedTuple):
    """Where a part plays."""

    scenario: str  # as the user gave it
    town: TownConfig  # its days cut short
    folder: Path  # for files


class Part(NamedTuple):
    """Something whose speed is shown."""

    name: str
    needs: str | None  # an extra package, or None
    open: Callable[[Stage], Play]


def _core(stage: Stage) -> Play:
    return core(stage.town, WORLDS)


def _one_town(stage: Stage) -> Play:
    return parallel(lambda: townlet_v0.parallel_env(stage.town), stage.town, TICKS)


def _recorded(stage: Stage) -> Play:
    told = script(stage.town, TICKS)[:, 0]
    env = townlet_v0.parallel_env(stage.town)
    orders = [dict(zip(env.possible_agents, row.tolist(), strict=True)) for row in told]
    number = count()

    def act(clock: Clock) -> int:
        with clock:
            recorder = RecordReplay(env, stage.folder / str(next(number)), background=True)
            recorder.reset(seed=SEED)
            for row in orders:
                recorder.step(row)
            recorder.close()
        return told.size

    return lambda seconds: timed(act, seconds)


def _vector(stage: Stage) -> Play:
    env = TownletVectorEnv(stage.town, WORLDS)
    return slots(env, env.step, env.action_masks)


def _sb3(stage: Stage) -> Play:
    from townlet_env.views.sb3 import make_vec_env

    env = make_vec_env(stage.town, WORLDS)
    return slots(env, env.step, env.action_masks)


def _native_ppo(stage: Stage) -> Play:
    from townlet_replay.training.config import TrainConfig
    from townlet_replay.training.harness import TrainingHarness

    live = {"steps": 1, "num_worlds": WORLDS, "rollout_ticks": 32}
    settings = {"scenario": stage.scenario, "live": live, "compute": {"mode": "fused"}}
    harness = TrainingHarness(TrainConfig.model_validate(settings))
    steps = WORLDS * 32 * len(harness.plan.names.residents)

    def act(clock: Clock) -> int:
        with clock:
            harness.run_live(steps)
        return steps

    return lambda seconds: timed(act, seconds)


PARTS = (
    Part(f"core, {WORLDS} worlds", None, _core),
    Part("PettingZoo view, one world", None, _one_town),
    Part("PettingZoo view, recorded", None, _recorded),
    Part(f"Gymnasium vector view, {WORLDS} worlds", None, _vector),
    Part(f"Stable-Baselines3 view, {WORLDS} worlds", "stable_baselines3", _sb3),
    Part("native PPO, rollouts and updates", "torch", _native_ppo),
)


class Speeds(NamedTuple):
    """Rows as ``measure.speed`` gives them, and what could not be measured, with the reason."""

    rows: list[dict[str, Any]]
    left_out: dict[str, str]


def quick(
    scenario: str = "town_day",
    effort: Effort = HALF_A_MINUTE,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Speeds:
    """Measure every part that is installed.

    Args:
        scenario: Name of a scenario, or the path of one.
        effort: Rounds, and seconds per part and round.
        track: Shows the progress of the rounds.

    Returns:
        Agent steps per second of every part: residents x worlds x ticks.
    """
    town = load_scenario(scenario, {"ticks": TICKS, "expect": []})
    arms, left_out = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(PARTS):
            if part.needs is not None and find_spec(part.needs) is None:
                left_out[part.name] = f"{part.needs} is not installed"
                continue
            stage = Stage(scenario, town, Path(folder) / str(number))
            arms.append(Arm(part.name, part.open(stage)))
        rates = alternate(arms, effort, track)
    return Speeds([speed(name, found) for name, found in rates.items()], left_out)
