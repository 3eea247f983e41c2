"""The errors of captures and training; the tree is drawn in :mod:`townlet_env.errors`."""

from townlet_env.errors import TownletError


class CaptureError(TownletError):
    """A capture, sample, sidecar or manifest is wrong; the message names the file and the field."""


class DiskError(CaptureError):
    """A capture cannot be written now; the writer keeps what it could not write."""


class CaptureFullError(CaptureError):
    """A capture has the size it may have; what is in it is sound."""


class CheckpointError(TownletError):
    """A checkpoint does not fit the network asked for, or is damaged."""


class TrainingError(TownletError):
    """Settings or data that cannot be trained on."""


class TelemetryError(TownletError):
    """A telemetry log that does not follow its schema."""
