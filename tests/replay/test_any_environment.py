"""Environments of other people, recorded, read back and played again from what was recorded.

Played again means: an environment made anew, reset with the seed that the sidecar tells, given the
recorded actions, shows every agent the recorded observations and gives it the recorded rewards.
"""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
from capture_toys import Village
from mpe2 import simple_spread_v3, simple_tag_v3
from pettingzoo.utils.conversions import aec_to_parallel

from townlet_replay import RecordReplay, ReplayDataset, ReplayDatasetConfig, load_capture

SEED, EPISODES = 11, 2


def knights(**options):
    from pettingzoo.butterfly.knights_archers_zombies import knights_archers_zombies

    return knights_archers_zombies.parallel_env(obs_method="vector", **options)


def chase(**options):
    from pettingzoo.sisl.pursuit import pursuit

    return pursuit.parallel_env(**options)


def spread_in_turns():
    return aec_to_parallel(simple_spread_v3.env(N=3, max_cycles=12))


MAKERS = {
    "MPE2 simple_spread": partial(simple_spread_v3.parallel_env, N=3, max_cycles=12),
    "MPE2 simple_spread, continuous": partial(
        simple_spread_v3.parallel_env, max_cycles=12, continuous_actions=True
    ),
    "MPE2 simple_tag, agents of two kinds": partial(simple_tag_v3.parallel_env, max_cycles=12),
    "AEC through PettingZoo's conversion": spread_in_turns,
    "butterfly knights_archers_zombies": partial(knights, max_zombies=30, max_cycles=400),
    "SISL pursuit": partial(chase, max_cycles=15, n_pursuers=3),
    "births and deaths, masks": Village,
}


def choices(env, seed):
    """Actions of those who are there, drawn by the spaces of the agents."""
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(seed + number)

    def choose(infos):
        masks = {agent: infos[agent].get("action_mask") for agent in env.agents}
        return {agent: env.action_space(agent).sample(masks[agent]) for agent in env.agents}

    return choose


def record(make, out, **settings):
    with RecordReplay(make(), out, **settings) as env:
        choose = choices(env, SEED)
        for episode in range(EPISODES):
            _, infos = env.reset(seed=SEED + episode)
            while env.agents:
                *_, infos = env.step(choose(infos))
    return load_capture(out)


@pytest.fixture(autouse=True)
def _quiet_pygame(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pygame|pkg_resources")
        yield


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("mode", ["full", "packed"])
def test_it_is_recorded_and_can_be_played_again(tmp_path, name, mode):
    capture = record(MAKERS[name], tmp_path / "capture", mode=mode)
    lives = {}
    for sample in capture:
        lives.setdefault(sample.meta.episode_id, {})[sample.meta.agent_id] = sample
    assert sorted(lives) == list(range(EPISODES))
    env, rows = MAKERS[name](), 0
    for samples in lives.values():  # in their order: butterfly keeps its clock from one to the next
        seeds = {sample.meta.capture_metadata.seed for sample in samples.values()}
        rows += play_again(env, samples, seeds.pop())
        assert not seeds
    env.close()
    assert rows == sum(sample.rows for sample in capture) > 20


def play_again(env, samples, seed):
    """Give an environment the recorded actions; compare what it shows; return the rows."""
    observations, _ = env.reset(seed=seed)
    row = dict.fromkeys(samples, 0)
    while env.agents:
        acting = [agent for agent in env.agents if row[agent] < samples[agent].rows]
        actions = {agent: samples[agent].actions[row[agent]] for agent in acting}
        for agent in acting:
            same(observations[agent], samples[agent].observations, row[agent])
        observations, rewards, terminations, truncations, _ = env.step(actions)
        for agent in acting:
            sample, at = samples[agent], row[agent]
            assert sample.rewards[at] == np.float32(rewards[agent])
            row[agent] += 1
            assert sample.terminations[at] == bool(terminations[agent])
            if row[agent] == sample.rows and agent in observations:
                same(observations[agent], sample.final_observation, ...)
                assert sample.truncations[at] == (truncations[agent] and not terminations[agent])
    assert row == {agent: sample.rows for agent, sample in samples.items()}
    return sum(row.values())


def same(seen, recorded, at):
    plain = seen if isinstance(seen, dict) else {"observation": seen}
    for key, array in recorded.items():
        np.testing.assert_array_equal(np.asarray(plain[key], array.dtype), array[at])


def test_somebody_died_and_somebody_did_not(tmp_path):
    capture = record(MAKERS["butterfly knights_archers_zombies"], tmp_path)
    ends = {bool(sample.terminations[-1]) for sample in capture}
    lengths = {sample.rows for sample in capture}
    assert True in ends
    assert len(lengths) > 1  # agents left one after the other


@pytest.mark.parametrize("name", ["MPE2 simple_tag, agents of two kinds", "SISL pursuit"])
def test_learners_read_it(tmp_path, name):
    capture = record(MAKERS[name], tmp_path)
    agents = sorted({sample.meta.agent_id for sample in capture})
    config = ReplayDatasetConfig.from_capture_dir(tmp_path, agents=agents[:1], batch_size=1000)
    (batch,) = ReplayDataset(config)
    assert len(batch.actions) == sum(s.rows for s in capture if s.meta.agent_id == agents[0])
