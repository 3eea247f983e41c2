"""Live evaluation: the same episodes for everybody, sums that recompute, actors that fit."""

from __future__ import annotations

import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from town_captures import tiny_checkpoint, tiny_network

from townlet_env.config.load import load_scenario
from townlet_env.policies.crew import Crew, with_policy
from townlet_env.story import run_story
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.sb3 import make_vec_env
from townlet_replay.errors import CheckpointError, TrainingError
from townlet_replay.evaluation import (
    KPIS,
    evaluate,
    network_actor,
    sb3_actor,
    script_actor,
)
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.policy.runtime import PolicyRuntime
from townlet_replay.scoring import score_checkpoint


def play(config, choose, seed):
    """One episode in the PettingZoo view: returns by resident, and what KPIs are made of."""
    # Evaluation gives its seeds to the core as they are; the view draws episode seeds from them.
    env = TownletParallelEnv(config, details=True)
    env.reset()
    env.batch.reset([seed])
    returns, events, wages, needs, illegal = np.zeros(len(env.agents)), [], 0.0, [], 0
    ticks = 0
    while env.agents:
        step = env.step(choose(env))
        returns += np.array(list(step[1].values()))
        events += [event.event for event in env.events()]
        wages += sum(float(info["reward_components"][3]) for info in step[4].values())
        needs.append(env.batch.worlds["needs"][0, : len(returns)].mean())
        illegal += sum(info["illegal_action"] for info in step[4].values())
        ticks += 1
    return returns, events, wages, float(np.mean(needs)), illegal / (ticks * len(returns))


@pytest.mark.parametrize("scenario", ["employment_punctuality", "queue_conflict"])
def test_returns_and_kpis_recompute_in_the_other_view(scenario):
    config = load_scenario(scenario)
    found = evaluate(config, script_actor(config), [5])

    class Scripts:
        def __init__(self):
            self.crew = None

        def __call__(self, env):
            self.crew = self.crew or Crew(config, env.plan)
            acts = self.crew.act(env.batch, 0)
            return {env.possible_agents[slot]: action for slot, action in acts.items()}

    returns, events, wages, needs, illegal = play(config, Scripts(), 5)
    assert found.returns.shape == (1, len(returns))
    assert found.returns[0] == pytest.approx(returns, abs=1e-6)
    assert found.mean == pytest.approx(returns.mean())
    assert found.scores == pytest.approx([returns.mean()])
    count = len(returns)
    assert tuple(found.kpis) == KPIS
    assert found.kpis["affordances"] == events.count("affordance_finished") / count
    assert found.kpis["conflicts"] == events.count("queue_conflict") / count
    assert found.kpis["on_time"] == events.count("shift_on_time") / count
    assert found.kpis["late"] == events.count("shift_late") / count
    assert found.kpis["wages"] == pytest.approx(wages / count, abs=1e-5)
    assert found.kpis["mean_need"] == pytest.approx(needs, abs=1e-6)
    assert found.kpis["illegal_share"] == pytest.approx(illegal)
    assert found.kpis["affordances"] > 0


def test_the_script_earns_what_its_story_says():
    config = load_scenario("rivalry_decay")
    found = evaluate(config, script_actor(config), [config.seed])
    assert found.returns[0] == pytest.approx(run_story(config).rewards.sum(axis=0), abs=1e-4)


def test_every_seed_is_an_episode_of_its_own():
    """Side by side or alone: the same returns, in the order of the seeds."""
    config = load_scenario("employment_punctuality")
    actor = script_actor(config, "random")
    together = evaluate(config, actor, [3, 9, 4]).returns
    alone = [evaluate(config, actor, [seed]).returns[0] for seed in (3, 9, 4)]
    assert np.array_equal(together, np.stack(alone))
    assert len({tuple(row) for row in together.tolist()}) == 3


def test_a_greedy_network_plays_alone_as_it_does_beside_others():
    config, network = load_scenario("queue_conflict"), tiny_network("queue_conflict", seed=1)
    found = evaluate(config, network_actor(network, seed=0, greedy=True), [7, 8])
    for row, seed in enumerate((7, 8)):
        runtime = PolicyRuntime(network, seed=0, greedy=True)

        def choose(env, runtime=runtime):
            return runtime.act(
                {agent: env._observe([agent])[agent] for agent in env.agents}
            ).actions

        returns, _, _, _, illegal = play(config, choose, seed)
        assert found.returns[row] == pytest.approx(returns, abs=1e-6)
        assert illegal == 0.0
    assert found.kpis["illegal_share"] == 0.0


def test_sampling_depends_on_its_seed_alone():
    config, network = load_scenario("employment_punctuality"), tiny_network("queue_conflict")
    runs = [
        evaluate(config, network_actor(network, seed=seed, greedy=False), range(4)).returns
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.fixture(scope="module")
def models():
    env = make_vec_env("queue_conflict")
    settings = {"n_steps": 8, "batch_size": 8, "seed": 1, "policy_kwargs": {"net_arch": [8]}}
    return PPO("MultiInputPolicy", env, **settings), MaskablePPO(
        "MultiInputPolicy", env, **settings
    )


def test_models_of_stable_baselines3_play_with_and_without_masks(models):
    config = load_scenario("queue_conflict")
    plain, masked = (
        evaluate(config, sb3_actor(model, seed=0, greedy=False), [1, 2]) for model in models
    )
    assert masked.kpis["illegal_share"] == 0.0
    assert plain.kpis["illegal_share"] > 0.3  # nobody told it; what is illegal acts as waiting
    again = evaluate(config, sb3_actor(models[1], seed=0, greedy=False), [1, 2])
    assert np.array_equal(masked.returns, again.returns)


def test_a_greedy_model_chooses_as_its_own_predict(models):
    config, model = load_scenario("queue_conflict"), models[1]
    found = evaluate(config, sb3_actor(model, seed=0, greedy=True), [4])

    def choose(env):
        rows = [env._observe([agent])[agent] for agent in env.agents]
        seen = {key: np.stack([row[key] for row in rows]) for key in ("map", "features")}
        masks = np.stack([row["action_mask"] for row in rows])
        actions, _ = model.predict(seen, action_masks=masks, deterministic=True)
        return dict(zip(env.agents, actions.tolist(), strict=True))

    assert found.returns[0] == pytest.approx(play(config, choose, 4)[0], abs=1e-6)


def test_one_policy_for_everybody_leaves_no_schedule():
    config = with_policy(load_scenario("queue_conflict"), "idle")
    assert {resident.policy for resident in config.residents} == {"idle"}
    assert [resident.schedule for resident in config.residents] == [[], [], []]
    assert evaluate(config, script_actor(config), [1]).kpis["affordances"] == 0


def test_what_cannot_be_evaluated_is_refused():
    config = load_scenario("queue_conflict")
    with pytest.raises(TrainingError, match="at least one evaluation seed"):
        evaluate(config, script_actor(config), [])
    network = tiny_network("queue_conflict")
    network.spec = network.spec.model_copy(update={"feature_names": ("a", "b")})
    with pytest.raises(TrainingError, match="another action vocabulary or feature list"):
        evaluate(config, network_actor(network, seed=0, greedy=True), [1])


class Shown:
    def __init__(self):
        self.notes = []

    def advance(self, amount=1, note=""):
        self.notes.append(note)


def test_a_checkpoint_is_scored_beside_script_and_chance(tmp_path):
    path = tiny_checkpoint(tmp_path / "net.json", "kitchen_breakfast")
    shown = Shown()
    found = score_checkpoint(path, [], range(3), shown)
    assert [row.who for row in found] == ["sampled", "greedy", "script", "random"]
    assert {row.scenario for row in found} == {"kitchen_breakfast"}
    assert shown.notes == [f"kitchen_breakfast {row.who}" for row in found]
    config = load_scenario("kitchen_breakfast")
    chance = evaluate(config, script_actor(config, "random"), range(3))
    assert found[3].mean_return == chance.mean
    assert found[3].kpis == chance.kpis
    assert found[2].mean_return > found[3].mean_return
    network = load_checkpoint(path).network
    for row, greedy in ((found[0], False), (found[1], True)):
        played = evaluate(config, network_actor(network, seed=0, greedy=greedy), range(3))
        assert (row.mean_return, row.kpis) == (played.mean, played.kpis)
    assert found[0].kpis != found[1].kpis
    elsewhere = score_checkpoint(path, ["queue_conflict"], [1], shown)
    assert {row.scenario for row in elsewhere} == {"queue_conflict"}


def test_a_zip_is_scored_by_its_own_algorithm(tmp_path, models):
    for model, name in zip(models, ("plain", "masked"), strict=True):
        model.save(tmp_path / name)
        found = score_checkpoint(tmp_path / f"{name}.zip", ["queue_conflict"], [1, 2], Shown())
        assert (found[0].kpis["illegal_share"] == 0.0) == (name == "masked")


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="found no file"):
        score_checkpoint(tmp_path / "none.zip", ["queue_conflict"], [1], Shown())
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(CheckpointError, match=r"text\.zip"):
        score_checkpoint(tmp_path / "text.zip", ["queue_conflict"], [1], Shown())
    with pytest.raises(TrainingError, match="give --scenario"):
        score_checkpoint(tmp_path / "text.zip", [], [1], Shown())
    with pytest.raises(CheckpointError, match="missing"):
        score_checkpoint(tmp_path / "none.json", [], [1], Shown())
