"""Action logs of thousands of towns: derived, they are the captures of the same play."""

import numpy as np
import pytest
from env.mortal import MORTAL
from logged_towns import SCENARIO
from town_captures import tiny_network

from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.vector import TownletVectorEnv
from townlet_replay import PolicyRuntime, RecordBatch, RecordReplay, load_capture
from townlet_replay.action_log import load_log
from townlet_replay.deriving import Target, derive, materialise, reobserve
from townlet_replay.errors import CaptureError
from townlet_replay.rerun_sources import open_source
from townlet_replay.sample import arrays_of, same_sample
from townlet_replay.verifying import verify

TICKS = 40


class Painted(TownletVectorEnv):
    """Towns of one's own, which show something else."""


def towns_of(changes=MORTAL, worlds=5, ticks=TICKS, **options):
    config = load_scenario(SCENARIO, {**changes, "ticks": ticks})
    return TownletVectorEnv(config, num_worlds=worlds, **options)


def play(
    towns, out, steps=100, *, notes=True, critic=True, reset_at=None, valued=10**6, **settings
):
    """Legal and illegal orders over the ends of episodes; the same whatever is recorded.

    After ``valued`` steps nobody tells values any more.
    """
    rng = np.random.default_rng(3)
    values = PolicyRuntime(tiny_network(SCENARIO), seed=1).values_batch if critic else None
    with RecordBatch(towns, out, critic=values, tags=("batch",), **settings) as recorder:
        recorder.reset(seed=9)
        for step in range(steps):
            if step == reset_at:
                recorder.reset()
            drawn = rng.random((2, towns.num_envs)).astype(np.float32)
            if notes:
                logits = rng.normal(size=(towns.num_envs, 31))
                recorder.annotate(
                    log_probs=-drawn[0],
                    values=drawn[1] if step < valued else np.full_like(drawn[1], np.nan),
                    logits=logits,
                    policy_version=step // 7,
                )
            recorder.step(rng.integers(0, 31, towns.num_envs))


def by_life(samples):
    return {(sample.meta.episode_id, sample.meta.agent_id): sample for sample in samples}


def check_same(derived, recorded):
    one, other = by_life(derived), by_life(recorded)
    assert one.keys() == other.keys()
    for key, sample in other.items():
        for name, array in arrays_of(sample).items():
            found = arrays_of(one[key])[name]
            assert found.tobytes() == array.tobytes(), (key, name)
        assert same_sample(one[key], sample), key
    return other


@pytest.mark.parametrize("details", [True, False])
@pytest.mark.parametrize("notes", [True, False])
def test_it_derives_what_mode_full_records(tmp_path, details, notes):
    for mode in ("full", "actions"):
        play(towns_of(details=details), tmp_path / mode, notes=notes, reset_at=55, mode=mode)
    source = open_source(tmp_path / "actions")
    found = verify(source)
    assert found.mismatch is None
    capture = materialise(source, Target(tmp_path / "again"))
    lives = check_same(capture, load_capture(tmp_path / "full"))
    assert found.rows == sum(sample.rows for sample in lives.values())
    assert found.episodes == load_log(tmp_path / "actions").count("episodes") > 12
    assert any(sample.terminations.any() for sample in lives.values())
    assert any(agent.startswith("newcomer") for _, agent in lives)
    assert len({sample.rows for sample in lives.values()}) > 5


def test_the_value_after_a_death_is_nobody_elses(tmp_path):
    """Who follows in the slot is not valued, and ends with the episode."""
    for mode in ("full", "actions"):
        play(towns_of(worlds=12), tmp_path / mode, TICKS, valued=28, mode=mode)
    lives = check_same(
        derive(open_source(tmp_path / "actions"), metrics=True), load_capture(tmp_path / "full")
    )
    assert any(np.isnan(sample.value_preds).all() for sample in lives.values())


def test_one_world_is_what_the_pettingzoo_view_records(tmp_path):
    config = load_scenario(SCENARIO, {**MORTAL, "ticks": TICKS})
    orders = np.random.default_rng(6).integers(0, 31, (TICKS, 3))
    with RecordReplay(TownletParallelEnv(config), tmp_path / "one", mode="actions") as env:
        env.reset(seed=4)
        slots = env.unwrapped.slots
        for row in orders:
            env.step({agent: int(row[slot]) for agent, slot in slots.items()})
            slots = env.unwrapped.slots
            if not env.agents:
                break
    with RecordBatch(towns_of(worlds=1), tmp_path / "batch", mode="actions") as batch:
        batch.reset(seed=4)
        for row in orders:
            batch.step(row)
    one, other = (next(load_log(tmp_path / name).episodes()) for name in ("one", "batch"))
    assert (one.checks.tobytes(), one.chain, one.seen) == (
        other.checks.tobytes(),
        other.chain,
        other.seen,
    )
    lives = {life.agent_id: life for life in one.lives}
    assert len(lives) > 3
    assert lives.keys() == {life.agent_id for life in other.lives}
    for life in other.lives:
        assert life.actions.tobytes() == lives[life.agent_id].actions.tobytes()
        assert life.episode_return == lives[life.agent_id].episode_return


def test_some_learn_and_the_others_follow_scripts(tmp_path):
    for mode in ("full", "actions"):
        towns = towns_of({}, learners=["anna", "cleo"], details=True)
        play(towns, tmp_path / mode, agents=("cleo",), mode=mode)
    source = open_source(tmp_path / "actions")
    lives = check_same(derive(source, metrics=True), load_capture(tmp_path / "full"))
    assert {agent for _, agent in lives} == {"cleo"}
    assert {life.agent_id for life in next(source.logged()).lives} == {"anna", "ben", "cleo"}


def test_scripts_are_certain_and_nothing_else_is_known(tmp_path):
    for mode in ("full", "actions"):
        play(towns_of({}), tmp_path / mode, notes=False, behaviour="script", mode=mode)
    lives = check_same(
        derive(open_source(tmp_path / "actions"), metrics=True), load_capture(tmp_path / "full")
    )
    assert not any(sample.old_log_probs.any() for sample in lives.values())


def test_towns_that_do_not_begin_together(tmp_path):
    """Short lives end episodes at different ticks; rows are used again and again."""
    changes = {**MORTAL, "arrivals": {"enabled": False}}
    for mode in ("full", "actions"):
        play(towns_of(changes, worlds=9, ticks=30), tmp_path / mode, 200, mode=mode)
    source = open_source(tmp_path / "actions")
    lives = check_same(derive(source, metrics=True), load_capture(tmp_path / "full"))
    assert len({episode.ticks for episode in source.logged()}) > 1
    assert len(lives) > 100


def test_another_variant_and_other_rewards(tmp_path):
    play(towns_of(details=True), tmp_path / "log", mode="actions")
    wide = reobserve(open_source(tmp_path / "log"), Target(tmp_path / "wide"), variant="full")
    play(towns_of(details=True, observation="full"), tmp_path / "full", critic=False, mode="full")
    recorded = by_life(load_capture(tmp_path / "full"))
    for key, sample in by_life(wide).items():
        other = recorded[key]
        assert sample.observations["map"].tobytes() == other.observations["map"].tobytes()
        assert sample.rewards.tobytes() == other.rewards.tobytes()


def test_many_episodes_are_few_files(tmp_path):
    play(towns_of({}, worlds=64, ticks=10), tmp_path, 55, notes=False, critic=False, mode="actions")
    log = load_log(tmp_path)
    assert log.count("episodes") == 5 * 64
    assert len(log.log.files) <= 5
    assert verify(open_source(tmp_path)).mismatch is None


def test_what_cannot_be_recorded_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="autoreset mode NEXT_STEP, found SAME_STEP"):
        RecordBatch(towns_of(autoreset_mode="SAME_STEP"), tmp_path, mode="actions")
    with pytest.raises(CaptureError, match="needs TownletVectorEnv itself; found Painted"):
        RecordBatch(Painted(SCENARIO, num_worlds=1), tmp_path, mode="actions")
    with RecordBatch(towns_of(), tmp_path, mode="actions") as recorder:
        with pytest.raises(CaptureError, match=r"call reset\(\) before step"):
            recorder.step(np.zeros(15, np.int64))
        recorder.reset(seed=1)
        orders = np.zeros(15, np.int64)
        recorder.step(orders)
        orders[7] = 31
        with pytest.raises(CaptureError, match="slot 7: action 31 cannot be recorded; expected 0"):
            recorder.step(orders)
    assert load_log(tmp_path).count("ticks") == 5
    assert verify(open_source(tmp_path)).mismatch is None
