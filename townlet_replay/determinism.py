"""Does an environment do the same again? A probe with two short episodes of one seed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.spaces import MASK, copy_observation, flatten_observation

PROBE_SEED = 20_240
PROBE_STEPS = 24


class Difference(NamedTuple):
    """The first thing that was not the same."""

    step: int  # 0: what reset gave
    agent: str | None  # None: of the environment as a whole
    field: str


def probe(env: Any, steps: int = PROBE_STEPS) -> Difference | None:
    """Play the same actions twice from the same seed, and compare bit for bit.

    Args:
        env: a PettingZoo ``ParallelEnv`` with a ``state_digest()``; it is reset twice.
        steps: length of the episodes, if they do not end earlier.

    Returns:
        The first difference, or ``None``. That two short episodes agree proves nothing; that they
        differ does.

    Raises:
        CaptureError: the environment has no ``state_digest()``.
    """
    actions: list[dict[Any, Any]] = []
    first = _play(env, steps, actions)
    second = _play(env, steps, actions)
    for step, (one, other) in enumerate(zip(first, second, strict=False)):
        found = _first_difference(one, other)
        if found is not None:
            return Difference(step, *found)
    return None


def digest_of(env: Any) -> str:
    """Return the environment's own hash of its state.

    Raises:
        CaptureError: it has none.
    """
    for owner in (env, env.unwrapped):
        function = getattr(owner, "state_digest", None)
        if function is not None:
            return str(function())
    raise CaptureError(
        f"{type(env.unwrapped).__name__} has no state_digest(), which an action log needs; "
        "record it in mode full or packed"
    )


def check_repeatable(env: Any) -> None:
    """Refuse an environment whose episodes do not follow from seed and actions.

    Raises:
        CaptureError: names what differed.
    """
    found = probe(env)
    if found is not None:
        who = "" if found.agent is None else f" of agent {found.agent!r}"
        raise CaptureError(
            f"{type(env.unwrapped).__name__} is not deterministic: the same seed and actions gave "
            f"another {found.field}{who} at step {found.step}; record it in mode full or packed"
        )


Moment = dict[tuple[str | None, str], bytes]  # (agent, field) -> bits


def _play(env: Any, steps: int, actions: list[dict[Any, Any]]) -> list[Moment]:
    """Play the actions there are; draw them where there are none yet."""
    rng = np.random.default_rng(PROBE_SEED)
    drawing = not actions
    observations, infos = env.reset(seed=PROBE_SEED)
    moments = [_moment(env, (observations, {}, {}, {}))]
    for step in range(steps):
        if not env.agents:
            break
        if drawing:
            chosen = {
                a: _draw(env, a, observations.get(a), infos.get(a, {}), rng) for a in env.agents
            }
            actions.append(chosen)
        elif step == len(actions):
            break
        observations, *outcome, infos = env.step(copy.deepcopy(actions[step]))
        moments.append(_moment(env, (observations, *outcome)))
    return moments


def _draw(
    env: Any, agent: Any, observation: Any, info: Mapping[str, Any], rng: np.random.Generator
) -> Any:
    """Draw a legal action; the space's own random numbers stay as they are."""
    space = env.action_space(agent)
    if isinstance(space, spaces.Discrete):
        seen = observation.get(MASK) if isinstance(observation, Mapping) else None
        mask: NDArray[Any] = np.asarray(
            info.get(MASK, np.ones(int(space.n))) if seen is None else seen
        )
        legal = np.flatnonzero(mask)
        return int(space.start) + int(rng.choice(legal if len(legal) else np.arange(len(mask))))
    own = copy.deepcopy(space)
    own.seed(int(rng.integers(2**31)))
    return own.sample()


def _moment(env: Any, returned: tuple[dict[Any, Any], ...]) -> Moment:
    observations, rewards, terminations, truncations = returned
    moment: Moment = {(None, "state"): digest_of(env).encode()}
    moment[None, "agents"] = repr(env.agents).encode()
    for agent, observation in observations.items():
        for key, array in flatten_observation(copy_observation(observation)).items():
            moment[str(agent), key] = f"{array.dtype}{array.shape}".encode() + array.tobytes()
    tables = {"reward": rewards, "termination": terminations, "truncation": truncations}
    for name, table in tables.items():
        for agent, value in table.items():
            moment[str(agent), name] = np.float64(value).tobytes()
    return moment


def _first_difference(one: Moment, other: Moment) -> tuple[str | None, str] | None:
    for key in {**one, **other}:
        if one.get(key) != other.get(key):
            return key
    return None
