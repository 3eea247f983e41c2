"""Acting with the fused forward pass: one draw per row from a counted stream."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_env.sim.random import episode_seed
from townlet_replay.policy.fused_kernels import Masks, draw_each
from townlet_replay.policy.fused_net import CellLists, FusedNetwork, Rows, Workspace
from townlet_replay.policy.network import Observations, TownletNetwork
from townlet_replay.policy.runtime import Acts


class CountedDraws(NamedTuple):
    """Where the draws of a :class:`FusedActor` stand."""

    key: int
    ticks: int


_DRAWS = 0x5EED_AC75  # keeps the stream of actions apart from those of the town


class FusedActor:
    """Acts like ``PolicyRuntime``, sampled, for batches whose rows mean the same lanes every time.

    Row ``r`` of the ``t``-th call draws a number that is a function of (seed, t, r) alone.

    Args:
        fused: The network; what it was last refreshed with acts.
        seed: Of the draws.

    Attributes:
        ticks: Calls so far.
        memory: None: networks that remember are not fused.
    """

    def __init__(self, fused: FusedNetwork, seed: int) -> None:
        self.fused = fused
        self.ticks = 0
        self.memory: NDArray[np.float32] | None = None
        self._key = np.uint64(episode_seed(seed, _DRAWS))
        self._everything: Masks = np.zeros((0, 0), np.int8)
        self._room: tuple[Workspace, CellLists] | None = None

    @property
    def network(self) -> TownletNetwork:
        """The network that acts."""
        return self.fused.network

    def get_state(self) -> CountedDraws:
        """Return where the draws stand."""
        return CountedDraws(int(self._key), self.ticks)

    def set_state(self, state: CountedDraws) -> None:
        """Continue from :meth:`get_state`."""
        self._key, self.ticks = np.uint64(state.key), state.ticks

    def act_batch(self, observations: Observations, mask: NDArray[Any] | None = None) -> Acts:
        """Choose one action per row.

        Args:
            observations: key -> ``(B, ...)`` as in the network's spec; other keys are ignored.
            mask: ``(B, A)``, nonzero where legal; None allows everything.

        Returns:
            Actions with log-probs and values; as logits the masked log-probabilities, which are
            logits of the same distribution.

        Raises:
            TrainingError: The observations do not fit the network.
        """
        seen = self.network.spec.arrays(observations)
        # torch shares memory with plain, writable arrays alone.
        features = torch.from_numpy(
            np.require(seen[self.network.spec.features_key], None, ["C", "W"])
        )
        count = len(features)
        space, lists = self._room_for(count)
        if "map" in seen:
            lists.fill(seen["map"], self.fused.reference)
        allowed = self._everything if mask is None else np.ascontiguousarray(mask, np.int8)
        rows = Rows(lists, np.arange(count), allowed, features.to(self.fused.features_weight.low))
        self.fused.forward(rows, space)
        actions, chosen = np.empty(count, np.int64), np.empty(count, np.float32)
        draw_each(space.probs, space.log_probs, self._key, self.ticks, actions, chosen)
        self.ticks += 1
        return Acts(actions, chosen, space.values.copy(), space.log_probs[:, :count].T.copy())

    def _room_for(self, rows: int) -> tuple[Workspace, CellLists]:
        room = self._room
        if room is None or len(room[1].starts) != rows + 1:
            room = self.fused.workspace(rows), CellLists.empty(rows, self.fused.cells)
            self._room = room
        return room
