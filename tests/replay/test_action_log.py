"""An action log holds all that a capture holds: derived, it is the same file for file."""

import json

import numpy as np
import pytest
from forged_captures import read_json
from logged_towns import SCENARIO, town, unsealed
from town_captures import digests, tiny_network

from townlet_env.config.load import load_scenario
from townlet_env.errors import ConfigError
from townlet_env.sim.tick import step_worlds
from townlet_env.views.parallel import TownletParallelEnv
from townlet_env.views.vector import TownletVectorEnv
from townlet_env.wrappers import ScriptedScenario
from townlet_replay import PolicyRuntime, RecordBatch, RecordReplay, load_capture
from townlet_replay.action_log import load_log
from townlet_replay.capture import CaptureSettings, record_policy, record_scenario
from townlet_replay.deriving import Target, materialise, reobserve
from townlet_replay.errors import CaptureError
from townlet_replay.rerun_sources import open_source
from townlet_replay.town_chains import SEEN_EVERY
from townlet_replay.verifying import verify


def wild_play(env, out, *, ticks=70, values=True, **settings):
    """Legal and illegal orders, none at all, ends by time, by ``reset`` and by ``close``."""
    rng = np.random.default_rng(3)
    critic = (
        PolicyRuntime(tiny_network(SCENARIO), seed=1)
        if values and "map" in str(env.observation_space(env.possible_agents[0]))
        else None
    )
    with RecordReplay(env, out, policy=critic, tags=("wild",), **settings) as recorder:
        recorder.reset(seed=9)
        for tick in range(ticks):
            if not recorder.agents or tick == 17:
                recorder.reset()
            agents = [a for a in recorder.agents if rng.random() < 0.9]
            if values:
                drawn = rng.random(len(agents)).astype(np.float32).tolist()
                recorder.annotate(
                    log_probs={a: -d for a, d in zip(agents, drawn, strict=True) if d < 0.9},
                    values=dict(zip(agents, drawn, strict=True)),
                    logits={a: rng.normal(size=31) for a in agents},
                    intents={a: int(rng.integers(31)) for a in agents[:1]},
                    policy_version=tick // 10 if tick > 30 else None,
                )
            recorder.step({a: int(rng.integers(31)) for a in agents})


@pytest.mark.parametrize("details", [True, False])
@pytest.mark.parametrize("values", [True, False])
def test_materialised_it_is_the_capture_byte_for_byte(tmp_path, details, values):
    width = len(town().action_lookup)
    assert width == 31
    for mode in ("full", "packed", "actions"):
        wild_play(town(details=details), tmp_path / mode, values=values, mode=mode)
    source = open_source(tmp_path / "actions")
    assert verify(source).mismatch is None
    for mode in ("full", "packed"):
        found = materialise(source, Target(tmp_path / f"again_{mode}", mode=mode))
        assert digests(found.directory) == digests(tmp_path / mode)
    capture = load_capture(tmp_path / "full")
    assert len({sample.meta.episode_id for sample in capture}) > 2
    assert any(sample.terminations.any() for sample in capture)
    assert any(sample.meta.agent_id.startswith("newcomer") for sample in capture)
    for mode in ("full", "packed"):
        again = open_source(tmp_path / mode, config=town().config)
        assert verify(again) == verify(source)


def test_scripts_with_noise_and_a_network_materialise(tmp_path):
    config = load_scenario(SCENARIO, {"ticks": 50})
    settings = {"episodes": 2, "seed": 5, "epsilon": 0.3, "agents": ("anna", "cleo")}
    network = tiny_network(SCENARIO)
    for mode in ("full", "actions"):
        chosen = CaptureSettings(mode=mode, **settings)
        record_scenario(config, tmp_path / "script" / mode, chosen)
        runtime = PolicyRuntime(network, seed=4)
        env = TownletParallelEnv(config, details=True)
        chosen = CaptureSettings(mode=mode, compress=False, prefix="net")
        out = tmp_path / "net" / mode
        record_policy(env, runtime, out, ticks=70, seed=8, settings=chosen)
    for kind in ("script", "net"):
        source = open_source(tmp_path / kind / "actions")
        materialise(source, Target(tmp_path / kind / "again"))
        assert digests(tmp_path / kind / "again") == digests(tmp_path / kind / "full")
        assert (
            verify(open_source(tmp_path / kind / "full")).mismatch is None
            if (kind == "net")
            else True
        )


def test_a_town_whose_residents_follow_scripts(tmp_path):
    for mode in ("full", "actions"):
        bare = TownletParallelEnv(load_scenario(SCENARIO), details=True)
        env = ScriptedScenario(bare, learners=["anna"])
        with RecordReplay(env, tmp_path / mode, mode=mode, background=True) as recorder:
            recorder.reset()
            while recorder.agents:
                recorder.step({"anna": 2})
    materialise(open_source(tmp_path / "actions"), Target(tmp_path / "again"))
    assert digests(tmp_path / "again") == digests(tmp_path / "full")


def test_a_final_value_is_forgotten_by_the_next_step(tmp_path):
    for mode in ("full", "actions"):
        with RecordReplay(town(), tmp_path / mode, mode=mode) as recorder:
            recorder.reset(seed=3)
            for tick in range(9):
                recorder.annotate(values=dict.fromkeys(recorder.agents, 0.25))
                recorder.step(dict.fromkeys(recorder.agents, tick % 3))
                if tick in (4, 8):
                    agents = recorder.agents if tick == 4 else ["anna"]
                    recorder.annotate_final(values=dict.fromkeys(agents, 0.5))
    materialise(open_source(tmp_path / "actions"), Target(tmp_path / "again"))
    assert digests(tmp_path / "again") == digests(tmp_path / "full")
    last = {s.meta.agent_id: s.value_preds[-1] for s in load_capture(tmp_path / "full")}
    assert last["anna"] == 0.5
    assert np.isnan([last["ben"], last["cleo"]]).all()


def test_every_episode_of_a_capture_has_a_seed_of_its_own(tmp_path):
    wild_play(town(details=True), tmp_path)
    seeds = {s.meta.episode_id: s.meta.capture_metadata.seed for s in load_capture(tmp_path)}
    assert seeds[0] == 9
    assert len(set(seeds.values())) == len(seeds) > 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    for mode in ("full", "actions"):
        record_scenario(load_scenario(SCENARIO), folder / mode, CaptureSettings(mode=mode))
    return folder


def copied(recorded, mode, target):
    target.mkdir()
    for file in (recorded / mode).iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_other_code_is_refused_and_then_the_chain_decides(recorded, tmp_path):
    for mode, name in (("full", "manifest"), ("actions", "actions")):
        folder = copied(recorded, mode, tmp_path / mode)
        path = folder / f"rollout_sample_{name}.json"
        document = read_json(path)
        document["metadata"]["kernel_digest"] = "0123456789abcdef"
        path.write_text(json.dumps(document))
        with pytest.raises(CaptureError, match=r"digest 0123456789abcdef, here .* --other-kernel"):
            open_source(folder)
        assert verify(open_source(folder, other_kernel=True)).mismatch is None


def drifting(worlds, *rest):
    """A tick of a town in which something else happens from some tick on."""
    if worlds["tick"][0] == 40:
        worlds["needs"][0, 1, 0] -= 0.01
    step_worlds(worlds, *rest)


def test_the_first_tick_agent_and_field_that_differ_are_named(recorded, monkeypatch):
    monkeypatch.setattr("townlet_replay.reliving.stage.step_worlds", drifting)
    found = verify(open_source(recorded / "actions")).mismatch
    assert (found.episode, found.tick, found.agent, found.field) == (0, 41, None, "state")
    found = verify(open_source(recorded / "full")).mismatch
    # What ben sees before tick 42 is the first thing that shows; his reward of tick 41 before it.
    assert (found.episode, found.tick, found.agent) == (0, 41, "ben")
    assert found.field in ("rewards", "reward_components")
    with pytest.raises(CaptureError, match="episode 0, tick 41: state was recorded as one state"):
        materialise(open_source(recorded / "actions"), Target(recorded / "drifted"))


def colourful(worlds, *rest):
    """A tick of the same town, seen otherwise."""
    step_worlds(worlds, *rest)
    if worlds["tick"][0] == 2 * SEEN_EVERY:
        rest[-1].features[0, 2, 7] += 0.5


def generous(worlds, outcomes, *rest):
    """A tick of the same town, paid otherwise."""
    step_worlds(worlds, outcomes, *rest)
    outcomes["reward"][0, 1] += np.float32(worlds["tick"][0] == 9)


def test_what_is_only_seen_or_earned_otherwise_is_named_too(recorded, monkeypatch, tmp_path):
    monkeypatch.setattr("townlet_replay.reliving.stage.step_worlds", colourful)
    found = verify(open_source(recorded / "actions")).mismatch
    assert (found.tick, found.agent, found.field) == (None, None, "observations")
    found = verify(open_source(recorded / "full")).mismatch
    assert (found.tick, found.agent, found.field) == (2 * SEEN_EVERY + 1, "cleo", "features")
    with pytest.raises(CaptureError, match="observations was recorded as one hash, and comes"):
        materialise(open_source(recorded / "actions"), Target(tmp_path))
    monkeypatch.setattr("townlet_replay.reliving.stage.step_worlds", generous)
    found = verify(open_source(recorded / "actions")).mismatch
    assert (found.tick, found.agent, found.field) == (None, "ben", "sum of rewards")
    found = verify(open_source(recorded / "full")).mismatch
    assert (found.tick, found.agent, found.field) == (9, "ben", "rewards")


def test_reobserved_it_is_what_the_other_variant_records(recorded, tmp_path):
    config = load_scenario(SCENARIO)
    for mode in ("actions", "full"):
        target = Target(tmp_path / mode)
        found = reobserve(open_source(recorded / mode), target, variant="full")
        actions = iter(load_capture(recorded / "full"))
        for sample in found:
            before = next(actions)
            assert sample.observations["map"].shape[1] == 12
            assert sample.meta.map_channels[:4] == before.meta.map_channels
            assert (sample.observations["map"][:, :4] == before.observations["map"]).all()
            assert sample.meta.behaviour == before.meta.behaviour
            for name in ("actions", "rewards", "old_log_probs", "ticks"):
                assert getattr(sample, name).tobytes() == getattr(before, name).tobytes()
    assert digests(tmp_path / "full") == digests(tmp_path / "actions")
    assert found.manifest.metadata.config_digest == config.digest()


def test_other_reward_weights_over_the_same_behaviour(tmp_path):
    for mode in ("full", "actions"):
        env = TownletParallelEnv(load_scenario(SCENARIO), details=True)
        runtime = PolicyRuntime(tiny_network(SCENARIO), seed=2)
        chosen = CaptureSettings(mode=mode)
        record_policy(env, runtime, tmp_path / mode, ticks=60, seed=3, settings=chosen)
    rewards = {"needs_scale": 0.0, "shaping_scale": 0.0, "survival_tick": 0.25}
    for mode in ("full", "actions"):
        source = open_source(tmp_path / mode)
        found = reobserve(source, Target(tmp_path / f"again_{mode}"), rewards=rewards)
        for sample, before in zip(found, load_capture(tmp_path / "full"), strict=True):
            assert sample.observations["map"].tobytes() == before.observations["map"].tobytes()
            assert sample.old_log_probs.tobytes() == before.old_log_probs.tobytes()
            assert sample.rewards.tobytes() != before.rewards.tobytes()
            assert np.isnan(sample.value_preds).all()
            names = sample.meta.reward_components
            survived = sample.extras["reward_components"][:, names.index("survival")]
            assert (survived == np.float32(0.25)).all()
    assert digests(tmp_path / "again_full") == digests(tmp_path / "again_actions")


def test_settings_that_change_what_happens_are_refused(tmp_path):
    wild_play(town(details=True), tmp_path / "log", values=False, mode="actions")
    source = open_source(tmp_path / "log")
    with pytest.raises(CaptureError, match="change what happens: 'quiet_until' of the town is an"):
        reobserve(source, Target(tmp_path / "no"), rewards={"quiet_ticks": 3})
    with pytest.raises(ConfigError, match=r"rewards\.joy: unknown"):
        reobserve(source, Target(tmp_path / "no"), rewards={"joy": 3.0})


def test_a_log_is_no_capture_and_says_so(recorded):
    with pytest.raises(CaptureError, match="an action log, which holds no observations; derive"):
        load_capture(recorded / "actions")
    with pytest.raises(CaptureError, match="an action log, which holds no observations; derive"):
        load_capture(load_log(recorded / "actions").path)
    with pytest.raises(CaptureError, match="inputs are never changed"):
        materialise(open_source(recorded / "actions"), Target(recorded / "actions"))


def test_what_is_there_is_not_written_over(recorded, tmp_path):
    folder = copied(recorded, "actions", tmp_path / "log")
    config, chosen = load_scenario(SCENARIO, {"ticks": 9}), CaptureSettings(mode="actions")
    with pytest.raises(CaptureError, match="there is a capture already"):
        record_scenario(config, folder, chosen)
    record_scenario(config, folder, chosen.model_copy(update={"overwrite": True}))
    assert next(load_log(folder).episodes()).ticks == 9
    assert verify(open_source(folder)).mismatch is None
    with pytest.raises(CaptureError, match="there is a capture already"):
        record_scenario(config, copied(recorded, "full", tmp_path / "full"), chosen)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "actions.json",
            lambda b: b.replace(b'"rows": 3', b'"rows": 4'),
            "altered since it was wri",
        ),
        ("actions.json", lambda b: b[:-9], "not acceptable JSON"),
        (
            "actions.json",
            lambda b: unsealed(b.replace(b'"1.2"', b'"9.1"', 1)),
            "schema_version is '9.1'",
        ),
        (
            "actions.json",
            lambda b: unsealed(b.replace(b'"mode": "act', b'"mode": "fact')),
            "mode: Input",
        ),
        (
            "actions.json",
            lambda b: unsealed(b.replace(b"rollout_sample_ep", b"../rollout_ep")),
            "\\.\\.",
        ),
        ("episodes_000.npz", lambda b: b[:-1], "altered: its SHA-256"),
        ("scenario.json.gz", lambda b: b[:-1], "altered: its SHA-256"),
        ("episodes_000.npz", None, "cannot be read|missing|No such"),
        ("scenario.json.gz", None, "cannot be read|missing|No such"),
    ],
)
def test_damage_is_named(recorded, tmp_path, name, change, message):
    folder = copied(recorded, "actions", tmp_path / "log")
    path = folder / f"rollout_sample_{name}"
    if change is None:
        path.unlink()
    else:
        before = path.read_bytes()
        path.write_bytes(change(before))
        assert path.read_bytes() != before
    with pytest.raises(CaptureError, match=message):
        materialise(open_source(folder), Target(tmp_path / "out"))


def test_a_batch_of_towns_is_lived_again_too(tmp_path):
    towns = TownletVectorEnv(town().config, num_worlds=2, details=True)
    rng = np.random.default_rng(4)
    with RecordBatch(towns, tmp_path, mode="packed") as recorder:
        recorder.reset(seed=6)
        for _ in range(100):  # over two ends of episodes
            recorder.step(rng.integers(0, 31, towns.num_envs))
    source = open_source(tmp_path, config=town().config)
    found = verify(source)
    assert found.mismatch is None
    assert found.episodes == 6
    wide = reobserve(source, Target(tmp_path / "wide"), variant="full")
    assert sum(sample.rows for sample in wide) == found.rows


def test_rows_of_some_are_not_enough(tmp_path):
    chosen = CaptureSettings(agents=("anna",))
    record_scenario(load_scenario(SCENARIO, {"ticks": 10}), tmp_path, chosen)
    with pytest.raises(CaptureError, match="episode 0: no rows of ben, cleo, so what they did is"):
        verify(open_source(tmp_path))


def test_lives_in_pieces_are_refused(tmp_path):
    chosen = CaptureSettings(max_rows_per_file=6)
    record_scenario(load_scenario(SCENARIO, {"ticks": 10}), tmp_path, chosen)
    with pytest.raises(CaptureError, match="the life of 'anna' is in pieces"):
        verify(open_source(tmp_path))


def test_a_slice_of_a_capture_is_not_lived_again(recorded, tmp_path):
    from townlet_replay import slice_capture, write_capture

    part = slice_capture(load_capture(recorded / "full"), agents=["anna"])
    write_capture(part, tmp_path)
    with pytest.raises(CaptureError, match="cut or merged from other captures; verify those"):
        verify(open_source(tmp_path))
