"""Comparisons on several scenarios: each in its folder as if alone, and one report over all."""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil

import pytest
import yaml
from cli_runs import refusal, townlet

from townlet_env.config.load import scenario_path
from townlet_replay.compare import several
from townlet_replay.compare.overall import Overall
from townlet_replay.compare.overall_report import OverallResults, results_of
from townlet_replay.compare.results import CompareSettings
from townlet_replay.compare.run import compare, read_results
from townlet_replay.compare.several import compare_several, entries_of, examinations_of
from townlet_replay.errors import DiskError, TrainingError
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
    points=1,
    capture_episodes=2,
    parity_updates=2,
)
NAMES = ("employment_punctuality", "queue_conflict")


def entries(*scenarios):
    return entries_of([load_train_config(name, TINY) for name in scenarios or NAMES])


def idle_script(folder):
    """A scenario in which the script just stands there, and cannot do better than chance."""
    data = yaml.safe_load(scenario_path("queue_conflict").read_text())
    data["name"] = "idlers"
    for resident in data["residents"]:
        resident["policy"] = "idle"
        resident.pop("schedule", None)
    data.pop("expect")
    path = folder / "idlers.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def found(folder, told):
    return compare_several(entries(), QUICK, folder, told.append)


def bits(path):
    return {
        file.relative_to(path): file.read_bytes()
        for file in sorted(path.rglob("*"))
        # These tell seconds.
        if file.is_file() and "runs" not in file.parts and file.name != "results.json"
        if file.parent == path or not file.name.startswith(("report.", "curves"))
    }


def test_every_scenario_is_compared_as_if_alone(found, folder, told, tmp_path):
    assert found.complete
    assert found.counted == NAMES
    assert found.scores("bc", greedy=False).shape == (2, 2)
    for name in NAMES:
        assert (folder / name / "report.html").is_file()
    alone = compare(load_train_config(NAMES[1], TINY), QUICK, tmp_path)
    together = read_results(folder / NAMES[1])
    assert together.arms == alone.arms
    assert together.parity == alone.parity
    assert len(told) == examinations_of(entries(), QUICK)
    assert told[0] == "employment_punctuality: script"
    assert told[-1].startswith("queue_conflict: ")


def test_finished_runs_are_kept_and_scenarios_can_be_added(found, folder):
    before, told = bits(folder), []
    assert examinations_of(entries(), QUICK, folder) == 0
    compare_several(entries(), QUICK, folder, told.append)
    assert told == []
    assert bits(folder) == before
    more = examinations_of(entries(*NAMES, "kitchen_breakfast"), QUICK, folder)
    assert 0 < more < examinations_of(entries(*NAMES, "kitchen_breakfast"), QUICK)


def test_what_was_broken_off_goes_on_and_ends_as_if_it_never_was(found, folder, tmp_path):
    def stop(note):
        if note == "queue_conflict: live_native, seed 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_several(entries(*NAMES, "kitchen_breakfast"), QUICK, tmp_path, stop)
    stored = OverallResults.model_validate_json((tmp_path / "overall.json").read_text())
    assert not stored.complete
    assert [scenario.complete for scenario in stored.scenarios] == [True, False, False]
    assert stored.counted == (NAMES[0],)
    left_out = [scenario.left_out for scenario in stored.scenarios]
    assert left_out == [None, "bc: no finished run", "it has not begun"]
    for name in ("report.md", "report.html"):
        assert "Incomplete" in (tmp_path / name).read_text()
        assert "Interrupted" in (tmp_path / NAMES[1] / name).read_text()
    outstanding, again = examinations_of(entries(), QUICK, tmp_path), []
    compare_several(entries(), QUICK, tmp_path, again.append)
    assert len(again) == outstanding
    assert not any(note.startswith(NAMES[0]) for note in again)
    assert bits(tmp_path) == bits(folder)


def test_a_scenario_whose_script_is_no_better_than_chance_is_told_and_left_out(
    found, folder, tmp_path
):
    path = idle_script(tmp_path)
    both = compare_several(entries(NAMES[1], path), QUICK, tmp_path / "out")
    assert both.complete
    assert both.counted == (NAMES[1],)
    text = (tmp_path / "out" / "report.md").read_text()
    assert re.search(r"idlers is left out: the script scores no more", text)
    assert (tmp_path / "out" / "idlers" / "report.html").is_file()
    alone = Overall([place for place in found.places if place.name == NAMES[1]])
    assert results_of(both).arms == results_of(alone).arms


def test_what_fails_as_a_whole_does_not_stop_the_others(found, tmp_path, monkeypatch):
    def broken(config, *arguments, **options):
        if config.scenario == NAMES[0]:
            raise TrainingError("a process ended before its task did")
        return compare(config, *arguments, **options)

    monkeypatch.setattr(several, "compare", broken)
    told = compare_several(entries(), QUICK, tmp_path)
    assert not told.complete
    assert told.left_out == {NAMES[0]: "a process ended before its task did"}
    assert told.counted == (NAMES[1],)

    def full(*arguments, **options):
        raise DiskError("no space left")

    monkeypatch.setattr(several, "compare", full)
    with pytest.raises(DiskError, match="no space left"):
        compare_several(entries(), QUICK, tmp_path)


def test_what_is_left_of_another_call_counts_as_far_as_it_was_asked_for(found, folder, tmp_path):
    """Broken off in the first scenario, with finished results of the second on disk."""
    second = tmp_path / NAMES[1]
    shutil.copytree(folder / NAMES[1], second)

    def stop(note):
        raise KeyboardInterrupt

    def left(settings, **options):
        with pytest.raises(KeyboardInterrupt):
            compare_several(entries(), settings, tmp_path, stop, **options)
        return json.loads((tmp_path / "overall.json").read_text())

    fewer = left(QUICK.model_copy(update={"arms": ("live_native", "script", "random")}))
    assert fewer["scenarios"][1]["complete"]
    assert [arm["arm"] for arm in fewer["arms"]] == ["live_native"]
    more = left(QUICK.model_copy(update={"seeds": 3}))
    assert more["counted"] == [NAMES[1]]
    assert not more["scenarios"][1]["complete"]
    changed = left(QUICK.model_copy(update={"eval_seeds": 3}), restart=True)
    assert changed["scenarios"][1]["left_out"] == "it has not begun"
    assert changed["counted"] == []


def test_results_that_cannot_be_read_are_told_when_it_is_broken_off(tmp_path):
    (tmp_path / NAMES[1]).mkdir()
    (tmp_path / NAMES[1] / "results.json").write_text("{}")

    def stop(note):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_several(entries(), QUICK, tmp_path, stop)
    stored = json.loads((tmp_path / "overall.json").read_text())
    assert "no results of a comparison" in stored["scenarios"][1]["left_out"]


def test_one_scenario_twice_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"queue_conflict: expected every scenario once.* 2 t"):
        entries("queue_conflict", NAMES[0], str(scenario_path("queue_conflict")))


def test_a_changed_setting_is_refused_before_anything_is_trained(found, folder):
    before = bits(folder)
    changed = QUICK.model_copy(update={"eval_seeds": 3})
    ordered = entries("kitchen_breakfast", *NAMES)
    with pytest.raises(TrainingError, match=r"eval_seeds was 2, is 3"):
        examinations_of(ordered, changed, folder)
    assert bits(folder) == before
    assert not (folder / "kitchen_breakfast").exists()


OPTIONS = ("--arms", "live_native,script,random", "--seeds", 1, "--eval-seeds", 2, "--points", 1)


def test_the_command_takes_scenarios_and_training_files(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"scenario": "kitchen_breakfast", **TINY}))
    out = tmp_path / "out"
    ran = townlet(
        "compare", NAMES[1], file, *OPTIONS, "--steps", 320, "--output", out, "--jobs", 1, "--json"
    )
    assert ran.code == 0
    assert ran.json["counted"] == [NAMES[1], "kitchen_breakfast"]
    assert ran.json == json.loads((out / "overall.json").read_text())
    shown = townlet(
        "compare", NAMES[1], file, *OPTIONS, "--steps", 320, "--output", out, "--jobs", 1
    )
    assert shown.code == 0
    assert "Over 2 scenarios (queue_conflict, kitchen_breakfast)" in shown.out
    assert shown.out.endswith(f"report: {out / 'report.html'}\n")
    said = refusal("compare", NAMES[0], *OPTIONS, "--output", out)
    assert "holds a comparison on several scenarios" in said
    assert "holds a comparison on one scenario" in refusal(
        "compare", *NAMES, *OPTIONS, "--output", out / NAMES[1]
    )


def test_the_command_refuses_one_capture_for_several_and_unknown_names(tmp_path):
    out = ("--output", tmp_path / "none")
    said = refusal("compare", *NAMES, "--capture-dir", tmp_path, *out)
    assert said.startswith("--capture-dir: expected one scenario")
    assert "did you mean 'queue_conflict'" in refusal("compare", NAMES[0], "queue_conflic", *out)
    assert "queue_conflict: expected every scenario once" in refusal(
        "compare", "queue_conflict", "queue_conflict", *out
    )
    assert not (tmp_path / "none").exists()


def test_a_capture_that_is_none_is_said_before_anything_is_trained(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"scenario": NAMES[1], "capture_dir": str(tmp_path), **TINY}))
    said = refusal("compare", NAMES[0], file, "--output", tmp_path / "none")
    assert "no capture here" in said
    assert not (tmp_path / "none").exists()


def test_the_command_ends_with_an_error_if_a_scenario_failed(tmp_path, monkeypatch):
    def broken(config, *arguments, **options):
        if config.scenario == NAMES[0]:
            raise TrainingError("it burnt")
        return compare(config, *arguments, **options)

    monkeypatch.setattr(several, "compare", broken)
    ran = townlet("compare", *NAMES, *OPTIONS, "--steps", 320, "--output", tmp_path, "--jobs", 1)
    assert ran.code == 1
    assert f"{NAMES[0]} is left out: it burnt" in ran.out
    assert f"{NAMES[0]}: could not be compared, the report says why" in ran.err


def test_processes_come_to_the_same_bits(found, folder, tmp_path):
    compare_several(entries(), QUICK, tmp_path, jobs=2)
    assert bits(tmp_path) == bits(folder)
    assert multiprocessing.active_children() == []
