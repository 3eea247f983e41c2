"""RecordReplay whatever ends an episode: errors, Ctrl-C, resets, a disk that refuses."""

import math

import numpy as np
import pytest
from capture_toys import Village, drive
from recorded_village import check_village, samples_of

from townlet_env.config.load import load_scenario
from townlet_env.views.parallel import TownletParallelEnv
from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.manifest import load_capture
from townlet_replay.recorder import RecordReplay
from townlet_replay.sidecar import CaptureMetadata, CaptureNames


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("fails_at", [1, 4])
def test_an_error_inside_step_keeps_what_was_recorded(tmp_path, error, fails_at):
    env = RecordReplay(Village(fails_at=fails_at, error=error), tmp_path)
    with pytest.raises(error, match="burns down"):
        drive(env)
    check_village(tmp_path, until=fails_at)
    with pytest.raises(CaptureError, match=r"call reset\(\) before step"):
        env.step({"ben": 1})
    env.unwrapped.fails_at = None
    drive(env)
    check_village(tmp_path, episode=1)


def test_an_error_in_the_first_step_writes_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        drive(RecordReplay(Village(fails_at=0), tmp_path / "c"))
    assert not (tmp_path / "c").exists()


def test_ctrl_c_between_steps(tmp_path):
    town = Village()

    def play():
        with RecordReplay(town, tmp_path) as env:
            drive(env, until=4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play()
    check_village(tmp_path, until=4)
    assert town.closed


def test_reset_in_the_middle_and_close_at_the_end(tmp_path):
    town = Village()
    env = RecordReplay(town, tmp_path, metadata=CaptureMetadata(seed=1, captured_at="noon"))
    drive(env, until=4)
    assert not list(tmp_path.iterdir())
    env.reset()
    check_village(tmp_path, until=4)
    env.step({"ana": 1, "ben": 1})
    env.close()
    assert town.closed
    found = check_village(tmp_path, episode=1, until=1)
    assert found["ana", 0].meta.capture_metadata.seed == 5
    assert found["ana", 1].meta.capture_metadata.seed == 1
    assert found["ana", 1].meta.capture_metadata.captured_at == "noon"
    env.close()
    assert len(load_capture(tmp_path)) == 5


def test_every_finished_episode_is_on_disk_at_once(tmp_path):
    env = RecordReplay(Village(), tmp_path)
    for episode in range(3):
        drive(env)
        assert load_capture(tmp_path).metrics.totals.samples == 3 * (episode + 1)
        check_village(tmp_path, episode=episode)
        assert env.step({}) is not None  # what the environment does after its end is its own


def test_a_capture_is_not_replaced_by_accident(tmp_path):
    drive(RecordReplay(Village(), tmp_path))
    with pytest.raises(CaptureError, match="there is a capture already"):
        RecordReplay(Village(), tmp_path)
    with RecordReplay(Village(last=4), tmp_path, overwrite=True) as env:
        drive(env)
    check_village(tmp_path, until=4)
    assert len(load_capture(tmp_path)) == 3


@pytest.mark.parametrize("background", [False, True])
def test_one_life_that_cannot_be_kept_does_not_take_the_others_along(tmp_path, background):
    env = RecordReplay(Village(), tmp_path, background=background)
    env.reset()
    env.annotate(logits={"ana": np.zeros(4)})
    env.step({"ana": 1, "ben": 1})
    env.annotate(logits={"ana": np.zeros(3)})
    env.step({"ana": 2, "ben": 2})
    with pytest.raises(CaptureError, match=r"'ana', episode 0: logits changes its shape"):
        env.close()
    assert env.unwrapped.closed
    assert set(samples_of(tmp_path)) == {("ben", 0)}


@pytest.mark.parametrize("background", [False, True])
def test_a_metric_that_is_no_number_costs_one_life(tmp_path, background):
    class Odd(Village):
        def step(self, actions):
            *returned, infos = super().step(actions)
            for agent, info in infos.items():
                info["reward_components"] = [math.nan if agent == "ben" else 0.5]
            return *returned, infos

    names = CaptureNames(reward_components=("needs",))
    env = RecordReplay(Odd(), tmp_path, background=background, names=names)
    with pytest.raises(CaptureError, match=r"'ben', episode 0: no metrics: reward_component_sums"):
        play(env)
    assert set(samples_of(tmp_path)) == {("ana", 0), ("cat", 0)}
    with pytest.raises(CaptureError, match="'ben', episode 1"):
        play(env)
    env.close()
    assert len(load_capture(tmp_path)) == 4


def test_a_policy_that_fails_at_the_end_costs_values_only(tmp_path):
    class Broken:
        def values_of(self, observations):
            raise RuntimeError("no memory")

    env = RecordReplay(Village(), tmp_path, policy=Broken())
    drive(env, until=4, annotate=True)
    with pytest.raises(RuntimeError, match="no memory"):
        env.close()
    found = check_village(tmp_path, until=4)
    assert np.isnan(found["ben", 0].value_preds[-1])


def play(env):
    drive(env)
    env.flush()


@pytest.mark.parametrize("background", [False, True])
def test_what_the_disk_refused_is_tried_again_once(tmp_path, monkeypatch, background):
    env = RecordReplay(Village(), tmp_path / "c", background=background)

    def full(*_args, **_options):
        raise DiskError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("townlet_replay.writer.write_files", full)
        for _ in range(2):
            with pytest.raises(DiskError, match="disk full"):
                play(env)
    env.close()
    for episode in range(2):
        check_village(tmp_path / "c", episode=episode)
    assert len(load_capture(tmp_path / "c")) == 6


def test_an_episode_that_cannot_be_written_is_not_in_the_way_of_the_next(tmp_path, monkeypatch):
    env = RecordReplay(Village(), tmp_path)

    def too_much(*_args, **_options):
        raise CaptureError("too many bytes")

    with monkeypatch.context() as patch:
        patch.setattr("townlet_replay.writer.encode_sample", too_much)
        with pytest.raises(CaptureError, match="too many bytes"):
            drive(env)
    drive(env)
    env.close()
    check_village(tmp_path, episode=1)
    assert len(load_capture(tmp_path)) == 3


@pytest.mark.parametrize("short", [2, 256])
def test_episodes_are_written_in_the_background_on_request(tmp_path, monkeypatch, short):
    monkeypatch.setattr("townlet_replay.writer.SHORT", short)  # beyond it there is a journal
    env = TownletParallelEnv(load_scenario("kitchen_breakfast", {"ticks": 30, "expect": []}))
    found = {}
    for background in (False, True):
        folder = tmp_path / str(background)
        with RecordReplay(env, folder, background=background) as recorder:
            for seed in range(7):
                recorder.reset(seed=seed)
                while recorder.agents:
                    recorder.step(dict.fromkeys(recorder.agents, 0))
            recorder.flush()
            assert len(load_capture(folder).manifest.samples) == 14
        found[background] = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found[True] == found[False]


def test_closing_closes_the_environment_whatever_the_disk_says(tmp_path, monkeypatch):
    town = Village()
    env = RecordReplay(town, tmp_path)

    def full():
        raise DiskError("disk full")

    monkeypatch.setattr(env.writer, "close", full)
    with pytest.raises(DiskError, match="disk full"):
        env.close()
    assert town.closed


@pytest.mark.parametrize("mode", ["full", "actions"])
def test_a_state_is_not_put_into_the_middle_of_an_episode(tmp_path, mode):
    env = RecordReplay(TownletParallelEnv(load_scenario("queue_conflict")), tmp_path, mode=mode)
    env.reset(seed=1)
    before, digest = env.get_state(), env.state_digest()
    env.step(dict.fromkeys(env.agents, 0))
    with pytest.raises(CaptureError, match="an episode is being recorded, and a state"):
        env.set_state(before)
    env.seal()
    env.set_state(before)
    assert env.state_digest() == digest
    env.close()
    if mode == "full":
        assert [sample.rows for sample in load_capture(tmp_path)] == [1, 1, 1]
