"""Scenario files: what is wrong is refused, with file, line, key and the nearest known word."""

import re
from pathlib import Path

import pytest

from townlet_env.config.load import configs_dir, list_scenarios, load_scenario, scenario_path
from townlet_env.config.safe_yaml import MAX_BYTES, read_yaml
from townlet_env.errors import ConfigError

GOOD = """\
name: tried
description: A scenario to break.
ticks: 10
map: |
  ######
  #a..S#
  #.b..#
  ######
legend: {S: shower, a: anna, b: ben}
objects:
  - {id: shower, kind: shower}
residents:
  - id: anna
    policy: schedule
    schedule:
      - go: shower
      - use: use_shower
        give_up_after: 5
      - wait: {until: 4}
      - repeat:
          times: 2
          steps:
            - go: [2, 1]
  - id: ben
    policy: idle
jobs: {}
expect:
  - {event: queue_conflict, at_least: 0}
"""


def loaded(tmp_path: Path, old: str, new: str):
    assert old in GOOD
    path = tmp_path / "tried.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    return load_scenario(path)


def fault(tmp_path: Path, old: str, new: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, old, new)
    return str(caught.value)


def test_the_file_to_break_is_good(tmp_path):
    config = loaded(tmp_path, "ticks: 10", "ticks: 11")
    assert config.ticks == 11
    assert [resident.id for resident in config.residents] == ["anna", "ben"]


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "meant"),
    [
        ("ticks: 10", "tics: 10", 3, "tics", "ticks"),
        ("jobs: {}", "needs: {decay: {hungr: 0.1}}", 26, "needs.decay.hungr", "hunger"),
        ("jobs: {}", "rewards: {social: {enabld: true}}", 26, "rewards.social.enabld", "enabled"),
        ("kind: shower", "knd: shower", 11, "objects.0.knd", "kind"),
        ("id: ben\n", "id: ben\n    walet: 3\n", 25, "residents.1.walet", "wallet"),
        (
            "give_up_after",
            "giveup_after",
            18,
            "residents.0.schedule.1.giveup_after",
            "give_up_after",
        ),
        ("- go: shower", "- goo: shower", 16, "residents.0.schedule.0", "go"),
        ("{until: 4}", "{untill: 4}", 19, "residents.0.schedule.2.wait.untill", "until"),
        ("times: 2", "tmes: 2", 21, "residents.0.schedule.3.repeat.tmes", "times"),
        ("- go: [2, 1]", "- goo: [2, 1]", 23, "residents.0.schedule.3.repeat.steps.0", "go"),
        ("at_least: 0", "at_leest: 0", 28, "expect.0.at_leest", "at_least"),
        ("event:", "evnt:", 28, "expect.0", "event"),
        (
            "jobs: {}",
            "affordances: {use_shower: {tcks: 2}}",
            26,
            "affordances.use_shower.tcks",
            "ticks",
        ),
        (
            "jobs: {}",
            "affordances: {use_showr: {ticks: 2}}",
            26,
            "affordances.use_showr",
            "use_shower",
        ),
    ],
)
def test_a_misspelt_key_is_refused_with_line_dotted_key_and_the_nearest_known_one(
    tmp_path, old, new, line, key, meant
):
    message = fault(tmp_path, old, new)
    assert f"tried.yaml: line {line}: {key}: " in message
    assert f"did you mean {meant!r}?" in message
    assert "\n" not in message  # the key that is missing in its place is not a second fault


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("kind: shower", "kind: showr", 11, "unknown kind 'showr'; did you mean 'shower'?"),
        ("S: shower", "S: showr", 9, "unknown id 'showr'; did you mean 'shower'?"),
        ("- go: shower", "- go: showr", 16, "unknown object 'showr'; did you mean 'shower'?"),
        ("use: use_shower", "use: use_showr", 17, "unknown affordance 'use_showr'"),
        ("use: use_shower", "use: cook_meal", 17, "expected a stove in town, found none"),
        ("give_up_after: 5", "at: showr", 18, "unknown object 'showr'; did you mean 'shower'?"),
        ("wait: {until: 4}", "chat: bne", 19, "unknown resident 'bne'; did you mean 'ben'?"),
        ("wait: {until: 4}", "request: showr", 19, "unknown object 'showr'"),
        ("wait: {until: 4}", "start: use_showr", 19, "unknown affordance 'use_showr'"),
        ("wait: {until: 4}", "work: {until: 9}", 19, "expected a job for anna, found none"),
        ("wait: {until: 4}", "wait: {for: meal_redy}", 19, "did you mean 'meal_ready'?"),
        ("go: [2, 1]", "go: [5, 1]", 23, "expected a floor cell, found a wall at [5, 1]"),
        ("go: [2, 1]", "go: [4, 1]", 23, "an object at [4, 1]; to go next to it, name it"),
        ("go: [2, 1]", "go: [2, 9]", 23, "found [2, 9] outside 6 x 4"),
        ("queue_conflict", "queue_conflct", 28, "did you mean 'queue_conflict'?"),
        ("jobs: {}", "jobs: {a: {object: showr, start: 1, end: 2}}", 26, "unknown object 'showr'"),
        (
            "jobs: {}",
            "jobs: {a: {object: shower, start: 3, end: 2}}",
            26,
            "expected end after start",
        ),
        ("id: ben\n", "id: ben\n    job: clerk\n", 25, "unknown job 'clerk'"),
    ],
)
def test_a_name_that_is_nowhere_is_refused(tmp_path, old, new, line, sentence):
    message = fault(tmp_path, old, new)
    assert f"tried.yaml: line {line}: " in message
    assert sentence in message


def test_an_affordance_of_duration_zero_is_refused(tmp_path):
    message = fault(tmp_path, "jobs: {}", "affordances: {use_shower: {ticks: 0}}")
    assert re.search(
        r"line 26: affordances.use_shower.ticks: expected greater than or equal to 1, found 0$",
        message,
    )


def test_a_resident_inside_a_wall_is_refused(tmp_path):
    message = fault(tmp_path, "id: ben\n", "id: ben\n    cell: [5, 2]\n")
    assert "line 25: residents.1.cell: expected floor for ben, found a wall at [5, 2]" in message


def test_a_resident_off_the_map_on_somebody_or_nowhere_is_refused(tmp_path):
    outside = fault(tmp_path, "id: ben\n", "id: ben\n    cell: [2, 4]\n")
    assert "expected a cell inside 6 x 4, found [2, 4]" in outside
    shared = fault(tmp_path, "id: ben\n", "id: ben\n    cell: [1, 1]\n")
    assert "expected a free cell for ben, found anna at [1, 1]" in shared
    nowhere = fault(tmp_path, "#.b..#", "#....#")
    assert "residents.1.cell: expected [column, row] for ben" in nowhere


def test_two_residents_with_one_id_are_refused(tmp_path):
    message = fault(tmp_path, "id: ben\n", "id: anna\n")
    assert "line 24: residents.1.id: expected every id once, found 'anna' 2 times" in message


def test_two_objects_with_one_id_are_refused(tmp_path):
    twice = "- {id: shower, kind: shower}\n  - {id: shower, kind: bed}"
    message = fault(tmp_path, "- {id: shower, kind: shower}", twice)
    assert "line 12: objects.1.id: expected every id once, found 'shower' 2 times" in message


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("ticks: 10", "ticks: 0", "ticks: expected greater than or equal to 1, found 0"),
        ("ticks: 10", "ticks: many", "ticks: expected a valid integer"),
        ("ticks: 10", "", "ticks: expected this key, found nothing; add it"),
        ("wait: {until: 4}", "wait: -3", "wait: expected greater than or equal to 1, found -3"),
        ("wait: {until: 4}", "release: false", "release: expected True, found False"),
        ("go: [2, 1]", "go: [2, 1, 0]", "go: expected at most 2 items, found 3"),
        ("jobs: {}", "jobs: 3", "jobs: expected a mapping of keys to values, found 3"),
        ("jobs: {}", "rewards: {clip: .inf}", "rewards.clip: expected less than or equal to"),
        ("jobs: {}", "needs: {decay: {hunger: .nan}}", "needs.decay.hunger: expected less"),
        ("policy: idle", "policy: schedule", "expected a schedule with steps"),
        ("policy: schedule", "policy: idle", "expected policy 'schedule' with a schedule"),
        ("  #a..S#", "  #a..S", "map: expected rows of 6 characters as in row 0, found 5 in row 1"),
        ("  #a..S#", "  #a.?S#", "map: unknown character '?' at column 3, row 1"),
        ("{event: queue_conflict, at_least: 0}", "{event: exit}", "expect.0: expected one of"),
        ("jobs: {}", "catalogue: {}", "catalogue: set by the loader"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected_and_found(tmp_path, old, new, sentence):
    assert sentence in fault(tmp_path, old, new)


def test_every_fault_is_reported_at_once(tmp_path):
    message = fault(tmp_path, "ticks: 10", "ticks: 0\nseed: -1\ncolour: blue")
    assert [line.split(": ")[2] for line in message.splitlines()] == ["ticks", "seed", "colour"]


def test_an_unknown_scenario_is_refused_with_the_nearest_one():
    with pytest.raises(
        ConfigError,
        match=r"unknown scenario 'queue_conflct', and no .yaml file; did you mean 'queue_",
    ):
        load_scenario("queue_conflct")
    with pytest.raises(ConfigError, match=r"expected a scenario file, found none at nowhere\.yaml"):
        load_scenario("nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: &a x\ndescription: *a\n", "line 2: expected no aliases"),
        (
            "name: !!python/object/apply:os.system [ls]\n",
            "line 1: expected no tags, found !!python",
        ),
        ("name: !secret x\n", "line 1: expected no tags, found !secret"),
        ("name: x\nticks: 3\nname: y\n", "line 3: key 'name' is there twice"),
        (
            "name: x\nneeds: {decay: {hunger: 0, hunger: 1}}\n",
            "line 2: key 'hunger' is there twice",
        ),
        ("<<: {name: x}\n", "line 1: expected a text as key, found <<"),
        ("1: x\n", "line 1: expected a text as key, found 1; put it in quotes"),
        ("? [a, b]\n: x\n", "line 1: expected a text as key, found a list or mapping"),
        ("name: 'x\n", "not valid YAML here: line 2"),
        ("- a\n", "expected a mapping of keys to values at the top, found a list"),
        ("a\n", "expected a mapping of keys to values at the top, found a single value"),
        ("", "expected a mapping of keys to values at the top, found an empty file"),
        ("a: " + "[" * 5000 + "]" * 5000 + "\n", "expected at most 32 levels"),
        ("a: " + "{b: " * 5000 + "1" + "}" * 5000 + "\n", "expected at most 32 levels"),
        ("day: 2020-13-45\n", "a value cannot be read"),
        (f"ticks: {'9' * 5000}\n", "a value cannot be read"),
        ("name: x\n" + "#" * MAX_BYTES, f"expected at most {MAX_BYTES} bytes"),
        ("name: \x00\n", "not valid YAML here"),
    ],
)
def test_yaml_that_is_unsafe_or_broken_is_refused(tmp_path, text, sentence):
    path = tmp_path / "unsafe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_text_or_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="expected UTF-8 text"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)


def test_lines_are_those_of_the_keys(tmp_path):
    path = tmp_path / "lines.yaml"
    path.write_text("a: 1\nb:\n  - c: 2\n    d: 3\n")
    lines = read_yaml(path).lines
    assert lines[("b",)] == 2
    assert lines[("b", 0, "d")] == 4


def test_overrides_replace_settings_key_by_key_and_dotted():
    config = load_scenario(
        "queue_conflict", {"ticks": 7, "needs": {"decay": {"hunger": 0.5}}, "queues.range": 2}
    )
    assert (config.ticks, config.queues.range) == (7, 2)
    assert config.needs.decay.hunger == 0.5
    assert config.needs.decay.energy == load_scenario("queue_conflict").needs.decay.energy


def test_a_wrong_override_is_refused_with_its_dotted_key():
    with pytest.raises(
        ConfigError, match=r"needs\.decay\.hungr: unknown key 'hungr'; did you mean"
    ):
        load_scenario("queue_conflict", {"needs.decay.hungr": 0.5})


def test_the_digest_follows_the_settings_but_not_the_words():
    digest = load_scenario("queue_conflict").digest()
    assert load_scenario("queue_conflict").digest() == digest
    assert (
        load_scenario("queue_conflict", {"description": "other", "expect": []}).digest() == digest
    )
    assert load_scenario("queue_conflict", {"queues.range": 2}).digest() != digest


def test_the_shipped_scenarios_are_listed_and_found():
    names = list_scenarios()
    classic = {
        "kitchen_breakfast",
        "queue_conflict",
        "employment_punctuality",
        "rivalry_decay",
        "observation_baseline",
    }
    assert classic <= set(names)
    assert names == sorted(names)
    for name in names:
        assert scenario_path(name).parent == configs_dir() / "scenarios"
        assert load_scenario(name).name == name


def test_a_shift_that_never_ends_is_refused(tmp_path):
    path = tmp_path / "endless.yaml"
    text = (configs_dir() / "scenarios" / "employment_punctuality.yaml").read_text()
    path.write_text(text.replace("start: 540, end: 590", "start: 0, end: 1440", 1))
    with pytest.raises(ConfigError, match=r"jobs\.dawns: expected a shift shorter than a day"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        (
            "perturbations: {blackot: {daily: 1}}",
            "perturbations.blackot: unknown key 'blackot'; did you mean 'blackout'?",
        ),
        (
            "perturbations: {outage: {ticks: [60, 15]}}",
            "perturbations.outage.ticks: expected [least, most], found [60, 15]; swap them",
        ),
        ("perturbations: {outage: {ticks: [15]}}", "outage.ticks.1: expected one more item, found"),
        ("perturbations: {outage: {ticks: [0, 15]}}", "outage.ticks.0: expected greater than or"),
        ("perturbations: {outage: {ticks: 15}}", "outage.ticks: expected a list, found 15"),
        (
            "perturbations: {price_spike: {magnitude: [1.8, 1.2]}}",
            "perturbations.price_spike.magnitude: expected [least, most], found [1.8, 1.2]",
        ),
        ("perturbations: {meet: {magnitude: [1, 2]}}", "meet.magnitude: unknown key 'magnitude'"),
        (
            "perturbations: {meet: {at: [1, 2, 3, 4, 5, 6, 7, 8, 9]}}",
            "perturbations.meet.at: expected at most 8 items, found 9",
        ),
        ("perturbations: {max_at_once: 5}", "max_at_once: expected less than or equal to 4"),
        ("arrivals: {delay: [20, 5]}", "arrivals.delay: expected [least, most], found [20, 5]"),
        ("arrivals: {needs: {hunger: 2}}", "arrivals.needs.hunger: expected less than or equal"),
        ("arrivals: {cells: [[0, 0]]}", "arrivals.cells.0: expected a floor cell, found a wall"),
        ("arrivals: {cells: [[4, 1]]}", "cells.0: expected a floor cell, found an object at [4, 1"),
        ("arrivals: {cells: [[9, 1]]}", "expected a floor cell, found [9, 1] outside 6 x 4"),
        (
            "arrivals: {cells: [[3, 1], [3, 1]]}",
            "arrivals.cells.1: expected every cell once, found [3, 1] again; take it out",
        ),
        ("arrivals: {policy: schedule}", "arrivals.policy: expected a policy without a schedule"),
        ("personalities: {mix: {wram: 1}}", "mix: unknown profile 'wram'; did you mean 'warm'?"),
        ("personalities: {mix: {warm: 0}}", "mix.warm: expected greater than 0, found 0"),
        ("personalities: {mix: {}}", "personalities.mix: expected at least 1 items, found 0"),
        ("personalities: {profiles: {drawn: {}}}", "expected no profile called 'drawn'"),
        ("personalities: {profiles: {odd: {pcae: 1}}}", "profiles.odd.pcae: unknown key 'pcae'"),
        ("personalities: {profiles: 3}", "personalities.profiles: expected a mapping of keys"),
        ("economy: {slack: [0.3, 0.1]}", "economy.slack: expected [least, most], found [0.3, 0.1]"),
        ("economy: {restock_minute: 1440}", "economy.restock_minute: expected less than 1440"),
        ("lives: {faint_after: 0}", "lives.faint_after: expected greater than or equal to 1"),
        ("employment: {dismissal_absences: 8}", "dismissal_absences: expected less than or equal"),
        ("rewards: {faint: 1.0}", "rewards.faint: expected less than or equal to 0, found 1.0"),
    ],
)
def test_a_wrong_setting_of_town_life_is_refused(tmp_path, new, sentence):
    message = fault(tmp_path, "jobs: {}", new)
    assert "tried.yaml: line 26: " in message
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("personality: wram", "residents.1.personality: unknown profile 'wram'; did you mean 'wa"),
        ("personality: {pcae: 1}", "residents.1.personality.pcae: unknown key 'pcae'; did you"),
        ("personality: {pace: 2}", "personality.pace: expected less than or equal to 1, found 2"),
        ("ties: {ana: {}}", "residents.1.ties.ana: unknown resident 'ana'; did you mean 'anna'?"),
        ("ties: {ben: {}}", "residents.1.ties.ben: unknown resident 'ben'; known: anna"),
    ],
)
def test_a_resident_who_is_told_wrongly_is_refused(tmp_path, new, sentence):
    message = fault(tmp_path, "id: ben\n", f"id: ben\n    {new}\n")
    assert "tried.yaml: line 25: " in message
    assert sentence in message
    assert "\n" not in message


def test_a_resident_with_an_id_of_newcomers_is_refused(tmp_path):
    message = fault(tmp_path, "id: ben\n", "id: newcomer_3\n")
    assert "line 24: residents.1.id: expected an id that no newcomer will have" in message
    assert "found 'newcomer_3'; rename the resident" in message


def test_a_map_that_is_too_wide_is_refused(tmp_path):
    rows = f"  {'.' * 600}\n  {'.' * 600}\n"
    message = fault(tmp_path, "  ######\n  #a..S#\n  #.b..#\n  ######\n", rows)
    assert "line 4: map: expected at most 512 columns and rows, found 600 x 2" in message
