"""Checkpoints: weights as safetensors, everything else as JSON next to them.

``policy.json`` describes and names its weights file, ``policy-<digest>.safetensors``. The JSON is
replaced last, in one rename: a run killed while saving leaves the previous checkpoint, whole.
Nothing in either file is ever imported or executed on loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from townlet_replay.errors import CaptureError, CheckpointError
from townlet_replay.policy.network import NetworkConfig, ObservationSpec, TownletNetwork
from townlet_replay.safe_files import (
    check_json,
    first_problem,
    inside,
    read_bytes,
    sha256_of,
    to_json,
    write_files,
)

SCHEMA_VERSION: Literal[1] = 1
_NETWORK, _OPTIMIZER, _POSITION = "network.", "optimizer.", "position."
_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
_STEP_SETTINGS = ("lr", "betas", "eps", "weight_decay")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamState(_Section):
    """State of a ``numpy.random.Generator`` over PCG64; the 128-bit numbers in hexadecimal."""

    bit_generator: Literal["PCG64"]
    state: str = Field(pattern=r"^[0-9a-f]{1,32}$")
    inc: str = Field(pattern=r"^[0-9a-f]{1,32}$")
    has_uint32: int
    uinteger: int

    @classmethod
    def of(cls, rng: np.random.Generator) -> StreamState:
        """Read the state of a generator.

        Raises:
            CheckpointError: It is not over PCG64.
        """
        state = rng.bit_generator.state
        if state["bit_generator"] != "PCG64":
            raise CheckpointError(
                f"expected a random generator over PCG64 (numpy.random.default_rng), "
                f"found {state['bit_generator']}"
            )
        return cls(
            bit_generator="PCG64",
            state=f"{state['state']['state']:x}",
            inc=f"{state['state']['inc']:x}",
            has_uint32=state["has_uint32"],
            uinteger=state["uinteger"],
        )

    def generator(self) -> np.random.Generator:
        """Return a generator that goes on from here."""
        generator = np.random.default_rng(0)
        generator.bit_generator.state = {
            "bit_generator": self.bit_generator,
            "state": {"state": int(self.state, 16), "inc": int(self.inc, 16)},
            "has_uint32": self.has_uint32,
            "uinteger": self.uinteger,
        }
        return generator


class AdamSettings(_Section):
    """What Adam was set to when saved."""

    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float


class CheckpointHeader(_Section):
    """The JSON file of a checkpoint."""

    schema_version: Literal[1]
    network: NetworkConfig
    observation: ObservationSpec
    weights_digest: str = Field(description="TownletNetwork.digest of the weights")
    tensors_file: str
    tensors_sha256: str
    optimizer: AdamSettings | None
    rng: StreamState | None
    counters: dict[str, int] = Field(description="updates, agent steps and the like")
    position: dict[str, JsonValue] | None = Field(
        default=None, description="where the run stood; what it means is the trainer's business"
    )
    training: dict[str, JsonValue] = Field(description="how the weights came about; free")
    versions: dict[str, str]


class TrainingState(NamedTuple):
    """What a run needs besides the weights to go on as if it had never stopped."""

    optimizer: torch.optim.Optimizer | None = None
    rng: np.random.Generator | None = None
    counters: Mapping[str, int] = {}
    position: Mapping[str, JsonValue] | None = None
    arrays: Mapping[str, Tensor] = {}  # that belong to the position


class Checkpoint(NamedTuple):
    """A loaded checkpoint."""

    network: TownletNetwork
    header: CheckpointHeader
    moments: dict[str, Tensor]  # the optimizer's tensors by "<parameter index>.<name>"
    arrays: dict[str, Tensor]  # those of ``header.position``

    def restore_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Give ``optimizer``, built over this network's parameters, its saved state.

        Raises:
            CheckpointError: none was saved, or it belongs to other parameters.
        """
        saved = self.header.optimizer
        if saved is None:
            raise CheckpointError("expected an optimizer state in the checkpoint, found none saved")
        state = _moments_by_parameter(self.moments)
        parameters = optimizer.param_groups[0]["params"]
        if state and sorted(state) != list(range(len(parameters))):
            raise CheckpointError(
                f"expected an optimizer over {len(parameters)} parameters, "
                f"found state of {len(state)}"
            )
        for number, entries in state.items():
            expected, found = parameters[number].shape, entries["exp_avg"].shape
            if expected != found:
                raise CheckpointError(
                    f"optimizer state of parameter {number}: expected shape {tuple(expected)}, "
                    f"found {tuple(found)}"
                )
        group = {**optimizer.state_dict()["param_groups"][0], **saved.model_dump()}
        optimizer.load_state_dict({"state": state, "param_groups": [group]})

    def generator(self) -> np.random.Generator:
        """Return the saved random stream, ready to go on.

        Raises:
            CheckpointError: none was saved.
        """
        saved = self.header.rng
        if saved is None:
            raise CheckpointError("expected a random state in the checkpoint, found none saved")
        return saved.generator()


def save_checkpoint(
    path: str | Path,
    network: TownletNetwork,
    state: TrainingState | None = None,
    *,
    training: Mapping[str, JsonValue] | None = None,
) -> Path:
    """Write a checkpoint; an older one of the same name is replaced.

    Args:
        path: where the JSON goes; ``.json`` is appended if missing.
        network: whose weights to save.
        state: optimizer, random stream and counters, to resume training.
        training: how the weights came about (objective, data, settings), for people and reports.

    Returns:
        The path of the JSON file.

    Raises:
        CheckpointError: the optimizer is not one Adam over one group, the random stream is not
            PCG64, the file name has odd characters, or the disk refuses.
    """
    target = _json_path(path)
    state = state or TrainingState()
    tensors = {_NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    optimizer = None
    if state.optimizer is not None:
        optimizer, moments = _adam(state.optimizer)
        tensors |= {_OPTIMIZER + name: tensor for name, tensor in moments.items()}
    tensors |= {_POSITION + name: tensor for name, tensor in state.arrays.items()}
    data = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    )
    digest = sha256_of(data)
    header = CheckpointHeader(
        schema_version=SCHEMA_VERSION,
        network=network.config,
        observation=network.spec,
        weights_digest=network.digest,
        tensors_file=f"{target.stem}-{digest[:16]}.safetensors",
        tensors_sha256=digest,
        optimizer=optimizer,
        rng=None if state.rng is None else StreamState.of(state.rng),
        counters=dict(state.counters),
        position=None if state.position is None else dict(state.position),
        training=dict(training or {}),
        versions={name: version(name) for name in ("townlet", "torch", "numpy")},
    )
    try:
        inside(target.parent, header.tensors_file)  # a name that loading would refuse
        # The JSON comes last: until it is renamed, the old one names the old weights.
        write_files(target.parent, {header.tensors_file: data, target.name: to_json(header)})
    except CaptureError as error:
        raise CheckpointError(str(error)) from error
    for old in target.parent.glob(f"{target.stem}-{'[0-9a-f]' * 16}.safetensors"):
        if old.name != header.tensors_file:
            old.unlink(missing_ok=True)
    return target


def load_checkpoint(
    path: str | Path,
    *,
    observation: ObservationSpec | None = None,
    config: NetworkConfig | None = None,
) -> Checkpoint:
    """Read and verify a checkpoint.

    Args:
        path: the JSON file, with or without ``.json``.
        observation: what the network is going to see; a checkpoint for anything else is refused.
        config: the network expected; a checkpoint of another one is refused.

    Raises:
        CheckpointError: missing, damaged, of another schema version, or for another network,
            observation or action list; names the first difference.
    """
    target = _json_path(path)
    header = _read_header(target)
    if config is not None:
        _compare_configs(target, config, header.network)
    if observation is not None:
        difference = observation.difference(header.observation)
        if difference is not None:
            raise CheckpointError(
                f"{target}: was trained on other observations or actions: {difference}; "
                "train anew, or load it with the scenario it was trained on"
            )
    tensors = _read_tensors(target, header)
    with torch.device("meta"):  # shapes only: a forged header allocates nothing
        network = TownletNetwork(header.observation, header.network, seed=None)
    weights = _section(tensors, _NETWORK)
    _check_weights(target, network.state_dict(), weights)
    network.load_state_dict(weights, assign=True)
    if network.digest != header.weights_digest:
        raise CheckpointError(f"{target}: the weights do not have the digest the header states")
    moments, arrays = _section(tensors, _OPTIMIZER), _section(tensors, _POSITION)
    return Checkpoint(network, header, moments, arrays)


def _json_path(path: str | Path) -> Path:
    target = Path(path)
    return target if target.suffix == ".json" else target.with_name(f"{target.name}.json")


def _read_header(target: Path) -> CheckpointHeader:
    try:
        document = check_json(read_bytes(target), str(target))
    except CaptureError as error:
        raise CheckpointError(f"no usable checkpoint: {error}") from error
    if isinstance(document, dict) and document.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(
            f"{target}: expected schema_version {SCHEMA_VERSION}, "
            f"found {document.get('schema_version')!r}; it was not written by this version"
        )
    try:
        return CheckpointHeader.model_validate(document)
    except ValidationError as error:
        raise CheckpointError(f"{target}: {first_problem(error)}") from error


def _compare_configs(target: Path, expected: NetworkConfig, found: NetworkConfig) -> None:
    theirs = found.model_dump()
    for name, mine in expected.model_dump().items():
        if theirs[name] != mine:
            raise CheckpointError(
                f"{target}: is of another network: {name}: expected {mine!r}, "
                f"found {theirs[name]!r}"
            )


def _read_tensors(target: Path, header: CheckpointHeader) -> dict[str, Tensor]:
    try:
        path = inside(target.parent, header.tensors_file)
        data = read_bytes(path)
    except CaptureError as error:
        raise CheckpointError(f"{target}: its weights cannot be read: {error}") from error
    found = sha256_of(data)
    if found != header.tensors_sha256:
        raise CheckpointError(
            f"{path}: expected sha256 {header.tensors_sha256[:16]}..., found {found[:16]}...; "
            "the file was altered or damaged after it was saved"
        )
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from error


def _section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _check_weights(
    target: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    for name in sorted(expected.keys() | found.keys()):
        mine, theirs = expected.get(name), found.get(name)
        if (
            mine is None
            or theirs is None
            or (mine.shape, mine.dtype) != (theirs.shape, theirs.dtype)
        ):
            raise CheckpointError(
                f"{target}: weight {name!r}: expected {_shape(mine)}, found {_shape(theirs)}"
            )


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"


def _adam(optimizer: torch.optim.Optimizer) -> tuple[AdamSettings, dict[str, Tensor]]:
    state: dict[str, Any] = optimizer.state_dict()
    groups = state["param_groups"]
    if not isinstance(optimizer, torch.optim.Adam) or len(groups) != 1:
        raise CheckpointError(
            f"expected torch.optim.Adam with one parameter group, found "
            f"{type(optimizer).__name__} with {len(groups)}"
        )
    settings = AdamSettings(**{name: groups[0][name] for name in _STEP_SETTINGS})
    moments = {
        f"{index}.{name}": tensor
        for index, entries in state["state"].items()
        for name, tensor in entries.items()
    }
    return settings, moments


def _moments_by_parameter(moments: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in moments.items():
        number, _, key = name.partition(".")
        if not number.isdecimal() or key not in _MOMENTS:
            raise CheckpointError(f"expected state of Adam, found {name!r}")
        state.setdefault(int(number), {})[key] = tensor
    for index, entries in state.items():
        if entries.keys() != _MOMENTS:
            raise CheckpointError(
                f"optimizer state of parameter {index}: expected {sorted(_MOMENTS)}, "
                f"found {sorted(entries)}"
            )
    return state
