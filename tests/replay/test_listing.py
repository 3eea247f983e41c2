"""Long manifests and metrics are read piece by piece, by the rules of short ones."""

import os
import tracemalloc

import pytest
from capture_toys import life

from townlet_replay import listing
from townlet_replay.entries import JournalLine, entry_of
from townlet_replay.errors import CaptureError
from townlet_replay.listing import digest_of, read_listing
from townlet_replay.manifest import Manifest, load_capture, load_manifest, summary_files
from townlet_replay.metrics import CaptureMetrics
from townlet_replay.safe_files import MAX_JSON_BYTES, sha256_of
from townlet_replay.sidecar import read_document, write_document

SAMPLE = life("anna")
FINISHES = {f"an_affordance_with_a_long_name_{k}": k for k in range(14)}
METRICS = SAMPLE.meta.metrics.model_copy(update={"affordance_finishes": FINISHES})
ENTRY = entry_of("x", SAMPLE.meta, METRICS, "0" * 64, "1" * 64)


def listed(count):
    """Return a manifest and metrics of many samples."""
    names = [f"rollout_sample_anna_{number:06d}.npz" for number in range(count)]
    entries = tuple(ENTRY.model_copy(update={"sample": name}) for name in names)
    return Manifest(samples=entries), dict.fromkeys(names, METRICS)


def written(folder, count):
    manifest, metrics = listed(count)
    for name, data in summary_files("rollout_sample", manifest, metrics).items():
        (folder / name).write_bytes(data)
    return manifest, metrics


def test_sixty_thousand_samples(tmp_path):
    """As a recording of many short lives leaves them, and a journal behind them."""
    manifest, metrics = written(tmp_path, 60_000)
    path = tmp_path / "rollout_sample_metrics.json"
    assert path.stat().st_size > MAX_JSON_BYTES
    late = ENTRY.model_copy(update={"sample": "late.npz"})
    line = JournalLine(after=60_000, samples=(late,), metrics={"late.npz": METRICS})
    (tmp_path / "rollout_sample_journal.ndjson").write_bytes(line.encode())
    capture = load_capture(tmp_path)
    assert capture.manifest.samples == (*manifest.samples, late)
    assert capture.metrics.samples == {**metrics, "late.npz": METRICS}
    assert capture.metrics.totals.samples == 60_001
    assert capture.digest == sha256_of(
        b"".join(
            (tmp_path / f"rollout_sample_{n}").read_bytes()
            for n in ("manifest.json", "journal.ndjson")
        )
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Twenty samples that are read as if they were very many."""
    written(tmp_path, 20)
    monkeypatch.setattr(listing, "MAX_JSON_BYTES", 100)
    monkeypatch.setattr(listing, "_PIECE_BYTES", 2000)
    return tmp_path


MANIFEST, TABLE = "rollout_sample_manifest.json", "rollout_sample_metrics.json"


def both(folder):
    return read_listing(Manifest, folder / MANIFEST), read_listing(CaptureMetrics, folder / TABLE)


@pytest.mark.parametrize("piece", [1, 700, 2000, 10**6])
def test_pieces_of_any_size_give_the_same(small, monkeypatch, piece):
    monkeypatch.setattr(listing, "_PIECE_BYTES", piece)
    manifest, metrics = listed(20)
    assert both(small)[0] == manifest
    assert both(small)[1].samples == metrics
    text = (small / TABLE).read_bytes()
    assert both(small)[1] == read_document(CaptureMetrics, text, "x")


def test_a_manifest_without_samples(small):
    (small / MANIFEST).write_bytes(
        write_document(Manifest(samples=())).replace(b'"samples": []', b'"samples": [\n]')
    )
    with pytest.raises(CaptureError, match="altered since it was written"):
        load_manifest(small / MANIFEST)


def resealed(data):
    """Return a changed document with a seal that fits."""
    body = data[:-81]
    return body + data[-81:].replace(data[-68:-4], sha256_of(body).encode())


LINE = b'"samples": [\n'
CHANGES = {
    "a letter": (lambda data: data.replace(b"_anna_", b"_anni_"), "altered since it was written"),
    "no seal": (lambda data: data[:-81] + b"\n}\n", "without a SHA-256 in the last line"),
    "cut off": (lambda data: data[:-200], "without a SHA-256 in the last line"),
    "zeros": (lambda data: bytes(len(data)), "without a SHA-256 in the last line"),
}
SEALED = {
    "no line for the first": (lambda data: data.replace(LINE, b'"samples": ['), "no line begins"),
    "an unknown field": (
        lambda data: data.replace(b'"rows"', b'"x": 1, "rows"', 1),
        "Extra inputs",
    ),
    "a key twice": (lambda data: data.replace(b'"rows"', b'"rows": 1, "rows"', 1), "appears twice"),
    "NaN": (lambda data: data.replace(b'"rows": 5', b'"rows": NaN', 1), "NaN is not a number"),
    "another version": (
        lambda data: data.replace(b'"schema_version": "1', b'"schema_version": "9'),
        "this Townlet",
    ),
    "an unknown key before": (lambda data: b'{\n"x": 1,' + data[1:], "Extra inputs"),
    "samples twice": (lambda data: data.replace(LINE, b'"samples": [],\n' + LINE), "appears twice"),
    "a comma too many": (lambda data: data.replace(b"}\n]", b"},\n]"), "not acceptable JSON"),
    "a comma missing": (lambda data: data.replace(b"},\n {", b"}\n {", 1), "not acceptable JSON"),
    "commas missing": (lambda data: data.replace(b"},\n {", b"}\n {"), "a line that is not of one"),
    "a bracket too many": (lambda data: data.replace(b"},\n {", b"}],\n {", 1), "not acceptable"),
    "something behind": (
        lambda data: data[:-81] + b',\n"x": 1' + data[-81:],
        "follows the samples",
    ),
    "no end": (lambda data: data.replace(b"\n]", b"\n ]"), "do not end"),
    "a long line": (lambda data: data.replace(LINE, b" " * 2**21 + LINE), "line of more than"),
    "a long head": (lambda data: data.replace(LINE, b" \n" * 2**20 + LINE), "no line begins"),
}


def spoil(path, change):
    good = path.read_bytes()
    bad = change(good)
    assert bad != good
    path.write_bytes(bad)


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("name", [MANIFEST, TABLE])
def test_what_is_altered_is_refused(small, kind, name):
    change, message = CHANGES[kind]
    spoil(small / name, change)
    with pytest.raises(CaptureError, match=message) as caught:
        both(small)
    assert name in str(caught.value)


@pytest.mark.parametrize("kind", SEALED)
def test_what_is_bad_behind_a_seal_is_refused(small, kind, monkeypatch):
    monkeypatch.setattr(listing, "_PIECE_BYTES", 700)
    change, message = SEALED[kind]
    spoil(small / MANIFEST, lambda data: resealed(change(data)))
    with pytest.raises(CaptureError, match=message) as caught:
        both(small)
    assert MANIFEST in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metrics_that_come_twice_far_apart(small):
    def double(data):
        lines = data.split(b"\n")
        first = next(line for line in lines if line.startswith(b' "rollout_sample_anna_000000'))
        return resealed(data.replace(b' "rollout_sample_anna_000019', first + b'\n "x'))

    spoil(small / TABLE, double)
    with pytest.raises(CaptureError, match="a sample appears twice"):
        both(small)


@pytest.mark.parametrize("name", [MANIFEST, TABLE])
def test_a_large_file_of_nothing_takes_no_memory(tmp_path, name):
    written(tmp_path, 1)
    with (tmp_path / name).open("r+b") as file:
        file.truncate(2**31)
        file.seek(0, os.SEEK_END)
    tracemalloc.start()
    try:
        with pytest.raises(CaptureError, match="without a SHA-256 in the last line"):
            both(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
    with (tmp_path / name).open("r+b") as file:
        file.truncate(2**31 + 1)
    with pytest.raises(CaptureError, match="2147483649 bytes; at most 2147483648"):
        both(tmp_path)


def test_digests_are_of_the_files_that_are_there(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    assert digest_of(one, two) == sha256_of(b"1")
    two.write_bytes(b"2")
    assert digest_of(one, two) == sha256_of(b"12")
    one.unlink()
    with pytest.raises(CaptureError, match="one: the file is missing"):
        digest_of(one, two)
