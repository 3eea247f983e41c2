"""Bundles: the same samples in fewer files, read as safely as files of their own."""

from __future__ import annotations

import contextlib
import struct
import zipfile

import pytest
from capture_toys import life
from cli_runs import townlet

from townlet_replay import bundle
from townlet_replay.bundle import Bundle, CaptureFiles, encode_bundle
from townlet_replay.errors import CaptureError
from townlet_replay.manifest import find_manifest, load_capture
from townlet_replay.record_settings import read_settings
from townlet_replay.recovery import recover_capture
from townlet_replay.sample import arrays_of, same_sample
from townlet_replay.writer import CaptureWriter, WriterSettings

FILES = {
    "a.npz": bytes(range(256)) * 3,
    "a.json": b'{"words": "words words words"}' * 9,
    "b.npz": b"",
}


def write(out, episodes=3, **settings):
    with CaptureWriter(out, WriterSettings(**settings)) as writer:
        for episode in range(episodes):
            writer.write_episode([life(agent, episode, rows=3) for agent in ("anna", "ben")])
    return load_capture(out)


@pytest.fixture
def bundled(tmp_path):
    return write(tmp_path / "bundled", bundle=True)


def test_a_bundle_is_a_zip_of_the_files(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(encode_bundle(FILES))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
    assert {name: Bundle(path).read(name) for name in Bundle(path).places} == FILES
    assert path.stat().st_size < sum(map(len, FILES.values())) + 400  # words were deflated


def test_a_bundle_that_somebody_zipped_again_is_read(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    assert {name: Bundle(path).read(name) for name in Bundle(path).places} == FILES


def test_unpacked_it_is_what_would_lie_side_by_side(tmp_path, bundled):
    loose = write(tmp_path / "loose")
    assert [path.name for path in sorted(bundled.directory.glob("*.zip"))] == [
        f"rollout_sample_bundle_{number:03d}.zip" for number in range(3)
    ]
    for path in bundled.directory.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                assert archive.read(name) == (loose.directory / name).read_bytes()
    assert all(same_sample(a, b) for a, b in zip(bundled, loose, strict=True))
    assert bundled.metrics.totals == loose.metrics.totals
    bundled.check_files()


def test_converting_puts_samples_into_bundles_and_takes_them_out(tmp_path, bundled):
    loose, again = tmp_path / "loose", tmp_path / "again"
    assert townlet("captures", "convert", bundled.directory, "--output", loose).code == 0
    assert not list(loose.glob("*.zip"))
    assert townlet("captures", "convert", loose, "--output", again, "--bundle").code == 0
    assert len(list(again.glob("*.zip"))) == 1
    for capture in (load_capture(loose), load_capture(again)):
        for one, other in zip(capture, bundled, strict=True):
            assert {k: v.tobytes() for k, v in arrays_of(one).items()} == {
                k: v.tobytes() for k, v in arrays_of(other).items()
            }


def test_capturing_in_bundles(tmp_path):
    words = ("capture", "queue_conflict", "--ticks", 20, "--episodes", 2, "--bundle")
    assert townlet(*words, "--output", tmp_path / "out").code == 0
    assert len(list((tmp_path / "out").glob("*_bundle_00?.zip"))) == 2
    assert townlet("captures", "validate", tmp_path / "out").code == 0
    sizes = townlet("captures", "sizes", tmp_path / "out", "--json").json
    on_disk = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert sum(sizes["fields"].values()) == on_disk


def test_large_ones_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "BUNDLE_BYTES", 1)
    capture = write(tmp_path / "cut", bundle=True)
    assert len(list(capture.directory.glob("*.zip"))) == len(capture) == 6
    assert [s.meta.agent_id for s in capture] == ["anna", "ben"] * 3


def test_a_flipped_bit_of_a_bundle_spoils_one_file_at_most(bundled):
    path = bundled.directory / "rollout_sample_bundle_001.zip"
    content, before = path.read_bytes(), list(bundled)
    refused = 0
    for at in range(0, len(content), 31):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        capture = load_capture(bundled.directory)
        lost = set(range(6))
        for index, sample in enumerate(before):
            with contextlib.suppress(CaptureError):
                assert same_sample(capture.sample(index), sample)
                lost.remove(index)
        assert lost <= {2} or lost <= {3}
        refused += len(lost)
    assert refused > len(content) // 31 * 0.8


def forged(count=1, size=None, header=b"PK\3\4", **changes):
    """A bundle of one empty file, whose table lies; its header may be no better."""
    facts = {"offset": 0, "stored": 0, "unpacked": 0, "method": 0, "flags": 0} | changes
    name = b"a.npz"
    local = struct.pack("<4s5H3I2H", header, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0) + name
    head = (20, 20, facts["flags"], facts["method"], 0, 33, 0, facts["stored"], facts["unpacked"])
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", *head, len(name), 0, 0, 0, 0, 0, facts["offset"])
    entries = (entry + name) * count
    size = len(entries) if size is None else size
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, len(local), 0)
    return local + entries + end


LIES = {
    "a name twice": ({"count": 2}, "twice there"),
    "an unknown method": ({"method": 99}, "twice there, or none of a bundle"),
    "encrypted": ({"flags": 1}, "twice there, or none of a bundle"),
    "beyond the file": ({"offset": 10**6}, "would not fit"),
    "larger than the file": ({"stored": 10**9}, "would not fit"),
    "larger than its content": ({"unpacked": 10**9}, "something else is in its place"),
    "more than there is": ({"size": 46, "count": 2}, "does not end as a bundle does"),
    "an offset into the middle": ({"offset": 3}, "something else is in its place"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_table_that_lies_is_not_believed(tmp_path, lie):
    changes, told = LIES[lie]
    (tmp_path / "x.zip").write_bytes(forged(**changes))
    assert CaptureFiles(tmp_path).read("x.zip/a.npz") == b""  # its own header is right
    (tmp_path / "y.zip").write_bytes(forged(header=b"PK\3\5", **changes))
    with pytest.raises(CaptureError, match=told):
        CaptureFiles(tmp_path).read("y.zip/a.npz")


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"PK\3\4", b"PK\5\6" + bytes(18)])
def test_what_is_no_bundle_is_refused(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(CaptureError, match=r"x\.zip: "):
        CaptureFiles(tmp_path).read("x.zip/a.npz")


def test_a_bomb_in_a_bundle_is_not_unpacked(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b" " * 10**8)
    with pytest.raises(CaptureError, match="at most 1000 bytes are read"):
        Bundle(path).read("a.json", 1000)
    forged = path.read_bytes().replace(struct.pack("<I", 10**8), struct.pack("<I", 9 * 10**4))
    path.write_bytes(forged)  # it was deflated to 97 KB
    with pytest.raises(CaptureError, match="not as it was put there"):
        Bundle(path).read("a.json", 10**5)


@pytest.mark.parametrize(
    "name", ["../x.zip/a.npz", "link.zip/a.npz", "x.zip/b.npz", "/x.zip/a.npz"]
)
def test_no_way_leads_out(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "x.zip").write_bytes(forged())
    (root / "x.zip").write_bytes(forged())
    (root / "link.zip").symlink_to(tmp_path / "x.zip")
    with pytest.raises(CaptureError):
        CaptureFiles(root).read(name)


def test_recovery_takes_a_bundle_that_nobody_names(tmp_path, bundled):
    whole = {path.name: path.read_bytes() for path in bundled.directory.iterdir()}
    find_manifest(bundled.directory).unlink()
    done = recover_capture(bundled.directory)
    assert len(done.found) == 6
    assert not done.lost
    assert {path.name: path.read_bytes() for path in bundled.directory.iterdir()} == whole


def test_recovery_tells_of_a_bundle_that_is_cut(tmp_path, bundled):
    path = bundled.directory / "rollout_sample_bundle_002.zip"
    at = path.read_bytes().index(b"rollout_sample_ben")
    path.write_bytes(path.read_bytes()[:at])
    ran = townlet("captures", "recover", bundled.directory)
    assert ran.code == 3
    assert "bundle_002.zip: rollout_sample_ben_002.json is missing" in ran.out
    found = [(s.meta.episode_id, s.meta.agent_id) for s in load_capture(bundled.directory)]
    assert found == [(0, "anna"), (0, "ben"), (1, "anna"), (1, "ben"), (2, "anna")]


def test_recovery_finishes_a_capture_whose_manifest_had_no_name_yet(tmp_path, bundled):
    whole = {path.name: path.read_bytes() for path in bundled.directory.iterdir()}
    for path in bundled.directory.iterdir():
        if path.suffix == ".zip" or path.name.endswith("manifest.json"):
            path.rename(path.with_name(f".{path.name}.tmp"))
    done = recover_capture(bundled.directory)
    assert done.changed
    assert not done.lost
    assert {path.name: path.read_bytes() for path in bundled.directory.iterdir()} == whole


def test_overwriting_takes_the_old_bundles_away(tmp_path, bundled):
    with CaptureWriter(bundled.directory, WriterSettings(overwrite=True, bundle=True)) as writer:
        writer.write_episode([life("anna", 0, rows=5)])
    assert [path.name for path in bundled.directory.glob("*.zip")] == [
        "rollout_sample_bundle_000.zip"
    ]
    assert [sample.rows for sample in load_capture(bundled.directory)] == [5]


def test_a_lost_bundle_is_told(tmp_path, bundled):
    (bundled.directory / "rollout_sample_bundle_001.zip").unlink()
    capture = load_capture(bundled.directory)
    with pytest.raises(
        CaptureError, match=r"bundle_001\.zip: the file is missing, but .*manifest\.json lists it"
    ):
        capture.check_files()


def test_bundles_and_a_limit_of_bytes_do_not_go_together():
    with pytest.raises(CaptureError, match="bundle and max_bytes"):
        read_settings({"bundle": True, "max_bytes": 10**6})
