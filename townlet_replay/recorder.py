"""``RecordReplay``: a PettingZoo wrapper that records any parallel environment as it is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import NDArray
from pettingzoo.utils.wrappers import BaseParallelWrapper

from townlet_replay.background import BackgroundWriter, DirectWriter, EpisodeWriter
from townlet_replay.episode import Critic, OpenEpisode, Returned
from townlet_replay.errors import CaptureError
from townlet_replay.finished import FinishedEpisode, Origin
from townlet_replay.notes import NO_NOTES, Action, Attached, finite_or_nan
from townlet_replay.provenance import (
    bare_town_of,
    decider_of,
    metadata_of,
    names_of,
    played_seed,
    town_of,
)
from townlet_replay.record_settings import read_settings
from townlet_replay.sidecar import CaptureNames
from townlet_replay.sight import EyesOnDicts
from townlet_replay.spaces import ActionFormat, action_format
from townlet_replay.town_episode import EyesOnTown, Spare, TownEpisode
from townlet_replay.writer import CaptureWriter

if TYPE_CHECKING:
    from townlet_replay.action_recorder import ActionLogWriter


class RecordReplay(BaseParallelWrapper):  # type: ignore[misc]
    """Records every agent that acts, and passes everything on unchanged.

    A row pairs the observation *before* an action with the action, its mask, what the caller
    attached with :meth:`annotate`, and what ``step`` returned. Agents may arrive and leave; an
    agent without an action in a step has no row for it. Over a ``ScriptedScenario`` the actions
    recorded are those taken, the scripts' own included; over ``OptionActions`` the options.

    An episode is written when all its agents are done; on ``reset``, ``close``, leaving a ``with``
    block, Ctrl-C or an error inside ``step`` what is open is written as truncated. If rows have
    values and there is no ``policy`` to value the last observation, writing waits for
    :meth:`annotate_final`, the next ``reset`` or ``close``.

    Example::

        with RecordReplay(env, "captures/run", policy=policy, behaviour="policy") as env:
            observations, infos = env.reset(seed=7)
            while env.agents:
                acts = ...
                env.annotate(log_probs=acts.log_probs, values=acts.values)
                observations, *_ = env.step(acts.actions)
    """

    def __new__(cls, env: Any = None, *rest: Any, **settings: Any) -> Self:
        """Return an object of the class that records a town in mode ``actions``, if it is that."""
        kind: Any = cls
        if cls is RecordReplay and settings.get("mode") == "actions" and town_of(env) is not None:
            from townlet_replay.town_recorder import TownActionRecorder

            kind = TownActionRecorder
        made: Self = super().__new__(kind)
        return made

    def __init__(
        self,
        env: Any,
        out: str | Path,
        *,
        policy: Critic | None = None,
        names: CaptureNames | None = None,
        **settings: object,
    ) -> None:
        """Wrap ``env``; nothing is written before the first episode is complete.

        Args:
            env: any PettingZoo ``ParallelEnv``.
            out: directory of the capture; created when needed.
            policy: values the observation that follows a truncation.
            names: what ids and columns are called; a Townlet knows its own.
            **settings: fields of :class:`~townlet_replay.record_settings.RecordSettings`.

        Raises:
            CaptureError: a wrong setting, or a capture that would be overwritten.
        """
        super().__init__(env)
        self.settings = read_settings(settings)
        self.policy = policy
        self.names = names_of(env) if names is None else names
        self.capture_metadata = metadata_of(env, self.settings.metadata)
        self._decider = decider_of(env)
        self._shows_town = bare_town_of(env)
        self._spare: Spare = []
        self._log: ActionLogWriter | None = None
        self.writer = self._open_writer(out)
        hand_over = BackgroundWriter if self.settings.background else DirectWriter
        self._out = hand_over(self.writer)
        self._episode: OpenEpisode | None = None
        self._finished = False  # the last episode came to its end
        self._episodes = 0
        self._formats = _Formats(env, self.names)
        self._longest = 0  # rows of the longest life so far, and one
        self._notes = NO_NOTES

    def _open_writer(self, out: str | Path) -> EpisodeWriter:
        if self.settings.mode != "actions":
            return CaptureWriter(out, self.settings.writer_settings(self.capture_metadata))
        from townlet_replay.action_recorder import ActionLogWriter

        self._log = ActionLogWriter(self.env, out, self.settings, self.capture_metadata, self.names)
        return self._log

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is, once an episode has been written."""
        return self.writer.manifest_path

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, dict[str, Any]]]:
        """Write what is open as truncated, then reset the environment.

        Raises:
            CaptureError: the open episode cannot be written, or observations cannot be recorded.
        """
        self.seal()
        if self._log is not None:
            seed = self._log.seed_of_next(seed, options)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._finished = False
        town = town_of(self.env)
        if town is not None:
            seed = played_seed(town.batch.worlds)
        episode = self._open_episode(seed)
        episode.begin(self.env.agents, observations, infos)
        self._episode = episode
        if self._log is not None:
            self._log.begin(episode)
        return observations, infos

    def annotate(
        self,
        *,
        log_probs: Mapping[Any, float] | None = None,
        values: Mapping[Any, float] | None = None,
        logits: Mapping[Any, NDArray[Any]] | None = None,
        intents: Mapping[Any, Any] | None = None,
        policy_version: int | None = None,
    ) -> None:
        """Attach what the behaviour knows about the actions of the next ``step``, by agent.

        Args:
            log_probs: log-prob of the action under the behaviour that chooses it.
            values: V(observation before the action).
            logits: (A,) scores before the softmax.
            intents: what a noisy script wanted before the noise.
            policy_version: number of the update the policy is at, for every agent that is there.

        Raises:
            CaptureError: an agent that is not there, or a number that cannot be one.
        """
        told = Attached(log_probs, values, logits, intents, policy_version)
        told.check_agents({} if self._episode is None else self._episode.seen)
        self._notes = self._notes.with_more(told.read(self._formats))

    def annotate_final(self, *, values: Mapping[Any, float]) -> None:
        """Attach V(observation after the last row), by agent, before the episode is written.

        For agents that were truncated, or will be by ``reset`` or ``close``. A later ``step`` of an
        agent forgets its value.

        Raises:
            CaptureError: an agent without rows in the open episode, or an infinite value.
        """
        lives = {} if self._episode is None else self._episode.lives
        for agent in values:
            if agent not in lives:
                raise CaptureError(
                    f"agent {agent!r} has no rows in an open episode; annotate_final belongs "
                    "between the last step and reset or close"
                )
        if self._episode is not None:
            self._episode.final_values |= finite_or_nan("final value", values)
        self._seal_if_complete()

    def step(self, actions: dict[Any, Any]) -> Returned:
        """Step the environment and record the agents in ``actions``.

        Raises:
            CaptureError: ``reset`` was not called, or something cannot be recorded. Whatever is
                raised, rows of completed steps are written first.
        """
        if not self._is_open:
            if self._finished:
                returned: Returned = self.env.step(actions)
                return returned
            raise CaptureError("no episode is being recorded: call reset() before step()")
        chosen = self._chosen(actions)
        complete = False
        try:
            returned = self.env.step(actions)
            if self._decider is not None:
                chosen = self._chosen(self._decider.last_actions)
            self._keep(chosen, returned)
            complete = True
        finally:
            if not complete:  # an error or Ctrl-C: keep what there is
                self.seal()
        self._seal_if_complete()
        return returned

    @property
    def _is_open(self) -> bool:
        return self._episode is not None

    def _chosen(self, actions: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return what is recorded of the actions of those who are there."""
        assert self._episode is not None
        return self._encoded(self._episode, actions)

    def _keep(self, chosen: dict[Any, Any], returned: Returned) -> None:
        """Add the rows of a step."""
        episode = self._episode
        assert episode is not None
        notes, self._notes = self._notes, NO_NOTES
        gone = episode.advance(chosen, notes, returned, self.env.agents)
        self._value_ends(episode, gone)
        if self._log is not None:
            self._log.step(chosen)

    def seal(self) -> None:
        """Write the open episode now; agents that are not done are truncated.

        Raises:
            DiskError: the disk refuses. What could not be written is tried again next time.
            CaptureError: a life, or the episode, cannot become samples; it is lost.
        """
        episode, self._episode = self._episode, None
        self._notes = NO_NOTES
        if episode is None:
            return
        episode.close()
        try:
            self._value_ends(episode, list(episode.lives))
        finally:
            self._hand_over(episode)

    def _hand_over(self, episode: OpenEpisode) -> None:
        """Let the lives that are wanted become samples, here or in the thread."""
        wanted = self.settings.agents
        formats = {
            agent: self._formats[agent]
            for agent in episode.lives
            if wanted is None or str(agent) in wanted
        }
        self._longest = max([self._longest, *(x.most_rows + 1 for x in episode.lives.values())])
        if formats:
            self._episodes += 1
            origin = Origin(self.settings, self.names, self.capture_metadata)
            finished = FinishedEpisode(episode, formats, origin)
            self._out.put(finished.samples, finished.size)

    def set_state(self, state: Any) -> None:
        """Put the environment into a state, where no episode is open: before ``reset``, say.

        Raises:
            CaptureError: an episode is being recorded, whose rows would not follow from each other.
        """
        if self._is_open:
            raise CaptureError(
                "an episode is being recorded, and a state in its middle would part its rows from "
                "what they follow from; seal() it first, or set states of an environment that is "
                "not recorded"
            )
        self.env.set_state(state)

    def flush(self) -> None:
        """Wait until every finished episode is on disk.

        Raises:
            DiskError: the disk refuses. What could not be written is tried again next time.
            CaptureError: an episode could not become samples; it is lost.
        """
        self._out.flush()

    def close(self) -> None:
        """Write what is open, then close the environment.

        Raises:
            CaptureError: it cannot be written; the environment is closed all the same.
        """
        with ExitStack() as at_last:  # each of them, whatever the others raise
            for step in (self.env.close, self.writer.close, self.flush):
                at_last.callback(step)
            self.seal()

    def __enter__(self) -> Self:
        """Return the wrapper itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, also after an error or Ctrl-C."""
        self.close()

    def _encoded(self, episode: OpenEpisode, actions: Mapping[Any, Any]) -> dict[Any, Action]:
        """Return the actions of those who are there, as they are recorded."""
        seen, formats = episode.seen, self._formats
        if actions.keys() <= seen.keys() and formats.know_all(actions.values()):
            return {agent: int(action) for agent, action in actions.items()}
        return {
            agent: formats[agent].encode(agent, action)
            for agent, action in actions.items()
            if agent in seen and action is not None
        }

    def _value_ends(self, episode: OpenEpisode, agents: list[Any]) -> None:
        """Ask the policy for V(final observation) of those that have values but not this one."""
        if self.policy is None:
            return
        lives = episode.lives
        asked = {agent: lives[agent].raw_ending() for agent in agents if episode.needs_value(agent)}
        if asked:
            episode.final_values |= finite_or_nan("final value", self.policy.values_of(asked))

    def _seal_if_complete(self) -> None:
        episode = self._episode
        if episode is None or self.env.agents:
            return
        self._finished = True
        if not any(map(episode.needs_value, episode.lives)):
            self.seal()

    def _open_episode(self, seed: int | None) -> OpenEpisode:
        if self._shows_town is None:
            return OpenEpisode(self._episodes, seed, EyesOnDicts(self._formats, self._longest))
        eyes = EyesOnTown(self._shows_town, self._longest, self._spare)
        return TownEpisode(self._episodes, seed, eyes)


class _Formats(dict[Any, ActionFormat]):
    """How the actions of every agent are stored; found out when an agent is met."""

    def __init__(self, env: Any, names: CaptureNames) -> None:
        super().__init__()
        self._env = env
        self._names = names.action_lookup
        self._ids: frozenset[int] | None = None  # that everybody met so far can choose

    def __missing__(self, agent: Any) -> ActionFormat:
        form = self[agent] = action_format(agent, self._env.action_space(agent), self._names)
        ids = frozenset(range(form.dim) if form.discrete and form.start == 0 else ())
        self._ids = ids if self._ids is None else self._ids & ids
        return form

    def know_all(self, actions: Iterable[Any]) -> bool:
        """Say whether these are ids that anybody can choose, stored as they are."""
        try:
            return self._ids is not None and all(map(self._ids.__contains__, actions))
        except TypeError:  # such as an array
            return False
