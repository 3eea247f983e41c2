"""Add an arcade and a buffet to the town without touching its code, and play with them.

python examples/own_affordance.py
"""

from pathlib import Path

from townlet_env import townlet_v0
from townlet_env.config.load import load_scenario
from townlet_env.verdicts import ClaimResult, check_story

SCENARIO = """
name: arcade_night
description: Kit plays at the arcade and eats at the buffet; lou does what lou needs.
ticks: 240
map: |
  ###########
  #A.....B..#
  #.........#
  #..k..l...#
  ###########
legend: {A: arcade, B: buffet, k: kit, l: lou}
kinds: [arcade, buffet]
affordances:
  play_arcade:
    object: arcade
    ticks: 10
    requires: {power: true}
    takes: {money: 0.25}
    gives: {energy: 0.2, company: 0.1}
  eat_buffet:
    object: buffet
    ticks: 8
    takes: {meal_price: 1.5, stock: 1}
    gives: {hunger: 0.6}
objects:
  - {id: arcade, kind: arcade}
  - {id: buffet, kind: buffet, stock: 5, restock: 12}
meets: [arcade]
residents:
  - id: kit
    needs: {hunger: 0.5, hygiene: 1.0, energy: 0.4}
    policy: schedule
    schedule: [use: play_arcade, use: eat_buffet]
  - {id: lou, needs: {hunger: 0.5, hygiene: 1.0, energy: 0.5}}
expect:
  - {event: affordance_finished, affordance: play_arcade, by: kit, equals: 1}
  - {event: affordance_finished, affordance: eat_buffet, by: kit, equals: 1}
  - {event: affordance_finished, affordance: eat_buffet, by: lou, at_least: 1}
"""


def main(path: Path = Path("arcade_night.yaml")) -> tuple[list[ClaimResult], list[str]]:
    """Return the claims, and which of the new actions kit may take at the beginning."""
    path.write_text(SCENARIO, encoding="utf-8")
    results = check_story(load_scenario(path))
    for result in results:
        print("ok  " if result.held else "FAIL", result.claim, "->", result.found)

    # What a learner sees: new actions after the shipped ones, new columns after the shipped ones.
    env = townlet_v0.parallel_env(path)
    observations, _ = env.reset(seed=1)
    new = {a: name for a, name in env.action_lookup.items() if name.endswith(("arcade", "buffet"))}
    print("new actions:", new)
    print("new columns:", ", ".join(env.feature_names[-10:]))
    mask = observations["kit"]["action_mask"]
    return results, [name for a, name in new.items() if mask[a]]


if __name__ == "__main__":
    print("legal for kit:", ", ".join(main()[1]))
