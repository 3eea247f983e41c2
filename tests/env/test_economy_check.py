"""Whether wages pay for living is found out when a scenario with rent is read."""

import pytest

from townlet_env.config.economy_check import basket, daily_wages, ordinary_affordance
from townlet_env.config.load import load_scenario
from townlet_env.errors import ConfigError
from townlet_env.sim.ids import Need

# Half a meal of rent, 1440 x 0.001 / 0.5 = 2.88 meals at 1, 1440 x 0.0005 / 0.5 = 1.44 showers at
# 0.5: a basket of 0.5 + 2.88 + 0.72 = 4.1 meals a day.
TOWN = """\
name: priced
description: Kit has a job, lou has none.
ticks: 10
start_minute: 480
size: [6, 4]
objects:
  - {id: fridge, kind: fridge, cell: [0, 0]}
  - {id: shower, kind: shower, cell: [2, 0]}
  - {id: bed, kind: bed, cell: [4, 0]}
  - {id: desk, kind: desk, cell: [5, 3]}
jobs:
  clerk: {object: desk, start: 500, end: 600, wage: 0.048}
residents:
  - {id: kit, cell: [1, 2], job: clerk}
  - {id: lou, cell: [2, 2]}
needs: {decay: {hunger: 0.001, hygiene: 0.0005, energy: 0.01}, pace_effect: 0.5}
affordances:
  eat_meal: {gives: {hunger: 0.5}}
  use_shower: {takes: {money: 0.5}, gives: {hygiene: 0.5}}
economy: {rent: 0.5}
"""


def loaded(tmp_path, *changes):
    text = TOWN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "priced.yaml"
    path.write_text(text)
    return load_scenario(path)


def costs(tmp_path, *changes, who=0):
    """The basket of a resident, whatever the wages are."""
    town = loaded(tmp_path, ("economy: {", "economy: {slack: [-1, 100], "), *changes)
    return basket(town, town.residents[who])


def refused(tmp_path, *changes):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, *changes)
    return str(caught.value)


def test_the_basket_is_rent_meals_and_showers_at_the_towns_prices(tmp_path):
    town = loaded(tmp_path)
    kit, lou = town.residents
    assert basket(town, kit) == pytest.approx(0.5 + 2.88 + 0.72)
    assert daily_wages(town, kit) == pytest.approx(4.8)
    assert daily_wages(town, lou) == 0.0


def test_wages_outside_the_slack_are_refused_with_both_sums_and_what_to_change(tmp_path):
    low = refused(tmp_path, ("wage: 0.048", "wage: 0.045"))
    assert low.endswith(
        "priced.yaml: line 14: residents.0.job: expected wages of 4.51 to 5.12 meals a day for "
        "kit, whose basket is 4.10, found 4.50; change jobs.clerk.wage, economy.rent or "
        "economy.slack"
    )
    assert "found 5.20" in refused(tmp_path, ("wage: 0.048", "wage: 0.052"))
    assert "\n" not in low


@pytest.mark.parametrize("wage", ["0.0451", "0.05125"])
def test_wages_at_either_end_of_the_slack_will_do(tmp_path, wage):
    town = loaded(tmp_path, ("wage: 0.048", f"wage: {wage}"))
    assert daily_wages(town, town.residents[0]) == pytest.approx(100 * float(wage))


def test_the_slack_is_a_setting(tmp_path):
    message = refused(tmp_path, ("economy: {", "economy: {slack: [0.2, 0.3], "))
    assert "expected wages of 4.92 to 5.33 meals a day" in message
    loaded(tmp_path, ("economy: {", "economy: {slack: [0.2, 0.3], "), ("wage: 0.048", "wage: 0.05"))


def test_a_negative_slack_lets_a_scenario_tell_of_the_poor(tmp_path):
    poor = ("economy: {", "economy: {slack: [-0.5, 0.0], ")
    town = loaded(tmp_path, poor, ("wage: 0.048", "wage: 0.03"))
    assert daily_wages(town, town.residents[0]) < basket(town, town.residents[0])


def test_everybody_with_a_job_is_checked_and_nobody_else(tmp_path):
    both = ("id: lou, cell: [2, 2]", "id: lou, cell: [2, 2], job: clerk")
    message = refused(tmp_path, both, ("wage: 0.048", "wage: 0.04"))
    assert [line.split(": ")[2] for line in message.splitlines()] == [
        "residents.0.job",
        "residents.1.job",
    ]


def test_without_rent_nothing_is_checked(tmp_path):
    loaded(tmp_path, ("rent: 0.5", "rent: 0.0"), ("wage: 0.048", "wage: 0.0"))


def test_a_faster_pace_needs_more(tmp_path):
    traits = ("job: clerk}", "job: clerk, personality: {pace: 0.4}}")
    assert costs(tmp_path, traits) == pytest.approx(0.5 + 1.2 * (2.88 + 0.72))
    profile = ("job: clerk}", "job: clerk, personality: brisk}")
    assert costs(tmp_path, profile) == pytest.approx(0.5 + 1.3 * (2.88 + 0.72))
    # 0.15 x (0.6 - 0.2 + 0.2) is the mean pace of the shipped mix.
    drawn = ("job: clerk}", "job: clerk, personality: drawn}")
    assert costs(tmp_path, drawn) == pytest.approx(0.5 + 1.045 * (2.88 + 0.72))


def test_prices_of_the_town_count(tmp_path):
    dear = ("economy:", "prices: {meal: 2.0}\neconomy:")
    assert costs(tmp_path, dear) == pytest.approx(0.5 + 2 * 2.88 + 0.72)


def test_what_raises_a_need_most_is_its_ordinary_affordance_whatever_its_name(tmp_path):
    feast = "affordances:\n  feast: {object: bed, ticks: 5, takes: {money: 3}, gives: {hunger: 1}}"
    assert costs(tmp_path, ("affordances:", feast)) == pytest.approx(0.5 + 3 * 1.44 + 0.72)
    snack = feast.replace("hunger: 1", "hunger: 0.5")  # no more than a meal
    assert costs(tmp_path, ("affordances:", snack)) == pytest.approx(4.1)


def test_what_cannot_be_done_in_town_costs_nothing(tmp_path):
    no_shower = ("  - {id: shower, kind: shower, cell: [2, 0]}\n", "")
    assert costs(tmp_path, no_shower) == pytest.approx(0.5 + 2.88)
    assert ordinary_affordance(load_scenario("rivalry_decay"), Need.HUNGER) is None


def test_ingredients_cost_what_the_cheapest_seller_asks(tmp_path):
    stove = (
        "  - {id: bed,",
        "  - {id: stove, kind: stove, cell: [3, 0]}\n"
        "  - {id: till, kind: till, cell: [0, 3]}\n"
        "  - {id: bed,",
    )
    home = ("affordances:", "affordances:\n  eat_homemade: {gives: {hunger: 0.72}}")
    # 1440 x 0.001 / 0.72 = 2 meals of one ingredient each, at 0.4.
    assert costs(tmp_path, stove, home) == pytest.approx(0.5 + 2 * 0.4 + 0.72)


def test_a_shipped_scenario_with_a_day_of_rent_is_affordable_or_not_read():
    with pytest.raises(ConfigError, match=r"economy\.slack"):
        load_scenario("employment_punctuality", {"economy.rent": 0.1})
