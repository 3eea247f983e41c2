"""Sidecars, manifests and paths that strangers made: each is one clear sentence."""

import json
import os

import pytest
from forged_captures import MANIFEST, METRICS, NPZ, SIDECAR, load_all, read_json, replace_files
from hostile_captures import JSON_FILES, PATHS

from townlet_replay.dataset import ReplayDataset, ReplayDatasetConfig
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import load_capture
from townlet_replay.safe_files import check_json, inside, read_bytes


@pytest.mark.parametrize("name", [MANIFEST, SIDECAR, METRICS])
@pytest.mark.parametrize("kind", JSON_FILES)
def test_hostile_json(capture, name, kind):
    if name == SIDECAR:
        replace_files(capture, sidecar=JSON_FILES[kind])
    else:
        (capture / name).write_bytes(JSON_FILES[kind])
    with pytest.raises(CaptureError) as caught:
        ReplayDataset(ReplayDatasetConfig.from_capture_dir(capture)).baselines()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_version_is_named(capture):
    manifest = read_json(capture / MANIFEST)
    (capture / MANIFEST).write_text(json.dumps({**manifest, "schema_version": "1.9"}))
    with pytest.raises(
        CaptureError, match=r"schema_version is '1.9', this Townlet reads '1.0' and '1.1'"
    ):
        load_capture(capture)


def test_json_that_is_fine():
    value = {"a": [1, -(2**63), 2**63 - 1, 0.5, None, True, '"[{\\"'], "[" * 99: {"b": {}}}
    assert check_json(json.dumps(value).encode(), "x") == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entry_point": "os:system"}, "entry_point: Extra inputs are not permitted"),
        ({"timesteps": 6}, "agent, episode and rows are"),
        ({"agent_id": "eve"}, "agent, episode and rows are"),
        ({"timesteps": "5"}, "timesteps: Input should be a valid integer"),
        ({"timesteps": True}, "timesteps: Input should be a valid integer"),
        ({"action_lookup": {"x": "wait"}}, "action_lookup"),
        ({"action_lookup": {"0": "wait", "00": "x", "1": "y", "2": "z"}}, "action_lookup"),
        ({"behaviour": {"kind": "ghost"}}, "behaviour.kind"),
        ({"action_dim": 0}, "action_dim"),
        ({"action_dim": 2**40}, "must name the ids"),
        ({"agent_id": None}, "agent_id"),
    ],
)
def test_sidecars_that_lie(capture, change, message):
    sidecar = {**read_json(capture / SIDECAR), **change}
    replace_files(capture, sidecar=json.dumps(sidecar).encode())
    with pytest.raises(CaptureError, match=message) as caught:
        load_all(capture)
    assert "rollout_sample_anna_000" in str(caught.value)


@pytest.mark.parametrize("name", [NPZ, SIDECAR])
def test_an_altered_file_is_named(capture, name):
    content = bytearray((capture / name).read_bytes())
    content[len(content) // 2] ^= 1
    (capture / name).write_bytes(content)
    with pytest.raises(CaptureError, match=rf"{name}: altered since it was recorded"):
        load_all(capture)


@pytest.mark.parametrize("name", [NPZ, SIDECAR])
def test_a_missing_file_is_named(capture, name):
    (capture / name).unlink()
    with pytest.raises(CaptureError, match=rf"{name}: the file is missing"):
        load_all(capture)
    with pytest.raises(CaptureError, match=rf"{name}: missing, but .*{MANIFEST} lists it"):
        ReplayDataset(ReplayDatasetConfig.from_capture_dir(capture))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 0}, "samples.0.rows"),
        ({"sha256": "x"}, "samples.0.sha256"),
        ({"return": "much"}, "samples.0.return"),
        ({"path": "x"}, "samples.0.path: Extra inputs"),
        ({"episode_id": -1}, "samples.0.episode_id"),
    ],
)
def test_manifests_that_lie(capture, change, message):
    manifest = read_json(capture / MANIFEST)
    manifest["samples"][0].update(change)
    (capture / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CaptureError, match=message):
        load_capture(capture)


def test_a_manifest_of_nothing_or_of_the_same_twice(capture):
    manifest = read_json(capture / MANIFEST)
    (capture / MANIFEST).write_text(
        json.dumps({**manifest, "samples": manifest["samples"][:1] * 2})
    )
    with pytest.raises(CaptureError, match="lists a sample twice"):
        load_capture(capture)
    (capture / MANIFEST).write_text(json.dumps({**manifest, "samples": []}))
    with pytest.raises(CaptureError, match="lists no samples"):
        load_capture(capture)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("field", ["sample", "meta"])
def test_paths_that_lead_out(capture, path, field):
    manifest = read_json(capture / MANIFEST)
    manifest["samples"][0][field] = path
    (capture / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CaptureError, match="not a plain relative path") as caught:
        load_all(capture)
    assert str(capture) in str(caught.value)


def test_links_are_not_followed(capture, tmp_path):
    outside = tmp_path / "outside.npz"
    outside.write_bytes((capture / NPZ).read_bytes())
    (capture / NPZ).unlink()
    (capture / NPZ).symlink_to(outside)
    with pytest.raises(CaptureError, match="symbolic link"):
        load_all(capture)
    with pytest.raises(CaptureError, match="cannot be opened"):
        read_bytes(capture / NPZ)
    (tmp_path / "elsewhere").mkdir()
    (capture / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CaptureError, match="symbolic link"):
        inside(capture, "sub/x.npz")
    (capture / "loop").symlink_to(capture / "loop")
    with pytest.raises(CaptureError, match=r"symbolic link|cannot be resolved"):
        inside(capture, "loop")
    (tmp_path / "door").symlink_to(capture)  # the user's own way to the capture
    assert inside(tmp_path / "door", MANIFEST).is_file()


def test_pipes_directories_and_giants(capture, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CaptureError, match="expected a regular file"):
        read_bytes(tmp_path / "pipe")  # and does not wait for a writer
    with pytest.raises(CaptureError, match="expected a regular file"):
        read_bytes(tmp_path)
    with (capture / MANIFEST).open("r+b") as file:
        file.truncate(3 * 2**30)  # sparse
    with pytest.raises(CaptureError, match=r"3221225472 bytes; at most 2147483648"):
        load_capture(capture)


def test_subdirectories_are_fine(capture):
    (capture / "a" / "b").mkdir(parents=True)
    (capture / NPZ).rename(capture / "a" / "b" / NPZ)
    manifest = read_json(capture / MANIFEST)
    manifest["samples"][0]["sample"] = f"a/b/{NPZ}"
    (capture / MANIFEST).write_text(json.dumps(manifest))
    assert load_all(capture) == [5, 5]
