"""One peer in a process of its own: ``python peer_worker.py NAME``.

Imports nothing of Townlet before it is asked to play it, so that it runs in a peer's own
environment as well. It writes a line of JSON when the peer is ready; then, for every line with a
number of seconds that it reads, plays that long and writes how many agent steps a second that was,
by the wall's and the processor's clock.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Round = Callable[[], int]
"""Some steps; returns how many agent steps they were."""


def parallel(env: Any, ticks: int = 50) -> Round:
    """A PettingZoo parallel environment with random actions, drawn beforehand."""
    env.reset(seed=0)
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(number)
    spaces = {agent: env.action_space(agent) for agent in env.possible_agents}
    orders = [{agent: space.sample() for agent, space in spaces.items()} for _ in range(ticks)]

    def play() -> int:
        steps = 0
        for told in orders:
            if not env.agents:
                env.reset()
            steps += len(env.agents)
            env.step({agent: told[agent] for agent in env.agents})
        return steps

    return play


def arrays(env: Any, slots: int, actions: int, ticks: int = 4) -> Round:
    """A vector environment with random actions, drawn beforehand."""
    env.reset()
    rng = np.random.default_rng(0)
    orders = rng.integers(0, actions, (ticks, slots)).astype(np.int32)

    def play() -> int:
        for told in orders:
            env.step(told)
        return ticks * slots

    return play


def mpe2_spread(agents: int) -> Round:
    """MPE2's simple_spread through its own parallel view."""
    from mpe2 import simple_spread_v3

    return parallel(simple_spread_v3.parallel_env(N=agents, max_cycles=1000))


def sisl_pursuit() -> Round:
    """PettingZoo's pursuit, 8 agents, windows of 7 x 7 x 3."""
    from pettingzoo.sisl import pursuit_v5

    return parallel(pursuit_v5.parallel_env(max_cycles=1000), ticks=4)


def supersuit_spread(kind: str) -> Round:
    """The usual way from PettingZoo to arrays: 8 copies of simple_spread with 8 agents."""
    import supersuit
    from mpe2 import simple_spread_v3

    env = simple_spread_v3.parallel_env(N=8, max_cycles=100)
    env = supersuit.pettingzoo_env_to_vec_env_v1(env)
    env = supersuit.concat_vec_envs_v1(env, 8, num_cpus=1, base_class=kind)
    return arrays(env, 64, 5)


def envpool_minigrid() -> Round:
    """EnvPool's MiniGrid in C++, 256 worlds of one agent, windows of 7 x 7 x 3."""
    import envpool

    make = envpool.make
    env = make("MiniGrid-Empty-16x16-v0", env_type="gymnasium", num_envs=256, num_threads=1)
    return arrays(env, 256, 3)


def mettagrid_arena() -> Round:
    """Mettagrid's C++ arena, 8 agents, 32 worlds in turn."""
    from mettagrid.builder.envs import make_arena
    from mettagrid.simulator import Simulation

    worlds = [Simulation(make_arena(num_agents=8), seed=seed) for seed in range(32)]
    actions = len(worlds[0].action_names)
    orders = np.random.default_rng(0).integers(0, actions, (32, 8))

    def play() -> int:
        for world, told in zip(worlds, orders, strict=True):
            world._c_sim.actions()[:] = told
            world.step()
        return orders.size

    return play


def townlet_gymnasium(collected: bool) -> Round:
    """Townlet's own view for one resident, as it is or through Minari's collector."""
    import gymnasium

    import townlet_env  # noqa: F401  (registers Townlet-v0)

    env: Any = gymnasium.make("Townlet-v0", scenario="town_day", max_ticks=400)
    if collected:
        import minari

        env = minari.DataCollector(env)

    def play() -> int:
        env.reset(seed=0)
        for _ in range(400):
            env.step(0)
        return 400

    return play


def townlet_core(worlds: int = 128) -> Round:
    """Townlet's batch core, everybody acting by chance; drawing is part of the time."""
    from townlet_env.config.compile import compile_plan
    from townlet_env.config.load import load_scenario
    from townlet_env.sim.batch import WorldBatch

    batch = WorldBatch(compile_plan(load_scenario("town_day")), worlds)
    batch.reset(range(worlds))
    rng = np.random.default_rng(0)
    orders = rng.integers(0, len(batch.plan.names.actions), (4, worlds, batch.num_residents))

    def play() -> int:
        for told in orders:
            batch.step(told)
        return orders.size

    return play


PEERS: dict[str, Callable[[], Round]] = {
    "mpe2_spread_3": lambda: mpe2_spread(3),
    "mpe2_spread_8": lambda: mpe2_spread(8),
    "sisl_pursuit": sisl_pursuit,
    "supersuit_gymnasium": lambda: supersuit_spread("gymnasium"),
    "supersuit_sb3": lambda: supersuit_spread("stable_baselines3"),
    "envpool_minigrid": envpool_minigrid,
    "mettagrid_arena": mettagrid_arena,
    "townlet_core": townlet_core,
    "townlet_gymnasium": lambda: townlet_gymnasium(collected=False),
    "townlet_minari": lambda: townlet_gymnasium(collected=True),
}


def main() -> None:
    """Answer until the input ends."""
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a peer prints is no answer
    play = PEERS[sys.argv[1]]()
    play()
    print(json.dumps({"ready": True, "numpy": np.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        seconds, steps = float(line), 0
        wall, processor = time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < seconds:
            steps += play()
        found = {
            "wall": steps / (time.perf_counter() - wall),
            "processor": steps / max(time.process_time() - processor, 1e-9),
        }
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
