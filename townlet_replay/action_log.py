"""Action logs: what was done in a deterministic environment, from which all else follows.

An action log is a directory like a capture: ``<prefix>_actions.json`` lists the episodes and says
in what they happened; ``<prefix>_scenario.json.gz`` is the complete scenario of a town; each
episode is one NPZ with the actions of everybody, what the behaviour knew about them, and digests.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from townlet_env.config.load import Source, validate
from townlet_env.config.schema import TownConfig
from townlet_env.views.spaces import MaskMode, ObservationVariant
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import LOG_SUFFIX, find_log
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packed_file import PACKED
from townlet_replay.packing import unpack
from townlet_replay.safe_files import check_json, inside, read_bytes, sha256_of
from townlet_replay.sample import ReplaySample, arrays_of
from townlet_replay.sidecar import (
    SCHEMA_VERSION,
    Behaviour,
    BehaviourKind,
    CaptureMetadata,
    StrictDocument,
    read_document,
)

SCENARIO_SUFFIX = "_scenario.json.gz"
MAX_SCENARIO_BYTES = 8 * 2**20
CHECK_BYTES = 4  # of the hash chain, kept for every tick
ARRAY_DIGEST_BYTES = 4  # of every array of a sample

Arrays = dict[str, NDArray[Any]]
Digest = Field(pattern="^[0-9a-f]{64}$")


class LoggedSample(StrictDocument):
    """One agent's life in an episode, to be derived."""

    agent_id: str
    rows: int = Field(ge=1)
    episode_return: float


class LoggedEpisode(StrictDocument):
    """One episode."""

    file: str = Field(description="path of the NPZ, relative to the log")
    sha256: str = Digest
    episode_id: int = Field(ge=0)
    seed: int = Field(description="of the reset that plays it again")
    ticks: int = Field(ge=1, le=10**7)
    agents: tuple[str, ...] = Field(description="everybody who acted, in fixed order")
    samples: tuple[LoggedSample, ...]


class LoggedTown(StrictDocument):
    """The town that the episodes happened in."""

    scenario: str = Field(description="path of the complete scenario")
    sha256: str = Digest
    observation: ObservationVariant
    mask: MaskMode
    details: bool


class Recording(StrictDocument):
    """Settings of the recording that its samples depend on."""

    behaviour: Behaviour | BehaviourKind | dict[str, Behaviour | BehaviourKind] | None = None
    agents: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    compress: bool = True


class ActionLog(StrictDocument):
    """The file that lists the episodes."""

    schema_version: str = SCHEMA_VERSION
    mode: Literal["actions"] = "actions"
    metadata: CaptureMetadata
    town: LoggedTown | None = Field(description="None: an environment the caller has to bring")
    recording: Recording
    episodes: tuple[LoggedEpisode, ...]


@dataclass(frozen=True)
class OpenLog:
    """An action log on disk; episodes are read when asked for."""

    path: Path
    log: ActionLog

    @property
    def prefix(self) -> str:
        """What the names of the files begin with."""
        return self.path.name.removesuffix(LOG_SUFFIX)

    def config(self) -> TownConfig:
        """Return the scenario of the town.

        Raises:
            CaptureError: not a log of a town, or the scenario is missing or altered.
            ConfigError: this version does not accept the scenario.
        """
        town = self.log.town
        if town is None:
            raise CaptureError(
                f"{self.path}: not a log of a town; give the environment that was recorded (env=)"
            )
        path = inside(self.path.parent, town.scenario)
        text = _gunzip(self._read(path, town.sha256), str(path))
        data = check_json(text, str(path))
        if not isinstance(data, dict):
            raise CaptureError(f"{path}: expected a JSON object")
        config = validate(TownConfig, data, Source(str(path), {}))
        if config.digest() != self.log.metadata.config_digest:
            raise CaptureError(
                f"{path}: this version reads the scenario as {config.digest()}, recorded as "
                f"{self.log.metadata.config_digest}; use the version that recorded it"
            )
        return config

    def arrays(self, episode: LoggedEpisode) -> Arrays:
        """Return the arrays of an episode.

        Raises:
            CaptureError: missing, altered, unsafe, or not those of the episode.
        """
        path = inside(self.path.parent, episode.file)
        data = self._read(path, episode.sha256)
        found = decode_npz(data, str(path))
        if list(found) != [PACKED]:
            raise CaptureError(f"{path}: expected the array {PACKED!r} alone, found {list(found)}")
        try:
            arrays = unpack(found[PACKED], len(data))
            _check_arrays(arrays, episode)
        except CaptureError as error:
            raise CaptureError(f"{path}: {error}") from error
        return arrays

    def _read(self, path: Path, sha256: str) -> bytes:
        data = read_bytes(path)
        if sha256_of(data) != sha256:
            raise CaptureError(f"{path}: altered: its SHA-256 is not the one in {self.path}")
        return data


def load_log(path: str | Path) -> OpenLog:
    """Open an action log by its directory or by its list of episodes.

    Raises:
        CaptureError: none there, or it is damaged or empty.
    """
    found = find_log(path)
    if found is None:
        raise CaptureError(
            f"{path}: no action log here: expected a file named <prefix>{LOG_SUFFIX}; record one "
            "with `townlet capture --mode actions`"
        )
    log = read_document(ActionLog, read_bytes(found), str(found))
    if not log.episodes:
        raise CaptureError(f"{found}: lists no episodes")
    return OpenLog(found, log)


def scenario_bytes(config: TownConfig) -> bytes:
    """Return every setting of a scenario, deflated; its claims are no setting."""
    text = config.model_dump_json(by_alias=True, exclude={"expect"}, indent=1)
    return gzip.compress(text.encode(), mtime=0)


def _gunzip(data: bytes, where: str) -> bytes:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        text = inflater.decompress(data, MAX_SCENARIO_BYTES)
    except zlib.error as error:
        raise CaptureError(f"{where}: not sound gzip ({error})") from error
    if not inflater.eof:
        raise CaptureError(f"{where}: cut off, or more than {MAX_SCENARIO_BYTES} bytes")
    return text


def _check_arrays(arrays: Arrays, episode: LoggedEpisode) -> None:
    """Refuse arrays that are not those of an episode, so that nobody stumbles over them later."""
    agents = range(len(episode.agents))
    u1, f4, i8 = (np.dtype(code) for code in ("u1", "f4", "i8"))
    _expect(arrays, "present", (np.dtype(np.bool_),), (episode.ticks, len(agents)))
    _expect(arrays, "checks", (u1,), (episode.ticks + 1, CHECK_BYTES))
    _expect(arrays, "chain", (u1,), (CHAIN_BYTES,))
    rows = arrays["present"].sum(axis=0).tolist()
    known = {"present", "checks", "chain", *(f"actions_{k}" for k in agents)}
    for k in agents:
        _expect(arrays, f"actions_{k}", (i8, f4), (rows[k], ...))
    lives = [sample.agent_id for sample in episode.samples]
    if len(set(lives)) != len(lives) or not set(lives) <= set(episode.agents):
        raise CaptureError(f"samples of {lives}, where {list(episode.agents)} acted")
    for sample in episode.samples:
        k = episode.agents.index(sample.agent_id)
        if rows[k] != sample.rows:
            raise CaptureError(f"{sample.agent_id!r} has {rows[k]} rows, not {sample.rows}")
        shape = arrays[f"actions_{k}"].shape
        _expect(arrays, f"log_probs_{k}", (f4,), (rows[k],))
        _expect(arrays, f"values_{k}", (f4,), (rows[k] + 1,))
        _expect(arrays, f"digests_{k}", (u1,), (..., ARRAY_DIGEST_BYTES))
        optional = {"logits": (rows[k], ...), "intents": shape, "versions": (rows[k],)}
        known |= {f"{name}_{k}" for name in ("log_probs", "values", "digests", *optional)}
        for name, expected in optional.items():
            if f"{name}_{k}" in arrays:
                kinds = {"logits": (f4,), "intents": (i8, f4), "versions": (i8,)}[name]
                _expect(arrays, f"{name}_{k}", kinds, expected)
    strangers = arrays.keys() - known
    if strangers:
        raise CaptureError(f"unknown array {min(strangers)!r}")


def _expect(
    arrays: Arrays, name: str, dtypes: tuple[np.dtype[Any], ...], shape: tuple[Any, ...]
) -> None:
    """Refuse an array of another dtype or shape; an ellipsis stands for any sizes."""
    found = arrays.get(name)
    if found is not None and found.dtype in dtypes:
        sizes = found.shape
        if shape[-1:] == (...,):
            sizes, shape = sizes[: len(shape) - 1], shape[:-1]
        elif shape[:1] == (...,):
            sizes, shape = sizes[1:], shape[1:]
        if sizes == shape and found.ndim >= len(shape):
            return
    what = "none" if found is None else f"{found.dtype}{list(found.shape)}"
    text = ", ".join("..." if size is ... else str(size) for size in shape)
    raise CaptureError(f"{name}: expected {dtypes[0]}[{text}], found {what}")


CHAIN_BYTES = 16


class HashChain:
    """Folds the states of an episode, one after the other."""

    def __init__(self) -> None:
        self.value = bytes(CHAIN_BYTES)
        self.checks: list[bytes] = []  # of every state so far

    def add(self, state_digest: str) -> bytes:
        """Fold the next state; return what is kept of the chain at this place."""
        link = hashlib.blake2b(self.value + state_digest.encode(), digest_size=CHAIN_BYTES)
        self.value = link.digest()
        self.checks.append(self.value[:CHECK_BYTES])
        return self.checks[-1]


def array_digests(sample: ReplaySample) -> NDArray[np.uint8]:
    """Return a short hash of every array of a sample, (n, 4), in the order of its file."""
    digests = [
        hashlib.blake2b(array.tobytes(), digest_size=ARRAY_DIGEST_BYTES).digest()
        for array in arrays_of(sample).values()
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, ARRAY_DIGEST_BYTES)
