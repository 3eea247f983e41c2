"""Every view of the town, against the views that others have of theirs."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

import townlet_env  # noqa: F401  (registers Townlet-v0)
from benchmarks.peers import MPE2_3, MPE2_8, SUPERSUIT, SUPERSUIT_SB3, running
from benchmarks.report import Report
from townlet_env import townlet_v0
from townlet_env.config.load import load_scenario
from townlet_env.views.sb3 import make_vec_env
from townlet_env.views.vector import TownletVectorEnv
from townlet_replay.bench.measure import Arm, Clock, Play, timed
from townlet_replay.bench.plays import SEED, parallel, script, slots

TOWN = "town_day"
WORLDS = 128  # of 8 residents: 1,024 slots
DICTS = "PettingZoo parallel, 1 world"
VECTOR = "Gymnasium vector, 1,024 slots"
SB3 = "SB3 VecEnv, 1,024 slots"


def aec(ticks: int = 100) -> Play:
    """One world through the view in which residents act one after the other."""
    env = townlet_v0.env(TOWN)
    told = script(load_scenario(TOWN), ticks)[:, 0].ravel().tolist()

    def act(clock: Clock) -> int:
        env.reset(seed=SEED)
        with clock:
            for order in told:
                env.last()
                env.step(order)
        return len(told)

    return lambda seconds: timed(act, seconds)


def single(ticks: int = 400) -> Play:
    """The Gymnasium view for one resident; the others follow their scripts."""
    env: Any = gymnasium.make("Townlet-v0", scenario=TOWN)

    def act(clock: Clock) -> int:
        env.reset(seed=SEED)
        with clock:
            for _ in range(ticks):
                env.step(0)
        return ticks

    return lambda seconds: timed(act, seconds)


def vector(mode: AutoresetMode) -> Play:
    """The Gymnasium view for many slots, fresh arrays."""
    env = TownletVectorEnv(TOWN, WORLDS, autoreset_mode=mode)
    return slots(env, env.step, env.action_masks)


def sb3() -> Play:
    """The Stable-Baselines3 view, fresh arrays."""
    env = make_vec_env(TOWN, WORLDS)
    return slots(env, env.step, env.action_masks)


def measure(report: Report) -> None:
    """Eight residents of ``town_day``, legal actions of chance drawn off the clock."""
    town = load_scenario(TOWN)
    arms = [
        Arm(DICTS, parallel(lambda: townlet_v0.parallel_env(TOWN), town)),
        Arm("PettingZoo AEC, 1 world", aec()),
        Arm("Gymnasium, 1 resident and 7 scripts", single()),
        Arm(VECTOR, vector(AutoresetMode.NEXT_STEP)),
        Arm(f"{VECTOR}, same-step autoreset", vector(AutoresetMode.SAME_STEP)),
        Arm(SB3, sb3()),
    ]
    with running(report, (MPE2_3, MPE2_8, SUPERSUIT, SUPERSUIT_SB3)) as others:
        rates = report.take_turns([*arms, *others], "views")
    for ours, peer in (
        (DICTS, MPE2_3),
        (DICTS, MPE2_8),
        (VECTOR, SUPERSUIT),
        (SB3, SUPERSUIT_SB3),
    ):
        report.compare(rates, ours, peer.name)
