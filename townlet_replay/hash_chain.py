"""A chain of hashes over the states of an episode: the first state that is another shows.

Four bytes of the chain are kept per state, all of it at the end. Three kinds: the states of a town
are folded by the kernel that hashes them; of any other environment the text of ``state_digest()``
is; logs of format 1.1 hold a chain over a hash of a town field by field.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np

from townlet_env.sim.hashing import LINK_WORDS
from townlet_env.sim.snapshot import field_digest
from townlet_replay.determinism import digest_of
from townlet_replay.provenance import town_of

CHAIN_BYTES = 16
CHECK_BYTES = 4

ChainKind = Literal["states", "digests", "fields"]


class HashChain:
    """Folds the states of an episode, one after the other.

    Args:
        kind: ``states`` of a town, ``digests`` of any environment, or ``fields`` of a town.
    """

    def __init__(self, kind: ChainKind) -> None:
        self.kind = kind
        self.value = bytes(CHAIN_BYTES)
        self.checks: list[bytes] = []  # of every state so far
        self._links = np.zeros((1, LINK_WORDS), np.uint64)

    def add(self, env: Any) -> bytes:
        """Fold the state that ``env`` is in; return what is kept of the chain at this place.

        Raises:
            CaptureError: the environment has no ``state_digest``.
        """
        town = None if self.kind == "digests" else town_of(env)
        if town is not None and self.kind == "states":
            town.batch.fold_states(self._links)
            self.value = self._links.tobytes()
        else:
            text = digest_of(env) if town is None else field_digest(town.batch.worlds[0])
            link = hashlib.blake2b(self.value + text.encode(), digest_size=CHAIN_BYTES)
            self.value = link.digest()
        self.checks.append(self.value[:CHECK_BYTES])
        return self.checks[-1]
