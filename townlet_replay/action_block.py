"""What one file of an action log holds: some episodes, column by column.

Rows of all lives stand one after the other, life by life and episode by episode, so that thousands
of episodes are a few arrays: a batch writes them as they are, and nothing is done row by row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from townlet_replay.npz import MAX_NDIM, encode_npz, looks_like_bomb
from townlet_replay.packed_file import PACKED
from townlet_replay.packing import pack

Arrays = dict[str, NDArray[Any]]

ARRAY_DIGEST_BYTES = 4  # of every array of a sample
INTEGERS = ("u1", "i2", "i4", "i8")  # what whole numbers are kept as
SAMPLED, LOGITS, INTENTS, VERSIONS, GAPS = 1, 2, 4, 8, 16  # flags of a life
AGENTS = "agents"  # in a file, the directory of them


class ActionsOf(NamedTuple):
    """An agent, and how its actions are stored."""

    agent_id: Annotated[str, Field(max_length=10_000)]
    kind: Literal["i", "f"] = "i"  # whole numbers, or float32
    shape: Annotated[
        tuple[Annotated[int, Field(ge=0, le=10**6)], ...], Field(max_length=MAX_NDIM)
    ] = ()
    dim: Annotated[int, Field(ge=1, le=10**6)] = 1  # scores of an action

    @property
    def width(self) -> int:
        """Numbers per action."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Block:
    """Some episodes; the columns are those of :mod:`townlet_replay.block_reader`.

    Attributes:
        agents: Everybody who acted, each once.
        columns: Name -> array. ``checks`` (C, 4), ``chain`` (E, 16) and ``seen`` (E, 16) are bytes
            of hash chains, ``digests`` (D, 4) those of arrays.
    """

    agents: tuple[ActionsOf, ...]
    columns: Arrays

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(column.nbytes for column in self.columns.values())

    @property
    def episodes(self) -> int:
        """How many there are."""
        return len(self.columns["episode_id"])

    @property
    def sampled(self) -> NDArray[np.bool_]:
        """(V,) the lives that are samples."""
        sampled: NDArray[np.bool_] = (self.columns["flags"] & SAMPLED).astype(np.bool_)
        return sampled

    def encode(self) -> bytes:
        """Return the content of a file."""
        words = json.dumps([agent._asdict() for agent in self.agents], separators=(",", ":"))
        arrays = {AGENTS: np.frombuffer(words.encode("ascii"), np.uint8), **self.columns}
        data = encode_npz({PACKED: pack(arrays)}, compress=False)
        if looks_like_bomb(sum(array.nbytes for array in arrays.values()), len(data)):
            return encode_npz(arrays, compress=False)
        return data


def smallest(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Return ids from 0 to ``most`` in the fewest bytes that hold them."""
    code = next(code for code in INTEGERS if most <= np.iinfo(code).max)
    return values.astype(code, copy=False)


def join(blocks: Sequence[Block]) -> Block:
    """Return the episodes of several blocks as one."""
    if len(blocks) == 1:
        return blocks[0]
    number: dict[ActionsOf, int] = {}
    parts: list[Arrays] = []
    for block in blocks:
        numbers = [number.setdefault(agent, len(number)) for agent in block.agents]
        renumbered = np.array(numbers, np.int32)[block.columns["agent"]]
        parts.append({**block.columns, "agent": renumbered})
    names = dict.fromkeys(name for part in parts for name in part)
    columns = {name: np.concatenate([p[name] for p in parts if name in p]) for name in names}
    return Block(tuple(number), columns)


class LoggedLife(NamedTuple):
    """One agent's rows in an episode; T of them, views of the columns of a block."""

    actions_of: ActionsOf
    ticks: NDArray[np.int64]  # (T,) in which it acted, from 0
    actions: NDArray[Any]  # (T, ...)
    sampled: bool
    episode_return: float
    log_probs: NDArray[np.float32]  # (T,)
    values: NDArray[np.float32]  # (T,)
    last_value: float
    logits: NDArray[np.float32] | None  # (T, A)
    intents: NDArray[Any] | None  # like the actions
    versions: NDArray[np.int64] | None  # (T,)
    digests: NDArray[np.uint8]  # (n, 4) of the arrays of the sample; n may be 0

    @property
    def agent_id(self) -> str:
        """Whose rows these are."""
        return self.actions_of.agent_id

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.ticks)


class LoggedEpisode(NamedTuple):
    """One episode of a block."""

    episode_id: int
    seed: int
    ticks: int
    lives: tuple[LoggedLife, ...]
    checks: NDArray[np.uint8]  # (ticks + 1, 4)
    chain: bytes
    seen: bytes

    @property
    def samples(self) -> tuple[LoggedLife, ...]:
        """The lives that are samples."""
        return tuple(life for life in self.lives if life.sampled)

    @property
    def rows(self) -> int:
        """Of all samples."""
        return sum(life.rows for life in self.samples)


class _Cursor:
    """Takes the next part of every column."""

    def __init__(self, columns: Arrays) -> None:
        self._columns = columns
        self._at = dict.fromkeys(columns, 0)

    def take(self, name: str, count: int) -> NDArray[Any]:
        if count == 0:
            return self._columns[name][:0] if name in self._columns else np.zeros(0, np.uint8)
        at = self._at[name]
        self._at[name] = at + count
        return self._columns[name][at : at + count]


def episodes_of(block: Block) -> Iterator[LoggedEpisode]:
    """Yield the episodes of a block in order."""
    columns, cursor = block.columns, _Cursor(block.columns)
    at = 0
    for e in range(block.episodes):
        ticks, count = int(columns["ticks"][e]), int(columns["lives"][e])
        lives = tuple(_life(block, v, cursor) for v in range(at, at + count))
        at += count
        yield LoggedEpisode(
            episode_id=int(columns["episode_id"][e]),
            seed=int(columns["seed"][e]),
            ticks=ticks,
            lives=lives,
            checks=cursor.take("checks", ticks + 1),
            chain=columns["chain"][e].tobytes(),
            seen=columns["seen"][e].tobytes(),
        )


def _life(block: Block, v: int, cursor: _Cursor) -> LoggedLife:
    columns = block.columns
    of = block.agents[int(columns["agent"][v])]
    rows, flags = int(columns["rows"][v]), int(columns["flags"][v])
    first, span = int(columns["first"][v]), int(columns["span"][v])
    ticks = np.arange(first, first + span)
    if flags & GAPS:
        ticks = ticks[cursor.take("acted", span)]
    shape = (rows, *of.shape)

    def actions(name: str) -> NDArray[Any]:
        flat = cursor.take(f"{name}_{of.kind}", rows * of.width)
        return flat.reshape(shape).astype(np.int64 if of.kind == "i" else np.float32)

    return LoggedLife(
        actions_of=of,
        ticks=ticks,
        actions=actions("actions"),
        sampled=bool(flags & SAMPLED),
        episode_return=float(columns["episode_return"][v]),
        log_probs=cursor.take("log_probs", rows),
        values=cursor.take("values", rows),
        last_value=float(columns["last_value"][v]),
        logits=cursor.take("logits", rows * of.dim).reshape(rows, of.dim)
        if flags & LOGITS
        else None,
        intents=actions("intents") if flags & INTENTS else None,
        versions=cursor.take("versions", rows) if flags & VERSIONS else None,
        digests=cursor.take("digests", int(columns["digests_of"][v])),
    )
