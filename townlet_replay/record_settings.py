"""What a recording is called, and what is said about it and about who acts in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from townlet_replay.errors import CaptureError
from townlet_replay.limits import Limits, WhenFull
from townlet_replay.safe_files import first_problem
from townlet_replay.sidecar import Behaviour, BehaviourKind, CaptureMetadata, Mode, RecordMode
from townlet_replay.writer import DEFAULT_PREFIX, WriterSettings


class RecordSettings(BaseModel):
    """The settings of :class:`~townlet_replay.recorder.RecordReplay`.

    ``mode`` is ``"full"``, arrays that NumPy alone reads; ``"packed"``, fewer bytes; or
    ``"actions"``, what was done in a deterministic environment, from which the rest is derived.
    ``prefix`` begins every file name. ``behaviour`` says who acts, for all agents or by agent id:
    ``"policy"``, ``"script"`` (certain: log-prob 0), ``"script_eps"``, ``"mixed"``, ``"unknown"``
    (log-prob NaN), or a ``Behaviour``; left out, it is ``"policy"`` where log-probs were attached
    and else ``"unknown"``. ``agents``: only samples of these ids are written, or of all. ``tags``
    go to every sample. ``metadata`` wins over what the environment says of itself. ``compress``
    deflates the arrays of mode ``"full"``; packed ones always are.
    A capture with the same prefix is refused, or with ``overwrite`` replaced once the first new
    episode is complete. With ``background`` finished episodes are written in a thread of their
    own; they are on disk when ``flush`` or ``close`` returns, and at most 64 MiB of them wait.
    A life of more than ``max_rows_per_file`` rows is written in pieces. A capture of ``max_bytes``
    is full: ``when_full`` says whether to ``"stop"``, an error that leaves it sound, or to
    ``"drop_oldest"`` episodes. With ``bundle`` the samples that are written together are one file
    on disk, a ZIP of what they would be otherwise: many short lives are written and kept with less
    ado. Left out, ``RecordBatch`` bundles unless ``max_bytes`` is given, and nobody else does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: RecordMode = "full"
    prefix: str = DEFAULT_PREFIX
    behaviour: Behaviour | BehaviourKind | dict[str, Behaviour | BehaviourKind] | None = None
    agents: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    metadata: CaptureMetadata = CaptureMetadata()
    compress: bool = True
    overwrite: bool = False
    background: bool = False
    max_rows_per_file: Annotated[int, Field(ge=1)] | None = None
    max_bytes: Annotated[int, Field(ge=1)] | None = None
    when_full: WhenFull = "stop"
    bundle: bool | None = None

    def writer_settings(self, metadata: CaptureMetadata, *, bundle: bool = False) -> WriterSettings:
        """Return how the files are written.

        Args:
            metadata: of the capture as a whole.
            bundle: what is done where the setting is left out.
        """
        mode: Mode = "packed" if self.mode == "packed" else "full"
        limits = Limits(self.max_rows_per_file, self.max_bytes, self.when_full)
        if self.bundle is not None or self.max_bytes is not None:
            bundle = bool(self.bundle)
        return WriterSettings(
            self.prefix, metadata, self.compress, self.overwrite, mode, limits, bundle
        )

    def behaviour_of(self, agent_id: str, *, log_probs_known: bool) -> Behaviour:
        """Return who chose the actions of an agent."""
        stated = self.behaviour
        if isinstance(stated, dict):
            stated = stated.get(agent_id)
        if isinstance(stated, Behaviour):
            return stated
        if stated is not None:
            return Behaviour(kind=stated)
        return Behaviour(kind="policy" if log_probs_known else "unknown")


def read_settings(settings: dict[str, object]) -> RecordSettings:
    """Check keyword arguments.

    Raises:
        CaptureError: an unknown setting, a wrong value, a limit in mode ``actions``, or bundles of
            a capture of limited size.
    """
    try:
        found = RecordSettings.model_validate(settings)
    except ValidationError as error:
        raise CaptureError(f"settings of the recording: {first_problem(error)}") from error
    if found.mode == "actions" and (found.max_rows_per_file or found.max_bytes):
        raise CaptureError(
            "settings of the recording: an action log has no limits; leave out max_rows_per_file "
            "and max_bytes, or record in mode full or packed"
        )
    if found.bundle and found.max_bytes:
        raise CaptureError(
            "settings of the recording: bundle and max_bytes: episodes in a bundle cannot be "
            "dropped one by one; leave out one of the two"
        )
    return found
