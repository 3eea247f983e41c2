"""Kinds and affordances of one's own, from a scenario file alone; what is wrong is refused."""

import numpy as np
import pytest
from little_towns import happened, with_policy

from townlet_env import townlet_v0
from townlet_env.config.compile import compile_plan
from townlet_env.config.kinds import kind_groups, need_kinds
from townlet_env.config.load import load_scenario
from townlet_env.errors import ConfigError
from townlet_env.sim.features import FIXED, KIND_COLUMNS
from townlet_env.sim.ids import NONE, KindGroup
from townlet_env.sim.rules import MAX_ACTIONS, MAX_AFFORDANCES, MAX_KINDS
from townlet_env.story import run_story

ARCADE = """\
name: arcade_town
description: Kit plays, then eats at the buffet.
ticks: 60
map: |
  #########
  #A.....B#
  #.......#
  #..k....#
  #########
legend: {A: arcade, B: buffet, k: kit}
kinds: [arcade, buffet]
affordances:
  play_arcade:
    object: arcade
    ticks: 6
    requires: {power: true}
    takes: {money: 0.5}
    gives: {energy: 0.25, company: 0.1}
  eat_buffet:
    object: buffet
    ticks: 4
    takes: {meal_price: 1.5, stock: 1}
    gives: {hunger: 0.5}
objects:
  - {id: arcade, kind: arcade}
  - {id: buffet, kind: buffet, stock: 3, restock: 8}
residents:
  - id: kit
    needs: {hunger: 0.25, hygiene: 1.0, energy: 0.25}
    wallet: 4.0
    policy: schedule
    schedule:
      - use: play_arcade
      - use: eat_buffet
needs: {decay: {hunger: 0.0, hygiene: 0.0, energy: 0.0}}
"""
SHIPPED = load_scenario("queue_conflict").catalogue


def loaded(tmp_path, *changes):
    text = ARCADE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "arcade_town.yaml"
    path.write_text(text)
    return load_scenario(path)


def finished(story):
    found = [event for tick in story.events for event in tick]
    return [event.affordance for event in found if event.event == "affordance_finished"]


def test_own_affordances_run_and_take_effect_once(tmp_path):
    story = run_story(loaded(tmp_path))
    assert finished(story) == ["play_arcade", "eat_buffet"]
    assert story.needs[-1, 0].tolist() == [0.75, 1.0, 0.5]
    assert story.wallet[-1, 0] == 4.0 - 0.5 - 1.5


def test_own_affordances_stand_in_the_rules_as_they_are_told(tmp_path):
    plan = compile_plan(loaded(tmp_path))
    r, names = plan.rules[0], plan.names
    play, eat = names.affordances.index("play_arcade"), names.affordances.index("eat_buffet")
    assert r.affordance_kinds[[play, eat]].tolist() == [1 << 8, 1 << 9]
    assert r.affordance_ticks[[play, eat]].tolist() == [6, 4]
    assert r.affordance_power[[play, eat]].tolist() == [1, 0]
    assert r.affordance_company[[play, eat]] == pytest.approx([0.1, 0.0])
    assert (r.takes_money[play], r.takes_meal_price[eat], r.takes_stock[eat]) == (0.5, 1.5, 1)
    assert r.kind_power[[8, 9]].tolist() == [1, 0]


def test_what_an_own_affordance_requires_must_be_there(tmp_path):
    dark = run_story(loaded(tmp_path, ("ticks: 60", "ticks: 60\nutilities: {power: false}")))
    assert happened(dark, "affordance_started") == []
    poor = run_story(loaded(tmp_path, ("wallet: 4.0", "wallet: 0.25")))
    assert happened(poor, "affordance_started") == []


def test_the_ids_of_shipped_actions_and_columns_do_not_change(tmp_path):
    shipped = compile_plan(load_scenario("queue_conflict")).names
    names = compile_plan(loaded(tmp_path)).names
    count = len(shipped.actions)
    assert names.actions[:count] == shipped.actions
    assert names.actions[count:] == (
        "approach:arcade",
        "approach:buffet",
        "request:arcade",
        "request:buffet",
        "start:play_arcade",
        "start:eat_buffet",
    )
    assert names.features[: len(shipped.features)] == shipped.features
    assert names.features[len(shipped.features) :][::KIND_COLUMNS] == ("arcade_dx", "buffet_dx")
    assert len(names.features) == len(FIXED) + KIND_COLUMNS * len(names.kinds)


def test_own_actions_are_in_the_mask_when_they_are_legal_and_columns_tell_where_to_go(tmp_path):
    env = townlet_v0.parallel_env(loaded(tmp_path))
    observations, _ = env.reset(seed=1)
    actions = {name: int(a) for a, name in env.action_lookup.items()}
    columns = {name: f for f, name in enumerate(env.feature_names)}

    def legal(seen):
        return {name for name, a in actions.items() if seen["kit"]["action_mask"][a]}

    def does(name):
        return env.step({"kit": actions[name]})[0]

    assert env.action_space("kit").n == len(SHIPPED.action_names()) + 6
    seen = observations
    assert {"approach:arcade", "approach:buffet"} <= legal(seen)
    assert "start:play_arcade" not in legal(seen)
    assert seen["kit"]["features"][columns["arcade_distance"]] > 0.0
    assert seen["kit"]["features"][columns["buffet_stock"]] == pytest.approx(3 / 7)
    for _ in range(3):
        seen = does("approach:arcade")
    assert seen["kit"]["features"][columns["arcade_distance"]] == 0.0
    assert "request:arcade" in legal(seen)
    assert "start:play_arcade" in legal(does("request:arcade"))
    assert seen["kit"]["features"][columns["busy"]] == 0.0
    assert does("start:play_arcade")["kit"]["features"][columns["busy"]] == 1.0


def test_scripts_and_chance_find_what_a_scenario_adds(tmp_path):
    town = loaded(tmp_path, ("ticks: 60", "ticks: 600"))
    assert "eat_buffet" in finished(run_story(with_policy(town, "needs_driven")))
    short = [("    ticks: 6\n", "    ticks: 1\n"), ("    ticks: 4\n", "    ticks: 1\n")]
    town = loaded(tmp_path, ("ticks: 60", "ticks: 600"), *short)
    assert {"eat_buffet", "play_arcade"} == set(finished(run_story(with_policy(town, "random"))))


def test_an_own_stock_has_a_level_to_be_filled_up_to(tmp_path):
    template = compile_plan(loaded(tmp_path)).template[0]
    assert template.stock[:2].tolist() == [0, 3]
    assert template.restock[:2].tolist() == [0, 8]
    till = compile_plan(load_scenario("shared_flat"))
    o = till.names.objects.index("till")
    assert till.template[0].restock[o] == till.template[0].stock[o] == 40
    assert till.template[0].restock[till.names.objects.index("fridge")] == 0


def test_meets_of_a_scenario_replace_the_list(tmp_path):
    shipped = compile_plan(loaded(tmp_path))
    kinds = shipped.names.kinds
    assert np.flatnonzero(shipped.rules[0].kind_meets).tolist() == [kinds.index("bench")]
    own = compile_plan(loaded(tmp_path, ("affordances:", "meets: [arcade, buffet]\naffordances:")))
    expected = [kinds.index("arcade"), kinds.index("buffet")]
    assert np.flatnonzero(own.rules[0].kind_meets).tolist() == expected
    none = compile_plan(loaded(tmp_path, ("affordances:", "meets: []\naffordances:")))
    assert not none.rules[0].kind_meets.any()


def test_kinds_are_grouped_by_what_is_done_at_them(tmp_path):
    text = """affordances:
  paint: {object: studio, ticks: 5, gives: {energy: -0.2, hygiene: -0.1}}
  pick_berries: {object: hedge, ticks: 5, gives: {ingredients: 1, energy: 0.1}}
  pick_apples: {object: tree, ticks: 5, gives: {ingredients: 1, hunger: 0.1}}
  bake: {object: oven, ticks: 5, gives: {stock: 2, stock_of: buffet}}
  tend_bar: {object: bar, ticks: until_released, requires: {on_shift: true}}
  drink: {object: bar, ticks: 5, gives: {hunger: 0.1}}"""
    kinds = ("kinds: [arcade, buffet]", "kinds: [arcade, buffet, studio, hedge, tree, oven, bar]")
    catalogue = loaded(tmp_path, kinds, ("affordances:", text)).catalogue
    assert dict(zip(catalogue.kinds, kind_groups(catalogue), strict=True)) == {
        "fridge": KindGroup.FOOD,
        "stove": KindGroup.FOOD,
        "shower": KindGroup.HYGIENE,
        "bed": KindGroup.REST,
        "till": KindGroup.SUPPLY,
        "counter": KindGroup.WORK,
        "desk": KindGroup.WORK,
        "bench": KindGroup.REST,
        "arcade": KindGroup.REST,
        "buffet": KindGroup.FOOD,
        "studio": KindGroup.OTHER,
        "hedge": KindGroup.SUPPLY,
        "tree": KindGroup.FOOD,
        "oven": KindGroup.FOOD,
        "bar": KindGroup.WORK,
    }


def test_a_need_is_served_by_the_kind_in_town_that_raises_it_most(tmp_path):
    def served(kinds):
        found = need_kinds(catalogue, kinds)
        return [None if k == NONE else catalogue.kinds[k] for k in found]

    catalogue = loaded(tmp_path).catalogue
    assert served(SHIPPED.kinds) == ["fridge", "shower", "bed"]  # the stove gives no more
    assert served(catalogue.kinds) == ["buffet", "shower", "bed"]
    assert served({"stove", "arcade", "bench"}) == ["stove", None, "arcade"]
    rules = compile_plan(loaded(tmp_path)).rules[0]
    assert rules.need_kind.tolist() == [catalogue.kinds.index("buffet"), NONE, 8]


def test_a_shipped_affordance_is_changed_key_by_key(tmp_path):
    catalogue = loaded(
        tmp_path, ("affordances:", "affordances:\n  use_shower: {takes: {money: 0.5}}")
    ).catalogue
    changed, shipped = catalogue.affordances["use_shower"], SHIPPED.affordances["use_shower"]
    assert changed.takes.money == 0.5
    assert (changed.ticks, changed.gives) == (shipped.ticks, shipped.gives)
    assert catalogue.own_affordances == 2


def many(what, count):
    return ", ".join(f"{what}_{k}" for k in range(count))


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        (
            "play_arcade:\n    object: arcade\n",
            "play_arcade:\n",
            13,
            "affordances.play_arcade: unknown affordance 'play_arcade'; known: buy_groceries, "
            "cook_meal, eat_homemade, eat_meal, rest_bench, rest_sleep, use_shower, work_shift; "
            "one of your own needs object and ticks",
        ),
        (
            "  eat_buffet:",
            "  eat_meel: {ticks: 3}\n  eat_buffet:",
            19,
            "affordances.eat_meel: unknown affordance 'eat_meel'; did you mean 'eat_meal'?; "
            "one of your own needs object and ticks",
        ),
        ("object: buffet", "object: bufet", 20, "object: unknown kind 'bufet'; did you mean 'bu"),
        ("object: buffet", "object: [bed, bed]", 20, "eat_buffet.object: expected every kind once"),
        ("object: buffet", "object: []", 20, "object: expected at least 1 items, found 0"),
        ("object: buffet", "object: [buffet, bad]", 20, "object: unknown kind 'bad'; did you mean"),
        (
            "gives: {hunger: 0.5}",
            "gives: {stock: 1, stock_of: arcad}",
            23,
            "affordances.eat_buffet.gives.stock_of: unknown kind 'arcad'; did you mean 'arcade'?",
        ),
        ("gives: {hunger: 0.5}", "gives: {stock: 1}", 23, "expected stock and stock_of together"),
        ("gives: {hunger: 0.5}", "gives: {hungr: 0.5}", 23, "did you mean 'hunger'?"),
        ("gives: {hunger: 0.5}", "gives: {company: 2}", 23, "gives.company: expected less than"),
        ("    ticks: 6\n", "    ticks: soon\n", 15, "affordances.play_arcade.ticks: "),
        (
            "    ticks: 6\n",
            "    ticks: until_released\n",
            13,
            "affordances.play_arcade: expected requires.on_shift with ticks: until_released",
        ),
        ("  eat_buffet:", "  Eat!: {}\n  eat_buffet:", 19, "affordances.Eat!: expected text like"),
        ("kinds: [arcade", "kinds: [Arcade", 11, "kinds.0: expected text like ^[a-z]"),
        (
            "kinds: [arcade",
            "kinds: [fridge, arcade",
            11,
            "kinds.0: expected a new kind, found 'fridge', which is shipped; take it out",
        ),
        (
            "kinds: [arcade",
            "kinds: [arcade, arcade",
            11,
            "kinds.1: expected a new kind, found 'arcade', which is named before; take it out",
        ),
        ("kinds: [arcade, buffet]", "kinds: arcade", 11, "kinds: expected a list, found 'arc"),
        (
            "kinds: [arcade",
            f"kinds: [{many('kind', 8)}, arcade",
            11,
            "kinds: expected at most 8 kinds beside the 8 shipped ones, found 10; take some out",
        ),
        (
            "  eat_buffet:",
            "".join(f"  own_{k}: {{object: bed, ticks: 1}}\n" for k in range(23)) + "  eat_buffet:",
            12,
            "affordances: expected at most 24 affordances beside the 8 shipped ones, found 25",
        ),
        (
            "affordances:",
            "meets: [bech]\naffordances:",
            12,
            "meets: unknown kind 'bech'; did you mean 'bench'?",
        ),
        ("kind: arcade", "kind: arkade", 25, "objects.0.kind: unknown kind 'arkade'; did you mean"),
        ("use: eat_buffet", "use: eat_bufet", 34, "unknown affordance 'eat_bufet'; did you mean"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_file_line_and_key(tmp_path, old, new, line, sentence):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, (old, new))
    message = str(caught.value)
    assert f"arcade_town.yaml: line {line}: " in message
    assert sentence in message
    assert "\n" not in message


def test_the_most_that_a_scenario_may_add_has_room_in_the_rules():
    moves = 4
    assert 1 + moves + 2 * MAX_KINDS + MAX_AFFORDANCES + 2 <= MAX_ACTIONS
