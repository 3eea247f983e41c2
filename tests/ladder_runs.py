"""Runs of the parity ladder: live ones, and replays of what was stored of them.

As a script, ``python ladder_runs.py FOLDER...`` replays stored runs in a process of its own and
writes their digests into ``replayed.json`` of each folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from sb3_contrib import MaskablePPO
from sb3_digests import Digests
from stable_baselines3 import PPO
from town_captures import TINY

from townlet_env.config.load import scenario_path
from townlet_env.views.sb3 import make_vec_env
from townlet_replay.manifest import load_capture
from townlet_replay.policy.checkpoint import load_checkpoint
from townlet_replay.rollout import pack
from townlet_replay.training.config import TrainConfig
from townlet_replay.training.harness import TrainingHarness
from townlet_replay.training.ppo import PPOConfig, make_optimizer, ppo_update
from townlet_replay.training.sb3 import (
    CaptureMaskablePPO,
    CapturePPO,
    RolloutTap,
    TownletExtractor,
    load_update,
    save_update,
)

UPDATES, TICKS, SEED = 6, 40, 7
# Who does not eat faints after some twenty ticks; newcomers follow after two or three.
MORTAL = {
    "ticks": 70,
    "expect": [],
    "needs": {"decay": {"hunger": 0.04, "hygiene": 0.0, "energy": 0.0}},
    "lives": {
        "enabled": True,
        "faint_after": 2,
        "exits_per_day": 64,
        "exit_gap": 4,
        "grace_ticks": 3,
    },
    "arrivals": {"enabled": True, "delay": [1, 3]},
}
# So much sharper, a fresh policy has an entropy below 0.7 nats.
SHARPER = 2000.0
PPO_SETTINGS = PPOConfig(
    gamma=0.97, gae_lambda=0.9, learning_rate=1e-3, minibatch_size=40, epochs=2, target_kl=None
)
SB3_SETTINGS = {
    "batch_size": 40,
    "n_epochs": 2,
    "gamma": 0.97,
    "gae_lambda": 0.9,
    "ent_coef": 0.01,
    "learning_rate": 1e-3,
    "policy_kwargs": {
        "features_extractor_class": TownletExtractor,
        "features_extractor_kwargs": {"map_width": 16, "features_width": 16},
        "net_arch": [16],
    },
}
LEARNERS = {"sb3": (PPO, CapturePPO), "sb3-maskable": (MaskablePPO, CaptureMaskablePPO)}


def mortal_scenario(name, folder):
    """A file of a shipped scenario in which people die and others come."""
    data = yaml.safe_load(scenario_path(name).read_text())
    for key, value in MORTAL.items():
        both = isinstance(value, dict) and isinstance(data.get(key), dict)
        data[key] = {**data[key], **value} if both else value
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def native_digest(network, optimizer):
    """SHA-256 of weights and Adam's moments."""
    sha = hashlib.sha256(network.digest.encode())
    for state in optimizer.state_dict()["state"].values():
        for name in sorted(state):
            sha.update(state[name].numpy().tobytes())
    return sha.hexdigest()


def sharpen(head, sharp):
    """Give a policy clear preferences, if asked to."""
    if sharp:
        with torch.no_grad():
            head.weight.mul_(SHARPER)


def live_native(scenario, folder, sharp):
    """Six updates on own captures, which are kept; the digest after each."""
    config = TrainConfig.model_validate(
        {
            "scenario": str(scenario),
            "mode": "rollout",
            "seed": SEED,
            "network": TINY.model_dump(),
            "ppo": PPO_SETTINGS.model_dump(),
            "rollout": {"ticks": TICKS, "cycles": UPDATES, "save_dir": str(folder / "cycles")},
        }
    )
    seen = []
    harness = TrainingHarness(
        config, lambda _: seen.append(native_digest(harness.network, harness.optimizer))
    )
    sharpen(harness.network.action_head, sharp)
    harness.save(folder / "initial")
    harness.run_rollout_ppo()
    return seen


def replay_native(folder):
    """The digests of a replay of :func:`live_native`, from the files alone."""
    saved = load_checkpoint(folder / "initial")
    network, optimizer = saved.network, make_optimizer(saved.network, PPO_SETTINGS)
    rng, seen = saved.generator(), []
    for cycle in range(1, UPDATES + 1):
        rollout = pack(tuple(load_capture(folder / "cycles" / f"cycle_{cycle:03d}")))
        ppo_update(network, optimizer, rollout, PPO_SETTINGS, rng)
        seen.append(native_digest(network, optimizer))
    return seen


def live_sb3(scenario, folder, sharp, learner):
    """Six live updates of a learner of Stable-Baselines3, stored; the digests around them."""
    env = make_vec_env(scenario)
    model = LEARNERS[learner][0]("MultiInputPolicy", env, n_steps=TICKS, seed=SEED, **SB3_SETTINGS)
    sharpen(model.policy.action_net, sharp)
    torch.save(model.policy.state_dict(), folder / "initial.pt")
    (folder / "actions").write_text(str(env.action_space.n))
    updates, digests = [], Digests()
    model.learn(TICKS * env.num_envs * UPDATES, callback=[RolloutTap(updates.append), digests])
    for number, update in enumerate(updates):
        save_update(folder / f"{number}.npz", update)
    return digests.seen


def replay_sb3(folder, learner):
    """The digests of a fresh model of another seed on what was stored."""
    from gymnasium.spaces import Discrete

    updates = [load_update(folder / f"{number}.npz") for number in range(UPDATES)]
    model = LEARNERS[learner][1].from_dataset(
        updates,
        seed=99,
        action_space=Discrete(int((folder / "actions").read_text())),
        **SB3_SETTINGS,
    )
    model.policy.load_state_dict(torch.load(folder / "initial.pt"))
    digests = Digests()
    model.learn(sum(len(update.rollout.rewards) for update in updates), callback=digests)
    return digests.seen


def stored_rollouts(folder, learner):
    """The rows of every update of a stored run."""
    if learner == "native":
        cycles = sorted((folder / "cycles").iterdir())
        return [pack(tuple(load_capture(cycle))) for cycle in cycles]
    return [load_update(folder / f"{number}.npz").rollout for number in range(UPDATES)]


def live(learner, scenario, folder, sharp):
    """Run live and store."""
    if learner == "native":
        return live_native(scenario, folder, sharp)
    return live_sb3(scenario, folder, sharp, learner)


def replay(learner, folder):
    """Replay what is stored."""
    return replay_native(folder) if learner == "native" else replay_sb3(folder, learner)


def main(folders):
    """Replay runs stored as ``FOLDER/LEARNER``, drawing from other global generators first."""
    torch.set_num_threads(1)
    np.random.seed(123)  # noqa: NPY002 (what SB3 draws from must come from the file)
    for folder in map(Path, folders):
        (folder / "replayed.json").write_text(json.dumps(replay(folder.name, folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
