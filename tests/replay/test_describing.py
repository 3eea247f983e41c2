"""Statistics of a capture: against NumPy, per agent, with what is unknown, and their picture."""

import numpy as np
import pytest
from capture_toys import OneShot, life
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.metrics import sample_metrics
from townlet_replay.recorder import RecordReplay
from townlet_replay.sample import with_meta
from townlet_replay.tools.derived import write_capture
from townlet_replay.tools.describing import QUANTILES, capture_statistics, choose, spread
from townlet_replay.tools.merging import merge_captures
from townlet_replay.tools.picture import MAX_AGENTS, plot_capture
from townlet_replay.writer import CaptureWriter

AGENTS = ("anna", "ben", "$o_1$")


@pytest.fixture
def town(tmp_path):
    writer = CaptureWriter(tmp_path / "town")
    for episode in range(5):
        samples = [life(agent, episode, rows=2 + episode, seed=len(agent)) for agent in AGENTS]
        if episode == 4:  # here somebody is late
            events = [{"event": "shift_late", "affordance": None, "value": 4.0}]
            samples[0] = with_meta(samples[0], metrics=sample_metrics(samples[0], events, 1))
        writer.write_episode(samples)
    return load_capture(tmp_path / "town")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_a_spread_is_numpys(values):
    found = spread(values)
    assert (found.samples, found.lowest, found.highest) == (len(values), min(values), max(values))
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert found.std == pytest.approx(np.std(values), rel=1e-9, abs=1e-6)
    assert found.quantiles == tuple(np.quantile(values, QUANTILES))


def test_metrics_of_all_samples_and_of_each_agent(town):
    found = capture_statistics(town)
    assert (found.samples, found.rows, found.episodes) == (15, 3 * (2 + 3 + 4 + 5 + 6), 5)
    assert list(found.agents) == list(AGENTS)
    samples = list(town)
    for agent in (None, *AGENTS):
        chosen = [s for s in samples if agent in (None, s.meta.agent_id)]
        spreads = found.metrics if agent is None else found.agents[agent]
        returns = [s.meta.metrics.reward_sum for s in chosen]
        assert spreads["reward_sum"] == spread(returns)
        chats = [float(np.count_nonzero(s.actions == 2)) for s in chosen]
        assert spreads["action_counts.chat"].mean == pytest.approx(np.mean(chats))
        assert spreads["action_counts.chat"].lowest == min(chats)
    assert found.metrics["late_shifts"].samples == 1
    assert "late_shifts" not in found.agents["ben"]
    assert "reward_component_sums" not in str(found)


def test_an_agent_that_never_did_it_has_a_zero(tmp_path):
    walking, standing = life("anna", rows=9, seed=1), life("ben", rows=1, seed=2)
    assert set(walking.actions) == {1, 2}
    assert set(standing.actions) == {2}
    CaptureWriter(tmp_path).write_episode([walking, standing])
    found = capture_statistics(load_capture(tmp_path))
    assert found.agents["ben"]["action_counts.move:north"] == spread([0])


def test_metrics_are_chosen_by_name_or_table(town):
    metrics = capture_statistics(town).metrics
    assert not any("." in name for name in choose(metrics, []))
    assert list(choose(metrics, ["action_counts", "timesteps"])) == [
        "timesteps",
        "action_counts.chat",
        "action_counts.move:north",
    ]
    assert list(choose(metrics, ["action_counts.chat"])) == ["action_counts.chat"]
    with pytest.raises(CaptureError, match="'reward_some'; did you mean 'reward_sum'"):
        choose(metrics, ["reward_some"])


def size_and_colours(path):
    with Image.open(path) as image:
        return image.size, len(image.convert("RGB").getcolors(1 << 24))


def test_a_picture_of_few_agents_and_of_many(town, tmp_path):
    plot_capture(town, tmp_path / "few.png")
    size, colours = size_and_colours(tmp_path / "few.png")
    assert size[0] > 1200
    assert colours > 50
    plot_capture(town, tmp_path / "again.png")
    assert (tmp_path / "few.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    CaptureWriter(tmp_path / "many").write_episode(
        [life(f"resident_{number}", rows=3 + number) for number in range(MAX_AGENTS + 1)]
    )
    plot_capture(load_capture(tmp_path / "many"), tmp_path / "many.png")
    assert size_and_colours(tmp_path / "many.png")[0] == size


def test_an_environment_without_ids_has_returns_and_lengths(tmp_path):
    env = OneShot(spaces.Box(-1, 1, (2,)), np.zeros(3, np.float32))
    with RecordReplay(env, tmp_path / "box") as recorder:
        recorder.reset()
        while recorder.agents:
            recorder.step({"solo": np.zeros(2, np.float32)})
    capture = load_capture(tmp_path / "box")
    assert capture_statistics(capture).metrics["reward_sum"].mean == 2
    plot_capture(capture, tmp_path / "box.png")
    assert size_and_colours(tmp_path / "box.png")[1] > 10


def forged(path, **changes):
    """A capture whose sidecar and summaries claim other metrics than its rows have."""
    sample = life()
    metrics = sample.meta.metrics.model_copy(update=changes)
    CaptureWriter(path).write_episode([with_meta(sample, metrics=metrics), life("ben")])
    return load_capture(path)


def test_numbers_beyond_all_measure_are_refused(tmp_path):
    capture = forged(tmp_path / "one", reward_sum=1e300)
    with pytest.raises(CaptureError, match="metrics too large to be summed up"):
        capture_statistics(capture)
    with pytest.raises(CaptureError, match=r"return 1e\+300 of rollout_sample_anna_000.npz is too"):
        plot_capture(capture, tmp_path / "one.png")
    other = forged(tmp_path / "two", reward_sum=1.7e308, timesteps=6)
    third = forged(tmp_path / "three", reward_sum=1.7e308)
    with pytest.raises(CaptureError, match="too large to be summed up"):
        write_capture(merge_captures([other, third]), tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_one_far_return_among_many_agents_is_drawn(tmp_path):
    near = [life(f"resident_{number}", rows=1) for number in range(MAX_AGENTS + 1)]
    metrics = near[0].meta.metrics.model_copy(update={"reward_sum": 1e15})
    CaptureWriter(tmp_path / "in").write_episode([with_meta(near[0], metrics=metrics), *near[1:]])
    plot_capture(load_capture(tmp_path / "in"), tmp_path / "far.png")
    assert size_and_colours(tmp_path / "far.png")[1] > 10
