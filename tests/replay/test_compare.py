"""A comparison: same start, same examination, every step charged, refusals instead of nonsense."""

from __future__ import annotations

import numpy as np
import pytest
from cli_runs import refusal, townlet
from comparisons import BRIEF, training

from townlet_env.errors import ConfigError
from townlet_replay.compare import exam, sb3_arms
from townlet_replay.compare.course import Course, rows_of
from townlet_replay.compare.exam import Examiner
from townlet_replay.compare.report import write_report
from townlet_replay.compare.results import (
    ARMS,
    Arm,
    Play,
    Point,
    Run,
    compare_settings,
)
from townlet_replay.compare.run import compare, examinations, read_results
from townlet_replay.compare.scores import Scale, final_spread, scale_of
from townlet_replay.errors import CaptureError, TrainingError
from townlet_replay.evaluation import evaluate, network_actor, sb3_actor
from townlet_replay.training.harness import TrainingHarness


def without_clock(found):
    return found.model_copy(update={"wall_clock": ()})


def only(*arms, **settings):
    return BRIEF.model_copy(update={"arms": arms, "seeds": 1, **settings})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def examined():
    return []


@pytest.fixture(scope="module")
def found(folder, examined):
    return compare(training(), BRIEF, folder, examined.append)


def points(found, arm, seed=0):
    return found.arm(arm).runs[seed].points


def test_every_arm_runs_under_every_seed_and_is_examined_as_announced(found, examined):
    assert {arm.name for arm in found.arms} == set(ARMS)
    for arm in found.arms:
        assert arm.refused is None
        seeds = [run.seed for run in arm.runs]
        assert seeds == ([None] if arm.name in ("script", "random") else [0, 1])
    assert found.complete
    assert len(examined) == examinations(training(), BRIEF)


def test_live_arms_make_the_same_steps_and_are_examined_at_the_same_ones(found):
    native, sb3 = (
        [p.live_steps for p in points(found, f"live_{who}")] for who in ("native", "sb3")
    )
    # 2 towns x 2 residents x 40 ticks are 160 rows; 600 steps take four updates.
    assert native == sb3 == [0, 320, 640]
    assert all(p.captured_steps == 0 for p in points(found, "live_native"))
    # Two epochs over 160 rows in minibatches of 64, unless the KL limit ends an update.
    assert 0 < points(found, "live_native")[-1].gradient_steps <= 4 * 2 * 3


def test_captures_are_charged_to_the_arms_that_train_on_them(found):
    for arm in ("capture_native", "capture_sb3"):
        untrained, cloned, trained = points(found, arm)
        assert [p.stage for p in (untrained, cloned, trained)] == [
            "untrained",
            "cloned",
            "ppo on capture",
        ]
        assert untrained.total_steps == untrained.gradient_steps == 0
        # Two episodes of 80 ticks and two residents; the clone then plays 80 ticks itself.
        assert (cloned.live_steps, cloned.captured_steps) == (0, 320)
        assert (trained.live_steps, trained.captured_steps, trained.total_steps) == (160, 320, 480)
        assert 0 < cloned.gradient_steps < trained.gradient_steps


def test_learners_of_one_seed_start_alike_and_end_apart(found):
    scores = {
        (arm, stage): (point.sampled, point.greedy, point.agreement)
        for arm in ("live_native", "live_sb3", "capture_native", "capture_sb3")
        for stage, point in ((p.stage, p) for p in points(found, arm))
    }
    start = scores["live_native", "untrained"]
    for arm in ("live_sb3", "capture_native", "capture_sb3"):
        assert scores[arm, "untrained"] == start
    assert scores["capture_native", "cloned"] == scores["capture_sb3", "cloned"] != start
    assert scores["live_native", "live"] != scores["live_sb3", "live"]
    assert points(found, "live_native", 0)[0] != points(found, "live_native", 1)[0]


def test_training_on_a_capture_moves_choices_towards_it_and_pays(found):
    chance = np.mean(points(found, "random")[0].sampled.scores)
    for seed in (0, 1):
        untrained, cloned, _ = points(found, "capture_native", seed)
        assert cloned.agreement > untrained.agreement + 0.03
        assert np.mean(cloned.sampled.scores) > chance + 0.3


def test_results_survive_the_file_and_a_second_time_is_the_same(found, folder, tmp_path):
    assert read_results(folder) == found
    again = compare(training(), BRIEF, tmp_path)
    assert without_clock(again) == without_clock(found)


def test_one_arm_does_not_depend_on_the_others(found, tmp_path):
    alone = compare(training(), only("capture_sb3", seeds=2), tmp_path)
    assert alone.arm("capture_sb3") == found.arm("capture_sb3")


def test_every_examination_plays_the_seeds_that_are_named(found, tmp_path, monkeypatch):
    played = []

    def watched(config, actor, seeds):
        played.append(tuple(seeds))
        return evaluate(config, actor, seeds)

    monkeypatch.setattr(exam, "evaluate", watched)
    arms = ("live_native", "live_sb3", "capture_native", "script", "random")
    again = compare(training(), only(*arms, seeds=2), tmp_path)
    assert set(played) == {found.evaluation_seeds} == {(1_000_000, 1_000_001)}
    trained = sum(len(run.points) for arm in again.arms for run in arm.runs if arm.name in arms[:3])
    # Sampled and greedy each, but for the references; the clone also beside the script.
    assert len(played) == 2 * trained + 2 + 2


def test_sampled_and_greedy_play_are_told_apart():
    config = training()
    course = Course.plan(config, BRIEF, None)
    network = TrainingHarness(config).network
    examiner = Examiner(course.scenario, (5, 6))
    point = examiner.examine_network(network, "untrained", (1, 2, 3))
    assert point.sampled == examiner.play(network_actor(network, seed=0, greedy=False))
    assert point.greedy == examiner.play(network_actor(network, seed=0, greedy=True))
    assert point.sampled != point.greedy
    assert (point.live_steps, point.captured_steps, point.gradient_steps) == (1, 2, 3)


def test_the_twin_of_stable_baselines_acts_as_the_native_network_does():
    config = training(seed=3)
    course = Course.plan(config, BRIEF, None)
    network = TrainingHarness(config).network
    from townlet_env.views.sb3 import TownletVecEnv

    env = TownletVecEnv(course.scenario, 1, seed=0)
    settings = {**sb3_arms.settings_of(config, network), "batch_size": 8}
    model = sb3_arms.MaskablePPO("MultiInputPolicy", env, n_steps=8, **settings)
    copy = sb3_arms.native_copy(model, network)
    assert copy.digest != network.digest  # Stable-Baselines3 draws weights of its own
    sb3_arms.load_weights(model, network)
    assert sb3_arms.native_copy(model, network).digest == network.digest
    examiner = Examiner(course.scenario, (5, 6))
    for greedy in (False, True):
        ours = examiner.play(network_actor(network, seed=0, greedy=greedy))
        theirs = examiner.play(sb3_actor(model, seed=0, greedy=greedy))
        assert theirs.scores == pytest.approx(ours.scores)


# Two evaluation seeds each: live training, the recorded scripts, the recorded clones.
@pytest.mark.parametrize("first", [0, 2, 499_999, 500_002])
def test_episodes_of_training_or_captures_are_no_examination(first, tmp_path):
    settings = BRIEF.model_copy(update={"first_eval_seed": first})
    with pytest.raises(TrainingError, match="choose another first_eval_seed"):
        compare(training(), settings, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_an_unsound_pair_is_refused_and_the_others_go_on(tmp_path):
    settings = only("capture_native", "capture_sb3", "script", "random", capture_epsilon=0.0)
    found = compare(training(objective="ppo"), settings, tmp_path)
    for arm in ("capture_native", "capture_sb3"):
        assert found.arm(arm).runs == ()
        assert "ppo on this capture is not sound" in found.arm(arm).refused
    assert found.arm("script").refused is None
    assert found.complete
    write_report(found, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "## Refused" in text
    assert "deterministic script" in text


def test_cloning_alone_is_nothing_for_stable_baselines(tmp_path):
    found = compare(training(objective="bc"), only("capture_native", "capture_sb3"), tmp_path)
    assert [p.stage for p in points(found, "capture_native")] == ["untrained", "cloned"]
    assert "has no behaviour cloning" in found.arm("capture_sb3").refused


def test_a_capture_of_a_fresh_policy_is_trained_on_as_it_is(tmp_path):
    config = training()
    recorded = Course.plan(config, BRIEF, tmp_path).record_network(
        TrainingHarness(config).network, 0
    )
    given = config.model_copy(update={"capture_dir": recorded.capture.directory})
    found = compare(given, only("capture_native", "capture_sb3"), tmp_path / "out")
    for arm in ("capture_native", "capture_sb3"):
        assert [p.stage for p in points(found, arm)] == ["untrained", "ppo on capture"]
        last = points(found, arm)[-1]
        assert (last.live_steps, last.captured_steps) == (0, rows_of(recorded))
        assert "from fresh weights" in found.arm(arm).how
    assert "a recorded policy" in found.capture


def test_a_capture_that_is_none_is_said_before_anything_is_trained(tmp_path):
    config = training(capture_dir=tmp_path)
    with pytest.raises(CaptureError, match="no capture here"):
        compare(config, only("live_native", "capture_native"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_interrupted_it_leaves_the_runs_that_are_complete(tmp_path):
    def stop(who):
        if who == "live_native, seed 1":
            raise KeyboardInterrupt

    settings = BRIEF.model_copy(update={"arms": ("live_native", "script", "random")})
    with pytest.raises(KeyboardInterrupt):
        compare(training(), settings, tmp_path, stop)
    left = read_results(tmp_path)
    assert not left.complete
    assert [run.seed for run in left.arm("live_native").runs] == [0]
    assert scale_of(left) is not None
    write_report(left, tmp_path)
    assert "Interrupted" in (tmp_path / "report.md").read_text()
    assert "Interrupted" in (tmp_path / "report.html").read_text()


def arm_of(name, *scores):
    def point(score):
        return Point(
            stage="plays",
            live_steps=0,
            captured_steps=0,
            gradient_steps=0,
            sampled=Play(scores=(score - 1.0, score + 1.0), kpis={}, residents={}),
            greedy=None,
        )

    runs = tuple(Run(seed=k, points=(point(score),)) for k, score in enumerate(scores))
    return Arm(name=name, how="by hand", runs=runs)


def test_the_unit_is_the_training_seed():
    spread = final_spread(arm_of("live_native", 1.0, 2.0, 6.0), greedy=False)
    assert spread == ((1.0, 2.0, 6.0), 3.0, 1.0, 6.0)
    assert final_spread(arm_of("live_native", 1.0), greedy=True) is None


def test_random_is_0_and_script_is_1(found):
    scale = Scale(random=-2.0, script=2.0)
    assert [scale.normalised(score) for score in (-2.0, 2.0, 0.0, 4.0)] == [0.0, 1.0, 0.5, 1.5]
    arms = (arm_of("random", 1.0), arm_of("script", 5.0))
    assert scale_of(found.model_copy(update={"arms": arms})) == (1.0, 5.0)
    alike = (arm_of("random", 5.0), arm_of("script", 5.0))
    for lacking in (alike, arms[:1], arms[1:], ()):
        assert scale_of(found.model_copy(update={"arms": lacking})) is None


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="did you mean 'live_native'"):
        compare_settings(arms=["live_nativ"])
    with pytest.raises(ConfigError, match="seeds must be at least 1"):
        compare_settings(seeds=0)


def test_the_command_writes_a_report_and_prints_results(tmp_path):
    out = tmp_path / "out"
    options = ["--steps", "320", "--seeds", "1", "--eval-seeds", "2", "--points", "1"]
    arms = ["--arms", "live_native,script,random"]
    ran = townlet(
        "compare", "queue_conflict", *arms, *options, "--output", out, "--json", "--jobs", 1
    )
    assert ran.code == 0
    assert {arm["name"] for arm in ran.json["arms"]} == {"live_native", "script", "random"}
    assert (out / "report.html").is_file()
    assert read_results(out).scenario == "queue_conflict"
    said = refusal("compare", "queue_conflict", "--arms", "sript", "--output", tmp_path / "none")
    assert said == "arms: unknown arm 'sript'; did you mean 'script'?"
    assert not (tmp_path / "none").exists()


def test_ctrl_c_reports_what_is_complete(tmp_path, monkeypatch):
    from townlet_replay.compare import native_arms

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(native_arms, "train_live", interrupted)
    arms = ["--arms", "live_native,script,random", "--seeds", "1", "--eval-seeds", "2"]
    ran = townlet("compare", "queue_conflict", *arms, "--output", tmp_path, "--jobs", 1)
    assert ran.code == 130
    text = (tmp_path / "report.md").read_text()
    assert "Interrupted" in text
    assert "| script |" in text
