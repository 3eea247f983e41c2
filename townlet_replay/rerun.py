"""Living recorded episodes again: the same actions in the same environment, recorded in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_env.config.schema import TownConfig
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.spaces import MaskMode, ObservationVariant
from townlet_replay.action_log import HashChain
from townlet_replay.background import EpisodeWriter
from townlet_replay.determinism import digest_of
from townlet_replay.errors import CaptureError
from townlet_replay.recorder import RecordReplay
from townlet_replay.sample import ReplaySample


class TownSetup(NamedTuple):
    """How a town is built."""

    config: TownConfig
    observation: ObservationVariant
    mask: MaskMode
    details: bool

    def build(self) -> TownletParallelEnv:
        """Return the town."""
        return TownletParallelEnv(
            self.config, observation=self.observation, mask=self.mask, details=self.details
        )


class Known(NamedTuple):
    """What the behaviour knew of one agent's T rows; it cannot be derived."""

    log_probs: NDArray[np.float32]  # (T,)
    values: NDArray[np.float32]  # (T + 1,)
    logits: NDArray[np.float32] | None = None  # (T, A)
    intents: NDArray[Any] | None = None  # like the actions
    versions: NDArray[np.int64] | None = None  # (T,)


@dataclass(frozen=True)
class Script:
    """An episode to be lived again."""

    episode_id: int
    seed: int
    actions: Sequence[Mapping[str, Any]]  # by tick: agent -> action as it was recorded
    known: Mapping[str, Known] = field(default_factory=dict)
    checks: NDArray[np.uint8] | None = None  # (ticks + 1, 4) of the hash chain
    chain: bytes | None = None  # the whole of it at the end

    def knowing(self, known: Mapping[str, Known]) -> Script:
        """Return the same episode, with something else known about its behaviour."""
        return replace(self, known=known)


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
        recorder, chain = self._recorder, HashChain()
        recorder.resume_at(script.episode_id)
        recorder.reset(seed=script.seed)
        rows = dict.fromkeys(self._ids, 0)
        if script.checks is None:
            _check_everybody(script, recorder.agents)
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


def _check_everybody(script: Script, there: Sequence[Any]) -> None:
    """Refuse an episode with rows of some only: what the others did is not known."""
    acted = {agent for tick in script.actions for agent in tick}
    missing = [str(agent) for agent in there if str(agent) not in acted]
    if missing:
        raise CaptureError(
            f"episode {script.episode_id}: no rows of {', '.join(missing)}, so what they did is "
            "not known; an episode is lived again from the rows of everybody"
        )


def _fits(chain: HashChain, env: Any, script: Script, tick: int) -> bool:
    check = chain.add(digest_of(env)) if script.checks is not None else b""
    return script.checks is None or script.checks[tick].tobytes() == check
