"""Living a recorded episode again in any environment: the same actions, recorded in memory.

Towns are lived again many at once (:mod:`townlet_replay.reliving`); this is for other environments,
and for logs of towns of format 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.background import EpisodeWriter
from townlet_replay.errors import CaptureError
from townlet_replay.hash_chain import ChainKind, HashChain
from townlet_replay.recorder import RecordReplay
from townlet_replay.reliving.lives import Known
from townlet_replay.sample import ReplaySample


@dataclass(frozen=True)
class Script:
    """An episode to be lived again."""

    episode_id: int
    seed: int
    actions: Sequence[Mapping[str, Any]]  # by tick: agent -> action as it was recorded
    known: Mapping[str, Known] = field(default_factory=dict)
    kind: ChainKind = "digests"
    checks: NDArray[np.uint8] | None = None  # (ticks + 1, 4) of the hash chain
    chain: bytes | None = None  # the whole of it at the end


class Played(NamedTuple):
    """What came out."""

    samples: list[ReplaySample]
    wrong_tick: int | None  # first tick after which the state was another; 0: after reset


class MemoryWriter:
    """Keeps episodes instead of writing them."""

    directory = manifest_path = Path("memory")

    def __init__(self) -> None:
        self.samples: list[ReplaySample] = []

    def write_episode(self, samples: Sequence[ReplaySample]) -> None:
        """Keep the samples of an episode."""
        self.samples += samples

    def close(self) -> None:
        """Nobody else can write there."""

    def take(self) -> list[ReplaySample]:
        """Return what was kept, and forget it."""
        samples, self.samples = self.samples, []
        return samples


class MemoryRecorder(RecordReplay):
    """Records into memory."""

    def __init__(self, env: Any, **settings: Any) -> None:
        """Wrap ``env``; arguments as those of ``RecordReplay``, without a directory."""
        self.memory = MemoryWriter()
        super().__init__(env, "memory", **settings)

    @property
    def recording(self) -> bool:
        """Whether an episode is open."""
        return self._episode is not None

    def resume_at(self, episode_id: int) -> None:
        """Give the next episode this number."""
        self._episodes = episode_id

    def given(self, agent: Any, stored: Any) -> Any:
        """Return a recorded action as the environment takes it.

        Raises:
            CaptureError: it is no action.
        """
        try:
            return self._formats[agent].decode(stored)
        except (ValueError, OverflowError) as error:
            raise CaptureError(f"agent {agent!r}: the action {stored} is no id") from error

    def _open_writer(self, out: str | Path) -> EpisodeWriter:
        del out
        return self.memory


class Rerun:
    """Plays scripts in one environment.

    Args:
        env: the environment, or one like it.
        settings: of the recorder.
    """

    def __init__(self, env: Any, **settings: Any) -> None:
        self.env = env
        self._values = _LoggedValues()
        self._recorder = MemoryRecorder(env, policy=self._values, **settings)
        self._ids = {str(agent): agent for agent in env.possible_agents}

    def play(self, script: Script) -> Played:
        """Live one episode again, up to the first state that is not the recorded one.

        Raises:
            CaptureError: an action or number that cannot be recorded.
        """
        strangers = {agent for tick in script.actions for agent in tick} - self._ids.keys()
        if strangers:
            raise CaptureError(f"agent {min(strangers)!r} is none of this environment")
        recorder, chain = self._recorder, HashChain(script.kind)
        recorder.resume_at(script.episode_id)
        recorder.reset(seed=script.seed)
        rows = dict.fromkeys(self._ids, 0)
        wrong = None if _fits(chain, self.env, script, 0) else 0
        for tick, actions in enumerate(script.actions):
            if wrong is not None or not recorder.agents:
                break
            self._annotate(script, actions, rows)
            for agent in actions:
                rows[agent] += 1
            self._values.expect(script, rows)
            ids = {agent: self._ids[agent] for agent in actions}
            recorder.step({ids[a]: recorder.given(ids[a], actions[a]) for a in actions})
            self._annotate_ends(actions)
            if not _fits(chain, self.env, script, tick + 1):
                wrong = tick + 1
        if wrong is None and script.chain is not None and chain.value != script.chain:
            wrong = len(chain.checks) - 1
        recorder.seal()
        return Played(self._recorder.memory.take(), wrong)

    def _annotate(
        self, script: Script, actions: Mapping[str, Any], rows: Mapping[str, int]
    ) -> None:
        told = {
            agent: (script.known[agent], rows[agent]) for agent in actions if agent in script.known
        }
        if not told:
            return
        ids = self._ids
        versions = [
            known.versions[row] for known, row in told.values() if known.versions is not None
        ]
        self._recorder.annotate(
            log_probs={ids[a]: float(known.log_probs[row]) for a, (known, row) in told.items()},
            values={ids[a]: float(known.values[row]) for a, (known, row) in told.items()},
            logits={
                ids[a]: known.logits[row]
                for a, (known, row) in told.items()
                if known.logits is not None and not np.isnan(known.logits[row]).all()
            },
            intents={
                ids[a]: self._recorder.given(ids[a], known.intents[row])
                for a, (known, row) in told.items()
                if known.intents is not None
            },
            policy_version=int(versions[0]) if len(versions) == len(told) else None,
        )

    def _annotate_ends(self, actions: Mapping[str, Any]) -> None:
        """Tell values that nobody asks for: where an episode is cut and no row has a value."""
        ends = {
            self._ids[agent]: value
            for agent, value in self._values.at_end.items()
            if agent in actions
        }
        if ends and self._recorder.recording:
            self._recorder.annotate_final(values=ends)


class _LoggedValues:
    """The critic of a rerun: it remembers."""

    def __init__(self) -> None:
        self.at_end: dict[str, float] = {}  # agents whose last row this is

    def expect(self, script: Script, rows: Mapping[str, int]) -> None:
        """Take note of whose last row has come."""
        self.at_end = {
            agent: float(known.values[-1])
            for agent, known in script.known.items()
            if rows[agent] == len(known.log_probs) and not np.isnan(known.values[-1])
        }

    def values_of(self, observations: dict[Any, Any]) -> dict[Any, float]:
        """Return V(final observation) of those who had one."""
        return {
            agent: self.at_end[str(agent)] for agent in observations if str(agent) in self.at_end
        }


def _fits(chain: HashChain, env: Any, script: Script, tick: int) -> bool:
    check = chain.add(env) if script.checks is not None else b""
    return script.checks is None or script.checks[tick].tobytes() == check
