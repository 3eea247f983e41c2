"""What a behaviour knows about its actions, attached to the rows of a recording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.errors import CaptureError
from townlet_replay.frames import NAN
from townlet_replay.sample import MAX_DISCRETE_LOG_PROB
from townlet_replay.spaces import ActionFormat

Action = int | NDArray[Any]
Formats = Mapping[Any, ActionFormat]
"""How the actions of an agent are stored."""


class Notes(NamedTuple):
    """What is known of the actions of one step, by agent; checked, and nobody else's arrays."""

    log_probs: dict[Any, float]  # NaN: unknown
    values: dict[Any, float]  # NaN: unknown
    logits: dict[Any, NDArray[np.float32]]  # (A,)
    intents: dict[Any, Action]  # as they are recorded
    policy_version: int | None  # for everybody who acts

    def with_more(self, later: Notes) -> Notes:
        """Return these notes with ``later`` ones, which win."""
        if self is NO_NOTES:
            return later
        version = later.policy_version
        return Notes(
            self.log_probs | later.log_probs,
            self.values | later.values,
            self.logits | later.logits,
            self.intents | later.intents,
            self.policy_version if version is None else version,
        )


NO_NOTES = Notes({}, {}, {}, {}, None)


class Attached(NamedTuple):
    """What a caller attaches to the next actions, by agent; ``None`` where nothing."""

    log_probs: Mapping[Any, float] | None
    values: Mapping[Any, float] | None
    logits: Mapping[Any, NDArray[Any]] | None
    intents: Mapping[Any, Any] | None
    policy_version: int | None

    def check_agents(self, present: Mapping[Any, object]) -> None:
        """Refuse agents that are not there.

        Raises:
            CaptureError: names one of them.
        """
        for table in self[:4]:
            if table and not table.keys() <= present.keys():
                agent = next(agent for agent in table if agent not in present)
                raise CaptureError(
                    f"annotate: agent {agent!r} is not there; expected some of {list(present)}"
                )

    def read(self, formats: Formats) -> Notes:
        """Return checked copies.

        Args:
            formats: of the actions, by agent.

        Raises:
            CaptureError: a number that cannot be one, or an intent that is no action.
        """
        log_probs, values, logits, intents, version = self
        return Notes(
            {} if log_probs is None else _log_probs(log_probs, formats),
            {} if values is None else finite_or_nan("value", values),
            {} if logits is None else {a: _copied(x) for a, x in logits.items()},
            {}
            if intents is None
            else {agent: formats[agent].encode(agent, x) for agent, x in intents.items()},
            version,
        )


def finite_or_nan(name: str, numbers: Mapping[Any, float]) -> dict[Any, float]:
    """Return numbers that were attached to agents; NaN means unknown.

    Raises:
        CaptureError: one is infinite.
    """
    found = {agent: float(number) for agent, number in numbers.items()}
    if not all(map(math.isfinite, found.values())):
        for agent, number in found.items():
            if math.isinf(number):
                raise CaptureError(f"agent {agent!r}: the {name} is {number}; NaN means unknown")
            if math.isnan(number):
                found[agent] = NAN
    return found


def _log_probs(numbers: Mapping[Any, float], formats: Formats) -> dict[Any, float]:
    """Return log-probs; one of an action id is at most that of probability 1."""
    found = finite_or_nan("log-prob", numbers)
    if any(number > MAX_DISCRETE_LOG_PROB for number in found.values()):
        for agent, number in found.items():
            if number > MAX_DISCRETE_LOG_PROB and formats[agent].discrete:
                raise CaptureError(f"agent {agent!r}: log-prob {number} of an action id is above 0")
    return found


def _copied(logits: Any) -> NDArray[np.float32]:
    if type(logits) is np.ndarray and logits.dtype == np.float32:
        return logits.copy()
    return np.array(logits, np.float32)
