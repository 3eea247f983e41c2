"""Many towns recorded at once: the samples that each of them alone would give."""

from __future__ import annotations

import numpy as np
import pytest
from env.mortal import MORTAL
from town_captures import tiny_network

from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.vector import TownletVectorEnv
from townlet_replay import (
    PolicyRuntime,
    RecordBatch,
    RecordReplay,
    batch_recorder,
    load_capture,
    writer,
)
from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.safe_files import write_files
from townlet_replay.sample import arrays_of, same_sample

SCENARIO, WORLDS, SEED = "queue_conflict", 3, 20


def wild(rng, masks):
    """Mostly legal actions, sometimes not."""
    legal = [int(rng.choice(np.flatnonzero(mask))) for mask in masks]
    odd = rng.random(len(legal)) < 0.05
    return np.where(odd, rng.integers(0, masks.shape[1], len(legal)), legal)


def record_batch(config, out, ticks, *, details, **settings):
    """Record wild play; return the actions by tick and slot, and who was there."""
    towns = TownletVectorEnv(config, WORLDS, details=details)
    rng, taken = np.random.default_rng(1), []
    with RecordBatch(towns, out, tags=("night",), **settings) as recorder:
        recorder.reset(seed=SEED)
        for _ in range(ticks):
            over = towns.worlds_over
            actions = wild(rng, towns.action_masks())
            numbers = rng.random(towns.num_envs).astype(np.float32)
            recorder.annotate(log_probs=-numbers, values=numbers * 2, policy_version=4)
            recorder.step(actions)
            taken.append((actions.reshape(WORLDS, -1), numbers.reshape(WORLDS, -1), over))
    return load_capture(out), taken


def test_a_packed_batch_holds_the_same_samples(tmp_path):
    config = load_scenario(SCENARIO, MORTAL)
    full, _ = record_batch(config, tmp_path / "full", 30, details=True)
    packed, _ = record_batch(config, tmp_path / "packed", 30, details=True, mode="packed")
    assert {sample.meta.mode for sample in packed} == {"packed"}
    for one, other in zip(full, packed, strict=True):
        assert same_sample(one, other)


def record_alone(config, out, taken, w, *, details):
    """Play world ``w`` again in the PettingZoo view."""
    env = TownletParallelEnv(config, details=details)
    slots = {}
    with RecordReplay(env, out, tags=("night",)) as recorder:
        recorder.reset(seed=SEED + w)
        for actions, numbers, over in taken:
            if over[w]:
                recorder.reset()
                continue
            slots = env.slots
            recorder.annotate(
                log_probs={a: -numbers[w, s] for a, s in slots.items()},
                values={a: numbers[w, s] * 2 for a, s in slots.items()},
                policy_version=4,
            )
            recorder.step({a: int(actions[w, s]) for a, s in slots.items()})
    return load_capture(out)


@pytest.mark.parametrize("details", [True, False])
def test_each_world_gives_the_samples_it_gives_alone(tmp_path, details):
    config = load_scenario(SCENARIO, MORTAL)
    ticks = 3 * config.ticks + 17
    batch, taken = record_batch(config, tmp_path / "batch", ticks, details=details)
    found = {}
    for sample in batch:
        found.setdefault(sample.meta.episode_id, []).append(sample)
    newcomers = deaths = 0
    for w in range(WORLDS):
        alone = record_alone(config, tmp_path / f"alone{w}", taken, w, details=details)
        episodes = {}
        for sample in alone:
            episodes.setdefault(sample.meta.episode_id, []).append(sample)
        # Episodes of a batch are numbered in the order in which they begin.
        mine = [number for number in sorted(found) if world_of(found[number], alone)]
        assert len(mine) == len(episodes) == 4
        for number, expected in zip(mine, (episodes[k] for k in sorted(episodes)), strict=True):
            got = {s.meta.agent_id: s for s in found[number]}
            assert sorted(got) == sorted(s.meta.agent_id for s in expected)
            for sample in expected:
                assert_same(got[sample.meta.agent_id], sample)
                newcomers += sample.meta.agent_id.startswith("newcomer")
                deaths += bool(sample.terminations[-1])
    assert newcomers > 0 < deaths


def world_of(samples, alone):
    """Whether an episode of the batch is one of the world recorded alone."""
    keys = {sample.rewards.tobytes() + sample.actions.tobytes() for sample in alone}
    return all(s.rewards.tobytes() + s.actions.tobytes() in keys for s in samples)


def assert_same(mine, theirs):
    left, right = arrays_of(mine), arrays_of(theirs)
    assert list(left) == list(right)
    for name in left:
        if name == "value_preds":  # there was no critic
            np.testing.assert_array_equal(left[name][:-1], right[name][:-1])
        assert left[name].dtype == right[name].dtype
        assert left[name].tobytes() == right[name].tobytes(), name
    ignored = {"episode_id", "digests", "capture_metadata"}
    assert mine.meta.model_dump(exclude=ignored) == theirs.meta.model_dump(exclude=ignored)
    origin = {"seed"}
    assert mine.meta.capture_metadata.model_dump(
        exclude=origin
    ) == theirs.meta.capture_metadata.model_dump(exclude=origin)


def test_a_policy_with_its_critic(tmp_path):
    towns = TownletVectorEnv(SCENARIO, 2)
    runtime = PolicyRuntime(tiny_network(SCENARIO), seed=3)
    with RecordBatch(towns, tmp_path, critic=runtime.values_batch, behaviour="policy") as recorder:
        seen, infos = recorder.reset(seed=5)
        for _ in range(150):
            acts = runtime.act_batch(seen, infos["action_mask"])
            recorder.annotate(log_probs=acts.log_probs, values=acts.values, logits=acts.logits)
            seen, _, _, _, infos = recorder.step(acts.actions)
    capture = load_capture(tmp_path)
    samples = list(capture)
    assert [s.rows for s in samples] == [120] * 6 + [29] * 6
    assert [s.meta.episode_id for s in samples] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert {s.meta.capture_metadata.seed for s in samples[:3]} == {5}
    for sample in samples:
        assert sample.truncations[-1]
        assert "behaviour_logits" in sample.extras
        last = {key: part[None] for key, part in sample.final_observation.items()}
        expected = runtime.values_batch(last)[0]
        assert sample.value_preds[-1] == pytest.approx(expected, abs=1e-5)
        again = runtime.values_batch({k: v[:1] for k, v in sample.observations.items()})
        assert sample.value_preds[0] == pytest.approx(again[0], abs=1e-5)


def test_only_some_residents_and_what_is_refused(tmp_path):
    towns = TownletVectorEnv(SCENARIO, 2)
    with RecordBatch(towns, tmp_path / "a", agents=("ben",), behaviour="script") as recorder:
        with pytest.raises(CaptureError, match=r"call reset\(\) before step"):
            recorder.step(np.zeros(6, np.int64))
        recorder.reset(seed=1)
        for bad, message in (
            ({"log_probs": np.zeros(5)}, r"log_probs: expected .* of shape \(6,\)"),
            ({"values": np.full(6, np.inf)}, "with infinities"),
            ({"log_probs": np.full(6, 0.5)}, "none above 0"),
        ):
            with pytest.raises(CaptureError, match=message):
                recorder.annotate(**bad)
        for _ in range(10):
            recorder.step(np.zeros(6, np.int64))
    samples = list(load_capture(tmp_path / "a"))
    assert [s.meta.agent_id for s in samples] == ["ben", "ben"]
    assert not samples[0].old_log_probs.any()
    same_step = TownletVectorEnv(SCENARIO, 2, autoreset_mode="SAME_STEP")
    with pytest.raises(CaptureError, match="NEXT_STEP, found SAME_STEP"):
        RecordBatch(same_step, tmp_path / "b")
    with pytest.raises(CaptureError, match="there is a capture already"):
        RecordBatch(towns, tmp_path / "a")


def test_a_reset_in_between_seals_what_is_open(tmp_path):
    towns = TownletVectorEnv(SCENARIO, 1)
    recorder = RecordBatch(towns, tmp_path)
    for _ in range(2):
        recorder.reset(seed=2)
        for _ in range(5):
            recorder.step(np.zeros(3, np.int64))
    recorder.seal()
    assert [s.rows for s in load_capture(tmp_path)] == [5] * 6
    assert recorder.acknowledged == 2
    recorder.close()


def test_a_disk_that_refuses_between_handovers_loses_no_life(tmp_path, monkeypatch):
    """Six lives end at once, in three jobs; the disk refuses at first."""
    monkeypatch.setattr(batch_recorder, "_HANDOVER_BYTES", 0)
    refusals = iter([True, True, True])

    def full(*arguments, **options):
        if next(refusals, False):
            raise DiskError("no space left")
        return write_files(*arguments, **options)

    monkeypatch.setattr(writer, "write_files", full)
    towns = TownletVectorEnv(SCENARIO, WORLDS, max_ticks=6)
    recorder = RecordBatch(towns, tmp_path)
    told = 0
    recorder.reset(seed=2)
    for _ in range(7 + 3):  # the world opens again in between
        try:
            recorder.step(np.zeros(towns.num_envs, np.int64))
        except DiskError:
            told += 1
    while True:
        try:
            recorder.close()
            break
        except DiskError:
            told += 1
    assert told > 0
    found = {(s.meta.episode_id, s.meta.agent_id): s.rows for s in load_capture(tmp_path)}
    agents = towns.plan.names.residents[:3]
    assert found == {
        (episode, agent): 6 if episode < WORLDS else 3
        for episode in range(2 * WORLDS)
        for agent in agents
    }
