"""PPO with hand-written gradients for the default network: ``ppo_update`` with other roundings.

A minibatch is cut into chunks whose gradients are added in order; threads share the chunks. So the
weights depend on seed and settings, not on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_replay.policy.fused_kernels import Bytes, Masks
from townlet_replay.policy.fused_net import CellLists, FusedNetwork, Rows, Workspace
from townlet_replay.rollout import Rollout
from townlet_replay.training.batches import check_choices, check_finite
from townlet_replay.training.fused_adam import FusedAdam
from townlet_replay.training.fused_gradients import Gradients, Slopes, backward, width_of
from townlet_replay.training.fused_kernels import (
    ENTROPY,
    K3,
    OUTSIDE,
    POLICY,
    RATIO,
    RATIO_MAX,
    RATIO_SQUARED,
    SUMS,
    VALUE,
    Sums,
    Targets,
    Terms,
    mean_and_deviation,
    ppo_gradient,
)
from townlet_replay.training.gae import Advantages
from townlet_replay.training.ppo import (
    ADVANTAGE_EPS,
    PPOConfig,
    Stepper,
    check_known,
    check_legal,
    estimate,
    pass_over,
)
from townlet_replay.training.torch_settings import torch_threads
from townlet_replay.training.update_stats import Figures, UpdateStats, summary

# Rows of a chunk: fewer do not repay the calls, what more of them need leaves the core's cache.
LEAST_ROWS, MOST_ROWS = 256, 2048
_REFERENCE_ROWS = 1024  # so many rows say which cells are mostly set
_NORM_EPS = 1e-6  # torch.nn.utils.clip_grad_norm_


class _Data(NamedTuple):
    """One rollout as the kernels read it."""

    maps: CellLists
    mask: Masks
    features: Tensor  # (N, F) in the precision of the products
    targets: Targets


class _Room(NamedTuple):
    """Buffers of one thread for chunks of n rows."""

    space: Workspace
    slopes: Slopes
    features: Tensor  # (n, F)


class FusedPPO:
    """Updates one network, with buffers that live as long as it does.

    The same mathematics, settings, statistics and order of minibatches as ``ppo_update``.

    Args:
        fused: The network.
        optimizer: Adam over its parameters, from ``make_optimizer``.
        config: Settings.
        threads: That share the chunks of a minibatch.

    Attributes:
        watch: Given the stepper, rows and estimates of an update, returns who goes through it.
    """

    def __init__(
        self,
        fused: FusedNetwork,
        optimizer: torch.optim.Optimizer,
        config: PPOConfig,
        threads: int = 1,
    ) -> None:
        self._fused = fused
        self._adam = FusedAdam(optimizer)
        self._config = config
        self._threads = threads
        self._total = Gradients(fused, torch.zeros(width_of(fused)))
        self._rows = chunk_rows(config.minibatch_size)
        chunks = -(-config.minibatch_size // self._rows)
        self._flats = torch.zeros(chunks, width_of(fused))
        self._parts = [Gradients(fused, flat) for flat in self._flats]
        self._rooms: list[dict[int, _Room]] = [{} for _ in range(threads)]
        self._lists = CellLists.empty(0, fused.cells)
        self.watch: Callable[[Stepper, Rollout, Advantages], Stepper] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._data: _Data | None = None

    def update(
        self, rollout: Rollout, rng: np.random.Generator, config: PPOConfig | None = None
    ) -> UpdateStats:
        """Train the network in place on one rollout; see ``ppo_update``.

        Args:
            rollout: Packed segments.
            rng: Draws the permutations.
            config: Settings of this update and those after it; minibatches keep their size.

        Raises:
            TrainingError: As ``ppo_update``, or a map that holds more than 0 and 1.
        """
        self._config = config or self._config
        check_known(rollout)
        check_choices(self._fused.network, rollout)
        check_legal(rollout)
        estimates = estimate(rollout, self._config)
        targets = Targets(
            np.ascontiguousarray(rollout.actions, np.int64),
            *(
                np.ascontiguousarray(array, np.float32)
                for array in (rollout.old_log_probs, rollout.values, *estimates)
            ),
        )
        with torch_threads(1), self._helpers():
            self._data = self._load(rollout, targets)
            self._total.hand_over()
            self._adam.begin()
            try:
                stepper: Stepper = self
                if self.watch is not None:
                    stepper = self.watch(self, rollout, estimates)
                passes = pass_over(len(rollout.actions), stepper, self._config, rng)
            finally:
                self._adam.end()
                self._data = None
        return summary(rollout, estimates, passes)

    @contextmanager
    def _helpers(self) -> Iterator[None]:
        """Keep the other threads at hand meanwhile."""
        if self._threads == 1:
            yield
            return
        with ThreadPoolExecutor(self._threads - 1, "fused", torch.set_num_threads, (1,)) as pool:
            self._pool = pool
            yield
        self._pool = None

    def _load(self, rollout: Rollout, targets: Targets) -> _Data:
        fused, rows = self._fused, len(rollout.actions)
        seen = fused.network.spec.arrays(rollout.observations)
        if fused.cells:
            if len(self._lists.starts) <= rows:
                self._lists = CellLists.empty(rows, fused.cells)
            fused.reference[:] = _usual_map(seen["map"])
            self._lists.fill(seen["map"], fused.reference)
        fused.refresh()
        mask = rollout.action_mask
        features = seen[fused.network.spec.features_key]
        return _Data(
            maps=self._lists,
            mask=np.zeros((0, 0), np.int8) if mask is None else np.ascontiguousarray(mask, np.int8),
            features=torch.tensor(features, dtype=fused.features_weight.low.dtype),
            targets=targets,
        )

    def judge(self, index: Tensor) -> Figures:
        """Return the figures of a minibatch and keep its gradient."""
        rows = np.sort(index.numpy())  # their sums do not mind the order; the cache does
        terms = self._terms(rows)
        size = self._rows
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        sums = np.zeros((len(parts), SUMS))

        def work(thread: int) -> None:
            for k in range(thread, len(parts), self._threads):
                self._chunk(parts[k], terms, sums[k], (self._parts[k], self._rooms[thread]))

        others = []
        if self._pool is not None:
            others = [self._pool.submit(work, k) for k in range(1, min(self._threads, len(parts)))]
        work(0)
        for other in others:
            other.result()
        self._total.flat.copy_(self._flats[0])
        for flat in self._flats[1 : len(parts)]:
            self._total.flat.add_(flat)
        return _figures(sums, len(rows), self._config)

    def step(self, figures: Figures) -> float:
        """Step along the gradient kept; return its global norm before clipping."""
        total = self._total
        total.finish()
        norm = float(torch.linalg.vector_norm(total.flat))
        check_finite(norm, figures.total)
        self._adam.step(min(1.0, self._config.max_grad_norm / (norm + _NORM_EPS)))
        self._fused.refresh()
        return norm

    def _terms(self, rows: NDArray[np.int64]) -> Terms:
        config = self._config
        mean, scale = 0.0, 1.0
        if config.normalize_advantage and len(rows) > 1:
            mean, deviation = mean_and_deviation(self._loaded.targets.advantages, rows)
            scale = 1.0 / (deviation + ADVANTAGE_EPS)
        near = np.inf if config.clip_range_vf is None else config.clip_range_vf
        low, high = 1 - config.clip_range, 1 + config.clip_range
        numbers = (len(rows), mean, scale, low, high, config.clip_range, near)
        return Terms(*map(np.float32, (*numbers, config.ent_coef, config.vf_coef)))

    @property
    def _loaded(self) -> _Data:
        if self._data is None:
            raise ValueError("expected a minibatch of a rollout that is being trained on")
        return self._data

    def _chunk(
        self,
        index: NDArray[np.int64],
        terms: Terms,
        sums: Sums,
        where: tuple[Gradients, dict[int, _Room]],
    ) -> None:
        """Judge one chunk and write its gradient."""
        gradients, rooms = where
        fused, data = self._fused, self._loaded
        room = rooms.get(len(index))
        if room is None:
            for old in [size for size in rooms if size != self._rows]:
                del rooms[old]
            room = _Room(
                fused.workspace(len(index)),
                Slopes.of(fused, len(index)),
                torch.empty(len(index), data.features.shape[1], dtype=data.features.dtype),
            )
            rooms[len(index)] = room
        space = room.space
        torch.index_select(data.features, 0, torch.from_numpy(index), out=room.features)
        rows = Rows(data.maps, index, data.mask, room.features)
        fused.forward(rows, space)
        judged = (space.padded, space.log_probs, space.probs)
        ppo_gradient(*judged, index, data.targets, terms, sums)
        backward(fused, rows, space, room.slopes, gradients)


def chunk_rows(minibatch_size: int) -> int:
    """Return how many rows a chunk has: half a minibatch, so that two threads have work."""
    return max(LEAST_ROWS, min(MOST_ROWS, -(-minibatch_size // 2)))


def _usual_map(maps: NDArray[np.generic]) -> Bytes:
    """Return what most maps show, (C,) of 0 and 1, judged by evenly spaced rows."""
    some = maps[:: max(1, len(maps) // _REFERENCE_ROWS)].reshape(-1, maps[0].size)
    usual: Bytes = (some.mean(axis=0) > 0.5).astype(np.uint8)
    return usual


def _figures(parts: Sums, rows: int, config: PPOConfig) -> Figures:
    """Return the figures of a minibatch from the sums of its chunks."""
    columns = parts.T.tolist()
    sums = [sum(column) for column in columns]
    policy, value, entropy = sums[POLICY] / rows, sums[VALUE] / rows, -sums[ENTROPY] / rows
    return Figures(
        policy=policy,
        value=value,
        entropy=entropy,
        total=policy + config.ent_coef * entropy + config.vf_coef * value,
        clipped=sums[OUTSIDE] / rows,
        kl=sums[K3] / rows,
        ratio_mean=sums[RATIO] / rows,
        ratio_max=max(columns[RATIO_MAX]),
        ess=sums[RATIO] ** 2 / (rows * sums[RATIO_SQUARED]),
    )
