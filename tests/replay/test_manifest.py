"""A capture on disk: names, digests, order of writing, replacing, what a failure leaves."""

import hashlib
import json
import os

import pytest
from capture_toys import life, replay_samples, texts, with_metrics
from forged_captures import read_json
from hypothesis import given, settings
from hypothesis import strategies as st

from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.manifest import load_capture
from townlet_replay.safe_files import write_files
from townlet_replay.sample import same_sample, with_meta
from townlet_replay.sidecar import CaptureMetadata
from townlet_replay.writer import CaptureWriter, WriterSettings, agent_slug


def files(path):
    return {p.name: p.read_bytes() for p in path.iterdir() if not p.name.endswith(".lock")}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(replay_samples(), min_size=1, max_size=3), min_size=1, max_size=3), st.data()
)
def test_a_capture_is_what_was_written(tmp_path_factory, episodes, data):
    directory = tmp_path_factory.mktemp("capture")
    writer = CaptureWriter(directory, WriterSettings(compress=data.draw(st.booleans())))
    written = []
    for samples in episodes:
        written += [with_metrics(sample) for sample in samples]
        writer.write_episode(written[-len(samples) :])
    capture = load_capture(directory)
    assert len(capture) == len(written)
    for sample, expected in zip(capture, written, strict=True):
        assert same_sample(sample, expected)
        assert sample.meta.metrics == expected.meta.metrics


def test_names_and_digests(tmp_path):
    CaptureWriter(tmp_path, WriterSettings(prefix="run")).write_episode(
        [life("anna", 0, tags=("a",)), life("ben", 0), life("anna", 1)]
    )
    names = {
        f"run_{agent}.{end}"
        for agent in ("anna_000", "anna_001", "ben_000")
        for end in ("npz", "json")
    }
    assert {p.name for p in tmp_path.iterdir()} == names | {"run_manifest.json", "run_metrics.json"}
    manifest = json.loads((tmp_path / "run_manifest.json").read_text())
    assert manifest["schema_version"] == "1.2"
    entry = manifest["samples"][0]
    sidecar = json.loads((tmp_path / "run_anna_000.json").read_text())
    assert list(entry) == [
        "sample",
        "meta",
        "agent_id",
        "episode_id",
        "rows",
        "return",
        "sha256",
        "meta_sha256",
        "tags",
    ]
    npz = (tmp_path / "run_anna_000.npz").read_bytes()
    assert entry["sha256"] == sidecar["digests"]["npz"] == hashlib.sha256(npz).hexdigest()
    assert entry["return"] == sidecar["metrics"]["reward_sum"]
    assert (entry["rows"], entry["tags"]) == (5, ["a"])
    assert str(tmp_path) not in (tmp_path / "run_manifest.json").read_text()


@pytest.mark.parametrize("compress", [True, False])
def test_the_same_rows_give_the_same_bytes(tmp_path, compress):
    for name in ("one", "two"):
        writer = CaptureWriter(tmp_path / name, WriterSettings(compress=compress))
        writer.write_episode([life("anna"), life("ben", seed=2)])
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_earlier_episodes_stay_as_they_are(tmp_path):
    writer = CaptureWriter(tmp_path)
    writer.write_episode([life("anna", 0)])
    before = files(tmp_path)
    writer.write_episode([life("anna", 1)])
    after = files(tmp_path)
    assert {n for n in before if before[n] != after[n]} == {
        "rollout_sample_manifest.json",
        "rollout_sample_metrics.json",
    }
    assert [e.episode_id for e in load_capture(tmp_path).manifest.samples] == [0, 1]
    assert writer.episodes == 2
    totals = load_capture(tmp_path).metrics.totals
    assert (totals.samples, totals.timesteps) == (2, 10)


def test_any_prefix_and_the_manifest_itself_open(tmp_path):
    metadata = CaptureMetadata(scenario_name="queue_conflict")
    CaptureWriter(tmp_path, WriterSettings(prefix="x-1", metadata=metadata)).write_episode([life()])
    for path in (tmp_path, str(tmp_path), tmp_path / "x-1_manifest.json"):
        capture = load_capture(path)
        assert (capture.prefix, capture.directory) == ("x-1", tmp_path)
        assert capture.manifest.metadata == metadata


@pytest.mark.parametrize("prefix", ["", "../x", "a/b", "-x", "x" * 65, "a b", ".x"])
def test_prefixes_that_cannot_begin_a_name(tmp_path, prefix):
    with pytest.raises(CaptureError, match="cannot begin a file name"):
        CaptureWriter(tmp_path / "c", WriterSettings(prefix=prefix))
    assert not (tmp_path / "c").exists()


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, min_size=2, max_size=6, unique=True))
def test_any_agent_id_has_a_file_name_of_its_own(ids):
    names = [agent_slug(i) for i in ids]
    assert len({name.casefold() for name in names}) == len(ids)
    assert all(
        name and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for name in names
    )
    assert all(len(name) < 60 for name in names)


def test_ids_that_differ_in_case_only(tmp_path):
    assert agent_slug("agent_0") == "agent_0"
    assert agent_slug("Anna") != agent_slug("ANNA") != agent_slug("anna") == "anna"
    CaptureWriter(tmp_path).write_episode([life("../../etc/passwd"), life("anna"), life("Anna")])
    assert [s.meta.agent_id for s in load_capture(tmp_path)] == ["../../etc/passwd", "anna", "Anna"]


def test_a_capture_is_not_overwritten_by_accident(tmp_path):
    CaptureWriter(tmp_path).write_episode([life()])
    before = files(tmp_path)
    with pytest.raises(CaptureError, match=r"there is a capture already; .*overwrite=True"):
        CaptureWriter(tmp_path)
    CaptureWriter(tmp_path, WriterSettings(prefix="other")).write_episode([life()])
    assert before.items() <= files(tmp_path).items()


def test_overwriting_waits_for_the_first_new_episode(tmp_path):
    CaptureWriter(tmp_path).write_episode([life("anna"), life("zoe")])
    (tmp_path / "notes.txt").write_text("mine")
    before = files(tmp_path)
    writer = CaptureWriter(tmp_path, WriterSettings(overwrite=True))
    assert files(tmp_path) == before
    writer.write_episode([])
    assert files(tmp_path) == before
    writer.write_episode([life("ben", rows=2)])
    assert set(files(tmp_path)) == {
        "notes.txt",
        "rollout_sample_ben_000.npz",
        "rollout_sample_ben_000.json",
        "rollout_sample_manifest.json",
        "rollout_sample_metrics.json",
    }
    assert [s.meta.agent_id for s in load_capture(tmp_path)] == ["ben"]


@pytest.mark.parametrize("place", ["the first write", "the last sync before the old one goes"])
def test_a_full_disk_while_overwriting_leaves_the_old_capture(tmp_path, monkeypatch, place):
    CaptureWriter(tmp_path).write_episode([life("anna"), life("zoe")])
    before = files(tmp_path)
    writer = CaptureWriter(tmp_path, WriterSettings(overwrite=True))
    fsync, syncs = os.fsync, iter(range(0 if place == "the first write" else 3))

    def full(handle):
        if next(syncs, None) is None:
            raise OSError(28, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)  # two files, metrics, manifest: the fourth is the last
        with pytest.raises(DiskError, match="No space left on device"):
            writer.write_episode([life("ben", rows=2)])
    assert files(tmp_path) == before
    assert [sample.meta.agent_id for sample in load_capture(tmp_path)] == ["anna", "zoe"]
    writer.write_episode([life("ben", rows=2)])
    assert [sample.meta.agent_id for sample in load_capture(tmp_path)] == ["ben"]


def test_overwriting_removes_nothing_that_it_cannot_read(tmp_path):
    CaptureWriter(tmp_path).write_episode([life()])
    path = tmp_path / "rollout_sample_manifest.json"
    manifest = read_json(path)
    manifest["samples"][0]["meta"] = "../precious.json"
    path.write_text(json.dumps(manifest))
    with pytest.raises(CaptureError, match="not a plain relative path"):
        CaptureWriter(tmp_path, WriterSettings(overwrite=True))


def test_a_sample_without_metrics_is_not_written(tmp_path):
    writer = CaptureWriter(tmp_path / "c")
    with pytest.raises(CaptureError, match="has no metrics"):
        writer.write_episode([life("ben"), with_meta(life(), metrics=None)])
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("syncs", range(6))
def test_a_full_disk_leaves_the_episodes_before(tmp_path, monkeypatch, syncs):
    """Two files and the directory, then metrics, manifest and the directory are synced."""
    writer = CaptureWriter(tmp_path)
    writer.write_episode([life("anna", 0)])
    fsync, left = os.fsync, iter(range(syncs))

    def full(handle):
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CaptureError, match="No space left on device"):
            writer.write_episode([life("ben", 1)])
    agents = [sample.meta.agent_id for sample in load_capture(tmp_path)]
    assert agents == (["anna", "ben"] if syncs == 5 else ["anna"])
    assert not list(tmp_path.glob(".*.tmp"))
    writer.write_episode([life("ben", 1)])  # the disk has room again
    assert [sample.meta.agent_id for sample in load_capture(tmp_path)] == ["anna", "ben"]


def test_killed_between_metrics_and_manifest(tmp_path):
    """The metrics file may know an episode more than the manifest, never one less."""
    writer = CaptureWriter(tmp_path)
    writer.write_episode([life("anna", 0)])
    manifest = (tmp_path / "rollout_sample_manifest.json").read_bytes()
    writer.write_episode([life("ben", 1)])
    writer.close()
    (tmp_path / "rollout_sample_manifest.json").write_bytes(manifest)
    capture = load_capture(tmp_path)
    assert [sample.meta.agent_id for sample in capture] == ["anna"]
    assert len(capture.metrics.samples) == 2
    CaptureWriter(tmp_path, WriterSettings(overwrite=True)).write_episode([life("cleo")])
    assert [sample.meta.agent_id for sample in load_capture(tmp_path)] == ["cleo"]


def test_writing_is_temporary_file_sync_rename_sync(tmp_path, monkeypatch):
    log = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda h: (log.append("sync"), fsync(h)))
    monkeypatch.setattr(
        os, "replace", lambda a, b: (log.append(os.path.basename(b)), replace(a, b))
    )
    write_files(tmp_path, {"a": b"1", "b": b"2"})
    assert log == ["sync", "sync", "a", "b", "sync"]
    assert files(tmp_path) == {"a": b"1", "b": b"2"}


def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CaptureError, match="cannot write"):
        CaptureWriter(tmp_path / "file").write_episode([life()])
