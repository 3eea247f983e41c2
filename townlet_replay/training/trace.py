"""What every update of a run was computed from and came to, as digests: for finding where two part.

One JSON object per line, in the order of the computation: a line for the data of an update
(``minibatch`` 0), then one per minibatch. ``values`` maps a name to a number, or to digest and
Euclidean norm of an array.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_replay.errors import TrainingError
from townlet_replay.rollout import Rollout
from townlet_replay.training.gae import Advantages
from townlet_replay.training.ppo import Stepper
from townlet_replay.training.update_stats import Figures

TRACE_VERSION = 1
# Causes before effects, so that the first difference is the nearest to its reason.
_FIGURES = ("ratio_mean", "ratio_max", "policy", "value", "entropy", "total")

Value = float | list[Any]
Named = Iterable[tuple[str, Tensor]]


def fingerprint(array: NDArray[Any]) -> Value:
    """Return digest and norm of an array."""
    plain = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode() + plain.tobytes())
    norm = math.sqrt(float((plain.astype(np.float64) ** 2).sum()))
    return [digest.hexdigest()[:16], norm if math.isfinite(norm) else None]


class Trace:
    """Writes one trace, line by line.

    Args:
        path: Where to; an older trace there is replaced.

    Raises:
        TrainingError: There is something else, or the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not _is_trace(path):
            raise TrainingError(f"{path}: expected no file or an older trace; choose another file")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIOWrapper = path.open("w", encoding="utf-8")
        except OSError as error:
            raise TrainingError(f"{path}: the trace cannot be written: {error}") from error
        self._line({"trace": TRACE_VERSION})
        self._update = 0
        self._minibatch = 0

    def begin(self, values: dict[str, Value]) -> None:
        """Begin an update with what it is computed from."""
        self._update, self._minibatch = self._update + 1, 0
        self._line({"update": self._update, "minibatch": 0, "values": values})

    def minibatch(self, values: dict[str, Value]) -> None:
        """Take what a minibatch came to."""
        self._minibatch += 1
        place = {"update": self._update, "minibatch": self._minibatch}
        self._line({**place, "values": values})

    def watch(
        self,
        stepper: Stepper,
        data: tuple[Rollout, Advantages],
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> Stepper:
        """Begin a native update and return a stepper that traces its minibatches.

        Args:
            stepper: Who trains.
            data: The rows, and what was made of them.
            network: What is trained.
            optimizer: Whose moments are to be told.
        """
        parts = weights_of(network, optimizer)
        self.begin({**rows_of(data[0]), **estimates_of(*data), **parts()})
        return _Watched(stepper, self, network, parts)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _line(self, document: dict[str, Any]) -> None:
        self._file.write(json.dumps(document) + "\n")
        self._file.flush()


class _Watched:
    """A stepper that tells a trace what it does."""

    def __init__(
        self,
        stepper: Stepper,
        trace: Trace,
        network: torch.nn.Module,
        parts: Callable[[], dict[str, Value]],
    ) -> None:
        self._stepper = stepper
        self._trace = trace
        self._network = network
        self._parts = parts
        self._judged: dict[str, Value] = {}

    def judge(self, index: Tensor) -> Figures:
        figures = self._stepper.judge(index)
        losses = {f"loss.{name}": float(getattr(figures, name)) for name in _FIGURES}
        rows = index.cpu().numpy()
        self._judged = {"rows.count": len(rows), "rows": fingerprint(rows), **losses}
        return figures

    def step(self, figures: Figures) -> float:
        norm = self._stepper.step(figures)
        gradients = gradients_of(self._network)
        self._trace.minibatch({**self._judged, "norm": norm, **gradients, **self._parts()})
        return norm


def rows_of(rollout: Rollout) -> dict[str, Value]:
    """Return the columns of a rollout."""
    columns = rollout._asdict()
    seen = {f"observations.{key}": part for key, part in columns.pop("observations").items()}
    del columns["segment_agents"]
    found = {**seen, **{name: column for name, column in columns.items() if column is not None}}
    return {f"rollout.{name}": fingerprint(column) for name, column in found.items()}


def estimates_of(rollout: Rollout, estimates: Advantages) -> dict[str, Value]:
    """Return advantages and returns, the rows where a life ended or was cut first."""
    deaths = rollout.terminations
    cuts = rollout.truncations & ~deaths
    advantages, returns = estimates
    return {
        "advantages.deaths": fingerprint(advantages[deaths]),
        "advantages.cuts": fingerprint(advantages[cuts]),
        "advantages": fingerprint(advantages),
        "returns": fingerprint(returns),
    }


def gradients_of(network: torch.nn.Module) -> dict[str, Value]:
    """Return the gradients by parameter."""
    return {
        f"gradient.{name}": fingerprint(parameter.grad.detach().cpu().numpy())
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def weights_of(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Callable[[], dict[str, Value]]:
    """Return a call that tells Adam's moments and the weights as they are then, by parameter."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in network.named_parameters()}

    def now() -> dict[str, Value]:
        found: dict[str, Value] = {}
        for parameter, state in optimizer.state.items():
            for key in ("exp_avg", "exp_avg_sq"):
                found[f"moment.{names[parameter]}.{key}"] = fingerprint(state[key].cpu().numpy())
        for name, parameter in network.named_parameters():
            found[f"weight.{name}"] = fingerprint(parameter.detach().cpu().numpy())
        return found

    return now


def _is_trace(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(9) == '{"trace":'
    except (OSError, UnicodeDecodeError):
        return False
