"""``verify``: a recording lived again, and the first thing that is not the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_replay.action_block import LoggedEpisode
from townlet_replay.action_recorder import array_digests
from townlet_replay.errors import CaptureError
from townlet_replay.record_settings import RecordSettings
from townlet_replay.reliving.episodes import in_groups, play
from townlet_replay.reliving.lives import Lived, SampleMaker
from townlet_replay.reliving.stage import Stage
from townlet_replay.rerun import Played, Rerun
from townlet_replay.rerun_sources import CaptureSource, LogSource
from townlet_replay.sample import FINAL, ReplaySample, arrays_of

Watch = Callable[[int], None]

# What the behaviour knew is given to a rerun, not derived by it.
GIVEN = {
    "old_log_probs",
    "value_preds",
    "policy_log_probs",
    "behaviour_logits",
    "intent_actions",
    "policy_version",
}


class Mismatch(NamedTuple):
    """The first difference between what was recorded and what came out."""

    episode: int
    tick: int | None  # None: the log does not tell
    agent: str | None  # None: the town as a whole
    field: str
    recorded: str
    derived: str

    def __str__(self) -> str:
        place = "" if self.tick is None else f", tick {self.tick}"
        who = "" if self.agent is None else f", agent {self.agent}"
        return (
            f"episode {self.episode}{place}{who}: {self.field} was recorded as {self.recorded}, "
            f"and comes out as {self.derived}"
        )


class Verdict(NamedTuple):
    """What a verification found."""

    episodes: int  # lived again, the one that differs included
    ticks: int
    rows: int
    mismatch: Mismatch | None


def ignore_ticks(done: int) -> None:
    """Watch nothing."""
    del done


def verify(
    source: LogSource | CaptureSource, *, env: Any = None, watch: Watch = ignore_ticks
) -> Verdict:
    """Live every episode again and compare, up to the first difference.

    The rows of a capture are derived and compared bit for bit, so that tick, agent and field are
    named. Of an action log of a town the states are compared, tick by tick, then what was seen and
    what was earned; of another log the states, then a hash of every array of every agent.

    Args:
        source: what was recorded.
        env: the environment of a log that is not of a town.
        watch: called with the ticks of every episode that is done.

    Raises:
        CaptureError: a file is damaged, or the source cannot be lived again.
    """
    if isinstance(source, CaptureSource):
        return _verify_capture(source, watch)
    if is_of_towns(source, env):
        return _verify_towns(source, watch)
    return _verify_log(source, env, watch)


def is_of_towns(source: LogSource, env: Any = None) -> bool:
    """Whether the episodes of a log can be lived again many at once.

    Raises:
        CaptureError: they can, and an environment is given all the same.
    """
    if source.setup is not None and env is not None:
        raise CaptureError(f"{source.path}: of a town, which is built from the log; leave out env")
    return source.setup is not None and source.kind == "states"


def environment_of(source: LogSource | CaptureSource, env: Any) -> Any:
    """Return the environment to live in: the town's, or what the caller brought.

    Raises:
        CaptureError: none.
    """
    if source.setup is not None:
        return source.setup.build()
    if env is None:
        raise CaptureError(
            f"{source.path}: not of a town; give the environment that was recorded (env=)"
        )
    return env


def town_mismatch(lived: Lived, *, seen: bool = True) -> Mismatch | None:
    """Compare what came out of an episode of a town with what was recorded.

    Args:
        lived: the episode.
        seen: whether observations and rewards are to be those that were recorded.
    """
    played, world, episode = lived
    number, ticks = episode.episode_id, episode.ticks
    wrong = (played.checks[: ticks + 1, world] != episode.checks).any(axis=1)
    if wrong.any() or played.chains[world].tobytes() != episode.chain:
        tick = int(wrong.argmax()) if wrong.any() else ticks
        return Mismatch(number, tick, None, "state", "one state", "another")
    if seen and played.seen[world].tobytes() != episode.seen:
        return Mismatch(number, None, None, "observations", "one hash", "another")
    for life in episode.samples:
        slot = lived.slot_of(life)
        if slot is None:
            return Mismatch(number, None, life.agent_id, "rows", str(life.rows), "0")
        earned = lived.reward_sum(life, slot)
        if seen and earned != life.episode_return:
            texts = (str(life.episode_return), str(earned))
            return Mismatch(number, None, life.agent_id, "sum of rewards", *texts)
    return None


def logged_mismatch(episode: LoggedEpisode, played: Played) -> Mismatch | None:
    """Compare what came out of an episode, lived again alone, with what was recorded."""
    number = episode.episode_id
    if played.wrong_tick is not None:
        return Mismatch(number, played.wrong_tick, None, "state", "one state", "another")
    found = {sample.meta.agent_id: sample for sample in played.samples}
    for logged in episode.samples:
        agent = logged.agent_id
        sample = found.pop(agent, None)
        rows = 0 if sample is None else sample.rows
        if sample is None or rows != logged.rows:
            return Mismatch(number, None, agent, "rows", str(logged.rows), str(rows))
        derived = array_digests(sample)
        if logged.digests.shape != derived.shape:
            return Mismatch(number, None, agent, "arrays", "others", ", ".join(arrays_of(sample)))
        wrong = np.flatnonzero((logged.digests != derived).any(axis=1))
        if len(wrong):
            name, k = list(arrays_of(sample))[wrong[0]], wrong[0]
            digests = (f"digest {bytes(part[k]).hex()}" for part in (logged.digests, derived))
            return Mismatch(number, None, agent, name, *digests)
    for agent, sample in found.items():
        return Mismatch(number, None, agent, "rows", "0", str(sample.rows))
    return None


def _verify_towns(source: LogSource, watch: Watch) -> Verdict:
    assert source.setup is not None
    stage = Stage(source.setup, looks=False)
    episodes = ticks = rows = 0
    for group in in_groups(((episode, None) for episode in source.logged()), stage):
        played = play(stage, [episode for episode, _ in group])
        for world, (episode, _) in enumerate(group):
            episodes, ticks, rows = episodes + 1, ticks + episode.ticks, rows + episode.rows
            watch(episode.ticks)
            mismatch = town_mismatch(Lived(played, world, episode))
            if mismatch is not None:
                return Verdict(episodes, ticks, rows, mismatch)
    return Verdict(episodes, ticks, rows, None)


def _verify_log(source: LogSource, env: Any, watch: Watch) -> Verdict:
    rerun = Rerun(environment_of(source, env), **source.recorder_settings)
    episodes = ticks = rows = 0
    for episode in source.logged():
        played = rerun.play(source.script(episode))
        episodes, ticks = episodes + 1, ticks + episode.ticks
        rows += sum(sample.rows for sample in played.samples)
        watch(episode.ticks)
        mismatch = logged_mismatch(episode, played)
        if mismatch is not None:
            return Verdict(episodes, ticks, rows, mismatch)
    return Verdict(episodes, ticks, rows, None)


def _verify_capture(source: CaptureSource, watch: Watch) -> Verdict:
    stage = Stage(source.setup, looks=True)
    maker = SampleMaker(source.setup, stage.plan, RecordSettings(), source.metadata)
    episodes = ticks = rows = 0
    for group in in_groups(source.recorded(), stage):
        played = play(stage, [episode for episode, _ in group])
        for world, (episode, samples) in enumerate(group):
            episodes, ticks, rows = episodes + 1, ticks + episode.ticks, rows + episode.rows
            watch(episode.ticks)
            derived = maker.samples(Lived(played, world, episode), metrics=False)
            mismatch = _captured_mismatch(samples, derived)
            if mismatch is not None:
                return Verdict(episodes, ticks, rows, mismatch)
    return Verdict(episodes, ticks, rows, None)


def _captured_mismatch(
    recorded: list[ReplaySample], derived: list[ReplaySample]
) -> Mismatch | None:
    """Return the earliest difference; at one tick that of the first agent and field."""
    found = {sample.meta.agent_id: sample for sample in derived}
    differences = [
        difference
        for sample in recorded
        for difference in _differences(sample, found.get(sample.meta.agent_id))
    ]
    return min(differences, key=lambda found: found.tick or 0, default=None)


def _differences(recorded: ReplaySample, derived: ReplaySample | None) -> list[Mismatch]:
    """Return the first difference of every field."""
    number, agent = recorded.meta.episode_id, recorded.meta.agent_id
    if derived is None:
        first = int(recorded.ticks[0])
        return [Mismatch(number, first, agent, "rows", str(recorded.rows), "0")]
    left, right = (_derivable(sample) for sample in (recorded, derived))
    for side in (left, right):  # written only where there is one
        side.setdefault("illegal_actions", np.zeros(len(side["actions"]), np.bool_))
    found = []
    for name in {**left, **right}:
        if name not in left or name not in right:
            texts = ("there" if name in side else "missing" for side in (left, right))
            found.append(Mismatch(number, int(recorded.ticks[0]), agent, name, *texts))
            continue
        row = _first_row(left[name], right[name], whole=name.startswith(FINAL))
        if row is not None:
            tick = int(recorded.ticks[min(row, recorded.rows - 1)])
            texts = (_at(side[name], row, whole=name.startswith(FINAL)) for side in (left, right))
            found.append(Mismatch(number, tick, agent, name, *texts))
    return found


def _derivable(sample: ReplaySample) -> dict[str, NDArray[Any]]:
    return {name: array for name, array in arrays_of(sample).items() if name not in GIVEN}


def _first_row(one: NDArray[Any], other: NDArray[Any], *, whole: bool) -> int | None:
    """Return the first row that is not the same to the bit; a whole array follows all rows."""
    if one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes():
        return None
    if whole or one.dtype != other.dtype or one.shape[1:] != other.shape[1:]:
        return 2**31 if whole else 0
    rows = min(len(one), len(other))
    for row in range(rows):
        if one[row].tobytes() != other[row].tobytes():
            return row
    return rows


def _at(array: NDArray[Any], row: int, *, whole: bool) -> str:
    if not whole and row >= len(array):
        return "no row"
    part = array if whole else array[row]
    text = np.array2string(part, threshold=6, edgeitems=2).replace("\n", "")
    return text if len(text) <= 80 else f"{text[:77]}..."
