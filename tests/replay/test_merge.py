"""Merges: nothing is lost, episodes stay apart, rows that do not belong together are refused."""

import dataclasses
import shutil

import numpy as np
import pytest
from capture_toys import LOOKUP, life, replay_samples, row_layouts, with_metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError
from townlet_replay.frames import Ending, Frame, SampleOrigin, frames_to_replay_sample
from townlet_replay.manifest import load_capture
from townlet_replay.sample import same_sample, with_meta
from townlet_replay.sidecar import CaptureMetadata, CaptureNames
from townlet_replay.tools.derived import write_capture
from townlet_replay.tools.merging import common_metadata, merge_captures
from townlet_replay.tools.slicing import slice_capture
from townlet_replay.writer import CaptureWriter, WriterSettings


@st.composite
def pairs_of_captures(draw):
    """Samples of two captures of one layout; agents and numbers of episodes may be shared."""
    layout = draw(row_layouts())
    agents, episodes = st.sampled_from(["ana", "Ben", "cat 3"]), st.integers(0, 3)
    sample = st.builds(lambda *ids: ids, agents, episodes).flatmap(
        lambda ids: replay_samples(*ids, layout=layout)
    )
    lives = st.lists(sample.map(with_metrics), min_size=1, max_size=4)
    return draw(lives), draw(lives)


def capture_of(path, samples, **settings):
    CaptureWriter(path, WriterSettings(**settings)).write_episode(samples)
    return load_capture(path)


@settings(max_examples=40, deadline=None)
@given(pairs_of_captures(), st.booleans())
def test_the_first_of_two_is_found_again_in_their_merge(tmp_path_factory, pair, compress):
    path = tmp_path_factory.mktemp("merge")
    one, two = (capture_of(path / str(n), samples) for n, samples in enumerate(pair))
    assume(one.digest != two.digest)
    both = write_capture(merge_captures([one, two]), path / "both", compress=compress)
    episodes = {entry.episode_id for entry in one.manifest.samples}
    again = write_capture(slice_capture(both, episodes=episodes), path / "again")
    same_names = ("sample", "agent_id", "episode_id", "rows", "episode_return", "sha256", "tags")
    for left, right in zip(one.manifest.samples, again.manifest.samples, strict=True):
        assert [getattr(left, n) for n in same_names] == [getattr(right, n) for n in same_names]
    for sample, original in zip(again, one, strict=True):
        assert sample.meta.source.manifest_sha256 == one.digest
        assert same_sample(with_meta(sample, source=None), original)
    rest = [s for s in both if s.meta.episode_id not in episodes]
    for sample, original in zip(rest, two, strict=True):
        assert sample.meta.source.manifest_sha256 == two.digest
        back = with_meta(sample, source=None, episode_id=original.meta.episode_id)
        assert same_sample(back, original)


def test_episodes_move_only_where_they_clash(tmp_path):
    numbers = {"a": (0, 1), "b": (5, 7), "c": (1, 3), "d": (2, 4)}
    captures = [
        capture_of(tmp_path / name, [life("anna", episode) for episode in episodes])
        for name, episodes in numbers.items()
    ]
    merged = merge_captures(captures)
    assert [s.meta.episode_id for s in merged] == [0, 1, 5, 7, 8, 10, 2, 4]
    written = write_capture(merged, tmp_path / "merged")
    assert [s.meta.episode_id for s in written] == [0, 1, 5, 7, 8, 10, 2, 4]
    assert len({entry.sample for entry in written.manifest.samples}) == 8
    assert written.metrics.totals.samples == 8


def test_provenance_of_every_sample_and_what_all_agree_on(tmp_path):
    captures = []
    for seed in (3, 4):
        metadata = CaptureMetadata(
            seed=seed,
            scenario_name="day",
            policy_hash=f"hash of {seed}",
            versions={"numpy": "2", "townlet": f"0.{seed}"},
        )
        sample = with_meta(life("anna"), capture_metadata=metadata)
        captures.append(capture_of(tmp_path / str(seed), [sample], metadata=metadata))
    merged = write_capture(merge_captures(captures), tmp_path / "merged")
    assert [s.meta.capture_metadata.seed for s in merged] == [3, 4]
    assert [s.meta.capture_metadata.policy_hash for s in merged] == ["hash of 3", "hash of 4"]
    assert [s.meta.source.manifest_sha256 for s in merged] == [c.digest for c in captures]
    assert merged.manifest.metadata == CaptureMetadata(scenario_name="day", versions={"numpy": "2"})
    alone = captures[0].manifest.metadata
    assert common_metadata([alone]) == alone


def plain_life(agent, width, *, dtype=np.float32, lookup=LOOKUP):
    """Two rows of an environment without masks and names of columns."""
    rows = [
        Frame({"observation": np.full(width, t, dtype)}, 1, 0.5, False, False, t + 1)
        for t in range(2)
    ]
    origin = SampleOrigin(agent, 0, len(lookup), CaptureNames(lookup))
    ending = Ending({"observation": np.zeros(width, dtype)})
    return with_metrics(frames_to_replay_sample(rows, ending, origin))


def test_agents_of_one_environment_may_see_different_things(tmp_path):
    wolf, sheep = plain_life("wolf", 4), plain_life("sheep", 6)
    both = capture_of(tmp_path / "both", [wolf, sheep])
    wolves = capture_of(tmp_path / "wolves", [wolf, plain_life("wolf_2", 4)])
    flock = capture_of(tmp_path / "flock", [sheep])
    merged = write_capture(merge_captures([wolves, flock, both]), tmp_path / "merged")
    assert [s.meta.agent_id for s in merged] == ["wolf", "wolf_2", "sheep", "wolf", "sheep"]
    with pytest.raises(CaptureError, match=r"flock.*agent 'sheep' do not belong to those of .*wo"):
        merge_captures([wolves, flock])  # nothing says that they are of one environment
    changed = capture_of(tmp_path / "changed", [plain_life("wolf", 6)])
    with pytest.raises(
        CaptureError,
        match=r"changed.*agent 'wolf'.*observations.observation is 'float32\[6\]', expected 'flo",
    ):
        merge_captures([both, changed])


NAMES = life().meta


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            life(names=CaptureNames({0: "wait", 1: "go", 2: "chat"}, NAMES.feature_names)),
            r"action_lookup\.1 is 'go', expected 'move:north'",
        ),
        (
            life(names=CaptureNames(LOOKUP, ("a", "b", "rivalry_avoid_count", "d"))),
            r"feature_names\[1\] is 'b', expected 'rivalry_max'",
        ),
        (
            with_meta(life(), reward_components=("food",)),
            r"reward_components\[0\] is 'food', expected absent",
        ),
        (
            dataclasses.replace(life(), action_mask=None, extras={}),
            "having an action mask is False, expected True",
        ),
        (plain_life("anna", 4), "observations.features is absent, expected"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(tmp_path, other, message):
    one = capture_of(tmp_path / "one", [life()])
    two = capture_of(tmp_path / "two", [other])
    with pytest.raises(CaptureError, match=message):
        merge_captures([one, two])


def test_what_makes_no_merge_is_refused(tmp_path):
    one = capture_of(tmp_path / "one", [life()])
    with pytest.raises(CaptureError, match="expected at least two captures to merge, found 1"):
        merge_captures([one])
    again = load_capture(shutil.copytree(tmp_path / "one", tmp_path / "copy"))
    with pytest.raises(CaptureError, match=r"copy.*: the same capture as .*one/roll"):
        merge_captures([one, again])
    last = capture_of(tmp_path / "last", [life(episode=0), life(episode=2**63 - 1)])
    with pytest.raises(CaptureError, match="no room for them"):
        merge_captures([one, last])
