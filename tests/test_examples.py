"""The examples run, stay short, and show what they say they show."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from townlet_replay import load_capture
from townlet_replay.sample import arrays_of

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_town_is_played_and_told(capsys):
    happened = load("play_town").main()
    assert happened["queue_conflict"] > 0
    assert "anna: return -" in capsys.readouterr().out


def test_another_environment_is_recorded_and_read_with_numpy(tmp_path):
    mean = load("record_any_environment").main(tmp_path / "spread", episodes=2)
    assert np.isfinite(mean)
    assert len(list((tmp_path / "spread").glob("*.npz"))) == 2 * 3


def test_a_clone_beats_chance_and_training_goes_on(tmp_path):
    example = load("clone_then_improve")
    scores = example.main(tmp_path / "noisy", episodes=12, live_steps=1024)
    assert scores["cloned"] > scores["random"]
    assert scores["script"] > scores["random"]
    assert len(scores) == 4


def test_maskable_ppo_trains_live():
    model = load("sb3_live").main(steps=320, num_worlds=2)
    assert model.num_timesteps == 320
    assert model._n_updates > 0


def test_maskable_ppo_trains_on_a_capture(tmp_path):
    watch = load("capture_to_sb3").main(tmp_path / "policy", episodes=2)
    assert len(watch.seen) == 2 * 3
    assert all(np.isfinite(watch.seen))


def test_an_own_scenario_with_an_own_policy_proves_its_story(tmp_path):
    results = load("own_scenario").main(tmp_path / "two_on_a_bench.yaml")
    assert [result.claim for result in results if not result.held] == []
    assert len(results) == 3


def test_own_kinds_and_affordances_are_played_from_a_scenario_alone(tmp_path):
    results, legal = load("own_affordance").main(tmp_path / "arcade_night.yaml")
    assert [result.claim for result in results if not result.held] == []
    assert legal == ["approach:arcade", "approach:buffet"]


def test_options_are_learnt_to_be_chosen_better_than_at_random():
    chance, learnt = load("options").main(episodes=10)
    assert learnt > chance + 0.2


def test_a_capture_becomes_the_arrays_of_d3rlpy(tmp_path):
    # What MDPDataset and its EpisodeGenerator ask for, in d3rlpy 2.8.
    arrays = load("capture_to_d3rlpy").main(tmp_path / "noisy", episodes=2)
    lives = list(load_capture(tmp_path / "noisy"))
    ends = np.cumsum([life.rows for life in lives]) - 1
    assert not np.logical_and(arrays["terminals"], arrays["timeouts"]).any()
    assert np.flatnonzero(arrays["terminals"] + arrays["timeouts"]).tolist() == ends.tolist()
    assert {len(array) for array in arrays.values()} == {ends[-1] + 1}
    assert [arrays[name].dtype.kind for name in arrays] == ["f", "i", "f", "f", "f"]
    first = lives[0].observations
    assert arrays["observations"][3].tolist() == [*first["features"][3], *first["map"][3].flat]


def test_a_capture_becomes_the_transitions_of_torchrl(tmp_path):
    data = load("capture_to_tensordict").main(tmp_path / "noisy", episodes=2)
    lives = list(load_capture(tmp_path / "noisy"))
    count = sum(life.rows for life in lives)
    after, done = data["next"], data["next"]["done"][:, 0]
    assert {len(leaf) for leaf in leaves(data)} == {count}
    assert {after[name].shape for name in ("reward", "done", "terminated")} == {(count, 1)}
    assert done.sum() == len(lives)
    for key in ("map", "features"):
        inner = ~done[:-1]
        assert (after["observation"][key][:-1][inner] == data["observation"][key][1:][inner]).all()
        assert np.array_equal(after["observation"][key][-1], lives[-1].final_observation[key])
    assert data["collector"]["traj_ids"][done].tolist() == list(range(len(lives)))
    assert data["action_mask"][range(count), data["action"]].all()


def leaves(tree):
    for value in tree.values():
        if isinstance(value, dict):
            yield from leaves(value)
        else:
            yield value


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_short(example):
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 80


def test_there_are_at_most_twenty():
    assert len(list(EXAMPLES.glob("*.py"))) <= 20


@pytest.mark.parametrize("bundle", [False, True])
def test_a_capture_is_read_without_this_package(tmp_path, bundle):
    words = [sys.executable, "-m", "townlet_replay", "capture", "queue_conflict", "--ticks", "30"]
    words += ["--episodes", "3", "--output", str(tmp_path), *["--bundle"] * bundle]
    subprocess.run(words, check=True, capture_output=True)
    example = load("read_without_townlet")
    read = list(example.read(tmp_path))
    capture = load_capture(tmp_path)
    assert len(read) == len(capture) == 9
    for (sidecar, arrays), sample in zip(read, capture, strict=True):
        assert sidecar["agent_id"] == sample.meta.agent_id
        expected = arrays_of(sample)
        assert arrays.keys() == expected.keys()
        assert all(arrays[name].tobytes() == expected[name].tobytes() for name in arrays)
    spoilt = next(path for path in tmp_path.iterdir() if path.suffix in (".zip", ".npz"))
    spoilt.write_bytes(spoilt.read_bytes().replace(b"rewards", b"rewardz"))
    with pytest.raises((ValueError, zipfile.BadZipFile), match=r"was altered|Bad CRC"):
        list(example.read(tmp_path))
    source = (EXAMPLES / "read_without_townlet.py").read_text()
    assert "import townlet" not in source
    assert "from townlet" not in source


def test_native_ppo_trains_on_captures_of_its_own_policy(tmp_path, capsys):
    means = load("capture_to_native").main(tmp_path, cycles=2, ticks=240)
    assert len(means) == 2
    assert "ppo, audit passed" in capsys.readouterr().out


def test_scripts_and_a_network_share_a_town():
    returns = load("mixed_residents").main()
    assert max(returns["ana"], returns["ben"]) < min(returns["cleo"], returns["dan"])


def test_one_file_of_ppo_runs_over_the_vector_view():
    means = load("cleanrl_style").main(updates=2, steps=16, num_worlds=4)
    assert len(means) == 2
    assert all(np.isfinite(means))


def test_minari_teaches_the_script(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))  # put back afterwards
    assert load("minari_bc").main(tmp_path, episodes=4, passes=10) > 0.6
