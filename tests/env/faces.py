"""One world behind every face of the town, in one shape, so that faces can be compared."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env import townlet_v0
from townlet_env.sim.ids import Verb
from townlet_env.views.gym import TownletEnv
from townlet_env.views.sb3 import TownletVecEnv
from townlet_env.views.vector import TownletVectorEnv
from townlet_env.wrappers import ScriptedScenario

KEYS = ("map", "features", "action_mask")
Seen = dict[str, npt.NDArray[Any]]


class Told(NamedTuple):
    """What a face tells of one step; L learners in slot order."""

    rewards: list[float]
    terminated: list[bool]
    truncated: list[bool]
    final: Seen | None  # key -> (L, ...) what followed the step, where the episode is over
    seen: Seen  # key -> (L, ...) what the next actions are chosen by


def assert_same_told(found: Told, expected: Told, of: str) -> None:
    assert found[:3] == expected[:3], f"{of}: {found[:3]}, expected {expected[:3]}"
    assert (found.final is None) == (expected.final is None), of
    assert_same_seen(found.seen, expected.seen, f"{of}: seen")
    if found.final is not None and expected.final is not None:
        assert_same_seen(found.final, expected.final, f"{of}: final")


def assert_same_seen(found: Seen, expected: Seen, of: str) -> None:
    for key, wanted in expected.items():
        if key in found:
            assert found[key].dtype == wanted.dtype, f"{of} {key}"
            assert found[key].tobytes() == wanted.tobytes(), f"{of} {key}"


class _Residents:
    """What PettingZoo's faces share: dicts by resident. Who is not in town sees an empty slot."""

    def __init__(self, town: Any, learners: Any) -> None:
        self.town = town
        self.slots = [town.plan.names.residents.index(name) for name in learners]
        spaces = town.observation_space(town.possible_agents[0])
        empty = {key: np.zeros(space.shape, space.dtype) for key, space in spaces.items()}
        empty["action_mask"][Verb.WAIT] = 1
        self._empty = empty
        self._who: dict[int, str] = {}

    def reset(self, seed: int | None = None) -> Seen:
        seen = self._reset(seed)
        self._who = {slot: name for name, slot in self.town.slots.items()}
        return self._stack(seen)

    def _stack(self, seen: Any) -> Seen:
        rows = [seen.get(self._who.get(slot), self._empty) for slot in self.slots]
        return {key: np.stack([row[key] for row in rows]) for key in self._empty}

    def step(self, actions: list[int]) -> Told:
        who = dict(self._who)
        orders = dict(zip([who.get(slot) for slot in self.slots], actions, strict=True))
        orders.pop(None, None)
        seen, rewards, terminated, truncated = self._step(orders)
        final = self._stack(seen)
        here = self.town.batch.alive[0]
        over = any(truncated.values()) or not here[self.slots].any()
        acted = {slot: slot in who for slot in self.slots}
        ended = {slot: terminated[who[slot]] if acted[slot] else None for slot in self.slots}
        told = Told(
            rewards=[rewards[who[s]] if acted[s] else 0.0 for s in self.slots],
            terminated=[ended[s] if acted[s] else bool(over or here[s]) for s in self.slots],
            truncated=[acted[s] and truncated[who[s]] for s in self.slots],
            final=final if over else None,
            seen=final,
        )
        if over:
            return told._replace(seen=self.reset())
        self._who = {slot: name for name, slot in self.town.slots.items()}
        return told._replace(seen=self._stack(seen))


class Parallel(_Residents):
    """The reference: PettingZoo's parallel face, with scripts for those who do not learn."""

    def __init__(self, config: Any, learners: Any = None, **options: Any) -> None:
        town = townlet_v0.parallel_env(config, **options)
        super().__init__(town, learners or town.plan.names.residents)
        self.env = town if learners is None else ScriptedScenario(town, learners)

    def _reset(self, seed: int | None) -> Any:
        return self.env.reset(seed=seed)[0]

    def _step(self, orders: Any) -> Any:
        return self.env.step(orders)[:4]


class Aec(_Residents):
    """PettingZoo's turn by turn face."""

    def __init__(self, config: Any, **options: Any) -> None:
        self.env = townlet_v0.raw_env(config, **options)
        super().__init__(self.env.unwrapped, self.env.unwrapped.plan.names.residents)

    def _reset(self, seed: int | None) -> Any:
        self.env.reset(seed=seed)
        return {agent: self.env.observe(agent) for agent in self.env.agents}

    def _step(self, orders: Any) -> Any:
        env, waiting = self.env, dict(orders)
        while waiting:
            agent = env.agent_selection
            dead = env.terminations[agent] or env.truncations[agent]
            env.step(None if dead else waiting.pop(agent))
        seen = {agent: env.observe(agent) for agent in env.agents}
        return seen, dict(env.rewards), dict(env.terminations), dict(env.truncations)


class Gym:
    """Gymnasium's face of one learner."""

    def __init__(self, config: Any, learner: str | None = None, **options: Any) -> None:
        self.env = TownletEnv(config, learner, **options)

    def reset(self, seed: int | None = None) -> Seen:
        return self._stack(self.env.reset(seed=seed)[0])

    def _stack(self, seen: Seen) -> Seen:
        rows = {"action_mask": self.env.action_masks(), **seen}
        return {key: part[None] for key, part in rows.items()}

    def step(self, actions: list[int]) -> Told:
        observation, reward, terminated, truncated, _ = self.env.step(actions[0])
        seen = self._stack(observation)
        over = terminated or truncated
        final = seen if over else None
        return Told([reward], [terminated], [truncated], final, self.reset() if over else seen)


class _Batched:
    """A batch of two towns; the first is compared, the second is lived at random."""

    def __init__(self, lanes: int) -> None:
        self._rng = np.random.default_rng(0)
        self._lanes = lanes // 2

    def _all(self, actions: list[int]) -> npt.NDArray[np.int64]:
        others = self._rng.integers(0, 25, self._lanes)
        return np.array([*actions, *others], np.int64)

    def _first(self, parts: Seen) -> Seen:
        return {key: part[: self._lanes] for key, part in parts.items() if key in KEYS}


class Vector(_Batched):
    """Gymnasium's face of many towns, in one of its autoreset modes."""

    def __init__(self, config: Any, mode: str, **options: Any) -> None:
        self.env = TownletVectorEnv(config, 2, autoreset_mode=mode, **options)
        super().__init__(self.env.num_envs)
        self.mode = mode

    def reset(self, seed: int | None = None) -> Seen:
        seen, infos = self.env.reset(seed=seed)
        return self._first({**infos, **seen})

    def step(self, actions: list[int]) -> Told:
        if self.mode == "DISABLED":
            self._open_again()
        seen, rewards, terminated, truncated, infos = self.env.step(self._all(actions))
        now = self._first({**infos, **seen})
        done = terminated | truncated
        kept = slice(0, self._lanes)
        flags = rewards[kept].tolist(), terminated[kept].tolist(), truncated[kept].tolist()
        if self.mode == "SAME_STEP":
            return Told(*flags, self._final(infos), now)
        assert "final_obs" not in infos
        if not self.env.worlds_over[0]:
            return Told(*flags, None, now)
        assert done[kept].all()
        # Who came in the very last tick is nobody's end.
        came = ~infos["active"][kept]
        for part in now.values():
            part[came] = 0
        now["action_mask"][came, Verb.WAIT] = 1
        return Told(*flags, now, self._opened())

    def _final(self, infos: Any) -> Seen | None:
        """What the first town looked like, if its episode was over."""
        marked = infos.get("_final_obs", np.zeros(1, np.bool_))[: self._lanes]
        # A town of many may lose them one by one; over means that time is up, or all are gone.
        if not marked.all() or infos["tick"][0] != 0:
            return None
        rows = infos["final_obs"][: self._lanes]
        final = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        return {"action_mask": infos["final_info"]["action_mask"][: self._lanes], **final}

    def _opened(self) -> Seen:
        """Open the first town again, in the way of the mode."""
        if self.mode == "DISABLED":
            self._open_again()
            return self._seen
        waste = np.full(self.env.num_envs, 1)
        before = self.env.worlds_over
        seen, rewards, terminated, truncated, infos = self.env.step(waste)
        opened = np.repeat(before, self._lanes)
        for nothing in (rewards, terminated, truncated, infos["active"]):
            assert not nothing[opened].any()
        return self._first({**infos, **seen})

    def _open_again(self) -> None:
        over = self.env.worlds_over
        if over.any():
            options = {"reset_mask": np.repeat(over, self._lanes)}
            seen, _ = self.env.reset(options=options)
            assert list(options) == ["reset_mask"]
            self._seen = self._first({"action_mask": self.env.action_masks(), **seen})


class Sb3(_Batched):
    """The face for Stable-Baselines3, which cannot tell the two ends apart but by infos."""

    def __init__(self, config: Any, **options: Any) -> None:
        self.env = TownletVecEnv(config, 2, **options)
        super().__init__(self.env.num_envs)

    def reset(self, seed: int | None = None) -> Seen:
        self.env.seed(seed)
        return self._now(self.env.reset())

    def _now(self, seen: Any) -> Seen:
        return self._first({"action_mask": np.stack(self.env.action_masks()), **seen})

    def step(self, actions: list[int]) -> Told:
        seen, rewards, dones, infos = self.env.step(self._all(actions))
        kept = range(self._lanes)
        truncated = [infos[k].get("TimeLimit.truncated", False) for k in kept]
        terminated = [bool(dones[k]) and not truncated[k] for k in kept]
        rows = [infos[k].get("terminal_observation") for k in kept]
        over = all(row is not None for row in rows) and self.env.lanes.batch.worlds["tick"][0] == 0
        final = {key: np.stack([row[key] for row in rows]) for key in rows[0]} if over else None
        return Told(rewards[: self._lanes].tolist(), terminated, truncated, final, self._now(seen))
