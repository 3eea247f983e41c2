"""A network that acts: batched, seeded, and saying what a recorder must know about each choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import ILLEGAL_LOGIT, draw_actions, masked_log_probs
from townlet_replay.policy.network import Observations, TownletNetwork
from townlet_replay.policy.recurrent import SEGMENT, STATE
from townlet_replay.sample import ReplaySample

_ROWS_AT_ONCE = 4096  # rows judged in one pass; bounds memory, not results


class Acts(NamedTuple):
    """What a batch of residents does, and under which behaviour."""

    actions: NDArray[np.int64]  # (B,)
    log_probs: NDArray[np.float32]  # (B,) of the behaviour that acted; 0 when greedy
    values: NDArray[np.float32]  # (B,)
    logits: NDArray[np.float32]  # (B, A) of the behaviour: with temperature, before the mask


class ResidentActs(NamedTuple):
    """:class:`Acts` by resident, in sorted order.

    ``env.annotate(log_probs=acts.log_probs, values=acts.values, logits=acts.logits)``, then
    ``env.step(acts.actions)``.
    """

    actions: dict[str, int]
    log_probs: dict[str, float]
    values: dict[str, float]
    logits: dict[str, NDArray[np.float32]]  # (A,) each


class PolicyRuntime:
    """Acts with a network, one stream of random numbers for all residents.

    Residents are batched in sorted order, so that nothing depends on the order of a dict.

    What a network with a recurrent core remembers is kept by resident in :meth:`act`, by row in
    :meth:`act_batch`, and begins anew where an observation says that a life does.

    Args:
        network: read, never trained here; later changes of its weights take effect.
        seed: seeds the sampling.
        greedy: take the most probable action (the first of equals) instead of sampling.
        temperature: divides the logits before sampling; what is recorded is the distribution that
            was sampled from.

    Attributes:
        memory: ``(B, 2 H)`` what the rows of the last ``act_batch`` are remembered by now; None
            before the first, and of a network without a recurrent core.

    Raises:
        TrainingError: the temperature is not a positive number.
    """

    def __init__(
        self,
        network: TownletNetwork,
        *,
        seed: int,
        greedy: bool = False,
        temperature: float = 1.0,
    ) -> None:
        if not 0.0 < temperature < np.inf:
            raise TrainingError(f"temperature must be a positive number, got {temperature}")
        self.network = network
        self.greedy = greedy
        self.temperature = temperature
        self.memory: NDArray[np.float32] | None = None
        self._rng = np.random.default_rng(seed)
        self._lives: dict[str, NDArray[np.float32]] = {}

    @property
    def digest(self) -> str:
        """SHA-256 of the weights it acts with now."""
        return self.network.digest

    def get_state(self) -> dict[str, Any]:
        """Return the state of the sampling stream (``numpy.random.BitGenerator.state``)."""
        return dict(self._rng.bit_generator.state)

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`get_state`."""
        self._rng.bit_generator.state = state

    def act_batch(self, observations: Observations, mask: NDArray[Any] | None = None) -> Acts:
        """Choose one action per row.

        Args:
            observations: key -> ``(B, ...)`` as in the network's spec; other keys are ignored.
            mask: ``(B, A)``, nonzero where legal; None allows everything.

        Raises:
            TrainingError: observations or mask do not fit the network, or a row allows nothing.
        """
        logits, values, self.memory = self._advance(self._remembered(observations))
        allowed = self._checked_mask(mask, len(logits))
        if not self.greedy and self.temperature != 1.0:
            logits = logits / self.temperature
        log_probs = masked_log_probs(logits, allowed).numpy()
        if self.greedy:
            actions = log_probs.argmax(axis=1).astype(np.int64)
            chosen = np.zeros(len(actions), dtype=np.float32)
            behaviour = np.full(log_probs.shape, ILLEGAL_LOGIT, dtype=np.float32)
            behaviour[np.arange(len(actions)), actions] = 0.0
        else:
            actions = draw_actions(log_probs, self._rng)
            chosen = log_probs[np.arange(len(actions)), actions]
            behaviour = logits.numpy()
        return Acts(actions, chosen, values, behaviour)

    def act(
        self, observations: Mapping[str, Any], masks: Mapping[str, NDArray[Any]] | None = None
    ) -> ResidentActs:
        """Choose an action for every resident.

        Args:
            observations: resident -> observation, a Dict one or a bare array.
            masks: resident -> ``(A,)`` for environments that keep masks out of the observation;
                by default ``observation["action_mask"]`` where there is one.

        Raises:
            TrainingError: as :meth:`act_batch`, or some residents have a mask and others none.
        """
        residents = sorted(observations)
        if not residents:
            return ResidentActs({}, {}, {}, {})
        stacked = _stack([_as_dict(observations[resident]) for resident in residents])
        mask = stacked.get("action_mask")
        if masks is not None:
            mask = np.stack([masks[resident] for resident in residents])
        self.memory = self._memory_of(residents)
        acts = self.act_batch(stacked, mask)
        if self.memory is not None:
            self._lives.update(zip(residents, self.memory, strict=True))
        return ResidentActs(
            dict(zip(residents, acts.actions.tolist(), strict=True)),
            dict(zip(residents, acts.log_probs.tolist(), strict=True)),
            dict(zip(residents, acts.values.tolist(), strict=True)),
            dict(zip(residents, acts.logits, strict=True)),
        )

    def values_of(self, observations: Mapping[str, Any]) -> dict[str, float]:
        """Return V(observation) of every resident, for instance of final observations.

        A recurrent core goes on from what the resident is remembered by, which stays as it is.
        """
        residents = sorted(observations)
        if not residents:
            return {}
        stacked = _stack([_as_dict(observations[resident]) for resident in residents])
        memory = self._memory_of(residents)
        values = self._advance(stacked if memory is None else {**stacked, STATE: memory})[1]
        return dict(zip(residents, values.tolist(), strict=True))

    def values_batch(self, observations: Observations) -> NDArray[np.float32]:
        """Return V of observations, key -> ``(B, ...)``: ``(B,)``; draws no random numbers.

        Raises:
            TrainingError: The observations do not fit; or the network has a recurrent core, and
                they have no key ``core_state`` that says what each row is remembered by.
        """
        if self.network.state_width and STATE not in observations:
            raise TrainingError(
                f"values_batch: expected the key {STATE!r} with what a recurrent network remembers "
                "of every row, found none; pass rows of `memory`, or record resident by resident"
            )
        return self._advance(observations)[1]

    def annotate(self, sample: ReplaySample) -> ReplaySample:
        """Return ``sample`` with this network's view of somebody's actions.

        ``extras["policy_log_probs"]`` (T,) is the log-probability this network gives to the
        recorded actions, and ``capture_metadata.policy_hash`` its :attr:`digest`; neither takes the
        place of the behaviour's own ``old_log_probs`` and digest. Unknown (NaN) values become this
        network's; known ones stay.

        Raises:
            TrainingError: the sample does not fit the network.
        """
        rows = sample.rows
        log_probs = np.empty(rows, dtype=np.float32)
        values = np.zeros(rows + 1, dtype=np.float32)
        memory: NDArray[np.float32] | None = None
        for start in range(0, rows, _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, rows))
            seen = {key: array[part] for key, array in sample.observations.items()}
            logits, values[part], memory = self._advance(_as_one_life(seen, memory))
            mask = None if sample.action_mask is None else sample.action_mask[part]
            allowed = self._checked_mask(mask, len(logits))
            judged = masked_log_probs(logits, allowed).numpy()
            log_probs[part] = judged[np.arange(len(judged)), sample.actions[part]]
        if not sample.terminations[-1]:
            final = _as_one_life(_stack([sample.final_observation]), memory)
            values[-1] = self._advance(final)[1][0]
        origin = sample.meta.capture_metadata.model_copy(update={"policy_hash": self.digest})
        return dataclasses.replace(
            sample,
            value_preds=np.where(np.isnan(sample.value_preds), values, sample.value_preds),
            extras={**sample.extras, "policy_log_probs": log_probs},
            meta=sample.meta.model_copy(update={"capture_metadata": origin}),
        )

    @torch.no_grad()
    def _advance(
        self, observations: Observations
    ) -> tuple[torch.Tensor, NDArray[np.float32], NDArray[np.float32] | None]:
        """Return logits (B, A), on the CPU, values (B,), and what is remembered now."""
        logits, values, state = self.network.advance(self.network.tensors(observations))
        memory = None if state is None else state.cpu().numpy()
        return logits.cpu(), values.cpu().numpy(), memory

    def _remembered(self, observations: Observations) -> Observations:
        """Add what the rows are remembered by."""
        if self.memory is None or not self.network.state_width:
            return observations
        found = len(observations[self.network.spec.features_key])
        if found != len(self.memory):
            raise TrainingError(
                f"a recurrent network remembers rows: expected {len(self.memory)} as before, found "
                f"{found}; open another runtime for other rows"
            )
        return {**observations, STATE: self.memory}

    def _memory_of(self, residents: list[str]) -> NDArray[np.float32] | None:
        width = self.network.state_width
        if not width:
            return None
        nothing = np.zeros(width, np.float32)
        return np.stack([self._lives.get(resident, nothing) for resident in residents])

    def _checked_mask(self, mask: NDArray[Any] | None, rows: int) -> torch.Tensor | None:
        if mask is None:
            return None
        expected = (rows, self.network.spec.action_dim)
        if mask.shape != expected:
            raise TrainingError(f"action mask: expected shape {expected}, found {mask.shape}")
        legal = mask.astype(bool)
        stuck = np.flatnonzero(~legal.any(axis=1))
        if len(stuck):
            raise TrainingError(
                f"action mask: row {stuck[0]} allows no action; a resident that cannot act must "
                "not be asked to (the town always allows action 0, wait)"
            )
        return torch.from_numpy(legal)


def _as_one_life(
    observations: Observations, memory: NDArray[np.float32] | None
) -> dict[str, NDArray[Any]]:
    """Let rows follow each other, from ``memory`` (1, 2 H) on; other networks do not look."""
    rows = len(next(iter(observations.values())))
    joined = {**observations, SEGMENT: np.zeros(rows, np.int64)}
    if memory is not None:
        joined[STATE] = np.repeat(memory[-1:], rows, axis=0)
    return joined


def _as_dict(observation: object) -> dict[str, NDArray[Any]]:
    if isinstance(observation, dict):
        return observation
    return {"observation": np.asarray(observation)}


def _stack(observations: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Stack observations with the same keys into ``(B, ...)`` arrays."""
    keys = observations[0].keys()
    for observation in observations:
        if observation.keys() != keys:
            raise TrainingError(
                f"expected every observation to have the keys {sorted(keys)}, "
                f"found one with {sorted(observation)}"
            )
    return {key: np.stack([observation[key] for observation in observations]) for key in keys}
