"""Where two traces part first, and where to look for the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from townlet_replay.errors import TrainingError
from townlet_replay.safe_files import first_problem
from townlet_replay.training.trace import TRACE_VERSION

# By the beginning of the name, the first that fits.
_PLACES = (
    ("rollout.", "the data: what was recorded, and the order of its rows"),
    ("advantages.deaths", "GAE at deaths: nothing may follow them"),
    ("advantages.cuts", "GAE at cuts: r + gamma V(final observation) is due, and nothing else"),
    ("advantages", "GAE: discount, trace decay, values"),
    ("returns", "the value targets"),
    ("buffer.", "the rollout buffer that Stable-Baselines3 trains on"),
    ("generator", "the generator that minibatches are drawn from: seed, or draws in between"),
    ("rows.count", "the size of minibatches, and what becomes of a shorter last one"),
    ("rows", "the order of minibatches: seed, permutation, minibatch size"),
    ("loss.ratio", "log-probabilities of the learner: mask, weights"),
    ("loss.policy", "the surrogate: normalisation of advantages, clip range, weights of rows"),
    ("loss.value", "the value loss, or its clipping"),
    ("loss.entropy", "the entropy: mask"),
    ("loss.total", "the coefficients of the losses, or something added to them"),
    ("norm", "the gradient"),
    ("gradient.", "the backward pass, clipping of gradients, number of threads"),
    ("moment.", "Adam's decay rates, or its moments at the start"),
    ("weight.", "the step: step size, Adam's epsilon, or the first weights"),
)


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    trace: int = Field(ge=TRACE_VERSION, le=TRACE_VERSION)


class TraceLine(BaseModel):
    """One line of a trace."""

    model_config = ConfigDict(extra="forbid", strict=True)

    update: int = Field(ge=1)
    minibatch: int = Field(ge=0, description="0: the data of the update")
    values: dict[str, float | tuple[str, float | None]]

    @property
    def place(self) -> tuple[int, int]:
        """Update and minibatch."""
        return self.update, self.minibatch


class Parting(NamedTuple):
    """The first difference of two traces."""

    update: int
    minibatch: int  # from 1; 0: before the first
    name: str | None  # of the value; None: one trace has no such minibatch
    first: str
    second: str

    @property
    def reason(self) -> str:
        """Where to look."""
        if self.name is None:
            return "the number of minibatches: rows, passes, early stop, or a dropped last one"
        return next((why for start, why in _PLACES if self.name.startswith(start)), "this value")

    def text(self) -> str:
        """Return a few lines."""
        where = f"minibatch {self.minibatch}" if self.minibatch else "before the first minibatch"
        return (
            f"update {self.update}, {where}: {self.name or 'no such minibatch in one of them'}\n"
            f"  {self.first}\n  {self.second}\nlook at {self.reason}"
        )


def read_trace(path: Path) -> Iterator[TraceLine]:
    """Read a trace line by line.

    Raises:
        TrainingError: It is missing, or no trace of this version.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    if number == 1:
                        _Header.model_validate_json(line)
                    else:
                        yield TraceLine.model_validate_json(line)
                except ValidationError as error:
                    raise TrainingError(
                        f"{path}, line {number}: {first_problem(error)}; expected a trace of "
                        f"version {TRACE_VERSION} from `townlet train --trace`"
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: no trace can be read there: {error}") from error


def first_parting(first: Path, second: Path) -> Parting | None:
    """Return where two traces differ first; None: nowhere.

    Raises:
        TrainingError: One of them is no trace, or empty.
    """
    lines = 0
    for one, other in zip_longest(read_trace(first), read_trace(second)):
        lines += 1
        if one is None or other is None or one.place != other.place:
            place = min(line.place for line in (one, other) if line is not None)
            update, minibatch = place
            mine, theirs = _presence(one, place), _presence(other, place)
            return Parting(update, minibatch, None, mine, theirs)
        for name in {**one.values, **other.values}:
            left, right = one.values.get(name), other.values.get(name)
            if left != right:
                return Parting(one.update, one.minibatch, name, _shown(left), _shown(right))
    if not lines:
        raise TrainingError(f"{first} and {second}: expected at least one update, found none")
    return None


def count_updates(path: Path) -> int:
    """Return how many updates a trace holds."""
    return max((line.update for line in read_trace(path)), default=0)


def as_dict(parting: Parting | None) -> dict[str, Any]:
    """Return plain data for a program."""
    if parting is None:
        return {"equal": True}
    return {"equal": False, **parting._asdict(), "reason": parting.reason}


def dumped(parting: Parting | None) -> str:
    """Return :func:`as_dict` as JSON."""
    return json.dumps(as_dict(parting), indent=1)


def _presence(line: TraceLine | None, place: tuple[int, int]) -> str:
    if line is None:
        return "ends before it"
    return "has it" if line.place == place else "goes on with the next update"


def _shown(value: float | tuple[str, float | None] | None) -> str:
    if value is None:
        return "not there"
    if isinstance(value, tuple):
        return f"norm {value[1]!r} (digest {value[0]})"
    return repr(value)
