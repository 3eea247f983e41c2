"""Writing an action log: files of many episodes, and the list that names them.

Episodes are on disk when :meth:`LogWriter.write_episode` returns: their file first, then the list,
or a line of the journal that stands for it. A reader follows the list, so it sees all of a file or
nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from townlet_replay.action_block import Block, join
from townlet_replay.action_log import (
    SCENARIO_SUFFIX,
    ActionLog,
    LoggedFile,
    LoggedTown,
    LogLine,
    Recording,
    entry_of_block,
    load_log,
    scenario_bytes,
)
from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.leftovers import final_name
from townlet_replay.lock import WriterLock
from townlet_replay.log_files import log_leftovers
from townlet_replay.manifest import LOG_JOURNAL_SUFFIX, LOG_SUFFIX, MANIFEST_SUFFIX
from townlet_replay.record_settings import RecordSettings
from townlet_replay.safe_files import append, inside, sha256_of, write_files
from townlet_replay.sidecar import CaptureMetadata, write_document
from townlet_replay.town_setup import TownSetup

SHORT = 256  # files in a list that is written anew with every one
FILE_BYTES = 16 * 2**20  # of arrays in a file, unless one episode has more


class LogWriter:
    """Adds episodes to a new action log in a directory."""

    def __init__(
        self,
        directory: str | Path,
        settings: RecordSettings,
        metadata: CaptureMetadata,
        town: TownSetup | None,
    ) -> None:
        """Prepare to write; nothing is touched before the first episode.

        Args:
            directory: created when needed.
            settings: of the recording.
            metadata: of the log as a whole.
            town: ``None`` if another environment is recorded.

        Raises:
            CaptureError: there is a capture, or a log that is not to be written over.
        """
        self.directory = Path(directory)
        self.settings = settings
        prefix = settings.prefix
        self.manifest_path = self.directory / f"{prefix}{LOG_SUFFIX}"
        self._journal_path = self.directory / f"{prefix}{LOG_JOURNAL_SUFFIX}"
        self._journal_size = 0  # bytes
        self._in_list = 0  # files
        self._files: list[LoggedFile] = []
        self._lock = WriterLock(self.manifest_path, prefix)
        self._check_free()
        self._begun = False  # has written over what was there
        self._scenario = b"" if town is None else scenario_bytes(town.config)
        self._head = ActionLog(
            metadata=metadata,
            town=None if town is None else self._logged_town(town),
            recording=Recording(
                behaviour=settings.behaviour,
                agents=settings.agents,
                tags=settings.tags,
                compress=settings.compress,
            ),
            chain="digests" if town is None else "states",
            files=(),
        )

    def _logged_town(self, town: TownSetup) -> LoggedTown:
        return LoggedTown(
            scenario=f"{self.settings.prefix}{SCENARIO_SUFFIX}",
            sha256=sha256_of(self._scenario),
            observation=town.observation,
            mask=town.mask,
            details=town.details,
        )

    def _check_free(self) -> None:
        manifest = self.directory / f"{self.settings.prefix}{MANIFEST_SUFFIX}"
        there = [path for path in (manifest, self.manifest_path) if path.exists()]
        if not there:
            return
        if manifest in there or not self.settings.overwrite:
            raise CaptureError(
                f"{there[0]}: there is a capture already; choose another directory or prefix"
                + ("" if manifest in there else ", or set overwrite=True (--overwrite)")
            )
        self._files_there()
        self._lock.acquire()  # to see at once whether somebody is still writing it
        self._lock.release()

    def _files_there(self) -> list[str]:
        """Names of the files of the log that is there, its list first, and of leftovers."""
        names: list[str] = []
        if self.manifest_path.exists():
            names = [self.manifest_path.name, self._journal_path.name]
            names += [file.file for file in load_log(self.manifest_path).log.files]
            for name in names:
                inside(self.directory, name)
        return names + log_leftovers(self.directory, self.settings.prefix, names)

    def write_episode(self, blocks: Sequence[Block]) -> None:
        """Write episodes, many in one file, then what names the files.

        Raises:
            DiskError: the disk refuses, or another writer was faster; what was written before is
                intact.
        """
        files: dict[str, bytes] = {}
        entries: list[LoggedFile] = []
        for group in _in_files(blocks):
            number = len(self._files) + len(entries)
            name = f"{self.settings.prefix}_episodes_{number:03d}.npz"
            block = join(group)
            files[name] = block.encode()
            entries.append(entry_of_block(block, name, sha256_of(files[name])))
        if not entries:
            return
        everything = (*self._files, *entries)
        with self._lock.writing():
            if self._list_is_due(len(everything)):
                self._put(files, everything)
            else:
                write_files(self.directory, files)
                line = LogLine(after=len(self._files), files=tuple(entries)).encode()
                append(self._journal_path, line, self._journal_size)
                self._journal_size += len(line)
        self._files += entries

    def close(self) -> None:
        """Let other writers write this log; a later episode takes the lock again.

        Raises:
            DiskError: the disk refuses the list; the files in the journal are safe there.
        """
        try:
            if self._journal_size:
                with self._lock.writing():
                    self._put({}, tuple(self._files))
        finally:
            self._lock.release()

    def _list_is_due(self, files: int) -> bool:
        """Whether it is written with so many files: while it is short, or has grown by a quarter.

        In the long run a file costs the same whatever their number.
        """
        return files <= SHORT or files > self._in_list * 5 // 4

    def _put(self, files: dict[str, bytes], everything: tuple[LoggedFile, ...]) -> None:
        """Write files, and the list with everything."""
        listed = {
            self.manifest_path.name: write_document(
                self._head.model_copy(update={"files": everything})
            )
        }
        if self._begun:
            write_files(self.directory, files)
            write_files(self.directory, listed)
        else:
            if self._head.town is not None:
                files = {**files, self._head.town.scenario: self._scenario}
            new = {**files, **listed}
            # What is there goes, its list first, only when all that follows it is on disk.
            old = [
                name
                for name in self._files_there()
                if name == final_name(name) or final_name(name) not in new
            ]
            write_files(self.directory, new, instead_of=old)
            self._begun = True
        if self._journal_size:  # the list has it all
            try:
                self._journal_path.unlink(missing_ok=True)
            except OSError as error:
                raise DiskError(
                    f"{self._journal_path}: cannot be removed ({error.strerror})"
                ) from error
        self._journal_size, self._in_list = 0, len(everything)


def _in_files(blocks: Sequence[Block]) -> list[list[Block]]:
    """Return the blocks in groups of at most ``FILE_BYTES``; a larger one is alone."""
    groups: list[list[Block]] = []
    size = FILE_BYTES
    for block in blocks:
        size += block.nbytes
        if size > FILE_BYTES:
            groups.append([])
            size = block.nbytes
        groups[-1].append(block)
    return groups
