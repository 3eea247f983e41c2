"""Captures of the shipped scenarios, and a small network that lives in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from townlet_env.config.compile import compile_plan
from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.capture import (
    CaptureSettings,
    capture_checkpoint,
    capture_scenario,
    record_policy,
    town_spec,
)
from townlet_replay.manifest import load_capture
from townlet_replay.policy.checkpoint import save_checkpoint
from townlet_replay.policy.network import NetworkConfig, TownletNetwork
from townlet_replay.policy.runtime import PolicyRuntime

TINY = NetworkConfig(map_width=16, features_width=16, trunk_widths=(16,))


def tiny_network(scenario, seed=0):
    """A fresh network for a scenario; its spec is that of every shipped scenario."""
    return TownletNetwork(town_spec(compile_plan(load_scenario(scenario))), TINY, seed)


def tiny_checkpoint(path, scenario="queue_conflict", seed=0):
    """A saved fresh network."""
    return save_checkpoint(path, tiny_network(scenario, seed), training={"scenario": scenario})


def script_capture(scenario, out, **settings):
    """What the scripts of a scenario do."""
    return capture_scenario(load_scenario(scenario), out, CaptureSettings(**settings))


def network_capture(scenario, out, path, **settings):
    """What a saved network does."""
    return capture_checkpoint(load_scenario(scenario), out, CaptureSettings(**settings), path)


def policy_capture(scenario, out, network, *, ticks=120, seed=11):
    """What a network does for some ticks, over the ends of episodes."""
    env = TownletParallelEnv(load_scenario(scenario), details=True)
    record_policy(env, PolicyRuntime(network, seed=seed), out, ticks=ticks, seed=seed)
    return load_capture(out)


def digests(folder):
    """SHA-256 of every file below a folder, by relative path."""
    root = Path(folder)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
