"""P5 of the ladder: planted mistakes part from the sound learner, and the tool says where."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from cli_runs import townlet
from sb3_twin import CONFIG, differing_weights, twin_of
from town_captures import TINY
from toy_rollouts import own_rollout, sharp_network

from townlet_replay.errors import TrainingError
from townlet_replay.policy.masked import evaluate, masked_log_probs
from townlet_replay.training import ppo
from townlet_replay.training.batches import gradient_step, minibatches
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.gae import gae
from townlet_replay.training.parity import count_updates, first_parting
from townlet_replay.training.ppo import pass_over, prepare_update
from townlet_replay.training.run import train
from townlet_replay.training.sb3 import fill_rollout_buffer
from townlet_replay.training.trace import Trace

UPDATES, ROWS = 2, 203
MINIBATCHES = -(-ROWS // CONFIG.minibatch_size)  # of a pass; the last has 11 rows


def rollouts():
    network = sharp_network(3)
    return [own_rollout(network, rows=ROWS, seed=seed) for seed in range(UPDATES)]


def trained(path, mistake=None, monkeypatch=None):
    """Trace the native learner, with a mistake planted."""
    network, data, config, seeds = sharp_network(3), rollouts(), CONFIG, range(UPDATES)
    if mistake is not None:
        data, config, seeds = mistake(monkeypatch, data, config, seeds)
    optimizer = ppo.make_optimizer(network, config)
    trace = Trace(path)
    for rollout, seed in zip(data, seeds, strict=True):
        stepper, estimates, _ = prepare_update(network, optimizer, rollout, config)
        watched = trace.watch(stepper, (rollout, estimates), network, optimizer)
        pass_over(len(rollout.actions), watched, config, np.random.default_rng(seed))
    trace.close()
    return network


def theirs():
    """MaskablePPO on the same rows."""
    data, model = rollouts(), None
    for seed, rollout in enumerate(data):
        model = model or twin_of(copy.deepcopy(sharp_network(3)), rollout, CONFIG)
        fill_rollout_buffer(model.rollout_buffer, rollout, gamma=CONFIG.gamma)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(np.random, "permutation", np.random.default_rng(seed).permutation)
            model.train()
    return model


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.trace"
    network, model = trained(path), theirs()
    assert differing_weights(network, model) == []
    return path, model


MISTAKES = {}


def planted(update, minibatch, name):
    """Register a mistake: where the tool must say that it shows first."""

    def register(function):
        MISTAKES[function.__name__] = (function, (update, minibatch), name)
        return function

    return register


def changed_rows(change):
    return lambda patch, data, config, seeds: ([change(r) for r in data], config, seeds)


def patched_gae(change):
    def plant(patch, data, config, seeds):
        patch.setattr(ppo, "gae", lambda *arguments: gae(*change(*arguments)))
        return data, config, seeds

    return plant


@planted(1, 0, "advantages.deaths")
def advantages_reach_over_the_ends_of_lives(*given):
    def change(rewards, values, deaths, cuts, bootstrap, gamma, decay):
        last = np.zeros_like(cuts)
        last[-1] = True
        return rewards, values, deaths & last, cuts & last, bootstrap, gamma, decay

    return patched_gae(change)(*given)


@planted(1, 0, "advantages.cuts")
def a_cut_is_bootstrapped_from_the_last_observation(*given):
    def change(rewards, values, deaths, cuts, bootstrap, gamma, decay):
        return rewards, values, deaths, cuts, values, gamma, decay

    return patched_gae(change)(*given)


@planted(1, 0, "advantages.cuts")
def dones_are_taken_for_terminations(*given):
    def change(rewards, values, deaths, cuts, bootstrap, gamma, decay):
        return rewards, values, deaths | cuts, cuts, bootstrap, gamma, decay

    return patched_gae(change)(*given)


@planted(1, 1, "loss.ratio_mean")
def the_softmax_knows_no_mask(patch, data, config, seeds):
    patch.setattr(ppo, "evaluate", lambda logits, mask, actions: evaluate(logits, None, actions))
    return data, config, seeds


@planted(1, 1, "loss.policy")
def advantages_are_normalised_over_the_batch(patch, data, config, seeds):
    estimate, batch = ppo.estimate, {}

    def watched(rollout, settings):
        found = estimate(rollout, settings)
        batch.update(mean=found.advantages.mean(), deviation=found.advantages.std(ddof=1))
        return found

    patch.setattr(ppo, "estimate", watched)
    patch.setattr(ppo, "standardised", lambda a: (a - batch["mean"]) / (batch["deviation"] + 1e-8))
    return data, config, seeds


@planted(1, 1, "loss.policy")
def the_deviation_is_biased(patch, data, config, seeds):
    biased = lambda a: (a - a.mean()) / (a.std(correction=0) + 1e-8)  # noqa: E731
    patch.setattr(ppo, "standardised", biased)
    return data, config, seeds


@planted(1, 2, "loss.value")
def values_are_clipped(patch, data, config, seeds):
    near = ppo._near_old
    patch.setattr(ppo, "_near_old", lambda values, targets, _: near(values, targets, 1e-3))
    return data, config, seeds


@planted(1, 1, "loss.total")
def the_value_coefficient_is_halved(patch, data, config, seeds):
    return data, config.model_copy(update={"vf_coef": config.vf_coef / 2}), seeds


@planted(1, 1, "loss.entropy")
def there_is_no_entropy_bonus(patch, data, config, seeds):
    def without(logits, mask, actions):
        found = evaluate(logits, mask, actions)
        return found._replace(entropies=found.entropies * 0)

    patch.setattr(ppo, "evaluate", without)
    return data, config, seeds


@planted(1, 1, "gradient.map_encoder.1.weight")
def gradients_are_not_clipped(patch, data, config, seeds):
    patch.setattr(ppo, "gradient_step", lambda n, o, loss, _: gradient_step(n, o, loss, 1e9))
    return data, config, seeds


@planted(1, 1, "weight.map_encoder.1.weight")
def adam_has_its_own_epsilon(patch, data, config, seeds):
    return data, config.model_copy(update={"adam_eps": 1e-8}), seeds


@planted(1, 0, "rollout.old_log_probs")
def recorded_log_probs_know_no_mask(patch, data, config, seeds):
    network = sharp_network(3)

    def unmasked(rollout):
        with torch.no_grad():
            logits, _ = network(network.spec.tensors(rollout.observations, network.device))
        judged = masked_log_probs(logits, None).numpy()
        chosen = judged[np.arange(ROWS), rollout.actions]
        return rollout._replace(old_log_probs=chosen)

    return changed_rows(unmasked)(patch, data, config, seeds)


@planted(1, 0, "rollout.old_log_probs")
def log_probs_are_rounded_to_six_digits(*given):
    def rounded(rollout):
        return rollout._replace(old_log_probs=np.round(rollout.old_log_probs, 6))

    return changed_rows(rounded)(*given)


@planted(1, 0, "rollout.values")
def values_are_kept_in_half_precision(*given):
    def half(rollout):
        return rollout._replace(values=rollout.values.astype(np.float16).astype(np.float32))

    return changed_rows(half)(*given)


@planted(1, 1, "rows")
def seeds_are_shuffled(patch, data, config, seeds):
    return data, config, list(reversed(seeds))


@planted(1, MINIBATCHES + 1, "rows")
def one_permutation_serves_all_passes(patch, data, config, seeds):
    orders = {}

    def once(rows, size, rng, segments):
        assert segments is None
        order = orders.setdefault(rng, torch.from_numpy(rng.permutation(rows)))
        return iter(order.split(size))

    patch.setattr(ppo, "minibatches", once)
    return data, config, seeds


@planted(1, MINIBATCHES, "rows.count")
def the_last_minibatch_is_dropped(patch, data, config, seeds):
    def whole_ones(rows, size, rng, segments):
        parts = minibatches(rows, size, rng, segments)
        return (part for part in parts if len(part) == size)

    patch.setattr(ppo, "minibatches", whole_ones)
    return data, config, seeds


@planted(1, 2 * MINIBATCHES + 1, None)
def a_pass_is_missing(patch, data, config, seeds):
    return data, config.model_copy(update={"epochs": config.epochs - 1}), seeds


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_caught_and_named(name, sound, tmp_path, monkeypatch):
    path, model = sound
    plant, place, value = MISTAKES[name]
    network = trained(tmp_path / "wrong.trace", plant, monkeypatch)
    assert differing_weights(network, model)
    parting = first_parting(path, tmp_path / "wrong.trace")
    assert (parting.update, parting.minibatch) == place
    assert parting.name == value


def test_there_are_mistakes_enough():
    assert len(MISTAKES) >= 10
    assert {"advantages.deaths", "advantages.cuts", "rows", "loss.policy", "loss.value"} <= {
        value for _, _, value in MISTAKES.values()
    }


def test_sound_twice_is_equal(sound, tmp_path):
    again = tmp_path / "again.trace"
    trained(again)
    assert first_parting(sound[0], again) is None
    assert count_updates(again) == UPDATES


def test_moments_that_are_lost_show_in_the_second_update(sound, tmp_path):
    lines = sound[0].read_text().splitlines()
    number = next(k for k, line in enumerate(lines) if '"update": 2, "minibatch": 0' in line)
    document = json.loads(lines[number])
    values = document["values"]
    document["values"] = {k: v for k, v in values.items() if not k.startswith("moment.")}
    path = tmp_path / "lost.trace"
    path.write_text("\n".join([*lines[:number], json.dumps(document), *lines[number + 1 :]]))
    parting = first_parting(sound[0], path)
    assert (parting.update, parting.minibatch) == (2, 0)
    assert parting.name.startswith("moment.")
    assert (parting.second, "moments at the start" in parting.reason) == ("not there", True)


def config_of(path, **changes):
    return TrainConfig.model_validate(
        {
            "scenario": "kitchen_breakfast",
            "network": TINY.model_dump(),
            "live": {"steps": 250, "num_worlds": 2, "rollout_ticks": 30},
            "ppo": {"minibatch_size": 50, "epochs": 2, "target_kl": None},
            "trace": path,
            **changes,
        }
    )


@pytest.mark.parametrize("mode", ["fused", "autograd", "strict_sb3"])
def test_a_trace_changes_nothing_and_finds_another_seed(mode, tmp_path):
    compute = {"mode": mode, "threads": 1}
    plain = train(config_of(None, compute=compute))
    paths = [tmp_path / f"{name}.trace" for name in ("one", "two", "other")]
    reports = [
        train(config_of(path, compute=compute, seed=seed))
        for path, seed in zip(paths, (0, 0, 1), strict=True)
    ]
    assert reports[0].last.loss_total == plain.last.loss_total
    assert first_parting(*paths[:2]) is None
    assert count_updates(paths[0]) == 3
    parting = first_parting(paths[0], paths[2])
    assert (parting.update, parting.minibatch) == (1, 0)
    assert parting.name == "rollout.observations.map"


def test_traces_of_stable_baselines3(tmp_path):
    pytest.importorskip("sb3_contrib")
    paths = [tmp_path / f"{name}.trace" for name in ("one", "two", "other")]
    for path, coefficient in zip(paths, (0.01, 0.01, 0.02), strict=True):
        ppo_settings = {"minibatch_size": 60, "epochs": 2, "ent_coef": coefficient}
        train(config_of(path, learner="sb3-maskable", ppo=ppo_settings))
    assert first_parting(*paths[:2]) is None
    parting = first_parting(paths[0], paths[2])
    assert (parting.update, parting.minibatch) == (1, 1)
    assert parting.name.startswith("gradient.")


def test_the_command(sound, tmp_path):
    wrong = tmp_path / "wrong.trace"
    lines = sound[0].read_text().splitlines()
    wrong.write_text("\n".join(lines[:-1]))
    equal = townlet("parity", sound[0], sound[0])
    assert (equal.code, equal.out.strip()) == (0, "equal to the bit: 2 updates")
    found = townlet("parity", sound[0], wrong)
    assert found.code == 1
    assert f"update 2, minibatch {3 * MINIBATCHES}: no such minibatch" in found.out
    assert "ends before it" in found.out
    found = townlet("parity", sound[0], wrong, "--json")
    assert json.loads(found.out)["equal"] is False


def test_what_is_no_trace_is_refused(sound, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes\n")
    with pytest.raises(TrainingError, match=r"notes.txt, line 1: .* expected a trace of version 1"):
        first_parting(sound[0], notes)
    with pytest.raises(TrainingError, match="choose another file"):
        Trace(notes)
    assert notes.read_text() == "my notes\n"
    with pytest.raises(TrainingError, match="no trace can be read there"):
        first_parting(sound[0], tmp_path / "nothing")
    empty = tmp_path / "empty.trace"
    Trace(empty).close()
    with pytest.raises(TrainingError, match="at least one update"):
        first_parting(empty, empty)
    broken = tmp_path / "broken.trace"
    broken.write_text(sound[0].read_text()[:-30])
    with pytest.raises(TrainingError, match="line"):
        first_parting(sound[0], broken)
