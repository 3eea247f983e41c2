"""Write a scenario and a scripted policy of one's own, and hold the run against claims.

python examples/own_scenario.py
"""

from pathlib import Path

from townlet_env.config.load import load_scenario
from townlet_env.policies import Policy, Sight, register_policy
from townlet_env.verdicts import ClaimResult, check_story

SCENARIO = """
name: two_on_a_bench
description: Ida rests on the bench; jo, who only ever talks, keeps her company afterwards.
ticks: 40
map: |
  #######
  #..B..#
  #.ij..#
  #######
legend: {B: bench, i: ida, j: jo}
objects:
  - {id: bench, kind: bench}
residents:
  - id: ida
    policy: schedule
    schedule: [use: rest_bench]
  - {id: jo, policy: talkative}
expect:
  - {event: affordance_finished, affordance: rest_bench, by: ida, equals: 1}
  - {event: chat, by: jo, at_least: 10}
  - {tie: [jo, ida], field: familiarity, end_at_least: 0.3}
"""


class Talkative(Policy):
    """Talks whenever somebody is near and free; waits otherwise."""

    def act(self, sight: Sight) -> int:
        """Return ``chat`` if it is legal."""
        chat = self.seat.action("chat")
        return chat if sight.mask[chat] else self.seat.action("wait")


def main(path: Path = Path("two_on_a_bench.yaml")) -> list[ClaimResult]:
    """Return the claims and whether they hold."""
    register_policy("talkative", Talkative)
    path.write_text(SCENARIO, encoding="utf-8")
    results = check_story(load_scenario(path))
    for result in results:
        print("ok  " if result.held else "FAIL", result.claim, "->", result.found)
    return results


if __name__ == "__main__":
    main()
