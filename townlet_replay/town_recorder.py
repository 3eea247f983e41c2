"""Mode ``actions``: what ``RecordReplay`` keeps of a town, from which all else is derived.

Observations are not even looked at: rows of a few numbers by slot, and a chain of hashes over the
states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pettingzoo.utils.wrappers import BaseParallelWrapper

from townlet_replay.action_rows import TownRows
from townlet_replay.action_writer import LogWriter
from townlet_replay.background import BackgroundWriter, DirectWriter
from townlet_replay.determinism import check_repeatable
from townlet_replay.errors import CaptureError
from townlet_replay.provenance import bare_town_of, decider_of, metadata_of, names_of, played_seed
from townlet_replay.record_settings import read_settings
from townlet_replay.recorder import RecordReplay
from townlet_replay.sample import MAX_DISCRETE_LOG_PROB
from townlet_replay.sidecar import CaptureNames
from townlet_replay.town_chains import TownChains
from townlet_replay.town_setup import TownSetup

if TYPE_CHECKING:
    from townlet_env.views.parallel import TownletParallelEnv
    from townlet_replay.episode import Critic, Returned


class TownActionRecorder(RecordReplay):
    """``RecordReplay(town, out, mode="actions")``; see there."""

    def __init__(
        self,
        env: Any,
        out: str | Path,
        *,
        policy: Critic | None = None,
        names: CaptureNames | None = None,
        **settings: object,
    ) -> None:
        """Wrap a town, bare or in ``ScriptedScenario``; nothing is written before an episode ends.

        Raises:
            CaptureError: as ``RecordReplay``; or other wrappers, names, or a town that is not
                deterministic.
        """
        BaseParallelWrapper.__init__(self, env)
        self.settings = read_settings(settings)
        self.policy = policy
        self.names = names_of(env)
        if names not in (None, self.names):
            raise CaptureError("names cannot be given in mode actions; name columns when deriving")
        self.capture_metadata = metadata_of(env, self.settings.metadata)
        self._town = _bare_town(env)
        self._decider = decider_of(env)
        setup = TownSetup.of(self._town)
        self.writer = LogWriter(out, self.settings, self.capture_metadata, setup)
        check_repeatable(setup.build())
        hand_over = BackgroundWriter if self.settings.background else DirectWriter
        self._out = hand_over(self.writer)
        self._chains = TownChains(self._town.batch, setup.channels)
        self._rewards = self._town.batch.outcomes.view(np.ndarray)["reward"][0]
        self._width = len(self._town.action_lookup)
        self._rows: TownRows | None = None
        self._room = 0  # ticks of the longest episode so far
        self._slots: dict[str, int] = {}  # of those who are there
        self._finished = False  # the last episode came to its end
        self._episodes = 0

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, dict[str, Any]]]:
        """Write what is open as truncated, then reset the town.

        Raises:
            CaptureError: the open episode cannot be written.
        """
        self.seal()
        returned: tuple[dict[Any, Any], dict[Any, dict[str, Any]]]
        returned = self.env.reset(seed=seed, options=options)
        self._finished = False
        self._slots = self._town.slots
        self._chains.begin()
        seed = played_seed(self._town.batch.worlds)
        residents = self._town.batch.num_residents
        self._rows = TownRows(self._episodes, seed, (self._room, residents, self._width))
        self._rows.check(self._chains.checks[0])
        return returned

    def annotate(
        self,
        *,
        log_probs: Mapping[Any, float] | None = None,
        values: Mapping[Any, float] | None = None,
        logits: Mapping[Any, NDArray[Any]] | None = None,
        intents: Mapping[Any, Any] | None = None,
        policy_version: int | None = None,
    ) -> None:
        """Attach what the behaviour knows about the actions of the next ``step``; as before.

        Raises:
            CaptureError: an agent that is not there, or a number that cannot be one.
        """
        rows, slots = self._rows, self._slots
        told: list[tuple[str, Mapping[Any, Any] | None, Callable[[object, Any], Any]]] = [
            ("log_probs", log_probs, _log_prob),
            ("values", values, _value),
            ("logits", logits, self._scores),
            ("intents", intents, self._encode),
        ]
        for name, table, read in told:
            for agent, number in (table or {}).items():
                if rows is None or agent not in slots:
                    raise CaptureError(
                        f"annotate: agent {agent!r} is not there; expected some of {list(slots)}"
                    )
                rows.note(name, slots[agent], read(agent, number))
        if policy_version is not None and rows is not None:
            for slot in slots.values():
                rows.note("versions", slot, policy_version)

    def annotate_final(self, *, values: Mapping[Any, float]) -> None:
        """Attach V(observation after the last row), by agent, before the episode is written.

        Raises:
            CaptureError: an agent without rows in the open episode, or an infinite value.
        """
        for agent, value in values.items():
            life = None if self._rows is None else self._rows.lives.get(agent)
            if life is None:
                raise CaptureError(
                    f"agent {agent!r} has no rows in an open episode; annotate_final belongs "
                    "between the last step and reset or close"
                )
            life.last_value = _finite(agent, "final value", value)
        self._seal_if_complete()

    @property
    def _is_open(self) -> bool:
        return self._rows is not None

    def _keep(self, chosen: dict[Any, Any], returned: Returned) -> None:
        rows = self._rows
        assert rows is not None
        rows.add(chosen, self._slots, self._rewards)
        self._chains.add()
        rows.check(self._chains.checks[0])
        self._end(rows, returned)

    def _chosen(self, actions: Mapping[Any, Any]) -> dict[str, int]:
        """Return the actions of those who are there."""
        slots = self._slots
        return {
            agent: self._encode(agent, action)
            for agent, action in actions.items()
            if agent in slots and action is not None
        }

    def _scores(self, agent: object, logits: Any) -> NDArray[np.float32]:
        found = np.asarray(logits, np.float32)
        if found.shape != (self._width,):
            raise CaptureError(
                f"agent {agent!r}: expected {self._width} logits, found shape {found.shape}"
            )
        return found

    def _encode(self, agent: object, action: Any) -> int:
        found = int(action)
        if not 0 <= found < self._width:
            raise CaptureError(
                f"agent {agent!r}: action {found} cannot be recorded; "
                f"expected 0 to {self._width - 1}"
            )
        return found

    def _end(self, rows: TownRows, returned: Returned) -> None:
        """Close the lives of those who left, and see who is there now."""
        if self.env.agents == list(self._slots):
            return
        terminations = returned[2]
        gone = [agent for agent in self._slots if agent not in self.env.agents]
        for agent in gone:
            if agent in rows.lives:
                rows.lives[agent].terminated = bool(terminations.get(agent, False))
        self._value_lives(rows, gone)
        self._slots = self._town.slots

    def _value_lives(self, rows: TownRows, agents: list[str]) -> None:
        """Ask the policy for V(final observation) of those that have values but not this one."""
        if self.policy is None:
            return
        asked = {
            agent: self._seen_in(rows.lives[agent].slot)
            for agent in agents
            if agent in rows.lives and rows.needs_value(rows.lives[agent])
        }
        if asked:
            for agent, value in self.policy.values_of(asked).items():
                rows.lives[agent].last_value = _finite(agent, "final value", value)

    def _seen_in(self, slot: int) -> dict[str, NDArray[Any]]:
        """Return what is seen in a slot now, as the town gives it."""
        town, views = self._town, self._town.batch.views
        parts: dict[str, NDArray[Any]] = {}
        if town.map_channels:
            parts["map"] = views.map[0, slot].copy()
        parts["features"] = views.features[0, slot].copy()
        if town.mask_mode == "obs":
            parts["action_mask"] = views.action_mask[0, slot].copy()
        return parts

    def _seal_if_complete(self) -> None:
        rows = self._rows
        if rows is None or self.env.agents:
            return
        self._finished = True
        if not any(rows.needs_value(life) for life in rows.lives.values()):
            self.seal()

    def seal(self) -> None:
        """Write the open episode now; agents that are not done are truncated.

        Raises:
            DiskError: the disk refuses. What could not be written is tried again next time.
        """
        rows, self._rows = self._rows, None
        if rows is None:
            return
        try:
            self._value_lives(rows, list(rows.lives))
        finally:
            self._write_out(rows)

    def _write_out(self, rows: TownRows) -> None:
        """Let the lives that are wanted be written, here or in the thread."""
        self._room = max(self._room, rows.ticks)
        wanted, chains = self.settings.agents, self._chains
        sampled = [agent for agent in rows.lives if wanted is None or agent in wanted]
        certain = {
            agent: self.settings.behaviour_of(agent, log_probs_known=False).kind == "script"
            for agent in sampled
        }
        if not sampled:
            return
        self._episodes += 1
        block = rows.block(certain, chains.states[0].tobytes(), chains.seen[0].tobytes())
        self._out.put(lambda: [block], block.nbytes)


def _bare_town(env: Any) -> TownletParallelEnv:
    """Return the town that ``env`` is, or that a ``ScriptedScenario`` is around."""
    town = bare_town_of(env)
    if town is None:
        from townlet_env.wrappers import ScriptedScenario

        inner = env.env if type(env) is ScriptedScenario else env
        raise CaptureError(
            "an action log of a town needs the town itself, or ScriptedScenario around it; found "
            f"{type(inner).__name__}, which may change what is seen or done"
        )
    return town


def _finite(agent: object, name: str, number: float) -> float:
    found = float(number)
    if math.isinf(found):
        raise CaptureError(f"agent {agent!r}: the {name} is {found}; NaN means unknown")
    return found


def _value(agent: object, number: float) -> float:
    return _finite(agent, "value", number)


def _log_prob(agent: object, number: float) -> float:
    found = _finite(agent, "log-prob", number)
    if found > MAX_DISCRETE_LOG_PROB:
        raise CaptureError(f"agent {agent!r}: log-prob {found} of an action id is above 0")
    return found
