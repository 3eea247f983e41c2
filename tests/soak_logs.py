"""As tests/soak.py, for action logs: recorders of one town and of a batch are killed, bits flipped.

The probe for determinism is left out: it is not the disk that it looks at.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
from soak import EPISODES, killed_recording

from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.vector import TownletVectorEnv
from townlet_replay import batch_actions, town_recorder
from townlet_replay.action_log import load_log
from townlet_replay.batch_recorder import RecordBatch
from townlet_replay.errors import CaptureError
from townlet_replay.leftovers import final_name, names_in
from townlet_replay.log_recovery import log_prefix, recover_log
from townlet_replay.manifest import LOG_SUFFIX
from townlet_replay.recorder import RecordReplay

KINDS = ("plain", "background", "overwrite", "batch")
LIST = f"rollout_sample{LOG_SUFFIX}"
WORLDS = 2
TICKS = 5


@cache
def towns():
    """A town, and two of them side by side; a fork has its own."""
    config = load_scenario("queue_conflict", {"ticks": TICKS})
    return TownletParallelEnv(config), TownletVectorEnv(config, num_worlds=WORLDS)


def record(out, kind, acknowledge, seed=1):
    """Record episodes and acknowledge how many are on disk."""
    town_recorder.check_repeatable = batch_actions.check_repeatable = lambda env: None
    if kind == "batch":
        record_batch(out, acknowledge, seed)
        return
    town, _ = towns()
    settings = {"background": kind == "background", "overwrite": kind == "overwrite"}
    env = RecordReplay(town, out, mode="actions", **settings)
    for episode in range(EPISODES):
        rng = np.random.default_rng(episode)
        env.reset(seed=seed + episode)
        while env.agents:
            env.annotate(log_probs={agent: -rng.random() for agent in env.agents})
            env.step({agent: int(rng.integers(31)) for agent in env.agents})
        if kind == "background" and episode % 3 < 2:
            continue
        env.flush()
        acknowledge(episode + 1)
    env.close()


def record_batch(out, acknowledge, seed):
    """Record rounds of as many episodes as there are worlds."""
    _, batch = towns()
    recorder = RecordBatch(batch, out, mode="actions")
    rng = np.random.default_rng(0)
    for turn in range(EPISODES // WORLDS):
        recorder.reset(seed=seed + turn * WORLDS)
        for _ in range(TICKS):
            recorder.annotate(log_probs=-rng.random(batch.num_envs))
            recorder.step(rng.integers(0, 31, batch.num_envs))
        recorder.seal()
        acknowledge((turn + 1) * WORLDS)
    recorder.close()


def contents(log):
    """Every episode in a form that compares to the bit."""
    return described(log.episodes())


def described(episodes):
    return {
        episode.episode_id: (
            episode.seed,
            episode.chain,
            episode.checks.tobytes(),
            tuple((e.agent_id, e.actions.tobytes(), e.log_probs.tobytes()) for e in episode.lives),
        )
        for episode in episodes
    }


class LogKills:
    """Kills recorders of action logs one after the other, and keeps count."""

    def __init__(self, folder, seed=0, by_time=0.5):
        self.folder = Path(folder)
        self.by_time = by_time  # share of kills whose moment a clock decides
        self.rng = random.Random(seed)
        self.counts = Counter()
        self.whole = {}
        for kind in KINDS:
            if kind != "overwrite":
                record(self.folder / kind, kind, lambda count: None)
                self.whole[kind] = contents(load_log(self.folder / kind))
        self.whole["overwrite"] = self.whole["plain"]
        record(self.folder / "old", "plain", lambda count: None, seed=77)
        self.old = contents(load_log(self.folder / "old"))

    def run(self, kills):
        """Kill so many times; return the counts."""
        for number in range(kills):
            kind = KINDS[number % len(KINDS)]
            out = self.folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            if kind == "overwrite":
                shutil.copytree(self.folder / "old", out)
            acknowledged = killed_recording(out, kind, self.rng, self.by_time, record)
            self.counts["kills"] += 1
            self.counts["acknowledged"] += acknowledged
            self.check(out, kind, acknowledged)
        return self.counts

    def check(self, out, kind, acknowledged):
        """Count acknowledged episodes that are gone, and files that are read and are not whole."""
        if (out / LIST).exists():
            self.judge(out, kind, acknowledged)
        elif kind != "overwrite":
            self.counts["lost"] += acknowledged
        prefix = log_prefix(out)
        if prefix is None:
            self.counts["no list yet"] += 1
            return
        try:
            done = recover_log(out, prefix)
        except CaptureError:  # the list was being written for the first time
            self.counts["lost"] += acknowledged
            self.counts["nothing whole"] += 1
            return
        self.judge(out, kind, acknowledged)
        self.counts["told lost"] += len(done.lost)
        self.counts["found"] += len(done.found)
        told = {damage.file for damage in done.lost} | {file.file for file in done.log.log.files}
        files = {name for name in map(final_name, names_in(out)) if name.endswith(".npz")}
        self.counts["untold"] += len(files - told)
        left = [name for name in done.log.leftovers() if name.startswith(".")]
        self.counts["temporary files after recovery"] += len(left)

    def judge(self, out, kind, acknowledged):
        """Read everything; compare with a recording that nobody killed."""
        try:
            found = contents(load_log(out))
        except CaptureError:
            self.counts["torn"] += 1
            return
        if kind == "overwrite" and found == self.old:
            self.counts["lost"] += acknowledged
            return
        whole = self.whole[kind]
        self.counts["torn"] += sum(whole.get(number) != found[number] for number in found)
        self.counts["lost"] += len({*range(acknowledged)} - found.keys())


def flip_log_bits(folder, flips, seed=0):
    """Flip bits in the files of a log, one at a time; return what came of it."""
    rng = random.Random(seed)
    record(folder, "plain", lambda count: None)
    log = load_log(folder)
    config, whole = log.config(), contents(log)
    sound = {path: path.read_bytes() for path in sorted(folder.iterdir())}
    paths, counts = list(sound), Counter()
    for _ in range(flips):
        (path,) = rng.choices(paths, [len(sound[path]) for path in paths])
        content = bytearray(sound[path])
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        counts[outcome(folder, path.name, config, whole)] += 1
        path.write_bytes(sound[path])
    return counts


def outcome(folder, spoilt, config, whole):
    """Tell what a reader gets: refused, harmless, silently different, or others gone as well."""
    try:
        log = load_log(folder)
    except CaptureError:
        return "refused"
    refused = False
    try:
        if log.config() != config:
            return "silently different"
    except CaptureError:
        refused = True
    for number, file in enumerate(log.log.files):
        try:
            found = described(log.episodes_in(number))
        except CaptureError:
            if file.file != spoilt:
                return "other samples unreadable"
            refused = True
        else:
            if any(whole[episode] != found[episode] for episode in found):
                return "silently different"
    return "refused" if refused else "harmless"
