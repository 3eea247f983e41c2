"""Mode ``actions`` over an environment that is no town, but deterministic and knows its state.

Its samples are recorded as in mode ``full``, and their hashes written instead of themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_env.sim.random import episode_seed
from townlet_replay.action_block import (
    ARRAY_DIGEST_BYTES,
    GAPS,
    INTENTS,
    LOGITS,
    SAMPLED,
    VERSIONS,
    ActionsOf,
    Arrays,
    Block,
)
from townlet_replay.action_writer import LogWriter
from townlet_replay.determinism import check_repeatable
from townlet_replay.episode import OpenEpisode
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import CHAIN_BYTES, HashChain
from townlet_replay.provenance import names_of
from townlet_replay.record_settings import RecordSettings
from townlet_replay.sample import ReplaySample, arrays_of
from townlet_replay.sidecar import CaptureMetadata, CaptureNames

_ANNOTATIONS = {  # array of a sample -> its flag
    "behaviour_logits": LOGITS,
    "intent_actions": INTENTS,
    "policy_version": VERSIONS,
}


@dataclass
class _Trace:
    """An episode as it happens."""

    seed: int
    chain: HashChain = field(default_factory=lambda: HashChain("digests"))
    actions: list[dict[str, Any]] = field(default_factory=list)  # by tick, as they are recorded


class ActionLogWriter:
    """Writes an action log; takes the place of a ``CaptureWriter`` in a recorder."""

    def __init__(
        self,
        env: Any,
        out: str | Path,
        settings: RecordSettings,
        metadata: CaptureMetadata,
        names: CaptureNames,
    ) -> None:
        """Probe ``env``, which is reset; nothing is written before the first episode.

        Raises:
            CaptureError: the environment is not deterministic or has no ``state_digest``, names
                were given, or there is a capture already.
        """
        if names != names_of(env):
            raise CaptureError("names cannot be given in mode actions; name columns when deriving")
        self._writer = LogWriter(out, settings, metadata, None)
        self.directory = self._writer.directory
        self.manifest_path = self._writer.manifest_path
        self._env = env
        check_repeatable(env)
        self._base_seed, self._resets = 0, 0
        self._traces: dict[int, _Trace] = {}
        self._open: _Trace | None = None

    def seed_of_next(self, seed: int | None, options: dict[str, Any] | None) -> int:
        """Return the seed of the next ``reset``: without one it follows from the last.

        Raises:
            CaptureError: options, which no log keeps.
        """
        if options:
            raise CaptureError(
                f"an action log keeps no options of reset, found {sorted(options)}; record in mode "
                "full or packed"
            )
        if seed is not None:
            self._base_seed, self._resets = seed, 0
        number, self._resets = self._resets, self._resets + 1
        return seed if seed is not None else episode_seed(self._base_seed, number) % 2**31

    def begin(self, episode: OpenEpisode) -> None:
        """Take note of an episode right after ``reset``."""
        assert episode.seed is not None
        self._open = self._traces[episode.episode_id] = _Trace(episode.seed)
        self._open.chain.add(self._env)

    def step(self, actions: dict[Any, Any]) -> None:
        """Add a tick that was recorded."""
        if self._open is not None:
            self._open.actions.append({str(agent): action for agent, action in actions.items()})
            self._open.chain.add(self._env)

    def write_episode(self, samples: Sequence[ReplaySample]) -> None:
        """Write the logs of the episodes that ``samples`` are of.

        Raises:
            DiskError: the disk refuses, or another writer was faster; the episodes written before
                are intact.
        """
        groups = groupby(samples, key=lambda sample: sample.meta.episode_id)
        lives = {number: list(group) for number, group in groups}
        self._writer.write_episode([_block(self._traces[n], lives[n]) for n in lives])
        for number in lives:
            del self._traces[number]

    def close(self) -> None:
        """Let other writers write this log; a later episode takes the lock again."""
        self._writer.close()


def array_digests(sample: ReplaySample) -> NDArray[np.uint8]:
    """Return a short hash of every array of a sample, (n, 4), in the order of its file."""
    digests = [
        hashlib.blake2b(array.tobytes(), digest_size=ARRAY_DIGEST_BYTES).digest()
        for array in arrays_of(sample).values()
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, ARRAY_DIGEST_BYTES)


def _block(trace: _Trace, samples: list[ReplaySample]) -> Block:
    """Return an episode and what cannot be derived of its samples."""
    of = {sample.meta.agent_id: sample for sample in samples}
    agents = list(dict.fromkeys(agent for tick in trace.actions for agent in tick))
    lives = [_life(trace, agent, of.get(agent)) for agent in agents]
    names = dict.fromkeys(name for _, part in lives for name in part)
    columns: Arrays = {
        name: np.concatenate([part[name] for _, part in lives if name in part]) for name in names
    }
    columns |= {
        "episode_id": np.array([samples[0].meta.episode_id], np.int64),
        "seed": np.array([trace.seed], np.int64),
        "ticks": np.array([len(trace.actions)], np.int32),
        "lives": np.array([len(lives)], np.int32),
        "checks": np.frombuffer(b"".join(trace.chain.checks), np.uint8).reshape(
            len(trace.chain.checks), -1
        ),
        "chain": np.frombuffer(trace.chain.value, np.uint8)[None],
        "seen": np.zeros((1, CHAIN_BYTES), np.uint8),
        "agent": np.arange(len(lives), dtype=np.int32),
    }
    return Block(tuple(actions_of for actions_of, _ in lives), columns)


def _life(trace: _Trace, agent: str, sample: ReplaySample | None) -> tuple[ActionsOf, Arrays]:
    acted = np.array([agent in tick for tick in trace.actions], np.bool_)
    ticks = np.flatnonzero(acted)
    actions = np.array([tick[agent] for tick in trace.actions if agent in tick])
    kind: Any = "f" if actions.dtype == np.float32 else "i"
    first, span, rows = int(ticks[0]), int(ticks[-1] - ticks[0]) + 1, len(ticks)
    unknown = np.full(rows + 1, np.nan, np.float32)
    columns: Arrays = {
        f"actions_{kind}": actions.reshape(-1),
        "log_probs": unknown[1:] if sample is None else sample.old_log_probs,
        "values": unknown[1:] if sample is None else sample.value_preds[:-1],
        "last_value": unknown[:1] if sample is None else sample.value_preds[-1:],
        "episode_return": np.zeros(1),
    }
    flags, dim, digests = 0, 1, np.zeros((0, ARRAY_DIGEST_BYTES), np.uint8)
    if sample is not None:
        flags, dim, digests = SAMPLED, sample.meta.action_dim, array_digests(sample)
        columns["episode_return"] = np.add.accumulate(sample.rewards, dtype=np.float64)[-1:]
        for name, flag in _ANNOTATIONS.items():
            if name in sample.extras:
                flags |= flag
                columns[_COLUMNS[name].format(kind)] = sample.extras[name].reshape(-1)
    if rows != span:
        flags |= GAPS
        columns["acted"] = acted[first : first + span]
    columns["digests"] = digests
    numbers = {"first": first, "span": span, "rows": rows, "digests_of": len(digests)}
    columns |= {name: np.array([number], np.int32) for name, number in numbers.items()}
    columns["flags"] = np.array([flags], np.uint8)
    return ActionsOf(agent, kind, actions.shape[1:], dim), columns


_COLUMNS = {
    "behaviour_logits": "logits",
    "intent_actions": "intents_{}",
    "policy_version": "versions",
}
