"""Which objective a capture supports: the sound one is chosen, the others are refused."""

from __future__ import annotations

import numpy as np
import pytest
from toy_rollouts import own_rollout, sharp_network, small_network
from toy_samples import script_sample

from townlet_replay.errors import TrainingError
from townlet_replay.rollout import pack
from townlet_replay.training.objectives import (
    OBJECTIVES,
    Evidence,
    choose_objective,
    gather_evidence,
    initial_ess,
)

SOUND = Evidence(
    kinds=("policy",),
    rows=1000,
    unknown_log_probs=0,
    certain_share=0.0,
    unknown_values=0,
    ess=0.98,
)


@pytest.mark.parametrize(
    ("changes", "auto", "sound", "reason"),
    [
        ({}, "ppo", "ppo decoupled_ppo vtrace_ppo", None),
        ({"ess": None}, "ppo", "ppo decoupled_ppo vtrace_ppo", None),
        ({"ess": 0.7}, "decoupled_ppo", "ppo decoupled_ppo vtrace_ppo", None),
        ({"ess": 0.12}, "decoupled_ppo", "decoupled_ppo", "size is 0.120, below 0.3"),
        ({"ess": 0.05}, "bc", "", "effective sample size is 0.050, below 0.[13]"),
        # Sound, but a script is cloned first.
        ({"kinds": ("script_eps",)}, "bc", "ppo decoupled_ppo vtrace_ppo", None),
        ({"kinds": ("mixed", "policy")}, "bc", "ppo decoupled_ppo vtrace_ppo", None),
        ({"kinds": ("script",)}, "bc", "", "a deterministic script acted"),
        ({"kinds": ("policy", "unknown")}, "bc", "", "who acted is unknown"),
        ({"certain_share": 0.4}, "bc", "", "40% of the choices have log-probability 0"),
        ({"forged": ("too small",)}, "bc", "", "the audit failed: too small"),
        ({"unknown_log_probs": 3}, "bc", "", "3 of 1000 log-probabilities are unknown"),
        ({"unknown_values": 1}, "bc", "", "the values of 1 rows are unknown"),
    ],
)
def test_each_capture_gets_what_is_sound(changes, auto, sound, reason):
    """Every objective on every kind of capture: obeyed or refused, with what to use instead."""
    evidence = SOUND._replace(**changes)
    chosen = choose_objective(evidence)
    assert (chosen.name, chosen.requested, chosen.biased) == (auto, "auto", False)
    assert bool(chosen.reasons) == (auto != "ppo")
    for name in OBJECTIVES:
        if name in ("awr", "bc", "ppo_bc") or name in sound.split():
            verdict = choose_objective(evidence, name)
            assert (verdict.name, verdict.reasons, verdict.biased) == (name, (), False)
            continue
        with pytest.raises(TrainingError, match=f"(?s){name} on this.*{reason}.*use ") as refusal:
            choose_objective(evidence, name)
        instead = [*sound.split(), "awr", "bc"]
        assert f"use {', '.join(instead)} (or auto)" in str(refusal.value)


@pytest.mark.parametrize("changes", [{"kinds": ("script",)}, {"certain_share": 1.0}, {"ess": 0.01}])
def test_an_accepted_bias_is_written_down(changes):
    chosen = choose_objective(SOUND._replace(**changes), "ppo", accept_bias=True)
    assert chosen.name == "ppo"
    assert chosen.biased
    assert chosen.reasons


def test_a_sound_pair_is_not_marked_although_bias_was_accepted():
    assert not choose_objective(SOUND, "ppo", accept_bias=True).biased


@pytest.mark.parametrize("changes", [{"unknown_log_probs": 1}, {"unknown_values": 1}])
def test_missing_numbers_cannot_be_accepted(changes):
    with pytest.raises(TrainingError, match="unknown") as refusal:
        choose_objective(SOUND._replace(**changes), "ppo", accept_bias=True)
    assert "accept the bias" not in str(refusal.value)


@pytest.mark.parametrize("name", ["decoupled", "PPO", ""])
def test_other_objectives_do_not_exist(name):
    with pytest.raises(
        TrainingError, match=r"does not exist; there are: ppo, decoupled_ppo, .*and auto"
    ):
        choose_objective(SOUND, name)


def test_evidence_of_an_own_capture():
    network = sharp_network()
    evidence = gather_evidence(own_rollout(network), ["policy", "policy"], network)
    assert evidence.kinds == ("policy",)
    assert evidence.rows == 203
    assert evidence.certain_share == evidence.unknown_log_probs == evidence.unknown_values == 0
    assert evidence.ess == pytest.approx(1.0, abs=1e-6)
    assert choose_objective(evidence).name == "ppo"


def test_evidence_of_a_script():
    evidence = gather_evidence(pack([script_sample()]), ["script"], small_network())
    assert evidence.certain_share == 1.0
    assert evidence.unknown_values == 20
    assert choose_objective(evidence).name == "bc"


def test_rows_without_a_choice_say_nothing_about_the_actor():
    rollout = own_rollout(sharp_network())
    forced = np.zeros_like(rollout.action_mask)
    forced[np.arange(203), rollout.actions] = 1
    forced[:100] = rollout.action_mask[:100]
    forced[:100, :2] = 1  # everybody here has a choice
    log_probs = np.where(np.arange(203) < 100, rollout.old_log_probs, 0).astype(np.float32)
    log_probs[:100] = np.minimum(log_probs[:100], -0.01)
    rollout = rollout._replace(action_mask=forced, old_log_probs=log_probs)
    assert gather_evidence(rollout, ["policy"]).certain_share == 0.0
    all_zero = rollout._replace(old_log_probs=np.zeros(203, np.float32))
    assert gather_evidence(all_zero, ["policy"]).certain_share == 1.0


def test_the_effective_sample_size_falls_with_distance():
    rollout = own_rollout(sharp_network(0))
    near = sharp_network(0)
    near.action_head.weight.data.mul_(1.05)
    sizes = [
        initial_ess(network, rollout) for network in (sharp_network(0), near, sharp_network(5))
    ]
    assert 1.0 >= sizes[0] > sizes[1] > sizes[2] > 0.0


def test_the_effective_sample_size_of_impossible_ratios_is_finite():
    rollout = own_rollout(sharp_network())
    extreme = rollout._replace(old_log_probs=np.full(203, -1e8, np.float32))
    assert 0.0 < initial_ess(sharp_network(), extreme) <= 1.0
