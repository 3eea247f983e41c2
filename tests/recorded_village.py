"""Reading back what was recorded of the toy village."""

import numpy as np

from townlet_replay.manifest import load_capture

LIVES = {"ana": (0, 3), "ben": (0, 6), "cat": (2, 6)}  # steps done before the first and after last


def samples_of(path):
    return {(s.meta.agent_id, s.meta.episode_id): s for s in load_capture(path)}


def check_village(path, episode=0, until=6):
    """Every row has the observation, mask, action and reward of its own step."""
    found = samples_of(path)
    for number, (agent, (first, last)) in enumerate(LIVES.items()):
        end = min(last, until)
        if first >= end:
            assert (agent, episode) not in found
            continue
        sample = found[agent, episode]
        steps = np.arange(first, end)
        assert sample.observations["place"].tolist() == [[number, s] for s in steps]
        assert sample.action_mask.tolist() == [
            [1, *(int(1 + s % 3 == a) for a in (1, 2, 3))] for s in steps
        ]
        assert sample.actions.tolist() == (1 + steps % 3).tolist()
        assert sample.rewards.tolist() == (10 * number + steps + 1).tolist()
        assert sample.ticks.tolist() == (steps + 1).tolist()
        assert sample.final_observation["place"].tolist() == [number, end]
        assert sample.extras["final_action_mask"][1 + end % 3] == 1
        died = agent == "ana" and end == 3
        assert sample.terminations.tolist() == [False] * (len(steps) - 1) + [died]
        assert sample.truncations.tolist() == [False] * (len(steps) - 1) + [not died]
    return found


def drive_solo(env, action):
    env.reset()
    while env.agents:
        env.step({"solo": action})
