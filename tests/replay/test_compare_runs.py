"""Runs of a comparison: in processes or not, broken off or not, they are the same bits."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import yaml

from townlet_replay.compare import replaying
from townlet_replay.compare.course import Course
from townlet_replay.compare.results import CompareSettings
from townlet_replay.compare.run import compare, examinations, read_results
from townlet_replay.compare.tidy import rows_of_results
from townlet_replay.errors import DiskError, TrainingError
from townlet_replay.manifest import load_capture
from townlet_replay.training.config import load_train_config

TINY = {
    "network": {"map_width": 8, "features_width": 8, "trunk_widths": [8]},
    "ppo": {"epochs": 1, "minibatch_size": 64},
    "bc": {"epochs": 2, "minibatch_size": 64},
    "live": {"steps": 320, "num_worlds": 2, "rollout_ticks": 40},
    "rollout": {"ticks": 80},
    "epochs": 1,
}
QUICK = CompareSettings(
    arms=("live_native", "bc", "script", "random"),
    seeds=2,
    eval_seeds=2,
    points=2,
    capture_episodes=2,
    parity_updates=2,
)


def training(**changes):
    return load_train_config("employment_punctuality", {**TINY, **changes})


def settings(**changes):
    return QUICK.model_copy(update=changes)


def bits(found):
    return found.model_copy(update={"wall_clock": ()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("unbroken")


@pytest.fixture(scope="module")
def unbroken(folder):
    return compare(training(), QUICK, folder)


def test_processes_come_to_the_same_bits(unbroken, folder, tmp_path):
    told = []
    found = compare(training(), QUICK, tmp_path, told.append, jobs=2)
    assert bits(found) == bits(unbroken)
    assert (tmp_path / "results.parquet").read_bytes() == (folder / "results.parquet").read_bytes()
    assert len(told) == examinations(training(), QUICK)


def test_what_was_broken_off_goes_on_and_ends_as_if_it_never_was(unbroken, tmp_path):
    told = []

    def stop(note):
        told.append(note)
        if note == "live_native, seed 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(training(), QUICK, tmp_path, stop)
    left = read_results(tmp_path)
    assert not left.complete
    assert [run.seed for run in left.arm("live_native").runs] == [0]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    outstanding = examinations(training(), QUICK, tmp_path)
    again = []
    found = compare(training(), QUICK, tmp_path, again.append)
    assert bits(found) == bits(unbroken)
    assert len(again) == outstanding < examinations(training(), QUICK)
    assert not any("seed 0" in note for note in again if note.startswith("live"))
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())


def test_a_finished_comparison_only_reads(unbroken, folder):
    told = []
    assert examinations(training(), QUICK, folder) == 0
    assert bits(compare(training(), QUICK, folder, told.append)) == bits(unbroken)
    assert told == []


def test_arms_and_seeds_can_be_added(unbroken, tmp_path):
    one = settings(arms=("script", "live_native"), seeds=1)
    compare(training(), one, tmp_path)
    told = []
    found = compare(training(), QUICK, tmp_path, told.append)
    assert bits(found) == bits(unbroken)
    assert "script" not in told
    assert "live_native, seed 0" not in told


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"ppo": {"epochs": 2, "minibatch_size": 64}}, "training.ppo.epochs was 1, is 2"),
        ({"seed": 1}, "training.seed was 0, is 1"),
    ],
)
def test_changed_settings_are_refused_by_name(unbroken, folder, changed, name):
    before = (folder / "results.json").read_bytes()
    with pytest.raises(TrainingError, match=f"holds runs of other settings: {name}"):
        compare(training(**changed), QUICK, folder)
    with pytest.raises(TrainingError, match=r"settings.eval_seeds was 2, is 3"):
        compare(training(), settings(eval_seeds=3), folder)
    assert (folder / "results.json").read_bytes() == before


def test_another_scenario_under_the_same_name_is_refused(tmp_path):
    from townlet_env.config.load import scenario_path

    path = tmp_path / "town.yaml"
    data = yaml.safe_load(scenario_path("employment_punctuality").read_text())
    path.write_text(yaml.safe_dump(data))
    config = load_train_config(str(path), TINY)
    only = settings(arms=("random",))
    compare(config, only, tmp_path / "out")
    path.write_text(yaml.safe_dump({**data, "ticks": data["ticks"] - 1}))
    with pytest.raises(TrainingError, match="settings: scenario was"):
        compare(config, only, tmp_path / "out")
    assert compare(config, only, tmp_path / "out", restart=True).complete


def test_a_run_that_is_none_of_this_comparison_is_named(tmp_path):
    only = settings(arms=("random",))
    compare(training(), only, tmp_path)
    path = tmp_path / "runs" / "random.json"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"random\.json: no finished run"):
        compare(training(), only, tmp_path)
    data = json.loads(whole)
    path.write_text(json.dumps({**data, "identity": "0" * 64}))
    with pytest.raises(TrainingError, match=r"random\.json: a run of other settings"):
        compare(training(), only, tmp_path)
    path.unlink()
    assert compare(training(), only, tmp_path).complete


def test_restart_deletes_what_was_there(tmp_path):
    only = settings(arms=("random", "script"))
    compare(training(), only, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    told = []
    compare(training(seed=5), only, tmp_path, told.append, restart=True)
    assert sorted(told) == ["random", "script"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_process_that_dies_is_said_and_finished_runs_stay(tmp_path):
    problems = []

    def run():
        try:
            compare(training(), settings(seeds=8), tmp_path, jobs=2)
        except TrainingError as error:
            problems.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not (tmp_path / "runs" / "script.json").exists():
        time.sleep(0.02)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    thread.join()
    assert len(problems) == 1
    assert "a process ended before its task did" in problems[0]
    assert (tmp_path / "runs" / "script.json").exists()
    assert multiprocessing.active_children() == []


def alive_in_group(group):
    """Processes of a group that still run; who is dead and not yet buried does not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(path.parent.name)
    return found


def test_ctrl_c_ends_all_processes_and_the_same_command_goes_on(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump({"scenario": "employment_punctuality", **TINY}))
    out = tmp_path / "out"
    arms = ["--arms", "live_native,script,random", "--eval-seeds", "2", "--points", "1"]
    townlet = [sys.executable, "-c", "from townlet_replay.cli.main import run; run()"]
    command = [*townlet, "compare", str(config), *arms, "--output", str(out)]
    with subprocess.Popen(
        [*command, "--seeds", "40"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as ran:
        while not (out / "runs" / "live_native.seed_0.json").exists():
            assert ran.poll() is None, ran.communicate()
            time.sleep(0.02)
        os.killpg(ran.pid, signal.SIGINT)  # as a terminal does: everybody hears it
        _, said = ran.communicate(timeout=60)
    assert ran.returncode == 130, said
    assert "Traceback" not in said
    until = time.monotonic() + 30
    while (left := alive_in_group(ran.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []
    left = read_results(out)
    assert not left.complete
    assert 0 < len(left.arm("live_native").runs) < 40
    assert "Interrupted" in (out / "report.md").read_text()
    again = subprocess.run(
        [*command, "--seeds", "1", "--jobs", "1"], capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert read_results(out).complete


def test_rows_are_tidy_and_say_what_the_results_say(unbroken, folder):
    table = pyarrow.parquet.read_table(folder / "results.parquet").to_pylist()
    assert table == rows_of_results(unbroken)
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == table
    keys = [
        (r["arm"], r["training_seed"], r["checkpoint"], r["evaluation_seed"], r["mode"])
        for r in table
    ]
    assert len(set(keys)) == len(table)
    # live: two seeds, three checkpoints; bc: two; two modes; references have one of each.
    assert len(table) == 2 * (2 * 3 * 2 + 2 * 2 * 2 + 2)
    run = unbroken.arm("live_native").runs[1]
    found = [
        r["score"]
        for r in table
        if r["arm"] == "live_native"
        and r["training_seed"] == 1
        and r["checkpoint"] == 2
        and r["mode"] == "greedy"
    ]
    assert tuple(found) == run.points[2].greedy.scores
    last = [r for r in table if r["arm"] == "bc"][-1]
    assert last["total_steps"] == last["captured_steps"] == 320
    assert {r["evaluation_seed"] for r in table} == {1_000_000, 1_000_001}


def test_four_budgets_are_told_for_every_trained_arm(unbroken):
    clocks = {(clock.arm, clock.seed): clock for clock in unbroken.wall_clock}
    for arm in unbroken.arms:
        for run in arm.runs:
            clock = clocks[arm.name, run.seed]
            assert len(clock.points) == len(run.points)
            assert list(clock.points) == sorted(clock.points)
            assert clock.training >= clock.points[-1] or arm.name in ("script", "random")
    bc = unbroken.arm("bc").runs[0].points[-1]
    assert (bc.live_steps, bc.captured_steps) == (0, 320)
    assert bc.gradient_steps > 0


def test_a_clone_goes_on_live_from_where_it_was(tmp_path):
    found = compare(training(), settings(arms=("bc", "bc_then_live"), seeds=1), tmp_path)
    cloned, gone_on = (found.arm(name).runs[0] for name in ("bc", "bc_then_live"))
    assert gone_on.points[:2] == cloned.points
    assert [p.stage for p in gone_on.points] == ["untrained", "cloned", "live", "live"]
    assert [p.live_steps for p in gone_on.points] == [0, 0, 160, 320]
    assert all(p.captured_steps == 320 for p in gone_on.points[1:])
    assert gone_on.points[2].gradient_steps > cloned.points[1].gradient_steps
    assert gone_on.weights != cloned.weights


def test_the_clone_is_held_against_script_and_capture(unbroken):
    for run in unbroken.arm("bc").runs:
        assert 0 < run.triptych.train < 1
        assert 0 <= run.triptych.own <= 1
        counts = np.array(run.triptych.confusion.counts)
        assert np.trace(counts) / counts.sum() == pytest.approx(run.points[-1].agreement)
        (card,) = run.cards
        assert card.rows == 320
        assert card.audit == "passed"
        assert sum(card.taken) == pytest.approx(1.0)
        assert sum(card.foreseen) == pytest.approx(1.0, abs=0.05)
        assert sum(card.log_ratio_counts) == card.rows
        assert 0 < card.ess <= 1


def test_stored_rollouts_train_to_the_same_bits_and_a_changed_one_does_not(tmp_path, monkeypatch):
    only = settings(arms=("capture_native", "capture_sb3"), seeds=1)
    found = compare(training(), only, tmp_path)
    assert [(check.learner, check.equal, check.updates) for check in found.parity] == [
        ("native", 2, 2),
        ("sb3", 2, 2),
    ]

    def altered(path):
        for sample in load_capture(path):
            if path.name == "cycle_002":
                sample.rewards[3] += 1e-3
            yield sample

    monkeypatch.setattr(replaying, "load_capture", altered)
    check = replaying.check_native(Course.plan(training(), only, tmp_path / "altered"))
    assert (check.equal, check.updates, check.held) == (1, 2, False)


def test_a_schedule_of_the_entropy_bonus_is_followed_by_both_learners(tmp_path):
    arms = ("live_native", "live_sb3", "capture_sb3")
    only = settings(arms=arms, seeds=1, points=1)
    falls = {**TINY["ppo"], "ent_coef": 0.5, "ent_coef_schedule": "linear"}
    stays = {**TINY["ppo"], "ent_coef": 0.5}
    one = compare(training(ppo=falls), only, tmp_path / "falls")
    other = compare(training(ppo=stays), only, tmp_path / "stays")
    for arm in arms:
        assert one.arm(arm).runs[0].weights != other.arm(arm).runs[0].weights
    assert all(check.held for check in one.parity)


def test_a_full_disk_is_no_verdict_on_an_arm(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise DiskError("no space left")

    only = settings(arms=("capture_native",), seeds=1)
    monkeypatch.setattr(Course, "record_network", refuse)
    with pytest.raises(DiskError, match="no space left"):
        compare(training(), only, tmp_path)
    monkeypatch.undo()
    found = compare(training(), only, tmp_path)
    assert found.arm("capture_native").refused is None


def test_a_capture_of_evaluation_episodes_is_refused(tmp_path):
    from townlet_env.config.load import load_scenario
    from townlet_replay.capture import CaptureSettings, capture_scenario

    shown = CaptureSettings(episodes=1, epsilon=0.1, seed=1_000_001)
    capture_scenario(load_scenario("employment_punctuality"), tmp_path / "capture", shown)
    config = training(capture_dir=tmp_path / "capture")
    with pytest.raises(TrainingError, match="no episode of the evaluation seeds, found 1000001"):
        compare(config, settings(arms=("bc",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_stable_baselines_its_arms_are_refused_in_one_sentence(tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TrainingError, match=r"live_sb3: Stable-Baselines3 is not installed"):
        compare(training(), settings(arms=("random", "live_sb3")), tmp_path)
    assert compare(training(), settings(arms=("random",)), tmp_path).complete
