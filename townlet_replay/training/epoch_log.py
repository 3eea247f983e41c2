"""The telemetry of one run: counted on from what is there, and on disk only once there is a line.

A run that is refused leaves no empty log behind.
"""

from __future__ import annotations

from pathlib import Path

from townlet_replay.training.config import TelemetrySettings
from townlet_replay.training.telemetry import Counters, EpochRecord, TelemetryWriter, log_files
from townlet_replay.training.telemetry_schema import NEWEST
from townlet_replay.training.tensorboard_log import TensorBoardLog


class EpochLog:
    """Writes records where the settings say, or nowhere.

    Args:
        settings: Path, frequency, rotation and version.
        board: Folder of TensorBoard scalars; None: none are written.

    Attributes:
        resumed: Where the log stood before this run; zeros for a new one.

    Raises:
        TelemetryError: There is a log that cannot be continued.
        TrainingError: TensorBoard is asked for and not installed.
    """

    def __init__(self, settings: TelemetrySettings, board: Path | None = None) -> None:
        self._settings = settings
        self._board = TensorBoardLog(board)
        self._writer: TelemetryWriter | None = None
        self.resumed = Counters()
        if settings.path is not None and log_files(settings.path):
            self._writer = self._open(settings.path)
            self.resumed = self._writer.resumed

    @property
    def wants_health(self) -> bool:
        """Whether there is a log with keys that cost a look at every update."""
        return self._settings.path is not None and self._settings.version == NEWEST

    def write(self, record: EpochRecord) -> None:
        """Take one epoch.

        Raises:
            TelemetryError: The log cannot be written, or epochs or steps go back.
        """
        self._board.write(record)
        if self._settings.path is None:
            return
        if self._writer is None:
            self._writer = self._open(self._settings.path)
        self._writer.write(record)

    def close(self) -> None:
        """Write what the frequency left out of the end, and close the files."""
        self._board.close()
        if self._writer is not None:
            self._writer.close()

    def _open(self, path: Path) -> TelemetryWriter:
        log = self._settings
        return TelemetryWriter(path, log.frequency, log.max_entries, log.version)
