"""``RecordReplay``: a PettingZoo wrapper that records any parallel environment as it is used."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import NDArray
from pettingzoo.utils.wrappers import BaseParallelWrapper

from townlet_replay.background import BackgroundWriter, DirectWriter, EpisodeWriter
from townlet_replay.episode import (
    NOTHING,
    Attached,
    Critic,
    Note,
    OpenEpisode,
    Step,
    finite_or_nan,
    read_outcome,
)
from townlet_replay.errors import CaptureError
from townlet_replay.frames import SampleOrigin, columns_to_replay_sample
from townlet_replay.metrics import sample_metrics
from townlet_replay.provenance import decider_of, metadata_of, names_of, played_seed, town_of
from townlet_replay.record_settings import read_settings
from townlet_replay.sample import ReplaySample, with_meta
from townlet_replay.sidecar import CaptureNames
from townlet_replay.sight import Sight
from townlet_replay.spaces import ActionFormat, action_format
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
        self._log: ActionLogWriter | None = None
        self.writer = self._open_writer(out)
        hand_over = BackgroundWriter if self.settings.background else DirectWriter
        self._out = hand_over(self.writer)
        self._episode: OpenEpisode | None = None
        self._finished = False  # the last episode came to its end
        self._episodes = 0
        self._unusable: list[CaptureError] = []  # why a life became no sample, until it is raised
        self._formats: dict[Any, ActionFormat] = {}
        self._longest = 0  # rows of the longest life so far, and one
        self._notes: dict[Any, Note] = {}

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
        episode = OpenEpisode(self._episodes, seed)
        for agent in self.env.agents:
            seen = self._look(episode, agent, (observations, {}, {}, {}, infos), acts=False)
            episode.observe(agent, *seen)
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
        tables = Attached(log_probs, values, logits, intents, policy_version)
        agents = tables.agents
        self._check_agents(agents)
        if policy_version is not None:
            agents = dict.fromkeys(self._present())
        for agent in agents:
            note = self._notes.get(agent, NOTHING)
            self._notes[agent] = tables.add_to(note, agent, self._format(agent))

    def annotate_final(self, *, values: Mapping[Any, float]) -> None:
        """Attach V(observation after the last row), by agent, before the episode is written.

        For agents that were truncated, or will be by ``reset`` or ``close``. A later ``step`` of an
        agent forgets its value.

        Raises:
            CaptureError: an agent without rows in the open episode, or an infinite value.
        """
        episode = self._episode
        for agent, value in values.items():
            life = None if episode is None else episode.lives.get(agent)
            if life is None:
                raise CaptureError(
                    f"agent {agent!r} has no rows in an open episode; annotate_final belongs "
                    "between the last step and reset or close"
                )
            life.final_value = finite_or_nan(agent, "final value", value)
        self._seal_if_complete()

    def step(self, actions: dict[Any, Any]) -> Step:
        """Step the environment and record the agents in ``actions``.

        Raises:
            CaptureError: ``reset`` was not called, or something cannot be recorded. Whatever is
                raised, rows of completed steps are written first.
        """
        episode = self._episode
        if episode is None:
            if self._finished:
                returned: Step = self.env.step(actions)
                return returned
            raise CaptureError("no episode is being recorded: call reset() before step()")
        chosen = self._encoded(episode, actions)
        complete = False
        try:
            returned = self.env.step(actions)
            if self._decider is not None:
                chosen = self._encoded(episode, self._decider.last_actions)
            self._record(episode, chosen, returned)
            if self._log is not None:
                self._log.step(chosen)
            complete = True
        finally:
            if not complete:  # an error or Ctrl-C: keep what there is
                self.seal()
        self._seal_if_complete()
        return returned

    def seal(self) -> None:
        """Write the open episode now; agents that are not done are truncated.

        Raises:
            DiskError: the disk refuses. What could not be written is tried again next time.
            CaptureError: a life, or the episode, cannot become samples; it is lost.
        """
        episode, self._episode = self._episode, None
        self._notes = {}
        if episode is not None:
            self._value_ends(episode, list(episode.lives))
            self._close_lives(episode)
        if self._unusable:
            raise self._unusable.pop()

    def flush(self) -> None:
        """Wait until every finished episode is on disk.

        Raises:
            DiskError: the disk refuses. What could not be written is tried again next time.
            CaptureError: an episode could not become samples; it is lost.
        """
        self._out.flush()

    def _close_lives(self, episode: OpenEpisode) -> None:
        """Turn lives into samples; one that cannot be a sample does not take the others along."""
        samples = []
        wanted = self.settings.agents
        for agent in episode.lives:
            if wanted is not None and str(agent) not in wanted:
                continue
            try:
                samples.append(self._sample(episode, agent))
            except CaptureError as error:
                self._unusable = [error]
        if samples:
            self._episodes += 1
            self._out.put_samples(samples)

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

    def _encoded(self, episode: OpenEpisode, actions: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return the actions of those who are there, as they are recorded."""
        return {
            agent: self._format(agent).encode(agent, action)
            for agent, action in actions.items()
            if agent in episode.seen and action is not None
        }

    def _record(self, episode: OpenEpisode, chosen: dict[Any, Any], returned: Step) -> None:
        """Add the rows of one step: all of them, or none if something cannot be recorded."""
        notes, self._notes = self._notes, {}
        outcomes = {agent: read_outcome(agent, returned) for agent in chosen}
        terminations, truncations = returned[2], returned[3]
        living = dict.fromkeys(self.env.agents)
        gone = [
            agent
            for agent in episode.seen
            if agent not in living or terminations.get(agent) or truncations.get(agent)
        ]
        seen = {
            agent: self._look(episode, agent, returned, acts=agent in chosen)
            for agent in {**episode.seen, **living}
        }
        episode.step += 1
        for agent, outcome in outcomes.items():
            episode.add(agent, chosen[agent], notes.get(agent, NOTHING), outcome)
        for agent, (sight, fault) in seen.items():
            episode.observe(agent, sight, fault)
        for agent in gone:
            episode.end(agent, bool(terminations.get(agent, False)))
        self._value_ends(episode, gone)

    def _look(
        self, episode: OpenEpisode, agent: object, returned: Step, *, acts: bool
    ) -> tuple[Sight, str | None]:
        """Copy what ``agent`` sees after a step, and say why it does not fit what it saw before."""
        observations, _, terminations, _, infos = returned
        sight = episode.seen.get(agent)
        row = episode.row_of_next(agent, acts=acts)
        if agent in observations:
            if sight is None:
                sight = Sight(agent, self._format(agent), self._longest)
                row = 0
            return sight, sight.write(row, observations[agent], infos.get(agent, {}))
        if sight is not None and agent not in self.env.agents and terminations.get(agent, False):
            if acts:  # it is dead and sees nothing
                sight.repeat(row)
            return sight, sight.fault
        raise CaptureError(
            f"the environment returned no observation for agent {agent!r}; a row needs what was "
            "seen before it, and a row that did not terminate also what followed"
        )

    def _value_ends(self, episode: OpenEpisode, agents: list[Any]) -> None:
        """Ask the policy for V(final observation) of those that have values but not this one."""
        if self.policy is None:
            return
        asked = {
            agent: episode.lives[agent].raw_ending()
            for agent in agents
            if agent in episode.lives and episode.lives[agent].needs_value
        }
        if asked:
            for agent, value in self.policy.values_of(asked).items():
                episode.lives[agent].final_value = finite_or_nan(agent, "final value", value)

    def _seal_if_complete(self) -> None:
        episode = self._episode
        if episode is None or self.env.agents:
            return
        self._finished = True
        if not any(life.needs_value for life in episode.lives.values()):
            self.seal()

    def _sample(self, episode: OpenEpisode, agent: object) -> ReplaySample:
        life = episode.lives[agent]
        known = any(row.note.knows_log_prob for row in life.rows)
        behaviour = self.settings.behaviour_of(str(agent), log_probs_known=known)
        form = self._format(agent)
        self._longest = max(self._longest, len(life.rows) + 1)
        sample = columns_to_replay_sample(
            lambda: life.columns(is_certain=behaviour.kind == "script"),
            life.ending(),
            SampleOrigin(
                agent_id=str(agent),
                episode_id=episode.episode_id,
                action_dim=form.dim,
                names=self.names._replace(action_lookup=form.lookup),
                behaviour=behaviour,
                tags=self.settings.tags,
                capture_metadata=episode.metadata(self.capture_metadata),
            ),
        )
        return with_meta(sample, metrics=sample_metrics(sample, life.events, life.illegal))

    def _format(self, agent: object) -> ActionFormat:
        if agent not in self._formats:
            space = self.env.action_space(agent)
            self._formats[agent] = action_format(agent, space, self.names.action_lookup)
        return self._formats[agent]

    def _check_agents(self, agents: Mapping[Any, Any]) -> None:
        present = self._present()
        for agent in agents:
            if agent not in present:
                raise CaptureError(
                    f"annotate: agent {agent!r} is not there; expected some of {present}"
                )

    def _present(self) -> list[Any]:
        return [] if self._episode is None else list(self._episode.seen)
