"""Settings arrive in the rules and the first state; where newcomers appear."""

from typing import Any

import numpy as np
import pytest

from townlet_env.config.cells import distances_of, roadside_of
from townlet_env.config.compile import compile_plan
from townlet_env.config.layout import Layout
from townlet_env.config.load import load_scenario
from townlet_env.config.personalities import MIX, PROFILES
from townlet_env.errors import ConfigError
from townlet_env.sim.ids import NONE, Perturbation
from townlet_env.sim.plan import Plan

BASE = "employment_punctuality"
SECTIONS = (
    "needs",
    "movement",
    "queues",
    "employment",
    "ties",
    "rewards",
    "prices",
    "utilities",
    "perturbations",
    "arrivals",
    "economy",
    "lives",
)
# One is looked at when the file is read, the other by who plays newcomers.
NOT_RULES = {"economy.slack", "arrivals.policy"}


def compiled(**overrides: Any) -> Plan:
    return compile_plan(
        load_scenario(BASE, {k.replace("__", "."): v for k, v in overrides.items()})
    )


def leaves(section, path):
    for name, value in section:
        if hasattr(type(value), "model_fields"):
            yield from leaves(value, f"{path}.{name}")
        else:
            yield f"{path}.{name}", value


def settings():
    config = load_scenario(BASE)
    found = [leaf for name in SECTIONS for leaf in leaves(getattr(config, name), name)]
    return [(path, value) for path, value in found if path not in NOT_RULES]


def another(path, value):
    if path == "arrivals.cells":
        return [[1, 2]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return [value[0], value[1] + 1] if value else [5]
    if isinstance(value, int):
        return value - 1 if value > 1 else value + 1
    return 3 if value is None else value / 2 if value else 0.5


@pytest.mark.parametrize(("path", "value"), settings(), ids=[path for path, _ in settings()])
def test_every_setting_of_the_rules_arrives_in_the_plan(path, value):
    enabled = {"arrivals.enabled": True} if path == "arrivals.max_newcomers" else {}
    fixed = {"economy.slack": [-1.0, 1e6], **enabled}
    before = compile_plan(load_scenario(BASE, fixed))
    after = compile_plan(load_scenario(BASE, {**fixed, path: another(path, value)}))
    assert before.rules.tobytes() != after.rules.tobytes()


def test_perturbations_are_told_kind_by_kind():
    r = compiled(
        perturbations={
            "price_spike": {"daily": 0.5, "at": [10, 90], "magnitude": [1.5, 2.5]},
            "meet": {"ticks": [7, 9], "cooldown": 3},
        }
    ).rules[0]
    spike, blackout, meet = Perturbation.PRICE_SPIKE, Perturbation.BLACKOUT, Perturbation.MEET
    assert r.perturb_daily.tolist() == [0.5, 0.0, 0.0, 0.0]
    assert r.perturb_at[spike].tolist() == [10, 90, *[NONE] * 6]
    assert r.perturb_at[blackout].tolist() == [NONE] * 8
    assert r.perturb_factor.tolist() == [1.5, 2.5]
    assert (r.perturb_ticks[meet].tolist(), r.perturb_cooldown[meet]) == ([7, 9], 3)
    assert r.perturb_ticks[blackout].tolist() == [15, 60]


@pytest.mark.parametrize(
    ("start", "ticks", "settings", "expected"),
    [
        (480, 960, {}, 2),  # ends with the last minute of the first day
        (480, 961, {}, 4),
        (0, 1440, {}, 2),
        (0, 10 * 1440, {}, 20),
        (0, 1440, {"lives": {"exits_per_day": 5}}, 5),
        (0, 1440, {"arrivals": {"enabled": True, "max_newcomers": 9}}, 9),
        (0, 1440, {"arrivals": {"enabled": False, "max_newcomers": 9}}, 0),
    ],
)
def test_as_many_newcomers_may_come_as_residents_can_leave(start, ticks, settings, expected):
    overrides = {"start_minute": start, "ticks": ticks, "arrivals": {"enabled": True}, **settings}
    plan = compile_plan(load_scenario(BASE, overrides))
    assert plan.max_newcomers == plan.rules[0].max_newcomers == expected


def residents(*personalities):
    found = load_scenario(BASE).residents
    return [
        {**resident.model_dump(mode="json", exclude={"schedule", "policy"}), "personality": said}
        for resident, said in zip(found, personalities, strict=True)
    ]


def test_a_personality_is_stated_named_or_drawn():
    stated = compiled(residents=residents({"pace": 0.5}, "prickly")).template[0]
    traits = np.stack([stated.pace, stated.patience, stated.warmth], 1)[:2]
    assert traits == pytest.approx(np.array([[0.5, 0.0, 0.0], PROFILES["prickly"].values()]))
    assert stated.drawn[:2].tolist() == [0, 0]
    drawn = compiled(residents=residents("drawn", "warm")).template[0]
    assert drawn.drawn[:2].tolist() == [1, 0]
    assert (drawn.pace[0], drawn.patience[0], drawn.warmth[0]) == (0.0, 0.0, 0.0)


def test_the_mix_is_told_in_cumulative_shares():
    r = compiled().rules[0]
    assert r.n_profiles == len(MIX)
    assert r.profile_share[: len(MIX)] == pytest.approx([0.4, 0.55, 0.7, 0.85, 1.0])
    assert r.profile_share[len(MIX) - 1] == 1.0
    own = {"profiles": {"hasty": {"pace": 1.0}}, "mix": {"hasty": 3, "warm": 0.1, "steady": 0.2}}
    r = compiled(personalities=own).rules[0]
    assert r.n_profiles == 3
    assert r.profile_share[:3] == pytest.approx([3 / 3.3, 3.1 / 3.3, 1.0])
    assert r.profile_share[2] == 1.0
    assert r.profile_traits[:2].tolist() == [[1, 0, 0], pytest.approx([0.0, 0.2, 0.7])]


def test_own_profiles_stand_beside_the_shipped_ones_or_in_their_place():
    own = {"profiles": {"warm": {"warmth": 1.0}, "cold": {"warmth": -1.0}}}
    profiles = load_scenario(BASE, {"personalities": own}).personalities.profiles
    assert set(profiles) == {*PROFILES, "cold"}
    assert profiles["warm"].values() == (0.0, 0.0, 1.0)
    assert profiles["brisk"] == PROFILES["brisk"]


def test_a_post_goes_with_the_slot_of_who_has_a_job():
    world = compiled().template[0]
    assert world.post.tolist() == world.job_object.tolist()
    assert world.post[:2].tolist() == [0, 1]
    assert set(world.post[2:]) == {NONE}


def layout(text):
    rows = [row.strip() for row in text.strip().splitlines()]
    cells = np.array([list(row) for row in rows])
    things = [(int(x), int(y)) for y, x in np.argwhere(cells == "O")]
    return Layout(cells == "#", tuple(things), ())


def drawn(text):
    """Return the roadside of a map, and the map with ``r`` where it is."""
    found = roadside_of(layout(text))
    rows = [list(row.strip()) for row in text.strip().splitlines()]
    for x, y in found:
        rows[y][x] = "r"
    return found, ["".join(row) for row in rows]


def test_newcomers_appear_on_floor_near_the_edge():
    found, rows = drawn(
        """
        #####
        #O..#
        #...#
        #..O#
        #####
        """
    )
    assert rows == ["#####", "#Orr#", "#r.r#", "#rrO#", "#####"]
    assert found == ((2, 1), (3, 1), (1, 2), (3, 2), (1, 3), (2, 3))


def test_a_long_edge_is_shared_out_evenly():
    found, rows = drawn("." * 16 + "\n" + "#" * 16)
    assert rows[0] == "r." * 8
    assert len(found) == 8


def test_cells_without_a_way_to_most_of_the_floor_are_no_roadside():
    _, rows = drawn(
        """
        ..#####
        ###...#
        ..#.#.#
        ..#...#
        #######
        """
    )
    assert rows == ["..#####", "###rrr#", "..#.#r#", "..#rrr#", "#######"]


def test_the_first_of_equally_large_pieces_has_the_roadside():
    assert drawn("..#..")[1] == ["rr#.."]


def test_arrivals_may_have_cells_of_their_own():
    r = compiled(arrivals={"cells": [[3, 3], [1, 2]]}).rules[0]
    assert r.n_roadside == 2
    assert r.roadside[:2].tolist() == [[3, 3], [1, 2]]
    assert compiled(arrivals={"enabled": True}).rules[0].n_roadside == 8


def labyrinth(columns):
    """Rows to and fro with one gap each; an object at the beginning."""
    walls = np.zeros((512, columns), np.bool_)
    walls[1::2] = True
    walls[1::4, -1] = False
    walls[3::4, 0] = False
    return Layout(walls, ((0, 0),), ())


def test_a_labyrinth_too_long_for_its_table_is_refused_and_one_that_fits_is_measured():
    fits = distances_of(labyrinth(250), "maze")
    assert fits.shape == (1, 512, 250)
    assert fits[0, 0, 1] == 0
    # 256 rows of 250 cells and the gaps between them; the last gap is a dead end.
    assert fits[0, 510, 0] == 255 * 250 + 255 + 249 - 1
    with pytest.raises(ConfigError, match=r"^maze: map: expected at most 65534 steps .* \[0, 0\]"):
        distances_of(labyrinth(512), "maze")
