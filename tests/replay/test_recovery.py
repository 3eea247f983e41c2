"""After a kill, a lost manifest, a damaged file: what is whole comes back, loss is told."""

import contextlib
import json
import os
import shutil

import pytest
from capture_toys import life
from cli_runs import refusal, townlet
from killed import DyingDisk, Killed

from townlet_replay.errors import CaptureError, DiskError
from townlet_replay.leftovers import capture_leftovers, final_name
from townlet_replay.manifest import load_capture
from townlet_replay.npz_reader import decode_npz
from townlet_replay.packing import read_directory
from townlet_replay.recovery import recover_capture
from townlet_replay.sample import with_meta
from townlet_replay.sidecar import CaptureMetadata
from townlet_replay.writer import CaptureWriter, WriterSettings

MANIFEST, METRICS = "rollout_sample_manifest.json", "rollout_sample_metrics.json"
ANNA, BEN = "rollout_sample_anna_001", "rollout_sample_ben_001"


def files(path):
    return {p.name: p.read_bytes() for p in path.iterdir() if not p.name.endswith(".lock")}


def write(path, episodes=3, agents=("anna", "ben"), **settings):
    metadata = CaptureMetadata(scenario_name="queue_conflict", seed=3)
    with CaptureWriter(path, WriterSettings(metadata=metadata, **settings)) as writer:
        for episode in range(episodes):
            samples = [life(agent, episode, rows=3) for agent in agents]
            writer.write_episode([with_meta(s, capture_metadata=metadata) for s in samples])


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound")
    write(path)
    return path


@pytest.fixture
def capture(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "capture")


def samples_of(path):
    return {(s.meta.agent_id, s.meta.episode_id) for s in load_capture(path)}


def test_a_sound_capture_stays_as_it_is(capture):
    before = files(capture)
    done = recover_capture(capture)
    assert (done.changed, done.found, done.lost) == (False, (), ())
    assert files(capture) == before
    ran = townlet("captures", "recover", capture)
    assert (ran.code, ran.out) == (0, f"{capture / MANIFEST}: 6 samples, 18 rows, nothing to do\n")


@pytest.mark.parametrize("gone", [(MANIFEST,), (MANIFEST, METRICS), (METRICS,)])
def test_summaries_come_back_to_the_byte(capture, sound, gone):
    for name in gone:
        (capture / name).unlink()
    ran = townlet("captures", "recover", capture, "--json")
    assert ran.code == 0
    assert ran.json["samples"] == 6
    assert len(ran.json["found"]) == (6 if MANIFEST in gone else 0)
    assert files(capture) == files(sound)


def test_a_damaged_manifest_is_rebuilt_and_told(capture, sound):
    content = (capture / MANIFEST).read_bytes()
    (capture / MANIFEST).write_bytes(content.replace(b"queue", b"quaue"))
    assert "altered since it was written" in refusal("captures", "validate", capture)
    ran = townlet("captures", "recover", capture)
    assert ran.code == 3
    assert f"lost: {capture / MANIFEST}: altered since it was written" in ran.out
    assert files(capture) == files(sound)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", [f"{ANNA}.npz", f"{ANNA}.json"])
@pytest.mark.parametrize("spoil", [cut, alter, os.unlink])
def test_one_sample_is_lost_by_name_and_the_others_stay(capture, name, spoil):
    spoil(capture / name)
    ran = townlet("captures", "validate", capture, "--json")
    assert ran.code == 3
    assert [d["file"] for d in ran.json["damaged"]] == [f"{ANNA}.npz"]
    assert (ran.json["ok"], ran.json["samples"], ran.json["rows"]) == (False, 5, 15)
    with pytest.raises(CaptureError, match=name):
        list(load_capture(capture))
    skipping = load_capture(capture, skip_damaged=True)
    assert [d.file for d in skipping.damaged] == [f"{ANNA}.npz"]
    assert len(list(skipping)) == 5
    ran = townlet("captures", "recover", capture)
    assert ran.code == 3
    assert f"{capture / name}" in ran.out
    assert samples_of(capture) == {(a, e) for a in ("anna", "ben") for e in range(3)} - {
        ("anna", 1)
    }
    assert townlet("captures", "validate", capture).code == 0
    assert capture_leftovers(load_capture(capture)) == [
        f"{ANNA}.{end}" for end in ("json", "npz") if (capture / f"{ANNA}.{end}").exists()
    ]


def test_an_altered_pair_is_not_taken_for_a_found_one(capture, tmp_path):
    """Somebody replaced a sample and its sidecar by others that agree with each other."""
    write(tmp_path / "other", episodes=2, agents=("anna",))
    for end in ("npz", "json"):
        shutil.copy(
            tmp_path / "other" / f"rollout_sample_anna_000.{end}", capture / f"{ANNA}.{end}"
        )
    done = recover_capture(capture)
    assert [damage.file for damage in done.lost] == [f"{ANNA}.npz"]
    assert done.found == ()


def test_damage_is_found_down_to_the_array(capture):
    path = capture / f"{ANNA}.npz"
    content = bytearray(path.read_bytes())
    at = content.index(b"rewards.npy") + 60
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=r"altered since .* \(damaged: rewards\)$"):
        list(load_capture(capture))


def test_damage_is_found_down_to_the_packed_array(tmp_path):
    writer = CaptureWriter(tmp_path, WriterSettings(mode="packed"))
    writer.write_episode([life("anna", rows=400)])
    path = tmp_path / "rollout_sample_anna_000.npz"
    sound = path.read_bytes()
    directory, arrays = read_directory(decode_npz(sound, "file")["packed"])
    at = sound.index(arrays)
    for name, entry in directory.items():
        content = bytearray(sound)
        content[at + entry.stored // 2] ^= 1
        at += entry.stored
        path.write_bytes(content)
        with pytest.raises(CaptureError, match=rf"altered since .* \(damaged: {name}\)$"):
            list(load_capture(tmp_path))


def test_nothing_whole_is_an_error(capture, tmp_path):
    for path in capture.glob("*.npz"):
        cut(path)
    ran = townlet("captures", "validate", capture)
    assert (ran.code, ran.out) == (1, "")
    assert "no sample can be read; the first: " in ran.err
    assert "no sample is whole; the first: " in refusal("captures", "recover", capture)
    assert "no file of a capture is here" in refusal("captures", "recover", tmp_path)
    assert "expected the directory" in refusal("captures", "recover", tmp_path / "nowhere")


def killed_points(path, monkeypatch, work):
    """Do the work on copies of a directory, dying at each call in turn; yield what is left."""
    for dies_at in range(1000):
        copy = shutil.copytree(path, path.parent / f"dies-at-{dies_at}")
        with monkeypatch.context() as patch:
            disk = DyingDisk(patch, dies_at)
            with contextlib.suppress(Killed):
                work(copy)
        for lock in copy.glob(".*.lock"):
            lock.unlink()  # of the writer of this very process
        yield copy, disk.died
        if not disk.died:
            return


def test_killed_at_any_call_of_a_further_episode(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    points = 0
    for path, died in killed_points(tmp_path / "empty", monkeypatch, write):
        points += 1
        names = files(path)
        whole = samples_of(path) if MANIFEST in names else set()
        acknowledged = {(a, e) for a, e in whole}
        assert len(whole) % 2 == 0  # all of an episode or nothing of it
        assert died or len(whole) == 6
        if not names or all(name.startswith(".") and "npz" not in name for name in names):
            continue
        with contextlib.suppress(CaptureError):  # no sample was whole yet
            done = recover_capture(path)
            assert samples_of(path) >= acknowledged
            left = capture_leftovers(load_capture(path))
            assert not [name for name in left if name.startswith(".")]
            # Whatever was begun is in the capture now, or told to be lost.
            begun = {final_name(n).replace(".json", ".npz") for n in names if "_00" in n}
            lost = {damage.file for damage in done.lost}
            assert begun == lost | {e.sample for e in load_capture(path).manifest.samples}
            assert lost >= {name.replace(".json", ".npz") for name in left}
        with CaptureWriter(path, WriterSettings(overwrite=True)) as writer:
            writer.write_episode([life("cleo")])
        assert sorted(files(path)) == [
            "rollout_sample_cleo_000.json",
            "rollout_sample_cleo_000.npz",
            MANIFEST,
            METRICS,
        ]
    assert points > 30


def test_killed_at_any_call_while_overwriting(sound, tmp_path, monkeypatch):
    def overwrite(path):
        write(path, episodes=1, agents=("anna", "cleo"), overwrite=True)

    shutil.copytree(sound, tmp_path / "old")
    old, new = samples_of(sound), {("anna", 0), ("cleo", 0)}
    seen = []
    for path, _ in killed_points(tmp_path / "old", monkeypatch, overwrite):
        if (path / MANIFEST).exists():
            before = samples_of(path)
            assert before in (old, new)
        done = recover_capture(path)
        assert samples_of(path) in (old, new)
        assert done.found == ()
        seen.append(samples_of(path))
        assert townlet("captures", "validate", path).code == 0
        assert capture_leftovers(load_capture(path)) == []
    assert seen == sorted(seen, key=len, reverse=True)  # first the old one, then the new one
    assert {len(samples) for samples in seen} == {6, 2}


def test_a_recording_without_a_manifest_is_not_written_over(capture, sound):
    (capture / MANIFEST).unlink()
    with pytest.raises(CaptureError, match=r"without a manifest, left by a recording .* recover"):
        CaptureWriter(capture)
    recover_capture(capture)
    assert files(capture) == files(sound)


def test_the_prefix_is_found_from_sidecars_or_asked_for(tmp_path):
    for prefix, agent in (("run_1", "anna_b"), ("other", "ben")):
        with CaptureWriter(tmp_path, WriterSettings(prefix=prefix)) as writer:
            writer.write_episode([life(agent)])
    assert "2 captures here (other, run_1)" in refusal("captures", "recover", tmp_path)
    for name in (MANIFEST, METRICS):
        (tmp_path / name.replace("rollout_sample", "run_1")).unlink()
    assert townlet("captures", "recover", tmp_path, "--prefix", "run_1").code == 0
    for name in ("other", "run_1"):
        (tmp_path / f"{name}_manifest.json").unlink()
        (tmp_path / f"{name}_metrics.json").unlink()
    for path in tmp_path.glob("other*"):
        path.unlink()
    assert recover_capture(tmp_path).found == ("run_1_anna_b_000.npz",)


def test_leftovers_of_others_are_not_touched(tmp_path):
    for prefix, agent in (("run", "anna"), ("run_b", "anna")):
        with CaptureWriter(tmp_path, WriterSettings(prefix=prefix)) as writer:
            writer.write_episode([life(agent)])
    for name in ("run_anna_007.npz", "run_b_anna_007.npz", ".run_b_x_000.json.tmp", "run_a.npz"):
        (tmp_path / name).write_bytes(b"x")
    assert capture_leftovers(load_capture(tmp_path / "run_manifest.json")) == ["run_anna_007.npz"]
    assert capture_leftovers(load_capture(tmp_path / "run_b_manifest.json")) == []  # or are they?
    with CaptureWriter(tmp_path, WriterSettings(prefix="run", overwrite=True)) as writer:
        writer.write_episode([life("zoe")])
    assert {p.name for p in tmp_path.glob("run_*.npz")} == {
        "run_a.npz",
        "run_b_anna_000.npz",
        "run_b_anna_007.npz",
        "run_zoe_000.npz",
    }


def test_a_capture_that_is_being_written_is_left_alone(tmp_path):
    with CaptureWriter(tmp_path) as writer:
        writer.write_episode([life()])
        with pytest.raises(DiskError, match="another writer"):
            recover_capture(tmp_path)


@pytest.mark.parametrize("name", ["../precious.npz", "/etc/passwd", "rollout_sample_anna_009.npz"])
def test_a_waiting_manifest_that_lies_is_not_put_in_force(capture, sound, name):
    (capture.parent / "precious.npz").write_bytes(b"mine")
    manifest = json.loads((capture / MANIFEST).read_text())
    del manifest["sha256"]
    manifest["samples"][0]["sample"] = name
    (capture / f".{MANIFEST}.tmp").write_text(json.dumps(manifest))
    done = recover_capture(capture)
    assert (done.changed, done.lost) == (True, ())
    assert files(capture) == files(sound)
    assert (capture.parent / "precious.npz").read_bytes() == b"mine"


def test_a_waiting_manifest_that_is_older_is_not_put_in_force(tmp_path):
    """A disk that failed while a manifest was written may have kept it, and gone on afterwards."""
    write(tmp_path / "one", episodes=1)
    write(tmp_path / "c")
    before = files(tmp_path / "c")
    (tmp_path / "c" / f".{MANIFEST}.tmp").write_bytes((tmp_path / "one" / MANIFEST).read_bytes())
    recover_capture(tmp_path / "c")
    assert files(tmp_path / "c") == before


@pytest.mark.parametrize("lost", [f"{ANNA}.npz", "rollout_sample_ben_002.npz"])
def test_a_capture_whose_manifest_has_a_journal(tmp_path, monkeypatch, lost):
    monkeypatch.setattr("townlet_replay.writer.SHORT", 2)
    monkeypatch.setattr("townlet_replay.writer.CaptureWriter.close", lambda writer: None)
    write(tmp_path, episodes=5)  # and never closed
    assert list(tmp_path.glob("*_journal.ndjson"))
    whole = samples_of(tmp_path)
    (tmp_path / lost).unlink()
    done = recover_capture(tmp_path)
    assert [damage.file for damage in done.lost] == [lost]
    assert len(samples_of(tmp_path)) == len(whole) - 1
    assert not list(tmp_path.glob("*_journal.ndjson"))
    assert townlet("captures", "validate", tmp_path).code == 0
