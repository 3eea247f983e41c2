"""Where a run stands besides its weights and counters, in the words of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from torch import Tensor

from townlet_env.sim.snapshot import Snapshot
from townlet_env.views.lanes import LanesState
from townlet_replay.errors import CheckpointError
from townlet_replay.policy.checkpoint import StreamState
from townlet_replay.policy.fused_actor import CountedDraws
from townlet_replay.policy.fused_kernels import Bytes
from townlet_replay.safe_files import first_problem
from townlet_replay.training.course import Course
from townlet_replay.training.live import ActorState, LiveState
from townlet_replay.training.objectives import Objective


class Position(NamedTuple):
    """What a checkpoint keeps so that a run goes on to the bits of one that never stopped."""

    course: Course | None  # of the run that was cut short; None: it was over
    objective: Objective | None  # the verdict it trains under
    live: LiveState | None  # its towns
    reference: Bytes | None  # (C,) the usual map, which fused products are counted from


class _Draws(BaseModel):
    """:class:`CountedDraws`; the key has 64 bits, one more than numbers in JSON may have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(pattern=r"^[0-9a-f]{1,16}$")
    ticks: int = Field(ge=0)


class _Towns(BaseModel):
    """The part of :class:`LiveState` that is no array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    plan_digest: str
    base_seeds: tuple[int, ...]
    episodes: tuple[int, ...]
    steps: int = Field(ge=0)
    draws: _Draws | None  # of the fused actor
    stream: StreamState | None  # of any other


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    course: Course | None
    objective: Objective | None
    towns: _Towns | None


def pack_position(position: Position) -> tuple[dict[str, JsonValue], dict[str, Tensor]]:
    """Return a position as JSON and arrays."""
    arrays: dict[str, NDArray[np.generic]] = {}
    live = position.live
    if position.reference is not None:
        arrays["reference"] = position.reference
    if live is not None:
        found = live.lanes.snapshot.worlds
        worlds = np.zeros(len(found), found.dtype)
        for name in found.dtype.names or ():
            worlds[name] = found[name]  # what lies between the fields is nobody's
        arrays["worlds"] = np.frombuffer(worlds.tobytes(), np.uint8)
        arrays["over"], arrays["running"] = live.lanes.over.view(np.uint8), live.running
        if live.memory is not None:
            arrays["memory"] = live.memory
    header = _Header(
        course=position.course,
        objective=position.objective,
        towns=None if live is None else _towns(live),
    )
    return header.model_dump(mode="json"), {
        name: torch.tensor(array) for name, array in arrays.items()
    }


def unpack_position(
    document: Mapping[str, JsonValue], arrays: Mapping[str, Tensor], dtype: np.dtype[np.void]
) -> Position:
    """Read what :func:`pack_position` wrote.

    Args:
        document: The JSON.
        arrays: The arrays.
        dtype: Of a world; one of another size is refused.

    Raises:
        CheckpointError: It was altered, or written by another version.
    """
    try:
        header = _Header.model_validate(dict(document))
        numbers = {name: tensor.numpy() for name, tensor in arrays.items()}
        live = None if header.towns is None else _live(header.towns, numbers, dtype)
    except ValidationError as error:
        raise CheckpointError(f"position: {first_problem(error)}") from error
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"position: expected the towns as this version writes them, found others ({error}); "
            "go on from another checkpoint"
        ) from error
    return Position(header.course, header.objective, live, numbers.get("reference"))


def _towns(live: LiveState) -> _Towns:
    lanes, draws, stream = live.lanes, None, None
    if isinstance(live.actor, CountedDraws):
        draws = _Draws(key=f"{live.actor.key:x}", ticks=live.actor.ticks)
    else:
        generator = np.random.default_rng(0)
        generator.bit_generator.state = live.actor
        stream = StreamState.of(generator)
    return _Towns(
        version=lanes.snapshot.version,
        plan_digest=lanes.snapshot.plan_digest,
        base_seeds=lanes.base_seeds,
        episodes=lanes.episodes,
        steps=live.steps,
        draws=draws,
        stream=stream,
    )


def _live(
    towns: _Towns, arrays: Mapping[str, NDArray[np.generic]], dtype: np.dtype[np.void]
) -> LiveState:
    worlds = np.frombuffer(arrays["worlds"].tobytes(), dtype).copy()
    over = arrays["over"].astype(np.bool_)
    count = len(towns.base_seeds)
    if not len(worlds) == len(over) == len(towns.episodes) == count:
        raise ValueError(f"{count} seeds, {len(worlds)} worlds")
    memory = arrays.get("memory")
    if memory is not None and (memory.ndim != 2 or len(memory) % max(count, 1)):
        raise ValueError(f"memory of shape {memory.shape} for {count} towns")
    return LiveState(
        lanes=LanesState(
            Snapshot(towns.version, towns.plan_digest, worlds),
            towns.base_seeds,
            towns.episodes,
            over,
            memories=((),) * count,
        ),
        running=arrays["running"].astype(np.float64),
        steps=towns.steps,
        actor=_actor_state(towns),
        memory=None if memory is None else memory.astype(np.float32),
    )


def _actor_state(towns: _Towns) -> ActorState:
    if towns.draws is not None:
        return CountedDraws(int(towns.draws.key, 16), towns.draws.ticks)
    if towns.stream is not None:
        return dict(towns.stream.generator().bit_generator.state)
    raise ValueError("neither draws nor a stream")
