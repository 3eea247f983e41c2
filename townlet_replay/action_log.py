"""Action logs: what was done in a deterministic environment, from which all else follows.

An action log is a directory like a capture: ``<prefix>_actions.json`` says in what the episodes
happened and lists the files they are in, each with its SHA-256; ``<prefix>_scenario.json.gz`` is
the complete scenario of a town; a file holds any number of episodes, as told in
:mod:`townlet_replay.action_block`. While a long log is written, files are added to a journal beside
the list, a line each, so that one costs the same however many there are. Logs of format 1.1 are
read as well.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from townlet_env.config.load import Source, validate
from townlet_env.config.schema import TownConfig
from townlet_env.views.spaces import MaskMode, ObservationVariant
from townlet_replay.action_block import Block, LoggedEpisode, episodes_of
from townlet_replay.block_reader import decode_block
from townlet_replay.entries import sealed_line, sealed_lines
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import ChainKind
from townlet_replay.log_files import log_leftovers
from townlet_replay.manifest import LOG_JOURNAL_SUFFIX, LOG_SUFFIX, Damage, find_log
from townlet_replay.old_log import OLD_LOG_VERSION, OldEpisode, decode_old_episode
from townlet_replay.safe_files import check_json, first_problem, inside, read_bytes, sha256_of
from townlet_replay.sidecar import (
    Behaviour,
    BehaviourKind,
    CaptureMetadata,
    StrictDocument,
    read_document,
)

LOG_VERSION = "1.2"
SCENARIO_SUFFIX = "_scenario.json.gz"
MAX_SCENARIO_BYTES = 8 * 2**20

Digest = Field(pattern="^[0-9a-f]{64}$")


class LoggedFile(StrictDocument):
    """One file of episodes."""

    file: str = Field(description="path, relative to the log")
    sha256: str = Digest
    episodes: int = Field(ge=1)
    ticks: int = Field(ge=1, description="of all episodes")
    samples: int = Field(ge=0)
    rows: int = Field(ge=0, description="of all samples")


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


class _Head(StrictDocument):
    """What the lists of all versions say."""

    schema_version: str
    mode: Literal["actions"] = "actions"
    metadata: CaptureMetadata
    town: LoggedTown | None = Field(description="None: an environment the caller has to bring")
    recording: Recording


class ActionLog(_Head):
    """The file that lists the files of episodes."""

    schema_version: str = LOG_VERSION
    chain: Literal["states", "digests"] = Field(description="how the states were hashed")
    files: tuple[LoggedFile, ...]


class OldLog(_Head):
    """The same in format 1.1: an episode is a file."""

    schema_version: str = OLD_LOG_VERSION
    episodes: tuple[OldEpisode, ...]

    @property
    def chain(self) -> ChainKind:
        """How the states were hashed."""
        return "digests" if self.town is None else "fields"

    @property
    def files(self) -> tuple[LoggedFile, ...]:
        """The files, as the present format lists them."""
        return tuple(
            LoggedFile(
                file=episode.file,
                sha256=episode.sha256,
                episodes=1,
                ticks=episode.ticks,
                samples=len(episode.samples),
                rows=sum(sample.rows for sample in episode.samples),
            )
            for episode in self.episodes
        )


class LogLine(BaseModel):
    """Files that were added after the list was written: a line of the journal."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    after: int = Field(ge=0, description="files of the log before these")
    files: tuple[LoggedFile, ...]

    def encode(self) -> bytes:
        """Return the line."""
        return sealed_line(self.model_dump_json())


@dataclass(frozen=True)
class OpenLog:
    """An action log on disk; episodes are read when asked for."""

    path: Path
    log: ActionLog | OldLog

    @property
    def prefix(self) -> str:
        """What the names of the files begin with."""
        return self.path.name.removesuffix(LOG_SUFFIX)

    @property
    def journal(self) -> Path:
        """Where the journal is, if there is one."""
        return self.path.with_name(f"{self.prefix}{LOG_JOURNAL_SUFFIX}")

    def count(self, what: Literal["episodes", "ticks", "samples", "rows"]) -> int:
        """Return how many there are, by the list."""
        return sum(getattr(file, what) for file in self.log.files)

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

    def episodes(self) -> Iterator[LoggedEpisode]:
        """Yield every episode.

        Raises:
            CaptureError: a file is missing, altered, unsafe, or not what the list says.
        """
        for number in range(len(self.log.files)):
            yield from self.episodes_in(number)

    def episodes_in(self, number: int) -> list[LoggedEpisode]:
        """Return the episodes of a file.

        Raises:
            CaptureError: as :meth:`episodes`.
        """
        file = self.log.files[number]
        path = inside(self.path.parent, file.file)
        data = self._read(path, file.sha256)
        if isinstance(self.log, OldLog):
            return [decode_old_episode(data, self.log.episodes[number], str(path))]
        block = decode_block(data, str(path))
        if entry_of_block(block, file.file, file.sha256) != file:
            raise CaptureError(f"{path}: holds other episodes than {self.path} says")
        return list(episodes_of(block))

    def damage(self) -> tuple[Damage, ...]:
        """Read every file and return those that cannot be, with the reason."""
        found = []
        for number, file in enumerate(self.log.files):
            try:
                self.episodes_in(number)
            except CaptureError as error:
                found.append(Damage(file.file, str(error)))
        return tuple(found)

    def leftovers(self) -> list[str]:
        """Return what killed writers of this log left beside it."""
        town = self.log.town
        named = [self.path.name, self.journal.name, *(file.file for file in self.log.files)]
        named += [] if town is None else [town.scenario]
        return log_leftovers(self.path.parent, self.prefix, named)

    def _read(self, path: Path, sha256: str) -> bytes:
        data = read_bytes(path)
        if sha256_of(data) != sha256:
            raise CaptureError(f"{path}: altered: its SHA-256 is not the one in {self.path}")
        return data


def entry_of_block(block: Block, name: str, sha256: str) -> LoggedFile:
    """Return how a list names the file of a block."""
    columns = block.columns
    return LoggedFile(
        file=name,
        sha256=sha256,
        episodes=block.episodes,
        ticks=int(columns["ticks"].sum()),
        samples=int(block.sampled.sum()),
        rows=int(columns["rows"][block.sampled].sum()),
    )


def load_log(path: str | Path) -> OpenLog:
    """Open an action log by its directory or by its list of files.

    Raises:
        CaptureError: none there, or it is damaged or empty.
    """
    found = find_log(path)
    if found is None:
        raise CaptureError(
            f"{path}: no action log here: expected a file named <prefix>{LOG_SUFFIX}; record one "
            "with `townlet capture --mode actions`"
        )
    opened = OpenLog(found, read_log(read_bytes(found), str(found)))
    if isinstance(opened.log, ActionLog):
        added = read_journal(opened.journal, len(opened.log.files))
        files = (*opened.log.files, *added)
        opened = OpenLog(found, opened.log.model_copy(update={"files": files}))
    if not opened.log.files:
        raise CaptureError(f"{found}: lists no episodes")
    return opened


def read_log(data: bytes, where: str) -> ActionLog | OldLog:
    """Return the list of an action log as its model, without its journal.

    Raises:
        CaptureError: altered, not strict JSON, of an unknown version, or with wrong fields.
    """
    versions = (OLD_LOG_VERSION, LOG_VERSION)
    old = f'"schema_version": "{OLD_LOG_VERSION}",'.encode() in data[:100]
    if old:
        return read_document(OldLog, data, where, versions)
    return read_document(ActionLog, data, where, versions)


def read_journal(path: Path, count: int) -> list[LoggedFile]:
    """Return what a journal adds to the first ``count`` files of a log.

    Raises:
        CaptureError: a line is altered, or does not follow the one before.
    """
    found: list[LoggedFile] = []
    for where, body in sealed_lines(path):
        try:
            line = LogLine.model_validate_json(body)
        except ValidationError as error:
            raise CaptureError(f"{where}: {first_problem(error)}") from error
        known = count + len(found)
        if line.after + len(line.files) <= known:  # the list has them by now
            continue
        if line.after != known:
            raise CaptureError(f"{where}: follows file {line.after}, expected {known}")
        found += line.files
    return found


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
