"""A sound action log made of what a killed writer or a damaged disk left.

Files of episodes that are whole come into the list, whether it named them or nobody did, because
the writer was killed in between. What is not whole stays out and is told by name. A list that was
complete on disk but had not got its name yet is put in force: everything it names is there.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from townlet_replay.action_log import (
    ActionLog,
    LoggedFile,
    OldLog,
    OpenLog,
    entry_of_block,
    load_log,
    read_journal,
    read_log,
)
from townlet_replay.block_reader import decode_block
from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.leftovers import final_name, names_in, prefixes_in
from townlet_replay.lock import WriterLock
from townlet_replay.log_files import log_leftovers
from townlet_replay.manifest import LOG_JOURNAL_SUFFIX, LOG_SUFFIX, Damage
from townlet_replay.safe_files import TEMPORARY_SUFFIX, inside, read_bytes, sha256_of, write_files
from townlet_replay.sidecar import write_document


@dataclass(frozen=True)
class LogRecovery:
    """What was done for an action log."""

    log: OpenLog  # as it is now
    found: tuple[str, ...]  # files that the list did not name before
    lost: tuple[Damage, ...]  # files that are not whole
    changed: bool  # something was written or removed


def log_prefix(path: str | Path, prefix: str | None = None) -> str | None:
    """Return the prefix of the action log in a directory; ``None`` if there is no list of one.

    Args:
        path: the directory.
        prefix: of the log, where several share the directory.
    """
    directory = Path(path)
    names = {final_name(name) for name in names_in(directory)}
    prefixes = prefixes_in(names) if prefix is None else {prefix}
    found = [one for one in prefixes if f"{one}{LOG_SUFFIX}" in names]
    return found[0] if len(found) == 1 and len(prefixes) == 1 else None


def recover_log(path: str | Path, prefix: str) -> LogRecovery:
    """Make an action log sound again: only whole files, all of them, with a list.

    Damaged files stay where they are, for whoever wants to look at them; temporary ones go.

    Args:
        path: directory of the log.
        prefix: of the log.

    Raises:
        DiskError: somebody is writing the log, or the disk refuses.
        CaptureError: the list or the scenario is damaged, or no file is whole: nobody could live
            the episodes again.
    """
    directory = Path(path)
    lock = WriterLock(directory / f"{prefix}{LOG_SUFFIX}", prefix)
    lock.acquire()
    try:
        return _Rescue(directory, prefix).run()
    finally:
        lock.release()


class _Rescue:
    """One recovery, with the lock held."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self.directory = directory
        self.prefix = prefix
        self.list_path = directory / f"{prefix}{LOG_SUFFIX}"
        self.journal_path = directory / f"{prefix}{LOG_JOURNAL_SUFFIX}"
        self.lost: list[Damage] = []

    def run(self) -> LogRecovery:
        finished = self._finish()
        before = read_log(read_bytes(self.list_path), str(self.list_path))
        if isinstance(before, OldLog):
            raise CaptureError(
                f"{self.list_path}: an action log of format {before.schema_version}, which names "
                "only what is whole: nothing to recover; whether it is as it was written, says "
                "`townlet captures verify`"
            )
        if before.town is not None:
            OpenLog(self.list_path, before).config()
        files = [*before.files, *self._journal(len(before.files))]
        kept = [file for file in files if self._is_whole(file)]
        found = self._unnamed([file.file for file in files])
        if not kept and not found:
            first = f"; the first: {self.lost[0].reason}" if self.lost else ""
            raise CaptureError(f"{self.directory}: no file of episodes is whole{first}")
        log = before.model_copy(update={"files": (*kept, *found)})
        changed = self._write(log, unchanged=log == before)
        return LogRecovery(
            log=load_log(self.list_path),
            found=tuple(file.file for file in found),
            lost=tuple(self.lost),
            changed=changed or finished,
        )

    def _finish(self) -> bool:
        """Put a list in force that only waited for its name; tell whether there was one.

        One that lacks something of the list in force stays out: it is older, or of a log that was
        to replace this one and has not begun to.
        """
        waiting, replacing = self._temporary(self.list_path.name), not self.list_path.exists()
        try:
            log = read_log(read_bytes(waiting), str(waiting))
            if not replacing:
                known = {*load_log(self.list_path).log.files}
                if not known <= {*log.files}:
                    return False
            sums = [(file.file, file.sha256) for file in log.files]
            sums += [] if log.town is None else [(log.town.scenario, log.town.sha256)]
            moves = [self._move(name, sha256) for name, sha256 in sums]
        except CaptureError:
            return False
        try:
            for source, target in moves:
                if source != target:
                    source.replace(target)
            waiting.replace(self.list_path)
            named = {self.list_path.name, *(target.name for _, target in moves)}
            for name in log_leftovers(self.directory, self.prefix, named) if replacing else ():
                (self.directory / name).unlink()  # of the log that was being replaced
        except OSError as error:
            raise DiskError(f"{self.directory}: cannot be written ({error.strerror})") from error
        return True

    def _move(self, name: str, sha256: str) -> tuple[Path, Path]:
        """Return where a file is, and where it belongs."""
        target = inside(self.directory, name)
        for source in (self._temporary(name), target):
            with contextlib.suppress(CaptureError):
                if sha256_of(read_bytes(source)) == sha256:
                    return source, target
        raise CaptureError(f"{target}: not whole")

    def _journal(self, count: int) -> list[LoggedFile]:
        try:
            return read_journal(self.journal_path, count)
        except CaptureError as error:  # files that it named are found in the directory
            self.lost.append(Damage(self.journal_path.name, str(error)))
            return []

    def _is_whole(self, file: LoggedFile) -> bool:
        path = self.directory / file.file
        try:
            path = inside(self.directory, file.file)
            data = read_bytes(path)
            if sha256_of(data) != file.sha256:
                raise CaptureError(f"{path}: altered since it was recorded")
            decode_block(data, str(path))
        except CaptureError as error:
            self.lost.append(Damage(file.file, str(error)))
            return False
        return True

    def _unnamed(self, named: list[str]) -> list[LoggedFile]:
        """Return whole files that no list names; temporary ones may be of another log."""
        summaries = {self.list_path.name, self.journal_path.name}
        found = []
        for name in log_leftovers(self.directory, self.prefix, [*named, *summaries]):
            if not final_name(name).endswith(".npz"):
                continue
            if name != final_name(name):
                reason = f"{self.directory / final_name(name)}: the writer was killed in writing it"
                self.lost.append(Damage(final_name(name), reason))
                continue
            try:
                data = read_bytes(self.directory / name)
                block = decode_block(data, str(self.directory / name))
                found.append(entry_of_block(block, name, sha256_of(data)))
            except CaptureError as error:
                self.lost.append(Damage(name, str(error)))
        return found

    def _temporary(self, name: str) -> Path:
        return self.directory / f".{name}{TEMPORARY_SUFFIX}"

    def _write(self, log: ActionLog, *, unchanged: bool) -> bool:
        rest = log_leftovers(self.directory, self.prefix, ())
        temporary = [name for name in rest if name != final_name(name)]
        if unchanged and not temporary and not self.journal_path.exists():
            return False
        files = {self.list_path.name: write_document(log)}
        gone = [name for name in temporary if final_name(name) not in files]
        # The journal goes first: it would not follow a list that lacks what is lost.
        write_files(self.directory, files, [*gone, self.journal_path.name])
        return True
