"""Who trains how fast: the native learner's modes, SB3's PPO and MaskablePPO, and the usual way.

Everybody learns the same town with the same network, settings, rollouts and minibatches. A ratio
takes each arm with the number of threads that suits it best; ratios of processor time are those of
one thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.report import Report
from townlet_replay.bench.measure import Arm, Clock, Play, Rate, ratio, timed
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.sb3_runs import train_live
from townlet_replay.training.torch_settings import torch_threads

SCENARIO, MINIBATCH = "shared_flat", 2048
WORLDS, TICKS = 64, 64
THREADS = (1, 2)
SB3, MASKABLE = "SB3 PPO", "SB3 MaskablePPO"
F32, BF16 = "native fused f32", "native fused bf16"
USUAL = "SB3 PPO on MPE2 through SuperSuit"
SHARE = "of SB3 PPO's time inside the town"
NATIVE: dict[str, dict[str, str]] = {
    "native strict_sb3": {"mode": "strict_sb3"},
    "native autograd": {"mode": "autograd"},
    F32: {"mode": "fused"},
    BF16: {"mode": "fused", "precision": "bf16"},
}

Train = Callable[[int], None]
"""Makes so many rollouts, with the updates on them."""


class Learner(NamedTuple):
    """A learner with a number of threads."""

    name: str
    threads: int
    train: Train
    steps: int  # agent steps of a rollout

    @property
    def arm_name(self) -> str:
        """Name in the table of speeds."""
        return f"{self.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def settings(**changes: Any) -> TrainConfig:
    """Return what all learners have in common."""
    live = {"steps": 1, "num_worlds": WORLDS, "rollout_ticks": TICKS}
    ppo = {"minibatch_size": MINIBATCH, "epochs": 4, "target_kl": None}
    return TrainConfig.model_validate({"scenario": SCENARIO, "live": live, "ppo": ppo, **changes})


def native(config: TrainConfig) -> tuple[Train, int]:
    """Return the native learner, warm."""
    harness = TrainingHarness(config)
    harness.run_live()
    steps = WORLDS * TICKS * len(harness.plan.names.residents)
    return lambda rollouts: void(harness.run_live(rollouts * steps)), steps


def void(_: object) -> None:
    """Take a result and keep nothing."""


def stable_baselines(config: TrainConfig) -> tuple[Train, int, Any]:
    """Return a learner of Stable-Baselines3 on the array view of the town, warm, and the view."""
    model = train_live(config)
    venv = model.get_env()
    steps = TICKS * venv.num_envs

    def train(rollouts: int) -> None:
        with torch_threads(config.compute.threads):
            model.learn(rollouts * steps, reset_num_timesteps=False)

    return train, steps, venv


def usual_way(threads: int) -> tuple[Train, int]:
    """Return SB3's PPO on MPE2's simple_spread with 8 agents, the way its users vectorise it."""
    import supersuit
    from mpe2 import simple_spread_v3
    from stable_baselines3 import PPO

    env = simple_spread_v3.parallel_env(N=8, max_cycles=100)
    env = supersuit.pettingzoo_env_to_vec_env_v1(env)
    venv = supersuit.concat_vec_envs_v1(env, 8, num_cpus=1, base_class="stable_baselines3")
    model = PPO("MlpPolicy", venv, n_steps=TICKS, batch_size=MINIBATCH, n_epochs=4, device="cpu")
    steps = TICKS * 64

    def train(rollouts: int) -> None:
        with torch_threads(threads):
            model.learn(rollouts * steps, reset_num_timesteps=False)

    return train, steps


def learners(threads: int) -> list[Learner]:
    """Return all learners with a number of threads."""
    found = []
    for name, learner in ((SB3, "sb3"), (MASKABLE, "sb3-maskable")):
        config = settings(learner=learner, compute={"threads": threads})
        found.append(Learner(name, threads, *stable_baselines(config)[:2]))
    for name, compute in NATIVE.items():
        config = settings(compute={**compute, "threads": threads})
        found.append(Learner(name, threads, *native(config)))
    return found


def play_of(learner: Learner) -> Play:
    """Train for whole rollouts: four in half a second's turn, whatever they take."""

    def play(seconds: float) -> Rate:
        # The slowest by far has nothing to warm up: one rollout tells its speed.
        rollouts = 1 if learner.name == USUAL else max(1, round(8 * seconds))

        def act(clock: Clock) -> int:
            with clock:
                learner.train(rollouts)
            return rollouts * learner.steps

        return timed(act, 0.0001)

    return play


def best(runners: Sequence[Learner], rates: dict[str, list[Rate]]) -> dict[str, Learner]:
    """Return each learner with the number of threads that suits it."""
    found: dict[str, Learner] = {}
    for runner in runners:
        known = found.get(runner.name)
        if known is None or _speed(rates, runner) > _speed(rates, known):
            found[runner.name] = runner
    return found


def _speed(rates: dict[str, list[Rate]], runner: Learner) -> float:
    return statistics.median(rate.wall for rate in rates[runner.arm_name])


def share_of_town(report: Report) -> None:
    """Measure which part of SB3's time passes inside the town."""
    train, _, venv = stable_baselines(settings(learner="sb3", compute={"threads": 1}))
    while hasattr(venv, "venv"):
        venv = venv.venv
    clock, step = Clock(), venv.step_wait

    def step_wait() -> Any:
        with clock:
            return step()

    venv.step_wait = step_wait
    before = time.perf_counter()
    train(max(1, round(8 * report.effort.seconds)))
    share = clock.wall / (time.perf_counter() - before)
    report.figure(SHARE, 100 * share, "%")


def measure(report: Report) -> None:
    """``shared_flat``: 64 worlds of 4 residents, 64 ticks a rollout, 4 epochs of 2,048 rows."""
    runners = [learner for threads in THREADS for learner in learners(threads)]
    runners.append(Learner(USUAL, 2, *usual_way(2)))
    arms = [Arm(runner.arm_name, play_of(runner)) for runner in runners]
    rates = report.take_turns(arms, "learners")
    chosen = best(runners, rates)
    peers = [name for name in (SB3, MASKABLE, USUAL) if name in chosen]
    for name in NATIVE:
        for peer in peers:
            row = ratio(rates[chosen[name].arm_name], rates[chosen[peer].arm_name])
            if peer != USUAL:
                ones = [rates[Learner(who, 1, void, 0).arm_name] for who in (name, peer)]
                row["processor_ratio"] = ratio(*ones)["processor_ratio"]
            about = {"ours": name, "peer": peer, "unit": "agent steps"}
            about["threads"] = f"{chosen[name].threads} / {chosen[peer].threads}"
            report.document["comparisons"].append({**about, **row})
    share_of_town(report)
