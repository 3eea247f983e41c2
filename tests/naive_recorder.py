"""What a recorder has to keep, written down row by row: the oracle for the one that is fast."""

from __future__ import annotations

import copy

import numpy as np

from townlet_replay.errors import CaptureError
from townlet_replay.frames import Ending, Frame, SampleOrigin, frames_to_replay_sample
from townlet_replay.metrics import sample_metrics
from townlet_replay.sample import with_metrics
from townlet_replay.sidecar import Behaviour, CaptureMetadata, CaptureNames

MASK = "action_mask"


def seen_in(observation, info):
    """Take an observation, a dict of arrays or an array, and its mask apart; copies."""
    observation = copy.deepcopy(observation)
    mask = info.get(MASK)
    if not isinstance(observation, dict):
        return {"observation": observation}, copy.deepcopy(mask)
    mask = observation.pop(MASK, mask)
    return dict(sorted(observation.items())), copy.deepcopy(mask)


class NaiveRecorder:
    """Follows one episode of an environment that is asked for everything in the plainest way."""

    def __init__(self, agents, observations, infos):
        self.step = 0
        self.seen = {a: seen_in(observations[a], infos[a]) for a in agents}
        self.rows, self.told, self.ends, self.final_values = {}, {}, {}, {}
        self.done = set()

    def advance(self, actions, notes, returned, agents):
        """Take in one step; ``notes`` are kind -> agent -> number, and the policy's version."""
        observations, rewards, terminations, truncations, infos = copy.deepcopy(returned)
        self.step += 1
        acted = [a for a in actions if a in self.seen and actions[a] is not None]
        for agent in acted:
            observation, mask = self.seen[agent]
            info = infos[agent]
            self.final_values.pop(agent, None)
            self.told.setdefault(agent, []).append(info)
            self.rows.setdefault(agent, []).append(
                Frame(
                    observation=observation,
                    action=actions[agent],
                    reward=rewards[agent],
                    terminated=bool(terminations[agent]),
                    truncated=bool(truncations[agent]),
                    tick=info.get("tick", self.step),
                    action_mask=mask,
                    log_prob=notes["log_probs"].get(agent, np.nan),
                    value=notes["values"].get(agent, np.nan),
                    logits=notes["logits"].get(agent),
                    intent=notes["intents"].get(agent),
                    reward_components=info.get("reward_components"),
                    policy_version=notes["policy_version"],
                )
            )
        for agent in [*self.seen, *(a for a in agents if a not in self.seen)]:
            if agent in self.done:
                continue
            if agent in observations:
                self.seen[agent] = seen_in(observations[agent], infos[agent])
            over = terminations.get(agent, False), truncations.get(agent, False)
            if any(over) or agent not in agents:
                self.end(agent, over)

    def end(self, agent, over):
        observation, mask = self.seen.pop(agent)
        if agent not in self.rows:
            return
        self.done.add(agent)
        self.ends[agent] = observation, mask
        last = self.rows[agent][-1]
        if not (last.terminated or last.truncated):
            ended = last._replace(terminated=bool(over[0]), truncated=not over[0])
            self.rows[agent][-1] = ended

    def samples(self, lookup, metadata, names=None):
        """Return the samples by agent, without those whose rows do not fit each other."""
        found = {}
        for agent, rows in self.rows.items():
            observation, mask = self.ends[agent] if agent in self.done else self.seen[agent]
            known = any(not np.isnan(row.log_prob) for row in rows)
            origin = SampleOrigin(
                agent_id=agent,
                episode_id=0,
                action_dim=len(lookup),
                names=names or CaptureNames(action_lookup=lookup),
                behaviour=Behaviour(kind="policy" if known else "unknown"),
                capture_metadata=metadata or CaptureMetadata(),
            )
            ending = Ending(observation, self.final_values.get(agent, np.nan), mask)
            try:
                sample = frames_to_replay_sample(rows, ending, origin)
            except CaptureError:
                continue
            infos = self.told[agent]
            events = [e for info in infos for e in info.get("events", ())]
            refused = [info["illegal_action"] for info in infos if "illegal_action" in info]
            metrics = sample_metrics(
                sample,
                events if all("events" in info for info in infos) else None,
                sum(refused) if len(refused) == len(infos) else None,
            )
            found[agent] = with_metrics(sample, metrics)
        return found
