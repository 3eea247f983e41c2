"""Reading a file of an action log: every column is checked before anybody relies on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from townlet_replay.action_block import (
    AGENTS,
    ARRAY_DIGEST_BYTES,
    GAPS,
    INTEGERS,
    INTENTS,
    LOGITS,
    VERSIONS,
    ActionsOf,
    Arrays,
    Block,
)
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import CHAIN_BYTES, CHECK_BYTES
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packed_file import PACKED
from townlet_replay.packing import unpack
from townlet_replay.safe_files import check_json, first_problem
from townlet_replay.sample import MAX_DISCRETE_LOG_PROB

_FLAGS = 31
_MOST_AGENTS = 10**6
_MOST_NUMBERS = 10**6  # of an action

_DIRECTORY: TypeAdapter[tuple[ActionsOf, ...]] = TypeAdapter(
    Annotated[tuple[ActionsOf, ...], Field(max_length=_MOST_AGENTS)]
)

# Column -> dtypes it may have. E episodes, C states, V lives, R rows.
_OF_EPISODES = {"episode_id": "i8", "seed": "i8", "ticks": "i4", "lives": "i4"}
_OF_LIVES = {
    "agent": "i4",  # number in the directory
    "first": "i4",  # tick of the first row, from 0
    "span": "i4",  # ticks from the first row to the last
    "rows": "i4",
    "flags": "u1",
    "episode_return": "f8",
    "last_value": "f4",  # V of what followed the last row; NaN unknown
    "digests_of": "i4",  # arrays of the sample that have a digest
}
_OF_ROWS = {"log_probs": "f4", "values": "f4"}
_FLAT = {
    "actions_i": INTEGERS,
    "actions_f": ("f4",),
    "intents_i": INTEGERS,
    "intents_f": ("f4",),
    "logits": ("f4",),
    "versions": ("i8",),
    "acted": ("b1",),  # of lives with gaps, tick by tick
}


def decode_block(data: bytes, where: str) -> Block:
    """Return the content of a file as a block; every length in it is sound.

    Args:
        data: the content.
        where: the file, for the message.

    Raises:
        CaptureError: damaged, unsafe, or columns that contradict each other.
    """
    arrays = decode_npz(data, where)
    try:
        if list(arrays) == [PACKED]:
            arrays = unpack(arrays[PACKED], len(data))
        words = arrays.pop(AGENTS, np.zeros(0, np.uint8)).tobytes()
        check_json(words, "the directory of agents")
        block = Block(_DIRECTORY.validate_json(words), arrays)
        _check_columns(block)
    except ValidationError as error:
        raise CaptureError(f"{where}: the directory of agents: {first_problem(error)}") from error
    except CaptureError as error:
        raise CaptureError(f"{where}: {error}") from error
    return block


def _check_columns(block: Block) -> None:
    columns = block.columns
    known = {*_OF_EPISODES, *_OF_LIVES, *_OF_ROWS, *_FLAT, "checks", "chain", "seen", "digests"}
    strangers = columns.keys() - known
    if strangers:
        raise CaptureError(f"unknown array {min(strangers)!r}")
    episodes = len(columns.get("episode_id", ()))
    if not episodes:
        raise CaptureError("holds no episodes")
    for name, code in _OF_EPISODES.items():
        _expect(columns, name, (code,), (episodes,))
    _check_range(columns, "ticks", 1, 10**7)
    _check_range(columns, "episode_id", 0, 2**62)
    _check_range(columns, "lives", 0, 2**31)
    lives = int(columns["lives"].sum(dtype=np.int64))
    for name, code in _OF_LIVES.items():
        _expect(columns, name, (code,), (lives,))
    states = int(columns["ticks"].sum(dtype=np.int64)) + episodes
    _expect(columns, "checks", ("u1",), (states, CHECK_BYTES))
    _expect(columns, "chain", ("u1",), (episodes, CHAIN_BYTES))
    _expect(columns, "seen", ("u1",), (episodes, CHAIN_BYTES))
    _check_lives(block)
    _check_rows(block)


def _check_lives(block: Block) -> None:
    columns = block.columns
    _check_range(columns, "agent", 0, len(block.agents) - 1)
    _check_range(columns, "first", 0, 10**7)
    _check_range(columns, "rows", 1, 10**7)
    _check_range(columns, "flags", 0, _FLAGS)
    _check_range(columns, "digests_of", 0, 1000)
    ticks = np.repeat(columns["ticks"], columns["lives"])
    span, rows = columns["span"].astype(np.int64), columns["rows"]
    gaps = columns["flags"] & GAPS
    if ((columns["first"] + span > ticks) | (span < rows) | ((span != rows) & (gaps == 0))).any():
        raise CaptureError("rows of a life that do not fit into its episode")
    at = 0
    for count in columns["lives"].tolist():
        agents = columns["agent"][at : at + count]
        if len(np.unique(agents)) != count:
            raise CaptureError("an agent has two lives in one episode")
        at += count
    if not np.isfinite(columns["episode_return"]).all():
        raise CaptureError("episode_return is no number")


def _check_rows(block: Block) -> None:
    columns = block.columns
    flags, rows = columns["flags"], columns["rows"].astype(np.int64)
    total = int(rows.sum())
    for name, code in _OF_ROWS.items():
        _expect(columns, name, (code,), (total,))
    agents = columns["agent"]
    if any(agent.width > _MOST_NUMBERS for agent in block.agents):
        raise CaptureError(f"an action of more than {_MOST_NUMBERS} numbers")
    width = np.array([agent.width for agent in block.agents], np.int64)[agents]
    dim = np.array([agent.dim for agent in block.agents], np.int64)[agents]
    whole = np.array([agent.kind == "i" for agent in block.agents], np.bool_)[agents]
    numbers = rows * width
    has = {name: (flags & flag) > 0 for name, flag in _FLAG_OF.items()}
    sizes = {
        "actions_i": numbers[whole].sum(),
        "actions_f": numbers[~whole].sum(),
        "intents_i": numbers[whole & has["intents"]].sum(),
        "intents_f": numbers[~whole & has["intents"]].sum(),
        "logits": (rows * dim)[has["logits"]].sum(),
        "versions": rows[has["versions"]].sum(),
        "acted": columns["span"].astype(np.int64)[has["acted"]].sum(),
    }
    for name, size in sizes.items():
        if size or name in columns:
            _expect(columns, name, _FLAT[name], (int(size),))
    digests = int(columns["digests_of"].sum(dtype=np.int64))
    if digests or "digests" in columns:
        _expect(columns, "digests", ("u1",), (digests, ARRAY_DIGEST_BYTES))
    if "acted" in columns:
        _check_gaps(columns)
    discrete = np.array([a.kind == "i" and a.shape == () for a in block.agents], np.bool_)[agents]
    _check_numbers(columns, discrete)
    limit = np.where(discrete & block.sampled, dim, np.iinfo(np.int64).max)
    for name, which in (("actions_i", whole), ("intents_i", whole & has["intents"])):
        _check_ids(columns, name, np.repeat(limit[which], numbers[which]))


def _check_numbers(columns: Arrays, discrete: NDArray[np.bool_]) -> None:
    """As a sample asks for: NaN means unknown, and no probability is above 1."""
    for name in ("log_probs", "values", "last_value"):
        if np.isinf(columns[name]).any():
            raise CaptureError(f"{name}: holds infinities; NaN means unknown")
    above = columns["log_probs"] > MAX_DISCRETE_LOG_PROB
    if (above & np.repeat(discrete, columns["rows"])).any():
        raise CaptureError("log_probs: one of an action id is above 0")


def _check_ids(columns: Arrays, name: str, limit: NDArray[np.int64]) -> None:
    ids = columns.get(name)
    if ids is None:
        return
    outside = (ids >= limit) | ((ids < 0) & (limit < np.iinfo(np.int64).max))
    if outside.any():
        row = int(outside.argmax())
        raise CaptureError(f"{name}: {ids[row]} is no id, expected 0 to {limit[row] - 1}")


_FLAG_OF = {"logits": LOGITS, "intents": INTENTS, "versions": VERSIONS, "acted": GAPS}


def _check_gaps(columns: Arrays) -> None:
    """The first and the last tick of a life have a row, and there are as many rows as it says."""
    which = (columns["flags"] & GAPS) > 0
    span, rows = columns["span"][which].astype(np.int64), columns["rows"][which]
    starts = np.cumsum(span) - span
    acted = columns["acted"]
    if len(span) and not (
        acted[starts].all()
        and acted[starts + span - 1].all()
        and (np.add.reduceat(acted.astype(np.int64), starts) == rows).all()
    ):
        raise CaptureError("acted: not the rows that the lives have")


def _check_range(columns: Arrays, name: str, least: int, most: int) -> None:
    column = columns[name]
    if len(column) and not least <= int(column.min()) <= int(column.max()) <= most:
        raise CaptureError(f"{name}: expected {least} to {most}")


def _expect(columns: Arrays, name: str, codes: Sequence[str], shape: tuple[int, ...]) -> None:
    found = columns.get(name)
    if found is None or found.shape != shape or found.dtype not in [np.dtype(c) for c in codes]:
        what = "none" if found is None else f"{found.dtype}{list(found.shape)}"
        raise CaptureError(f"{name}: expected {np.dtype(codes[0])}{list(shape)}, found {what}")
