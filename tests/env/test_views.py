"""The PettingZoo and Stable-Baselines3 faces: what they promise beyond the official checks."""

import pickle

import numpy as np
import pytest
from env.mortal import MORTAL
from keeping import stored_and_read
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from townlet_env import ActionError, ConfigError, ResetNeeded, SnapshotError, townlet_v0
from townlet_env.config.load import list_scenarios, load_scenario
from townlet_env.policies.policy import look
from townlet_env.sim.ids import Verb
from townlet_env.sim.random import episode_seed
from townlet_env.views.sb3 import make_vec_env
from townlet_env.views.spaces import OBSERVATION_VARIANTS as VARIANTS


def random_actions(rng, masks):
    return np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])


class TestParallel:
    def test_spaces_hold_what_is_observed(self):
        env = townlet_v0.parallel_env("kitchen_breakfast", details=True)
        observations, _ = env.reset(seed=3)
        for agent in env.agents:
            assert env.observation_space(agent).contains(observations[agent])
            assert list(observations[agent]) == ["map", "features", "action_mask"]

    def test_nothing_that_is_handed_out_is_changed_later(self):
        env = townlet_v0.parallel_env("queue_conflict", details=True)
        before, infos = env.reset(seed=3)
        kept = pickle.dumps((before, infos))
        for _ in range(20):
            env.step({"anna": 2, "ben": 3, "cleo": 1})
        assert pickle.dumps((before, infos)) == kept

    def test_compact_has_no_map(self):
        env = townlet_v0.parallel_env("queue_conflict", observation="compact")
        observations, _ = env.reset(seed=3)
        assert "map" not in observations["anna"]
        assert env.map_channels == ()

    def test_scripts_see_the_same_map_whatever_learners_see(self):
        envs = [townlet_v0.parallel_env("queue_conflict", observation=o) for o in VARIANTS]
        for env in envs:
            env.reset(seed=3)
            for action in range(20):
                env.step(dict.fromkeys(env.agents, action % 5))
        maps = [look(env.batch, 0, 1).map for env in envs]
        assert all(np.array_equal(seen[:4], maps[0]) for seen in maps)
        assert len({env.state_digest() for env in envs}) == 1

    def test_missing_and_illegal_orders_act_as_wait(self):
        env, other = (townlet_v0.parallel_env("queue_conflict") for _ in range(2))
        env.reset(seed=3)
        other.reset(seed=3)
        start = env.action_lookup
        illegal = next(a for a, name in start.items() if name == "start:rest_sleep")
        *_, infos = env.step({"anna": illegal, "ben": None, "cleo": 10**30})
        other.step({"anna": 0, "ben": 0, "cleo": 0})
        assert [infos[a]["illegal_action"] for a in ("anna", "ben", "cleo")] == [1, 1, 1]
        # The one thing they leave behind: the residents know that it did not work.
        assert env.batch.worlds["last_success"][0, :3].tolist() == [0, 0, 0]
        env.batch.worlds["last_success"][0, :3] = 1
        assert env.state_digest() == other.state_digest()

    @pytest.mark.parametrize("action", [1.5, "0", [1], np.float32(2)])
    def test_an_action_that_is_no_number_of_one_is_refused(self, action):
        env = townlet_v0.parallel_env("queue_conflict")
        env.reset(seed=3)
        before = env.state_digest()
        with pytest.raises(
            ActionError, match=f"anna: expected an action id from 0 to {len(env.action_lookup) - 1}"
        ):
            env.step({"anna": action})
        assert env.state_digest() == before

    def test_strangers_are_refused_by_name(self):
        env = townlet_v0.parallel_env("queue_conflict")
        env.reset(seed=3)
        with pytest.raises(ActionError, match="unknown resident 'ana'; did you mean 'anna'"):
            env.step({"ana": 0})

    def test_step_needs_a_live_episode(self):
        env = townlet_v0.parallel_env("queue_conflict", max_ticks=1)
        with pytest.raises(ResetNeeded):
            env.step({})
        env.reset()
        env.step({"anna": 0, "ben": 0, "cleo": 0})
        with pytest.raises(ResetNeeded):
            env.step({})

    def test_episodes_without_a_seed_follow_the_last_seed(self):
        env, other = (townlet_v0.parallel_env("queue_conflict") for _ in range(2))
        env.reset(seed=9)
        env.reset()
        other.reset(seed=episode_seed(9, 1))
        assert env.state_digest() == other.state_digest()

    def test_clone_and_state_go_on_as_the_original(self):
        env = townlet_v0.parallel_env("rivalry_decay")
        env.reset(seed=4)
        rng = np.random.default_rng(0)
        step = lambda e: e.step(  # noqa: E731
            {a: int(rng.choice(np.flatnonzero(m))) for a, m in e.action_masks().items()}
        )
        for _ in range(30):
            step(env)
        twin, saved = env.clone(), stored_and_read(env.get_state())
        orders = [
            {a: int(rng.choice(np.flatnonzero(m))) for a, m in env.action_masks().items()}
            for _ in range(40)
        ]
        trail = [(env.step(o)[1], env.state_digest()) for o in orders]
        assert [(twin.step(o)[1], twin.state_digest()) for o in orders] == trail
        env.set_state(saved)
        assert [(env.step(o)[1], env.state_digest()) for o in orders] == trail

    def test_a_state_of_another_scenario_is_refused(self):
        env, other = (townlet_v0.parallel_env(name) for name in ("queue_conflict", "rivalry_decay"))
        env.reset(seed=1)
        with pytest.raises(SnapshotError, match="another scenario"):
            other.set_state(env.get_state())

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"observation": "hybird"}, "did you mean 'hybrid'"),
            ({"mask": "infos"}, "did you mean 'info'"),
            ({"render_mode": "ascii"}, "did you mean .ansi."),
            ({"scenario": "queue_conflct"}, "did you mean 'queue_conflict'"),
            ({"quues": {}}, "did you mean 'queues'"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            townlet_v0.parallel_env(**settings)

    def test_components_sum_to_the_reward(self):
        env = townlet_v0.parallel_env("kitchen_breakfast", details=True)
        env.reset(seed=2)
        rng = np.random.default_rng(1)
        for _ in range(60):
            actions = {a: int(rng.choice(np.flatnonzero(m))) for a, m in env.action_masks().items()}
            _, rewards, _, _, infos = env.step(actions)
            for agent, reward in rewards.items():
                assert abs(infos[agent]["reward_components"].sum() - reward) < 1e-6


class TestVecEnv:
    def test_slots_equal_the_parallel_view(self):
        """World w of the VecEnv is the PettingZoo world of seed + w, through resets."""
        worlds, ticks = 3, 130
        venv = make_vec_env("queue_conflict", worlds, seed=20)
        singles = [townlet_v0.parallel_env("queue_conflict") for _ in range(worlds)]
        seen = venv.reset()
        first = [env.reset(seed=20 + w)[0] for w, env in enumerate(singles)]
        rng = np.random.default_rng(0)
        agents = singles[0].possible_agents
        for tick in range(ticks):
            for w, observations in enumerate(first):
                for k, agent in enumerate(agents):
                    slot = w * len(agents) + k
                    for key in ("map", "features"):
                        assert np.array_equal(seen[key][slot], observations[agent][key])
            actions = random_actions(rng, venv.env_method("action_masks"))
            seen, rewards, dones, infos = venv.step(actions)
            first = []
            for w, env in enumerate(singles):
                chosen = actions[w * 3 : w * 3 + 3]
                stepped = env.step(dict(zip(agents, chosen.tolist(), strict=True)))
                assert [stepped[1][a] for a in agents] == rewards[w * 3 : w * 3 + 3].tolist()
                observations = stepped[0]
                if not env.agents:
                    assert tick == 119
                    for k, agent in enumerate(agents):
                        info = infos[w * 3 + k]
                        assert info["TimeLimit.truncated"] is True
                        terminal = info["terminal_observation"]
                        assert np.array_equal(terminal["features"], stepped[0][agent]["features"])
                    observations, _ = env.reset()
                first.append(observations)
            assert dones.all() == (tick == 119)

    def test_arrays_are_fresh(self):
        """Stable-Baselines3 keeps references: a reused buffer pairs obs[t + 1] with action[t]."""
        venv = make_vec_env("queue_conflict", 2)
        kept = [venv.reset()]
        copies = [{key: part.copy() for key, part in kept[0].items()}]
        for _ in range(5):
            seen, rewards, *_ = venv.step(np.full(6, 2))
            assert rewards.flags.writeable
            kept.append(seen)
            copies.append({key: part.copy() for key, part in seen.items()})
        for old, copy in zip(kept, copies, strict=True):
            assert all(np.array_equal(old[key], copy[key]) for key in old)
        assert not np.shares_memory(kept[1]["map"], kept[2]["map"])

    def test_seed_starts_over(self):
        venv = make_vec_env("queue_conflict", 2)
        rng = np.random.default_rng(0)
        plans = rng.integers(0, 5, (30, 6))
        trails = []
        for _ in range(2):
            venv.seed(5)
            venv.reset()
            trails.append([venv.step(plan)[1].tolist() for plan in plans])
        assert trails[0] == trails[1]

    def test_attributes_that_ppo_asks_for(self):
        venv = make_vec_env("queue_conflict", 2)
        venv.reset()
        assert venv.get_attr("render_mode") == [None] * 6
        assert venv.has_attr("action_masks")
        assert not venv.has_attr("nonsense")
        assert np.stack(venv.env_method("action_masks")).shape == (6, venv.action_space.n)
        assert venv.env_is_wrapped(object) == [False] * 6
        with pytest.raises(AttributeError):
            venv.set_attr("x", 1)

    def test_learners_leave_the_others_to_their_scripts(self):
        venv = make_vec_env("queue_conflict", 2, learners=["ben"])
        assert venv.num_envs == 2
        venv.reset()
        for _ in range(3):
            venv.step(np.zeros(2, int))
        verbs = venv.lanes.batch.worlds["last_verb"][:, :3]
        assert (verbs[:, 1] == Verb.WAIT).all()
        assert (verbs[:, [0, 2]] != Verb.WAIT).all()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"num_worlds": 0}, "expected at least 1"),
            ({"learners": ["bem"]}, "did you mean 'ben'"),
            ({"learners": []}, "expected at least one resident"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            make_vec_env("queue_conflict", **settings)

    def test_a_checked_configuration_is_not_changed(self):
        config = load_scenario("queue_conflict")
        assert make_vec_env(config).config is config
        with pytest.raises(ConfigError, match="no further settings"):
            make_vec_env(config, ticks=3)

    @pytest.mark.parametrize(
        ("observation", "channels"), [("hybrid", 4), ("full", 12), ("compact", 0)]
    )
    def test_variants(self, observation, channels):
        venv = make_vec_env("shared_flat", 2, observation=observation, ticks=2)
        seen = venv.reset()
        assert seen.keys() == venv.observation_space.spaces.keys()
        for _ in range(2):
            seen, _, _, infos = venv.step(np.zeros(8, int))
        for slot in range(8):
            rows = {key: part[slot] for key, part in seen.items()}
            assert venv.observation_space.contains(rows)
            assert venv.observation_space.contains(infos[slot]["terminal_observation"])
        assert ("map" in seen) == bool(channels)
        assert len(venv.map_channels) == channels
        model = PPO("MultiInputPolicy", venv, n_steps=2, batch_size=8, n_epochs=1, seed=0)
        model.learn(16)

    def test_who_left_is_idle_and_done_again_when_somebody_comes(self):
        """By hand: the rows of one slot from an exit to the first step of the newcomer."""
        venv = make_vec_env("queue_conflict", 1, **MORTAL)
        venv.seed(1)
        venv.reset()
        rows = []
        for _ in range(60):
            seen, rewards, dones, infos = venv.step(np.zeros(3, int))
            rows.append((rewards, dones, infos, seen, venv.action_masks()))
        left = int(np.flatnonzero(np.stack([row[1] for row in rows]).any(axis=0))[0])
        dones = [bool(row[1][left]) for row in rows]
        gone = dones.index(True)
        came = dones.index(True, gone + 1)
        assert 1 <= came - gone <= 4
        assert rows[gone][0][left] == pytest.approx(-1.0, abs=0.2)  # the end of a life
        for t in (gone, came):
            assert rows[t][2][left]["TimeLimit.truncated"] is False
            assert not rows[t][2][left]["terminal_observation"]["features"].any()
        for t in range(gone, came):
            rewards, _, infos, _, _ = rows[t + 1]
            assert rewards[left] == 0.0
            assert infos[left]["active"] is False
            assert rows[t][4][left].sum() == 1
            assert not rows[t][3]["features"][left].any()
        assert rows[came][3]["features"][left].any()
        assert "active" not in rows[came + 1][2][left]

    def test_statistics_count_every_life(self):
        """With ``VecMonitor`` an idle stretch is an episode of reward 0, and no life leaks."""
        venv = VecMonitor(make_vec_env("queue_conflict", 1, **MORTAL))
        venv.seed(1)
        venv.reset()
        lives, running = [], np.zeros(3)
        for _ in range(200):
            _, rewards, dones, infos = venv.step(np.zeros(3, int))
            running += rewards
            for slot in np.flatnonzero(dones):
                assert infos[slot]["episode"]["r"] == pytest.approx(running[slot], abs=1e-4)
                lives.append(running[slot])
                running[slot] = 0.0
        assert len(lives) > 10
        assert 0.0 in lives

    @pytest.mark.parametrize("scenario", list_scenarios())
    def test_maskable_ppo_learns_and_evaluates_without_an_illegal_action(self, scenario):
        venv = make_vec_env(scenario, 2)
        model = MaskablePPO("MultiInputPolicy", venv, n_steps=16, batch_size=16, n_epochs=1, seed=0)
        illegal = []
        lanes, step = venv.lanes, venv.lanes.batch.step

        def watched(actions):
            taken = step(actions)
            illegal.append(int(taken.illegal.sum()))
            return taken

        lanes.batch.step = watched
        model.learn(64)
        assert illegal
        assert sum(illegal) == 0

    def test_plain_ppo_evaluates_to_the_end(self):
        venv = make_vec_env("observation_baseline", 2)
        model = PPO("MultiInputPolicy", venv, n_steps=8, batch_size=8, n_epochs=1, seed=0)
        with pytest.warns(UserWarning, match="not wrapped with a ``Monitor``"):
            mean, _ = evaluate_policy(model, venv, n_eval_episodes=2)
        assert np.isfinite(mean)
