"""Splits: a partition, whole units, shares as asked, the same seed the same parts."""

import pytest
from capture_toys import life
from hypothesis import given
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.sample import same_sample, with_meta
from townlet_replay.tools.derived import write_captures
from townlet_replay.tools.splitting import _counts, split_capture, split_each
from townlet_replay.writer import CaptureWriter

EPISODES, AGENTS = 10, ("anna", "ben", "o'hara")


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    path = tmp_path_factory.mktemp("town")
    writer = CaptureWriter(path)
    for episode in range(EPISODES):
        writer.write_episode([life(agent, episode, rows=2) for agent in AGENTS])
    return load_capture(path)


def ids(derived):
    entries = [pick.capture.manifest.samples[pick.index] for pick in derived.picks]
    return [(entry.episode_id, entry.agent_id) for entry in entries]


@given(st.sampled_from(["episode", "agent", "sample"]), st.integers(0, 2**40))
def test_parts_are_a_partition_into_whole_units(town, by, seed):
    parts = split_capture(town, {"a": 0.5, "b": 0.25, "c": 0.25}, by=by, seed=seed)
    found = [pair for part in parts.values() for pair in ids(part)]
    assert sorted(found) == sorted((e, a) for e in range(EPISODES) for a in AGENTS)
    if by != "sample":
        place = {"episode": 0, "agent": 1}[by]
        units = [{pair[place] for pair in ids(part)} for part in parts.values()]
        assert sum(map(len, units)) == len(set.union(*units))
    for part in parts.values():
        assert [pick.index for pick in part.picks] == sorted(pick.index for pick in part.picks)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 200))
def test_shares_are_met_to_a_unit(weights, total):
    shares = [weight / sum(weights) for weight in weights]
    counts = _counts(shares, total)
    if total < len(shares):
        assert counts is None
        return
    assert sum(counts) == total
    assert min(counts) >= 1
    if all(share * total >= 1 for share in shares):
        for share, count in zip(shares, counts, strict=True):
            assert abs(share * total - count) < 1


def test_a_seed_is_a_draw(town):
    draws = [ids(split_capture(town, seed=seed)["validation"]) for seed in (1, 1, 2, 3)]
    assert len(draws[0]) == 2 * len(AGENTS)
    assert draws[0] == draws[1]
    assert draws[1] != draws[2] or draws[2] != draws[3]


def test_parts_are_captures(town, tmp_path):
    written = write_captures(split_capture(town, seed=5), tmp_path / "parts")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["train", "validation"]
    assert {name: len(part) for name, part in written.items()} == {"train": 24, "validation": 6}
    originals = {(s.meta.episode_id, s.meta.agent_id): s for s in town}
    for part in written.values():
        for sample in part:
            original = originals[sample.meta.episode_id, sample.meta.agent_id]
            assert same_sample(with_meta(sample, source=None), original)
            assert sample.meta.source.manifest_sha256 == town.digest


def test_nothing_is_written_where_one_folder_is_taken(town, tmp_path):
    CaptureWriter(tmp_path / "validation").write_episode([life()])
    with pytest.raises(CaptureError, match="there is a capture already"):
        write_captures(split_capture(town), tmp_path)
    assert not (tmp_path / "train").exists()


def test_each_unit_alone(town):
    agents = split_each(town, "agent")
    assert list(agents)[:2] == ["anna", "ben"]
    assert list(agents)[2].startswith("o-hara-")
    assert [{agent for _, agent in ids(part)} for part in agents.values()] == [
        {agent} for agent in AGENTS
    ]
    episodes = split_each(town, "episode")
    assert list(episodes) == [f"episode_{number:03d}" for number in range(EPISODES)]
    assert ids(episodes["episode_004"]) == [(4, agent) for agent in AGENTS]
    assert len(split_each(town, "sample")) == len(town)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": 0.5, "b": 0.4}, r"shares that sum to 1, found 0.5 \+ 0.4"),
        ({}, "shares that sum to 1, found none"),
        ({"a": 1.5, "b": -0.5}, "part a: expected a share above 0 and up to 1, found 1.5"),
        ({"a": float("nan")}, "part a: expected a share above 0 and up to 1, found nan"),
        ({"../a": 1.0}, "the part '../a' cannot name a folder"),
        ({str(i): 0.25 for i in range(4)}, "3 agents cannot be split into 4 parts"),
    ],
)
def test_what_cannot_be_split_is_refused(town, parts, message):
    with pytest.raises(CaptureError, match=message):
        split_capture(town, parts, by="agent")
