"""Captures of the catalogue: their goldens and claims, what a row holds, and who acted."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from town_captures import (
    digests,
    network_capture,
    script_capture,
    tiny_checkpoint,
)

from townlet_env import townlet_v0
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.errors import ConfigError
from townlet_env.policies.crew import Crew
from townlet_env.verdicts import check_story
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.wrappers import ScriptedScenario
from townlet_replay.capture import (
    CaptureSettings,
    capture_checkpoint,
    capture_scenario,
    capture_settings,
    with_extra_residents,
)
from townlet_replay.errors import CaptureError, TrainingError
from townlet_replay.golden import compare, measure, read_golden, write_golden
from townlet_replay.manifest import load_capture
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.policy.masked import masked_log_probs
from townlet_replay.recorder import RecordReplay

GOLDEN = Path(__file__).parents[1] / "docs" / "samples" / "rollout_scenario_stats.json"
CLASSICS = (
    "employment_punctuality",
    "kitchen_breakfast",
    "observation_baseline",
    "queue_conflict",
    "rivalry_decay",
)


@pytest.fixture(scope="module")
def golden():
    return read_golden(GOLDEN)


def test_the_golden_covers_the_catalogue(golden):
    assert set(CLASSICS) <= set(list_scenarios())
    assert sorted(golden.scenarios) == list_scenarios()


@pytest.mark.parametrize("scenario", list_scenarios())
def test_a_capture_has_the_figures_of_its_golden_and_its_claims_hold(scenario, golden):
    claims = check_story(load_scenario(scenario))
    assert claims
    assert [claim for claim in claims if not claim.held] == []
    wanted = golden.model_copy(update={"scenarios": {scenario: golden.scenarios[scenario]}})
    assert compare(wanted, measure([scenario])) == []


def test_rewards_tell_residents_and_deeds_apart(golden):
    """The predecessor gave everybody one clipped constant."""
    stats = {
        (name, resident): found
        for name, scenario in golden.scenarios.items()
        for resident, found in scenario.residents.items()
    }
    clipped = {who: found.clip_share for who, found in stats.items() if found.clip_share}
    # Near an exit gains do not count, and what does not count is put down as clipped.
    assert list(clipped) == [("newcomer_arrival", "dora")]
    assert max(clipped.values()) < 0.03
    returns = [found.reward_sum for found in stats.values()]
    assert len(set(returns)) == len(returns)
    dawn, erin = (stats["employment_punctuality", name] for name in ("dawn", "erin"))
    assert dawn.reward_component_sums["punctuality"] > 0 > erin.reward_component_sums["punctuality"]
    assert stats["observation_baseline", "olga"].reward_sum == 0.0


def moved(golden, scenario, resident, **changes):
    """The golden with some figures of one resident changed."""
    found = golden.scenarios[scenario]
    stats = found.residents[resident].model_copy(update=changes)
    entry = found.model_copy(update={"residents": {**found.residents, resident: stats}})
    return golden.model_copy(update={"scenarios": {**golden.scenarios, scenario: entry}})


def test_drift_names_every_figure_that_moved_and_no_other(golden):
    ben = golden.scenarios["queue_conflict"].residents["ben"]
    counts = {**ben.action_counts, "wait": ben.action_counts["wait"] + 1, "chat": 2}
    sums = {**ben.reward_component_sums, "needs": ben.reward_component_sums["needs"] + 2e-6}
    now = moved(golden, "queue_conflict", "ben", action_counts=counts, reward_component_sums=sums)
    drifts = compare(golden, now)
    assert [(d.scenario, d.resident, d.figure) for d in drifts] == [
        ("queue_conflict", "ben", "action_counts.chat"),
        ("queue_conflict", "ben", "action_counts.wait"),
        ("queue_conflict", "ben", "reward_component_sums.needs"),
    ]
    assert (drifts[0].golden, drifts[0].now) == ("0", "2")
    rounded = moved(golden, "queue_conflict", "ben", reward_sum=ben.reward_sum + 5e-7)
    assert compare(golden, rounded) == []


def test_drift_names_what_came_and_went(golden):
    found = golden.scenarios["rivalry_decay"]
    fewer = found.model_copy(
        update={"residents": {"fay": found.residents["fay"]}, "config_digest": "other"}
    )
    scenarios = {**golden.scenarios, "rivalry_decay": fewer}
    del scenarios["kitchen_breakfast"]
    drifts = compare(golden, golden.model_copy(update={"scenarios": scenarios}))
    assert [(d.scenario, d.resident, d.figure, d.now) for d in drifts] == [
        ("kitchen_breakfast", "", "scenario", "missing"),
        ("rivalry_decay", "", "config_digest", "other"),
        ("rivalry_decay", "gus", "resident", "missing"),
    ]


def test_a_golden_is_read_back_as_it_was_written(golden, tmp_path):
    path = tmp_path / "samples" / "stats.json"
    write_golden(path, golden)
    assert read_golden(path) == golden
    assert path.read_bytes() == GOLDEN.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "scenarios"),
        (b'{"schema_version": "9.0", "scenarios": {}}', "version 1.0, found 9.0"),
        (b'{"scenarios": {}, "more": 1}', "more"),
        (b"not json", "stats.json"),
        (None, "missing"),
    ],
)
def test_a_damaged_golden_is_refused(tmp_path, content, message):
    path = tmp_path / "stats.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CaptureError, match=message):
        read_golden(path)


@pytest.mark.parametrize("scenario", CLASSICS)
def test_the_same_capture_has_the_same_bytes(scenario, tmp_path):
    settings = {"episodes": 2, "epsilon": 0.2, "seed": 21}
    for name in ("one", "two"):
        script_capture(scenario, tmp_path / name, **settings)
    script_capture(scenario, tmp_path / "other", **{**settings, "seed": 22})
    one, two, other = (digests(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert len(one) == 2 + 2 * 2 * len(load_scenario(scenario).residents)
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


@pytest.mark.parametrize("scenario", CLASSICS)
def test_a_row_is_what_was_seen_before_the_action_and_what_it_led_to(scenario, tmp_path):
    """The recorded actions, played again in a fresh town, give every recorded array."""
    capture = script_capture(scenario, tmp_path, episodes=2, epsilon=0.3)
    env = townlet_v0.parallel_env(scenario=scenario)
    samples = {(s.meta.agent_id, s.meta.episode_id): s for s in capture}
    for episode in range(2):
        seed = capture.manifest.metadata.seed
        seen, _ = env.reset(seed=seed) if episode == 0 else env.reset()
        lives = {agent: samples[agent, episode] for agent in env.possible_agents}
        for t in range(env.unwrapped.config.ticks):
            assert sorted(env.agents) == sorted(lives)
            for agent, life in lives.items():
                for key in ("map", "features"):
                    assert np.array_equal(life.observations[key][t], seen[agent][key])
                assert np.array_equal(life.action_mask[t], seen[agent]["action_mask"])
            actions = {agent: int(life.actions[t]) for agent, life in lives.items()}
            seen, rewards, terminated, truncated, _ = env.step(actions)
            for agent, life in lives.items():
                assert life.rewards[t] == np.float32(rewards[agent])
                assert life.terminations[t] == terminated[agent]
                assert life.truncations[t] == truncated[agent]
                assert life.ticks[t] == t + 1
        assert env.agents == []
        for agent, life in lives.items():
            assert life.rows == env.unwrapped.config.ticks
            for key in ("map", "features"):
                assert np.array_equal(life.final_observation[key], seen[agent][key])


def test_a_script_is_certain_and_says_so(tmp_path):
    for sample in script_capture("queue_conflict", tmp_path):
        assert sample.meta.behaviour.kind == "script"
        assert sample.meta.behaviour.epsilon is None
        assert sample.old_log_probs.tolist() == [0.0] * sample.rows
        assert np.isnan(sample.value_preds).all()
        assert "intent_actions" not in sample.extras


def test_a_noisy_script_has_the_log_probs_of_the_mixture(tmp_path):
    """mu(a) = (1 - eps) [a = intent] + eps / n, to the last bit of float32."""
    epsilon = 0.35
    capture = script_capture("rivalry_decay", tmp_path, episodes=4, epsilon=epsilon)
    strayed = rows = 0
    for sample in capture:
        assert sample.meta.behaviour.kind == "script_eps"
        assert sample.meta.behaviour.epsilon == epsilon
        intents, legal = sample.extras["intent_actions"], sample.action_mask.sum(axis=1)
        for t in range(sample.rows):
            kept = 1.0 - epsilon if sample.actions[t] == intents[t] else 0.0
            expected = np.float32(math.log(kept + epsilon / int(legal[t])))
            assert sample.old_log_probs[t] == expected
        strayed += int((sample.actions != intents).sum())
        rows += sample.rows
        assert sample.action_mask[np.arange(sample.rows), sample.actions].all()
    # Chance strays at epsilon (1 - 1/n) of the rows; 5 standard deviations around it.
    mean_legal = np.concatenate([sample.action_mask.sum(axis=1) for sample in capture])
    expected = float((epsilon * (1.0 - 1.0 / mean_legal)).sum())
    assert abs(strayed - expected) < 5 * math.sqrt(rows * 0.25)
    assert strayed > 100


def test_intents_are_those_of_the_script_in_the_state_that_the_noise_led_to(tmp_path):
    config = load_scenario("queue_conflict")
    capture = capture_scenario(config, tmp_path, CaptureSettings(epsilon=0.5))
    samples = {sample.meta.agent_id: sample for sample in capture}
    env = TownletParallelEnv(config)
    crew = Crew(config, env.plan)
    env.reset(seed=config.seed)
    crew.reset(0)
    for t in range(config.ticks):
        wanted = {env.possible_agents[slot]: a for slot, a in crew.act(env.batch, 0).items()}
        assert wanted == {
            agent: int(sample.extras["intent_actions"][t]) for agent, sample in samples.items()
        }
        env.step({agent: int(sample.actions[t]) for agent, sample in samples.items()})


def test_the_random_policy_has_the_log_probs_of_a_uniform_choice(tmp_path):
    for sample in script_capture("kitchen_breakfast", tmp_path, policy="random", episodes=2):
        legal = sample.action_mask.sum(axis=1)
        expected = np.array([-math.log(int(n)) for n in legal], np.float32)
        assert np.array_equal(sample.old_log_probs, expected)
        assert sample.meta.behaviour.kind == "script_eps"
        assert sample.meta.behaviour.epsilon == 1.0
        assert len(set(sample.actions.tolist())) > 5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.json", seed=4)


def test_a_network_s_capture_recomputes_from_its_weights(checkpoint, tmp_path):
    network = load_checkpoint(checkpoint).network
    capture = network_capture("queue_conflict", tmp_path, checkpoint, episodes=2, seed=8)
    assert len(capture) == 6
    assert capture.manifest.metadata.policy_hash == network.digest
    for sample in capture:
        assert sample.meta.behaviour.kind == "policy"
        assert sample.meta.behaviour.digest == f"sha256:{network.digest}"
        with torch.no_grad():
            seen = network.spec.tensors(sample.observations, network.device)
            logits, values = network(seen)
            final = {key: part[None] for key, part in sample.final_observation.items()}
            _, last = network(network.spec.tensors(final, network.device))
        log_probs = masked_log_probs(logits, torch.from_numpy(sample.action_mask.astype(bool)))
        chosen = log_probs[torch.arange(sample.rows), torch.from_numpy(sample.actions)]
        # A batch of 3 and one of 120 take different paths through BLAS: not to the last bit.
        assert np.allclose(sample.old_log_probs, chosen.numpy(), rtol=0, atol=2e-6)
        assert np.allclose(sample.value_preds[:-1], values.numpy(), rtol=0, atol=2e-6)
        assert sample.value_preds[-1] == pytest.approx(float(last[0]), abs=2e-6)
        assert np.allclose(sample.extras["behaviour_logits"], logits.numpy(), rtol=0, atol=2e-6)
        assert sample.truncations[-1]
        assert len(np.unique(sample.old_log_probs)) > 20


def test_a_greedy_network_is_certain_and_takes_the_most_probable(checkpoint, tmp_path):
    config, settings = load_scenario("rivalry_decay"), CaptureSettings()
    network = load_checkpoint(checkpoint).network
    for sample in capture_checkpoint(config, tmp_path, settings, checkpoint, greedy=True):
        assert not sample.old_log_probs.any()
        with torch.no_grad():
            logits, _ = network(network.spec.tensors(sample.observations, network.device))
        legal = torch.from_numpy(sample.action_mask.astype(bool))
        best = masked_log_probs(logits, legal).argmax(dim=1).numpy()
        assert (best == sample.actions).mean() > 0.99  # near ties may go the other way


def test_a_network_and_a_script_cannot_both_act(checkpoint, tmp_path):
    for settings in ({"policy": "random"}, {"epsilon": 0.1}):
        with pytest.raises(TrainingError, match="a checkpoint or a script, found both"):
            network_capture("queue_conflict", tmp_path / "out", checkpoint, **settings)
    assert not (tmp_path / "out").exists()


def test_some_residents_only(checkpoint, tmp_path):
    chosen = script_capture("queue_conflict", tmp_path / "a", agents=("cleo", "anna"))
    assert [entry.agent_id for entry in chosen.manifest.samples] == ["anna", "cleo"]
    everybody = script_capture("queue_conflict", tmp_path / "b")
    for sample in chosen:
        twin = next(s for s in everybody if s.meta.agent_id == sample.meta.agent_id)
        assert np.array_equal(sample.actions, twin.actions)
        assert np.array_equal(sample.rewards, twin.rewards)
    played = network_capture("queue_conflict", tmp_path / "c", checkpoint, agents=("ben",))
    assert [entry.agent_id for entry in played.manifest.samples] == ["ben"]
    with pytest.raises(ConfigError, match="unknown resident 'bem'; did you mean 'ben'"):
        script_capture("queue_conflict", tmp_path / "d", agents=("bem",))
    assert not (tmp_path / "d").exists()


def test_more_residents_stand_on_free_cells_and_live_by_their_needs(tmp_path):
    hot = load_scenario("queue_conflict", {"needs.decay.hygiene": 0.01})
    config = with_extra_residents(hot, 4)
    capture = capture_scenario(config, tmp_path, CaptureSettings())
    names = [entry.agent_id for entry in capture.manifest.samples]
    assert names == ["anna", "ben", "cleo", *(f"resident_{k}" for k in range(1, 5))]
    cells = [resident.cell for resident in config.residents if resident.cell is not None]
    assert len(set(cells)) == 4
    extra = [set(s.actions.tolist()) for s in capture if s.meta.agent_id.startswith("resident")]
    assert max(map(len, extra)) > 3
    with pytest.raises(ConfigError, match="expected 999 free cells"):
        with_extra_residents(config, 999)


def test_a_learner_has_no_script(tmp_path):
    residents = [{"id": "olga", "policy": "learner"}]
    config = load_scenario("observation_baseline", {"residents": residents, "expect": []})
    with pytest.raises(ConfigError, match="olga follow no script"):
        capture_scenario(config, tmp_path / "out", CaptureSettings())
    assert not (tmp_path / "out").exists()
    driven = capture_scenario(config, tmp_path / "out", CaptureSettings(policy="needs_driven"))
    assert len(driven) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"episodes": 0}, "capture: episodes: .*greater than or equal to 1, found 0"),
        ({"epsilon": math.nan}, "capture: epsilon"),
        ({"epsilom": 0.1}, "did you mean 'epsilon'"),
        ({"seed": 2**63}, "capture: seed"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(settings, message):
    with pytest.raises(ConfigError, match=message) as refused:
        capture_settings(**settings)
    assert "\n" not in str(refused.value)


def test_the_length_of_every_tick_is_watched(tmp_path):
    ticks = []
    config = load_scenario("observation_baseline")
    capture_scenario(config, tmp_path, CaptureSettings(episodes=3), ticks.append)
    assert ticks == [1] * 60


def test_scripted_residents_are_recorded_with_what_they_did(tmp_path):
    """`step({})` of a scripted town: nobody's action passes through the caller's hands."""
    town = townlet_v0.parallel_env(scenario="queue_conflict")
    with RecordReplay(ScriptedScenario(town), tmp_path / "wrapped") as env:
        env.reset(seed=2)
        while env.agents:
            env.step({})
    wrapped = {s.meta.agent_id: s for s in load_capture(tmp_path / "wrapped")}
    direct = script_capture("queue_conflict", tmp_path / "direct", seed=2)
    assert len(wrapped) == len(direct) == 3
    for sample in direct:
        twin = wrapped[sample.meta.agent_id]
        assert np.array_equal(sample.actions, twin.actions)
        assert np.array_equal(sample.rewards, twin.rewards)
        assert np.array_equal(sample.observations["features"], twin.observations["features"])
        assert len(set(sample.actions.tolist())) > 3


def test_a_learner_among_scripted_residents(tmp_path):
    """The caller's residents keep their own actions; what they say of others is not recorded."""
    town = townlet_v0.parallel_env(scenario="queue_conflict")
    scripted = ScriptedScenario(town, learners=["ben"])
    behaviour = {"anna": "script", "cleo": "script", "ben": "policy"}
    rng = np.random.default_rng(0)
    done = []
    with RecordReplay(scripted, tmp_path, behaviour=behaviour) as env:
        observations, _ = env.reset(seed=2)
        while env.agents:
            legal = np.flatnonzero(observations["ben"]["action_mask"])
            action = int(rng.choice(legal))
            env.annotate(log_probs={"ben": -math.log(len(legal))})
            observations, *_ = env.step({"ben": action, "cleo": 3})
            done.append((action, scripted.last_actions["anna"], scripted.last_actions["cleo"]))
    samples = {s.meta.agent_id: s for s in load_capture(tmp_path)}
    for column, name in enumerate(("ben", "anna", "cleo")):
        assert samples[name].actions.tolist() == [row[column] for row in done]
    assert samples["ben"].meta.behaviour.kind == "policy"
    assert (samples["ben"].old_log_probs < 0).any()
    assert not samples["anna"].old_log_probs.any()
